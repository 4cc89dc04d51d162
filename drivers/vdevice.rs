// SPDX-License-Identifier: GPL-2.0-only

//! vDEVICEs of a vIOMMU over one or several IOMMUs.

use kernel::prelude::*;

use crate::{
    drivers::VdeviceOps,
    kapi::{
        bug::ok_or_warn,
        iommu::{
            device::IommuDevice,
            vdevice::{
                Vdevice,
                VirtId, //
            },
            viommu::ViommuRef, //
        }, //
    }, //
};

/// A vDEVICE of a device behind one of the IOMMUs of a vIOMMU.
struct NativeVdevice {
    // Field order: the id is free on the others, of which the first decides, when the vDEVICE has
    // gone.
    _vdevice: Pin<KBox<Vdevice>>,
    /// The id on the other IOMMUs.
    _elsewhere: KVec<VirtId>,
}

impl VdeviceOps for NativeVdevice {}

/// Makes the vDEVICE of `dev` by `make`, on the member whose driver's vIOMMU serves the device, and
/// reserves its id on the other members. `viommu` returns the driver's vIOMMU of a member.
///
/// Returns `EINVAL` if no member serves the device, `EEXIST` if the id is used, `ENOMEM`, and the
/// errors of `make`; nothing has changed then.
pub(super) fn make_vdevice<M>(
    members: &[M],
    viommu: impl Fn(&M) -> &ViommuRef,
    dev: &IommuDevice,
    virt_id: u64,
    make: impl Fn(&M) -> Result<Pin<KBox<Vdevice>>>,
) -> Result<KBox<dyn VdeviceOps>> {
    let place = members
        .iter()
        .position(|member| viommu(member).serves(dev))
        .ok_or(EINVAL)?;
    // Of tasks that want the same id, the one that reserves it on the first IOMMU gets it on all.
    let mut elsewhere = KVec::new();
    let mut vdevice = None;
    for (nth, member) in members.iter().enumerate() {
        if nth == place {
            vdevice = Some(make(member)?);
        } else {
            let id = VirtId::reserve(viommu(member), virt_id)?;
            elsewhere.push(id, GFP_KERNEL_ACCOUNT)?;
        }
    }
    let vdevice = NativeVdevice {
        _vdevice: ok_or_warn!(vdevice, EINVAL)?,
        _elsewhere: elsewhere,
    };
    Ok(KBox::new(vdevice, GFP_KERNEL_ACCOUNT)?)
}
