// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lists whose length a program chooses: of areas, of address spaces. A single allocation of more
 * than 4 MiB fails with a warning.
 */
#include <unistd.h>

#include "bugs.h"

/* A debug kernel takes a hundred times as long, and looks for other bugs. */
#define NR_AREAS	(slow_kernel() ? 2000UL : 100000UL)
#define NR_SPACES	(slow_kernel() ? 1000UL : 524300UL)

int map_areas(int fd, uint32_t ioas, unsigned long nr)
{
	unsigned long have, more;
	int r = 0;

	for (have = 1; have < nr && !r; have += more) {
		uint64_t to = FREE_IOVA + have * PAGE;

		more = have < nr - have ? have : nr - have;
		r = copy(fd, ioas, FREE_IOVA, more * PAGE, FIXED | RW, ioas, &to);
	}
	return r;
}

static void copy_areas(struct fixture *none)
{
	const unsigned long nr = NR_AREAS;
	const uint64_t length = nr * PAGE;
	uint64_t to = FREE_IOVA;
	int fd = open_iommu();
	uint32_t from, other;

	CHECK(fd >= 0);
	WANT(ioas_alloc(fd, &from), 0);
	WANT(ioas_alloc(fd, &other), 0);
	WANT(map(fd, from, mem.rw, PAGE, FREE_IOVA), 0);
	WANT(map_areas(fd, from, nr), 0);
	WANT(copy(fd, from, FREE_IOVA, length, FIXED | RW, other, &to), 0);
	/* A gap, or a mapping that is in the way, at the very end: nothing is copied. */
	WANT(unmap(fd, other, FREE_IOVA, length - PAGE), length - PAGE);
	WANT(copy(fd, from, FREE_IOVA, length, FIXED | RW, other, &to), -EEXIST);
	WANT(unmap_all(fd, other), PAGE);
	WANT(copy(fd, from, FREE_IOVA, length + PAGE, FIXED | RW, other, &to), -ENOENT);
	WANT(unmap_all(fd, other), 0);
	WANT(unmap_all(fd, from), length);
	close(fd);
}

static void change_process_of_many(struct fixture *none)
{
	const unsigned long nr = NR_SPACES;
	int fd = open_iommu();
	unsigned long i;
	uint32_t id;

	CHECK(fd >= 0);
	for (i = 0; i < nr; i++)
		WANT(ioas_alloc(fd, &id), 0);
	WANT(change_process(&(struct fixture){ .fd = fd }), 0);
	close(fd);
}

static const struct test tests[] = {
	{ "100,000 areas are copied in one call", copy_areas, ALONE },
	{ "the process of 524,300 address spaces is changed", change_process_of_many, ALONE },
};

const struct suite scale_suite = {
	.name = "scale",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
