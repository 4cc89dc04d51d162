// SPDX-License-Identifier: GPL-2.0-only

//! The structs and numbers of the user API that queues use, as `include/uapi/linux/iommufd.h` has
//! them.

use kernel::{
    transmute::AsBytes,
    uaccess::FromBytes, //
};

/// `struct iommu_fault_alloc`.
#[derive(Default)]
pub(crate) struct FaultAlloc {
    pub(crate) flags: u32,
    pub(crate) out_fault_id: u32,
    pub(crate) out_fault_fd: u32,
}

/// `struct iommu_veventq_alloc`.
#[derive(Default)]
pub(crate) struct VeventqAlloc {
    pub(crate) flags: u32,
    pub(crate) viommu_id: u32,
    pub(crate) type_: u32,
    pub(crate) veventq_depth: u32,
    pub(crate) out_veventq_id: u32,
    pub(crate) out_veventq_fd: u32,
    pub(crate) __reserved: u32,
}

/// `struct iommu_hwpt_pgfault`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct HwptPgfault {
    pub(crate) flags: u32,
    pub(crate) dev_id: u32,
    pub(crate) pasid: u32,
    pub(crate) grpid: u32,
    pub(crate) perm: u32,
    pub(crate) __reserved: u32,
    pub(crate) addr: u64,
    pub(crate) length: u32,
    pub(crate) cookie: u32,
}

/// `struct iommu_hwpt_page_response`.
#[repr(C)]
pub(crate) struct HwptPageResponse {
    pub(crate) cookie: u32,
    pub(crate) code: u32,
}

/// `struct iommufd_vevent_header`.
#[repr(C)]
pub(crate) struct VeventHeader {
    pub(crate) flags: u32,
    pub(crate) sequence: u32,
}

// SAFETY: It has no padding.
unsafe impl AsBytes for HwptPgfault {}
// SAFETY: It has no padding.
unsafe impl AsBytes for VeventHeader {}

/// Returns the number of 4 bytes that begins at `at`.
pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

impl FromBytes for HwptPageResponse {
    fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            cookie: word(bytes, 0),
            code: word(bytes, 4),
        }
    }
}

/// `enum iommufd_page_response_code`.
pub(crate) mod fault {
    pub(crate) const RESP_SUCCESS: u32 = 0;
    pub(crate) const RESP_INVALID: u32 = 1;
}

/// `enum iommu_veventq_type` and `enum iommu_veventq_flag`.
pub(crate) mod veventq {
    pub(crate) const TYPE_DEFAULT: u32 = 0;
    pub(crate) const LOST_EVENTS: u32 = 1;
}
