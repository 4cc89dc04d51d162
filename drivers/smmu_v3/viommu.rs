// SPDX-License-Identifier: GPL-2.0-only

//! vIOMMUs of an SMMUv3: a guest's entries and batches of commands, read from user memory.

use kernel::prelude::*;

use crate::{
    drivers::{
        in_tree::InTreeViommu,
        smmu_v3::{
            batch::{
                self,
                Source, //
            },
            command::{
                Physical,
                Rules,
                Words, //
            },
            pending::{
                Smmus,
                Stream,
                MAX_ISSUED, //
            },
            raw::SmmuViommu,
            ste::Vste, //
        },
        vdevice,
        HwQueueOps,
        Share,
        VdeviceOps,
        ViommuOps, //
    },
    kapi::{
        array_vec::ArrayVec,
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

// As `Smmus::count` requires.
const _: () = assert!(MAX_IOMMUS <= 32);

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
            identity: identity.clone(),
            kind: uapi::viommu::TYPE_ARM_SMMUV3,
            parent: share.parent.clone(),
            data: None,
            room: Room::none(),
        };
        let (first, others) = ok_or_warn!(iommus.split_first(), EINVAL)?;
        let mut viommu = Self::new(first.dev, request(first))?;
        for share in others {
            if viommu.serves(share.dev) {
                return Err(EINVAL);
            }
            let first = ok_or_warn!(viommu.members.first(), EINVAL)?;
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
}

impl ViommuOps for NativeViommu {
    fn serves(&self, dev: &IommuDevice) -> bool {
        self.members
            .iter()
            .any(|member| member.smmu.viommu().serves(dev))
    }

    /// Returns `EOPNOTSUPP` for any flag, `EINVAL` for data of another type or shorter than
    /// `struct iommu_hwpt_arm_smmuv3`, `E2BIG` as [`UserData::read_longer`], `EFAULT`, and `EIO` for an entry that is not valid.
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
        self.members
            .iter()
            .try_for_each(|member| take(member.smmu.alloc_nested(vste)?))
    }

    /// Returns `EINVAL` for another type of commands and for entries that are shorter than
    /// `struct iommu_viommu_arm_smmuv3_invalidate`, and otherwise what [`batch::carry_out`] says.
    fn invalidate(&self, requests: Requests) -> Invalidated {
        let mut source = match requests.reader(uapi::invalidate::DATA_ARM_SMMUV3) {
            Ok(reader) => UserCommands(reader),
            Err(error) => return Invalidated::nothing(error),
        };
        if (requests.count, self.members.len()) != (1, 1) {
            let count = requests.count;
            return batch::carry_out::<_, MAX_ISSUED>(self, &self.rules, &mut source, count);
        }
        match source.0.read() {
            Ok(words) => {
                let words: Words = words;
                batch::carry_out_one(self, &self.rules, words.map(u64::from_le))
            }
            Err(error) => Invalidated::nothing(error),
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

    /// Returns `EINVAL` if the id is no StreamID, which has 32 bits, and for devices behind other
    /// SMMUs.
    fn make_vdevice(
        &self,
        dev: &IommuDevice,
        virt_id: u64,
        identity: Identity,
    ) -> Result<KBox<dyn VdeviceOps>> {
        u32::try_from(virt_id).map_err(|_| EINVAL)?;
        vdevice::make_vdevice(
            &self.members,
            |member| member.smmu.viommu(),
            dev,
            virt_id,
            |member| member.smmu.make_vdevice(dev, virt_id, identity.clone()),
        )
    }
}

impl Smmus for NativeViommu {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn vmid(&self, smmu: usize) -> u16 {
        self.members.get(smmu).map_or(0, |member| member.vmid)
    }

    fn stream(&self, vsid: u32, nth: usize) -> Option<Stream> {
        let mut members = self.members.iter().enumerate();
        members.find_map(|(smmu, member)| {
            let stream = member.smmu.stream(vsid, nth)?;
            Some(Stream { smmu, ..stream })
        })
    }

    fn submit(&self, smmu: usize, commands: &[Physical], sync: bool) -> Result {
        let member = ok_or_warn!(self.members.get(smmu), EIO)?;
        member.smmu.submit(commands, sync)
    }
}

/// A guest's commands in user memory. `struct iommu_viommu_arm_smmuv3_invalidate` is two words.
struct UserCommands(RequestReader<Words>);

impl Source for UserCommands {
    /// As [`RequestReader`].
    fn read<const N: usize>(&mut self, block: &mut ArrayVec<Words, N>, len: usize) -> Result {
        self.0.read_vec(block, len)?;
        for words in block.as_mut_slice() {
            *words = words.map(u64::from_le);
        }
        Ok(())
    }
}
