// SPDX-License-Identifier: GPL-2.0-only

//! The commands of `/dev/iommu`.

use crate::{
    sys::c,
    table::*, //
};

use Kind::*;

const CONTEXT: Field = argument(FD, Fd(&[Res::Context]));

/// A command: its name, number, weight, and struct.
macro_rules! commands {
    ($($name:ident $number:ident $weight:literal: $type:ident { $($fields:tt)* })*) => {
        &[$(CallType {
            name: stringify!($name),
            command: command_name(stringify!($number)),
            action: Action::Ioctl(c::$number as u64),
            layout: layout!($type [CONTEXT] { $($fields)* }),
            weight: $weight,
        }),*]
    };
}

const MAP_FLAGS: Kind = Flags(set![
    IOMMU_IOAS_MAP_FIXED_IOVA,
    IOMMU_IOAS_MAP_WRITEABLE,
    IOMMU_IOAS_MAP_READABLE
]);

pub(crate) static IOVA_RANGE: &Layout = layout!(iommu_iova_range {
    start: Iova,
    last: Iova
});

pub(crate) static HWPT_SELFTEST: &Layout = layout!(iommu_hwpt_selftest {
    iotlb: Number(&[c::IOMMU_TEST_IOTLB_DEFAULT as u64]),
    pagetable_type: Choice(set![MOCK_IOMMUPT_DEFAULT, MOCK_IOMMUPT_HUGE]),
});

pub(crate) static HWPT_VTD: &Layout = layout!(iommu_hwpt_vtd_s1 {
    flags: Flags(set![IOMMU_VTD_S1_SRE, IOMMU_VTD_S1_EAFE, IOMMU_VTD_S1_WPE]),
    pgtbl_addr: Iova,
    addr_width: Number(&[39, 48, 57]),
    __reserved: Zero,
});

pub(crate) static INVALIDATE_SELFTEST: &Layout = layout!(iommu_hwpt_invalidate_selftest {
    flags: Flags(set![IOMMU_TEST_INVALIDATE_FLAG_ALL]),
    iotlb_id: Number(&[
        0,
        c::MOCK_NESTED_DOMAIN_IOTLB_ID_MAX as u64,
        c::MOCK_NESTED_DOMAIN_IOTLB_NUM as u64
    ]),
});

pub(crate) static VIOMMU_INVALIDATE_SELFTEST: &Layout = layout!(iommu_viommu_invalidate_selftest {
    flags: Flags(set![IOMMU_TEST_INVALIDATE_FLAG_ALL]),
    vdev_id: Number(VIRT_IDS),
    cache_id: Number(&[
        0,
        c::MOCK_DEV_CACHE_ID_MAX as u64,
        c::MOCK_DEV_CACHE_NUM as u64
    ]),
});

pub(crate) static VIOMMU_SELFTEST: &Layout = layout!(iommu_viommu_selftest {
    in_data: Number(&[0x1234]),
    out_data: Result,
    out_mmap_offset: Result,
    out_mmap_length: Result,
});

/// Few, so that they meet.
pub(crate) const VIRT_IDS: &[u64] = &[0, 0x99, 0x9a, u32::MAX as u64, 1 << 32];

