// SPDX-License-Identifier: GPL-2.0-only
/* Tests without a domain, and the capabilities with one too. */
#include <string.h>
#include <sys/mman.h>

#include "compat.h"

/* The compat IOAS is one that was chosen, without a domain. */
uint32_t choose(int fd)
{
	uint32_t id = ioas_alloc(fd);

	if (vfio_ioas(fd, IOMMU_VFIO_IOAS_SET, id))
		FAIL("the IOAS is not taken");
	return id;
}

void slot(int fd)
{
	uint32_t a = ioas_alloc(fd), b = ioas_alloc(fd);

	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0), -ENODEV);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_SET, a), 0);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0), a);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_SET, b), 0);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0), b);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_SET, 1u << 30), -ENOENT);
	WANT(destroy(fd, a), 0);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0), b);
	WANT(destroy(fd, b), 0);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0), -ENODEV);
	WANT(map(fd, IOVA, buffer, PAGE), -ENODEV);
	/* IOASes that get the same ids are not chosen by that. */
	b = ioas_alloc(fd);
	a = ioas_alloc(fd);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0), -ENODEV);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_SET, a), 0);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_CLEAR, 0), 0);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0), -ENODEV);
	WANT(destroy(fd, a), 0);
	WANT(destroy(fd, b), 0);
}

void types(int fd)
{
	struct iommu_option huge = {
		.size = sizeof(huge), .option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_GET, .object_id = choose(fd),
	};

	WANT(call(fd, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU), 1);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	WANT(call(fd, IOMMU_OPTION, (unsigned long)&huge), 0);
	WANT(huge.val64, 1);
	/* An area that page tables could not map page by page is in the way. */
	WANT(map(fd, IOVA + 1, buffer + 1, 10), 0);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), -EADDRINUSE);
	WANT(unmap(fd, IOVA + 1, 10), 10);
	/* Without a domain one that can is not. */
	WANT(map(fd, IOVA, buffer, PAGE), 0);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	WANT(call(fd, IOMMU_OPTION, (unsigned long)&huge), 0);
	WANT(huge.val64, 0);
	WANT(map(fd, IOVA + 2 * PAGE + 1, buffer + 1, 10), -EINVAL);
	/* Version 2 does not turn them on again. */
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	WANT(call(fd, IOMMU_OPTION, (unsigned long)&huge), 0);
	WANT(huge.val64, 0);
}

void mapping(int fd)
{
	uint64_t size = PAGE;

	choose(fd);
	WANT(map(fd, IOVA, buffer, 0), -EINVAL);
	WANT(map(fd, IOVA, buffer, UINT64_MAX), -EOVERFLOW);
	WANT(map(fd, IOVA, (void *)-PAGE, 2 * PAGE), -EOVERFLOW);
	WANT(map(fd, -PAGE, buffer, 2 * PAGE), -EOVERFLOW);
	WANT(map(fd, -PAGE, buffer, PAGE), 0);
	WANT(unmap(fd, -PAGE, PAGE), PAGE);
	WANT(map(fd, IOVA, buffer, 4 * PAGE), 0);
	WANT(map(fd, IOVA + 3 * PAGE, buffer, 2 * PAGE), -EEXIST);
	WANT(map_flags(fd, IOVA + 4 * PAGE, buffer, PAGE, VFIO_DMA_MAP_FLAG_READ), 0);
	WANT(map_flags(fd, IOVA + 5 * PAGE, buffer, 4 * PAGE, VFIO_DMA_MAP_FLAG_WRITE), 0);
	/* Only whole mappings: those before the one that sticks out are gone, and it is said. */
	WANT(unmap_flags(fd, IOVA + PAGE, &size, 0), -ENOENT);
	WANT(size, 0);
	size = 6 * PAGE;
	WANT(unmap_flags(fd, IOVA, &size, 0), -ENOENT);
	WANT(size, 5 * PAGE);
	WANT(unmap(fd, IOVA, 5 * PAGE), 0);
	WANT(unmap(fd, IOVA, 0), -EINVAL);
	WANT(unmap(fd, IOVA, UINT64_MAX), -EOVERFLOW);
	size = PAGE;
	WANT(unmap_flags(fd, 0, &size, VFIO_DMA_UNMAP_FLAG_ALL), -EINVAL);
	WANT(size, PAGE);
	size = 0;
	WANT(unmap_flags(fd, IOVA, &size, VFIO_DMA_UNMAP_FLAG_ALL), -EINVAL);
	WANT(unmap_all(fd), 4 * PAGE);
	WANT(unmap_all(fd), 0);
}

