// SPDX-License-Identifier: GPL-2.0-only

//! Commands: which ones a guest may put into its command buffer, and which ones the IOMMU gets for
//! them.
//!
//! A guest's command names a domain or a device by the guest's id. The IOMMU's names the host's id
//! instead, and there is no other way to make one of a guest's command. The IOMMU stops at a
//! command that it does not know or that has a reserved bit, for all devices, so no such command
//! passes.
//!
//! Sections are those of the AMD I/O Virtualization Technology Specification, 48882. Words are in
//! CPU byte order.

use kernel::prelude::*;

use crate::drivers::{
    amd_vi::hardware::Hardware,
    field::Field, //
};

/// A command as it stands in a command buffer.
pub(crate) type Words = [u64; 2];

/// Opcodes (2.4).
pub(crate) mod opcode {
    /// COMPLETION_WAIT (2.4.1)
    pub(crate) const COMPLETION_WAIT: u64 = 1;
    /// INVALIDATE_DEVTAB_ENTRY (2.4.2)
    pub(crate) const INVALIDATE_DEVTAB_ENTRY: u64 = 2;
    /// INVALIDATE_IOMMU_PAGES (2.4.3)
    pub(crate) const INVALIDATE_IOMMU_PAGES: u64 = 3;
    /// INVALIDATE_IOTLB_PAGES (2.4.4)
    pub(crate) const INVALIDATE_IOTLB_PAGES: u64 = 4;
    /// INVALIDATE_IOMMU_ALL (2.4.8)
    pub(crate) const INVALIDATE_IOMMU_ALL: u64 = 8;
}

/// Word 0 of every command.
const OPCODE: Field = Field::new(63, 60);

/// Word 0 of COMPLETION_WAIT: what happens on completion (S: store, I: interrupt), whether younger
/// commands wait (F), and where the data of word 1 are stored.
const STORE: Field = Field::bit(0);
const INTERRUPT: Field = Field::bit(1);
const FLUSH: Field = Field::bit(2);
const STORE_ADDRESS: Field = Field::new(51, 3);

/// Word 0 of INVALIDATE_DEVTAB_ENTRY and INVALIDATE_IOTLB_PAGES.
const DEVICE_ID: Field = Field::new(15, 0);

/// Word 0 of INVALIDATE_IOMMU_PAGES.
const PASID: Field = Field::new(19, 0);
const DOMAIN_ID: Field = Field::new(47, 32);

/// Word 0 of INVALIDATE_IOTLB_PAGES: bits 15:8, 7:0 and 19:16 of the PASID, and how the IOMMU
/// limits the invalidations that a device has not answered.
const PASID_MIDDLE: Field = Field::new(23, 16);
const PASID_LOW: Field = Field::new(55, 48);
const PASID_HIGH: Field = Field::new(59, 56);
const MAX_PEND: Field = Field::new(31, 24);
const QUEUE_ID: Field = Field::new(47, 32);

/// Word 1 of both INVALIDATE_*_PAGES: whether the low bits of the address are a size (S), and
/// whether it is an address of the guest's tables with a PASID (GN).
const S: Field = Field::bit(0);
const GN: Field = Field::bit(2);
const ADDRESS: Field = Field::new(63, 12);
/// Word 1 of INVALIDATE_IOMMU_PAGES: whether entries of directories go too.
const PDE: Field = Field::bit(1);

/// Address bits below this one are an offset into a page.
const PAGE_SHIFT: u32 = 12;
/// With `S` the lowest bit of the address that is 0 gives the size: bit 12 for two pages. Sizes of
/// more than 2^52 bytes that are not all addresses have no encoding that all IOMMUs understand.
const MAX_SIZE_BITS: u32 = 52;
/// The address that stands for all addresses with `S`.
const ALL_ADDRESSES: u64 = ADDRESS.mask() & !(1 << 63);

/// A device as the IOMMU knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its DeviceID.
    pub(crate) device_id: u16,
    /// How many invalidations it can take before it answers.
    pub(crate) queue_depth: u8,
    /// Whether ATS is on. If not, the device has nothing cached and does not answer.
    pub(crate) ats: bool,
}

/// A command for an IOMMU, which cannot affect any but one guest's domain or device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Physical(Words);

impl Physical {
    /// No command of a guest; fills a place that no command has been put in yet.
    pub(super) const NONE: Self = Self([0; 2]);

