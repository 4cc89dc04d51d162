// SPDX-License-Identifier: GPL-2.0-only
/*
 * A library for LD_PRELOAD that stands before libc's ioctl() and counts the calls to VFIO and
 * iommufd and their time, in the file that $IOCTL_COUNT names. The program is not changed, and an
 * ioctl costs two looks at the clock more, where a tracer would stop it twice.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "ioctl_count.h"

/* The character device /dev/vfio/vfio: VFIO_MINOR among the misc devices. */
#define CONTAINER makedev(10, 196)

static struct ioctl_counts *counts;

static __attribute__((constructor)) void open_counts(void)
{
	const char *path = getenv("IOCTL_COUNT");
	void *mem;
	int fd;

	fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;
	if (fd < 0 || ftruncate(fd, sizeof(*counts)))
		_exit(127);
	mem = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		_exit(127);
	close(fd);
	counts = mem;
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static enum target target_of(int fd)
{
	struct stat stat;

	if (!fstat(fd, &stat) && S_ISCHR(stat.st_mode) && stat.st_rdev == CONTAINER)
		return TARGET_CONTAINER;
	return TARGET_OTHER;
}

static uint64_t bytes_of(enum target target, unsigned long request, const void *arg)
{
	if (target == TARGET_CONTAINER)
		return request == VFIO_IOMMU_MAP_DMA ? ((const struct vfio_iommu_type1_dma_map *)arg)->size : 0;
	if (request == IOMMU_IOAS_MAP)
		return ((const struct iommu_ioas_map *)arg)->length;
	if (request == IOMMU_IOAS_MAP_FILE)
		return ((const struct iommu_ioas_map_file *)arg)->length;
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	struct ioctl_count *count;
	uint64_t begin, end;
	enum target target;
	va_list args;
	void *arg;
	int ret;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	/* Both have the same type. The numbers of iommufd begin at 0x80, behind VFIO's. */
	if (_IOC_TYPE(request) != VFIO_TYPE)
		return syscall(SYS_ioctl, fd, request, arg);

	target = target_of(fd);
	count = &counts->of[target][_IOC_NR(request)];
	begin = now();
	ret = syscall(SYS_ioctl, fd, request, arg);
	end = now();
	__atomic_add_fetch(&count->calls, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&count->time, end - begin, __ATOMIC_RELAXED);
	if (ret < 0)
		__atomic_add_fetch(&count->failures, 1, __ATOMIC_RELAXED);
	else
		__atomic_add_fetch(&count->bytes, bytes_of(target, request, arg), __ATOMIC_RELAXED);
	return ret;
}
