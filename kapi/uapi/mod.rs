// SPDX-License-Identifier: GPL-2.0-only

//! The structs and constants of `include/uapi/linux/iommufd.h`, and of `uapi/iommufd_rs.h` here,
//! under the names that handlers use.

use kernel::transmute::{
    AsBytes,
    FromBytes, //
};

use crate::ffi::bindings;

/// Gives uAPI structs a Rust name and the right to be copied from and to user memory.
macro_rules! uapi_structs {
    ($($name:ident = $c:ident;)*) => { $(
        #[doc = concat!("`struct ", stringify!($c), "`")]
        pub(crate) type $name = bindings::$c;
        // SAFETY: The structs of the user API have integer fields only, so any bytes are a value.
        unsafe impl FromBytes for bindings::$c {}
        // SAFETY: The structs of the user API have no padding that is not a field.
        unsafe impl AsBytes for bindings::$c {}
    )* };
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) mod test;
pub(crate) mod vfio;

uapi_structs! {
    Destroy = iommu_destroy;
    FaultAlloc = iommu_fault_alloc;
    HwInfo = iommu_hw_info;
    HwQueueAlloc = iommu_hw_queue_alloc;
    HwptAlloc = iommu_hwpt_alloc;
    HwptGetDirtyBitmap = iommu_hwpt_get_dirty_bitmap;
    HwptInvalidate = iommu_hwpt_invalidate;
    HwptPageResponse = iommu_hwpt_page_response;
    HwptPgfault = iommu_hwpt_pgfault;
    HwptSetDirtyTracking = iommu_hwpt_set_dirty_tracking;
    IoasAlloc = iommu_ioas_alloc;
    IoasAllowIovas = iommu_ioas_allow_iovas;
    IoasChangeProcess = iommu_ioas_change_process;
    IoasCopy = iommu_ioas_copy;
    IoasIovaRanges = iommu_ioas_iova_ranges;
    IoasMap = iommu_ioas_map;
    IoasMapFile = iommu_ioas_map_file;
    IoasNoiommuGetPa = iommu_ioas_noiommu_get_pa;
    IoasUnmap = iommu_ioas_unmap;
    IovaRangeElm = iommu_iova_range;
    Option_ = iommu_option;
    VdeviceAlloc = iommu_vdevice_alloc;
    VeventHeader = iommufd_vevent_header;
    VeventqAlloc = iommu_veventq_alloc;
    VfioIoas = iommu_vfio_ioas;
    ViommuAlloc = iommu_viommu_alloc;
    ViommuIommu = iommufd_rs_viommu_iommu;
}

#[cfg(CONFIG_INTEL_IOMMU)]
uapi_structs! {
    HwptVtdS1 = iommu_hwpt_vtd_s1;
}

/// First command number of iommufd.
pub(crate) const CMD_BASE: u32 = bindings::IOMMUFD_CMD_BASE;

/// `_IO(IOMMUFD_TYPE, nr)`.
pub(crate) const fn ioctl_number(nr: u32) -> u32 {
    kernel::ioctl::_IO(b';' as u32, nr)
}

/// `enum iommufd_ioas_map_flags`.
pub(crate) mod map {
    use super::bindings;

    /// The caller chooses the IOVA.
    pub(crate) const FIXED_IOVA: u32 = bindings::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA;
    /// DMA may write.
    pub(crate) const WRITEABLE: u32 = bindings::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE;
    /// DMA may read.
    pub(crate) const READABLE: u32 = bindings::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE;
}

/// `enum iommufd_option` and `enum iommufd_option_ops`.
pub(crate) mod option {
    use super::bindings;

    /// Whether RLIMIT_MEMLOCK counts by user or by process.
    pub(crate) const RLIMIT_MODE: u32 = bindings::iommufd_option_IOMMU_OPTION_RLIMIT_MODE;
    /// Whether an IOAS maps pages larger than the CPU's smallest.
    pub(crate) const HUGE_PAGES: u32 = bindings::iommufd_option_IOMMU_OPTION_HUGE_PAGES;
    /// Change the option.
    pub(crate) const SET: u32 = bindings::iommufd_option_ops_IOMMU_OPTION_OP_SET;
    /// Read the option.
    pub(crate) const GET: u32 = bindings::iommufd_option_ops_IOMMU_OPTION_OP_GET;
}

/// `enum iommufd_vfio_ioas_op`.
pub(crate) mod vfio_ioas {
    use super::bindings;

