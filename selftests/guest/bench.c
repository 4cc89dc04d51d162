// SPDX-License-Identifier: GPL-2.0-only
/*
 * What iommufd costs: bench UNIT ASK ANSWER. UNIT is what the guest's clock counts, "ns" or
 * "instructions". It measures whenever a line comes from the FIFO ASK,
 *
 *	LABEL CDEV
 *
 * and then writes one to the FIFO ANSWER, so that the module can be changed in between: what is mapped
 * is the same memory for all. Every line it prints is a sample,
 *
 *	sample LABEL VALUE UNIT ROW
 *
 * with ROW being the rest of the line. selftests/runner/bench.py makes a table of them.
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "call.h"

#define MIB		(1UL << 20)
#define GIB		(1UL << 30)
#define RANGE		(256 * MIB)
#define IOVA		(4 * GIB)
#define NR_REPEATS	4		/* rounds, unless each gives the same number */
#define NR_SHORT	200		/* calls of a few microseconds, whose median is a sample */
#define NR_AREAS	4000

static char label[16];
static const char *unit;
static int nr_repeats = NR_REPEATS;
static int iommu, device;
static uint32_t ioas;

static void __attribute__((noreturn, format(printf, 1, 2))) give_up(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("bench: ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	exit(1);
}

static long long must(long long r, const char *what)
{
	if (r < 0)
		give_up("%s: %s", what, strerror(-r));
	return r;
}

static void sample(const char *row, double value, const char *of)
{
	printf("sample %s %.0f %s %s\n", label, value, of, row);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Returns the nanoseconds, or instructions, that an expression takes. */
#define TIMED(expr) ({ uint64_t __t = now(); must(expr, #expr); now() - __t; })

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *values, size_t nr)
{
	qsort(values, nr, sizeof(*values), compare);
	return values[nr / 2];
}

/* Returns a number of kilobytes from a file in /proc. */
static uint64_t kilobytes(const char *path, const char *name)
{
	size_t len = strlen(name);
	char line[256];
	uint64_t value = 0;
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len))
			value = strtoull(line + len, NULL, 10);
	if (f)
		fclose(f);
	return value;
}

/*
 * Memory. Every kind is touched before anything is timed, and is what it says.
 */

