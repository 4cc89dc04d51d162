/* SPDX-License-Identifier: GPL-2.0-only */
/* The mock IOMMU's ioctl, for tests. Its structs are those of the kernel's iommufd_test.h. */
#ifndef MOCK_CALL_H
#define MOCK_CALL_H

#include "uapi.h"
#include "iommufd_test.h"

int mock_op(int fd, struct iommu_test_cmd *cmd);
int mock_device(int fd, uint32_t ioas, uint32_t *device, uint32_t *dev_id, uint32_t *hwpt);
int mock_replace(int fd, uint32_t device, uint32_t pt);
int mock_check(int fd, uint32_t hwpt, uint64_t iova, const void *va, uint64_t length);
int mock_refs(int fd, const void *va, uint64_t length, uint32_t refs);
int access_open(int fd, uint32_t ioas, uint32_t flags);
int access_replace(int fd, int access, uint32_t ioas);
int access_pin(int fd, int access, uint64_t iova, uint64_t length, const void *va, uint32_t *id);
int access_unpin(int fd, int access, uint32_t id);
int access_rw(int fd, int access, uint64_t iova, void *data, uint64_t length, uint32_t flags);

#endif
