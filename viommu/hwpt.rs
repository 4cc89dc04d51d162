// SPDX-License-Identifier: GPL-2.0-only

//! Making page tables: for an address space, on a parent, or on a vIOMMU.

use kernel::prelude::*;

use crate::{
    device::BoundDevice,
    hwpt::{
        FaultQueue,
        Hwpt,
        HwptInUse,
        HwptNested,
        HwptPaging,
        NestedRequest,
        OnViommu,
        Request, //
    },
    ioas::Ioas,
    kapi::{
        bug::some_or_warn,
        iommu::domain::UserData,
        mm::{
            retry_faults::retry_faults,
            user::{
                self,
                UserStruct, //
            }, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        uapi, //
    },
    object::{
        Ctx,
        Draft,
        InUse,
        Kind,
        Ref, //
    },
    viommu::Viommu, //
};

/// Handles IOMMU_HWPT_ALLOC.
pub(crate) fn alloc(ctx: &Ctx, cmd: uapi::HwptAlloc, user: &UserStruct) -> Result {
    let reserved = cmd.__reserved | cmd.__reserved2;
    if reserved != 0 {
        return Err(Reason::CommandReserved.with(reserved.into()));
    }
    if (cmd.data_type == uapi::hwpt::DATA_NONE) != (cmd.data_len == 0) {
        return Err(Reason::HwptData.with(cmd.data_len.into()));
    }
    let data = (cmd.data_len != 0).then(|| UserData {
        kind: cmd.data_type,
        ptr: user::ptr(cmd.data_uptr),
        len: cmd.data_len as usize,
    });
    // The driver reads the data while the device is referenced.
    let (made, faults) = retry_faults(data.map(UserData::range).as_slice(), || {
        make(ctx, &cmd, data)
    })?;
    match made {
        Made::Paging(hwpt) => {
            // This pins memory, without a reference to the device.
            hwpt.fill()?;
            finish(hwpt, faults, cmd, user)
        }
        Made::Nested(hwpt) => finish(hwpt, faults, cmd, user),
    }
}

/// Page tables that are not published.
enum Made<'c> {
    /// Page tables that are not filled yet.
    Paging(Draft<'c, HwptPaging>),
    Nested(Draft<'c, HwptNested>),
}

/// The result of the look-up of the fault queue, if the caller named one.
type FoundQueue = Option<Result<Ref<FaultQueue>>>;

/// Makes the page tables. They keep no reference to the device that must be able to use them.
fn make<'c>(
    ctx: &'c Ctx,
    cmd: &uapi::HwptAlloc,
    data: Option<UserData>,
) -> Result<(Made<'c>, FoundQueue)> {
    let objects = ctx.objects();
    let device: Ref<BoundDevice> = objects.get(cmd.dev_id)?;
    let target = objects
        .get_any(cmd.pt_id)
        .map_err(|refusal| refusal.with_error(EINVAL))?;
    let faults = (cmd.flags & uapi::hwpt::FAULT_ID_VALID != 0)
        .then(|| objects.get::<FaultQueue>(cmd.fault_id));
    let queue = faults
        .as_ref()
        .and_then(|queue| queue.as_ref().ok())
        .cloned();
    let made = match target.get::<Ioas>() {
        Some(ioas) => Made::Paging(objects.reserve()?.fill(HwptPaging::new(
            ioas,
            Request {
                dev: device.dev(),
                backend: device.backend(),
                flags: cmd.flags,
                data,
                faults: queue,
                automatic: false,
            },
        ))?),
        None => {
            let reservation = objects.reserve()?;
            let hwpt = nested(&device, (cmd.pt_id, target), cmd.flags, data, queue)?;
            Made::Nested(reservation.fill(Ok(hwpt))?)
        }
    };
    Ok((made, faults))
}

/// Publishes what was made. Returns `ENOENT` if there is no such fault queue, `EFAULT` if the
/// answer cannot be written.
fn finish<K: Kind>(
    hwpt: Draft<'_, K>,
    faults: FoundQueue,
    mut cmd: uapi::HwptAlloc,
    user: &UserStruct,
) -> Result {
    faults.transpose()?;
    cmd.out_hwpt_id = hwpt.id();
    user.write(&cmd)?;
    hwpt.publish();
    Ok(())
}

/// Makes nested page tables on `target`, the object with the id `pt_id`. Returns `EINVAL` if they cannot be made on that object,
/// `EOPNOTSUPP` if the driver has none of that kind.
fn nested(
    device: &BoundDevice,
    (pt_id, target): (u32, InUse<'_>),
    flags: u32,
    data: Option<UserData>,
    faults: Option<Ref<FaultQueue>>,
) -> Result<HwptNested> {
    let (dev, backend) = (device.dev(), device.backend());
    let target = match HwptInUse::of(target) {
        Ok(in_use) => {
            let Hwpt::Paging(parent) = in_use.hwpt() else {
                return Err(Reason::HwptParentKind.with(pt_id.into()));
            };
            let request = NestedRequest::new(flags, data)?;
            if !backend.has_nested(dev) {
                return Err(Reason::HwptNoNesting.with(0));
            }
            if !parent.can_be_parent() {
                return Err(Reason::HwptNotParent.with(parent.id().into()));
            }
            let base = parent.domain().clone();
            let kind = u64::from(request.data().kind);
            let domain = backend
                .alloc_nested(dev, base, request.driver_flags(), request.data())
                .because(Reason::HwptNestedDriver, kind)?;
            return HwptNested::new(
                domain,
                backend,
                &request,
                parent.clone(),
                None,
                faults.as_ref(),
            );
        }
        Err(other) => other,
    };
    let viommu = target
        .get::<Viommu>()
        .ok_or(Reason::HwptParentKind.with(pt_id.into()))?;
    if !viommu.ops().serves(dev) {
        return Err(Reason::HwptViommu.with(viommu.id().into()));
    }
    let request = NestedRequest::new(flags, data)?;
    let mut parents = viommu.parents();
    let mut made: Option<HwptNested> = None;
    viommu
        .ops()
        .alloc_nested(request.driver_flags(), request.data(), &mut |domain| {
            let parent = some_or_warn!(parents.next())?.clone();
            match &mut made {
                Some(hwpt) => Ok(hwpt.add(domain, parent)?),
                None => {
                    let viommu = Some(OnViommu {
                        id: viommu.id(),
                        keeps_vdevices: viommu.keeps_vdevices(),
                        _object: viommu.clone().into(),
                    });
                    let faults = faults.as_ref();
                    let hwpt = HwptNested::new(domain, backend, &request, parent, viommu, faults)?;
                    made = Some(hwpt);
                    Ok(())
                }
            }
        })
        .because(Reason::HwptNestedDriver, request.data().kind.into())?;
    // A backend that succeeds has made at least one.
    some_or_warn!(made)
}
