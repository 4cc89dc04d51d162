// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory in many pieces, of which some are large: page tables have each piece at its place, by entries that
 * are as large as they can be, and a map that fails leaves nothing.
 *
 * Usage: pieces none [SUITE]
 */
#include <fcntl.h>
#include <string.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frame.h"
#include "mock_call.h"

/* Single pages, a huge page, and single pages. */
#define SINGLE		(1UL << 20)
#define LENGTH		(SINGLE + HUGE + SINGLE)
/* Half a page of the CPU is a page of the mock IOMMU. */
#define UNIT		2048UL
/* What is longer is pinned in pieces of so much. */
#define PIECE		(64UL << 20)
#define GIB		(1UL << 30)

/* Where the memory is, with the alignment of its huge page. */
static char *pieces;
static uint64_t place;

/* Touches the pages in another order than that of their addresses, so none is next to the next one. */
static void touch_scattered(char *p, size_t length)
{
	size_t i, nr = length / PAGE;

	for (i = 0; i < nr; i++)
		memset(p + i * 55 % nr * PAGE, (int)i, PAGE);
}

/* Returns how many runs of physically contiguous pages the memory has. */
static unsigned int count_runs(const char *p, size_t length)
{
	unsigned int runs = 1;
	size_t i;

	for (i = PAGE; i < length; i += PAGE)
		runs += phys_of(p + i) != phys_of(p + i - PAGE) + PAGE;
	return runs;
}

static bool begin(struct mock *m)
{
	char *p, *huge;

	if (pieces)
		return open_mock(m);
	p = mmap(NULL, 4 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		fail("mmap: %s", errno_name(-errno));
		return false;
	}
	huge = (char *)((PTR(p) + 2 * HUGE - 1) & ~(HUGE - 1));
	if (madvise(huge - SINGLE, LENGTH, MADV_NOHUGEPAGE) || madvise(huge, HUGE, MADV_HUGEPAGE)) {
		fail("madvise: %s", errno_name(-errno));
		return false;
	}
	memset(huge, 1, HUGE);
	touch_scattered(huge - SINGLE, SINGLE);
	touch_scattered(huge + HUGE, SINGLE);
	if (count_runs(huge, HUGE) != 1 || phys_of(huge) % HUGE || count_runs(huge - SINGLE, SINGLE) < 200) {
		fail("the memory is not what it should be: %u, %u runs", count_runs(huge - SINGLE, SINGLE),
		     count_runs(huge, HUGE));
		return false;
	}
	pieces = huge - SINGLE;
	place = MOCK_IOVA + HUGE + PTR(pieces) % HUGE;
	return open_mock(m);
}

/* Maps a part of the memory, and sees that page tables have it, and nothing behind it. */
static void check_part(struct mock *m, uint64_t iova, uint64_t start, uint64_t length)
{
	long pages = (start + length - 1) / PAGE - start / PAGE + 1;
	uint32_t hwpt;

	WANT(map(m->fd, m->ioas, pieces + start, length, iova), 0);
	WANT(pinned(), m->idle + pages);
	WANT(mock_check(m->fd, m->hwpt, iova, pieces + start, length), 0);
	WANT(mock_check(m->fd, m->hwpt, iova - UNIT, pieces + start, UNIT), -EINVAL);
	WANT(mock_check(m->fd, m->hwpt, iova + length, pieces + start, UNIT), -EINVAL);
	/* Other page tables get it from what is pinned. */
	WANT(hwpt_alloc(m->fd, m->dev_id, m->ioas, &hwpt), 0);
	WANT(mock_check(m->fd, hwpt, iova, pieces + start, length), 0);
	WANT(mock_check(m->fd, hwpt, iova + length, pieces + start, UNIT), -EINVAL);
	WANT(unmap(m->fd, m->ioas, iova, length), length);
	WANT(mock_check(m->fd, m->hwpt, iova, pieces + start, UNIT), -EINVAL);
	WANT(mock_check(m->fd, hwpt, iova + length - UNIT, pieces + start + length - UNIT, UNIT), -EINVAL);
	WANT(destroy(m->fd, hwpt), 0);
	WANT(pinned(), m->idle);
}

