// SPDX-License-Identifier: GPL-2.0-only

//! VFIO's container ioctls, reads and writes of queues, mappings of the context, and what a process
//! does to its memory and itself.

use crate::{
    sys::c,
    table::*, //
};

use Action::{
    Direct,
    Ioctl, //
};
use Kind::*;

const CONTEXT: Field = argument(FD, Fd(&[Res::Context]));
const DEVICE: Field = argument("device", Fd(&[Res::Vfio]));
const GROUP: Field = argument("group", Fd(&[Res::Group]));

/// What has no struct: the arguments are those of the call.
macro_rules! plain {
    ($name:ident $weight:literal $action:expr, { $($field:ident: $kind:expr),* $(,)? }) => {
        CallType {
            name: stringify!($name),
            command: "",
            action: $action,
            layout: &Layout { name: "", size: 0, fields: &[$(argument(stringify!($field),
            $kind)),*] },
            weight: $weight,
        }
    };
}

/// A page response as a program writes it.
pub(crate) static RESPONSE: &Layout = layout!(iommu_hwpt_page_response {
    cookie: Id(&[Res::Cookie]),
    code: Choice(set![IOMMUFD_PAGE_RESP_SUCCESS, IOMMUFD_PAGE_RESP_INVALID]),
});

/// A page fault as the kernel writes it.
pub(crate) static FAULT: &Layout = layout!(iommu_hwpt_pgfault {
    flags: Result,
    dev_id: Echo,
    pasid: Result,
    grpid: Result,
    perm: Result,
    __reserved: Result,
    addr: Result,
    length: Result,
    cookie: OutId(Res::Cookie),
});

/// What begins each event of a vIOMMU, and what follows it if the vIOMMU is the mock's.
pub(crate) static EVENT_HEADER: &Layout = layout!(iommufd_vevent_header {
    flags: Result,
    sequence: Result,
});
pub(crate) static EVENT: &Layout = layout!(iommu_viommu_event_selftest { virt_id: Result });

const EXTENSIONS: &[Named] = set![
    VFIO_TYPE1_IOMMU,
    VFIO_TYPE1v2_IOMMU,
    VFIO_DMA_CC_IOMMU,
    VFIO_UNMAP_ALL,
    VFIO_NOIOMMU_IOMMU,
];

