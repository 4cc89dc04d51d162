// SPDX-License-Identifier: GPL-2.0-only

//! Groups: the devices that an IOMMU cannot tell apart share what they are attached to.
//!
//! The first device that is attached attaches the group, the last to be detached detaches it; each
//! in between only adds its own reserved ranges and takes them away. References to page tables are
//! handed to the caller to drop, because that may destroy them, which is not done under the lock.

use crate::hwpt::HwptPaging;
use crate::ioas::Closed;
use crate::ioas::Ioas;
use crate::kapi::device::is_vf_with_pri;
use crate::kapi::group::Attachment;
use crate::kapi::group::IommuGroup;
use crate::object::Ref;
use core::ffi::c_void;
use kernel::device::Device;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::Arc;
use kernel::sync::Mutex;

/// A device of the group that is attached.
struct Member {
    id: u32,
    dev: ARef<Device>,
    /// What the device cannot use is closed in the address space. Nothing is where it has no IOMMU,
    /// because it never sees the addresses.
    closed: Option<Closed>,
    hwpt: Ref<HwptPaging>,
}

/// What the group is attached to. There is at least one member.
struct Attached {
    // Field order: DMA is blocked before anything else goes.
    /// `None` where there is no IOMMU to attach to.
    attachment: Option<Attachment>,
    hwpt: Ref<HwptPaging>,
    members: KVec<Member>,
}

impl Attached {
    fn has(&self, id: u32) -> bool {
        self.members.iter().any(|member| member.id == id)
    }
}

/// The state that a context keeps for an IOMMU group while one of its devices is bound.
#[pin_data]
pub(crate) struct Group {
    /// `None` where there is no IOMMU; then the group has one device.
    iommu: Option<Arc<IommuGroup>>,
    #[pin]
    state: Mutex<Option<Attached>>,
}

/// References that changing an attachment has freed; dropping them may destroy page tables.
#[must_use = "the references are given back by the caller, outside of locks"]
pub(crate) enum Freed {
    /// None.
    Nothing,
    /// A device's own.
    One(Ref<HwptPaging>),
    /// All of a group's.
    Many(KVec<Ref<HwptPaging>>),
}

impl Group {
    /// A group that nothing is attached to. `ENOMEM`.
    pub(crate) fn new(iommu: Option<IommuGroup>) -> Result<impl PinInit<Self, Error>> {
        let iommu = match iommu {
            Some(iommu) => Some(Arc::new(iommu, GFP_KERNEL_ACCOUNT)?),
            None => None,
        };
        Ok(try_pin_init!(Self {
            iommu,
            state <- new_mutex!(None, "Group::state"),
        }))
    }

    /// Whether C code's `struct iommu_group` is this one.
    pub(crate) fn is(&self, raw: *const c_void) -> bool {
        self.iommu.as_ref().is_some_and(|iommu| iommu.is(raw))
    }

    /// Attaches a device. `EBUSY` where it is attached already, `EINVAL` where the group is attached
    /// to other page tables or the device cannot use these, `EADDRINUSE` where something is mapped
    /// that the device cannot use, `ENOMEM`.
    pub(crate) fn attach(&self, id: u32, dev: &Device, hwpt: &Ref<HwptPaging>) -> Result {
        let mut state = self.state.lock();

        if let Some(attached) = &mut *state {
            if attached.has(id) {
                return Err(EBUSY);
            }
            if !attached.hwpt.same(hwpt) {
                return Err(EINVAL);
            }
            attached.members.reserve(1, GFP_KERNEL_ACCOUNT)?;
            let member = self.member(id, dev, hwpt)?;
            // There is room: it was reserved.
            drop(attached.members.push_within_capacity(member));
            return Ok(());
        }
        let mut members = KVec::with_capacity(1, GFP_KERNEL_ACCOUNT)?;
        members.push(self.member(id, dev, hwpt)?, GFP_KERNEL_ACCOUNT)?;
        check_faults(dev, hwpt)?;
        let attachment = match &self.iommu {
            Some(iommu) => Some(Attachment::new(iommu.clone(), hwpt.domain().clone(), id)?),
            None => None,
        };
        *state = Some(Attached {
            attachment,
            hwpt: hwpt.clone(),
            members,
        });
        Ok(())
    }

