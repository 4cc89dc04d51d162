// SPDX-License-Identifier: GPL-2.0-only
/* IOAS_UNMAP. */
#include <string.h>

#include "uapi.h"

#define ROW(what, e, reason, ...) { .name = what, .cmd = IOMMU_IOAS_UNMAP, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.unmap = { .size = sizeof(struct iommu_ioas_unmap), .ioas_id = f->ioas, \
		       .iova = HELD_IOVA, .length = PAGE, ##__VA_ARGS__ } }

static void unmap_rows(struct fixture *f)
{
	const struct row rows[] = {
		ROW("the call on which the others are based", 0, NULL),
		ROW("id 0", ENOENT, "object-none", .ioas_id = 0),
		ROW("id 0xffffffff", ENOENT, "object-none", .ioas_id = ~0u),
		ROW("id of a device", ENOENT, f->domain ? "object-kind" : "object-none",
		    .ioas_id = f->dev_id),
		ROW("id of a page table", ENOENT, f->domain ? "object-kind" : "object-none",
		    .ioas_id = f->hwpt),
		ROW("id before length", ENOENT, "object-none", .ioas_id = 0, .length = 0),
		ROW("length 0", EINVAL, "command-range", .length = 0),
		ROW("length 0 where nothing is mapped", EINVAL, "command-range", .length = 0,
		    .iova = FREE_IOVA),
		ROW("length ULONG_MAX from elsewhere than 0", EOVERFLOW, "command-overflow",
		    .length = TOP),
		ROW("length ULONG_MAX from 1", EOVERFLOW, "command-overflow", .length = TOP,
		    .iova = 1),
		ROW("iova ULONG_MAX", EOVERFLOW, "command-overflow", .iova = TOP, .length = 1),
		ROW("iova + length wraps", EOVERFLOW, "command-range", .iova = -PAGE,
		    .length = PAGE + 1),
		ROW("iova + length wraps to the mapping", EOVERFLOW, "command-range", .iova = -PAGE,
		    .length = HELD_IOVA + 3 * PAGE),
		ROW("nothing is mapped", ENOENT, "unmap-nothing", .iova = FREE_IOVA),
		ROW("nothing in the last page", ENOENT, "unmap-nothing", .iova = -PAGE),
		ROW("the front of a mapping", ENOENT, "unmap-part", .length = PAGE / 2),
		ROW("the end of a mapping", ENOENT, "unmap-part", .iova = HELD_IOVA + PAGE / 2,
		    .length = PAGE / 2),
		ROW("the middle of a mapping", ENOENT, "unmap-part", .iova = HELD_IOVA + 16,
		    .length = 16),
		ROW("all but the first byte", ENOENT, "unmap-part", .iova = HELD_IOVA + 1,
		    .length = PAGE - 1),
		ROW("all but the last byte", ENOENT, "unmap-part", .length = PAGE - 1),
		ROW("ends in a mapping", ENOENT, "unmap-part", .iova = HELD_IOVA - PAGE,
		    .length = PAGE + 1),
		ROW("begins in a mapping", ENOENT, "unmap-part", .iova = HELD_IOVA + PAGE - 1,
		    .length = PAGE),
		ROW("right before a mapping", ENOENT, "unmap-nothing", .iova = HELD_IOVA - PAGE),
		ROW("right behind a mapping", ENOENT, "unmap-nothing", .iova = HELD_IOVA + PAGE),
		ROW("more than a mapping", 0, NULL, .iova = HELD_IOVA - PAGE, .length = 3 * PAGE),
		ROW("misaligned but more than a mapping", 0, NULL, .iova = HELD_IOVA - 1,
		    .length = PAGE + 2),
		ROW("2^64 - 2 bytes from 0", 0, NULL, .iova = 0, .length = TOP - 1),
		ROW("up to the last byte", 0, NULL, .iova = PAGE, .length = -PAGE),
		ROW("everything", 0, NULL, .iova = 0, .length = TOP),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

static void everything(struct fixture *f)
{
	uint64_t i;

	for (i = 0; i < 20; i++)
		WANT(map(f->fd, f->ioas, mem.rw, PAGE << i % 3, FREE_IOVA + i * HUGE), 0);
	WANT(unmap_all(f->fd, f->ioas), 46 * PAGE);
	/* If nothing is mapped, unmapping everything succeeds with length 0. */
	WANT(unmap_all(f->fd, f->ioas), 0);
	WANT(unmap(f->fd, f->ioas, 0, TOP - 1), -ENOENT);
	WANT(unmap(f->fd, f->ioas, PAGE, -PAGE), -ENOENT);
}

static void several(struct fixture *f)
{
	WANT(map(f->fd, f->ioas, mem.rw, 2 * PAGE, FREE_IOVA), 0);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA + 2 * PAGE), 0);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA + 8 * PAGE), 0);
	/* Adjacent mappings stay two mappings. */
	WANT(unmap(f->fd, f->ioas, FREE_IOVA + PAGE, PAGE), -ENOENT);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 2 * PAGE), 2 * PAGE);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 2 * PAGE), -ENOENT);
	/* Gaps are not counted. */
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 16 * PAGE), 2 * PAGE);
	WANT(map(f->fd, f->ioas, mem.rw, 16 * PAGE, FREE_IOVA), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 16 * PAGE), 16 * PAGE);
}

