// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of mixed kinds, mapped by its addresses: huge pages, parts of them, what the process has made of
 * them, and what lacks. Page tables get the pages that the process has, a map that fails keeps nothing, and
 * each page is unpinned as often as it was pinned.
 *
 * Usage: mixed none [SUITE]
 */
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frame.h"
#include "mock_call.h"

#define HUGE_PAGE	(2UL << 20)
#define LENGTH		(4 * HUGE_PAGE)
#define NR_PAGES	(LENGTH / PAGE)
#define NR_ROUNDS	150
#define NR_SAMPLES	32

#ifndef MADV_POPULATE_READ		/* glibc 2.35 */
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE			/* glibc 2.37 */
#define MADV_COLLAPSE		25
#endif

static struct mock m;

/* Reserves LENGTH bytes that begin at a multiple of HUGE_PAGE. Behind them nothing is mapped. */
static char *reserve(void)
{
	char *p = mmap(NULL, LENGTH + 2 * HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	p += HUGE_PAGE - PTR(p) % HUGE_PAGE;
	munmap(p + LENGTH, PAGE);
	return p;
}

/* Puts private memory at an address. `advice` is that of madvise() about huge pages. */
static bool put(char *at, size_t length, int flags, int advice)
{
	if (mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0) !=
	    at)
		return false;
	return !advice || !madvise(at, length, advice);
}

/* Returns LENGTH bytes of huge pages, or NULL. Each page has another number in it. */
static char *huge_pages(int flags)
{
	char *p = reserve();
	size_t i;

	if (!p || !put(p, LENGTH, flags, flags & MAP_HUGETLB ? 0 : MADV_HUGEPAGE))
		return NULL;
	for (i = 0; i < NR_PAGES; i++)
		*(size_t *)(p + i * PAGE) = i;
	return phys_of(p + HUGE_PAGE - PAGE) == phys_of(p) + HUGE_PAGE - PAGE ? p : NULL;
}

/* Maps memory, sees that page tables have the pages of the process, and unmaps it. */
static void check_mapped_as(uint32_t flags, const char *p, size_t length)
{
	uint64_t iova = MOCK_IOVA;

	WANT(map_as(m.fd, m.ioas, FIXED | flags, p, length, &iova), 0);
	WANT(mock_check(m.fd, m.hwpt, MOCK_IOVA, p, length), 0);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA, length), length);
	WANT(pinned(), m.idle);
}

static void check_mapped(const char *p, size_t length)
{
	WANT(map(m.fd, m.ioas, p, length, MOCK_IOVA), 0);
	WANT(pinned(), m.idle + (long)(length / PAGE));
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA, length), length);
	WANT(pinned(), m.idle);
	check_mapped_as(RW, p, length);
}

/* Maps memory, which must fail, and sees that nothing stays. */
static void check_refused_as(uint32_t flags, const char *p, size_t length)
{
	uint64_t iova = MOCK_IOVA;

	WANT(map_as(m.fd, m.ioas, FIXED | flags, p, length, &iova), -EFAULT);
	WANT(pinned(), m.idle);
	WANT(unmap_all(m.fd, m.ioas), 0);
}

static void parts_of(const char *p)
{
	check_mapped(p, LENGTH);
	check_mapped(p + 3 * PAGE, LENGTH - 7 * PAGE);
	check_mapped(p + 5 * PAGE, PAGE);
	check_mapped(p + 5 * PAGE, 2 * PAGE);
	check_mapped(p + HUGE_PAGE - PAGE, 2 * PAGE);
	check_mapped(p + HUGE_PAGE - PAGE, HUGE_PAGE + 2 * PAGE);
	check_refused_as(RW, p + PAGE, LENGTH);
}

static void parts_of_huge_pages(struct fixture *none)
{
	char *p[2];

	CHECK(open_mock(&m));
	p[0] = huge_pages(0);
	p[1] = huge_pages(MAP_HUGETLB);
	CHECK(p[0] && p[1]);
	parts_of(p[0]);
	parts_of(p[1]);
	close_mock(&m);
}

/* A huge page of which the process has unmapped, dropped or protected a part. */
static void broken_huge_pages(struct fixture *none)
{
	char *p;

	CHECK(open_mock(&m));
	p = huge_pages(0);
	CHECK(p);
	WANT(madvise(p + HUGE_PAGE + 100 * PAGE, 300 * PAGE, MADV_DONTNEED), 0);
	check_mapped(p, LENGTH);
	CHECK(*(size_t *)(p + HUGE_PAGE + 99 * PAGE) == HUGE_PAGE / PAGE + 99);
	CHECK(*(size_t *)(p + HUGE_PAGE + 100 * PAGE) == 0);
	WANT(mprotect(p + 2 * HUGE_PAGE + 7 * PAGE, PAGE, PROT_READ), 0);
	check_refused_as(RW, p, LENGTH);
	check_mapped_as(READ, p, LENGTH);
	check_mapped(p, 2 * HUGE_PAGE + 7 * PAGE);
	WANT(munmap(p + 3 * HUGE_PAGE + 9 * PAGE, PAGE), 0);
	check_refused_as(READ, p, LENGTH);
	check_mapped_as(READ, p, 3 * HUGE_PAGE + 9 * PAGE);
	check_mapped(p + 3 * HUGE_PAGE + 10 * PAGE, HUGE_PAGE - 10 * PAGE);
	close_mock(&m);
}

