/* SPDX-License-Identifier: GPL-2.0-only */
/* The ioctls of the VFIO container on an iommufd. Each returns a value or a negative errno. */
#ifndef COMPAT_CALL_H
#define COMPAT_CALL_H

#include "call.h"

#define VFIO_RW		(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

/* An ioctl whose argument is a number. */
int call_value(int fd, unsigned long cmd, unsigned long value);

/* IOMMU_VFIO_IOAS: sets the compat IOAS, returns its id, or clears it. */
int compat_set(int fd, uint32_t ioas);
int compat_get(int fd);
int compat_clear(int fd);

/* Makes an IOAS and sets it as the compat IOAS. Returns its id. */
int compat_set_new(int fd);

int compat_map(int fd, uint64_t iova, const void *va, uint64_t size, uint32_t flags);

/* Stores what the kernel left in the size field in *size, whether the call succeeded or not. */
int compat_unmap(int fd, uint64_t iova, uint64_t *size, uint32_t flags);

/* Returns how many bytes were unmapped. */
long long compat_unmap_bytes(int fd, uint64_t iova, uint64_t size);
long long compat_unmap_all(int fd);

#endif
