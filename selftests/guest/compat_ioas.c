// SPDX-License-Identifier: GPL-2.0-only
/* The container's ioctls on an IOAS without a domain. */
#include <string.h>
#include <sys/mman.h>

#include "compat.h"
#include "compat_call.h"
#include "compat_info.h"
#include "fdinfo.h"
#include "memory.h"
#include "result.h"

static void slot(int fd)
{
	uint32_t a, b;

	WANT(ioas_alloc(fd, &a), 0);
	WANT(ioas_alloc(fd, &b), 0);
	WANT_WHY(fd, compat_get(fd), -ENODEV, "container-none");
	WANT(compat_set(fd, a), 0);
	WANT(compat_get(fd), a);
	WANT(compat_set(fd, b), 0);
	WANT(compat_get(fd), b);
	WANT_WHY(fd, compat_set(fd, 1u << 30), -ENOENT, "object-none");
	WANT(destroy(fd, a), 0);
	WANT(compat_get(fd), b);
	WANT(destroy(fd, b), 0);
	WANT_WHY(fd, compat_get(fd), -ENODEV, "container-none");
	WANT_WHY(fd, compat_map(fd, IOVA, mem.rw, PAGE, VFIO_RW), -ENODEV, "container-none");
	/* An IOAS with the same id is not the compat IOAS. */
	WANT(ioas_alloc(fd, &b), 0);
	WANT(ioas_alloc(fd, &a), 0);
	WANT_WHY(fd, compat_get(fd), -ENODEV, "container-none");
	WANT(compat_set(fd, a), 0);
	WANT(compat_clear(fd), 0);
	WANT_WHY(fd, compat_get(fd), -ENODEV, "container-none");
	WANT(destroy(fd, a), 0);
	WANT(destroy(fd, b), 0);
}

