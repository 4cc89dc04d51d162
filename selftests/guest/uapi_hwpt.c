// SPDX-License-Identifier: GPL-2.0-only
/* HWPT_ALLOC of page tables that the kernel fills. */
#include <string.h>

#include "uapi.h"

#define ROW(what, e, reason, ...) { .name = what, .cmd = IOMMU_HWPT_ALLOC, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.hwpt = ARG(__VA_ARGS__) }
#define ARG(...) { .size = sizeof(struct iommu_hwpt_alloc), .dev_id = f->dev_id, \
	.pt_id = f->other, ##__VA_ARGS__ }

static uint64_t data[8];

static void hwpt_rows(struct fixture *f)
{
	const struct row rows[] = {
		ROW("the call on which the others are based", 0, NULL),
		ROW("on the IOAS that the device is attached to", 0, NULL, .pt_id = f->ioas),
		ROW("an id given is ignored", 0, NULL, .out_hwpt_id = ~0u),
		ROW("reserved field", EOPNOTSUPP, "command-reserved", .__reserved = 1),
		/* The header says that the second reserved field must be 0. */
		{ .name = "second reserved field", .cmd = IOMMU_HWPT_ALLOC,
		  .want = SAME(EOPNOTSUPP), .why = SAME("command-reserved"),
		  .finding = "__reserved2 is not looked at",
		  .c = SAME(0), .arg.hwpt = ARG(.__reserved2 = 1) },
		ROW("a fault id without its flag", 0, NULL, .fault_id = 77),
		ROW("unknown flag 4", EOPNOTSUPP, "command-flags", .flags = 1 << 4),
		ROW("unknown flag 31", EOPNOTSUPP, "command-flags", .flags = 1u << 31),
		ROW("nest parent with a fault id", EOPNOTSUPP, "hwpt-fault-parent",
		    .flags = IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_FAULT_ID_VALID),
		ROW("device id 0", ENOENT, "object-none", .dev_id = 0),
		ROW("device id 0xffffffff", ENOENT, "object-none", .dev_id = ~0u),
		ROW("device id of an IOAS", ENOENT, "object-kind", .dev_id = f->ioas),
		ROW("device id of a page table", ENOENT, "object-kind", .dev_id = f->hwpt),
		/* EINVAL, where the other commands return ENOENT. */
		ROW("parent id 0", EINVAL, "object-none", .pt_id = 0),
		ROW("parent id 0xffffffff", EINVAL, "object-none", .pt_id = ~0u),
		ROW("an unused parent id", EINVAL, "object-none", .pt_id = NO_ID),
		ROW("parent id of the device", EINVAL, "hwpt-parent-kind", .pt_id = f->dev_id),
		ROW("parent is a page table, no data", EOPNOTSUPP, "hwpt-nested-flags",
		    .pt_id = f->hwpt),
		ROW("data without a type", EINVAL, "hwpt-data", .data_len = 8,
		    .data_uptr = PTR(data)),
		ROW("a type without data", EINVAL, "hwpt-data",
		    .data_type = IOMMU_HWPT_DATA_VTD_S1),
		ROW("an unknown type without data", EINVAL, "hwpt-data", .data_type = ~0u),
		ROW("data on an IOAS", EOPNOTSUPP, "hwpt-driver",
		    .data_type = IOMMU_HWPT_DATA_VTD_S1,
		    .data_len = sizeof(struct iommu_hwpt_vtd_s1), .data_uptr = PTR(data)),
		ROW("data of an unknown type on an IOAS", EOPNOTSUPP, "hwpt-driver",
		    .data_type = ~0u,
		    .data_len = sizeof(data), .data_uptr = PTR(data)),
		ROW("no data, a bad address", 0, NULL, .data_uptr = PTR(mem.gone)),
		ROW("reserved field before type", EOPNOTSUPP, "command-reserved", .__reserved = 1,
		    .data_len = 8),
		ROW("type before id", EINVAL, "hwpt-data", .data_len = 8, .dev_id = 0),
		ROW("device id before parent id", ENOENT, "object-none", .dev_id = 0, .pt_id = 0),
		ROW("parent id before flag", EINVAL, "object-none", .flags = 1 << 4, .pt_id = 0),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

/*
 * Page tables without a device restrict their IOAS and keep its pages pinned until they are
 * destroyed.
 */
static void unattached(struct fixture *f)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	uint32_t nr = MAX_RANGES, id, second;
	uint64_t alignment;

	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &id), 0);
	CHECK(id != f->other && id != f->ioas && id != f->dev_id && id != f->hwpt);
	WANT(pinned(), f->idle_pins + 2);
	WANT(iova_ranges(f->fd, f->other, ranges, &nr, &alignment), 0);
	WANT(alignment, PAGE);
	CHECK(ranges[0].start == 0 && ranges[nr - 1].last != TOP);
	/* The MSI window belongs to the device, not to the page tables. */
	WANT(nr, 1);
	WANT(map(f->fd, f->other, mem.rw, PAGE, MSI_IOVA), 0);
	WANT(attach(f->dev, id, NULL), -EADDRINUSE);
	WANT(unmap(f->fd, f->other, MSI_IOVA, PAGE), PAGE);
	/* Second page tables use the same pinned pages. */
	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &second), 0);
	WANT(pinned(), f->idle_pins + 2);
	WANT(destroy(f->fd, id), 0);
	WANT(pinned(), f->idle_pins + 2);
	WANT(destroy(f->fd, f->other), -EBUSY);
	WANT(destroy(f->fd, second), 0);
	WANT(pinned(), f->idle_pins + 1);
	nr = MAX_RANGES;
	WANT(iova_ranges(f->fd, f->other, ranges, &nr, &alignment), 0);
	WANT(alignment, 1);
	CHECK(nr == 1 && ranges[0].start == 0 && ranges[0].last == TOP);
	WANT(destroy(f->fd, f->other), 0);
}

