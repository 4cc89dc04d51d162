// SPDX-License-Identifier: GPL-2.0-only
/* HWPT_ALLOC of page tables that the kernel manages. */
#include <string.h>

#include "uapi.h"

#define ROW(what, e, ...) { .name = what, .cmd = IOMMU_HWPT_ALLOC, .want = SAME(e), \
	.arg.hwpt = ARG(__VA_ARGS__) }
#define ARG(...) { .size = sizeof(struct iommu_hwpt_alloc), .dev_id = b->dev_id, \
	.pt_id = b->other, ##__VA_ARGS__ }

static uint64_t data[8];

static void hwpt_rows(struct bench *b)
{
	const struct row rows[] = {
		ROW("the call that the others vary", 0),
		ROW("on the IOAS that the device is attached to", 0, .pt_id = b->ioas),
		ROW("an id given is ignored", 0, .out_hwpt_id = ~0u),
		ROW("reserved field", EOPNOTSUPP, .__reserved = 1),
		/* The second is documented as must be 0. */
		{ .name = "second reserved field", .cmd = IOMMU_HWPT_ALLOC,
		  .want = SAME(EOPNOTSUPP), .finding = "__reserved2 is not looked at",
		  .c = SAME(0), .arg.hwpt = ARG(.__reserved2 = 1) },
		ROW("a fault id without its flag", 0, .fault_id = 77),
		ROW("unknown flag 4", EOPNOTSUPP, .flags = 1 << 4),
		ROW("unknown flag 31", EOPNOTSUPP, .flags = 1u << 31),
		ROW("nest parent with a fault id", EOPNOTSUPP,
		    .flags = IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_FAULT_ID_VALID),
		ROW("device id 0", ENOENT, .dev_id = 0),
		ROW("device id 0xffffffff", ENOENT, .dev_id = ~0u),
		ROW("device id of an IOAS", ENOENT, .dev_id = b->ioas),
		ROW("device id of a page table", ENOENT, .dev_id = b->hwpt),
		/* Not ENOENT, as everywhere else. */
		ROW("parent id 0", EINVAL, .pt_id = 0),
		ROW("parent id 0xffffffff", EINVAL, .pt_id = ~0u),
		ROW("parent id never given", EINVAL, .pt_id = NO_ID),
		ROW("parent id of the device", EINVAL, .pt_id = b->dev_id),
		ROW("parent is a page table, no data", EOPNOTSUPP, .pt_id = b->hwpt),
		ROW("data without a type", EINVAL, .data_len = 8, .data_uptr = PTR(data)),
		ROW("a type without data", EINVAL, .data_type = IOMMU_HWPT_DATA_VTD_S1),
		ROW("an unknown type without data", EINVAL, .data_type = ~0u),
		ROW("data on an IOAS", EOPNOTSUPP, .data_type = IOMMU_HWPT_DATA_VTD_S1,
		    .data_len = sizeof(struct iommu_hwpt_vtd_s1), .data_uptr = PTR(data)),
		ROW("data of an unknown type on an IOAS", EOPNOTSUPP, .data_type = ~0u,
		    .data_len = sizeof(data), .data_uptr = PTR(data)),
		ROW("no data, a bad address", 0, .data_uptr = PTR(mem.gone)),
		ROW("reserved field before type", EOPNOTSUPP, .__reserved = 1, .data_len = 8),
		ROW("type before id", EINVAL, .data_len = 8, .dev_id = 0),
		ROW("device id before parent id", ENOENT, .dev_id = 0, .pt_id = 0),
		ROW("parent id before flag", EINVAL, .flags = 1 << 4, .pt_id = 0),
	};

	run_rows(b, rows, ARRAY_SIZE(rows));
}

/* A page table that nobody is attached to limits its IOAS, holds its pages, and lets go. */
static void unattached(struct bench *b)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	uint32_t nr = MAX_RANGES, id, second;
	uint64_t alignment;

	WANT(hwpt_alloc(b->fd, b->dev_id, b->other, &id), 0);
	CHECK(id != b->other && id != b->ioas && id != b->dev_id && id != b->hwpt);
	WANT(pinned(), b->idle_pins + 2);
	WANT(iova_ranges(b->fd, b->other, ranges, &nr, &alignment), 0);
	WANT(alignment, PAGE);
	CHECK(ranges[0].start == 0 && ranges[nr - 1].last != TOP);
	/* The interrupts are the device's matter, not the page table's. */
	WANT(nr, 1);
	WANT(map(b->fd, b->other, mem.rw, PAGE, MSI_IOVA), 0);
	WANT(attach(b->dev, id, NULL), -EADDRINUSE);
	WANT(unmap(b->fd, b->other, MSI_IOVA, PAGE), PAGE);
	/* A second one shares the pages. */
	WANT(hwpt_alloc(b->fd, b->dev_id, b->other, &second), 0);
	WANT(pinned(), b->idle_pins + 2);
	WANT(destroy(b->fd, id), 0);
	WANT(pinned(), b->idle_pins + 2);
	WANT(destroy(b->fd, b->other), -EBUSY);
	WANT(destroy(b->fd, second), 0);
	WANT(pinned(), b->idle_pins + 1);
	nr = MAX_RANGES;
	WANT(iova_ranges(b->fd, b->other, ranges, &nr, &alignment), 0);
	WANT(alignment, 1);
	CHECK(nr == 1 && ranges[0].start == 0 && ranges[0].last == TOP);
	WANT(destroy(b->fd, b->other), 0);
}

