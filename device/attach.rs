// SPDX-License-Identifier: GPL-2.0-only

//! Attaching: a bound device's DMA, without PASID or with a certain one, goes through page tables.
//!
//! A device can be attached to page tables, or to an address space; then page tables that were made
//! automatically for another device of that space are tried first, and new ones made where none
//! fits. Those go with the last device. They never suit a PASID, which so can be attached to page
//! tables only that user space made for it.

use kernel::prelude::*;

use crate::{
    device::{
        group::{
            Freed,
            Group, //
        },
        BoundDevice, //
    },
    hwpt::{
        Hwpt,
        HwptInUse,
        HwptPaging,
        Request, //
    },
    ioas::Ioas,
    kapi::{
        bug::warn_on_once,
        iommu::attachment::Pasid,
        latency::Timed,
        reason::{
            Reason,
            Result, //
        },
        sync::{
            killable::lock_killable,
            shared::SharedAny, //
        },
        trace::{
            self,
            emit, //
        }, //
    },
    object::{
        Ctx,
        Object,
        Ref, //
    }, //
};

/// How a device is attached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It is not attached yet.
    Attach,
    /// It is attached to other page tables, and replaces them.
    Replace,
}

impl How {
    /// Returns what the driver asks for, in a word.
    pub(crate) fn name(self) -> &'static CStr {
        match self {
            Self::Attach => c"attach",
            Self::Replace => c"replace",
        }
    }
}

impl Object<BoundDevice> {
    /// Attaches the device's `pasid` to the page tables or the address space with the id `pt_id` in
    /// its context. Returns the id of the page tables.
    ///
    /// Returns `ENOENT` if there is no such object, `EINVAL` if it is of another kind, and the
    /// errors of [`Group::attach`](crate::device::Group::attach) and
    /// [`Group::replace`](crate::device::Group::replace).
    pub(crate) fn change_pt(&self, ctx: &Ctx, pasid: Pasid, pt_id: u32, how: How) -> Result<u32> {
        let call = move |(): &mut ()| self.go_to_object(ctx, pasid, pt_id, how);
        let latencies = ctx.latencies();
        match how {
            How::Attach => {
                latencies.watch(Timed::Attach, (), call, move |(), result| trace::Attach {
                    context: self.context(),
                    device: self.id(),
                    pasid: pasid.as_raw(),
                    target: pt_id,
                    hwpt: result.unwrap_or(0),
                    error: trace::errno(result),
                })
            }
            How::Replace => {
                latencies.watch(Timed::Attach, (), call, move |(), result| trace::Replace {
                    context: self.context(),
                    device: self.id(),
                    pasid: pasid.as_raw(),
                    target: pt_id,
                    hwpt: result.unwrap_or(0),
                    error: trace::errno(result),
                })
            }
        }
    }

    fn go_to_object(&self, ctx: &Ctx, pasid: Pasid, pt_id: u32, how: How) -> Result<u32> {
        let target = ctx.objects().get_any(pt_id)?;
        let target = match HwptInUse::of(target) {
            Ok(target) => {
                let hwpt = target.hwpt();
                let freed = self.go_to(ctx, pasid, hwpt, how)?;
                let id = hwpt.id();
                give_back(ctx, freed);
                return Ok(id);
            }
            Err(other) => other,
        };
        let ioas = target
            .get::<Ioas>()
            .ok_or(Reason::AttachKind.with(pt_id.into()))?;
        let (id, freed) = self.go_to_automatic(ctx, pasid, &ioas, how)?;
        give_back(ctx, freed);
        Ok(id)
    }

    fn go_to(&self, ctx: &Ctx, pasid: Pasid, hwpt: &Hwpt, how: How) -> Result<Freed> {
        // Page tables of an IOMMU have no effect on a device without one.
        if self.is_bare() && !hwpt.paging().domain().is_software() {
            return Err(Reason::AttachIommu.with(hwpt.id().into()));
        }
        let vdevice = |device| vdevice_for(ctx, device, hwpt);
        let group = self.group()?;
        match how {
            How::Attach => {
                group.attach(self.id(), self.dev(), self.owner(), pasid, hwpt, vdevice)?;
                Ok(Freed::Nothing)
            }
            // Software page tables are of no IOMMU driver: no such device can be moved to them.
            How::Replace if !self.is_bare() && hwpt.paging().domain().is_software() => {
                Err(Reason::AttachIommu.errno(ENODEV, hwpt.id().into()))
            }
            How::Replace => group.replace(self.id(), pasid, hwpt, vdevice),
        }
    }

