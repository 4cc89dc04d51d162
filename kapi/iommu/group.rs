// SPDX-License-Identifier: GPL-2.0-only

//! IOMMU groups, and the ownership of their DMA.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use core::ptr::NonNull;

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

use crate::{
    ffi::bindings,
    kapi::iommu::device::{
        self,
        IommuDevice, //
    }, //
};

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use kernel::error::from_err_ptr;

/// A counted reference to a `struct iommu_group`.
///
/// # Invariants
///
/// The group is valid, and a reference to it belongs to this.
pub(crate) struct IommuGroup(NonNull<bindings::iommu_group>);

// SAFETY: The reference count of a group is atomic, so any task may drop the reference.
unsafe impl Send for IommuGroup {}
// SAFETY: The IOMMU core locks what changes in a group.
unsafe impl Sync for IommuGroup {}

impl IommuGroup {
    /// Returns the group of a device, or `ENODEV` if it is in none.
    pub(crate) fn of(dev: &IommuDevice) -> Result<Self> {
        // SAFETY: An `IommuDevice` is a valid device, as `IommuDevice::new` requires.
        let group = unsafe { bindings::iommu_group_get(device::as_raw(dev)) };
        // INVARIANT: The function returned a reference.
        Ok(Self(NonNull::new(group).ok_or(ENODEV)?))
    }

    /// Returns the number of the group. No other group has it as long as the reference exists.
    pub(crate) fn id(&self) -> u32 {
        // SAFETY: By the type invariant the group is valid.
        let id = unsafe { bindings::iommu_group_id(self.0.as_ptr()) };
        // CAST: The core's ids are not negative.
        id as u32
    }

    /// Returns whether no device of the group can send an MSI that another device is to send.
    pub(crate) fn has_isolated_msi(&self) -> bool {
        // SAFETY: By the type invariant the group is valid.
        unsafe { bindings::iommu_group_has_isolated_msi(self.0.as_ptr()) }
    }

    /// Returns the address of the C object, to be compared.
    pub(crate) fn addr(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Returns the C object.
    pub(super) fn as_ptr(&self) -> *mut bindings::iommu_group {
        self.0.as_ptr()
    }
}

impl Drop for IommuGroup {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference belongs to this.
        unsafe { bindings::iommu_group_put(self.0.as_ptr()) };
    }
}

/// What an IOMMU can do for a device: `enum iommu_cap`.
#[derive(Clone, Copy)]
pub(crate) enum Capability {
    /// DMA is coherent with the caches of the CPU.
    CacheCoherency,
    /// The IOMMU can snoop even DMA that a device marks as not snooped.
    EnforceCacheCoherency,
    /// The IOMMU records which pages DMA writes to.
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

    /// Returns the capability that the IOMMU core asks a driver about, if it is one of these.
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

/// Returns whether the device's IOMMU has the capability.
///
/// # Examples
///
/// ```
/// use crate::kapi::iommu::{
///     device::{has_iommu, IommuDevice},
///     group::{capable, Capability, IommuGroup},
/// };
///
/// /// Returns the group of a device if its DMA can be given to user space safely.
/// fn safe_group(dev: &IommuDevice) -> Result<IommuGroup> {
///     if !has_iommu(dev) || !capable(dev, Capability::CacheCoherency) {
///         return Err(EINVAL);
///     }
///     let group = IommuGroup::of(dev)?;
///     if group.has_isolated_msi() {
///         Ok(group)
///     } else {
///         Err(EPERM)
///     }
/// }
/// ```
pub(crate) fn capable(dev: &IommuDevice, capability: Capability) -> bool {
    // SAFETY: An `IommuDevice` is a valid device, as `IommuDevice::new` requires.
    unsafe { bindings::device_iommu_capable(device::as_raw(dev), capability.as_raw()) }
}

/// The ownership of the DMA of a device's group. The devices of a group have the same owner.
/// Dropping it ends the device's part of the ownership.
///
/// # Invariants
///
/// The DMA of `group`, which is the group of `dev`, was claimed through `dev`.
pub(crate) struct DmaOwner {
    dev: IommuDevice,
    group: IommuGroup,
}

impl DmaOwner {
    /// Claims the DMA of the device's group for `owner`, which must not move as long as the
    /// ownership lasts: its address tells owners apart.
    ///
    /// Returns `EBUSY` if a kernel driver uses a device of the group or the group has another
    /// owner, `ENODEV` if the device is in no group or no IOMMU driver manages it, `ENOMEM` if there is
    /// no memory.
    pub(crate) fn claim<T>(dev: &IommuDevice, owner: &T) -> Result<Arc<Self>> {
        let group = IommuGroup::of(dev)?;
        device::iommu_ops(dev)?;
        let owner = core::ptr::from_ref(owner).cast_mut().cast();
        // SAFETY:
        // - An `IommuDevice` is a valid device, as `IommuDevice::new` requires.
        // - An IOMMU driver manages it, as was checked above, and the core does not release it from that.
        // - The other devices of its group have one too: a group that vfio makes has one device, without an
        //   IOMMU, and the core's groups have devices that it probed.
        // - The core only compares `owner`.
        to_result(unsafe { bindings::iommu_device_claim_dma_owner(device::as_raw(dev), owner) })?;
        // INVARIANT: It was just claimed.
        let owner = Self {
            dev: dev.clone(),
            group,
        };
        Ok(Arc::new(owner, GFP_KERNEL_ACCOUNT)?)
    }

    /// Returns the device through which the group was claimed.
    pub(super) fn dev(&self) -> &IommuDevice {
        &self.dev
    }

    /// Returns the group.
    pub(super) fn group(&self) -> &IommuGroup {
        &self.group
    }
}

impl Drop for DmaOwner {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the DMA was claimed through this device.
        unsafe { bindings::iommu_device_release_dma_owner(device::as_raw(&self.dev)) };
    }
}

/// Reads what the IOMMU core has recorded, for tests.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl IommuGroup {
    /// Returns the address of the handle that the core has for a PASID, or 0 if nothing is
    /// attached.
    pub(super) fn handle(&self, pasid: bindings::ioasid_t) -> usize {
        // SAFETY: By the type invariant the group is valid, and type 0 stands for a domain of any
        // type.
        let handle = unsafe { bindings::iommu_attach_handle_get(self.0.as_ptr(), pasid, 0) };
        from_err_ptr(handle).map_or(0, |handle| handle.addr())
    }
}
