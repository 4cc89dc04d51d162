/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ioctls of iommufd and of VFIO devices as functions. Each returns 0, a number of bytes or a
 * negative errno.
 */
#ifndef CALL_H
#define CALL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#define PAGE		4096UL
#define HUGE		(2UL << 20)
#define TOP		UINT64_MAX

#ifndef ARRAY_SIZE	/* kselftest.h has it too */
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif
#define PTR(p)		((uint64_t)(uintptr_t)(p))

#define READ		IOMMU_IOAS_MAP_READABLE
#define WRITE		IOMMU_IOAS_MAP_WRITEABLE
#define RW		(READ | WRITE)
#define FIXED		IOMMU_IOAS_MAP_FIXED_IOVA

int call(int fd, unsigned long cmd, void *arg);
int open_iommu(void);
int ioas_alloc(int fd, uint32_t *id);
int destroy(int fd, uint32_t id);
int map(int fd, uint32_t ioas, const void *va, uint64_t length, uint64_t iova);
int map_as(int fd, uint32_t ioas, uint32_t flags, const void *va, uint64_t length, uint64_t *iova);
int map_file(int fd, uint32_t ioas, uint32_t flags, int file, uint64_t start, uint64_t length,
	     uint64_t *iova);
int copy(int fd, uint32_t src, uint64_t src_iova, uint64_t length, uint32_t flags, uint32_t dst,
	 uint64_t *dst_iova);
long long unmap(int fd, uint32_t ioas, uint64_t iova, uint64_t length);
long long unmap_all(int fd, uint32_t ioas);
int allow(int fd, uint32_t ioas, const struct iommu_iova_range *ranges, uint32_t nr);
int iova_ranges(int fd, uint32_t ioas, struct iommu_iova_range *ranges, uint32_t *nr,
		uint64_t *alignment);
int option(int fd, uint32_t id, uint16_t op, uint32_t object, uint64_t *value);
int set_option(int fd, uint32_t id, uint32_t object, uint64_t value);
long long get_option(int fd, uint32_t id, uint32_t object);
int hwpt_alloc(int fd, uint32_t dev_id, uint32_t pt_id, uint32_t *id);
int bind_device(int dev, int fd, uint32_t *dev_id);
int attach(int dev, uint32_t pt_id, uint32_t *out);
int detach(int dev);
/* The same for a PASID of the device. */
int attach_pasid(int dev, uint32_t pasid, uint32_t pt_id);
int detach_pasid(int dev, uint32_t pasid);

#endif