pub(crate) static CALLS: &[CallType] = commands! {
    destroy NR_DESTROY 12: iommu_destroy {
        size: Size,
        id: Id(&[
            Res::Ioas, Res::Hwpt, Res::Device, Res::Mock, Res::Fault, Res::Viommu, Res::Vdevice,
            Res::Veventq,
            Res::HwQueue,
        ]),
    }
    ioas_alloc NR_IOAS_ALLOC 6: iommu_ioas_alloc {
        size: Size, flags: Flags(set![]), out_ioas_id: OutId(Res::Ioas),
    }
    ioas_iova_ranges NR_IOAS_IOVA_RANGES 3: iommu_ioas_iova_ranges {
        size: Size, ioas_id: Id(&[Res::Ioas]), num_iovas: Count, __reserved: Zero,
        allowed_iovas: Array(&[IOVA_RANGE], "num_iovas"), out_iova_alignment: Result,
    }
    ioas_allow_iovas NR_IOAS_ALLOW_IOVAS 3: iommu_ioas_allow_iovas {
        size: Size, ioas_id: Id(&[Res::Ioas]), num_iovas: Count, __reserved: Zero,
        allowed_iovas: Array(&[IOVA_RANGE], "num_iovas"),
    }
    ioas_map NR_IOAS_MAP 24: iommu_ioas_map {
        size: Size, flags: MAP_FLAGS, ioas_id: Id(&[Res::Ioas]), __reserved: Zero, user_va: Memory,
        length: Length, iova: Iova,
    }
    ioas_map_file NR_IOAS_MAP_FILE 10: iommu_ioas_map_file {
        size: Size, flags: MAP_FLAGS, ioas_id: Id(&[Res::Ioas]), fd: File, start: Length,
        length: Length,
        iova: Iova,
    }
    ioas_copy NR_IOAS_COPY 10: iommu_ioas_copy {
        size: Size, flags: MAP_FLAGS, dst_ioas_id: Id(&[Res::Ioas]), src_ioas_id: Id(&[Res::Ioas]),
        length: Length, dst_iova: Iova, src_iova: Iova,
    }
    ioas_unmap NR_IOAS_UNMAP 14: iommu_ioas_unmap {
        size: Size, ioas_id: Id(&[Res::Ioas]), iova: Iova, length: Length,
    }
    option NR_OPTION 5: iommu_option {
        size: Size,
        option_id: Choice(set![IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_HUGE_PAGES]),
        op: Choice(set![IOMMU_OPTION_OP_SET, IOMMU_OPTION_OP_GET]),
        __reserved: Zero, object_id: Id(&[Res::Ioas]), val64: Number(&[0, 1]),
    }
    vfio_ioas NR_VFIO_IOAS 4: iommu_vfio_ioas {
        size: Size, ioas_id: Id(&[Res::Ioas]),
        op: Choice(set![IOMMU_VFIO_IOAS_GET, IOMMU_VFIO_IOAS_SET, IOMMU_VFIO_IOAS_CLEAR]),
        __reserved: Zero,
    }
    hwpt_alloc NR_HWPT_ALLOC 12: iommu_hwpt_alloc {
        size: Size,
        flags: Flags(set![IOMMU_HWPT_ALLOC_NEST_PARENT, IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
        IOMMU_HWPT_FAULT_ID_VALID, IOMMU_HWPT_ALLOC_PASID]),
        dev_id: Id(&[Res::Device]), pt_id: Id(&[Res::Ioas, Res::Hwpt, Res::Viommu]),
        out_hwpt_id: OutId(Res::Hwpt),
        __reserved: Zero,
        data_type: Choice(set![IOMMU_HWPT_DATA_NONE, IOMMU_HWPT_DATA_SELFTEST,
        IOMMU_HWPT_DATA_VTD_S1]),
        data_len: Count, data_uptr: Array(&[HWPT_SELFTEST, HWPT_VTD], "data_len"),
        fault_id: Id(&[Res::Fault]),
        __reserved2: Zero,
    }
    get_hw_info NR_GET_HW_INFO 3: iommu_hw_info {
        size: Size, flags: Flags(set![IOMMU_HW_INFO_FLAG_INPUT_TYPE]),
        dev_id: Id(&[Res::Device]), data_len: Count, data_uptr: Buffer("data_len"),
        __bindgen_anon_1.in_data_type: Choice(set![IOMMU_HW_INFO_TYPE_DEFAULT,
        IOMMU_HW_INFO_TYPE_SELFTEST, IOMMU_HW_INFO_TYPE_INTEL_VTD]),
        out_max_pasid_log2: Result, __reserved: Zero, out_capabilities: Result,
    }
    hwpt_set_dirty_tracking NR_HWPT_SET_DIRTY_TRACKING 4: iommu_hwpt_set_dirty_tracking {
        size: Size,
        flags: Flags(set![IOMMU_HWPT_DIRTY_TRACKING_ENABLE]),
        hwpt_id: Id(&[Res::Hwpt]), __reserved: Zero,
    }
    hwpt_get_dirty_bitmap NR_HWPT_GET_DIRTY_BITMAP 4: iommu_hwpt_get_dirty_bitmap {
        size: Size, hwpt_id: Id(&[Res::Hwpt]),
        flags: Flags(set![IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR]),
        __reserved: Zero, iova: Iova, length: Length,
        page_size: Number(&[4096, c::MOCK_PAGE_SIZE as u64, 8192, 65536]), data: Bitmap,
    }
    hwpt_invalidate NR_HWPT_INVALIDATE 5: iommu_hwpt_invalidate {
        size: Size, hwpt_id: Id(&[Res::Hwpt, Res::Viommu]),
        data_uptr: Array(&[INVALIDATE_SELFTEST, VIOMMU_INVALIDATE_SELFTEST], "entry_num"),
        data_type: Choice(set![IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
        IOMMU_HWPT_INVALIDATE_DATA_SELFTEST_INVALID, IOMMU_HWPT_INVALIDATE_DATA_VTD_S1]),
        entry_len: Number(&[
            size_of::<c::iommu_hwpt_invalidate_selftest>() as u64,
            size_of::<c::iommu_viommu_invalidate_selftest>() as u64,
        ]),
        entry_num: Count, __reserved: Zero,
    }
    fault_queue_alloc NR_FAULT_QUEUE_ALLOC 4: iommu_fault_alloc {
        size: Size, flags: Flags(set![]), out_fault_id: OutId(Res::Fault),
        out_fault_fd: OutFd(Res::FaultFd),
    }
    viommu_alloc NR_VIOMMU_ALLOC 6: iommu_viommu_alloc {
        size: Size, flags: Flags(set![]),
        type_: Choice(set![IOMMU_VIOMMU_TYPE_SELFTEST, IOMMU_VIOMMU_TYPE_DEFAULT]),
        dev_id: Id(&[Res::Device]), hwpt_id: Id(&[Res::Hwpt]), out_viommu_id: OutId(Res::Viommu),
        data_len: Count, __reserved: Zero, data_uptr: Array(&[VIOMMU_SELFTEST], "data_len"),
    }
    vdevice_alloc NR_VDEVICE_ALLOC 5: iommu_vdevice_alloc {
        size: Size, viommu_id: Id(&[Res::Viommu]), dev_id: Id(&[Res::Device]),
        out_vdevice_id: OutId(Res::Vdevice),
        virt_id: Number(VIRT_IDS),
    }
    ioas_change_process NR_IOAS_CHANGE_PROCESS 2: iommu_ioas_change_process { size: Size,
    __reserved: Zero }
    veventq_alloc NR_VEVENTQ_ALLOC 5: iommu_veventq_alloc {
        size: Size, flags: Flags(set![]), viommu_id: Id(&[Res::Viommu]),
        type_: Choice(set![IOMMU_VEVENTQ_TYPE_SELFTEST, IOMMU_VEVENTQ_TYPE_ARM_SMMUV3,
        IOMMU_VEVENTQ_TYPE_DEFAULT]),
        veventq_depth: Number(&[1, 2, 3, 1 << 19]), out_veventq_id: OutId(Res::Veventq),
        out_veventq_fd: OutFd(Res::VeventqFd), __reserved: Zero,
    }
    hw_queue_alloc NR_HW_QUEUE_ALLOC 5: iommu_hw_queue_alloc {
        size: Size, flags: Flags(set![]), viommu_id: Id(&[Res::Viommu]),
        type_: Choice(set![IOMMU_HW_QUEUE_TYPE_SELFTEST, IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV]),
        index: Number(&[0, 1, c::IOMMU_TEST_HW_QUEUE_MAX as u64]),
        out_hw_queue_id: OutId(Res::HwQueue),
        nesting_parent_iova: Iova, length: Length,
    }
    ioas_noiommu_get_pa NR_IOAS_NOIOMMU_GET_PA 1: iommu_ioas_noiommu_get_pa {
        size: Size, flags: Flags(set![]), ioas_id: Id(&[Res::Ioas]), __reserved: Zero, iova: Iova,
        length: Length,
        out_phys: Result,
    }
};
