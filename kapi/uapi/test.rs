// SPDX-License-Identifier: GPL-2.0-only

//! What of `drivers/iommu/iommufd/iommufd_test.h`, the API between the kernel's iommufd selftests
//! and their mock IOMMU, the mock needs, under the names that handlers use.

use kernel::transmute::{
    AsBytes,
    FromBytes, //
};

use crate::ffi::bindings;

uapi_structs! {
    Cmd = iommu_test_cmd;
    HwInfo = iommu_test_hw_info;
    HwptInvalidateSelftest = iommu_hwpt_invalidate_selftest;
    HwptSelftest = iommu_hwpt_selftest;
    ViommuEventSelftest = iommu_viommu_event_selftest;
    ViommuInvalidateSelftest = iommu_viommu_invalidate_selftest;
    ViommuSelftest = iommu_viommu_selftest;
}

/// The number of the command.
pub(crate) const NR: u32 = bindings::IOMMUFD_CMD_BASE + 32;

/// Gives the parts of the command's union names and accessors.
macro_rules! parts {
    ($($part:ident, $part_mut:ident: $name:ident = $c:ident;)*) => {
        $(
            #[doc = concat!("`struct iommu_test_cmd`, `", stringify!($part), "`")]
            pub(crate) type $name = bindings::$c;
        )*

        impl Cmd {
            $(
                #[doc = concat!("The command as `", stringify!($part), "`.")]
                pub(crate) fn $part(&self) -> &$name {
                    // SAFETY: Every part of the union consists of integers, and every byte of it
                    // was copied from user memory.
                    unsafe { self.__bindgen_anon_1.$part.as_ref() }
                }

                #[doc = concat!("The command as `", stringify!($part), "`, for the answer.")]
                #[allow(dead_code)]
                pub(crate) fn $part_mut(&mut self) -> &mut $name {
                    // SAFETY: Every part of the union consists of integers, and every byte of it
                    // was copied from user memory.
                    unsafe { self.__bindgen_anon_1.$part.as_mut() }
                }
            )*
        }
    };
}

parts! {
    add_reserved, add_reserved_mut: AddReserved = iommu_test_cmd__bindgen_ty_1__bindgen_ty_1;
    mock_domain_flags, mock_domain_flags_mut:
        MockDomainFlags = iommu_test_cmd__bindgen_ty_1__bindgen_ty_3;
    mock_domain_replace, mock_domain_replace_mut:
        MockDomainReplace = iommu_test_cmd__bindgen_ty_1__bindgen_ty_4;
    check_map, check_map_mut: CheckMap = iommu_test_cmd__bindgen_ty_1__bindgen_ty_5;
    check_refs, check_refs_mut: CheckRefs = iommu_test_cmd__bindgen_ty_1__bindgen_ty_6;
    create_access, create_access_mut: CreateAccess = iommu_test_cmd__bindgen_ty_1__bindgen_ty_7;
    destroy_access_pages, destroy_access_pages_mut:
        DestroyAccessPages = iommu_test_cmd__bindgen_ty_1__bindgen_ty_8;
    access_pages, access_pages_mut: AccessPages = iommu_test_cmd__bindgen_ty_1__bindgen_ty_9;
    access_rw, access_rw_mut: AccessRw = iommu_test_cmd__bindgen_ty_1__bindgen_ty_10;
    memory_limit, memory_limit_mut: MemoryLimit = iommu_test_cmd__bindgen_ty_1__bindgen_ty_11;
    access_replace_ioas, access_replace_ioas_mut:
        AccessReplaceIoas = iommu_test_cmd__bindgen_ty_1__bindgen_ty_12;
    dirty, dirty_mut: Dirty = iommu_test_cmd__bindgen_ty_1__bindgen_ty_13;
    check_iotlb, check_iotlb_mut: CheckIotlb = iommu_test_cmd__bindgen_ty_1__bindgen_ty_14;
    trigger_iopf, trigger_iopf_mut: TriggerIopf = iommu_test_cmd__bindgen_ty_1__bindgen_ty_15;
    check_dev_cache, check_dev_cache_mut:
        CheckDevCache = iommu_test_cmd__bindgen_ty_1__bindgen_ty_16;
    trigger_vevent, trigger_vevent_mut:
        TriggerVevent = iommu_test_cmd__bindgen_ty_1__bindgen_ty_17;
    pasid_attach, pasid_attach_mut: PasidAttach = iommu_test_cmd__bindgen_ty_1__bindgen_ty_18;
    pasid_replace, pasid_replace_mut: PasidReplace = iommu_test_cmd__bindgen_ty_1__bindgen_ty_19;
    pasid_detach, pasid_detach_mut: PasidDetach = iommu_test_cmd__bindgen_ty_1__bindgen_ty_20;
    pasid_check, pasid_check_mut: PasidCheck = iommu_test_cmd__bindgen_ty_1__bindgen_ty_21;
    dmabuf_get, dmabuf_get_mut: DmabufGet = iommu_test_cmd__bindgen_ty_1__bindgen_ty_22;
    dmabuf_revoke, dmabuf_revoke_mut: DmabufRevoke = iommu_test_cmd__bindgen_ty_1__bindgen_ty_23;
}

