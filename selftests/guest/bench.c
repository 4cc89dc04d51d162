// SPDX-License-Identifier: GPL-2.0-only
/*
 * What iommufd costs with a device of VFIO: CDEV is its file. If the label is "type1" it is the file of
 * the device's group, and VFIO's own container is measured. See bench.h.
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "bench_memory.h"

#define MIB		(1UL << 20)
#define GIB		(1UL << 30)
#define RANGE		(256 * MIB)
#define PIECE		(64 * MIB)
#define NR_SHORT	200		/* calls of a few microseconds, whose median is a sample */
#define NR_AREAS	4000

/* With type1, the container and the group. */
static int iommu, device;
static uint32_t ioas;
static bool type1;

/*
 * Rows.
 */

static int map_memory(const void *p, int file, uint64_t length, uint64_t iova)
{
	if (type1)
		return type1_map(iommu, p, length, iova);
	if (file >= 0)
		return map_file(iommu, ioas, FIXED | READ | WRITE, file, 0, length, &iova);
	return map(iommu, ioas, p, length, iova);
}

static long long unmap_memory(uint64_t iova, uint64_t length)
{
	return type1 ? type1_unmap(iommu, iova, length) : unmap(iommu, ioas, iova, length);
}

/* Maps RANGE of memory or of a file at an address, and unmaps it. */
static void range_rows(const char *name, const char *p, int file, uint64_t iova)
{
	int i;

	if (!wanted(name))
		return;
	/* The first round allocates the memory of the page tables, and is not a sample. */
	for (i = -1; i < nr_repeats; i++) {
		uint64_t mapped = TIMED(map_memory(p, file, RANGE, iova));
		uint64_t unmapped = TIMED(unmap_memory(iova, RANGE));

		if (i < 0)
			continue;
		sample(mapped, unit, "%s: map", name);
		sample(unmapped, unit, "%s: unmap", name);
	}
}

/* The kinds of memory. All are allocated before the first module is loaded, and stay. */
enum { SMALL, SCATTERED, THP, HUGETLB, HUGETLB_1G, NR_KINDS };

static const struct {
	const char *name;
	char *(*make)(size_t length);
	size_t length;
	/* How many times it is mapped to measure what a mapping keeps, or 0. */
	unsigned int times;
} kinds[NR_KINDS] = {
	[SMALL] = { "4 KiB pages", small_pages, RANGE, 4 },
	[SCATTERED] = { "4 KiB pages, scattered", scattered_pages, RANGE, 4 },
	[THP] = { "THP", huge_pages, RANGE, 128 },
	[HUGETLB] = { "hugetlb 2 MiB", hugetlb_2m, RANGE, 0 },
	[HUGETLB_1G] = { "hugetlb 1 GiB", hugetlb_1g, GIB, 32 },
};
static char *memory[NR_KINDS];

static const struct {
	const char *name;
	unsigned int flags;
} file_kinds[] = {
	{ "memfd", 0 },
	{ "memfd hugetlb 2 MiB", MFD_HUGETLB | MFD_HUGE_2MB },
};
static int files[ARRAY_SIZE(file_kinds)];
static char *shared[ARRAY_SIZE(file_kinds)];	/* the same, by address */

static void touch_memory(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(file_kinds); i++) {
		files[i] = file_of(RANGE, file_kinds[i].flags);
		shared[i] = mmap(NULL, RANGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
				 files[i], 0);
		if (shared[i] == MAP_FAILED)
			give_up("mmap: %s", strerror(errno));
	}
	for (i = 0; i < NR_KINDS; i++)
		memory[i] = kinds[i].make(kinds[i].length);
}

static void memory_rows(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(file_kinds) && !type1; i++)
		range_rows(file_kinds[i].name, NULL, files[i], IOVA);
	for (i = 0; i < ARRAY_SIZE(file_kinds); i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s by address", file_kinds[i].name);
		range_rows(name, shared[i], -1, IOVA);
	}
	for (i = 0; i < NR_KINDS; i++)
		if (kinds[i].length == RANGE)
			range_rows(kinds[i].name, memory[i], -1, IOVA);
	/* Memory is pinned and mapped in pieces, of which the first is a page. */
	range_rows("4 KiB pages, across 64 MiB", memory[SMALL], -1, IOVA + PIECE - PAGE);
}

