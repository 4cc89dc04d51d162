// SPDX-License-Identifier: GPL-2.0-only

//! Attaching groups to domains.
//!
//! C headers: [`include/linux/iommu.h`](srctree/include/linux/iommu.h),
//! [`drivers/iommu/iommu-priv.h`](srctree/drivers/iommu/iommu-priv.h)

use core::mem::ManuallyDrop;

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

use crate::{
    ffi::bindings,
    kapi::{
        bug::warn_on_once,
        iommu::{
            attachable::{
                AttachHandle,
                Attachable, //
            },
            device,
            fault_lock,
            group::DmaOwner,
            msi::Doorbells, //
        }, //
    }, //
};

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use crate::kapi::iommu::group::IommuGroup;

/// A process address space ID, or none: which part of a device's DMA is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pasid(bindings::ioasid_t);

impl Pasid {
    /// DMA without a PASID. It is less than any PASID.
    pub(crate) const NONE: Self = Self(bindings::IOMMU_NO_PASID);

    /// Makes a PASID of C code's number. Attaching fails if the device does not have it.
    pub(crate) const fn new(raw: bindings::ioasid_t) -> Self {
        Self(raw)
    }

    /// Returns the number, 0 for DMA without a PASID.
    pub(crate) const fn as_raw(self) -> u32 {
        self.0
    }

    /// Returns whether DMA without a PASID is meant.
    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// The attachment of a group to a domain: of its DMA without a PASID, or with a certain one.
///
/// Dropping it blocks that DMA, and answers the page faults that came by it.
///
/// # Examples
///
/// ```
/// use crate::kapi::iommu::{
///     attachable::Attachable,
///     attachment::{Attachment, Pasid},
///     device::IommuDevice,
///     domain::Domain,
///     group::DmaOwner,
/// };
/// use kernel::sync::Arc;
///
/// /// Attaches a device to new page tables, which map nothing yet.
/// fn attach<T>(dev: &IommuDevice, owner: &T) -> Result<(Arc<Domain>, Attachment)> {
///     let claim = DmaOwner::claim(dev, owner)?;
///     let domain = Arc::new(Domain::alloc(dev, 0, None)?, GFP_KERNEL)?;
///     let tables = Attachable::Paging(domain.clone());
///     Ok((domain, Attachment::new(claim, Pasid::NONE, tables, None, 1)?))
/// }
/// ```
///
/// # Invariants
///
/// The IOMMU core has `handle` for `pasid` of the group of `owner`, which is attached to the domain
/// of `handle`.
pub(crate) struct Attachment {
    // The core may refer to the handle until `drop` has detached the group, and drops it then.
    handle: ManuallyDrop<Pin<KBox<AttachHandle>>>,
    pasid: Pasid,
    // The core expects that nothing is attached when the last owner of a group goes, so this is
    // dropped after the handle.
    owner: Arc<DmaOwner>,
}

impl Attachment {
    /// Attaches the group of `owner` to a domain. `id` is the device that page faults name.
    /// `doorbells` map the doorbells of interrupts if the IOMMU translates them; they are dropped
    /// when the group was detached.
    ///
    /// Returns `EINVAL` if the driver cannot attach the device to the domain or the device does not
    /// have the PASID, `EOPNOTSUPP` if the IOMMU has no PASIDs, `EBUSY` if something is attached,
    /// `ENOMEM` if there is no memory, or the error of the driver.
    pub(crate) fn new(
        owner: Arc<DmaOwner>,
        pasid: Pasid,
        domain: Attachable,
        doorbells: Option<KBox<dyn Doorbells>>,
        id: u32,
    ) -> Result<Self> {
        let handle = AttachHandle::new(domain, doorbells, id)?;
        let domain = handle.domain().as_ptr();
        let _no_faults = fault_lock::write();
        to_result(if pasid.is_none() {
            let group = owner.group().as_ptr();
            // SAFETY:
            // - The group is valid, and its DMA is claimed, as long as `owner`, which the result
            //   keeps.
            // - The domain and the handle exist until `drop` has detached the group.
            unsafe { bindings::iommu_attach_group_handle(domain, group, handle.as_ptr()) }
        } else {
            let dev = device::as_raw(owner.dev());
            // SAFETY:
            // - The device is valid, and the DMA of its group is claimed, as long as `owner`, which
            //   the result keeps.
            // - The domain and the handle exist until `drop` has detached the PASID.
            unsafe { bindings::iommu_attach_device_pasid(domain, dev, pasid.0, handle.as_ptr()) }
        })?;
        // INVARIANT: It was just attached.
        Ok(Self {
            handle: ManuallyDrop::new(handle),
            pasid,
            owner,
        })
    }

    /// Attaches the group to another domain, without blocking DMA in between if the driver can do
    /// that. Answers the page faults that came by the old domain.
    ///
    /// Returns `EINVAL` if another IOMMU driver made the domain: `iommu_replace_group_handle()`,
    /// unlike `iommu_attach_group_handle()`, does not check that. Otherwise fails as
    /// [`Attachment::new`]. The old attachment is unchanged then.
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
        let (pasid, raw) = (self.pasid.0, handle.as_ptr());
        let _no_faults = fault_lock::write();
        to_result(if self.pasid.is_none() {
            let group = self.owner.group().as_ptr();
            // SAFETY:
            // - By the type invariant the group is attached.
            // - The new domain and handle exist until `drop` has detached the group: they take the
            //   place of the old ones below.
            unsafe { bindings::iommu_replace_group_handle(group, domain, raw) }
        } else {
            let dev = device::as_raw(self.owner.dev());
            // SAFETY:
            // - By the type invariant the PASID is attached.
            // - The new domain and handle exist until `drop` has detached the PASID: they take the
            //   place of the old ones below.
            unsafe { bindings::iommu_replace_device_pasid(domain, dev, pasid, raw) }
        })?;
        // INVARIANT: The core has the new handle instead of the old one.
        drop(core::mem::replace(&mut *self.handle, handle));
        Ok(())
    }

    /// Makes the ownership through another device of the group the one that this holds. A PASID is
    /// detached by a device, which must still be in the group. `id` is the device that page faults
    /// name from now on.
    pub(crate) fn set_owner(&mut self, owner: &Arc<DmaOwner>, id: u32) {
        self.handle.set_device(id);
        if !warn_on_once!(owner.group().addr() != self.owner.group().addr()) {
            self.owner = owner.clone();
        }
    }

    /// Returns whether this is the attachment that the core has recorded for `pasid` of `group`.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn is_recorded(&self, group: &IommuGroup, pasid: Pasid) -> bool {
        group.handle(pasid.0) == self.handle.as_ptr().addr()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let domain = self.handle.domain().as_ptr();
        let _no_faults = fault_lock::write();
        if self.pasid.is_none() {
            let group = self.owner.group().as_ptr();
            // SAFETY: By the type invariant the group is attached to the domain.
            unsafe { bindings::iommu_detach_group_handle(domain, group) };
        } else {
            let dev = device::as_raw(self.owner.dev());
            // SAFETY: By the type invariant the PASID is attached to the domain.
            unsafe { bindings::iommu_detach_device_pasid(domain, dev, self.pasid.0) };
        }
        // SAFETY: The handle is not used again, and the core has lost it by the detach above.
        unsafe { ManuallyDrop::drop(&mut self.handle) };
    }
}

/// Returns whether the core has recorded an attachment for `pasid` of `group`.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) fn is_attached(group: &IommuGroup, pasid: Pasid) -> bool {
    group.handle(pasid.0) != 0
}
