// SPDX-License-Identifier: GPL-2.0-only

//! vIOMMUs: a guest's share of an IOMMU, or of several.

use kernel::{
    prelude::*,
    uaccess::UserSlice, //
};

use crate::{
    device::BoundDevice,
    drivers::{
        Share,
        ViommuBox,
        ViommuOps, //
    },
    hwpt::{
        HwptInUse,
        HwptPaging, //
    },
    kapi::{
        file::file_ref::FileRef,
        iommu::{
            domain::UserData,
            viommu::{
                self,
                Identity,
                Request, //
            }, //
        },
        lines::Lines,
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
        uapi,
        units::to_u64, //
    },
    object::{
        Ctx,
        Draft,
        Kind,
        Ref, //
    },
    viommu::{
        place::ObjectPlace,
        stats::Stats, //
    }, //
};

/// A guest's share of an IOMMU, or of several.
pub(crate) struct Viommu {
    // Field order: the driver's part is dropped before its parents.
    ops: ViommuBox,
    parent: Ref<HwptPaging>,
    /// The parents for the further IOMMUs, of the same address space.
    others: KVec<Ref<HwptPaging>>,
    /// `enum iommu_viommu_type`.
    kind: u32,
    stats: Stats,
}

impl Kind for Viommu {
    const NAME: &'static CStr = c"viommu";

    fn show(&self, lines: &Lines<'_>) {
        lines.number("parent", self.parent.id());
        lines.number("type", self.kind);
        for (key, number) in self.stats.numbers() {
            lines.number(key, number);
        }
    }
}

impl Viommu {
    /// Returns the operations of its backend.
    pub(crate) fn ops(&self) -> &dyn ViommuOps {
        &*self.ops
    }

    /// Returns the numbers.
    pub(super) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns whether a device that is attached to page tables on the vIOMMU keeps its vDEVICE.
    ///
    /// The SMMUv3 driver looks the vDEVICE up when it attaches the device, which it does again
    /// after a reset. That must not fail: the IOMMU core warns, and the device stays blocked. The
    /// driver also keeps the virtual id for events until the device is attached elsewhere.
    pub(super) fn keeps_vdevices(&self) -> bool {
        matches!(
            self.kind,
            uapi::viommu::TYPE_ARM_SMMUV3
                | uapi::viommu::TYPE_ARM_SMMUV3_MANY
                | uapi::viommu::TYPE_TEGRA241_CMDQV
        )
    }

    /// Returns the page tables of the second stage for each IOMMU, in their order.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &Ref<HwptPaging>> {
        Iterator::chain(core::iter::once(&self.parent), &self.others)
    }

    /// Returns the page tables of the second stage for the first IOMMU.
    pub(crate) fn parent(&self) -> &Ref<HwptPaging> {
        &self.parent
    }
}

/// Handles IOMMU_VIOMMU_ALLOC.
pub(crate) fn alloc(ctx: &FileRef<Ctx>, mut cmd: uapi::ViommuAlloc, user: &UserStruct) -> Result {
    if cmd.flags != 0 {
        return Err(Reason::CommandFlags.with(cmd.flags.into()));
    }
    if cmd.__reserved != 0 {
        return Err(Reason::CommandReserved.with(cmd.__reserved.into()));
    }
    if cmd.type_ == uapi::viommu::TYPE_DEFAULT {
        return Err(Reason::ViommuType.with(cmd.type_.into()));
    }
    let data = (cmd.data_len != 0).then(|| UserData {
        kind: cmd.type_,
        ptr: user::ptr(cmd.data_uptr),
        len: cmd.data_len as usize,
    });
    // The driver reads the data, and may write to them, while the device is referenced.
    let draft = retry_faults(data.map(UserData::answered_range).as_slice(), || {
        make(ctx, &cmd, data)
    })?;
    cmd.out_viommu_id = draft.id();
    user.write(&cmd)?;
    draft.publish();
    Ok(())
}

