// SPDX-License-Identifier: GPL-2.0-only

//! Groups: devices that an IOMMU cannot tell apart are attached to the same page tables.
//!
//! A group is attached without PASID, and with any number of PASIDs besides, each on its own: the
//! first device that is attached attaches the group, the last to be detached detaches it. Without
//! PASID each in between adds its own reserved ranges and takes them away; addresses that go with a
//! PASID are never the device's own. References to page tables are handed to the caller to drop,
//! because that may destroy them, which is not done under the lock.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        Mutex,
        MutexGuard, //
    }, //
};

use crate::{
    device::msi::Interrupts,
    hwpt::Hwpt,
    ioas::{
        CountedAttachment,
        Ioas,
        ReservedIovas, //
    },
    kapi::{
        bug::{
            some_or_warn,
            warn_on_once, //
        },
        iommu::{
            attachment::{
                Attachment,
                Pasid, //
            },
            device::{
                is_vf_with_pri,
                IommuDevice, //
            },
            group::{
                DmaOwner,
                IommuGroup, //
            },
            msi::Doorbells, //
        },
        lines::Lines,
        reason::{
            Because,
            Reason,
            Result, //
        },
        sync::shared::SharedAny, //
    },
    object::{
        AnyRef,
        Kind,
        Ref, //
    }, //
};

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use crate::{
    hwpt::HwptNested,
    kapi::iommu::attachment::is_attached, //
};

/// A device of the group that is attached.
struct Member {
    id: u32,
    dev: IommuDevice,
    /// `None` if it has no IOMMU.
    owner: Option<Arc<DmaOwner>>,
    /// The IOVAs that the device cannot use. `None` for a PASID, and without an IOMMU, because the
    /// device does not use the addresses itself then.
    reserved: Option<ReservedIovas>,
    counted: CountedAttachment,
    hwpt: Hwpt,
    /// The vDEVICE of the device, if it must exist while the device is attached. Never the last
    /// reference: the vDEVICE cannot be destroyed meanwhile, and unbinding detaches first.
    vdevice: Option<SharedAny>,
}

/// The attachment of a group with one PASID, or without. It has at least one member.
struct Attached {
    // Field order: DMA is blocked before anything else is dropped.
    /// `None` if there is no IOMMU.
    attachment: Option<Attachment>,
    hwpt: Hwpt,
    members: KVec<Member>,
}

impl Attached {
    fn has(&self, id: u32) -> bool {
        self.members.iter().any(|member| member.id == id)
    }

    /// Removes a member that is not the last.
    fn remove(&mut self, index: usize) -> Freed {
        let removed = self.members.remove(index);
        warn_on_once!(removed.is_err() || self.members.is_empty());
        let Ok(member) = removed else {
            return Freed::Nothing;
        };
        let other = self.members.first();
        let other = other.and_then(|other| Some((other.owner.as_ref()?, other.id)));
        if let (Some(attachment), Some((owner, id))) = (&mut self.attachment, other) {
            attachment.set_owner(owner, id);
        }
        Freed::One(member.hwpt)
    }
}

/// The attachments of a group.
type State = RBTree<Pasid, Attached>;

/// The attachments of a group, which do not change until this is dropped. Holds `Group::state`.
pub(super) struct Attachments<'g>(MutexGuard<'g, State>);

impl Attachments<'_> {
    /// Keeps `vdevice`, a vDEVICE that the device with the id `id` is about to have, as long as the
    /// device is attached to what it is attached to now, where that needs it.
    pub(super) fn keep<K: Kind>(&mut self, id: u32, vdevice: &Ref<K>) {
        let members = self
            .0
            .values_mut()
            .flat_map(|attached| &mut attached.members);
        for member in members.filter(|member| member.id == id && member.hwpt.keeps_vdevices()) {
            member.vdevice = Some(AnyRef::from(vdevice.clone()).into_shared());
        }
    }
}

/// Returns `EINVAL` if `pasid` cannot be attached to these page tables beside the other
/// attachments: once a PASID is attached, all page tables must be compatible with PASIDs.
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
        Err(Reason::AttachPasid.with(hwpt.id().into()))
    }
}

/// The state that a context keeps for an IOMMU group while one of its devices is bound.
#[pin_data]
pub(crate) struct Group {
    /// `None` if there is no IOMMU; then the group has one device.
    iommu: Option<IommuGroup>,
    /// `None` if the IOMMU does not translate interrupts.
    interrupts: Option<Arc<Interrupts>>,
    #[pin]
    state: Mutex<State>,
}

/// References that a change of an attachment has left over. The caller drops them without the lock,
/// because that may destroy page tables.
#[must_use = "the caller must release the references without the lock"]
pub(crate) enum Freed {
    /// None.
    Nothing,
    /// The one of a device.
    One(Hwpt),
    /// Those of a whole group.
    Many(KVec<Hwpt>),
}