/* A device is attached to an IOAS that has the memory four times, and detached from it. */
static void attach_rows(const char *name, const char *p)
{
	uint32_t other;
	int i;

	if (!wanted(name))
		return;
	must(ioas_alloc(iommu, &other), "IOAS_ALLOC");
	for (i = 0; i < 4; i++)
		must(map(iommu, other, p, RANGE, IOVA + i * RANGE), "map");
	for (i = 0; i < nr_repeats; i++) {
		must(detach(device), "detach");
		sample(TIMED(attach(device, other, NULL)), unit, "%s: attach 1 GiB", name);
		sample(TIMED(detach(device)), unit, "%s: detach 1 GiB", name);
		must(attach(device, ioas, NULL), "attach");
	}
	must(unmap_all(iommu, other), "unmap");
	must(destroy(iommu, other), "DESTROY");
}

static void one_page_rows(void)
{
	static uint64_t mapped[NR_SHORT], unmapped[NR_SHORT];
	const char *p = memory[SMALL];
	int repeat, i;

	for (repeat = 0; repeat < nr_repeats; repeat++) {
		for (i = 0; i < NR_SHORT; i++) {
			mapped[i] = TIMED(map_memory(p, -1, PAGE, IOVA));
			unmapped[i] = TIMED(unmap_memory(IOVA, PAGE));
		}
		sample(median(mapped, NR_SHORT), unit, "one page: map");
		sample(median(unmapped, NR_SHORT), unit, "one page: unmap");
	}
}

static void one_page_without_domain_rows(void)
{
	static uint64_t mapped[NR_SHORT], unmapped[NR_SHORT];
	const char *p = memory[SMALL];
	uint32_t other;
	int repeat, i;

	must(ioas_alloc(iommu, &other), "IOAS_ALLOC");
	for (repeat = 0; repeat < nr_repeats; repeat++) {
		for (i = 0; i < NR_SHORT; i++) {
			mapped[i] = TIMED(map(iommu, other, p, PAGE, IOVA));
			unmapped[i] = TIMED(unmap(iommu, other, IOVA, PAGE));
		}
		sample(median(mapped, NR_SHORT), unit, "one page without a domain: map");
		sample(median(unmapped, NR_SHORT), unit, "one page without a domain: unmap");
	}
	must(destroy(iommu, other), "DESTROY");
}

static int map_areas(const char *p)
{
	int r = 0;
	int i;

	for (i = 0; !r && i < NR_AREAS; i++)
		r = map_memory(p + i * PAGE, -1, PAGE, IOVA + i * PAGE);
	return r;
}

static int unmap_areas(void)
{
	long long r = 0;
	int i;

	for (i = 0; r >= 0 && i < NR_AREAS; i++)
		r = unmap_memory(IOVA + i * PAGE, PAGE);
	return r < 0 ? r : 0;
}

static void area_rows(void)
{
	const char *p = memory[SMALL];
	int i;

	for (i = 0; i < (nr_repeats + 1) / 2; i++) {
		sample(TIMED(map_areas(p)), unit, "4,000 areas: map");
		sample(TIMED(unmap_areas()), unit, "4,000 areas: unmap one by one");
		must(map_areas(p), "map");
		sample(TIMED(unmap_memory(IOVA, NR_AREAS * PAGE)), unit,
		       "4,000 areas: unmap in one call");
	}
}

static void copy_row(void)
{
	static uint64_t copied[NR_SHORT];
	uint64_t iova = IOVA;
	uint32_t other;
	int repeat, i;

	must(map(iommu, ioas, memory[THP], RANGE, IOVA), "map");
	must(ioas_alloc(iommu, &other), "IOAS_ALLOC");
	for (repeat = 0; repeat < nr_repeats; repeat++) {
		for (i = 0; i < NR_SHORT; i++) {
			copied[i] = TIMED(copy(iommu, ioas, IOVA, RANGE, FIXED | READ | WRITE,
					       other, &iova));
			must(unmap(iommu, other, IOVA, RANGE), "unmap");
		}
		sample(median(copied, NR_SHORT), unit, "IOAS_COPY without a domain");
	}
	must(destroy(iommu, other), "DESTROY");
	must(unmap(iommu, ioas, IOVA, RANGE), "unmap");
}

static int make_ioas(void)
{
	uint32_t id;
	int r = ioas_alloc(iommu, &id);

	return r ? r : destroy(iommu, id);
}