static void any_number(struct fixture *none)
{
	static const unsigned int numbers[] = { 1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 128, 129, 192, 256 };
	struct mock m;
	unsigned int i;

	CHECK(begin(&m));
	for (i = 0; i < ARRAY_SIZE(numbers) && !has_failed(); i++) {
		uint64_t length = numbers[i] * PAGE;

		check_part(&m, place, 0, length);
		/* All of the huge page is behind it, or before it. */
		check_part(&m, place, SINGLE - length, length + HUGE);
		check_part(&m, place, SINGLE, HUGE + length);
	}
	check_part(&m, place, 0, LENGTH);
	close_mock(&m);
}

/* Pieces that begin and end inside a page, at addresses with and without the same offset. */
static void parts_of_pages(struct fixture *none)
{
	static const uint64_t offsets[] = { 0, UNIT, PAGE, 17 * PAGE + UNIT, HUGE - PAGE };
	struct mock m;
	unsigned int i, j;

	CHECK(begin(&m));
	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		for (j = 0; j < ARRAY_SIZE(offsets) && !has_failed(); j++) {
			check_part(&m, place + offsets[i], offsets[j], LENGTH - offsets[j]);
			check_part(&m, place + offsets[i], offsets[j], LENGTH - offsets[j] - UNIT);
		}
	close_mock(&m);
}

/* With an entry for each page any page can be unmapped, also of a huge page. */
static void small_pages(struct fixture *none)
{
	struct mock m;

	CHECK(begin(&m));
	WANT(set_option(m.fd, IOMMU_OPTION_HUGE_PAGES, m.ioas, 0), 0);
	check_part(&m, place, 0, LENGTH);
	check_part(&m, place, SINGLE + PAGE, HUGE);
	close_mock(&m);
}

/* The huge page needs no tables, whether it is mapped alone or between others. */
static void large_entries(struct fixture *none)
{
	long apart, together, small;
	struct mock m;

	CHECK(begin(&m));
	WANT(map(m.fd, m.ioas, pieces, SINGLE, place), 0);
	WANT(map(m.fd, m.ioas, pieces + SINGLE, HUGE, place + SINGLE), 0);
	WANT(map(m.fd, m.ioas, pieces + SINGLE + HUGE, SINGLE, place + SINGLE + HUGE), 0);
	apart = tables_of_another(&m);
	WANT(unmap_all(m.fd, m.ioas), LENGTH);
	WANT(map(m.fd, m.ioas, pieces, LENGTH, place), 0);
	together = tables_of_another(&m);
	WANT(unmap_all(m.fd, m.ioas), LENGTH);
	/* Not aligned, it does. */
	WANT(map(m.fd, m.ioas, pieces, LENGTH, place + PAGE), 0);
	small = tables_of_another(&m);
	note("%ld pages of tables apart, %ld together, %ld if not aligned", apart, together, small);
	CHECK(apart > 0 && apart == together && small > together);
	WANT(unmap_all(m.fd, m.ioas), LENGTH);
	close_mock(&m);
}

/* Allocations that may sleep can fail too, and pages of page tables. */
static bool can_fail(void)
{
	/* A report of each takes longer than the call. */
	return write_to("/sys/kernel/debug/failslab/verbose", "0") &&
	       write_to("/sys/kernel/debug/fail_page_alloc/verbose", "0") &&
	       sleeping_allocations_fail() &&
	       write_to("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N") &&
	       write_to("/sys/kernel/debug/fail_page_alloc/min-order", "0");
}