impl Group {
    /// Initialises a group without attachments. Returns `ENOMEM`.
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

    /// Prevents changes of the attachments until the result is dropped.
    pub(super) fn hold(&self) -> Attachments<'_> {
        Attachments(self.state.lock())
    }

    /// Attaches a device. `owner` is the ownership of its DMA, if it has an IOMMU. `vdevice_for`
    /// returns what to keep for the device with an id as long as it is attached to these page
    /// tables; it is called under the lock, where no vDEVICE can be made meanwhile.
    ///
    /// Returns `EBUSY` if the device is attached already; `EINVAL` if the group is attached to
    /// other page tables, if the device cannot use these, or if they must be compatible with PASIDs
    /// and are not; `EADDRINUSE` if an IOVA is mapped that the device cannot use; `ENOMEM`.
    pub(crate) fn attach(
        &self,
        id: u32,
        dev: &IommuDevice,
        owner: Option<&Arc<DmaOwner>>,
        pasid: Pasid,
        hwpt: &Hwpt,
        vdevice_for: impl Fn(u32) -> Result<Option<SharedAny>>,
    ) -> Result {
        let mut state = self.state.lock();

        if let Some(attached) = state.get_mut(&pasid) {
            if attached.has(id) {
                return Err(Reason::AttachAgain.with(attached.hwpt.id().into()));
            }
            if !attached.hwpt.same(hwpt) {
                return Err(Reason::AttachGroup.with(attached.hwpt.id().into()));
            }
            attached.members.reserve(1, GFP_KERNEL_ACCOUNT)?;
            let member = self.member(id, dev, owner, pasid, hwpt, vdevice_for(id)?)?;
            warn_on_once!(attached.members.push_within_capacity(member).is_err());
            return Ok(());
        }
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let mut members = KVec::with_capacity(1, GFP_KERNEL_ACCOUNT)?;
        members.push(
            self.member(id, dev, owner, pasid, hwpt, vdevice_for(id)?)?,
            GFP_KERNEL_ACCOUNT,
        )?;
        check_faults(dev, hwpt)?;
        check_pasids(&state, pasid, hwpt)?;
        let attachment = match owner {
            Some(owner) => {
                let domain = hwpt.attachable(dev);
                let doorbells = self.doorbells(dev, pasid, hwpt)?;
                let made = Attachment::new(owner.clone(), pasid, domain, doorbells, id);
                Some(made.because(Reason::AttachDriver, hwpt.id().into())?)
            }
            None => None,
        };
        let attached = Attached {
            attachment,
            hwpt: hwpt.clone(),
            members,
        };
        let replaced = state.insert(node.into_node(pasid, attached));
        warn_on_once!(replaced.is_some());
        Ok(())
    }

    /// Detaches a device, if it is attached.
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
        let removed = state.remove(&pasid);
        warn_on_once!(removed.is_none());
        let Some(Attached {
            attachment,
            hwpt,
            members,
        }) = removed
        else {
            return Freed::Nothing;
        };
        drop(attachment);
        // The members' references are not the last ones: there is the one of `hwpt`.
        drop(members);
        Freed::One(hwpt)
    }

    /// Returns the lowest PASID that the device is attached with, or `Pasid::NONE` if it is
    /// attached without one only.
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

    /// Attaches a device, and with it its group, to other page tables. On failure nothing has
    /// changed. `vdevice_for` is as with [`attach`](Self::attach).
    ///
    /// Returns `EINVAL` if the device is not attached, if it cannot use the page tables, or if they
    /// must be compatible with PASIDs and are not; `EADDRINUSE` if an IOVA is mapped that a device
    /// of the group cannot use; `ENOMEM`.
    pub(crate) fn replace(
        &self,
        id: u32,
        pasid: Pasid,
        hwpt: &Hwpt,
        vdevice_for: impl Fn(u32) -> Result<Option<SharedAny>>,
    ) -> Result<Freed> {
        let mut state = self.state.lock();

        let attached = state
            .get(&pasid)
            .filter(|attached| attached.has(id))
            .ok_or(Reason::AttachNot.with(hwpt.id().into()))?;
        if attached.hwpt.same(hwpt) {
            return Ok(Freed::Nothing);
        }
        let same_ioas = attached.hwpt.ioas().same(hwpt.ioas());
        let mut freed = KVec::with_capacity(attached.members.len() + 1, GFP_KERNEL_ACCOUNT)?;
        let mut reserved = KVec::with_capacity(attached.members.len(), GFP_KERNEL_ACCOUNT)?;
        let mut vdevices = KVec::with_capacity(attached.members.len(), GFP_KERNEL_ACCOUNT)?;
        for member in &attached.members {
            vdevices.push(vdevice_for(member.id)?, GFP_KERNEL_ACCOUNT)?;
        }
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
        let attached = some_or_warn!(state.get_mut(&pasid))?;
        if let Some(attachment) = &mut attached.attachment {
            // The devices of a group are behind one IOMMU.
            let first = attached.members.first();
            let first = some_or_warn!(first)?;
            let doorbells = self.doorbells(&first.dev, pasid, hwpt)?;
            attachment
                .replace(hwpt.attachable(&first.dev), doorbells, id)
                .because(Reason::AttachDriver, hwpt.id().into())?;
        }

        // Nothing fails from here on. Dropping the old ranges ends their reservation in the old
        // address space.
        for (member, reserved) in attached.members.iter_mut().zip(reserved) {
            member.reserved = reserved;
        }
        for (member, vdevice) in attached.members.iter_mut().zip(vdevices) {
            member.vdevice = vdevice;
        }
        let mut free = |old: &mut Hwpt| {
            let old = core::mem::replace(old, hwpt.clone());
            warn_on_once!(freed.push_within_capacity(old).is_err());
        };
        for member in &mut attached.members {
            member.counted = CountedAttachment::new(hwpt.ioas());
            free(&mut member.hwpt);
        }
        free(&mut attached.hwpt);
        Ok(Freed::Many(freed))
    }
}

