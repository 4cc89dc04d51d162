// SPDX-License-Identifier: GPL-2.0-only

//! The traits that an IOMMU driver implements, and the objects that it works on.

use core::{
    marker::{
        PhantomData,
        PhantomPinned, //
    },
    ptr::NonNull, //
};

use kernel::{
    device::Device,
    prelude::*,
    sync::SpinLock,
    transmute::AsBytes,
    types::Opaque, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::{
            domain::UserData,
            group::Capability, //
        },
        iommu_driver::{
            fault::Faulting,
            format::Format,
            requests::Array,
            shared_pages::NewViommu,
            unflushed::Unflushed, //
        },
        sync::rwsem::RwSem, //
    }, //
};

/// An IOMMU driver. Each device behind its IOMMU has an IOMMU group of its own.
pub(crate) trait Driver: Sized + 'static {
    /// What the driver keeps for a device.
    type Device: Send + Sync + 'static;
    /// The page tables that the kernel fills.
    type Domain: Paging<Driver = Self>;
    /// The page tables that user space fills.
    type Nested: Nested<Driver = Self>;
    /// The vIOMMUs.
    type Viommu: VirtualIommu<Driver = Self>;
    /// The struct of the uAPI that describes the hardware.
    type Info: AsBytes;

    /// How many PASIDs the IOMMU supports.
    const MAX_PASIDS: u32;

    /// Finds the IOMMU of a device. Returns `ENODEV` if the device is not behind an IOMMU of this
    /// driver.
    fn probe(dev: &Device) -> Result<Probed<'_, Self>>;

    /// Returns whether the IOMMU has a capability for the device.
    fn capable(dev: &Self::Device, capability: Capability) -> bool;

    /// Describes the hardware. Both `wanted` and the returned number are an `enum
    /// iommu_hw_info_type`. Returns `EOPNOTSUPP` for a type that the driver does not have.
    fn hw_info(dev: &Self::Device, wanted: u32) -> Result<(u32, Self::Info)>;

    /// Allocates page tables that the device can be attached to. `flags` are the
    /// `IOMMU_HWPT_ALLOC_*` flags. Returns `EOPNOTSUPP` for flags or data that the driver does not
    /// support.
    fn alloc_paging(
        dev: &Self::Device,
        flags: u32,
        data: Option<UserData>,
    ) -> Result<Pin<KBox<PagingDomain<Self::Domain>>>>;

    /// Allocates page tables for user space to fill, on top of others of the driver. `flags` are
    /// the `IOMMU_HWPT_ALLOC_*` flags. Returns `EOPNOTSUPP` for flags or data that the driver does
    /// not support.
    fn alloc_nested(dev: &Self::Device, flags: u32, data: UserData) -> Result<Self::Nested>;

    /// Blocks the device's DMA. Called with the group's mutex held.
    fn block(dev: &Self::Device) -> Result;

    /// Blocks the device's DMA with a PASID. Called with the group's mutex held.
    fn block_pasid(dev: &Self::Device, pasid: u32) -> Result;
}

/// Page tables that the generic page table code of the kernel fills.
pub(crate) trait Paging: Sized + Send + Sync + 'static {
    /// The driver.
    type Driver: Driver<Domain = Self>;
    /// The format of the page tables.
    type Format: Format;

    /// Attaches the device. Returns `EINVAL` if it cannot use these page tables. Called with the
    /// group's mutex held.
    fn attach(domain: &PagingDomain<Self>, dev: &<Self::Driver as Driver>::Device) -> Result;

    /// Attaches the device's DMA with a PASID, as [`Paging::attach`].
    fn attach_pasid(
        domain: &PagingDomain<Self>,
        dev: &<Self::Driver as Driver>::Device,
        pasid: u32,
    ) -> Result;

    /// Starts or stops recording which pages the device writes to.
    fn track_dirty(&self, enable: bool) -> Result;
}

/// Page tables that user space fills.
pub(crate) trait Nested: Sized + Send + Sync + 'static {
    /// The driver.
    type Driver: Driver<Nested = Self>;

    /// Attaches the device. Returns `EINVAL` if it cannot use these page tables. Called with the
    /// group's mutex held.
    fn attach(
        tables: &NestedTables<Self>,
        dev: &Device,
        data: &<Self::Driver as Driver>::Device,
    ) -> Result;

    /// Attaches the device's DMA with a PASID, as [`Nested::attach`].
    fn attach_pasid(
        tables: &NestedTables<Self>,
        data: &<Self::Driver as Driver>::Device,
        pasid: u32,
    ) -> Result;

    /// Carries out a user's requests to invalidate what is cached of the page tables.
    fn invalidate(&self, requests: Array<'_>) -> Result;
}