    /// Which address space VFIO's ioctls are about.
    pub(crate) const GET: u32 = bindings::iommufd_vfio_ioas_op_IOMMU_VFIO_IOAS_GET;
    /// Choose it.
    pub(crate) const SET: u32 = bindings::iommufd_vfio_ioas_op_IOMMU_VFIO_IOAS_SET;
    /// Choose none.
    pub(crate) const CLEAR: u32 = bindings::iommufd_vfio_ioas_op_IOMMU_VFIO_IOAS_CLEAR;
}

/// `enum iommufd_hwpt_alloc_flags` and `enum iommu_hwpt_data_type`.
pub(crate) mod hwpt {
    use super::bindings;

    /// May be the parent of nested page tables.
    pub(crate) const NEST_PARENT: u32 =
        bindings::iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_NEST_PARENT;
    /// Only devices whose IOMMU tracks dirty pages may be attached.
    pub(crate) const DIRTY_TRACKING: u32 =
        bindings::iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
    /// `fault_id` names a fault queue.
    pub(crate) const FAULT_ID_VALID: u32 =
        bindings::iommufd_hwpt_alloc_flags_IOMMU_HWPT_FAULT_ID_VALID;
    /// May be attached to a PASID.
    pub(crate) const PASID: u32 = bindings::iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_PASID;
    /// No driver data.
    pub(crate) const DATA_NONE: u32 = bindings::iommu_hwpt_data_type_IOMMU_HWPT_DATA_NONE;
    /// A guest's first stage (`struct iommu_hwpt_vtd_s1`).
    #[cfg(CONFIG_INTEL_IOMMU)]
    pub(crate) const DATA_VTD_S1: u32 = bindings::iommu_hwpt_data_type_IOMMU_HWPT_DATA_VTD_S1;
    /// A guest's stream table entry (`struct iommu_hwpt_arm_smmuv3`).
    #[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
    pub(crate) const DATA_ARM_SMMUV3: u32 =
        bindings::iommu_hwpt_data_type_IOMMU_HWPT_DATA_ARM_SMMUV3;
    /// A guest's device table entry (`struct iommu_hwpt_amd_guest`).
    #[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
    pub(crate) const DATA_AMD_GUEST: u32 = bindings::iommu_hwpt_data_type_IOMMU_HWPT_DATA_AMD_GUEST;
}

/// `enum iommu_hwpt_invalidate_data_type`.
#[cfg(any(
    CONFIG_ARM_SMMU_V3_IOMMUFD,
    CONFIG_AMD_IOMMU_IOMMUFD,
    CONFIG_INTEL_IOMMU
))]
pub(crate) mod invalidate {
    use super::bindings;

    /// Ranges of a first stage (`struct iommu_hwpt_vtd_s1_invalidate`).
    #[cfg(CONFIG_INTEL_IOMMU)]
    pub(crate) const DATA_VTD_S1: u32 =
        bindings::iommu_hwpt_invalidate_data_type_IOMMU_HWPT_INVALIDATE_DATA_VTD_S1;
    /// A guest's commands (`struct iommu_viommu_arm_smmuv3_invalidate`).
    #[cfg(CONFIG_ARM_SMMU_V3_IOMMUFD)]
    pub(crate) const DATA_ARM_SMMUV3: u32 =
        bindings::iommu_hwpt_invalidate_data_type_IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3;
    /// A guest's commands (`struct iommufd_rs_viommu_amd_invalidate`).
    #[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
    pub(crate) const DATA_AMD: u32 = bindings::IOMMUFD_RS_VIOMMU_INVALIDATE_DATA_AMD;
}

/// `enum iommufd_hwpt_set_dirty_tracking_flags` and `enum iommufd_hwpt_get_dirty_bitmap_flags`.
pub(crate) mod dirty {
    use super::bindings;

    /// Track, rather than stop tracking.
    pub(crate) const TRACKING_ENABLE: u32 =
        bindings::iommufd_hwpt_set_dirty_tracking_flags_IOMMU_HWPT_DIRTY_TRACKING_ENABLE;
    /// Pages that are dirty stay so.
    pub(crate) const GET_NO_CLEAR: u32 =
        bindings::iommufd_hwpt_get_dirty_bitmap_flags_IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR;
}

/// `enum iommufd_page_response_code`.
pub(crate) mod fault {
    use super::bindings;

    /// The page is there.
    pub(crate) const RESP_SUCCESS: u32 =
        bindings::iommufd_page_response_code_IOMMUFD_PAGE_RESP_SUCCESS;
    /// There will be no page.
    pub(crate) const RESP_INVALID: u32 =
        bindings::iommufd_page_response_code_IOMMUFD_PAGE_RESP_INVALID;
}

