// SPDX-License-Identifier: GPL-2.0-only

//! IOMMU groups, the ownership of their DMA, and what a group and its PASIDs are attached to.
//!
//! C headers: `include/linux/iommu.h`, `drivers/iommu/iommu-priv.h`.

use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};

use kernel::{
    device::Device,
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::{
            attachable::{
                AttachHandle,
                Attachable, //
            },
            device,
            fault_lock,
            msi::Doorbells, //
        },
        units::{
            to_u64,
            IovaRange, //
        }, //
    }, //
};

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use kernel::error::from_err_ptr;

/// A counted reference to a `struct iommu_group`.
pub(crate) struct IommuGroup(NonNull<bindings::iommu_group>);

// SAFETY: The IOMMU core locks its groups: any task may use them.
unsafe impl Send for IommuGroup {}
// SAFETY: As above.
unsafe impl Sync for IommuGroup {}

impl IommuGroup {
    /// The group of a device. `ENODEV` where no IOMMU manages it.
    pub(crate) fn of(dev: &Device) -> Result<Self> {
        // SAFETY: The device is alive.
        let group = unsafe { bindings::iommu_group_get(device::as_raw(dev)) };
        Ok(Self(NonNull::new(group).ok_or(ENODEV)?))
    }

    /// The group's number, unique as long as the reference is held.
    pub(crate) fn id(&self) -> u32 {
        // SAFETY: The group is alive.
        unsafe { bindings::iommu_group_id(self.0.as_ptr()) as u32 }
    }

    /// Whether a device of the group cannot forge interrupts of others.
    pub(crate) fn has_isolated_msi(&self) -> bool {
        // SAFETY: The group is alive.
        unsafe { bindings::iommu_group_has_isolated_msi(self.0.as_ptr()) }
    }

    /// Returns the address of the C object, to be compared.
    pub(crate) fn addr(&self) -> usize {
        self.0.addr().get()
    }
}

impl Drop for IommuGroup {
    fn drop(&mut self) {
        // SAFETY: The reference is ours to give back.
        unsafe { bindings::iommu_group_put(self.0.as_ptr()) };
    }
}

/// What an IOMMU can do for a device.
#[derive(Clone, Copy)]
pub(crate) enum Capability {
    /// DMA is coherent with the CPU's caches.
    CacheCoherency,
    /// The IOMMU can snoop against a device's will.
    EnforceCacheCoherency,
    /// The IOMMU tracks dirty pages.
    DirtyTracking,
    /// The device may use ATS.
    PciAts,
}

impl Capability {
    fn as_raw(self) -> bindings::iommu_cap {
        match self {
            Self::CacheCoherency => bindings::iommu_cap_IOMMU_CAP_CACHE_COHERENCY,
            Self::EnforceCacheCoherency => bindings::iommu_cap_IOMMU_CAP_ENFORCE_CACHE_COHERENCY,
            Self::DirtyTracking => bindings::iommu_cap_IOMMU_CAP_DIRTY_TRACKING,
            Self::PciAts => bindings::iommu_cap_IOMMU_CAP_PCI_ATS_SUPPORTED,
        }
    }

    /// The capability that the IOMMU core asks a driver about.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(in crate::kapi) fn from_raw(raw: bindings::iommu_cap) -> Option<Self> {
        [
            Self::CacheCoherency,
            Self::EnforceCacheCoherency,
            Self::DirtyTracking,
            Self::PciAts,
        ]
        .into_iter()
        .find(|capability| capability.as_raw() == raw)
    }
}

/// Whether the device's IOMMU has the capability.
pub(crate) fn capable(dev: &Device, capability: Capability) -> bool {
    // SAFETY: The device is alive.
    unsafe { bindings::device_iommu_capable(device::as_raw(dev), capability.as_raw()) }
}

/// The right to decide about the DMA of a device's group, shared among all devices that one owner
/// claims it for. Dropping it gives the right back.
pub(crate) struct DmaOwner(ARef<Device>);

impl DmaOwner {
    /// Claims the DMA of `dev` for `owner`, whose address stands for it. Returns `EBUSY` if a kernel
    /// driver or another owner has it.
    pub(crate) fn claim<T>(dev: &Device, owner: &T) -> Result<Self> {
        let owner: *const T = owner;
        // SAFETY: `dev` is a reference to the device. The IOMMU core compares the address of the owner,
        // which is not null.
        to_result(unsafe {
            bindings::iommu_device_claim_dma_owner(device::as_raw(dev), owner.cast_mut().cast())
        })?;
        Ok(Self(dev.into()))
    }
}