pub(crate) static CALLS: &[CallType] = &[
    plain!(vfio_get_api_version 1 Direct(c::NR_VFIO_GET_API_VERSION as u64), {
        fd: Fd(&[Res::Context]), argument: Number(&[0]),
    }),
    plain!(vfio_check_extension 2 Direct(c::NR_VFIO_CHECK_EXTENSION as u64), {
        fd: Fd(&[Res::Context]), argument: Choice(EXTENSIONS),
    }),
    plain!(vfio_set_iommu 2 Direct(c::NR_VFIO_SET_IOMMU as u64), {
        fd: Fd(&[Res::Context]), argument: Choice(EXTENSIONS),
    }),
    // No container of iommufd has it.
    plain!(vfio_dirty_pages 1 Direct(c::NR_VFIO_IOMMU_DIRTY_PAGES as u64), {
        fd: Fd(&[Res::Context]), argument: Number(&[0]),
    }),
    plain!(no_command 1 Direct(c::NR_NONE as u64), {
        fd: Fd(&[Res::Context]), argument: Number(&[0]),
    }),
    CallType {
        name: "vfio_get_info",
        command: "",
        action: Ioctl(c::NR_VFIO_IOMMU_GET_INFO as u64),
        layout: layout!(vfio_iommu_type1_info [CONTEXT] {
            argsz: Size, flags: Number(&[]), iova_pgsizes: Number(&[]), cap_offset: Number(&[]),
            pad: Zero,
        }),
        weight: 2,
    },
    CallType {
        name: "vfio_map_dma",
        command: "",
        action: Ioctl(c::NR_VFIO_IOMMU_MAP_DMA as u64),
        layout: layout!(vfio_iommu_type1_dma_map [CONTEXT] {
            argsz: Size,
            flags: Flags(set![VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE]),
            vaddr: Memory, iova: Iova, size: Length,
        }),
        weight: 5,
    },
    CallType {
        name: "vfio_unmap_dma",
        command: "",
        action: Ioctl(c::NR_VFIO_IOMMU_UNMAP_DMA as u64),
        layout: layout!(vfio_iommu_type1_dma_unmap [CONTEXT] {
            argsz: Size,
            flags: Flags(set![VFIO_DMA_UNMAP_FLAG_ALL, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
            VFIO_DMA_UNMAP_FLAG_VADDR]),
            iova: Iova, size: Length,
        }),
        weight: 5,
    },
    // An operation of the mock that returns a descriptor.
    CallType {
        name: "dmabuf_get",
        command: "TEST_CMD",
        action: Ioctl(c::NR_TEST as u64),
        layout: layout!(iommu_test_cmd [CONTEXT, argument("out_fd", OutFd(Res::DmaBuf))] {
            size: Size, op: Fixed(set![IOMMU_TEST_OP_DMABUF_GET]), id: Zero, __reserved: Zero,
            __bindgen_anon_1.dmabuf_get.length: Length,
            __bindgen_anon_1.dmabuf_get.open_flags: Flags(set![O_RDWR, O_CLOEXEC]),
        }),
        weight: 1,
    },
    plain!(open_device 1 Action::OpenDevice, { out_device: OutFd(Res::Vfio) }),
    CallType {
        name: "device_bind",
        command: "",
        action: Ioctl(c::NR_VFIO_DEVICE_BIND_IOMMUFD as u64),
        layout: layout!(vfio_device_bind_iommufd [DEVICE] {
            argsz: Size, flags: Flags(set![VFIO_DEVICE_BIND_FLAG_TOKEN]),
            iommufd: Fd(&[Res::Context]), out_devid: OutId(Res::Device), token_uuid_ptr: Zero,
        }),
        weight: 2,
    },
    CallType {
        name: "device_attach",
        command: "",
        action: Ioctl(c::NR_VFIO_DEVICE_ATTACH_IOMMUFD_PT as u64),
        layout: layout!(vfio_device_attach_iommufd_pt [DEVICE] {
            argsz: Size, flags: Flags(set![VFIO_DEVICE_ATTACH_PASID]),
            pt_id: Id(&[Res::Ioas, Res::Hwpt]), pasid: Number(&[0, 1]),
        }),
        weight: 4,
    },
    CallType {
        name: "device_detach",
        command: "",
        action: Ioctl(c::NR_VFIO_DEVICE_DETACH_IOMMUFD_PT as u64),
        layout: layout!(vfio_device_detach_iommufd_pt [DEVICE] {
            argsz: Size, flags: Flags(set![VFIO_DEVICE_DETACH_PASID]), pasid: Number(&[0, 1]),
        }),
        weight: 2,
    },
    // Memory of the device.
    CallType {
        name: "device_dmabuf",
        command: "",
        action: Ioctl(c::NR_VFIO_DEVICE_FEATURE as u64),
        layout: layout!(vfio_get_dma_buf [DEVICE, argument("out_fd", OutFd(Res::DmaBuf))] {
            argsz: Size, flags: Fixed(set![VFIO_GET_DMA_BUF]), region_index: Number(&[0, 1, 2, 9]),
            open_flags: Flags(set![O_RDWR, O_CLOEXEC]), dma_buf_flags: Zero,
            nr_ranges: Number(&[1]), range.offset: Number(&[0, 4096]),
            range.length: Number(&[4096, 8192]),
        }),
        weight: 2,
    },
    // It revokes the device's memory, if the device is one that can be reset.
    plain!(device_reset 1 Direct(c::NR_VFIO_DEVICE_RESET as u64), {
        fd: Fd(&[Res::Vfio]), argument: Number(&[0]),
    }),
    plain!(open_group 1 Action::OpenGroup, { out_group: OutFd(Res::Group) }),
    CallType {
        name: "group_set_container",
        command: "",
        action: Ioctl(c::NR_VFIO_GROUP_SET_CONTAINER as u64),
        layout: layout!(vfio_group_container [GROUP] { container: Fd(&[Res::Context]) }),
        weight: 1,
    },
    plain!(group_unset_container 1 Direct(c::NR_VFIO_GROUP_UNSET_CONTAINER as u64), {
        fd: Fd(&[Res::Group]), argument: Number(&[0]),
    }),
    // It binds the device, and attaches it to the container's address space.
    plain!(group_get_device 1 Action::GroupDevice, {
        fd: Fd(&[Res::Group]), out_device: OutFd(Res::Vfio),
    }),
    plain!(open 1 Action::Open, { out_fd: OutFd(Res::Context) }),
    plain!(close 3 Action::Close, {
        fd: Fd(&[
            Res::Context, Res::AccessFd, Res::FaultFd, Res::VeventqFd, Res::DmaBuf, Res::Vfio,
            Res::Group,
        ]),
    }),
    plain!(poll 2 Action::Poll, { fd: Fd(&[Res::FaultFd, Res::VeventqFd]) }),
    plain!(read_faults 5 Action::ReadFaults, {
        fd: Fd(&[Res::FaultFd]), length: Number(&[
            size_of::<c::iommu_hwpt_pgfault>() as u64,
            2 * size_of::<c::iommu_hwpt_pgfault>() as u64, 1, 0,
        ]),
        first: OutId(Res::Cookie), second: OutId(Res::Cookie),
    }),
    plain!(read_events 4 Action::ReadEvents, {
        fd: Fd(&[Res::VeventqFd]), length: Number(&[
            size_of::<c::iommufd_vevent_header>() as u64, 12, 24, 36, 64, 0, 7,
        ]),
    }),
    plain!(respond 4 Action::Respond, {
        fd: Fd(&[Res::FaultFd]), data: Array(&[RESPONSE], "length"), length: Count,
    }),
    plain!(map_context 3 Action::MapContext, {
        fd: Fd(&[Res::Context]), offset: Number(&[0, 4096]), length: Number(&[4096, 8192]),
        prot: Flags(set![PROT_READ, PROT_WRITE, PROT_EXEC]), kind: Choice(set![MAP_SHARED, MAP_PRIVATE]),
        out_address: OutId(Res::Mapping),
    }),
    plain!(unmap_context 1 Action::UnmapContext, { address: Id(&[Res::Mapping]) }),
    // Reads and writes the first bytes of what a context has mapped.
    plain!(touch 2 Action::Touch, { address: Id(&[Res::Mapping]) }),
    plain!(poke 2 Action::Poke, { address: Memory }),
    plain!(protect 1 Action::Protect, {
        address: Memory, length: Number(&[4096, 8192]), prot: Flags(set![PROT_READ, PROT_WRITE]),
    }),
    plain!(drop 1 Action::Drop, { address: Memory, length: Number(&[4096, 8192]) }),
    plain!(unmap 1 Action::Unmap, { address: Memory, length: Number(&[4096, 8192]) }),
    plain!(fork 1 Action::Fork, { out_child: OutId(Res::Child) }),
    plain!(kill 1 Action::Kill, { child: Id(&[Res::Child]) }),
    plain!(look 1 Action::Look, {
        fd: Fd(&[Res::Context, Res::FaultFd, Res::VeventqFd]),
    }),
    // How many KiB are charged to the process. Programs end with it.
    plain!(charged 0 Action::Charged, {}),
    // Only programs of the tree have it, in threads: others are to be at work already.
    plain!(pause 0 Action::Pause, { milliseconds: Number(&[1]) }),
    // For children only.
    plain!(give_up 1 Action::GiveUp, {
        capability: Choice(set![CAP_SYS_RESOURCE, CAP_SYS_RAWIO]),
    }),
    plain!(limit 1 Action::Limit, { bytes: Number(&[0, 4096, 65536, u64::MAX]) }),
];