/* Makes each allocation of a map fail once. */
static void map_fails(struct fixture *none)
{
	int inject = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC), r = -1;
	unsigned int nth, refused = 0;
	bool failed = true;
	struct mock m;

	if (accesses_fail()) {
		close(inject);
		return;
	}
	CHECK(inject >= 0 && begin(&m) && can_fail());
	for (nth = 1; nth < 1000 && (r || failed); nth++) {
		CHECK(fail_nth(inject, nth));
		r = map(m.fd, m.ioas, pieces, LENGTH, place);
		failed = nth_failed(inject);
		if (!r) {
			WANT(mock_check(m.fd, m.hwpt, place, pieces, LENGTH), 0);
			WANT(unmap(m.fd, m.ioas, place, LENGTH), LENGTH);
		} else {
			/* The last two are the errors of places that fail for tests only. */
			CHECK(r == -ENOMEM || r == -ENOENT || r == -EFAULT);
			refused++;
		}
		WANT(pinned(), m.idle);
		WANT(mock_check(m.fd, m.hwpt, place, pieces, UNIT), -EINVAL);
		WANT(mock_check(m.fd, m.hwpt, place + SINGLE, pieces + SINGLE, UNIT), -EINVAL);
	}
	note("%u of %u failures refuse the map", refused, nth - 2);
	CHECK(refused > 3 && !r);
	close_mock(&m);
	close(inject);
}

/*
 * Areas of few pages, which are filled into page tables together: some follow each other, others do not, or are
 * for reading only, or begin inside a page, or are larger, or are of memory that nobody has touched.
 */
static const struct small {
	unsigned int gap, start, length;	/* UNIT */
	enum { PLAIN, READ_ONLY, FRESH } kind;
} smalls[] = {
	{ 0, 0, 2, PLAIN }, { 0, 2, 2, PLAIN }, { 0, 20, 4, PLAIN }, { 0, 8, 16, PLAIN },
	{ 0, 100, 18, PLAIN }, { 2, 30, 2, PLAIN }, { 0, 32, 2, READ_ONLY }, { 0, 40, 6, READ_ONLY },
	{ 0, 50, 2, PLAIN }, { 1, 61, 3, PLAIN }, { 0, 64, 2, PLAIN }, { 0, 70, 1, PLAIN },
	{ 1, 72, 2, PLAIN }, { 0, 0, 2, FRESH }, { 0, 80, 2, PLAIN }, { 0, 2, 16, FRESH },
	{ 0, 82, 16, PLAIN }, { 8, 110, 16, PLAIN }, { 0, 130, 16, PLAIN }, { 0, 150, 16, PLAIN },
	{ 0, 170, 16, PLAIN }, { 0, 190, 16, PLAIN }, { 0, 210, 16, PLAIN }, { 0, 230, 16, PLAIN },
	{ 0, 250, 16, PLAIN }, { 0, 270, 16, PLAIN }, { 0, 290, 16, PLAIN }, { 0, 310, 2, PLAIN },
	{ 0, 312, 2, PLAIN }, { 0, 100, 2, PLAIN }, { 0, 100, 2, PLAIN }, { 0, 100, 2, PLAIN },
	{ 0, 100, 2, PLAIN },
};

/* Where an area of them is, and its memory. */
struct place {
	uint64_t iova, length;
	char *p;
};

static void find_places(struct place *places, char *fresh)
{
	uint64_t iova = MOCK_IOVA + HUGE;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(smalls); i++) {
		iova += smalls[i].gap * UNIT;
		places[i].iova = iova;
		places[i].length = smalls[i].length * UNIT;
		places[i].p = (smalls[i].kind == FRESH ? fresh : pieces) + smalls[i].start * UNIT;
		iova += places[i].length;
	}
}

/* Maps the areas where no page tables are. */
static void map_smalls(struct mock *m, const struct place *places)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(smalls); i++) {
		const struct place *at = &places[i];
		uint64_t iova = at->iova;

		WANT(map_as(m->fd, m->other, FIXED | READ | (smalls[i].kind == READ_ONLY ? 0 : WRITE), at->p, at->length,
			    &iova), 0);
	}
}

static long count_pages(const struct place *places)
{
	long pages = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(smalls); i++)
		pages += (PTR(places[i].p) + places[i].length - 1) / PAGE - PTR(places[i].p) / PAGE + 1;
	return pages;
}