static void ioas_row(void)
{
	static uint64_t made[NR_SHORT];
	int repeat, i;

	for (repeat = 0; repeat < nr_repeats; repeat++) {
		for (i = 0; i < NR_SHORT; i++)
			made[i] = TIMED(make_ioas());
		sample(median(made, NR_SHORT), unit, "IOAS_ALLOC and DESTROY");
	}
}

/*
 * Kernel memory that mappings keep.
 */

struct kept {
	uint64_t tables;
	uint64_t books;
};

static struct kept kept(void)
{
	static const char meminfo[] = "/proc/meminfo";
	int refresh = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);

	/* The write adds the counters of all CPUs up. */
	if (refresh < 0 || write(refresh, "1", 1) != 1)
		give_up("stat_refresh: %s", strerror(errno));
	close(refresh);
	return (struct kept){
		.tables = kilobytes(meminfo, "SecPageTables:") + kilobytes(meminfo, "PageTables:"),
		.books = kilobytes(meminfo, "Slab:") + kilobytes(meminfo, "VmallocUsed:") +
			 kilobytes(meminfo, "Percpu:"),
	};
}

/*
 * Maps the memory many times, each time from a source of its own, so that the slab allocator's
 * partial pages matter little. The first half of the mappings uses what is left in them.
 */
static void kept_rows(const char *name, const char *p, size_t length, unsigned int times)
{
	double gib = (double)length * times / GIB;
	struct kept before = {}, after;
	unsigned int i;

	if (!wanted(name))
		return;
	/* Page tables that were used before may keep tables, so that new ones are made. */
	must(ioas_alloc(iommu, &ioas), "IOAS_ALLOC");
	must(attach(device, ioas, NULL), "attach");
	for (i = 0; i < 2 * times; i++) {
		if (i == times)
			before = kept();
		must(map(iommu, ioas, p, length, IOVA + i * length), "map");
	}
	after = kept();
	must(unmap_all(iommu, ioas), "unmap");
	sample(((double)after.tables - before.tables) * 1024 / gib, "bytes",
	       "%s: page tables a GiB", name);
	sample(((double)after.books - before.books) * 1024 / gib, "bytes",
	       "%s: bookkeeping a GiB", name);
}

static void queues_row(void)
{
	queue_rows("2,000 fault queues", must(open_iommu(), "/dev/iommu"), 2000, fault_queue);
}

/* Rows that have nothing to do with the kind of memory, by the beginning of their names. */
static const struct {
	const char *name;
	void (*run)(void);
	bool type1;
} groups[] = {
	{ "one page", one_page_rows, true },
	{ "one page without a domain", one_page_without_domain_rows, false },
	{ "4,000 areas", area_rows, true },
	{ "IOAS_COPY without a domain", copy_row, false },
	{ "IOAS_ALLOC and DESTROY", ioas_row, false },
	{ "2,000 fault queues", queues_row, false },
};

static void measure(const char *cdev)
{
	uint32_t id;
	size_t i;

	type1 = !strcmp(label, "type1");
	if (type1) {
		iommu = must(type1_open(cdev, &device), cdev);
	} else {
		iommu = open_card(cdev, &device, &id, &ioas);
	}
	memory_rows();
	for (i = 0; i < ARRAY_SIZE(groups); i++)
		if (wanted(groups[i].name) && (groups[i].type1 || !type1))
			groups[i].run();
	if (!type1) {
		attach_rows(kinds[SMALL].name, memory[SMALL]);
		attach_rows(kinds[SCATTERED].name, memory[SCATTERED]);
		attach_rows(kinds[THP].name, memory[THP]);
		for (i = 0; i < NR_KINDS; i++)
			if (kinds[i].length == RANGE && wanted(kinds[i].name))
				floor_rows(kinds[i].name, iommu, id, ioas, memory[i], RANGE);
		thread_rows("two threads", iommu, ioas, memory[SMALL], RANGE);
		growth_rows(iommu, device, ioas, memory[SMALL]);
		for (i = 0; i < NR_KINDS; i++)
			if (kinds[i].times)
				kept_rows(kinds[i].name, memory[i], kinds[i].length,
					  kinds[i].times);
	}
	close(device);
	close(iommu);
}

int main(int argc, char **argv)
{
	return bench(argc, argv, touch_memory, measure);
}