    /// Invalidates all that is cached of a host's domain.
    pub(crate) fn all_of_domain(domain_id: u16) -> Self {
        let pages = Pages {
            pasid: 0,
            range: PDE.mask() | S.mask() | ALL_ADDRESSES,
        };
        pages.on_domain(domain_id)
    }

    /// Invalidates the cached device table entry of a host's device.
    pub(crate) fn device_entry(device_id: u16) -> Self {
        let word0 = OPCODE.put(0, opcode::INVALIDATE_DEVTAB_ENTRY);
        Self([DEVICE_ID.put(word0, u64::from(device_id)), 0])
    }

    /// Returns the command that takes the place of two. It invalidates what they do and nothing
    /// else. `None` if there is none: where they are not both INVALIDATE_IOMMU_PAGES, or differ in
    /// domain, PASID or kind, or their pages are no range that a command can name.
    pub(super) fn merged(self, other: Self) -> Option<Self> {
        let (Self([word0, word1]), Self([other0, other1])) = (self, other);
        let kind = word1 & !(S.mask() | ADDRESS.mask());
        let other_kind = other1 & !(S.mask() | ADDRESS.mask());
        if OPCODE.of(word0) != opcode::INVALIDATE_IOMMU_PAGES
            || word0 != other0
            || kind != other_kind
        {
            return None;
        }
        let span = Span::of(word1).union(Span::of(other1))?;
        Some(Self([word0, kind | span.encode()]))
    }
}

/// `1 << order` pages, from one on whose number is a multiple of that.
#[derive(Clone, Copy)]
struct Span {
    first: u64,
    order: u32,
}

impl Span {
    /// `order` of all addresses, and the largest one of other ranges.
    const ALL: u32 = u64::BITS - PAGE_SHIFT;
    const MAX: u32 = MAX_SIZE_BITS - PAGE_SHIFT;

    /// Returns what word 1 of a command names.
    fn of(word1: u64) -> Self {
        let page = ADDRESS.of(word1);
        let order = if S.is_set(word1) {
            (1 + page.trailing_ones()).min(Self::ALL)
        } else {
            0
        };
        Self {
            first: page >> order << order,
            order,
        }
    }

    /// Returns all that is in either range, or `None` if that is no range.
    fn union(self, other: Self) -> Option<Self> {
        let (large, small) = if self.order >= other.order {
            (self, other)
        } else {
            (other, self)
        };
        if small.first >> large.order << large.order == large.first {
            return Some(large);
        }
        let both = Self {
            first: large.first & !(1 << large.order),
            order: large.order + 1,
        };
        let are_halves =
            large.order == small.order && large.first ^ small.first == 1 << large.order;
        (are_halves && both.order <= Self::MAX).then_some(both)
    }

    /// Returns the bits of word 1 that name it.
    fn encode(self) -> u64 {
        match self.order.checked_sub(1) {
            None => ADDRESS.put(0, self.first),
            Some(ones) => ADDRESS.put(S.mask(), self.first | ((1 << ones) - 1)),
        }
    }
}

/// The command as it stands in a command buffer.
impl From<Physical> for Words {
    fn from(command: Physical) -> Self {
        command.0
    }
}

/// What is invalidated of a domain or device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pages {
    /// The PASID. 0 without `GN`.
    pasid: u64,
    /// Word 1 of the command.
    range: u64,
}

impl Pages {
    /// Validates word 1, of which the bits of `others` may be set too. `pasid` is what word 0 has
    /// as the PASID, which is ignored without `GN`. Returns `EIO` for reserved bits.
    fn new(word1: u64, others: u64, pasid: u64, hardware: &Hardware) -> Result<Self> {
        if word1 & !(S.mask() | GN.mask() | ADDRESS.mask() | others) != 0 {
            return Err(EIO);
        }
        let mut pages = Self {
            pasid: 0,
            range: word1,
        };
        if GN.is_set(word1) {
            if !hardware.guest_translation || pasid >> hardware.pasid_bits != 0 {
                return Err(EIO);
            }
            pages.pasid = pasid;
        }
        if S.is_set(word1) {
            let page = ADDRESS.of(word1);
            let size_bits = PAGE_SHIFT + 1 + page.trailing_ones();
            if size_bits > MAX_SIZE_BITS {
                pages.range = word1 & !ADDRESS.mask() | ALL_ADDRESSES;
            }
        }
        Ok(pages)
    }

