// SPDX-License-Identifier: GPL-2.0-only

//! The operations of the mock IOMMU's ioctl, which are alternatives of one struct.

use crate::{
    sys::c,
    table::*, //
};

use Kind::*;

const CONTEXT: Field = argument(FD, Fd(&[Res::Context]));

/// An operation: its name and number, weight, the meaning of the field `id`, and the fields of its
/// own part of the union.
macro_rules! operations {
    ($($name:ident $member:ident $op:ident $weight:literal ($id:expr) {
        $($field:ident: $kind:expr),* $(,)?
    })*) => {
        &[$(CallType {
            name: stringify!($name),
            command: "TEST_CMD",
            action: Action::Ioctl(c::NR_TEST as u64),
            layout: layout!(iommu_test_cmd [CONTEXT] {
                size: Size, op: Fixed(set![$op]), id: $id, __reserved: Zero,
                $(__bindgen_anon_1.$member.$field: $kind),*
            }),
            weight: $weight,
        }),*]
    };
}

const PASIDS: Kind = Number(&[
    0,
    1,
    2,
    c::IOMMU_TEST_PASID_RESERVED as u64,
    (1 << c::MOCK_PASID_WIDTH) - 1,
]);
const PT: Kind = Id(&[Res::Ioas, Res::Hwpt]);
const MOCK: Kind = Id(&[Res::Mock]);

pub(crate) static CALLS: &[CallType] = operations! {
    add_reserved add_reserved IOMMU_TEST_OP_ADD_RESERVED 2 (Id(&[Res::Ioas])) { start: Iova,
    length: Length }
    mock_domain mock_domain IOMMU_TEST_OP_MOCK_DOMAIN 8 (PT) {
        out_stdev_id: OutId(Res::Mock), out_hwpt_id: OutId(Res::Hwpt),
        out_idev_id: OutId(Res::Device),
    }
    mock_domain_flags mock_domain_flags IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS 4 (PT) {
        out_stdev_id: OutId(Res::Mock), out_hwpt_id: OutId(Res::Hwpt),
        out_idev_id: OutId(Res::Device),
        dev_flags: Flags(set![MOCK_FLAGS_DEVICE_NO_DIRTY, MOCK_FLAGS_DEVICE_PASID]),
    }
    mock_replace mock_domain_replace IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE 8 (MOCK) { pt_id: PT }
    check_map check_map IOMMU_TEST_OP_MD_CHECK_MAP 6 (Id(&[Res::Hwpt])) { iova: Iova,
    length: Length, uptr: Memory }
    check_refs check_refs IOMMU_TEST_OP_MD_CHECK_REFS 3 (Zero) {
        length: Length, uptr: Memory, refs: Number(&[0, 1, 2, 3]),
    }
    create_access create_access IOMMU_TEST_OP_CREATE_ACCESS 6 (Id(&[Res::Ioas])) {
        out_access_fd: OutFd(Res::AccessFd),
        flags: Flags(set![MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES]),
    }
    access_replace access_replace_ioas IOMMU_TEST_OP_ACCESS_REPLACE_IOAS 3 (Fd(&[Res::AccessFd])) {
        ioas_id: Id(&[Res::Ioas]),
    }
    access_pages access_pages IOMMU_TEST_OP_ACCESS_PAGES 8 (Fd(&[Res::AccessFd])) {
        flags: Flags(set![MOCK_FLAGS_ACCESS_WRITE]), out_access_pages_id: OutId(Res::AccessPages),
        iova: Iova, length: Length, uptr: Memory,
    }
    destroy_access_pages destroy_access_pages IOMMU_TEST_OP_DESTROY_ACCESS_PAGES 4
    (Fd(&[Res::AccessFd])) {
        access_pages_id: Id(&[Res::AccessPages]),
    }
    access_rw access_rw IOMMU_TEST_OP_ACCESS_RW 8 (Fd(&[Res::AccessFd])) {
        iova: Iova, length: Length, uptr: Memory,
        flags: Flags(set![MOCK_ACCESS_RW_WRITE, MOCK_ACCESS_RW_SLOW_PATH]),
    }
    memory_limit memory_limit IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT 2 (Zero) { limit: Number(&[16,
    64, 1024, 65536]) }
    dirty dirty IOMMU_TEST_OP_DIRTY 4 (Id(&[Res::Hwpt])) {
        flags: Flags(set![]), iova: Iova, length: Length, page_size: Number(&[4096,
        c::MOCK_PAGE_SIZE as u64, 8192]),
        uptr: Bitmap, out_nr_dirty: Result,
    }
    check_iotlb check_iotlb IOMMU_TEST_OP_MD_CHECK_IOTLB 2 (Id(&[Res::Hwpt])) {
        id: Number(&[0, c::MOCK_NESTED_DOMAIN_IOTLB_ID_MAX as u64]),
        iotlb: Number(&[0, c::IOMMU_TEST_IOTLB_DEFAULT as u64]),
    }
    trigger_iopf trigger_iopf IOMMU_TEST_OP_TRIGGER_IOPF 5 (Zero) {
        dev_id: Id(&[Res::Device]), pasid: PASIDS, grpid: Number(&[0, 1, 2]),
        perm: Flags(set![
            IOMMU_PGFAULT_PERM_READ, IOMMU_PGFAULT_PERM_WRITE, IOMMU_PGFAULT_PERM_EXEC,
            IOMMU_PGFAULT_PERM_PRIV,
        ]),
        addr: Iova,
    }
    check_dev_cache check_dev_cache IOMMU_TEST_OP_DEV_CHECK_CACHE 2 (Id(&[Res::Device])) {
        id: Number(&[0, c::MOCK_DEV_CACHE_ID_MAX as u64]),
        cache: Number(&[0, c::IOMMU_TEST_DEV_CACHE_DEFAULT as u64]),
    }
    trigger_vevent trigger_vevent IOMMU_TEST_OP_TRIGGER_VEVENT 5 (Zero) {
        dev_id: Id(&[Res::Device]),
    }
    pasid_attach pasid_attach IOMMU_TEST_OP_PASID_ATTACH 4 (MOCK) { pasid: PASIDS, pt_id: PT }
    pasid_replace pasid_replace IOMMU_TEST_OP_PASID_REPLACE 3 (MOCK) { pasid: PASIDS, pt_id: PT }
    pasid_detach pasid_detach IOMMU_TEST_OP_PASID_DETACH 3 (MOCK) { pasid: PASIDS }
    pasid_check pasid_check IOMMU_TEST_OP_PASID_CHECK_HWPT 2 (MOCK) { pasid: PASIDS,
    hwpt_id: Id(&[Res::Hwpt]) }
    dmabuf_revoke dmabuf_revoke IOMMU_TEST_OP_DMABUF_REVOKE 1 (Zero) {
        dmabuf_fd: Fd(&[Res::DmaBuf]), revoked: Number(&[0, 1]),
    }
};
