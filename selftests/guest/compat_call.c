// SPDX-License-Identifier: GPL-2.0-only
/* The ioctls as functions that return their value or a negative errno. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "compat.h"

bool on_c_module(void)
{
	return access("/sys/module/iommufd_rs", F_OK) != 0;
}

/* The ioctl's value or a negative errno. */
long call(int fd, unsigned long cmd, unsigned long arg)
{
	int r = ioctl(fd, cmd, arg);

	return r < 0 ? -errno : r;
}

long long pinned(void)
{
	long long acquired = 0, released = 0;
	int refresh = open("/proc/sys/vm/stat_refresh", O_WRONLY);
	FILE *f = fopen("/proc/vmstat", "r");
	char line[128];

	if (refresh < 0 || !f || write(refresh, "1", 1) != 1)
		ksft_exit_fail_msg("no vmstat\n");
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "nr_foll_pin_acquired %lld", &acquired);
		sscanf(line, "nr_foll_pin_released %lld", &released);
	}
	fclose(f);
	close(refresh);
	return acquired - released;
}

int open_iommu(void)
{
	int fd = open("/dev/iommu", O_RDWR);

	if (fd < 0)
		ksft_exit_fail_msg("/dev/iommu: %m\n");
	return fd;
}

long long rlimit_mode(int fd)
{
	struct iommu_option cmd = {
		.size = sizeof(cmd), .option_id = IOMMU_OPTION_RLIMIT_MODE,
		.op = IOMMU_OPTION_OP_GET,
	};
	long r = call(fd, IOMMU_OPTION, (unsigned long)&cmd);

	return r ?: (long long)cmd.val64;
}

uint32_t ioas_alloc(int fd)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };

	if (ioctl(fd, IOMMU_IOAS_ALLOC, &cmd))
		ksft_exit_fail_msg("IOMMU_IOAS_ALLOC: %m\n");
	return cmd.out_ioas_id;
}

long destroy(int fd, uint32_t id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return call(fd, IOMMU_DESTROY, (unsigned long)&cmd);
}

/* IOMMU_VFIO_IOAS; GET returns the id. */
long vfio_ioas(int fd, uint16_t op, uint32_t id)
{
	struct iommu_vfio_ioas cmd = { .size = sizeof(cmd), .op = op, .ioas_id = id };
	long r = call(fd, IOMMU_VFIO_IOAS, (unsigned long)&cmd);

	return !r && op == IOMMU_VFIO_IOAS_GET ? cmd.ioas_id : r;
}

long map_flags(int fd, uint64_t iova, const void *va, uint64_t size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map cmd = {
		.argsz = sizeof(cmd), .flags = flags,
		.vaddr = (uintptr_t)va, .iova = iova, .size = size,
	};

	return call(fd, VFIO_IOMMU_MAP_DMA, (unsigned long)&cmd);
}

long map(int fd, uint64_t iova, const void *va, uint64_t size)
{
	return map_flags(fd, iova, va, size, RW);
}

/* What the kernel left in the size field is in *size. */
long unmap_flags(int fd, uint64_t iova, uint64_t *size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_unmap cmd = {
		.argsz = sizeof(cmd), .flags = flags, .iova = iova, .size = *size,
	};
	long r = call(fd, VFIO_IOMMU_UNMAP_DMA, (unsigned long)&cmd);

	*size = cmd.size;
	return r;
}

/* How many bytes were unmapped, or a negative errno. */
long long unmap(int fd, uint64_t iova, uint64_t size)
{
	long r = unmap_flags(fd, iova, &size, 0);

	return r ?: (long long)size;
}

long long unmap_all(int fd)
{
	uint64_t size = 0;
	long r = unmap_flags(fd, 0, &size, VFIO_DMA_UNMAP_FLAG_ALL);

	return r ?: (long long)size;
}
