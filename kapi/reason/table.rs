// SPDX-License-Identifier: GPL-2.0-only

//! The reasons. `scripts/reasons.py` makes the table in `Documentation/reasons.rst` of this file.
//!
//! A line has the code, the errors that come with the reason, its name and its text. The first
//! error is the usual one; `..` says that errors of the kernel or of an IOMMU driver come with it
//! too. In a text `{}` stands for the number of the refusal, `{:#x}` for the number in hexadecimal
//! digits; without either the number has no meaning. Codes, names and the meanings of numbers are
//! read by programs, so they are not changed, and a code that is not used any more remains free.

use super::reasons;

reasons! {
    // What can end any call.
    Kernel = 0x0001, [EINVAL ..], c"kernel",
        "an error of the kernel that has no reason of its own: errno {}";
    NoMemory = 0x0002, [ENOMEM], c"no-memory",
        "the kernel has no memory for it";
    UserMemory = 0x0003, [EFAULT], c"user-memory",
        "memory of the caller that an argument names cannot be read or written";
    Killed = 0x0004, [EINTR], c"killed",
        "the caller is being killed";
    Impossible = 0x0005, [EINVAL ENODEV EOVERFLOW EFAULT], c"impossible",
        "a state that cannot be: a mistake in the module";

    // The structs of commands.
    CommandUnknown = 0x0101, [ENOTTY], c"command-unknown",
        "no command has the number {:#x}";
    CommandTooShort = 0x0102, [EINVAL], c"command-too-short",
        "a struct of {} bytes lacks a field that the command needs";
    CommandTooLong = 0x0103, [E2BIG], c"command-too-long",
        "the struct of {} bytes is longer than the known one and not zero there";
    CommandFlags = 0x0104, [EOPNOTSUPP EINVAL], c"command-flags",
        "flags that the command does not have: {:#x}";
    CommandReserved = 0x0105, [EOPNOTSUPP], c"command-reserved",
        "a reserved field is {:#x}, not 0";
    CommandOverflow = 0x0106, [EOVERFLOW], c"command-overflow",
        "an address or a length is 2^64 - 1, or their sum passes it: {:#x}";
    CommandRange = 0x0107, [EINVAL EOVERFLOW], c"command-range",
        "the range at {:#x} is empty or passes the end of 64 bits";

    // The objects that ids name.
    ObjectNone = 0x0201, [ENOENT EINVAL ENXIO], c"object-none",
        "no object has the id {}";
    ObjectKind = 0x0202, [ENOENT EINVAL], c"object-kind",
        "object {} is of a kind that the command does not take";
    ObjectInUse = 0x0203, [EBUSY], c"object-in-use",
        "object {} is used by others";
    ObjectIds = 0x0204, [EBUSY], c"object-ids",
        "all ids are taken";

    // IOMMU_OPTION.
    OptionUnknown = 0x0301, [EOPNOTSUPP], c"option-unknown",
        "no option has the number {}";
    OptionObject = 0x0302, [EOPNOTSUPP], c"option-object",
        "the option is one of the whole context, so object_id must be 0, not {}";
    OptionOperation = 0x0303, [EOPNOTSUPP], c"option-operation",
        "the operation is {}, neither to set nor to get";
    OptionValue = 0x0304, [EINVAL], c"option-value",
        "the value is {}, neither 0 nor 1";
    OptionPrivilege = 0x0305, [EPERM], c"option-privilege",
        "the caller lacks CAP_SYS_RESOURCE, which changing the accounting needs";
    OptionHasObjects = 0x0306, [EBUSY], c"option-has-objects",
        "how memory is accounted can be changed only while there are no objects";
    OptionHasMappings = 0x0307, [EINVAL], c"option-has-mappings",
        "large pages cannot be turned off while page tables have mappings";

    // Address spaces.
    IoasMoreRanges = 0x0401, [EMSGSIZE], c"ioas-more-ranges",
        "there are {} ranges, more than the caller has room for";
    IoasManyRanges = 0x0402, [ENOMEM], c"ioas-many-ranges",
        "at most {} ranges can be allowed";
    IoasBadRange = 0x0403, [EINVAL], c"ioas-bad-range",
        "allowed range {}, counted from 0, is no range or meets another one";
    IoasAllowReserved = 0x0404, [EADDRINUSE], c"ioas-allow-reserved",
        "a range to allow meets a reserved one, at {:#x}";
    IoasInUse = 0x0405, [EADDRINUSE], c"ioas-in-use",
        "addresses that are to be reserved for a device or page tables are mapped or allowed, at \
         {:#x}";
    IoasUnaligned = 0x0406, [EADDRINUSE], c"ioas-unaligned",
        "a mapping is not aligned to the {} bytes that is needed from now on";

    // IOMMU_IOAS_MAP, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_COPY and VFIO_IOMMU_MAP_DMA.
    MapNoPermission = 0x0501, [EINVAL], c"map-no-permission",
        "the mapping would permit neither reads nor writes";
    MapLength = 0x0502, [EINVAL], c"map-length",
        "the length {:#x} is 0, too long, or not aligned as the address space requires";
    MapUnaligned = 0x0503, [EINVAL], c"map-unaligned",
        "the IOVA {:#x} is not aligned as the address space requires";
    MapMemoryUnaligned = 0x0504, [EINVAL], c"map-memory-unaligned",
        "the memory at {:#x} is not aligned as the address space requires";
    MapReserved = 0x0505, [EINVAL], c"map-reserved",
        "the range meets a reserved range that begins at {:#x}";
    MapExists = 0x0506, [EEXIST], c"map-exists",
        "something is mapped already at {:#x}";
    MapNoRoom = 0x0507, [ENOSPC], c"map-no-room",
        "no free and allowed range has {:#x} bytes";
    MapOverflow = 0x0508, [EOVERFLOW], c"map-overflow",
        "the mapping or its memory passes the end of 64 bits: {:#x}";
    MapReadOnly = 0x0509, [EPERM], c"map-read-only",
        "the memory was mapped for reads only, so no copy may permit writes";
    MapLimit = 0x050a, [ENOMEM], c"map-limit",
        "limit of locked memory: {} pages over";
    MapPin = 0x050b, [EFAULT ..], c"map-pin",
        "memory cannot be pinned at {:#x} or a little behind it";
    MapFile = 0x050c, [EBADF EINVAL ..], c"map-file",
        "descriptor {} is of no file whose memory can be pinned";
    MapFileEnd = 0x050d, [EINVAL], c"map-file-end",
        "the dma-buf ends at byte {:#x}";
    MapDmaBuf = 0x050e, [EOPNOTSUPP ..], c"map-dma-buf",
        "the exporter of the dma-buf of descriptor {} does not permit it";
    MapDriver = 0x050f, [ENOMEM ..], c"map-driver",
        "the page tables cannot be filled at IOVA {:#x} or behind it";
    MapNoProcess = 0x0510, [EINVAL], c"map-no-process",
        "the caller has no memory that could be charged";
    MapProcessGone = 0x0511, [EINVAL], c"map-process-gone",
        "the process that the memory is charged to has ended";
    MapGap = 0x0512, [ENOENT], c"map-gap",
        "what is to be copied is not mapped at {:#x}";

    // IOMMU_IOAS_UNMAP and VFIO_IOMMU_UNMAP_DMA.
    UnmapNothing = 0x0601, [ENOENT], c"unmap-nothing",
        "nothing is mapped in the range at {:#x}";
    UnmapPart = 0x0602, [ENOENT], c"unmap-part",
        "the mapping at {:#x} is not whole in the range";
    UnmapBusy = 0x0603, [EBUSY], c"unmap-busy",
        "another call works on the mapping at {:#x}";
    UnmapHwQueue = 0x0604, [EBUSY], c"unmap-hw-queue",
        "a HW queue is in the mapping at {:#x}";
    UnmapAccess = 0x0605, [EDEADLK], c"unmap-access",
        "a driver does not give up its access to the mapping at {:#x}";
    UnmapCutDevice = 0x0606, [EOPNOTSUPP], c"unmap-cut-device",
        "device memory at {:#x} cannot be cut";
    UnmapCutUnaligned = 0x0607, [EINVAL], c"unmap-cut-unaligned",
        "a cut at {:#x} is not aligned as the address space requires";
    UnmapCutInUse = 0x0608, [EINVAL], c"unmap-cut-in-use",
        "the mapping at {:#x} may have large pages or be accessed, so it cannot be cut";

    // Accesses to mapped memory by drivers of emulated devices.
    AccessGap = 0x0701, [ENOENT], c"access-gap",
        "nothing is mapped at {:#x}";
    AccessPermission = 0x0702, [EPERM], c"access-permission",
        "the mapping at {:#x} does not permit the access";
    AccessDeviceMemory = 0x0703, [EINVAL], c"access-device-memory",
        "the mapping at {:#x} is device memory, which the CPU does not access";
    AccessUnmapping = 0x0704, [EINVAL], c"access-unmapping",
        "the mapping at {:#x} is being unmapped";
    AccessPartPage = 0x0705, [EINVAL], c"access-part-page",
        "the range does not consist of whole pages at {:#x}";
    AccessAttached = 0x0706, [EINVAL], c"access-attached",
        "the emulated device is attached to an address space already";
    AccessDetached = 0x0707, [ENOENT], c"access-detached",
        "the emulated device is attached to no address space";
    AccessBusy = 0x0708, [EBUSY], c"access-busy",
        "another call changes the address space of the emulated device";
    AccessMemory = 0x0709, [EFAULT ..], c"access-memory",
        "there is no memory at byte {:#x} of the mapped memory";

    // IOMMU_IOAS_NOIOMMU_GET_PA.
    PhysUnsupported = 0x0801, [EOPNOTSUPP], c"phys-unsupported",
        "the kernel has no support for devices without an IOMMU";
    PhysPrivilege = 0x0802, [EPERM], c"phys-privilege",
        "the caller lacks CAP_SYS_RAWIO, which physical addresses need";
    PhysGap = 0x0803, [ENOENT], c"phys-gap",
        "nothing is mapped at {:#x}";
    PhysRevoked = 0x0804, [EINVAL], c"phys-revoked",
        "the memory at {:#x} was revoked";
    PhysNoDevice = 0x0805, [EOPNOTSUPP], c"phys-no-device",
        "no device without an IOMMU uses address space {}";

    // IOMMU_IOAS_CHANGE_PROCESS.
    ProcessBusy = 0x0901, [EBUSY], c"process-busy",
        "another call works on the mapping at {:#x}";
    ProcessPrivate = 0x0902, [EINVAL], c"process-private",
        "the mapping at {:#x} is not of a memfd, so it stays with its process";

    // Binding a device.
    BindIncoherent = 0x0a02, [EINVAL], c"bind-incoherent",
        "the DMA of the device bypasses the caches of the CPU";
    BindNoGroup = 0x0a03, [ENODEV], c"bind-no-group",
        "the device is in no IOMMU group";
    BindInterrupts = 0x0a04, [EPERM], c"bind-interrupts",
        "the device could forge the interrupts of others in IOMMU group {}";
    BindOwner = 0x0a05, [EBUSY ..], c"bind-owner",
        "a driver or another file owns the DMA of the device's IOMMU group";

    // Attaching a device or one of its PASIDs, and replacing what it is attached to.
    AttachKind = 0x0b01, [EINVAL], c"attach-kind",
        "object {} is neither page tables nor an address space";
    AttachIommu = 0x0b02, [EINVAL ENODEV], c"attach-iommu",
        "HWPT {} is for devices with an IOMMU and the device has none, or the reverse";
    AttachAgain = 0x0b03, [EBUSY], c"attach-again",
        "the device is attached to HWPT {} already";
    AttachGroup = 0x0b04, [EINVAL], c"attach-group",
        "another device of its IOMMU group is attached to HWPT {}";
    AttachPasid = 0x0b05, [EINVAL], c"attach-pasid",
        "HWPT {}, or what the device is attached to, was not made for PASIDs";
    AttachFaults = 0x0b06, [EINVAL], c"attach-faults",
        "HWPT {} has a fault queue, and virtual functions share their page requests";
    AttachDriver = 0x0b07, [EINVAL ..], c"attach-driver",
        "the driver of the IOMMU does not attach the device to HWPT {}";
    AttachNot = 0x0b08, [EINVAL], c"attach-not",
        "the device is not attached, so nothing can be replaced by HWPT {}";
    AttachMsi = 0x0b09, [EINVAL], c"attach-msi",
        "the driver of the IOMMU reports {} windows for interrupts that exclude each other";
    AttachRegions = 0x0b0a, [ENOMEM ..], c"attach-regions",
        "the kernel does not say which addresses the device cannot use";

    // Making page tables, and dirty tracking.
    HwptData = 0x0c01, [EINVAL], c"hwpt-data",
        "there is data of {} bytes without a type, or a type without data";
    HwptDirty = 0x0c02, [EOPNOTSUPP], c"hwpt-dirty",
        "dirty tracking is not in the hardware of the device's IOMMU";
    HwptFaultParent = 0x0c03, [EOPNOTSUPP], c"hwpt-fault-parent",
        "page tables of the second stage cannot have a fault queue";
    HwptDriver = 0x0c04, [EOPNOTSUPP ..], c"hwpt-driver",
        "the driver of the IOMMU does not make page tables with flags {:#x} and this data";
    HwptCoherency = 0x0c05, [EINVAL], c"hwpt-coherency",
        "the IOMMU cannot enforce that the device's DMA respects caches";
    HwptPageSize = 0x0c06, [EINVAL], c"hwpt-page-size",
        "the smallest page is of {} bytes, more than the CPU's";
    HwptParentKind = 0x0c07, [EINVAL], c"hwpt-parent-kind",
        "page tables cannot be made on object {}";
    HwptNoNesting = 0x0c08, [EOPNOTSUPP], c"hwpt-no-nesting",
        "the driver of the IOMMU has no nested page tables, or makes them on a vIOMMU only";
    HwptNotParent = 0x0c09, [EINVAL], c"hwpt-not-parent",
        "HWPT {} was not made as a parent";
    HwptNestedFlags = 0x0c0a, [EOPNOTSUPP], c"hwpt-nested-flags",
        "nested page tables need data and do not have all of the flags {:#x}";
    HwptNestedDriver = 0x0c0b, [EOPNOTSUPP ..], c"hwpt-nested-driver",
        "the driver of the IOMMU does not make nested page tables of data of type {}";
    HwptViommu = 0x0c0c, [EINVAL], c"hwpt-viommu",
        "vIOMMU {} is on another IOMMU than the device";
    HwptUntracked = 0x0c0d, [EOPNOTSUPP], c"hwpt-untracked",
        "the page tables were not made for dirty tracking";
    HwptTracking = 0x0c0e, [EOPNOTSUPP ..], c"hwpt-tracking",
        "the driver of the IOMMU does not turn dirty tracking of HWPT {} on or off";
    HwptBitmapRange = 0x0c0f, [EINVAL EOVERFLOW], c"hwpt-bitmap-range",
        "the range at {:#x} does not consist of whole pages of the page tables and of the bitmap";
    HwptBitmap = 0x0c10, [ENOMEM ..], c"hwpt-bitmap",
        "the dirty bits of the range at {:#x} cannot be read";

    // IOMMU_GET_HW_INFO.
    HwInfoType = 0x0d01, [EOPNOTSUPP ..], c"hw-info-type",
        "the driver of the IOMMU has no information of type {}";

    // IOMMU_HWPT_INVALIDATE.
    InvalidateArray = 0x0e01, [EINVAL], c"invalidate-array",
        "there is no array of {} requests, or its requests are of a size that cannot be";
    InvalidateRequest = 0x0e02, [EINVAL ..], c"invalidate-request",
        "request {}, counted from 0, or the type of all of them, is refused";

    // vIOMMUs.
    ViommuType = 0x0f01, [EOPNOTSUPP], c"viommu-type",
        "the driver of the IOMMU has no vIOMMU of type {}";
    ViommuNotParent = 0x0f02, [EINVAL], c"viommu-not-parent",
        "HWPT {} was not made as a parent";
    ViommuDriver = 0x0f03, [EOPNOTSUPP ..], c"viommu-driver",
        "the driver of the IOMMU does not make a vIOMMU of type {} on this parent with this data";
    ViommuIommus = 0x0f04, [EINVAL E2BIG], c"viommu-iommus",
        "the data name {} further IOMMUs, too many, or are no whole number of them";
    ViommuOtherIoas = 0x0f05, [EINVAL], c"viommu-other-ioas",
        "HWPT {} is of another address space than the first parent";

    // vDEVICEs.
    VdeviceIommu = 0x1001, [EINVAL], c"vdevice-iommu",
        "vIOMMU {} is on another IOMMU than the device";
    VdeviceExists = 0x1002, [EEXIST], c"vdevice-exists",
        "device {} has a vDEVICE already";
    VdeviceUnbound = 0x1003, [ENOENT], c"vdevice-unbound",
        "device {} is being unbound";
    VdeviceDriver = 0x1004, [EEXIST ..], c"vdevice-driver",
        "the virtual id {:#x} is taken, or the driver of the IOMMU does not make the vDEVICE";

    // Event queues of vIOMMUs.
    VeventqDepth = 0x1101, [EINVAL], c"veventq-depth",
        "a queue of {} events is empty or too long";
    VeventqType = 0x1102, [EOPNOTSUPP EEXIST ..], c"veventq-type",
        "the vIOMMU has no events of type {}, or a queue for them already";
    VeventqRoom = 0x1103, [EINVAL], c"veventq-room",
        "a buffer of {} bytes has no room for the next event";
    VeventqWrite = 0x1104, [EINVAL], c"veventq-write",
        "events cannot be written";

    // HW queues.
    HwQueueType = 0x1201, [EOPNOTSUPP], c"hw-queue-type",
        "the vIOMMU has no HW queues of type {}";
    HwQueueMemory = 0x1202, [EFAULT ERANGE], c"hw-queue-memory",
        "the memory at {:#x} is not contiguous";
    HwQueueDriver = 0x1203, [EINVAL ..], c"hw-queue-driver",
        "the driver of the IOMMU does not make queue {}";

    // Fault queues.
    FaultLength = 0x1301, [ESPIPE], c"fault-length",
        "{} bytes are no number of whole structs";
    FaultRoom = 0x1302, [EINVAL], c"fault-room",
        "the next group of faults takes {} structs, more than there is room for";
    FaultAnswer = 0x1303, [EINVAL], c"fault-answer",
        "there is no answer {}";
    FaultCookie = 0x1304, [EINVAL], c"fault-cookie",
        "no group of faults that was read and not answered has the cookie {}";

    // mmap().
    MmapPrivate = 0x1401, [EINVAL], c"mmap-private",
        "device memory must be mapped shared";
    MmapExecutable = 0x1402, [EPERM], c"mmap-executable",
        "device memory cannot be executed";
    MmapOffset = 0x1403, [ENXIO], c"mmap-offset",
        "no object offers memory at offset {:#x}";
    MmapSize = 0x1404, [EINVAL ENXIO ..], c"mmap-size",
        "the memory at offset {:#x} must be mapped as a whole";

    // The VFIO container.
    ContainerNone = 0x1501, [ENODEV], c"container-none",
        "the container has no address space, because no group has joined it";
    ContainerOperation = 0x1502, [EOPNOTSUPP], c"container-operation",
        "operation {} is none of IOMMU_VFIO_IOAS";
    ContainerType = 0x1503, [EINVAL], c"container-type",
        "its groups cannot have an IOMMU of type {}";
    ContainerPrivilege = 0x1504, [EPERM], c"container-privilege",
        "the caller lacks CAP_SYS_RAWIO, which devices without an IOMMU need";
    ContainerTooShort = 0x1505, [EINVAL], c"container-too-short",
        "an argsz of {} is less than the command needs";
    ContainerAll = 0x1506, [EINVAL], c"container-all",
        "to unmap all, address and size must be 0, not {:#x}";
    ContainerNoIommu = 0x1507, [EINVAL EBUSY], c"container-no-iommu",
        "groups with and without an IOMMU cannot be in one container";
}