impl Drop for DmaOwner {
    fn drop(&mut self) {
        // SAFETY: We claimed it.
        unsafe { bindings::iommu_device_release_dma_owner(device::as_raw(&self.0)) };
    }
}

/// Which of a device's streams of DMA is meant: that of a process address space ID, or all that
/// have none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pasid(bindings::ioasid_t);

impl Pasid {
    /// DMA without a PASID. Before all others in order.
    pub(crate) const NONE: Self = Self(bindings::IOMMU_NO_PASID);

    /// The PASID of C code. Whether a device has it is seen when it is attached.
    pub(crate) const fn new(raw: bindings::ioasid_t) -> Self {
        Self(raw)
    }

    /// Whether DMA without a PASID is meant.
    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// What is attached.
enum Source {
    /// A group's DMA without PASID.
    Group(Arc<IommuGroup>),
    /// The DMA with a PASID of all devices of a group, of which this is one.
    Pasid(ARef<Device>, Pasid),
}

/// A group whose DMA, without PASID or with a certain one, goes through a domain. Dropping it
/// blocks that DMA and answers the page faults that came by it.
///
/// # Invariants
///
/// `handle` is registered with the IOMMU core for `source` and the handle's domain.
pub(crate) struct Attachment {
    source: Source,
    /// Dropped by `drop`.
    handle: ManuallyDrop<Pin<KBox<AttachHandle>>>,
}

impl Attachment {
    /// Attaches a group whose DMA the caller owns; where a PASID is given, all its devices' DMA
    /// with that. `dev` is one of the group, and `id` is what page faults name it by. `doorbells`
    /// are where interrupts go if the IOMMU translates them; dropped after the group has been
    /// detached. `EINVAL` where domain and device do not fit, or the group has no such PASID,
    /// `EOPNOTSUPP` where the IOMMU has none, `EBUSY`, `ENOMEM`.
    pub(crate) fn new(
        group: Arc<IommuGroup>,
        dev: &Device,
        pasid: Pasid,
        domain: Attachable,
        doorbells: Option<KBox<dyn Doorbells>>,
        id: u32,
    ) -> Result<Self> {
        let handle = AttachHandle::new(domain, doorbells, id)?;
        let domain = handle.domain().as_ptr();
        let source = if pasid.is_none() {
            Source::Group(group)
        } else {
            Source::Pasid(dev.into(), pasid)
        };
        let _no_faults = fault_lock::write();
        // SAFETY: All three live as long as the attachment: it owns them.
        to_result(unsafe {
            match &source {
                Source::Group(group) => {
                    bindings::iommu_attach_group_handle(domain, group.0.as_ptr(), handle.as_ptr())
                }
                Source::Pasid(dev, pasid) => bindings::iommu_attach_device_pasid(
                    domain,
                    device::as_raw(dev),
                    pasid.0,
                    handle.as_ptr(),
                ),
            }
        })?;
        // INVARIANT: Just registered.
        Ok(Self {
            source,
            handle: ManuallyDrop::new(handle),
        })
    }

    /// Moves the DMA to another domain, without a gap where the driver can, and answers the page
    /// faults that came by the old one. On failure the old attachment stays as it was.
    ///
    /// Returns `EINVAL` if another IOMMU driver made the domain: `iommu_replace_group_handle()`, in
    /// contrast to `iommu_attach_group_handle()`, does not check that. Otherwise returns the errors
    /// of [`Attachment::new`].
    pub(crate) fn replace(
        &mut self,
        domain: Attachable,
        doorbells: Option<KBox<dyn Doorbells>>,
        id: u32,
    ) -> Result {
        if !domain.is_of_same_driver(self.handle.domain()) {
            return Err(EINVAL);
        }
        let handle = AttachHandle::new(domain, doorbells, id)?;
        let domain = handle.domain().as_ptr();
        let _no_faults = fault_lock::write();
        // SAFETY: As in `new`; the old domain and handle are released only after the move.
        to_result(unsafe {
            match &self.source {
                Source::Group(group) => {
                    bindings::iommu_replace_group_handle(group.0.as_ptr(), domain, handle.as_ptr())
                }
                Source::Pasid(dev, pasid) => bindings::iommu_replace_device_pasid(
                    domain,
                    device::as_raw(dev),
                    pasid.0,
                    handle.as_ptr(),
                ),
            }
        })?;
        // INVARIANT: The core has exchanged the old handle for the new.
        drop(core::mem::replace(&mut *self.handle, handle));
        Ok(())
    }

