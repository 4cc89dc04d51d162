// SPDX-License-Identifier: GPL-2.0-only

//! Invalidation of what an IOMMU has cached of a guest's tables.

use kernel::{
    prelude::*,
    sync::atomic::ordering::Relaxed, //
};

use crate::{
    hwpt::HwptNested,
    kapi::{
        iommu::invalidate::{
            Invalidated,
            Requests, //
        },
        latency::Timed,
        mm::user::{
            self,
            UserStruct, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        trace,
        uapi,
        units::PAGE_SIZE, //
    },
    object::{
        Ctx,
        Either, //
    },
    viommu::Viommu, //
};

/// The most requests in one call.
const MAX_REQUESTS: u32 = 1 << 19;

/// Handles IOMMU_HWPT_INVALIDATE. The answer has the number of requests that took effect, on
/// failure too.
pub(crate) fn invalidate(ctx: &Ctx, mut cmd: uapi::HwptInvalidate, user: &UserStruct) -> Result {
    let outcome = ctx.latencies().watch(
        Timed::Invalidate,
        (),
        |()| carry_out(ctx, &cmd),
        |(), outcome| {
            let (done, submissions, error) = match outcome {
                Ok(invalidated) => (
                    invalidated.done,
                    invalidated.submissions,
                    trace::errno(&invalidated.result),
                ),
                Err(refusal) => (0, Some(0), refusal.error().to_errno()),
            };
            trace::Invalidate {
                context: ctx.id(),
                object: cmd.hwpt_id,
                kind: cmd.data_type,
                asked: cmd.entry_num,
                done,
                submissions: submissions.map_or(-1, |count| count.min(i32::MAX as u32) as c_int),
                error,
            }
        },
    );
    let (done, result) = match outcome {
        Ok(Invalidated { done, result, .. }) => {
            let result = result.because(Reason::InvalidateRequest, done.into());
            (done, result)
        }
        Err(refusal) => (0, Err(refusal)),
    };
    ctx.counters().invalidations.fetch_add(done.into(), Relaxed);
    cmd.entry_num = done;
    user.write(&cmd)?;
    result
}

/// Returns `EOPNOTSUPP` if a reserved field is not 0, or the driver has nothing to invalidate;
/// `EINVAL` for an impossible array and for objects of other kinds; `ENOENT` if there is no such
/// object.
#[inline(always)]
fn carry_out(ctx: &Ctx, cmd: &uapi::HwptInvalidate) -> Result<Invalidated> {
    if cmd.__reserved != 0 {
        return Err(Reason::CommandReserved.with(cmd.__reserved.into()));
    }
    // Bounds the duration of a call.
    let lengths = 1..=PAGE_SIZE;
    let possible = cmd.data_uptr != 0
        && lengths.contains(&u64::from(cmd.entry_len))
        && cmd.entry_num <= MAX_REQUESTS;
    if cmd.entry_num != 0 && !possible {
        return Err(Reason::InvalidateArray.with(cmd.entry_num.into()));
    }
    let requests = Requests {
        kind: cmd.data_type,
        ptr: user::ptr(cmd.data_uptr),
        entry_len: cmd.entry_len,
        count: cmd.entry_num,
    };
    let viommu = match ctx
        .objects()
        .get_either::<Viommu, HwptNested>(cmd.hwpt_id)?
    {
        Either::A(viommu) => viommu,
        Either::B(hwpt) => return Ok(hwpt.invalidate(requests)),
    };
    let invalidated = viommu.ops().invalidate(requests);
    viommu
        .stats()
        .invalidated
        .fetch_add(invalidated.done.into(), Relaxed);
    Ok(invalidated)
}