/// What [`Cmd::op`](bindings::iommu_test_cmd::op) says.
pub(crate) mod op {
    use super::bindings;

    /// Close addresses of an address space.
    pub(crate) const ADD_RESERVED: u32 = bindings::IOMMU_TEST_OP_ADD_RESERVED;
    /// Make a device, bind and attach it.
    pub(crate) const MOCK_DOMAIN: u32 = bindings::IOMMU_TEST_OP_MOCK_DOMAIN;
    /// The same, of a certain kind.
    pub(crate) const MOCK_DOMAIN_FLAGS: u32 = bindings::IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS;
    /// Attach a device to something else.
    pub(crate) const MOCK_DOMAIN_REPLACE: u32 = bindings::IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE;
    /// Compare page tables with the caller's memory.
    pub(crate) const MD_CHECK_MAP: u32 = bindings::IOMMU_TEST_OP_MD_CHECK_MAP;
    /// Check how often the caller's memory is pinned.
    pub(crate) const MD_CHECK_REFS: u32 = bindings::IOMMU_TEST_OP_MD_CHECK_REFS;
    /// Check what is cached of page tables that user space fills.
    pub(crate) const MD_CHECK_IOTLB: u32 = bindings::IOMMU_TEST_OP_MD_CHECK_IOTLB;
    /// Check what a device has cached.
    pub(crate) const DEV_CHECK_CACHE: u32 = bindings::IOMMU_TEST_OP_DEV_CHECK_CACHE;
    /// Let a device have a page fault.
    pub(crate) const TRIGGER_IOPF: u32 = bindings::IOMMU_TEST_OP_TRIGGER_IOPF;
    /// Report an event of a device to a guest.
    pub(crate) const TRIGGER_VEVENT: u32 = bindings::IOMMU_TEST_OP_TRIGGER_VEVENT;
    /// Make an emulated device.
    pub(crate) const CREATE_ACCESS: u32 = bindings::IOMMU_TEST_OP_CREATE_ACCESS;
    /// Let an emulated device reach another address space.
    pub(crate) const ACCESS_REPLACE_IOAS: u32 = bindings::IOMMU_TEST_OP_ACCESS_REPLACE_IOAS;
    /// Pin pages for an emulated device.
    pub(crate) const ACCESS_PAGES: u32 = bindings::IOMMU_TEST_OP_ACCESS_PAGES;
    /// Unpin them.
    pub(crate) const DESTROY_ACCESS_PAGES: u32 = bindings::IOMMU_TEST_OP_DESTROY_ACCESS_PAGES;
    /// Copy bytes as an emulated device does.
    pub(crate) const ACCESS_RW: u32 = bindings::IOMMU_TEST_OP_ACCESS_RW;
    /// Make batches small.
    pub(crate) const SET_TEMP_MEMORY_LIMIT: u32 = bindings::IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT;
    /// Make pages look written to.
    pub(crate) const DIRTY: u32 = bindings::IOMMU_TEST_OP_DIRTY;
    /// Attach a PASID of a device.
    pub(crate) const PASID_ATTACH: u32 = bindings::IOMMU_TEST_OP_PASID_ATTACH;
    /// Attach a PASID of a device to something else.
    pub(crate) const PASID_REPLACE: u32 = bindings::IOMMU_TEST_OP_PASID_REPLACE;
    /// Detach a PASID of a device.
    pub(crate) const PASID_DETACH: u32 = bindings::IOMMU_TEST_OP_PASID_DETACH;
    /// Check what a PASID of a device is attached to.
    pub(crate) const PASID_CHECK_HWPT: u32 = bindings::IOMMU_TEST_OP_PASID_CHECK_HWPT;
    /// Make a dma-buf.
    pub(crate) const DMABUF_GET: u32 = bindings::IOMMU_TEST_OP_DMABUF_GET;
    /// Take a dma-buf's memory back.
    pub(crate) const DMABUF_REVOKE: u32 = bindings::IOMMU_TEST_OP_DMABUF_REVOKE;
}

