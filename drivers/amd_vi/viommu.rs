// SPDX-License-Identifier: GPL-2.0-only

//! vIOMMUs of AMD-Vi: a guest's entries and batches of commands, read from user memory.

use kernel::prelude::*;

use crate::{
    drivers::{
        amd_vi::{
            batch::{
                self,
                Iommus,
                Lane,
                Source, //
            },
            command::{
                Device,
                Physical,
                Words, //
            },
            dte::{
                Dte,
                GuestDte, //
            },
            hardware::Hardware,
            raw::{
                self,
                AmdViommu, //
            }, //
        },
        in_tree::InTreeViommu,
        vdevice,
        HwQueueOps,
        Share,
        VdeviceOps,
        ViommuOps, //
    },
    kapi::{
        bug::ok_or_warn,
        iommu::{
            device::IommuDevice,
            domain::UserData,
            hw_queue,
            invalidate::{
                Invalidated,
                Requests, //
            },
            native::RequestReader,
            nested::NestedDomain,
            vdevice::Vdevice,
            viommu::{
                Identity,
                Request,
                ViommuRef, //
            }, //
        },
        sync::room::Room,
        uapi::{
            self,
            viommu::MAX_IOMMUS, //
        }, //
    }, //
};

/// Commands of a short batch, for which less memory is initialised.
const SHORT: u32 = 16;
/// The places of a lane for so many commands and a COMPLETION_WAIT.
const SHORT_LANE: usize = SHORT as usize + 1;
const FULL_LANE: usize = batch::MAX + 1;

/// A vIOMMU on an IOMMU, or on several.
pub(super) struct NativeViommu {
    /// There is one at least. With several, a guest's ids of devices are reserved on all of them.
    members: KVec<AmdViommu>,
    /// What is the driver's to do, by the first.
    in_tree: InTreeViommu,
    hardware: Hardware,
}

impl NativeViommu {
    /// Makes a vIOMMU. Returns `EOPNOTSUPP` if the IOMMUs cannot nest, `EINVAL` if two are the same,
    /// and the driver's own errors.
    pub(super) fn new(identity: Identity, iommus: &[Share<'_>]) -> Result<Self> {
        let mut members: KVec<AmdViommu> = KVec::with_capacity(iommus.len(), GFP_KERNEL_ACCOUNT)?;
        let mut hardware = None;
        for share in iommus {
            hardware = Some(raw::hardware(share.dev).ok_or(EOPNOTSUPP)?);
            if members.iter().any(|other| other.viommu().serves(share.dev)) {
                return Err(EINVAL);
            }
            let request = Request {
                identity: identity.clone(),
                kind: uapi::viommu::TYPE_AMD,
                parent: share.parent.clone(),
                data: None,
                room: Room::none(),
            };
            let member = AmdViommu::new(share.dev, request, members.first())?;
            members.push(member, GFP_KERNEL_ACCOUNT)?;
        }
        let first = ok_or_warn!(members.first(), EINVAL)?;
        Ok(Self {
            in_tree: InTreeViommu(first.viommu().clone()),
            members,
            // The driver says the same of all of its IOMMUs.
            hardware: ok_or_warn!(hardware, EINVAL)?,
        })
    }

    /// As [`batch::carry_out`], with lanes of `N` places, for `M` IOMMUs at most.
    fn carry_out<const N: usize, const M: usize>(
        &self,
        mut source: UserCommands,
        count: u32,
    ) -> Invalidated {
        let mut lanes = [const { Lane::<N>::EMPTY }; M];
        let lanes = lanes.get_mut(..self.members.len()).unwrap_or_default();
        batch::carry_out(self, &self.hardware, lanes, &mut source, count)
    }
}

impl ViommuOps for NativeViommu {
    fn serves(&self, dev: &IommuDevice) -> bool {
        self.members
            .iter()
            .any(|member| member.viommu().serves(dev))
    }

    /// Returns `EOPNOTSUPP` for any flag and for data of another type, `EINVAL` for data shorter
    /// than `struct iommu_hwpt_amd_guest`, `E2BIG` as [`UserData::read_longer`], `EFAULT`, the errors of
    /// [`GuestDte::new`], and `ENOSPC` if the host has no domain ID left.
    fn alloc_nested(
        &self,
        flags: u32,
        data: UserData,
        take: &mut dyn FnMut(NestedDomain) -> Result,
    ) -> Result {
        if flags != 0 || data.kind != uapi::hwpt::DATA_AMD_GUEST {
            return Err(EOPNOTSUPP);
        }
        // `struct iommu_hwpt_amd_guest` is four words.
        let dte: Dte = data.read_longer()?;
        let guest = GuestDte::new(dte, &self.hardware)?;
        self.members
            .iter()
            .try_for_each(|member| take(member.alloc_nested(guest)?))
    }

    /// Returns `EINVAL` for another type of commands and for entries that are shorter than
    /// `struct iommufd_rs_viommu_amd_invalidate`, and otherwise what [`batch::carry_out`] says.
    fn invalidate(&self, requests: Requests) -> Invalidated {
        let source = match requests.reader(uapi::invalidate::DATA_AMD) {
            Ok(reader) => UserCommands(reader),
            Err(error) => return Invalidated::nothing(error),
        };
        let count = requests.count;
        match (self.members.len(), count) {
            (1, 0..=SHORT) => self.carry_out::<SHORT_LANE, 1>(source, count),
            (1, _) => self.carry_out::<FULL_LANE, 1>(source, count),
            _ => self.carry_out::<SHORT_LANE, MAX_IOMMUS>(source, count),
        }
    }

    fn has_hw_queue(&self, kind: u32) -> bool {
        self.in_tree.has_hw_queue(kind)
    }

    fn make_hw_queue(&self, request: hw_queue::Request) -> Result<KBox<dyn HwQueueOps>> {
        self.in_tree.make_hw_queue(request)
    }

    fn event_viommu(&self) -> &ViommuRef {
        self.in_tree.event_viommu()
    }

    /// Returns `EINVAL` if the id is no DeviceID, and for devices behind other IOMMUs.
    fn make_vdevice(
        &self,
        dev: &IommuDevice,
        virt_id: u64,
        identity: Identity,
    ) -> Result<KBox<dyn VdeviceOps>> {
        u16::try_from(virt_id).map_err(|_| EINVAL)?;
        vdevice::make_vdevice(&self.members, AmdViommu::viommu, dev, virt_id, |member| {
            Vdevice::new(member.viommu(), dev, virt_id, identity.clone())
        })
    }
}

impl Iommus for NativeViommu {
    fn domain(&self, iommu: usize, from: u16) -> Option<(u16, u16)> {
        self.members.get(iommu)?.domain(from)
    }

    fn device(&self, iommu: usize, from: u16) -> Option<(u16, Device)> {
        self.members.get(iommu)?.device(from)
    }

    fn submit(&self, iommu: usize, commands: &mut [Physical]) -> Result<u64> {
        ok_or_warn!(self.members.get(iommu), EIO)?.submit(commands)
    }

    fn wait(&self, iommu: usize, submission: u64) -> Result {
        ok_or_warn!(self.members.get(iommu), EIO)?.wait(submission)
    }
}

/// A guest's commands in user memory. `struct iommufd_rs_viommu_amd_invalidate` is two words.
struct UserCommands(RequestReader<Words>);

impl Source for UserCommands {
    /// As [`RequestReader`].
    fn read(&mut self, block: &mut [Words]) -> Result {
        self.0.read_block(block)?;
        for words in block {
            *words = words.map(u64::from_le);
        }
        Ok(())
    }
}