/* Every kind in one call. */
static void neighbours(struct fixture *none)
{
	int file = memory_file(HUGE_PAGE, 0);
	char *p, *at;

	CHECK(open_mock(&m));
	p = reserve();
	CHECK(p && file >= 0);
	CHECK(put(p, HUGE_PAGE, 0, MADV_HUGEPAGE));
	CHECK(put(p + HUGE_PAGE, HUGE_PAGE, MAP_HUGETLB, 0));
	CHECK(put(at = p + 2 * HUGE_PAGE, HUGE_PAGE / 2, 0, MADV_NOHUGEPAGE));
	at += HUGE_PAGE / 2;
	CHECK(mmap(at, HUGE_PAGE / 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == at);
	at += HUGE_PAGE / 2;
	CHECK(mmap(at, HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0) == at);
	/* Nothing is there yet but some pages in the middle. */
	memset(p + 2 * HUGE_PAGE + 10 * PAGE, 1, 20 * PAGE);
	check_mapped(p, LENGTH);
	check_mapped(p + PAGE, LENGTH - 2 * PAGE);
	WANT(madvise(p, LENGTH, MADV_DONTNEED), 0);
	check_mapped(p, LENGTH);
	close_mock(&m);
}

/* Pages of zeroes, which all processes share until they write, and pages of a file. */
static void zeroes_and_files(struct fixture *none)
{
	int file = memory_file(HUGE_PAGE, 0), access, i;
	char *p, data[2 * PAGE];

	CHECK(open_mock(&m));
	p = reserve();
	CHECK(p && file >= 0);
	CHECK(put(p, HUGE_PAGE, 0, MADV_HUGEPAGE));
	CHECK(put(p + HUGE_PAGE, 2 * HUGE_PAGE, 0, MADV_NOHUGEPAGE));
	CHECK(mmap(p + 3 * HUGE_PAGE, HUGE_PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0) ==
	      p + 3 * HUGE_PAGE);
	WANT(madvise(p, LENGTH, MADV_POPULATE_READ), 0);
	/* An access pins for a moment, where no page table has the memory. */
	WANT(map(m.fd, m.other, p, 3 * HUGE_PAGE, MOCK_IOVA), 0);
	access = access_open(m.fd, m.other, 0);
	CHECK(access >= 0);
	for (i = 0; i < 3; i++) {
		memset(data, 1, sizeof(data));
		WANT(access_rw(m.fd, access, MOCK_IOVA + i * HUGE_PAGE, data, sizeof(data), 0), 0);
		CHECK(!data[0] && !memcmp(data, data + 1, sizeof(data) - 1));
	}
	WANT(pinned(), m.idle);
	WANT(unmap_all(m.fd, m.other), 3 * HUGE_PAGE);
	check_refused_as(RW, p, LENGTH);
	check_mapped_as(READ, p, LENGTH);
	check_mapped_as(READ, p + PAGE, LENGTH - 2 * PAGE);
	close(access);
	close_mock(&m);
}

static char *inherited;
static int to_child[2], to_parent[2];

/* Has the memory of its parent, until the parent has mapped its own. */
static void hold_memory(struct fixture *none)
{
	char byte = 0;
	size_t i;

	CHECK(write(to_parent[1], &byte, 1) == 1);
	CHECK(read(to_child[0], &byte, 1) == 1);
	for (i = 0; i < NR_PAGES; i++)
		CHECK(*(size_t *)(inherited + i * PAGE) == i);
}

/* The memory is shared with a child. The parent gets pages of its own, by copying or by not sharing on. */
static void after_fork(uint32_t flags)
{
	char byte = 0;
	int pid;

	CHECK(!pipe(to_child) && !pipe(to_parent));
	pid = start_child(NULL, 0, hold_memory);
	CHECK(read(to_parent[0], &byte, 1) == 1);
	check_mapped_as(flags, inherited + PAGE, LENGTH - 2 * PAGE);
	memset(inherited, 1, LENGTH);
	check_mapped_as(flags, inherited, LENGTH);
	CHECK(write(to_child[1], &byte, 1) == 1);
	CHECK(child_done(pid));
	check_mapped_as(flags, inherited, LENGTH);
}

static void forked(struct fixture *none)
{
	static const uint32_t flags[] = { READ, RW };
	unsigned int i;

	CHECK(open_mock(&m));
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		CHECK(inherited = huge_pages(0));
		after_fork(flags[i]);
		CHECK(inherited = huge_pages(0));
		WANT(madvise(inherited + HUGE_PAGE + PAGE, PAGE, MADV_DONTNEED), 0);
		*(size_t *)(inherited + HUGE_PAGE + PAGE) = HUGE_PAGE / PAGE + 1;
		after_fork(flags[i]);
	}
	close_mock(&m);
}

