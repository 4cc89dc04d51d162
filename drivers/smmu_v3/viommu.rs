// SPDX-License-Identifier: GPL-2.0-only

//! vIOMMUs of an SMMUv3: a guest's entries and batches of commands, read from user memory.

use core::cell::Cell;

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    drivers::{
        in_tree::InTreeViommu,
        smmu_v3::{
            batch::{
                self,
                Lane,
                Smmus,
                Source,
                Stream, //
            },
            command::{
                Physical,
                Rules,
                Words, //
            },
            raw::SmmuViommu,
            ste::Vste, //
        },
        HwQueueOps,
        Share,
        VdeviceOps,
        ViommuOps, //
    },
    kapi::{
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
            vdevice::{
                Vdevice,
                VirtId, //
            },
            vevent::{
                Connection,
                EventReceiver, //
            },
            viommu::{
                Identity,
                Request, //
            }, //
        },
        uapi::{
            self,
            viommu::MAX_IOMMUS, //
        }, //
    }, //
};

/// Commands of a short batch, for which less memory is initialised.
const SHORT: u32 = 16;

/// An SMMU of a vIOMMU.
struct Member {
    smmu: SmmuViommu,
    /// What it knows the guest by.
    vmid: u16,
}

/// A vIOMMU on an SMMUv3, or on several.
pub(super) struct NativeViommu {
    /// There is one at least. With several, a guest's ids of devices are reserved on all of them.
    members: KVec<Member>,
    /// What is the driver's to do, by the first.
    in_tree: InTreeViommu,
    /// Of what is valid on all.
    rules: Rules,
}

impl NativeViommu {
    /// Returns `EOPNOTSUPP` if the SMMU of `dev` cannot nest, and the driver's own errors.
    pub(super) fn new(dev: &IommuDevice, request: Request) -> Result<Self> {
        Self::on(SmmuViommu::new(dev, request)?)
    }

    /// Makes one over several SMMUs. Returns `EINVAL` if two are the same, `EOPNOTSUPP` if one
    /// cannot nest, and the driver's own errors.
    pub(super) fn over(identity: Identity, iommus: &[Share<'_>]) -> Result<Self> {
        let request = |share: &Share<'_>| Request {
            identity,
            kind: uapi::viommu::TYPE_ARM_SMMUV3,
            parent: share.parent.clone(),
            data: None,
        };
        let (first, others) = iommus.split_first().ok_or(EINVAL)?;
        let mut viommu = Self::new(first.dev, request(first))?;
        for share in others {
            if viommu.serves(share.dev) {
                return Err(EINVAL);
            }
            let first = viommu.members.first().ok_or(EINVAL)?;
            viommu.add(first.smmu.another(share.dev, request(share))?)?;
        }
        Ok(viommu)
    }

    fn on(smmu: SmmuViommu) -> Result<Self> {
        let in_tree = InTreeViommu(smmu.viommu().clone());
        let (features, vmid) = smmu.info();
        let mut members = KVec::with_capacity(1, GFP_KERNEL_ACCOUNT)?;
        members.push(Member { smmu, vmid }, GFP_KERNEL_ACCOUNT)?;
        Ok(Self {
            members,
            in_tree,
            rules: Rules::new(features),
        })
    }

    fn add(&mut self, smmu: SmmuViommu) -> Result {
        let (features, vmid) = smmu.info();
        self.members
            .push(Member { smmu, vmid }, GFP_KERNEL_ACCOUNT)?;
        self.rules = Rules::new(self.rules.features().common(&features));
        Ok(())
    }

    /// As [`batch::carry_out`], for one command on the only SMMU.
    fn carry_out_one(&self, mut source: UserCommands) -> Invalidated {
        let mut words = [[0; 2]];
        if let Err(error) = source.read(&mut words) {
            return Invalidated::nothing(error);
        }
        let ([words], [member]) = (words, &*self.members) else {
            return Invalidated::nothing(EINVAL);
        };
        let smmus = Members::of(self);
        match batch::carry_out_one(&smmus, &self.rules, member.vmid, words) {
            Some(result) => Invalidated {
                done: result.is_ok().into(),
                result,
                submissions: Some(smmus.submissions()),
            },
            None => self.carry_out::<{ SHORT as usize }, 1>(OneCommand(words), 1),
        }
    }

    /// As [`batch::carry_out`], in blocks of `N`, for `M` SMMUs at most. Memory is initialised for
    /// `N` commands of each.
    fn carry_out<const N: usize, const M: usize>(
        &self,
        mut source: impl Source,
        count: u32,
    ) -> Invalidated {
        let mut lanes = [const { Lane::<N>::EMPTY }; M];
        let Some(lanes) = lanes.get_mut(..self.members.len()) else {
            return Invalidated::nothing(EINVAL);
        };
        for (lane, member) in lanes.iter_mut().zip(&self.members) {
            lane.set_vmid(member.vmid);
        }
        batch::carry_out(&Members::of(self), &self.rules, lanes, &mut source, count)
    }
}

impl ViommuOps for NativeViommu {
    fn serves(&self, dev: &IommuDevice) -> bool {
        let viommus = self.members.iter().map(|member| member.smmu.viommu());
        viommus.into_iter().any(|viommu| viommu.serves(dev))
    }