impl Group {
    /// Makes the member for a device that is about to be attached. Returns `EADDRINUSE` or
    /// `ENOMEM`.
    fn member(
        &self,
        id: u32,
        dev: &IommuDevice,
        owner: Option<&Arc<DmaOwner>>,
        pasid: Pasid,
        hwpt: &Hwpt,
        vdevice: Option<SharedAny>,
    ) -> Result<Member> {
        Ok(Member {
            id,
            dev: dev.clone(),
            owner: owner.cloned(),
            reserved: self.reserve(dev, pasid, hwpt)?,
            counted: CountedAttachment::new(hwpt.ioas()),
            hwpt: hwpt.clone(),
            vdevice,
        })
    }

    /// Maps the doorbells of the group's interrupts, which carry no PASID. Returns `ENOMEM`.
    fn doorbells(
        &self,
        dev: &IommuDevice,
        pasid: Pasid,
        hwpt: &Hwpt,
    ) -> Result<Option<KBox<dyn Doorbells>>> {
        match &self.interrupts {
            Some(interrupts) if pasid.is_none() => {
                Ok(Some(interrupts.enter(hwpt.paging_for(dev).domain())?))
            }
            _ => Ok(None),
        }
    }

    /// Reserves the IOVAs that the device cannot use. Returns `EADDRINUSE` or `ENOMEM`.
    fn reserve(
        &self,
        dev: &IommuDevice,
        pasid: Pasid,
        hwpt: &Hwpt,
    ) -> Result<Option<ReservedIovas>> {
        if self.iommu.is_none() || !pasid.is_none() {
            return Ok(None);
        }
        Ioas::reserve_for(hwpt.ioas(), dev).map(Some)
    }
}

/// Returns `EINVAL` if the device must not have page faults: virtual functions share the page
/// request interface of their physical function, and an error of one of them stops it for all.
fn check_faults(dev: &IommuDevice, hwpt: &Hwpt) -> Result {
    if hwpt.takes_faults() && is_vf_with_pri(dev) {
        Err(Reason::AttachFaults.with(hwpt.id().into()))
    } else {
        Ok(())
    }
}

/// The most attachments of a group of which lines are written.
const MOST_SHOWN: usize = 16;

impl Group {
    /// Writes lines about what the device that `lines` are about is attached to.
    pub(super) fn show(&self, lines: &Lines<'_>) {
        let Some(state) = self.state.try_lock() else {
            lines.busy();
            return;
        };
        let ours = |attached: &Attached| lines.id().is_some_and(|id| attached.has(id));
        for (pasid, attached) in state.iter().take(MOST_SHOWN) {
            let hwpt = attached.hwpt.id();
            match pasid.is_none() {
                _ if !ours(attached) => {}
                true => lines.number("hwpt", hwpt),
                false => lines.numbered("pasid", pasid.as_raw(), "hwpt", hwpt),
            }
        }
        if state.iter().nth(MOST_SHOWN).is_some() {
            lines.line("left-out", fmt!("further PASIDs"));
        }
    }
}

/// For tests.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
impl Group {
    /// Returns the nested page tables that `pasid` is attached to.
    pub(crate) fn nested_of(&self, pasid: Pasid) -> Option<Ref<HwptNested>> {
        let state = self.state.lock();
        match &state.get(&pasid)?.hwpt {
            Hwpt::Nested(hwpt) => Some(hwpt.clone()),
            Hwpt::Paging(_) => None,
        }
    }

    /// Returns whether this module and the IOMMU core agree that `pasid` is attached to `hwpt`, or
    /// is not attached if that is `None`.
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