/// The driver's part of a vIOMMU. It is dropped after all that was made on the vIOMMU.
pub(crate) trait VirtualIommu: Sized + Send + Sync + 'static {
    /// The driver.
    type Driver: Driver<Viommu = Self>;

    /// The kind of vIOMMU: an `enum iommu_viommu_type`.
    const KIND: u32;

    /// The kind of HW queues that the vIOMMU has, if any: an `enum iommu_hw_queue_type`.
    const QUEUE_KIND: Option<u32>;

    /// Makes the driver's part of `viommu`. Returns `EOPNOTSUPP` if there is data and the driver
    /// expects none, or what is wrong with the data.
    fn new(viommu: &mut NewViommu<'_>, data: Option<UserData>) -> Result<Self>;

    /// Allocates page tables for user space to fill. `flags` are the `IOMMU_HWPT_ALLOC_*` flags.
    /// Returns `EOPNOTSUPP` for flags or data that the driver does not support.
    fn alloc_nested(&self, flags: u32, data: UserData) -> Result<<Self::Driver as Driver>::Nested>;

    /// Carries out a user's requests to invalidate what is cached.
    fn invalidate(viommu: ViommuRef<'_, Self::Driver>, requests: Array<'_>) -> Result;
}

/// What this module keeps for a device. `dev_iommu_priv_get()` returns it once the device was
/// probed.
pub(super) struct DeviceState<D: Driver> {
    pub(super) data: D::Device,
    pub(super) faulting: Faulting,
}

/// The result of [`Driver::probe`].
///
/// # Invariants
///
/// `iommu` is registered with the IOMMU core, and both pointers are valid as long as the device.
pub(crate) struct Probed<'a, D: Driver> {
    pub(super) iommu: NonNull<bindings::iommu_device>,
    pub(super) state: NonNull<DeviceState<D>>,
    pub(super) _dev: PhantomData<&'a Device>,
}

/// Page tables that the kernel fills: the table of the generic page table code, and the driver's
/// data.
///
/// # Invariants
///
/// `table` is zero, or [`Format::init`] has initialised it.
#[repr(C)]
pub(crate) struct PagingDomain<T: Paging> {
    // The first field: every table begins with a `struct pt_iommu`, and that with the domain.
    pub(super) table: Opaque<<T::Format as Format>::Table>,
    pub(super) data: T,
    /// Read: a task walks the table, which others may change. Written: pages that are not part of it any
    /// more are freed.
    pub(super) walks: RwSem<()>,
    pub(super) watch: Watch,
    pub(super) _pin: PhantomPinned,
}

/// What page tables have to watch whether what is unmapped is flushed, on kernels with debug assertions.
pub(super) struct Watch {
    /// The operations of the table, by which the core unmaps.
    pub(super) ops: bindings::pt_iommu_ops,
    /// Those of the table's format.
    pub(super) format_ops: Option<&'static bindings::pt_iommu_ops>,
    pub(super) unflushed: SpinLock<Unflushed>,
}

/// Page tables that user space fills, and the driver's data.
///
/// # Invariants
///
/// If `viommu` is `Some`, it is a vIOMMU of `T::Driver` that exists as long as the page tables.
#[repr(C)]
pub(crate) struct NestedTables<T: Nested> {
    // The first field: the core's pointer to it is a pointer to the page tables.
    pub(super) domain: bindings::iommu_domain,
    pub(super) viommu: Option<NonNull<bindings::iommufd_viommu>>,
    pub(super) data: T,
}

/// A vIOMMU.
///
/// # Invariants
///
/// `raw` is a vIOMMU that `viommu_init()` has initialised for `D`. It is not destroyed during `'a`.
pub(crate) struct ViommuRef<'a, D: Driver> {
    pub(super) raw: NonNull<bindings::iommufd_viommu>,
    _driver: PhantomData<&'a D::Viommu>,
}

impl<D: Driver> ViommuRef<'_, D> {
    /// # Safety
    ///
    /// `viommu_init()` must have initialised the vIOMMU for `D`, and it must not be destroyed as
    /// long as the reference is used.
    pub(super) unsafe fn new(raw: NonNull<bindings::iommufd_viommu>) -> Self {
        // INVARIANT: By the safety requirements of this function.
        Self {
            raw,
            _driver: PhantomData,
        }
    }
}