    /// Returns `EOPNOTSUPP` for any flag, `EINVAL` for data of another type or shorter than
    /// `struct iommu_hwpt_arm_smmuv3`, `E2BIG` for longer data whose further bytes are not zero,
    /// `EFAULT`, and `EIO` for an entry that is not valid.
    fn alloc_nested(
        &self,
        flags: u32,
        data: UserData,
        take: &mut dyn FnMut(NestedDomain) -> Result,
    ) -> Result {
        if flags != 0 {
            return Err(EOPNOTSUPP);
        }
        if data.kind != uapi::hwpt::DATA_ARM_SMMUV3 {
            return Err(EINVAL);
        }
        // `struct iommu_hwpt_arm_smmuv3` is two words.
        let words: Words = data.read_longer()?;
        let vste = Vste::from_guest(words.map(u64::from_le), self.rules.features())?;
        let smmus = self.members.iter().map(|member| &member.smmu);
        smmus
            .into_iter()
            .try_for_each(|smmu| take(smmu.alloc_nested(vste)?))
    }

    /// Returns `EINVAL` for another type of commands and for entries that are shorter than
    /// `struct iommu_viommu_arm_smmuv3_invalidate`, and otherwise what [`batch::carry_out`] says.
    fn invalidate(&self, requests: Requests) -> Invalidated {
        let source = match requests.reader(uapi::invalidate::DATA_ARM_SMMUV3) {
            Ok(reader) => UserCommands(reader),
            Err(error) => return Invalidated::nothing(error),
        };
        let count = requests.count;
        match (self.members.len(), count) {
            (1, 1) => self.carry_out_one(source),
            (1, 0..=SHORT) => self.carry_out::<{ SHORT as usize }, 1>(source, count),
            (1, _) => self.carry_out::<{ batch::MAX_ISSUED }, 1>(source, count),
            _ => self.carry_out::<{ SHORT as usize }, MAX_IOMMUS>(source, count),
        }
    }

    fn has_hw_queue(&self, kind: u32) -> bool {
        self.in_tree.has_hw_queue(kind)
    }

    fn make_hw_queue(&self, request: hw_queue::Request) -> Result<KBox<dyn HwQueueOps>> {
        self.in_tree.make_hw_queue(request)
    }

    fn connect(&self, kind: u32, receiver: Arc<dyn EventReceiver>) -> Result<Connection> {
        self.in_tree.connect(kind, receiver)
    }

    fn make_vdevice(
        &self,
        dev: &IommuDevice,
        virt_id: u64,
        identity: Identity,
    ) -> Result<KBox<dyn VdeviceOps>> {
        let place = self
            .members
            .iter()
            .position(|member| member.smmu.viommu().serves(dev))
            .ok_or(EINVAL)?;
        // Of tasks that want the same id, the one that reserves it on the first SMMU gets it on all.
        let mut elsewhere = KVec::new();
        let mut vdevice = None;
        for (nth, member) in self.members.iter().enumerate() {
            if nth == place {
                vdevice = Some(member.smmu.make_vdevice(dev, virt_id, identity)?);
            } else {
                let id = VirtId::reserve(member.smmu.viommu(), virt_id)?;
                elsewhere.push(id, GFP_KERNEL_ACCOUNT)?;
            }
        }
        let vdevice = NativeVdevice {
            _vdevice: vdevice.ok_or(EINVAL)?,
            _elsewhere: elsewhere,
        };
        Ok(KBox::new(vdevice, GFP_KERNEL_ACCOUNT)?)
    }
}

/// A vDEVICE of a device behind one of the SMMUs of a vIOMMU.
struct NativeVdevice {
    // Field order: the id is free on the others, of which the first decides, when the vDEVICE has
    // gone.
    _vdevice: Pin<KBox<Vdevice>>,
    /// The id on the other SMMUs.
    _elsewhere: KVec<VirtId>,
}

impl VdeviceOps for NativeVdevice {}

/// The SMMUs of a vIOMMU during a call.
struct Members<'a> {
    members: &'a [Member],
    submissions: Cell<u32>,
}

impl<'a> Members<'a> {
    fn of(viommu: &'a NativeViommu) -> Self {
        Self {
            members: &viommu.members,
            submissions: Cell::new(0),
        }
    }
}

impl Smmus for Members<'_> {
    fn stream(&self, vsid: u32, nth: usize) -> Option<Stream> {
        let mut members = self.members.iter().enumerate();
        members.find_map(|(smmu, member)| {
            let stream = member.smmu.stream(vsid, nth)?;
            Some(Stream { smmu, ..stream })
        })
    }

    fn submit(&self, smmu: usize, commands: &[Physical], sync: bool) -> Result {
        let member = self.members.get(smmu).ok_or(EIO)?;
        // A call has fewer than 2^20 requests, of which each is submitted to 64 SMMUs at most.
        self.submissions.set(self.submissions.get().wrapping_add(1));
        member.smmu.submit(commands, sync)
    }

    fn submissions(&self) -> u32 {
        self.submissions.get()
    }
}

/// A guest's only command, which has been read.
struct OneCommand(Words);

impl Source for OneCommand {
    fn read(&mut self, block: &mut [Words]) -> Result {
        block.fill(self.0);
        Ok(())
    }
}

/// A guest's commands in user memory. `struct iommu_viommu_arm_smmuv3_invalidate` is two words.
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