/* Private memory that begins with a huge page. */
static char *reserve(size_t length, int advice)
{
	char *p = mmap(NULL, length + HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		give_up("no %zu bytes of address space", length);
	p = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	if (madvise(p, length, advice))
		give_up("madvise(%d): %s", advice, strerror(errno));
	return p;
}

static char *small_pages(size_t length)
{
	char *p = reserve(length, MADV_NOHUGEPAGE);

	memset(p, 1, length);
	return p;
}

/*
 * Pages with adjacent addresses are not adjacent in memory: they are touched in a scattered order.
 */
static char *scattered_pages(size_t length)
{
	char *p = reserve(length, MADV_NOHUGEPAGE);
	size_t nr = length / PAGE;
	size_t i;

	/* An odd stride visits each page once, since their number is a power of two. */
	for (i = 0; i < nr; i++)
		p[(i * 40503 % nr) * PAGE] = 1;
	return p;
}

static char *huge_pages(size_t length)
{
	char *p = reserve(length, MADV_HUGEPAGE);
	uint64_t before = kilobytes("/proc/self/smaps_rollup", "AnonHugePages:");

	memset(p, 1, length);
	if (kilobytes("/proc/self/smaps_rollup", "AnonHugePages:") - before < length / 1024)
		give_up("the kernel has no huge pages for %zu bytes", length);
	return p;
}

static char *hugetlb_pages(size_t length, int size)
{
	char *p = mmap(NULL, length, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | size, -1, 0);

	if (p == MAP_FAILED)
		give_up("hugetlb: %s", strerror(errno));
	memset(p, 1, length);
	return p;
}

static char *hugetlb_2m(size_t length)
{
	return hugetlb_pages(length, MAP_HUGE_2MB);
}

static char *hugetlb_1g(size_t length)
{
	return hugetlb_pages(length, MAP_HUGE_1GB);
}

/* A file whose memory is allocated. */
static int file_of(size_t length, unsigned int flags)
{
	int fd = memfd_create("bench", flags | MFD_CLOEXEC);

	if (fd < 0 || fallocate(fd, 0, 0, length))
		give_up("memfd: %s", strerror(errno));
	return fd;
}

/*
 * Rows.
 */

static int map_memory(const void *p, int file, uint64_t length, uint64_t iova)
{
	if (file >= 0)
		return map_file(iommu, ioas, FIXED | READ | WRITE, file, 0, length, &iova);
	return map(iommu, ioas, p, length, iova);
}

static void range_rows(const char *name, const char *p, int file)
{
	char row[80];
	int i;

	/* The first round allocates the memory of the page tables, and is not a sample. */
	for (i = -1; i < nr_repeats; i++) {
		uint64_t mapped = TIMED(map_memory(p, file, RANGE, IOVA));
		uint64_t unmapped = TIMED(unmap(iommu, ioas, IOVA, RANGE));

		if (i < 0)
			continue;
		snprintf(row, sizeof(row), "%s: map", name);
		sample(row, mapped, unit);
		snprintf(row, sizeof(row), "%s: unmap", name);
		sample(row, unmapped, unit);
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

static void touch_memory(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(file_kinds); i++)
		files[i] = file_of(RANGE, file_kinds[i].flags);
	for (i = 0; i < NR_KINDS; i++)
		memory[i] = kinds[i].make(kinds[i].length);
}

static void memory_rows(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(file_kinds); i++)
		range_rows(file_kinds[i].name, NULL, files[i]);
	for (i = 0; i < NR_KINDS; i++)
		if (kinds[i].length == RANGE)
			range_rows(kinds[i].name, memory[i], -1);
}

static void one_page_rows(void)
{
	static uint64_t mapped[NR_SHORT], unmapped[NR_SHORT];
	const char *p = memory[SMALL];
	int repeat, i;

	for (repeat = 0; repeat < nr_repeats; repeat++) {
		for (i = 0; i < NR_SHORT; i++) {
			mapped[i] = TIMED(map(iommu, ioas, p, PAGE, IOVA));
			unmapped[i] = TIMED(unmap(iommu, ioas, IOVA, PAGE));
		}
		sample("one page: map", median(mapped, NR_SHORT), unit);
		sample("one page: unmap", median(unmapped, NR_SHORT), unit);
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
		sample("one page without a domain: map", median(mapped, NR_SHORT), unit);
		sample("one page without a domain: unmap", median(unmapped, NR_SHORT), unit);
	}
	must(destroy(iommu, other), "DESTROY");
}

static int map_areas(const char *p)
{
	int r = 0;
	int i;

	for (i = 0; !r && i < NR_AREAS; i++)
		r = map(iommu, ioas, p + i * PAGE, PAGE, IOVA + i * PAGE);
	return r;
}

static int unmap_areas(void)
{
	long long r = 0;
	int i;

	for (i = 0; r >= 0 && i < NR_AREAS; i++)
		r = unmap(iommu, ioas, IOVA + i * PAGE, PAGE);
	return r < 0 ? r : 0;
}

static void area_rows(void)
{
	const char *p = memory[SMALL];
	int i;

	for (i = 0; i < (nr_repeats + 1) / 2; i++) {
		sample("4,000 areas: map", TIMED(map_areas(p)), unit);
		sample("4,000 areas: unmap one by one", TIMED(unmap_areas()), unit);
		must(map_areas(p), "map");
		sample("4,000 areas: unmap in one call",
		       TIMED(unmap(iommu, ioas, IOVA, NR_AREAS * PAGE)), unit);
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
		sample("IOAS_COPY without a domain", median(copied, NR_SHORT), unit);
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
		sample("IOAS_ALLOC and DESTROY", median(made, NR_SHORT), unit);
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
	char row[80];
	unsigned int i;

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
	snprintf(row, sizeof(row), "%s: page tables a GiB", name);
	sample(row, ((double)after.tables - before.tables) * 1024 / gib, "bytes");
	snprintf(row, sizeof(row), "%s: bookkeeping a GiB", name);
	sample(row, ((double)after.books - before.books) * 1024 / gib, "bytes");
}

static void measure(const char *cdev)
{
	uint32_t id;
	int i;

	device = open(cdev, O_RDWR | O_CLOEXEC);
	if (device < 0)
		give_up("%s: %s", cdev, strerror(errno));
	iommu = must(open_iommu(), "/dev/iommu");
	must(bind_device(device, iommu, &id), "bind");
	must(ioas_alloc(iommu, &ioas), "IOAS_ALLOC");
	must(attach(device, ioas, NULL), "attach");

	memory_rows();
	one_page_rows();
	one_page_without_domain_rows();
	area_rows();
	copy_row();
	ioas_row();
	for (i = 0; i < NR_KINDS; i++)
		if (kinds[i].times)
			kept_rows(kinds[i].name, memory[i], kinds[i].length, kinds[i].times);
	close(device);
	close(iommu);
}

int main(int argc, char **argv)
{
	char line[128], cdev[100];
	FILE *ask, *answer;

	if (argc != 4)
		give_up("usage: bench UNIT ASK ANSWER");
	unit = argv[1];
	/* The number of instructions is the same each time. */
	if (!strcmp(unit, "instructions"))
		nr_repeats = 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	touch_memory();
	ask = fopen(argv[2], "r");
	answer = fopen(argv[3], "w");
	if (!ask || !answer)
		give_up("%s, %s: %s", argv[2], argv[3], strerror(errno));
	while (fgets(line, sizeof(line), ask) && sscanf(line, "%15s %99s", label, cdev) == 2) {
		measure(cdev);
		fprintf(answer, "%s\n", label);
		fflush(answer);
	}
	return 0;
}
