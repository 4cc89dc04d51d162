/* SPDX-License-Identifier: GPL-2.0-only */
/* What bindgen reads to make ffi/bindings_generated.rs. */
#include <linux/anon_inodes.h>
#include <linux/dma-buf.h>
#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/iova_bitmap.h>
#if __has_include(<linux/page_run.h>)
#include <linux/page_run.h>
#endif
#include <uapi/linux/iommufd.h>
#include <uapi/linux/vfio.h>

#include "shims.h"
#include "tracepoints.h"
#include "../uapi/iommufd_rs.h"

#ifdef CONFIG_IOMMUFD_RS_TEST
#include "iommufd_test.h"
#include "shims_test.h"
#endif

/* Numbers that bindgen cannot make of the header's macros. */
enum iommufd_rs_vfio_ioctl {
	IOMMUFD_RS_VFIO_GET_API_VERSION = VFIO_GET_API_VERSION,
	IOMMUFD_RS_VFIO_CHECK_EXTENSION = VFIO_CHECK_EXTENSION,
	IOMMUFD_RS_VFIO_SET_IOMMU = VFIO_SET_IOMMU,
	IOMMUFD_RS_VFIO_GET_INFO = VFIO_IOMMU_GET_INFO,
	IOMMUFD_RS_VFIO_MAP_DMA = VFIO_IOMMU_MAP_DMA,
	IOMMUFD_RS_VFIO_UNMAP_DMA = VFIO_IOMMU_UNMAP_DMA,
};