/* Sees that page tables have the areas from number `from` on, and nothing between them. */
static void check_smalls(struct mock *m, uint32_t hwpt, const struct place *places, size_t from)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(smalls); i++) {
		const struct place *at = &places[i];

		WANT(mock_check(m->fd, hwpt, at->iova, at->p, i < from ? UNIT : at->length), i < from ? -EINVAL : 0);
		if (smalls[i].gap)
			WANT(mock_check(m->fd, hwpt, at->iova - UNIT, at->p, UNIT), -EINVAL);
	}
	i--;
	WANT(mock_check(m->fd, hwpt, places[i].iova + places[i].length, places[i].p, UNIT), -EINVAL);
}

static void small_areas(struct fixture *none)
{
	struct place places[ARRAY_SIZE(smalls)];
	uint32_t hwpt, second;
	struct mock m;
	char *fresh;
	size_t i;
	long pages;

	CHECK(begin(&m));
	fresh = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(fresh != MAP_FAILED && !madvise(fresh, HUGE, MADV_NOHUGEPAGE));
	find_places(places, fresh);
	pages = count_pages(places);
	map_smalls(&m, places);
	WANT(pinned(), m.idle);
	WANT(hwpt_alloc(m.fd, m.dev_id, m.other, &hwpt), 0);
	WANT(pinned(), m.idle + pages);
	check_smalls(&m, hwpt, places, 0);
	/* Other page tables get them from what is pinned. */
	WANT(hwpt_alloc(m.fd, m.dev_id, m.other, &second), 0);
	WANT(pinned(), m.idle + pages);
	check_smalls(&m, second, places, 0);
	for (i = 0; i < 7; i++)
		WANT(unmap(m.fd, m.other, places[i].iova, places[i].length), places[i].length);
	check_smalls(&m, hwpt, places, i);
	check_smalls(&m, second, places, i);
	/* What is left goes at once. */
	WANT(destroy(m.fd, second), 0);
	CHECK(unmap_all(m.fd, m.other) > 0);
	check_smalls(&m, hwpt, places, ARRAY_SIZE(smalls));
	WANT(pinned(), m.idle);
	/* As does what leaves with the last page tables. */
	map_smalls(&m, places);
	check_smalls(&m, hwpt, places, 0);
	WANT(destroy(m.fd, hwpt), 0);
	WANT(pinned(), m.idle);
	munmap(fresh, HUGE);
	close_mock(&m);
}

/* An area without memory refuses the page tables, whatever is before it or behind it. */
static void area_without_memory(struct fixture *none)
{
	static const size_t which[] = { 0, 1, 5, 13, 15, 16, 20, ARRAY_SIZE(smalls) - 1 };
	struct place places[ARRAY_SIZE(smalls)];
	uint32_t hwpt;
	struct mock m;
	char *fresh, *gone;
	size_t i;

	CHECK(begin(&m));
	for (i = 0; i < ARRAY_SIZE(which) && !has_failed(); i++) {
		fresh = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		gone = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		CHECK(fresh != MAP_FAILED && gone != MAP_FAILED);
		find_places(places, fresh);
		places[which[i]].p = gone;
		map_smalls(&m, places);
		munmap(gone, HUGE);
		WANT(hwpt_alloc(m.fd, m.dev_id, m.other, &hwpt), -EFAULT);
		WANT(pinned(), m.idle);
		CHECK(mmap(gone, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == gone);
		WANT(hwpt_alloc(m.fd, m.dev_id, m.other, &hwpt), 0);
		check_smalls(&m, hwpt, places, 0);
		WANT(destroy(m.fd, hwpt), 0);
		WANT(pinned(), m.idle);
		CHECK(unmap_all(m.fd, m.other) > 0);
		munmap(fresh, HUGE);
		munmap(gone, HUGE);
	}
	close_mock(&m);
}

/* Makes each allocation fail once while page tables are made and filled. */
static void fill_fails(struct fixture *none)
{
	int inject = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC), r = -1;
	struct place places[ARRAY_SIZE(smalls)];
	unsigned int nth, refused = 0;
	bool failed = true;
	struct mock m;
	char *fresh;
	uint32_t hwpt;

	if (accesses_fail()) {
		close(inject);
		return;
	}
	CHECK(inject >= 0 && begin(&m) && can_fail());
	fresh = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(fresh != MAP_FAILED);
	find_places(places, fresh);
	map_smalls(&m, places);
	for (nth = 1; nth < 2000 && (r || failed); nth++) {
		CHECK(!madvise(fresh, HUGE, MADV_DONTNEED) && fail_nth(inject, nth));
		r = hwpt_alloc(m.fd, m.dev_id, m.other, &hwpt);
		failed = nth_failed(inject);
		if (!r) {
			check_smalls(&m, hwpt, places, 0);
			WANT(destroy(m.fd, hwpt), 0);
		} else {
			/* For tests only the look-ups of the device and of the IOAS fail, and pinning. */
			WANT(r, nth == 1 ? -ENOENT : nth == 2 ? -EINVAL : r == -EFAULT ? -EFAULT : -ENOMEM);
			refused++;
		}
		WANT(pinned(), m.idle);
	}
	note("%u of %u failures refuse the page tables", refused, nth - 2);
	CHECK(refused > 3 && !r);
	munmap(fresh, HUGE);
	close_mock(&m);
	close(inject);
}