/* Memory that must not stay where it is: the zone is for memory that can be moved. */
static void movable(struct fixture *none)
{
	uint64_t before[NR_SAMPLES];
	size_t i, moved = 0;
	char *p;

	CHECK(open_mock(&m));
	p = huge_pages(0);
	CHECK(p);
	CHECK(put(p, HUGE_PAGE, 0, MADV_NOHUGEPAGE));
	memset(p, 1, HUGE_PAGE);
	for (i = 0; i < NR_SAMPLES; i++)
		before[i] = phys_of(p + i * (LENGTH / NR_SAMPLES));
	WANT(map(m.fd, m.ioas, p, LENGTH, MOCK_IOVA), 0);
	WANT(mock_check(m.fd, m.hwpt, MOCK_IOVA, p, LENGTH), 0);
	for (i = 0; i < NR_SAMPLES; i++)
		moved += phys_of(p + i * (LENGTH / NR_SAMPLES)) != before[i];
	note("%zu of %u samples were moved", moved, NR_SAMPLES);
	CHECK(moved);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA, LENGTH), LENGTH);
	WANT(pinned(), m.idle);
	close_mock(&m);
}

/* What the process has at each page. */
enum access { ABSENT, READ_ONLY, WRITABLE };

/* Returns a number below n; a linear congruential generator, so that each run does the same. */
static unsigned int below(unsigned int n)
{
	static uint64_t seed = 1;

	seed = seed * 6364136223846793005 + 1442695040888963407;
	return (seed >> 33) % n;
}

/* Does something to a part of the memory. */
static bool change(char *p, enum access *states)
{
	size_t first, nr, i;
	int r = 0;
	char *at;

	/* Now and then whole huge pages. */
	nr = below(2) ? 1 + below(2 * HUGE_PAGE / PAGE) : HUGE_PAGE / PAGE * (1 + below(2));
	first = below(NR_PAGES - nr + 1);
	if (below(2))
		first -= first % (HUGE_PAGE / PAGE);
	at = p + first * PAGE;
	switch (below(6)) {
	case 0:
		r = munmap(at, nr * PAGE);
		for (i = first; i < first + nr; i++)
			states[i] = ABSENT;
		break;
	case 1:
	case 2:
		if (!put(at, nr * PAGE, 0, below(2) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
			return false;
		for (i = first; i < first + nr; i++)
			states[i] = WRITABLE;
		if (below(2))
			r = madvise(at, nr * PAGE, MADV_POPULATE_WRITE);
		break;
	case 3:
		/* It fails at a page that is absent, as the calls below do. */
		madvise(at, nr * PAGE, MADV_DONTNEED);
		madvise(at, nr * PAGE, MADV_POPULATE_READ);
		break;
	case 4:
		for (i = first; i < first + nr && i < first + 3; i++)
			if (states[i] != ABSENT) {
				r |= mprotect(p + i * PAGE, PAGE, PROT_READ);
				states[i] = READ_ONLY;
			}
		break;
	case 5:
		madvise(at, nr * PAGE, MADV_COLLAPSE);
		break;
	}
	return !r;
}

static void random_mixtures(struct fixture *none)
{
	static enum access states[NR_PAGES];
	unsigned int round, mapped = 0;
	size_t first, nr, i;
	uint32_t flags;
	bool possible;
	char *p;

	CHECK(open_mock(&m));
	p = huge_pages(0);
	CHECK(p);
	for (i = 0; i < NR_PAGES; i++)
		states[i] = WRITABLE;
	for (round = 0; round < NR_ROUNDS; round++) {
		CHECK(change(p, states));
		flags = below(2) ? RW : READ;
		first = below(NR_PAGES);
		nr = 1 + below(NR_PAGES - first);
		possible = true;
		for (i = first; i < first + nr; i++)
			possible &= states[i] >= (flags == RW ? WRITABLE : READ_ONLY);
		mapped += possible;
		if (possible)
			check_mapped_as(flags, p + first * PAGE, nr * PAGE);
		else
			check_refused_as(flags, p + first * PAGE, nr * PAGE);
	}
	note("%u of %u maps succeeded", mapped, NR_ROUNDS);
	CHECK(mapped && mapped < NR_ROUNDS);
	close_mock(&m);
}

static const struct test tests[] = {
	{ "parts of huge pages", parts_of_huge_pages, ALONE },
	{ "huge pages that were broken", broken_huge_pages, ALONE },
	{ "all kinds of memory in one call", neighbours, ALONE },
	{ "zeroes and files, for reading", zeroes_and_files, ALONE },
	{ "memory that a child has too", forked, ALONE },
	{ "memory that is moved", movable, ALONE },
	{ "random mixtures", random_mixtures, ALONE },
};

static const struct suite mixed_suite = {
	.name = "mixed", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &mixed_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
