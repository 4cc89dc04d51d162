/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef COMPAT_INFO_H
#define COMPAT_INFO_H

#include <stdbool.h>

/*
 * Checks what VFIO_IOMMU_GET_INFO returns for every argsz up to the full size and beyond. With a
 * domain the MSI window is excluded from the IOVA ranges.
 */
void check_info(int fd, bool domain);

#endif
