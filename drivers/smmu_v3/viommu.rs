// SPDX-License-Identifier: GPL-2.0-only

//! vIOMMUs of an SMMUv3: a guest's entries and batches of commands, read from user memory.

use kernel::{
    prelude::*,
    sync::Arc,
    uaccess::UserSlice, //
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
            nested::NestedDomain,
            vevent::{
                Connection,
                EventReceiver, //
            },
            viommu::{
                Identity,
                Request, //
            }, //
        },
        mm::user::UserStruct,
        uapi, //
    }, //
};

/// Bytes of the first version of `struct iommu_hwpt_arm_smmuv3` and of
/// `struct iommu_viommu_arm_smmuv3_invalidate`, which both are two words.
const TWO_WORDS: usize = size_of::<Words>();

/// Commands of a short batch, for which less memory is initialised.
const SHORT: u32 = 16;

/// A vIOMMU of an SMMUv3.
pub(super) struct NativeViommu {
    smmu: SmmuViommu,
    /// What is the driver's to do.
    in_tree: InTreeViommu,
    rules: Rules,
    vmid: u16,
}

impl NativeViommu {
    /// Returns `EOPNOTSUPP` if the SMMU of `dev` cannot nest, and the driver's own errors.
    pub(super) fn new(dev: &IommuDevice, request: Request) -> Result<Self> {
        let smmu = SmmuViommu::new(dev, request)?;
        let (features, vmid) = smmu.info();
        Ok(Self {
            in_tree: InTreeViommu(smmu.viommu().clone()),
            smmu,
            rules: Rules::new(features),
            vmid,
        })
    }

    /// As [`batch::carry_out`], for one command on the only SMMU.
    fn carry_out_one(&self, mut source: UserCommands) -> Invalidated {
        let mut words = [[0; 2]];
        if let Err(error) = source.read(&mut words) {
            return Invalidated::nothing(error);
        }
        let [words] = words;
        match batch::carry_out_one(self, &self.rules, self.vmid, words) {
            Some(Ok(())) => Invalidated {
                done: 1,
                result: Ok(()),
            },
            Some(Err(error)) => Invalidated::nothing(error),
            None => self.carry_out::<{ SHORT as usize }>(OneCommand(words), 1),
        }
    }

    /// As [`batch::carry_out`], in blocks of `N`. Memory is initialised for `N` commands.
    fn carry_out<const N: usize>(&self, mut source: impl Source, count: u32) -> Invalidated {
        let mut lanes = [Lane::<N>::new(self.vmid)];
        batch::carry_out(self, &self.rules, &mut lanes, &mut source, count)
    }
}

impl ViommuOps for NativeViommu {
    fn serves(&self, dev: &IommuDevice) -> bool {
        self.in_tree.serves(dev)
    }

    /// Returns `EOPNOTSUPP` for any flag, `EINVAL` for data of another type or shorter than
    /// `struct iommu_hwpt_arm_smmuv3`, `E2BIG` for longer data whose further bytes are not zero,
    /// `EFAULT`, and `EIO` for an entry that is not valid.
    fn alloc_nested(&self, flags: u32, data: UserData) -> Result<NestedDomain> {
        if flags != 0 {
            return Err(EOPNOTSUPP);
        }
        if data.kind != uapi::hwpt::DATA_ARM_SMMUV3 || data.len < TWO_WORDS {
            return Err(EINVAL);
        }
        let len = u32::try_from(data.len).map_err(|_| E2BIG)?;
        let words: Words = UserStruct::with_size(data.ptr, len).read()?;
        let vste = Vste::from_guest(words.map(u64::from_le), self.rules.features())?;
        self.smmu.alloc_nested(vste)
    }

    /// Returns `EINVAL` for another type of commands and for entries that are shorter than
    /// `struct iommu_viommu_arm_smmuv3_invalidate`, and otherwise what [`batch::carry_out`] says.
    fn invalidate(&self, requests: Requests) -> Invalidated {
        if requests.kind != uapi::invalidate::DATA_ARM_SMMUV3 {
            return Invalidated::nothing(EINVAL);
        }
        let source = match UserCommands::new(&requests) {
            Ok(source) => source,
            Err(error) => return Invalidated::nothing(error),
        };
        match requests.count {
            1 => self.carry_out_one(source),
            count @ 0..=SHORT => self.carry_out::<{ SHORT as usize }>(source, count),
            count => self.carry_out::<{ batch::MAX_ISSUED }>(source, count),
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
        self.in_tree.make_vdevice(dev, virt_id, identity)
    }
}

impl Smmus for NativeViommu {
    fn stream(&self, vsid: u32, nth: usize) -> Option<Stream> {
        self.smmu.stream(vsid, nth)
    }

    fn submit(&self, _smmu: usize, commands: &[Physical], sync: bool) -> Result {
        self.smmu.submit(commands, sync)
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

/// A guest's commands in user memory.
struct UserCommands {
    /// Where the next one is.
    next: UserPtr,
    /// Bytes from one to the next.
    entry_len: u32,
}

impl UserCommands {
    /// `EINVAL` for entries that are shorter than a command. Without entries their length is not
    /// looked at.
    fn new(requests: &Requests) -> Result<Self> {
        if requests.count != 0 && (requests.entry_len as usize) < TWO_WORDS {
            return Err(EINVAL);
        }
        Ok(Self {
            next: requests.ptr,
            entry_len: requests.entry_len,
        })
    }
}

impl Source for UserCommands {
    /// `EFAULT`, or `E2BIG` for entries that are longer than a command and whose further bytes are
    /// not zero.
    fn read(&mut self, block: &mut [Words]) -> Result {
        let entry_len = self.entry_len as usize;
        let next = |place: usize| self.next.wrapping_byte_add(place.wrapping_mul(entry_len));
        if entry_len == TWO_WORDS {
            let bytes = block.as_mut_bytes();
            UserSlice::new(self.next, bytes.len())
                .reader()
                .read_slice(bytes)?;
        } else {
            for (place, words) in block.iter_mut().enumerate() {
                *words = UserStruct::with_size(next(place), self.entry_len).read()?;
            }
        }
        for words in &mut *block {
            *words = words.map(u64::from_le);
        }
        self.next = next(block.len());
        Ok(())
    }
}