void read_only(int fd)
{
	struct vfio_iommu_type1_dma_unmap cmd = { .argsz = sizeof(cmd), .iova = IOVA, .size = PAGE };
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	choose(fd);
	memcpy(p, &cmd, sizeof(cmd));
	memcpy(p + 256, &info, sizeof(info));
	mprotect(p, PAGE, PROT_READ);
	WANT(map(fd, IOVA, buffer, PAGE), 0);
	WANT(call(fd, VFIO_IOMMU_GET_INFO, (unsigned long)p + 256), -EFAULT);
	WANT(call(fd, VFIO_IOMMU_UNMAP_DMA, (unsigned long)p), -EFAULT);
	WANT(unmap_all(fd), 0);
	munmap(p, PAGE);
}

/* Version 1 cuts holes; here without a domain. */
void holes(int fd)
{
	uint64_t size = PAGE;
	uint32_t id = choose(fd);
	struct iommu_option huge = {
		.size = sizeof(huge), .option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET, .object_id = id, .val64 = 1,
	};

	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	WANT(map(fd, IOVA, buffer, NR_PAGES * PAGE), 0);
	/* Not at a page: nothing happens, and the size stays. */
	WANT(unmap_flags(fd, IOVA + 100, &size, 0), -EINVAL);
	size = 100;
	WANT(unmap_flags(fd, IOVA, &size, 0), -EINVAL);
	WANT(size, 100);
	WANT(unmap(fd, IOVA + 5 * PAGE, PAGE), PAGE);
	WANT(unmap(fd, IOVA + 5 * PAGE, PAGE), 0);
	WANT(unmap(fd, IOVA + 4 * PAGE, 3 * PAGE), 2 * PAGE);
	/* Beyond both ends. */
	WANT(unmap(fd, IOVA - PAGE, 2 * PAGE), PAGE);
	WANT(unmap(fd, IOVA + 15 * PAGE, 2 * PAGE), PAGE);
	WANT(map(fd, IOVA + 5 * PAGE, buffer, PAGE), 0);
	WANT(map(fd, IOVA + 7 * PAGE, buffer, PAGE), -EEXIST);
	/* Where large pages are back, only what was cut so far comes apart. */
	WANT(call(fd, IOMMU_OPTION, (unsigned long)&huge), 0);
	WANT(unmap(fd, IOVA + 7 * PAGE, PAGE), -ENOENT);
	WANT(unmap(fd, IOVA + 7 * PAGE, 8 * PAGE), 8 * PAGE);
	WANT(unmap_all(fd), 4 * PAGE);
}

/* Reads the capabilities for every size that a caller may have. */
void check_info(int fd, bool domain)
{
	const size_t cap = sizeof(struct vfio_iommu_type1_info_cap_iova_range);
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info), .pad = 7 };
	struct vfio_iommu_type1_info_cap_iova_range *ranges;
	struct vfio_iommu_type1_info_dma_avail *avail;
	static union { struct vfio_iommu_type1_info info; char bytes[1024]; } u;
	bool msi_window = false;
	uint32_t total, argsz, i;

	WANT(call(fd, VFIO_IOMMU_GET_INFO, (unsigned long)&info), 0);
	total = info.argsz;
	CHECK(total >= sizeof(info) + 16 + cap && total < sizeof(u) - 64);
	for (argsz = 16; argsz <= total + 32; argsz++) {
		memset(&u, 0xa5, sizeof(u));
		u.info.argsz = argsz;
		WANT(call(fd, VFIO_IOMMU_GET_INFO, (unsigned long)&u), 0);
		WANT(u.info.argsz, total);
		WANT(u.info.flags, VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS);
		WANT(u.info.iova_pgsizes, info.iova_pgsizes);
		if (argsz >= 20)
			WANT(u.info.cap_offset, argsz >= total ? sizeof(info) : 0);
		if (argsz >= 24)
			WANT(u.info.pad, 0);
		for (i = argsz < total ? argsz : total; i < sizeof(u); i++)
			WANT((unsigned char)u.bytes[i], 0xa5);
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

void info_soft(int fd)
{
	choose(fd);
	check_info(fd, false);
}