/// `enum iommu_viommu_type`.
pub(crate) mod viommu {
    use super::bindings;

    /// No type.
    pub(crate) const TYPE_DEFAULT: u32 = bindings::iommu_viommu_type_IOMMU_VIOMMU_TYPE_DEFAULT;
    /// An SMMUv3.
    pub(crate) const TYPE_ARM_SMMUV3: u32 =
        bindings::iommu_viommu_type_IOMMU_VIOMMU_TYPE_ARM_SMMUV3;
    /// The most physical IOMMUs of a vIOMMU (`uapi/iommufd_rs.h`).
    pub(crate) const MAX_IOMMUS: usize = bindings::IOMMUFD_RS_VIOMMU_MAX_IOMMUS as usize;
    /// An SMMUv3 with the command queues of Tegra241.
    pub(crate) const TYPE_TEGRA241_CMDQV: u32 =
        bindings::iommu_viommu_type_IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV;
    /// One SMMUv3 for devices behind several (`uapi/iommufd_rs.h`).
    pub(crate) const TYPE_ARM_SMMUV3_MANY: u32 = bindings::IOMMUFD_RS_VIOMMU_TYPE_ARM_SMMUV3_MANY;
    /// An AMD IOMMU, for devices behind one or several (`uapi/iommufd_rs.h`).
    #[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
    pub(crate) const TYPE_AMD: u32 = bindings::IOMMUFD_RS_VIOMMU_TYPE_AMD;
}

/// `enum iommu_hw_info_type`, its flags and `enum iommufd_hw_capabilities`.
pub(crate) mod hw_info {
    use super::bindings;

    /// `in_data_type` asks for one type of data.
    pub(crate) const FLAG_INPUT_TYPE: u32 =
        bindings::iommufd_hw_info_flags_IOMMU_HW_INFO_FLAG_INPUT_TYPE;
    /// The driver's own choice of data.
    pub(crate) const TYPE_DEFAULT: u32 = bindings::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_DEFAULT;
    /// Dirty tracking.
    pub(crate) const CAP_DIRTY_TRACKING: u64 =
        bindings::iommufd_hw_capabilities_IOMMU_HW_CAP_DIRTY_TRACKING as u64;
    /// PASID with execute permission.
    pub(crate) const CAP_PASID_EXEC: u64 =
        bindings::iommufd_hw_capabilities_IOMMU_HW_CAP_PCI_PASID_EXEC as u64;
    /// PASID with privileged mode.
    pub(crate) const CAP_PASID_PRIV: u64 =
        bindings::iommufd_hw_capabilities_IOMMU_HW_CAP_PCI_PASID_PRIV as u64;
    /// The device cannot use ATS.
    pub(crate) const CAP_ATS_NOT_SUPPORTED: u64 =
        bindings::iommufd_hw_capabilities_IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED as u64;
}

/// Returns the type of `struct iommu_hw_info` that user space has set.
pub(crate) fn hw_info_type(info: &HwInfo) -> u32 {
    // SAFETY: Both members of the union are a `u32`.
    unsafe { *info.__bindgen_anon_1.in_data_type.as_ref() }
}

/// Sets the type of `struct iommu_hw_info` that user space reads.
pub(crate) fn set_hw_info_type(info: &mut HwInfo, kind: u32) {
    // SAFETY: Both members of the union are a `u32`.
    unsafe { *info.__bindgen_anon_1.out_data_type.as_mut() = kind };
}

/// `enum iommu_veventq_type` and `enum iommu_veventq_flag`.
pub(crate) mod veventq {
    use super::bindings;

    /// Reserved.
    pub(crate) const TYPE_DEFAULT: u32 = bindings::iommu_veventq_type_IOMMU_VEVENTQ_TYPE_DEFAULT;
    /// A header without an event: the last ones were lost.
    pub(crate) const LOST_EVENTS: u32 = bindings::iommu_veventq_flag_IOMMU_VEVENTQ_FLAG_LOST_EVENTS;
    /// Entries of an event log (`struct iommufd_rs_vevent_amd`).
    #[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
    pub(crate) const TYPE_AMD: u32 = bindings::IOMMUFD_RS_VEVENTQ_TYPE_AMD;
}

/// `enum iommu_hw_queue_type`.
pub(crate) mod hw_queue {
    use super::bindings;

    /// Reserved.
    pub(crate) const TYPE_DEFAULT: u32 = bindings::iommu_hw_queue_type_IOMMU_HW_QUEUE_TYPE_DEFAULT;
}
