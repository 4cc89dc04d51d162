// SPDX-License-Identifier: GPL-2.0-only

//! Mock devices: made, bound and attached by one command, and destroyed as an object.
//!
//! The context owns them: unlike a driver's binding theirs keeps no context alive, so closing the
//! file takes them down.

use kernel::prelude::*;

use crate::{
    device::{
        BoundDevice,
        How, //
    },
    hwpt::HwptInUse,
    kapi::{
        iommu::attachment::Pasid,
        lines::Lines,
        mm::user::UserStruct,
        reason::Result,
        uapi::test::{
            mock,
            Cmd,
            PasidCheck,
            PasidDetach, //
        }, //
    },
    object::{
        Ctx,
        Kind,
        Ref, //
    }, //
};

use super::{
    driver::MOCK,
    state::MockDevice, //
};

/// A mock device's hold on its binding.
pub(crate) struct MockBinding {
    bound: Ref<BoundDevice>,
}

impl Kind for MockBinding {
    const NAME: &'static CStr = c"mock-device";

    fn show(&self, lines: &Lines<'_>) {
        lines.number("device", self.bound.id());
    }
}

impl Drop for MockBinding {
    fn drop(&mut self) {
        // Whoever destroys a binding but not its context has detached the device already.
        self.bound.detach_at_end();
    }
}

/// A binding that is undone when this is dropped.
struct Bound<'a> {
    ctx: &'a Ctx,
    /// Taken when dropped.
    device: Option<Ref<BoundDevice>>,
}

impl Drop for Bound<'_> {
    fn drop(&mut self) {
        if let Some(device) = self.device.take() {
            BoundDevice::unbind(self.ctx, device);
        }
    }
}

/// Makes a device, binds it and attaches it to the page tables or address space that the command
/// names. `EINVAL` for unknown flags, `ENOMEM`, or as the two fail.
pub(super) fn make(ctx: &Ctx, mut cmd: Cmd, flags: u32, user: &UserStruct) -> Result {
    if flags & !(mock::DEVICE_NO_DIRTY | mock::DEVICE_PASID) != 0 {
        return Err(EINVAL.into());
    }
    let pasid_bits = if flags & mock::DEVICE_PASID != 0 {
        mock::PASID_BITS
    } else {
        0
    };
    let reservation = ctx.objects().reserve()?;
    let state = MockDevice::new(flags & mock::DEVICE_NO_DIRTY != 0);
    let made = MOCK.get().ok_or(ENODEV)?.add_device(state, pasid_bits)?;
    let device = BoundDevice::adopt(ctx, made.into_iommu_device()?)?;
    let mut bound = Bound {
        ctx,
        device: Some(device.clone()),
    };
    // Goes before `bound`, which is the last to refer to the device.
    let draft = reservation.fill(Ok(MockBinding { bound: device }))?;
    let pt_id = draft
        .bound
        .change_pt(ctx, Pasid::NONE, cmd.id, How::Attach)?;

    let (binding_id, device_id) = (draft.id(), draft.bound.id());
    let out = cmd.mock_domain_flags_mut();
    out.out_stdev_id = binding_id;
    out.out_hwpt_id = pt_id;
    out.out_idev_id = device_id;
    if let Err(error) = user.write(&cmd) {
        draft.bound.detach(ctx, Pasid::NONE);
        return Err(error);
    }
    bound.device = None;
    draft.publish();
    Ok(())
}

/// Attaches a device to something else.
pub(super) fn replace(ctx: &Ctx, mut cmd: Cmd, user: &UserStruct) -> Result {
    let binding: Ref<MockBinding> = ctx.objects().get(cmd.id)?;
    let pt_id = cmd.mock_domain_replace().pt_id;
    let pt_id = binding
        .bound
        .change_pt(ctx, Pasid::NONE, pt_id, How::Replace)?;
    cmd.mock_domain_replace_mut().pt_id = pt_id;
    user.write(&cmd)
}

/// Attaches a PASID of a device.
pub(super) fn attach_pasid(ctx: &Ctx, mut cmd: Cmd, user: &UserStruct) -> Result {
    let binding: Ref<MockBinding> = ctx.objects().get(cmd.id)?;
    let device = &binding.bound;
    let args = cmd.pasid_attach();
    let (pasid, pt_id) = (Pasid::new(args.pasid), args.pt_id);
    cmd.pasid_attach_mut().pt_id = device.change_pt(ctx, pasid, pt_id, How::Attach)?;
    let result = user.write(&cmd);
    if result.is_err() {
        device.detach(ctx, pasid);
    }
    result
}

/// Attaches a PASID of a device to something else.
pub(super) fn replace_pasid(ctx: &Ctx, mut cmd: Cmd, user: &UserStruct) -> Result {
    let binding: Ref<MockBinding> = ctx.objects().get(cmd.id)?;
    let args = cmd.pasid_replace();
    let (pasid, pt_id) = (Pasid::new(args.pasid), args.pt_id);
    let pt_id = binding.bound.change_pt(ctx, pasid, pt_id, How::Replace)?;
    cmd.pasid_replace_mut().pt_id = pt_id;
    user.write(&cmd)
}

/// Detaches a PASID of a device; one that is not attached stays so.
pub(super) fn detach_pasid(ctx: &Ctx, id: u32, cmd: &PasidDetach) -> Result {
    let binding: Ref<MockBinding> = ctx.objects().get(id)?;
    let device = &binding.bound;
    device.detach(ctx, Pasid::new(cmd.pasid));
    Ok(())
}

/// Checks that a PASID of a device is attached to the page tables that the command names, or to
/// none if it names 0. Returns `EINVAL` if it is not and for objects of another kind, and `ENOENT`
/// if there is no such object.
pub(super) fn check_pasid(ctx: &Ctx, id: u32, cmd: &PasidCheck) -> Result {
    let binding: Ref<MockBinding> = ctx.objects().get(id)?;
    let hwpt = match cmd.hwpt_id {
        0 => None,
        id => {
            let object = ctx.objects().get_any(id)?;
            Some(HwptInUse::of(object).map_err(|_| EINVAL)?)
        }
    };
    let group = binding.bound.group()?;
    let hwpt = hwpt.as_ref().map(HwptInUse::hwpt);
    if group.is_attached_to(Pasid::new(cmd.pasid), hwpt) {
        Ok(())
    } else {
        Err(EINVAL.into())
    }
}

/// Destroys the object with this id; a mock device is unbound as well. Returns the errors of
/// [`Table::take`](crate::object::Table::take).
pub(crate) fn destroy(ctx: &Ctx, id: u32) -> Result {
    // One look-up: between two a mock device may be published.
    let Ok((binding, _id)) = ctx.objects().take(id)?.downcast::<MockBinding>() else {
        return Ok(());
    };
    let device = binding.bound.clone();
    // Page tables that were made for the device go with it.
    device.detach_all(ctx);
    drop(binding);
    BoundDevice::unbind(ctx, device);
    Ok(())
}
