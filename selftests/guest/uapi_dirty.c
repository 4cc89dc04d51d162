// SPDX-License-Identifier: GPL-2.0-only
/* Dirty tracking of page tables that do not support it: the checks and their order. */
#include "uapi.h"

#define TRACK(what, e, reason, ...) { .name = what, .cmd = IOMMU_HWPT_SET_DIRTY_TRACKING, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.track = { .size = sizeof(struct iommu_hwpt_set_dirty_tracking), \
	.flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE, .hwpt_id = f->hwpt, ##__VA_ARGS__ } }
#define DIRTY(what, e, reason, ...) { .name = what, .cmd = IOMMU_HWPT_GET_DIRTY_BITMAP, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.dirty = { .size = sizeof(struct iommu_hwpt_get_dirty_bitmap), \
	.hwpt_id = f->hwpt, .iova = HELD_IOVA, .length = PAGE, .page_size = PAGE, \
	.data = PTR(bits), ##__VA_ARGS__ } }

#define NO_CLEAR	IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR
#define HALF		(1ULL << 63)

static uint64_t bits[8];

static void dirty_rows(struct fixture *f)
{
	const struct row rows[] = {
		TRACK("track: on", EOPNOTSUPP, "hwpt-untracked"),
		TRACK("track: off", EOPNOTSUPP, "hwpt-untracked", .flags = 0),
		TRACK("track: flag 1", EOPNOTSUPP, "command-flags", .flags = 2),
		TRACK("track: flag 31", EOPNOTSUPP, "command-flags", .flags = 1u << 31),
		TRACK("track: flag before id", EOPNOTSUPP, "command-flags", .flags = 2,
		      .hwpt_id = 0),
		TRACK("track: id 0", ENOENT, "object-none", .hwpt_id = 0),
		TRACK("track: id 0xffffffff", ENOENT, "object-none", .hwpt_id = ~0u),
		TRACK("track: id of an IOAS", ENOENT, "object-kind", .hwpt_id = f->ioas),
		TRACK("track: id of the device", ENOENT, "object-kind", .hwpt_id = f->dev_id),
		/* It must be 0, says the header. */
		{ .name = "track: reserved field before id", .cmd = IOMMU_HWPT_SET_DIRTY_TRACKING,
		  .want = SAME(EOPNOTSUPP), .why = SAME("command-reserved"),
		  .finding = "S", .c = SAME(ENOENT),
		  .arg.track = { .size = sizeof(struct iommu_hwpt_set_dirty_tracking),
				 .__reserved = 1 } },

		DIRTY("read: and clear", EOPNOTSUPP, "hwpt-untracked"),
		DIRTY("read: not to clear", EOPNOTSUPP, "hwpt-untracked", .flags = NO_CLEAR),
		DIRTY("read: flag 1", EOPNOTSUPP, "command-flags", .flags = 2),
		DIRTY("read: reserved field", EOPNOTSUPP, "command-reserved", .__reserved = 1),
		DIRTY("read: flag before id", EOPNOTSUPP, "command-flags", .flags = 2,
		      .hwpt_id = 0),
		DIRTY("read: reserved field before id", EOPNOTSUPP, "command-reserved",
		      .__reserved = 1, .hwpt_id = 0),
		DIRTY("read: id 0", ENOENT, "object-none", .hwpt_id = 0),
		DIRTY("read: id 0xffffffff", ENOENT, "object-none", .hwpt_id = ~0u),
		DIRTY("read: id of an IOAS", ENOENT, "object-kind", .hwpt_id = f->ioas),
		DIRTY("read: id before range", ENOENT, "object-none", .hwpt_id = 0, .length = 0),
		DIRTY("read: no length", EINVAL, "hwpt-bitmap-range", .length = 0),
		DIRTY("read: one byte over the top", EOVERFLOW, "hwpt-bitmap-range",
		      .iova = TOP - PAGE + 1,
		      .length = PAGE + 1),
		DIRTY("read: length over the top", EOVERFLOW, "hwpt-bitmap-range", .length = TOP),
		DIRTY("read: everything but a byte", EINVAL, "hwpt-bitmap-range", .iova = 0,
		      .length = TOP),
		DIRTY("read: the last page of the address space", EOPNOTSUPP, "hwpt-untracked",
		      .iova = TOP - PAGE + 1),
		DIRTY("read: unaligned address", EINVAL, "hwpt-bitmap-range",
		      .iova = HELD_IOVA + 1),
		DIRTY("read: unaligned length", EINVAL, "hwpt-bitmap-range", .length = PAGE + 1),
		DIRTY("read: both unaligned, the end is not", EINVAL, "hwpt-bitmap-range",
		      .iova = HELD_IOVA + 1,
		      .length = PAGE - 1),
		DIRTY("read: page size 0", EINVAL, "hwpt-bitmap-range", .page_size = 0),
		DIRTY("read: page size 1", EOPNOTSUPP, "hwpt-untracked", .page_size = 1),
		DIRTY("read: page size 2048", EOPNOTSUPP, "hwpt-untracked", .page_size = 2048),
		DIRTY("read: page size 2 MiB, one page", EINVAL, "hwpt-bitmap-range",
		      .page_size = HUGE),
		DIRTY("read: page size 2 MiB, 2 MiB", EOPNOTSUPP, "hwpt-untracked",
		      .page_size = HUGE,
		      .length = HUGE),
		DIRTY("read: page size 2 MiB, unaligned address", EINVAL, "hwpt-bitmap-range",
		      .page_size = HUGE,
		      .iova = HELD_IOVA + PAGE, .length = HUGE),
		DIRTY("read: page size 2^63, one page", EINVAL, "hwpt-bitmap-range",
		      .page_size = HALF),
		DIRTY("read: page size 2^63, the lower half", EOPNOTSUPP, "hwpt-untracked",
		      .page_size = HALF,
		      .iova = 0, .length = HALF),
		DIRTY("read: page size 2^63, the upper half", EOPNOTSUPP, "hwpt-untracked",
		      .page_size = HALF,
		      .iova = HALF, .length = HALF),
		DIRTY("read: page size 2^64 - 1", EINVAL, "hwpt-bitmap-range", .page_size = TOP),
		/* The lowest set bit is taken as the page size, as the C module does. */
		DIRTY("read: page size no power of two, misfit", EINVAL, "hwpt-bitmap-range",
		      .page_size = 3 * PAGE,
		      .iova = HELD_IOVA + 2 * PAGE),
		DIRTY("read: page size no power of two, fit", EOPNOTSUPP, "hwpt-untracked",
		      .page_size = 3 * PAGE,
		      .iova = 0, .length = HUGE),
		DIRTY("read: bad bitmap", EOPNOTSUPP, "hwpt-untracked", .data = PTR(mem.gone)),
		DIRTY("read: no bitmap", EOPNOTSUPP, "hwpt-untracked", .data = 0),
		DIRTY("read: where nothing is mapped", EOPNOTSUPP, "hwpt-untracked",
		      .iova = FREE_IOVA),
		{ .name = "page tables for it", .cmd = IOMMU_HWPT_ALLOC, .want = SAME(EOPNOTSUPP),
		  .why = SAME("hwpt-dirty"),
		  .arg.hwpt = { .size = sizeof(struct iommu_hwpt_alloc), .dev_id = f->dev_id,
				.pt_id = f->ioas, .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING } },
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

const struct suite dirty_suite = {
	.name = "dirty",
	.rows = dirty_rows,
	.needs = DOMAIN,
};
