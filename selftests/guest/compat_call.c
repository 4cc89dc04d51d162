// SPDX-License-Identifier: GPL-2.0-only
#include "compat_call.h"

int call_value(int fd, unsigned long cmd, unsigned long value)
{
	return call(fd, cmd, (void *)value);
}

static int vfio_ioas(int fd, uint16_t op, uint32_t *id)
{
	struct iommu_vfio_ioas cmd = { .size = sizeof(cmd), .op = op, .ioas_id = *id };
	int r = call(fd, IOMMU_VFIO_IOAS, &cmd);

	*id = cmd.ioas_id;
	return r;
}

int compat_set(int fd, uint32_t ioas)
{
	return vfio_ioas(fd, IOMMU_VFIO_IOAS_SET, &ioas);
}

int compat_get(int fd)
{
	uint32_t id = 0;
	int r = vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, &id);

	return r ? r : (int)id;
}

int compat_clear(int fd)
{
	uint32_t id = 0;

	return vfio_ioas(fd, IOMMU_VFIO_IOAS_CLEAR, &id);
}

int compat_set_new(int fd)
{
	uint32_t id;
	int r = ioas_alloc(fd, &id);

	if (!r)
		r = compat_set(fd, id);
	return r ? r : (int)id;
}

int compat_map(int fd, uint64_t iova, const void *va, uint64_t size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map cmd = {
		.argsz = sizeof(cmd), .flags = flags, .vaddr = PTR(va), .iova = iova, .size = size,
	};

	return call(fd, VFIO_IOMMU_MAP_DMA, &cmd);
}

int compat_unmap(int fd, uint64_t iova, uint64_t *size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_unmap cmd = {
		.argsz = sizeof(cmd), .flags = flags, .iova = iova, .size = *size,
	};
	int r = call(fd, VFIO_IOMMU_UNMAP_DMA, &cmd);

	*size = cmd.size;
	return r;
}

long long compat_unmap_bytes(int fd, uint64_t iova, uint64_t size)
{
	int r = compat_unmap(fd, iova, &size, 0);

	return r ? r : (long long)size;
}

long long compat_unmap_all(int fd)
{
	uint64_t size = 0;
	int r = compat_unmap(fd, 0, &size, VFIO_DMA_UNMAP_FLAG_ALL);

	return r ? r : (long long)size;
}