    /// Makes the command that invalidates them in what the IOMMU has cached of a host's domain.
    pub(crate) fn on_domain(&self, domain_id: u16) -> Physical {
        let word0 = OPCODE.put(0, opcode::INVALIDATE_IOMMU_PAGES);
        let word0 = DOMAIN_ID.put(word0, u64::from(domain_id));
        Physical([PASID.put(word0, self.pasid), self.range])
    }

    /// Makes the command that invalidates them in what a device has cached. Returns `None` if it has
    /// nothing cached, and need not answer: without ATS, and by a PASID, since devices use none. PASID
    /// 0 passes, as the driver's own commands for devices without PASIDs have it.
    ///
    /// TODO[NATIVE]: PASIDs of devices.
    pub(crate) fn on_device(&self, device: &Device) -> Option<Physical> {
        if !device.ats || self.pasid != 0 {
            return None;
        }
        let word0 = OPCODE.put(0, opcode::INVALIDATE_IOTLB_PAGES);
        let word0 = DEVICE_ID.put(word0, u64::from(device.device_id));
        let word0 = QUEUE_ID.put(word0, u64::from(device.device_id));
        Some(Physical([
            MAX_PEND.put(word0, u64::from(device.queue_depth)),
            self.range,
        ]))
    }
}

/// A valid command of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// COMPLETION_WAIT.
    Wait {
        /// Whether the commands behind it are executed only when those before it are complete.
        flush: bool,
    },
    /// INVALIDATE_DEVTAB_ENTRY.
    DeviceEntry {
        /// The guest's DeviceID.
        device: u16,
    },
    /// INVALIDATE_IOMMU_PAGES.
    DomainPages {
        /// The guest's domain ID.
        domain: u16,
        /// What is invalidated.
        pages: Pages,
    },
    /// INVALIDATE_IOTLB_PAGES.
    DevicePages {
        /// The guest's DeviceID.
        device: u16,
        /// What is invalidated.
        pages: Pages,
    },
    /// INVALIDATE_IOMMU_ALL.
    All,
}

impl Command {
    /// Validates a guest's command. Returns `EIO` for commands that are not a guest's to issue or
    /// not the backend's to carry out, for reserved bits and for PASIDs that the IOMMU does not
    /// have.
    pub(crate) fn new(words: Words, hardware: &Hardware) -> Result<Self> {
        let [word0, word1] = words;
        let only = |fields: u64, others: u64| {
            if word0 & !(OPCODE.mask() | fields) != 0 || word1 & !others != 0 {
                return Err(EIO);
            }
            Ok(())
        };
        match OPCODE.of(word0) {
            opcode::COMPLETION_WAIT => {
                let completion = STORE.mask() | INTERRUPT.mask() | STORE_ADDRESS.mask();
                only(completion | FLUSH.mask(), u64::MAX)?;
                Ok(Self::Wait {
                    flush: FLUSH.is_set(word0),
                })
            }
            opcode::INVALIDATE_DEVTAB_ENTRY => {
                only(DEVICE_ID.mask(), 0)?;
                Ok(Self::DeviceEntry {
                    device: low_16(DEVICE_ID.of(word0)),
                })
            }
            opcode::INVALIDATE_IOMMU_PAGES => {
                only(PASID.mask() | DOMAIN_ID.mask(), u64::MAX)?;
                Ok(Self::DomainPages {
                    domain: low_16(DOMAIN_ID.of(word0)),
                    pages: Pages::new(word1, PDE.mask(), PASID.of(word0), hardware)?,
                })
            }
            opcode::INVALIDATE_IOTLB_PAGES => {
                // All bits of word 0 are fields. The type (word 1, bits 5:4) is reserved: the
                // feature that defines it is not one that a VMM may offer.
                let pasid =
                    PASID_LOW.of(word0) | PASID_MIDDLE.of(word0) << 8 | PASID_HIGH.of(word0) << 16;
                Ok(Self::DevicePages {
                    device: low_16(DEVICE_ID.of(word0)),
                    pages: Pages::new(word1, 0, pasid, hardware)?,
                })
            }
            opcode::INVALIDATE_IOMMU_ALL => {
                only(0, 0)?;
                Ok(Self::All)
            }
            _ => Err(EIO),
        }
    }
}

/// Returns the value of a field of 16 bits.
fn low_16(value: u64) -> u16 {
    // CAST: The field has no more bits.
    value as u16
}