    /// Names the group by `dev`, another device of it, from now on. A group that is attached by a
    /// PASID is named by a device, and only one that is bound is sure to stay in it.
    pub(crate) fn set_device(&mut self, dev: &Device) {
        if let Source::Pasid(old, _) = &mut self.source {
            *old = dev.into();
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let domain = self.handle.domain().as_ptr();
        let _no_faults = fault_lock::write();
        // SAFETY: By the invariant the group is attached to the domain.
        unsafe {
            match &self.source {
                Source::Group(group) => {
                    bindings::iommu_detach_group_handle(domain, group.0.as_ptr())
                }
                Source::Pasid(dev, pasid) => {
                    bindings::iommu_detach_device_pasid(domain, device::as_raw(dev), pasid.0)
                }
            }
        }
        // SAFETY: The core does not have the handle any more, and it is not used again.
        unsafe { ManuallyDrop::drop(&mut self.handle) };
    }
}

/// What the IOMMU core has recorded, for tests.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl Attachment {
    /// Whether this is what the core has for `pasid` of `group`, with our domain.
    pub(crate) fn is_recorded(&self, group: &IommuGroup, pasid: Pasid) -> bool {
        core::ptr::eq(group.handle(pasid), self.handle.as_ptr())
    }
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl IommuGroup {
    /// Whether the core has an attachment for `pasid`.
    pub(crate) fn is_attached(&self, pasid: Pasid) -> bool {
        !self.handle(pasid).is_null()
    }

    /// The core's handle, to be compared, or NULL.
    fn handle(&self, pasid: Pasid) -> *const bindings::iommu_attach_handle {
        // SAFETY: The group is alive; of any type, so the core does not look into the handle.
        let handle = unsafe { bindings::iommu_attach_handle_get(self.0.as_ptr(), pasid.0, 0) };
        from_err_ptr(handle).map_or(core::ptr::null(), <*mut _>::cast_const)
    }
}

/// Why a device cannot use a range of addresses for DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResvKind {
    /// Firmware wants it mapped one to one, but only until a driver takes over.
    DirectRelaxable,
    /// Interrupts go there, and the hardware decides where.
    HwMsi,
    /// Interrupts go there, and software may choose where.
    SwMsi,
    /// Any other reason.
    Other,
}

/// A range that a device cannot use for DMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResvRegion {
    /// The addresses.
    pub(crate) range: IovaRange,
    /// The reason.
    pub(crate) kind: ResvKind,
}

/// The ranges that a device cannot use for DMA. `ENOMEM`.
pub(crate) fn resv_regions(dev: &Device) -> Result<KVec<ResvRegion>> {
    let mut regions = KVec::new();
    let mut result = Ok(());
    let mut list = bindings::list_head::default();
    let head: *mut bindings::list_head = &mut list;

    // SAFETY: `head` is a list head that stays in place until `iommu_put_resv_regions`.
    unsafe {
        (*head).next = head;
        (*head).prev = head;
        bindings::iommu_get_resv_regions(device::as_raw(dev), head);
    }
    // SAFETY: The list was initialised above.
    let mut entry = unsafe { (*head).next };
    while !core::ptr::eq(entry, head) {
        // SAFETY: Every entry of the list but its head is the `list` of a region.
        let raw = unsafe { &*kernel::container_of!(entry, bindings::iommu_resv_region, list) };
        let kind = match raw.type_ {
            bindings::iommu_resv_type_IOMMU_RESV_DIRECT_RELAXABLE => ResvKind::DirectRelaxable,
            bindings::iommu_resv_type_IOMMU_RESV_MSI => ResvKind::HwMsi,
            bindings::iommu_resv_type_IOMMU_RESV_SW_MSI => ResvKind::SwMsi,
            _ => ResvKind::Other,
        };
        if let (Ok(range), Ok(())) = (IovaRange::from_len(raw.start, to_u64(raw.length)), result) {
            result = regions
                .push(ResvRegion { range, kind }, GFP_KERNEL)
                .map_err(Error::from);
        }
        // SAFETY: As above.
        entry = unsafe { (*entry).next };
    }
    // SAFETY: The list is the one that `iommu_get_resv_regions` filled.
    unsafe { bindings::iommu_put_resv_regions(device::as_raw(dev), head) };
    result.map(|()| regions)
}