/// The mock IOMMU: its page tables, devices and hardware description.
pub(crate) mod mock {
    use super::bindings;

    /// The default page tables map addresses from here ...
    pub(crate) const APERTURE_START: u64 = bindings::MOCK_APERTURE_START as u64;
    /// ... to here, inclusive.
    pub(crate) const APERTURE_LAST: u64 = bindings::MOCK_APERTURE_LAST as u64;
    /// The size of a huge page in bytes.
    pub(crate) const HUGE_PAGE_SIZE: u64 = bindings::MOCK_HUGE_PAGE_SIZE as u64;
    /// The default kind of page tables.
    pub(crate) const PT_DEFAULT: u32 = bindings::MOCK_IOMMUPT_DEFAULT;
    /// Those with huge pages.
    pub(crate) const PT_HUGE: u32 = bindings::MOCK_IOMMUPT_HUGE;
    /// How many caches of translations a device has.
    pub(crate) const CACHES: usize = bindings::MOCK_DEV_CACHE_NUM as usize;
    /// How many translations are cached of page tables that user space fills.
    pub(crate) const IOTLBS: usize = bindings::MOCK_NESTED_DOMAIN_IOTLB_NUM as usize;
    /// The type of `struct iommu_hwpt_invalidate_selftest`.
    pub(crate) const HWPT_INVALIDATE_DATA: u32 = bindings::IOMMU_HWPT_INVALIDATE_DATA_SELFTEST;
    /// The type of `struct iommu_viommu_invalidate_selftest`.
    pub(crate) const VIOMMU_INVALIDATE_DATA: u32 = bindings::IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST;
    /// Everything is to be forgotten.
    pub(crate) const INVALIDATE_ALL: u32 = bindings::IOMMU_TEST_INVALIDATE_FLAG_ALL;
    /// The kind of the vIOMMU.
    pub(crate) const VIOMMU: u32 = bindings::IOMMU_VIOMMU_TYPE_SELFTEST;
    /// The kind of HW queues.
    pub(crate) const HW_QUEUE: u32 = bindings::IOMMU_HW_QUEUE_TYPE_SELFTEST;
    /// The type of `struct iommu_viommu_event_selftest`.
    pub(crate) const VEVENT: u32 = bindings::IOMMU_VEVENTQ_TYPE_SELFTEST;
    /// What is in them until it is invalidated.
    pub(crate) const CACHED: u32 = bindings::IOMMU_TEST_DEV_CACHE_DEFAULT;
    /// The device cannot track dirty pages.
    pub(crate) const DEVICE_NO_DIRTY: u32 = bindings::MOCK_FLAGS_DEVICE_NO_DIRTY;
    /// The device has PASIDs.
    pub(crate) const DEVICE_PASID: u32 = bindings::MOCK_FLAGS_DEVICE_PASID;
    /// How wide they are.
    pub(crate) const PASID_BITS: u32 = bindings::MOCK_PASID_WIDTH;
    /// The one of them that every other attachment fails for.
    pub(crate) const PASID_FAILING: u32 = bindings::IOMMU_TEST_PASID_RESERVED;
    /// The type of `struct iommu_hwpt_selftest`.
    pub(crate) const HWPT_DATA: u32 = bindings::IOMMU_HWPT_DATA_SELFTEST;
    /// The type of `struct iommu_test_hw_info`.
    pub(crate) const HW_INFO: u32 = bindings::IOMMU_HW_INFO_TYPE_SELFTEST;
    /// What that struct says.
    pub(crate) const HW_INFO_REGISTER: u32 = bindings::IOMMU_HW_INFO_SELFTEST_REGVAL;
}

/// Flags of emulated devices.
pub(crate) mod access {
    use super::bindings;

    /// The device pins pages.
    pub(crate) const PINS_PAGES: u32 = bindings::MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES;
    /// Pages are pinned for writing.
    pub(crate) const PIN_WRITE: u32 = bindings::MOCK_FLAGS_ACCESS_WRITE;
    /// Bytes are written rather than read.
    pub(crate) const RW_WRITE: u32 = bindings::MOCK_ACCESS_RW_WRITE;
    /// The shorter ways to copy are not taken.
    pub(crate) const RW_SLOW: u32 = bindings::MOCK_ACCESS_RW_SLOW_PATH;
}