/* Sees that page tables have each end of 1 GiB at its place, and each end of the first 64 MiB. */
static void check_gib(struct mock *m, uint32_t hwpt, uint64_t iova, const char *p)
{
	static const uint64_t places[] = { 0, PIECE - UNIT, PIECE, PIECE + HUGE, GIB - UNIT };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(places); i++)
		WANT(mock_check(m->fd, hwpt, iova + places[i], p + places[i], UNIT), 0);
	WANT(mock_check(m->fd, hwpt, iova - UNIT, p, UNIT), -EINVAL);
}

/* Contiguous memory from the first page on, of which others have pinned all, or the first page. */
static void first_page_is_pinned(struct fixture *none)
{
	char *p = mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_1GB, -1, 0);
	uint64_t iova = GIB;
	uint32_t hwpt, id;
	struct mock m;
	int access;

	CHECK(p != MAP_FAILED);
	*p = 1;
	CHECK(open_mock(&m));
	WANT(map(m.fd, m.ioas, p, GIB, iova), 0);
	check_gib(&m, m.hwpt, iova, p);
	WANT(copy(m.fd, m.ioas, iova, GIB, FIXED | READ | WRITE, m.other, &iova), 0);
	WANT(hwpt_alloc(m.fd, m.dev_id, m.other, &hwpt), 0);
	check_gib(&m, hwpt, iova, p);
	WANT(unmap_all(m.fd, m.ioas), GIB);
	check_gib(&m, hwpt, iova, p);
	WANT(destroy(m.fd, hwpt), 0);
	WANT(pinned(), m.idle);
	access = access_open(m.fd, m.other, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);
	CHECK(access >= 0);
	WANT(access_pin(m.fd, access, iova, PAGE, p, &id), 0);
	WANT(hwpt_alloc(m.fd, m.dev_id, m.other, &hwpt), 0);
	check_gib(&m, hwpt, iova, p);
	WANT(access_unpin(m.fd, access, id), 0);
	close(access);
	check_gib(&m, hwpt, iova, p);
	WANT(destroy(m.fd, hwpt), 0);
	WANT(pinned(), m.idle);
	munmap(p, GIB);
	close_mock(&m);
}

static const struct test tests[] = {
	{ "any number of pieces", any_number, ALONE },
	{ "parts of pages", parts_of_pages, ALONE },
	{ "an entry for each page", small_pages, ALONE },
	{ "entries as large as can be", large_entries, ALONE },
	{ "a run of 1 GiB whose first page is pinned", first_page_is_pinned, ALONE },
	{ "any allocation of a map fails", map_fails, ALONE },
	{ "small areas at once", small_areas, ALONE },
	{ "a small area without memory", area_without_memory, ALONE },
	{ "any allocation of filling page tables fails", fill_fails, ALONE },
};

static const struct suite pieces_suite = {
	.name = "pieces", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &pieces_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