    /// Detaches a device; one that is not attached stays so.
    pub(crate) fn detach(&self, id: u32) -> Freed {
        let mut state = self.state.lock();

        let Some(attached) = &mut *state else {
            return Freed::Nothing;
        };
        let Some(place) = attached.members.iter().position(|member| member.id == id) else {
            return Freed::Nothing;
        };
        if attached.members.len() == 1 {
            let Some(Attached {
                attachment,
                hwpt,
                members,
            }) = state.take()
            else {
                return Freed::Nothing;
            };
            drop(attachment);
            // The members' references are not the last ones: `hwpt` is still there.
            drop(members);
            return Freed::One(hwpt);
        }
        match attached.members.remove(place) {
            Ok(member) => Freed::One(member.hwpt),
            Err(_) => Freed::Nothing,
        }
    }

    /// Moves a device, and with it its group, to other page tables. On failure nothing has changed.
    /// `EINVAL` where the device is not attached or cannot use these, `EADDRINUSE`, `ENOMEM`.
    pub(crate) fn replace(&self, id: u32, hwpt: &Ref<HwptPaging>) -> Result<Freed> {
        let mut state = self.state.lock();

        let attached = Option::as_mut(&mut state)
            .filter(|attached| attached.has(id))
            .ok_or(EINVAL)?;
        if attached.hwpt.same(hwpt) {
            return Ok(Freed::Nothing);
        }
        let same_ioas = attached.hwpt.ioas().same(hwpt.ioas());
        let mut freed = KVec::with_capacity(attached.members.len() + 1, GFP_KERNEL_ACCOUNT)?;
        let mut closed = KVec::with_capacity(attached.members.len(), GFP_KERNEL_ACCOUNT)?;
        if !same_ioas {
            for member in &attached.members {
                closed.push(self.close(&member.dev, hwpt)?, GFP_KERNEL_ACCOUNT)?;
            }
        }
        for member in attached.members.iter().filter(|member| member.id == id) {
            check_faults(&member.dev, hwpt)?;
        }
        if let Some(attachment) = &mut attached.attachment {
            attachment.replace(hwpt.domain().clone(), id)?;
        }

        // From here on nothing fails. Dropping the old ranges opens them in the old address space.
        for (member, closed) in attached.members.iter_mut().zip(closed) {
            member.closed = closed;
        }
        let mut free = |old: &mut Ref<HwptPaging>| {
            let old = core::mem::replace(old, hwpt.clone());
            drop(freed.push_within_capacity(old));
        };
        for member in &mut attached.members {
            free(&mut member.hwpt);
        }
        free(&mut attached.hwpt);
        Ok(Freed::Many(freed))
    }
}

impl Group {
    /// A device that is about to be attached. `EADDRINUSE`, `ENOMEM`.
    fn member(&self, id: u32, dev: &Device, hwpt: &Ref<HwptPaging>) -> Result<Member> {
        Ok(Member {
            id,
            dev: dev.into(),
            closed: self.close(dev, hwpt)?,
            hwpt: hwpt.clone(),
        })
    }

    /// Closes what the device cannot use. `EADDRINUSE`, `ENOMEM`.
    fn close(&self, dev: &Device, hwpt: &HwptPaging) -> Result<Option<Closed>> {
        if self.iommu.is_none() {
            return Ok(None);
        }
        Ioas::close_for(hwpt.ioas(), dev).map(Some)
    }
}

/// `EINVAL` where the device must not have page faults. All virtual functions share what the
/// physical one has for asking, and one of them that is refused stops it for all.
fn check_faults(dev: &Device, hwpt: &HwptPaging) -> Result {
    if hwpt.takes_faults() && is_vf_with_pri(dev) {
        Err(EINVAL)
    } else {
        Ok(())
    }
}