static void types(int fd)
{
	struct iommu_option huge = {
		.size = sizeof(huge), .option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_GET, .object_id = compat_set_new(fd),
	};

	WANT(call_value(fd, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU), 1);
	WANT(call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	WANT(call(fd, IOMMU_OPTION, &huge), 0);
	WANT(huge.val64, 1);
	/* An area that is not aligned to pages prevents version 1. */
	WANT(compat_map(fd, IOVA + 1, mem.rw + 1, 10, VFIO_RW), 0);
	WANT_WHY(fd, call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), -EADDRINUSE, "ioas-unaligned");
	WANT(compat_unmap_bytes(fd, IOVA + 1, 10), 10);
	/* An aligned area does not, without a domain. */
	WANT(compat_map(fd, IOVA, mem.rw, PAGE, VFIO_RW), 0);
	WANT(call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	WANT(call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	WANT(call(fd, IOMMU_OPTION, &huge), 0);
	WANT(huge.val64, 0);
	WANT_WHY(fd, compat_map(fd, IOVA + 2 * PAGE + 1, mem.rw + 1, 10, VFIO_RW), -EINVAL, "map-length");
	/* Version 2 does not enable huge pages again. */
	WANT(call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	WANT(call(fd, IOMMU_OPTION, &huge), 0);
	WANT(huge.val64, 0);
}

static void mapping(int fd)
{
	uint64_t size = PAGE;

	compat_set_new(fd);
	WANT_WHY(fd, compat_map(fd, IOVA, mem.rw, 0, VFIO_RW), -EINVAL, "map-length");
	WANT_WHY(fd, compat_map(fd, IOVA, mem.rw, UINT64_MAX, VFIO_RW), -EOVERFLOW, "map-overflow");
	WANT_WHY(fd, compat_map(fd, IOVA, (void *)-PAGE, 2 * PAGE, VFIO_RW), -EOVERFLOW, "map-overflow");
	WANT_WHY(fd, compat_map(fd, -PAGE, mem.rw, 2 * PAGE, VFIO_RW), -EOVERFLOW, "map-overflow");
	WANT(compat_map(fd, -PAGE, mem.rw, PAGE, VFIO_RW), 0);
	WANT(compat_unmap_bytes(fd, -PAGE, PAGE), PAGE);
	WANT(compat_map(fd, IOVA, mem.rw, 4 * PAGE, VFIO_RW), 0);
	WANT_WHY(fd, compat_map(fd, IOVA + 3 * PAGE, mem.rw, 2 * PAGE, VFIO_RW), -EEXIST, "map-exists");
	WANT(compat_map(fd, IOVA + 4 * PAGE, mem.rw, PAGE, VFIO_DMA_MAP_FLAG_READ), 0);
	WANT(compat_map(fd, IOVA + 5 * PAGE, mem.rw, 4 * PAGE, VFIO_DMA_MAP_FLAG_WRITE), 0);
	/* Only whole mappings are unmapped. `size` says how much was unmapped before the error. */
	WANT_WHY(fd, compat_unmap(fd, IOVA + PAGE, &size, 0), -ENOENT, "unmap-part");
	WANT(size, 0);
	size = 6 * PAGE;
	WANT_WHY(fd, compat_unmap(fd, IOVA, &size, 0), -ENOENT, "unmap-part");
	WANT(size, 5 * PAGE);
	WANT(compat_unmap_bytes(fd, IOVA, 5 * PAGE), 0);
	WANT_WHY(fd, compat_unmap_bytes(fd, IOVA, 0), -EINVAL, "command-range");
	WANT_WHY(fd, compat_unmap_bytes(fd, IOVA, UINT64_MAX), -EOVERFLOW, "command-range");
	size = PAGE;
	WANT_WHY(fd, compat_unmap(fd, 0, &size, VFIO_DMA_UNMAP_FLAG_ALL), -EINVAL, "container-all");
	WANT(size, PAGE);
	size = 0;
	WANT_WHY(fd, compat_unmap(fd, IOVA, &size, VFIO_DMA_UNMAP_FLAG_ALL), -EINVAL, "container-all");
	WANT(compat_unmap_all(fd), 4 * PAGE);
	WANT(compat_unmap_all(fd), 0);
}

static void unwritable(int fd)
{
	struct vfio_iommu_type1_dma_unmap cmd = { .argsz = sizeof(cmd), .iova = IOVA, .size = PAGE };
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	compat_set_new(fd);
	memcpy(p, &cmd, sizeof(cmd));
	memcpy(p + 256, &info, sizeof(info));
	mprotect(p, PAGE, PROT_READ);
	WANT(compat_map(fd, IOVA, mem.rw, PAGE, VFIO_RW), 0);
	WANT_WHY(fd, call(fd, VFIO_IOMMU_GET_INFO, p + 256), -EFAULT, "user-memory");
	WANT_WHY(fd, call(fd, VFIO_IOMMU_UNMAP_DMA, p), -EFAULT, "user-memory");
	WANT(compat_unmap_all(fd), 0);
	munmap(p, PAGE);
}

/* Version 1 cuts mappings, here without a domain. */
static void holes(int fd)
{
	uint64_t size = PAGE;
	uint32_t id = compat_set_new(fd);
	struct iommu_option huge = {
		.size = sizeof(huge), .option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET, .object_id = id, .val64 = 1,
	};

	WANT(call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	WANT(compat_map(fd, IOVA, mem.rw, NR_PAGES * PAGE, VFIO_RW), 0);
	/* An end inside a page: nothing is unmapped, and the size stays. */
	WANT_WHY(fd, compat_unmap(fd, IOVA + 100, &size, 0), -EINVAL, "unmap-cut-unaligned");
	size = 100;
	WANT_WHY(fd, compat_unmap(fd, IOVA, &size, 0), -EINVAL, "unmap-cut-unaligned");
	WANT(size, 100);
	WANT(compat_unmap_bytes(fd, IOVA + 5 * PAGE, PAGE), PAGE);
	WANT(compat_unmap_bytes(fd, IOVA + 5 * PAGE, PAGE), 0);
	WANT(compat_unmap_bytes(fd, IOVA + 4 * PAGE, 3 * PAGE), 2 * PAGE);
	/* Beyond both ends of the mapping. */
	WANT(compat_unmap_bytes(fd, IOVA - PAGE, 2 * PAGE), PAGE);
	WANT(compat_unmap_bytes(fd, IOVA + 15 * PAGE, 2 * PAGE), PAGE);
	WANT(compat_map(fd, IOVA + 5 * PAGE, mem.rw, PAGE, VFIO_RW), 0);
	WANT_WHY(fd, compat_map(fd, IOVA + 7 * PAGE, mem.rw, PAGE, VFIO_RW), -EEXIST, "map-exists");
	/*
	 * With huge pages enabled again, only areas that are cut already can be unmapped in part.
	 */
	WANT(call(fd, IOMMU_OPTION, &huge), 0);
	WANT_WHY(fd, compat_unmap_bytes(fd, IOVA + 7 * PAGE, PAGE), -ENOENT, "unmap-part");
	WANT(compat_unmap_bytes(fd, IOVA + 7 * PAGE, 8 * PAGE), 8 * PAGE);
	WANT(compat_unmap_all(fd), 4 * PAGE);
}

/* Ranges that go over the top: version 1 cuts first, at the addresses that the sums wrap to. */
static void wraps(int fd)
{
	uint64_t size = PAGE;

	compat_set_new(fd);
	WANT(call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	WANT_WHY(fd, compat_unmap(fd, -2UL, &size, 0), -EOVERFLOW, "command-range");
	WANT(size, 0);
	WANT(compat_map(fd, 0, mem.rw, NR_PAGES * PAGE, VFIO_RW), 0);
	WANT(compat_map(fd, -PAGE, mem.rw, PAGE, VFIO_RW), 0);
	/* A cut inside a page is refused, and the size stays. */
	size = PAGE;
	WANT_WHY(fd, compat_unmap(fd, -2UL, &size, 0), -EINVAL, "unmap-cut-unaligned");
	WANT(size, PAGE);
	size = 1;
	WANT_WHY(fd, compat_unmap(fd, -1UL, &size, 0), -EINVAL, "unmap-cut-unaligned");
	WANT(size, 1);
	/* A cut between pages is not. */
	size = 2 * PAGE;
	WANT_WHY(fd, compat_unmap(fd, -PAGE, &size, 0), -EOVERFLOW, "command-range");
	WANT(size, 0);
	WANT_WHY(fd, compat_unmap(fd, IOVA, &size, 0), -EINVAL, "command-range");
	WANT(size, 0);
	WANT(compat_unmap_bytes(fd, -PAGE, PAGE), PAGE);
	WANT(compat_unmap_bytes(fd, PAGE, PAGE), PAGE);
	WANT(compat_unmap_all(fd), (NR_PAGES - 1) * PAGE);
}

static void info(int fd)
{
	compat_set_new(fd);
	check_info(fd, false);
}

const struct compat_test ioas_tests[] = {
	{ "the compat IOAS is set, changed and cleared", slot, CONTEXT },
	{ "both versions", types, CONTEXT },
	{ "mapping and unmapping", mapping, CONTEXT },
	{ "structs that cannot be written to", unwritable, CONTEXT },
	{ "holes in mappings", holes, CONTEXT },
	{ "ranges that go over the top", wraps, CONTEXT },
	{ "capabilities without a domain", info, CONTEXT },
};
const size_t nr_ioas_tests = ARRAY_SIZE(ioas_tests);