static void attached(struct fixture *f)
{
	uint32_t id, out = 0;

	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &id), 0);
	WANT(attach(f->dev, id, &out), 0);
	WANT(out, id);
	WANT(destroy(f->fd, id), -EBUSY);
	WANT(map(f->fd, f->other, mem.rw, PAGE, MSI_IOVA), -EINVAL);
	/*
	 * Page tables that were made by HWPT_ALLOC stay when the device is detached, and are not
	 * chosen automatically.
	 */
	WANT(attach(f->dev, f->other, &out), 0);
	CHECK(out != id);
	WANT(detach(f->dev), 0);
	WANT(destroy(f->fd, out), -ENOENT);
	WANT(destroy(f->fd, f->other), -EBUSY);
	WANT(destroy(f->fd, id), 0);
	WANT(destroy(f->fd, f->other), 0);
}

/* The page tables cannot have what the IOAS maps: none are made. */
static void refused(struct fixture *f)
{
	struct iommu_iova_range ranges[MAX_RANGES], high = { 1ULL << 62, TOP };
	uint32_t nr = MAX_RANGES, id;
	uint64_t alignment;

	WANT(map(f->fd, f->other, mem.hole, 16 * PAGE, FREE_IOVA), 0);
	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &id), -EFAULT);
	WANT(pinned(), f->idle_pins + 1);
	WANT(unmap_all(f->fd, f->other), 17 * PAGE);
	WANT(map(f->fd, f->other, mem.rw, 100, FREE_IOVA), 0);
	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &id), -EADDRINUSE);
	WANT(unmap_all(f->fd, f->other), 100);
	WANT(map(f->fd, f->other, mem.rw, PAGE, -PAGE), 0);
	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &id), -EADDRINUSE);
	WANT(unmap_all(f->fd, f->other), PAGE);
	WANT(allow(f->fd, f->other, &high, 1), 0);
	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &id), -EADDRINUSE);
	WANT(allow(f->fd, f->other, NULL, 0), 0);

	WANT(iova_ranges(f->fd, f->other, ranges, &nr, &alignment), 0);
	WANT(alignment, 1);
	CHECK(nr == 1 && ranges[0].start == 0 && ranges[0].last == TOP);
	WANT(destroy(f->fd, f->other), 0);
}

/* If the struct cannot be written back, there are no page tables. */
static void unanswered(struct fixture *f)
{
	struct iommu_hwpt_alloc cmd = ARG();
	struct iommu_iova_range ranges[MAX_RANGES];
	uint32_t nr = MAX_RANGES;
	uint64_t alignment;

	WANT(call(f->fd, IOMMU_HWPT_ALLOC, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT(pinned(), f->idle_pins + 1);
	WANT(iova_ranges(f->fd, f->other, ranges, &nr, &alignment), 0);
	WANT(alignment, 1);
	WANT(nr, 1);
	WANT(destroy(f->fd, f->other), 0);
}

static void huge_pages_off(struct fixture *f)
{
	uint32_t id;

	WANT(set_option(f->fd, IOMMU_OPTION_HUGE_PAGES, f->other, 0), 0);
	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &id), 0);
	/* Page tables exist and the held page is mapped, so the option is refused. */
	WANT(set_option(f->fd, IOMMU_OPTION_HUGE_PAGES, f->other, 1), 0);
	WANT(set_option(f->fd, IOMMU_OPTION_HUGE_PAGES, f->other, 0), -EINVAL);
	WANT(destroy(f->fd, id), 0);
	WANT(set_option(f->fd, IOMMU_OPTION_HUGE_PAGES, f->other, 0), 0);
}

static const struct test tests[] = {
	{ "without a device", unattached, DOMAIN },
	{ "attached by its id", attached, DOMAIN },
	{ "refused because of a mapping", refused, DOMAIN },
	{ "the struct cannot be written back", unanswered, DOMAIN },
	{ "huge pages off", huge_pages_off, DOMAIN },
};

const struct suite hwpt_suite = {
	"hwpt", hwpt_rows, DOMAIN, tests, ARRAY_SIZE(tests),
};
