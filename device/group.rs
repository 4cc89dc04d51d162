// SPDX-License-Identifier: GPL-2.0-only

//! Groups: the devices that an IOMMU cannot tell apart share what they are attached to.
//!
//! A group is attached without PASID, and with any number of PASIDs besides, each on its own: the
//! first device that is attached attaches the group, the last to be detached detaches it. Without
//! PASID each in between adds its own reserved ranges and takes them away; addresses that go with a
//! PASID are never the device's own. References to page tables are handed to the caller to drop,
//! because that may destroy them, which is not done under the lock.

use kernel::{
    device::Device,
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    }, //
};

use crate::{
    device::msi::Interrupts,
    hwpt::Hwpt,
    ioas::{
        Ioas,
        ReservedIovas, //
    },
    kapi::iommu::{
        attachment::{
            Attachment,
            Pasid, //
        },
        device::is_vf_with_pri,
        group::{
            DmaOwner,
            IommuGroup, //
        },
        msi::Doorbells, //
    }, //
};

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use crate::kapi::iommu::attachment::is_attached;

/// A device of the group that is attached.
struct Member {
    id: u32,
    dev: ARef<Device>,
    /// `None` where there is no IOMMU.
    owner: Option<Arc<DmaOwner>>,
    /// What the device cannot use is reserved in the address space. Nothing is for a PASID, nor
    /// where there is no IOMMU, because then the device never sees the addresses.
    reserved: Option<ReservedIovas>,
    hwpt: Hwpt,
}

/// What the group is attached to by one PASID or by none. There is at least one member.
struct Attached {
    // Field order: DMA is blocked before anything else goes.
    /// `None` where there is no IOMMU to attach to.
    attachment: Option<Attachment>,
    hwpt: Hwpt,
    members: KVec<Member>,
}

impl Attached {
    fn has(&self, id: u32) -> bool {
        self.members.iter().any(|member| member.id == id)
    }

    /// Takes away a member that is not the last.
    fn remove(&mut self, place: usize) -> Freed {
        let Ok(member) = self.members.remove(place) else {
            return Freed::Nothing;
        };
        let other = self.members.first().and_then(|other| other.owner.as_ref());
        if let (Some(attachment), Some(owner)) = (&mut self.attachment, other) {
            attachment.set_owner(owner);
        }
        Freed::One(member.hwpt)
    }
}

/// All that the group is attached to.
type State = RBTree<Pasid, Attached>;

