// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory in many pieces, of which some are large: page tables have each piece at its place, by entries that
 * are as large as they can be, and a map that fails leaves nothing.
 *
 * Usage: pieces none [SUITE]
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frame.h"
#include "mock_call.h"

/* Single pages, a huge page, and single pages. */
#define SINGLE		(1UL << 20)
#define LENGTH		(SINGLE + HUGE + SINGLE)
/* Half a page of the CPU is a page of the mock IOMMU. */
#define UNIT		2048UL

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
	CHECK(inject >= 0 && begin(&m));
	/* Allocations that may sleep fail too, and pages of page tables. */
	CHECK(sleeping_allocations_fail());
	CHECK(write_to("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N"));
	CHECK(write_to("/sys/kernel/debug/fail_page_alloc/min-order", "0"));
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

static const struct test tests[] = {
	{ "any number of pieces", any_number, ALONE },
	{ "parts of pages", parts_of_pages, ALONE },
	{ "an entry for each page", small_pages, ALONE },
	{ "entries as large as can be", large_entries, ALONE },
	{ "any allocation of a map fails", map_fails, ALONE },
};

static const struct suite pieces_suite = {
	.name = "pieces", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &pieces_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