/*
 * The range covers one mapping and a part of a second one. Either the error means that nothing was
 * unmapped, or `length` says how much was; the C module does neither.
 */
static void half_way(struct fixture *f)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd),
		.ioas_id = f->ioas,
		.iova = FREE_IOVA,
		.length = 4 * PAGE,
	};
	long long left;

	WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA), 0);
	WANT(map(f->fd, f->ioas, mem.rw, 4 * PAGE, FREE_IOVA + 2 * PAGE), 0);
	WANT(call(f->fd, IOMMU_IOAS_UNMAP, &cmd), -ENOENT);
	left = unmap(f->fd, f->ioas, FREE_IOVA, HUGE);
	if (on_c_module()) {
		WANT(left, 4 * PAGE);
		WANT(cmd.length, 4 * PAGE);
	} else if (cmd.length == 4 * PAGE) {
		WANT(left, 5 * PAGE);
	} else {
		WANT(left + cmd.length, 5 * PAGE);
	}
	WANT(unmap_all(f->fd, f->ioas), PAGE);
}

/* Unmapping cannot be undone: EFAULT, and the mapping is either there or unpinned. */
static void unanswered(struct fixture *f)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd),
		.ioas_id = f->ioas,
		.iova = FREE_IOVA,
		.length = 4 * PAGE,
	};
	long idle = pinned();
	long long left;

	WANT(map(f->fd, f->ioas, mem.rw, 4 * PAGE, FREE_IOVA), 0);
	WANT(call(f->fd, IOMMU_IOAS_UNMAP, read_only(&cmd, sizeof(cmd))), -EFAULT);
	left = unmap_all(f->fd, f->ioas);
	if (on_c_module())
		WANT(left, PAGE);
	CHECK(left == PAGE || left == 5 * PAGE);
	WANT(pinned(), f->domain ? idle - 1 : idle);
}

/* Mappings that end at the last byte of the address space. */
static void last_byte(struct fixture *f)
{
	WANT(map(f->fd, f->other, mem.rw, PAGE, -PAGE), 0);
	WANT(map(f->fd, f->other, mem.rw, 3, -PAGE - 3), 0);
	WANT(map(f->fd, f->other, mem.rw, 2, TOP - 1), -EEXIST);
	WANT(unmap(f->fd, f->other, -PAGE, PAGE - 1), -ENOENT);
	WANT(unmap(f->fd, f->other, -PAGE, PAGE + 1), -EOVERFLOW);
	WANT(unmap(f->fd, f->other, -PAGE - 3, PAGE + 3), PAGE + 3);
	WANT(map(f->fd, f->other, mem.rw, 2, TOP - 1), 0);
	WANT(unmap(f->fd, f->other, TOP - 1, 2), 2);
	WANT(map(f->fd, f->other, mem.rw, PAGE, -PAGE), 0);
	WANT(unmap_all(f->fd, f->other), 2 * PAGE);
}

/* Nearly all of the address space in one mapping, without a domain. */
static void nearly_all(struct fixture *f)
{
	uint64_t iova = 0;

	WANT(unmap_all(f->fd, f->other), PAGE);
	WANT(map_as(f->fd, f->other, FIXED | READ, NULL, TOP - PAGE, &iova), 0);
	WANT(map(f->fd, f->other, mem.rw, PAGE, FREE_IOVA), -EEXIST);
	WANT(map(f->fd, f->other, mem.rw, PAGE, -PAGE), 0);
	WANT(map(f->fd, f->other, mem.rw, 1, TOP - PAGE), 0);
	WANT(map(f->fd, f->other, mem.rw, 1, TOP - 1), -EEXIST);
	iova = 0;
	WANT(map_as(f->fd, f->other, READ, mem.rw, PAGE, &iova), -ENOSPC);
	WANT(unmap(f->fd, f->other, 0, PAGE), -ENOENT);
	WANT(unmap(f->fd, f->other, 0, TOP - PAGE), (long long)(TOP - PAGE));
	WANT(unmap_all(f->fd, f->other), PAGE + 1);
}

static const struct test tests[] = {
	{ "everything, and with nothing mapped", everything, NO_DOMAIN | DOMAIN },
	{ "several mappings at once", several, NO_DOMAIN | DOMAIN },
	{ "an error after the first mapping", half_way, NO_DOMAIN | DOMAIN },
	{ "the struct cannot be written back", unanswered, NO_DOMAIN | DOMAIN },
	{ "the last byte of the address space", last_byte, NO_DOMAIN },
	{ "nearly all of the address space", nearly_all, NO_DOMAIN },
};

const struct suite unmap_suite = {
	"unmap", unmap_rows, NO_DOMAIN | DOMAIN, tests, ARRAY_SIZE(tests),
};