    /// Attaches the device to automatic page tables of `ioas`: existing ones if they fit, else new
    /// ones.
    fn go_to_automatic(
        &self,
        ctx: &Ctx,
        pasid: Pasid,
        ioas: &Ref<Ioas>,
        how: How,
    ) -> Result<(u32, Freed)> {
        let objects = ctx.objects();
        let mut hwpts = lock_killable(ioas.hwpts())?;

        // Removes ids of page tables that were destroyed. Such an id may be another object's by
        // now, which user space may destroy meanwhile: it gets no reference.
        let ours = |hwpt: &HwptPaging| hwpt.is_automatic() && hwpt.ioas().same(ioas);
        hwpts.retain(|id| HwptInUse::with_paging_if(ctx, *id, ours, |_| Ok(())).is_ok());
        for id in &*hwpts {
            let attached = HwptInUse::with_paging_if(ctx, *id, ours, |hwpt| {
                // Software page tables are for devices without an IOMMU, and others are not.
                if hwpt.domain().is_software() != self.is_bare() {
                    return Err(Reason::AttachIommu.with((*id).into()));
                }
                let freed = self.go_to(ctx, pasid, &Hwpt::Paging(hwpt.clone()), how)?;
                Ok((hwpt.id(), freed))
            });
            match attached {
                // These do not fit the device, or were destroyed. Perhaps others fit.
                Err(error) if error == EINVAL || error == ENOENT => {}
                Err(error) => return Err(error),
                Ok(attached) => return Ok(attached),
            }
        }

        hwpts.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let hwpt = objects.reserve()?.fill(HwptPaging::new(
            ioas.clone(),
            Request {
                dev: self.dev(),
                backend: self.backend(),
                flags: 0,
                data: None,
                faults: None,
                automatic: true,
            },
        ))?;
        let target = Hwpt::Paging((*hwpt).clone());
        let freed = match how {
            // Some drivers finish making a domain only when a device is attached to it.
            How::Attach => {
                let freed = self.go_to(ctx, pasid, &target, how)?;
                if let Err(error) = hwpt.fill() {
                    self.detach(ctx, pasid);
                    // A task that moved the group away meanwhile may refer to it for a moment.
                    drop(target);
                    hwpt.discard();
                    return Err(error);
                }
                freed
            }
            How::Replace => {
                hwpt.fill()?;
                self.go_to(ctx, pasid, &target, how)?
            }
        };
        warn_on_once!(hwpts.push_within_capacity(hwpt.id()).is_err());
        let id = hwpt.id();
        hwpt.publish();
        drop(hwpts);
        // Another device of the group may have moved the group to other page tables meanwhile. Then
        // this destroys the new ones.
        target.give_back(ctx);
        Ok((id, freed))
    }
}

impl Object<BoundDevice> {
    /// Detaches `pasid` of the device if it is attached.
    pub(crate) fn detach(&self, ctx: &Ctx, pasid: Pasid) {
        if let Ok(group) = self.group() {
            give_back(ctx, self.leave(group, pasid));
        }
    }

    /// Detaches the device and all of its PASIDs.
    pub(crate) fn detach_all(&self, ctx: &Ctx) {
        self.for_each_freed(|freed| give_back(ctx, freed));
    }

    /// As [`detach_all`](Self::detach_all), while the context is being dropped with all page
    /// tables.
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn detach_at_end(&self) {
        self.for_each_freed(drop);
    }

    fn for_each_freed(&self, f: impl Fn(Freed)) {
        if let Ok(group) = self.group() {
            while let Some(pasid) = group.attached_by(self.id()) {
                f(self.leave(group, pasid));
            }
        }
    }

    fn leave(&self, group: &Group, pasid: Pasid) -> Freed {
        emit(|| trace::Detach {
            context: self.context(),
            device: self.id(),
            pasid: pasid.as_raw(),
        });
        group.detach(self.id(), pasid)
    }
}

/// Returns the vDEVICE of the device with the id `device`, if it must not be destroyed while the
/// device is attached to `hwpt`. Returns `None` if the device is being unbound: it is detached
/// next, and then its vDEVICE is destroyed. Returns `ENOENT` if the vDEVICE is being destroyed.
fn vdevice_for(ctx: &Ctx, device: u32, hwpt: &Hwpt) -> Result<Option<SharedAny>> {
    if !hwpt.keeps_vdevices() {
        return Ok(None);
    }
    match ctx.objects().get::<BoundDevice>(device) {
        Ok(device) => device.claims().vdevice(ctx),
        // Another device of the group is moved meanwhile.
        Err(refusal) if refusal == ENOENT => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Drops references to page tables. Automatic ones that nothing else refers to are destroyed.
fn give_back(ctx: &Ctx, freed: Freed) {
    match freed {
        Freed::Nothing => {}
        Freed::One(hwpt) => hwpt.give_back(ctx),
        Freed::Many(hwpts) => hwpts.into_iter().for_each(|hwpt| hwpt.give_back(ctx)),
    }
}
