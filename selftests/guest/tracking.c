// SPDX-License-Identifier: GPL-2.0-only
/* See tracking.h. */
#include "call.h"
#include "result.h"
#include "tracking.h"

int track(int fd, uint32_t hwpt, bool on)
{
	struct iommu_hwpt_set_dirty_tracking cmd = {
		.size = sizeof(cmd), .flags = on ? IOMMU_HWPT_DIRTY_TRACKING_ENABLE : 0, .hwpt_id = hwpt,
	};

	return call(fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &cmd);
}

uint64_t read_dirty(int fd, uint32_t hwpt, uint64_t iova, uint32_t pages, bool forget)
{
	uint64_t bitmap = 0;
	struct iommu_hwpt_get_dirty_bitmap cmd = {
		.size = sizeof(cmd), .hwpt_id = hwpt, .iova = iova, .length = pages * PAGE, .page_size = PAGE,
		.flags = forget ? 0 : IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR, .data = PTR(&bitmap),
	};
	int r = call(fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd);

	if (r)
		fail("what was written to cannot be read: %s", errno_name(r));
	return bitmap;
}
