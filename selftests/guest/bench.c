// SPDX-License-Identifier: GPL-2.0-only
/*
 * What iommufd costs with a device of VFIO: CDEV is its file. If the label is "type1" it is the file of
 * the device's group, and VFIO's own container is measured. See bench.h.
 */
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench_card.h"
#include "bench_memory.h"

#define MIB		(1UL << 20)
#define GIB		(1UL << 30)
#define RANGE		(256 * MIB)
#define PIECE		(64 * MIB)

/*
 * The kinds of memory, a GiB of each, the files first. Those that are wanted are allocated before the first module is
 * loaded, and stay.
 */
enum { MEMFD, MEMFD_HUGETLB, NR_FILES, SMALL = NR_FILES, SCATTERED, THP, HUGETLB, HUGETLB_1G, NR_KINDS };

static const struct {
	const char *name;
	/* Flags of a file, or what makes the memory. */
	unsigned int flags;
	char *(*make)(size_t length);
	/* How much is mapped at a time, and how many times, to measure what a mapping keeps. */
	size_t length;
	unsigned int times;
} kinds[NR_KINDS] = {
	[MEMFD] = { "memfd", 0, NULL, RANGE, 4 },
	[MEMFD_HUGETLB] = { "memfd hugetlb 2 MiB", MFD_HUGETLB | MFD_HUGE_2MB, NULL, RANGE, 16 },
	[SMALL] = { "4 KiB pages", 0, small_pages, RANGE, 4 },
	[SCATTERED] = { "4 KiB pages, scattered", 0, scattered_pages, RANGE, 4 },
	[THP] = { "THP", 0, huge_pages, RANGE, 16 },
	[HUGETLB] = { "hugetlb 2 MiB", 0, hugetlb_2m, RANGE, 16 },
	[HUGETLB_1G] = { "hugetlb 1 GiB", 0, hugetlb_1g, GIB, 8 },
};
static struct memory memory[NR_KINDS];
/* Shared mappings of the files. */
static struct memory shared[NR_FILES];

/* Returns whether rows of this kind are wanted. Other rows use memory in small pages, and THP. */
static bool wanted_kind(size_t kind)
{
	static const char *const ends[] = { "", ", 1 GiB", " by address", " by address, 1 GiB",
					    " by address, with a hole", ", across 64 MiB" };
	char name[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		snprintf(name, sizeof(name), "%s%s", kinds[kind].name, ends[i]);
		if (wanted(name))
			return true;
	}
	return kind == SMALL || kind == THP;
}

static void touch_memory(void)
{
	static char names[NR_FILES][64];
	size_t i;

	for (i = 0; i < NR_KINDS; i++) {
		if (!wanted_kind(i))
			continue;
		memory[i] = (struct memory){ .name = kinds[i].name, .file = -1, .length = GIB };
		if (i >= NR_FILES) {
			memory[i].p = kinds[i].make(GIB);
			continue;
		}
		memory[i].file = file_of(GIB, kinds[i].flags);
		snprintf(names[i], sizeof(names[i]), "%s by address", kinds[i].name);
		shared[i] = (struct memory){ .name = names[i], .file = -1, .length = GIB };
		shared[i].p = mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
				   memory[i].file, 0);
		if (shared[i].p == MAP_FAILED)
			give_up("mmap: %s", strerror(errno));
	}
}

static void both_sizes(const struct round *r, const struct memory *m)
{
	char name[64];

	/* Of a GiB only. */
	if (m != &memory[HUGETLB_1G])
		range_rows(r, m, m->name, RANGE, IOVA);
	snprintf(name, sizeof(name), "%s, 1 GiB", m->name);
	range_rows(r, m, m == &memory[HUGETLB_1G] ? m->name : name, GIB, IOVA);
}

static void memory_rows(const struct round *r)
{
	struct memory holes = shared[MEMFD_HUGETLB];
	size_t i;

	for (i = r->type1 ? NR_FILES : 0; i < NR_KINDS; i++)
		if (memory[i].name)
			both_sizes(r, &memory[i]);
	for (i = 0; i < NR_FILES; i++)
		if (shared[i].name)
			both_sizes(r, &shared[i]);
	/* Memory is pinned and mapped in pieces, of which the first is a page. */
	range_rows(r, &memory[SMALL], "4 KiB pages, across 64 MiB", RANGE, IOVA + PIECE - PAGE);
	if (r->type1 || !holes.name)
		return;
	holes.file = memory[MEMFD_HUGETLB].file;
	hole_rows(r, &holes, "memfd hugetlb 2 MiB by address, with a hole", RANGE, HUGE);
}

static void measure(const char *cdev)
{
	struct round r = { .type1 = !strcmp(label, "type1") };
	size_t i;

	if (r.type1)
		r.iommu = must(type1_open(cdev, &r.device), cdev);
	else
		r.iommu = open_card(cdev, &r.device, &r.dev_id, &r.ioas);
	memory_rows(&r);
	small_call_rows(&r, &memory[SMALL], &memory[THP]);
	if (!r.type1) {
		for (i = 0; i < NR_KINDS; i++) {
			if (!wanted(kinds[i].name))
				continue;
			copy_rows(&r, &memory[i], kinds[i].length);
			attach_rows(&r, &memory[i]);
			floor_rows(&r, &memory[i], kinds[i].length);
		}
		for (i = 0; i < NR_FILES; i++) {
			if (!shared[i].name || !wanted(shared[i].name))
				continue;
			copy_rows(&r, &shared[i], kinds[i].length);
			attach_rows(&r, &shared[i]);
		}
		thread_rows("two threads", r.iommu, r.ioas, memory[SMALL].p, RANGE);
		growth_rows(&r, &memory[SMALL]);
		for (i = 0; i < NR_KINDS; i++)
			if (wanted(kinds[i].name))
				kept_rows(&r, &memory[i], kinds[i].length, kinds[i].times);
		kept_objects_rows(memory[SMALL].p);
	}
	close(r.device);
	close(r.iommu);
}

int main(int argc, char **argv)
{
	return bench(argc, argv, touch_memory, measure);
}
