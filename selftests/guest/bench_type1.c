// SPDX-License-Identifier: GPL-2.0-only
/* VFIO's own type1 container, which is measured beside iommufd. */
#include <fcntl.h>
#include <unistd.h>

#include "bench_card.h"

/* Returns a container with the group in it. The group must be closed first. */
int type1_open(const char *path, int *group)
{
	int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);

	if (container < 0)
		return -errno;
	*group = open(path, O_RDWR | O_CLOEXEC);
	if (*group < 0)
		return -errno;
	must(call(*group, VFIO_GROUP_SET_CONTAINER, &container), "VFIO_GROUP_SET_CONTAINER");
	must(call(container, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU), "VFIO_SET_IOMMU");
	return container;
}

int type1_map(int container, const void *p, uint64_t length, uint64_t iova)
{
	struct vfio_iommu_type1_dma_map cmd = {
		.argsz = sizeof(cmd),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = PTR(p), .iova = iova, .size = length,
	};

	return call(container, VFIO_IOMMU_MAP_DMA, &cmd);
}

long long type1_unmap(int container, uint64_t iova, uint64_t length)
{
	struct vfio_iommu_type1_dma_unmap cmd = {
		.argsz = sizeof(cmd), .iova = iova, .size = length,
	};
	int r = call(container, VFIO_IOMMU_UNMAP_DMA, &cmd);

	return r ? r : (long long)cmd.size;
}
