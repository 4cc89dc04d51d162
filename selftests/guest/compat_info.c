// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>

#include "compat_call.h"
#include "compat_info.h"
#include "result.h"

/*
 * Returns whether byte `at` is written if there is room up to byte argsz: the struct, and what fits of
 * each capability.
 */
static bool is_written(uint32_t at, uint32_t argsz, uint32_t total)
{
	const uint32_t avail = sizeof(struct vfio_iommu_type1_info), ranges = avail + 16;
	const uint32_t avail_end = avail + sizeof(struct vfio_iommu_type1_info_dma_avail);
	const uint32_t first = ranges + sizeof(struct vfio_iommu_type1_info_cap_iova_range);

	if (at < avail)
		return at < argsz;
	/* The padding behind a capability is left alone. */
	if (at < ranges)
		return at < avail_end && argsz >= avail_end;
	/* The number of ranges comes last, when all of them fit. */
	if (at < first)
		return argsz >= total;
	at -= (at - first) % sizeof(struct vfio_iova_range);
	return at < total && argsz >= at + sizeof(struct vfio_iova_range);
}

void check_info(int fd, bool domain)
{
	const size_t cap = sizeof(struct vfio_iommu_type1_info_cap_iova_range);
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info), .pad = 7 };
	struct vfio_iommu_type1_info_cap_iova_range *ranges;
	struct vfio_iommu_type1_info_dma_avail *avail;
	static union { struct vfio_iommu_type1_info info; char bytes[1024]; } u;
	bool msi_window = false;
	uint32_t total, argsz, i;

	WANT(call(fd, VFIO_IOMMU_GET_INFO, &info), 0);
	total = info.argsz;
	CHECK(total >= sizeof(info) + 16 + cap && total < sizeof(u) - 64);
	for (argsz = 16; argsz <= total + 32; argsz++) {
		memset(&u, 0xa5, sizeof(u));
		u.info.argsz = argsz;
		WANT(call(fd, VFIO_IOMMU_GET_INFO, &u), 0);
		WANT(u.info.argsz, total);
		WANT(u.info.flags, VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS);
		WANT(u.info.iova_pgsizes, info.iova_pgsizes);
		if (argsz >= 20)
			WANT(u.info.cap_offset, argsz >= total ? sizeof(info) : 0);
		if (argsz >= 24)
			WANT(u.info.pad, 0);
		for (i = 16; i < sizeof(u); i++) {
			bool written = (unsigned char)u.bytes[i] != 0xa5;

			if (written == is_written(i, argsz, total))
				continue;
			fail("of %u bytes, %u: byte %u is%s written", argsz, total, i,
			     written ? "" : " not");
			return;
		}
	}
	avail = (void *)&u.bytes[sizeof(info)];
	WANT(avail->header.id, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	WANT(avail->header.version, 1);
	WANT(avail->avail, UINT32_MAX);
	WANT(avail->header.next, sizeof(info) + 16);
	ranges = (void *)&u.bytes[avail->header.next];
	WANT(ranges->header.id, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	WANT(ranges->header.version, 1);
	WANT(ranges->header.next, 0);
	WANT(ranges->reserved, 0);
	WANT(total, sizeof(info) + 16 + cap + ranges->nr_iovas * sizeof(struct vfio_iova_range));
	for (i = 0; i < ranges->nr_iovas; i++) {
		CHECK(ranges->iova_ranges[i].start <= ranges->iova_ranges[i].end);
		if (i)
			CHECK(ranges->iova_ranges[i].start > ranges->iova_ranges[i - 1].end + 1);
		if (ranges->iova_ranges[i].end == 0xfedfffff)
			msi_window = true;
	}
	if (domain) {
		CHECK(msi_window);
		CHECK(info.iova_pgsizes & PAGE && !(info.iova_pgsizes & (PAGE - 1)));
	} else {
		WANT(ranges->nr_iovas, 1);
		WANT(ranges->iova_ranges[0].start, 0);
		WANT(ranges->iova_ranges[0].end, UINT64_MAX);
		WANT(info.iova_pgsizes, -PAGE);
	}
}