static void attached(struct bench *b)
{
	uint32_t id, out = 0;

	WANT(hwpt_alloc(b->fd, b->dev_id, b->other, &id), 0);
	WANT(attach(b->dev, id, &out), 0);
	WANT(out, id);
	WANT(destroy(b->fd, id), -EBUSY);
	WANT(map(b->fd, b->other, mem.rw, PAGE, MSI_IOVA), -EINVAL);
	/* An own page table stays when the device leaves, and is not chosen by itself. */
	WANT(attach(b->dev, b->other, &out), 0);
	CHECK(out != id);
	WANT(detach(b->dev), 0);
	WANT(destroy(b->fd, out), -ENOENT);
	WANT(destroy(b->fd, b->other), -EBUSY);
	WANT(destroy(b->fd, id), 0);
	WANT(destroy(b->fd, b->other), 0);
}

/* What the IOAS holds does not suit a page table: none is made, nothing is kept. */
static void refused(struct bench *b)
{
	struct iommu_iova_range ranges[MAX_RANGES], high = { 1ULL << 62, TOP };
	uint32_t nr = MAX_RANGES, id;
	uint64_t alignment;

	WANT(map(b->fd, b->other, mem.hole, 16 * PAGE, FREE_IOVA), 0);
	WANT(hwpt_alloc(b->fd, b->dev_id, b->other, &id), -EFAULT);
	WANT(pinned(), b->idle_pins + 1);
	WANT(unmap_all(b->fd, b->other), 17 * PAGE);
	WANT(map(b->fd, b->other, mem.rw, 100, FREE_IOVA), 0);
	WANT(hwpt_alloc(b->fd, b->dev_id, b->other, &id), -EADDRINUSE);
	WANT(unmap_all(b->fd, b->other), 100);
	WANT(map(b->fd, b->other, mem.rw, PAGE, -PAGE), 0);
	WANT(hwpt_alloc(b->fd, b->dev_id, b->other, &id), -EADDRINUSE);
	WANT(unmap_all(b->fd, b->other), PAGE);
	WANT(allow(b->fd, b->other, &high, 1), 0);
	WANT(hwpt_alloc(b->fd, b->dev_id, b->other, &id), -EADDRINUSE);
	WANT(allow(b->fd, b->other, NULL, 0), 0);

	WANT(iova_ranges(b->fd, b->other, ranges, &nr, &alignment), 0);
	WANT(alignment, 1);
	CHECK(nr == 1 && ranges[0].start == 0 && ranges[0].last == TOP);
	WANT(destroy(b->fd, b->other), 0);
}

/* The answer cannot be written: no page table, and its IOAS is free of it. */
static void unanswered(struct bench *b)
{
	struct iommu_hwpt_alloc cmd = ARG();
	struct iommu_iova_range ranges[MAX_RANGES];
	uint32_t nr = MAX_RANGES;
	uint64_t alignment;

	WANT(call(b->fd, IOMMU_HWPT_ALLOC, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT(pinned(), b->idle_pins + 1);
	WANT(iova_ranges(b->fd, b->other, ranges, &nr, &alignment), 0);
	WANT(alignment, 1);
	WANT(nr, 1);
	WANT(destroy(b->fd, b->other), 0);
}

static void huge_pages_off(struct bench *b)
{
	uint32_t id;

	WANT(set_option(b->fd, IOMMU_OPTION_HUGE_PAGES, b->other, 0), 0);
	WANT(hwpt_alloc(b->fd, b->dev_id, b->other, &id), 0);
	/* The page table and the held page are there: too late now. */
	WANT(set_option(b->fd, IOMMU_OPTION_HUGE_PAGES, b->other, 1), 0);
	WANT(set_option(b->fd, IOMMU_OPTION_HUGE_PAGES, b->other, 0), -EINVAL);
	WANT(destroy(b->fd, id), 0);
	WANT(set_option(b->fd, IOMMU_OPTION_HUGE_PAGES, b->other, 0), 0);
}

static const struct scene scenes[] = {
	{ "attached to nothing", unattached, HARD },
	{ "attached to by hand", attached, HARD },
	{ "refused for what is mapped", refused, HARD },
	{ "the answer cannot be written", unanswered, HARD },
	{ "huge pages off", huge_pages_off, HARD },
};

const struct suite hwpt_suite = {
	"hwpt", hwpt_rows, HARD, scenes, ARRAY_SIZE(scenes),
};