/// Whether `pasid` can be attached to these page tables beside what else is attached: where a PASID
/// is, all page tables must suit PASIDs. `EINVAL` where it cannot.
fn check_pasids(state: &State, pasid: Pasid, hwpt: &Hwpt) -> Result {
    let fits = if pasid.is_none() {
        hwpt.pasid_compatible() || state.keys().all(|other| other.is_none())
    } else {
        let whole = state.get(&Pasid::NONE);
        hwpt.pasid_compatible() && whole.is_none_or(|whole| whole.hwpt.pasid_compatible())
    };
    if fits {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// The state that a context keeps for an IOMMU group while one of its devices is bound.
#[pin_data]
pub(crate) struct Group {
    /// `None` where there is no IOMMU; then the group has one device.
    iommu: Option<IommuGroup>,
    /// `None` where the IOMMU does not translate interrupts.
    interrupts: Option<Arc<Interrupts>>,
    #[pin]
    state: Mutex<State>,
}

/// References that changing an attachment has freed; dropping them may destroy page tables.
#[must_use = "the references are given back by the caller, outside of locks"]
pub(crate) enum Freed {
    /// None.
    Nothing,
    /// A device's own.
    One(Hwpt),
    /// All of a group's.
    Many(KVec<Hwpt>),
}

impl Group {
    /// A group that nothing is attached to. `ENOMEM`.
    pub(crate) fn new(
        iommu: Option<IommuGroup>,
        interrupts: Option<Arc<Interrupts>>,
    ) -> Result<impl PinInit<Self, Error>> {
        Ok(try_pin_init!(Self {
            iommu,
            interrupts,
            state <- new_mutex!(RBTree::new(), "Group::state"),
        }))
    }

    /// Returns the address of the `struct iommu_group`, to be compared, or `None` if there is no
    /// IOMMU.
    pub(crate) fn iommu_addr(&self) -> Option<usize> {
        self.iommu.as_ref().map(|iommu| iommu.addr())
    }

    /// Attaches a device. `owner` is the ownership of its DMA, if it has an IOMMU. `EBUSY` where it
    /// is attached already, `EINVAL` where the group is attached to other page tables, the device
    /// cannot use these, or they do not suit PASIDs and ought to; `EADDRINUSE` where something is
    /// mapped that the device cannot use, `ENOMEM`.
    pub(crate) fn attach(
        &self,
        id: u32,
        dev: &Device,
        owner: Option<&Arc<DmaOwner>>,
        pasid: Pasid,
        hwpt: &Hwpt,
    ) -> Result {
        let mut state = self.state.lock();

        if let Some(attached) = state.get_mut(&pasid) {
            if attached.has(id) {
                return Err(EBUSY);
            }
            if !attached.hwpt.same(hwpt) {
                return Err(EINVAL);
            }
            attached.members.reserve(1, GFP_KERNEL_ACCOUNT)?;
            let member = self.member(id, dev, owner, pasid, hwpt)?;
            // There is room: it was reserved.
            drop(attached.members.push_within_capacity(member));
            return Ok(());
        }
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let mut members = KVec::with_capacity(1, GFP_KERNEL_ACCOUNT)?;
        members.push(
            self.member(id, dev, owner, pasid, hwpt)?,
            GFP_KERNEL_ACCOUNT,
        )?;
        check_faults(dev, hwpt)?;
        check_pasids(&state, pasid, hwpt)?;
        let attachment = match owner {
            Some(owner) => {
                let domain = hwpt.attachable();
                let doorbells = self.doorbells(pasid, hwpt)?;
                Some(Attachment::new(
                    owner.clone(),
                    pasid,
                    domain,
                    doorbells,
                    id,
                )?)
            }
            None => None,
        };
        let attached = Attached {
            attachment,
            hwpt: hwpt.clone(),
            members,
        };
        // There was none for this PASID.
        drop(state.insert(node.into_node(pasid, attached)));
        Ok(())
    }

    /// Detaches a device; one that is not attached stays so.
    pub(crate) fn detach(&self, id: u32, pasid: Pasid) -> Freed {
        let mut state = self.state.lock();

        let Some(attached) = state.get_mut(&pasid) else {
            return Freed::Nothing;
        };
        let Some(place) = attached.members.iter().position(|member| member.id == id) else {
            return Freed::Nothing;
        };
        if attached.members.len() > 1 {
            return attached.remove(place);
        }
        let Some(Attached {
            attachment,
            hwpt,
            members,
        }) = state.remove(&pasid)
        else {
            return Freed::Nothing;
        };
        drop(attachment);
        // The members' references are not the last ones: `hwpt` is still there.
        drop(members);
        Freed::One(hwpt)
    }

    /// A PASID by which the device is attached: of several the lowest, no PASID only where there is
    /// none else.
    pub(crate) fn attached_by(&self, id: u32) -> Option<Pasid> {
        let state = self.state.lock();
        let mut pasids = state
            .iter()
            .filter(|(_, attached)| attached.has(id))
            .map(|(pasid, _)| *pasid);
        let first = pasids.next()?;
        if first.is_none() {
            return pasids.next().or(Some(first));
        }
        Some(first)
    }

    /// Moves a device, and with it its group, to other page tables. On failure nothing has changed.
    /// `EINVAL` where the device is not attached, cannot use these, or they do not suit PASIDs and
    /// ought to; `EADDRINUSE`, `ENOMEM`.
    pub(crate) fn replace(&self, id: u32, pasid: Pasid, hwpt: &Hwpt) -> Result<Freed> {
        let mut state = self.state.lock();

        let attached = state
            .get(&pasid)
            .filter(|attached| attached.has(id))
            .ok_or(EINVAL)?;
        if attached.hwpt.same(hwpt) {
            return Ok(Freed::Nothing);
        }
        let same_ioas = attached.hwpt.ioas().same(hwpt.ioas());
        let mut freed = KVec::with_capacity(attached.members.len() + 1, GFP_KERNEL_ACCOUNT)?;
        let mut reserved = KVec::with_capacity(attached.members.len(), GFP_KERNEL_ACCOUNT)?;
        if !same_ioas {
            for member in &attached.members {
                let ranges = self.reserve(&member.dev, pasid, hwpt)?;
                reserved.push(ranges, GFP_KERNEL_ACCOUNT)?;
            }
        }
        for member in attached.members.iter().filter(|member| member.id == id) {
            check_faults(&member.dev, hwpt)?;
        }
        check_pasids(&state, pasid, hwpt)?;
        let attached = state.get_mut(&pasid).ok_or(EINVAL)?;
        if let Some(attachment) = &mut attached.attachment {
            let doorbells = self.doorbells(pasid, hwpt)?;
            attachment.replace(hwpt.attachable(), doorbells, id)?;
        }

        // From here on nothing fails. Dropping the old ranges opens them in the old address space.
        for (member, reserved) in attached.members.iter_mut().zip(reserved) {
            member.reserved = reserved;
        }
        let mut free = |old: &mut Hwpt| {
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
    fn member(
        &self,
        id: u32,
        dev: &Device,
        owner: Option<&Arc<DmaOwner>>,
        pasid: Pasid,
        hwpt: &Hwpt,
    ) -> Result<Member> {
        Ok(Member {
            id,
            dev: dev.into(),
            owner: owner.cloned(),
            reserved: self.reserve(dev, pasid, hwpt)?,
            hwpt: hwpt.clone(),
        })
    }

    /// Prepares page tables for the group's interrupts, which carry no PASID. `ENOMEM`.
    fn doorbells(&self, pasid: Pasid, hwpt: &Hwpt) -> Result<Option<KBox<dyn Doorbells>>> {
        match &self.interrupts {
            Some(interrupts) if pasid.is_none() => {
                interrupts.enter(hwpt.paging().domain()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Reserves what the device cannot use. `EADDRINUSE`, `ENOMEM`.
    fn reserve(&self, dev: &Device, pasid: Pasid, hwpt: &Hwpt) -> Result<Option<ReservedIovas>> {
        if self.iommu.is_none() || !pasid.is_none() {
            return Ok(None);
        }
        Ioas::reserve_for(hwpt.ioas(), dev).map(Some)
    }
}

/// `EINVAL` where the device must not have page faults. All virtual functions share what the
/// physical one has for asking, and one of them that is refused stops it for all.
fn check_faults(dev: &Device, hwpt: &Hwpt) -> Result {
    if hwpt.takes_faults() && is_vf_with_pri(dev) {
        Err(EINVAL)
    } else {
        Ok(())
    }
}

/// For tests.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl Group {
    /// What `pasid` is attached to.
    pub(crate) fn attached_to(&self, pasid: Pasid) -> Option<Hwpt> {
        let state = self.state.lock();
        state.get(&pasid).map(|attached| attached.hwpt.clone())
    }

    /// Whether we and the IOMMU core agree that `pasid` is attached to `hwpt`, or to nothing.
    pub(crate) fn is_attached_to(&self, pasid: Pasid, hwpt: Option<&Hwpt>) -> bool {
        let state = self.state.lock();

        let Some(iommu) = &self.iommu else {
            return false;
        };
        match (state.get(&pasid), hwpt) {
            (None, None) => !is_attached(iommu, pasid),
            (Some(attached), Some(hwpt)) => {
                let recorded = |attachment: &Attachment| attachment.is_recorded(iommu, pasid);
                attached.hwpt.same(hwpt) && attached.attachment.as_ref().is_some_and(recorded)
            }
            _ => false,
        }
    }
}