/// Makes the vIOMMU. It keeps no reference to the device that names its IOMMU.
fn make<'c>(
    ctx: &'c FileRef<Ctx>,
    cmd: &uapi::ViommuAlloc,
    data: Option<UserData>,
) -> Result<Draft<'c, Viommu>> {
    let device: Ref<BoundDevice> = ctx.objects().get(cmd.dev_id)?;
    let (dev, backend) = (device.dev(), device.backend());
    if backend.has_viommu_over(dev, cmd.type_) {
        return make_over(ctx, cmd, device, data);
    }
    if !backend.has_viommu(dev, cmd.type_) {
        return Err(Reason::ViommuType.with(cmd.type_.into()));
    }
    let parent = find_parent(ctx, cmd.hwpt_id)?;
    let reservation = ctx.objects().reserve()?;
    let identity = Identity::new(&ObjectPlace::reserved(ctx, &reservation));
    reservation.fill_with_room(viommu::room_for(dev, cmd.type_), |room| {
        let request = Request {
            identity,
            kind: cmd.type_,
            parent: parent.domain().clone(),
            data,
            room,
        };
        let ops = backend
            .alloc_viommu(dev, request)
            .because(Reason::ViommuDriver, cmd.type_.into())?;
        Ok(Viommu {
            ops,
            parent,
            others: KVec::new(),
            kind: cmd.type_,
            stats: Stats::new(),
        })
    })
}

/// Makes a vIOMMU over the IOMMU of `first`, and those that the data name. Returns `EINVAL` for data
/// that is no array of `struct iommufd_rs_viommu_iommu`, and for parents that are not of one address
/// space, `E2BIG` for too many IOMMUs.
fn make_over<'c>(
    ctx: &'c FileRef<Ctx>,
    cmd: &uapi::ViommuAlloc,
    first: Ref<BoundDevice>,
    data: Option<UserData>,
) -> Result<Draft<'c, Viommu>> {
    let mut named: [uapi::ViommuIommu; uapi::viommu::MAX_IOMMUS - 1] = Default::default();
    let count = data.map_or(0, |data| data.len / size_of::<uapi::ViommuIommu>());
    let named = named
        .get_mut(..count)
        .ok_or(Reason::ViommuIommus.errno(E2BIG, to_u64(count)))?;
    if let Some(data) = data {
        if data.len != size_of_val(named) {
            return Err(Reason::ViommuIommus.with(to_u64(count)));
        }
        let mut reader = UserSlice::new(data.ptr, data.len).reader();
        for iommu in &mut *named {
            *iommu = reader.read()?;
        }
    }
    let parent = find_parent(ctx, cmd.hwpt_id)?;
    let mut devices = KVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
    let mut others = KVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
    for iommu in named {
        let device: Ref<BoundDevice> = ctx.objects().get(iommu.dev_id)?;
        let other = find_parent(ctx, iommu.hwpt_id)?;
        if !other.ioas().same(parent.ioas()) {
            return Err(Reason::ViommuOtherIoas.with(iommu.hwpt_id.into()));
        }
        devices.push(device, GFP_KERNEL_ACCOUNT)?;
        others.push(other, GFP_KERNEL_ACCOUNT)?;
    }
    let mut shares = KVec::with_capacity(count + 1, GFP_KERNEL_ACCOUNT)?;
    let pairs = devices.iter().zip(&others);
    for (device, parent) in Iterator::chain(core::iter::once((&first, &parent)), pairs) {
        let share = Share {
            dev: device.dev(),
            parent: parent.domain().clone(),
        };
        shares.push(share, GFP_KERNEL_ACCOUNT)?;
    }
    let reservation = ctx.objects().reserve()?;
    let identity = Identity::new(&ObjectPlace::reserved(ctx, &reservation));
    let ops = first
        .backend()
        .alloc_viommu_over(identity, &shares)
        .because(Reason::ViommuDriver, cmd.type_.into())?;
    reservation.fill(Ok(Viommu {
        ops,
        parent,
        others,
        kind: cmd.type_,
        stats: Stats::new(),
    }))
}

/// Returns the nest parent with this id. Returns `ENOENT` if there are no such page tables, `EINVAL`
/// if they are no nest parent.
fn find_parent(ctx: &Ctx, id: u32) -> Result<Ref<HwptPaging>> {
    HwptInUse::with_paging(ctx, id, |parent| {
        if parent.can_be_parent() {
            Ok(parent.clone())
        } else {
            Err(Reason::ViommuNotParent.with(id.into()))
        }
    })
}
