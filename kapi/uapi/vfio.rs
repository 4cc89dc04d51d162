// SPDX-License-Identifier: GPL-2.0-only

//! What of `include/uapi/linux/vfio.h` a VFIO type1 container needs, under the names that handlers
//! use.

use kernel::transmute::{
    AsBytes,
    FromBytes, //
};

use crate::ffi::bindings;

uapi_structs! {
    DmaMap = vfio_iommu_type1_dma_map;
    DmaUnmap = vfio_iommu_type1_dma_unmap;
    Info = vfio_iommu_type1_info;
    CapHeader = vfio_info_cap_header;
    CapDmaAvail = vfio_iommu_type1_info_dma_avail;
    CapIovaRanges = vfio_iommu_type1_info_cap_iova_range;
    IovaRangeElm = vfio_iova_range;
}

/// `VFIO_API_VERSION`.
pub(crate) const API_VERSION: u32 = bindings::VFIO_API_VERSION;

/// The numbers of the container's ioctls.
pub(crate) mod nr {
    use super::bindings;

    /// `VFIO_GET_API_VERSION`.
    pub(crate) const GET_API_VERSION: u32 =
        bindings::iommufd_rs_vfio_ioctl_IOMMUFD_RS_VFIO_GET_API_VERSION;
    /// `VFIO_CHECK_EXTENSION`.
    pub(crate) const CHECK_EXTENSION: u32 =
        bindings::iommufd_rs_vfio_ioctl_IOMMUFD_RS_VFIO_CHECK_EXTENSION;
    /// `VFIO_SET_IOMMU`.
    pub(crate) const SET_IOMMU: u32 = bindings::iommufd_rs_vfio_ioctl_IOMMUFD_RS_VFIO_SET_IOMMU;
    /// `VFIO_IOMMU_GET_INFO`.
    pub(crate) const GET_INFO: u32 = bindings::iommufd_rs_vfio_ioctl_IOMMUFD_RS_VFIO_GET_INFO;
    /// `VFIO_IOMMU_MAP_DMA`.
    pub(crate) const MAP_DMA: u32 = bindings::iommufd_rs_vfio_ioctl_IOMMUFD_RS_VFIO_MAP_DMA;
    /// `VFIO_IOMMU_UNMAP_DMA`.
    pub(crate) const UNMAP_DMA: u32 = bindings::iommufd_rs_vfio_ioctl_IOMMUFD_RS_VFIO_UNMAP_DMA;
}

/// What `VFIO_CHECK_EXTENSION` and `VFIO_SET_IOMMU` name.
pub(crate) mod extension {
    use super::bindings;

    /// Type1: any part of a mapping can be unmapped.
    pub(crate) const TYPE1: u32 = bindings::VFIO_TYPE1_IOMMU;
    /// Type1 version 2: only whole mappings can.
    pub(crate) const TYPE1_V2: u32 = bindings::VFIO_TYPE1v2_IOMMU;
    /// All DMA is cache coherent.
    pub(crate) const DMA_CC: u32 = bindings::VFIO_DMA_CC_IOMMU;
    /// No IOMMU.
    pub(crate) const NO_IOMMU: u32 = bindings::VFIO_NOIOMMU_IOMMU;
    /// `VFIO_DMA_UNMAP_FLAG_ALL` is understood.
    pub(crate) const UNMAP_ALL: u32 = bindings::VFIO_UNMAP_ALL;
}

/// `VFIO_DMA_MAP_FLAG_*`.
pub(crate) mod map {
    use super::bindings;

    /// DMA may read.
    pub(crate) const READ: u32 = bindings::VFIO_DMA_MAP_FLAG_READ;
    /// DMA may write.
    pub(crate) const WRITE: u32 = bindings::VFIO_DMA_MAP_FLAG_WRITE;
}

/// `VFIO_DMA_UNMAP_FLAG_*`.
pub(crate) mod unmap {
    use super::bindings;

    /// Unmap everything.
    pub(crate) const ALL: u32 = bindings::VFIO_DMA_UNMAP_FLAG_ALL;
}

/// `VFIO_IOMMU_INFO_*` and the ids of capabilities.
pub(crate) mod info {
    use super::bindings;

    /// `iova_pgsizes` is set.
    pub(crate) const PGSIZES: u32 = bindings::VFIO_IOMMU_INFO_PGSIZES;
    /// Capabilities are told of.
    pub(crate) const CAPS: u32 = bindings::VFIO_IOMMU_INFO_CAPS;
    // CAST: The ids are small numbers.
    /// Capability: usable addresses.
    pub(crate) const CAP_IOVA_RANGE: u16 = bindings::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE as u16;
    /// Capability: how many more mappings there can be.
    pub(crate) const CAP_DMA_AVAIL: u16 = bindings::VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL as u16;
}
