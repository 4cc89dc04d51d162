// SPDX-License-Identifier: GPL-2.0-only

//! Invalidation descriptors for the caches of a guest's first stage (6.5.2).

use crate::drivers::vtd::range::Range;

/// The 64-bit words of a 256-bit descriptor.
pub(crate) type Descriptor = [u64; 4];

/// `type` of a PASID-based IOTLB invalidation (6.5.2.4), a device-TLB invalidation (6.5.2.5) and a
/// PASID-based device-TLB invalidation (6.5.2.6).
const PASID_IOTLB: u64 = 6;
const DEVICE_TLB: u64 = 3;
const PASID_DEVICE_TLB: u64 = 8;

/// Granularity of a PASID-based IOTLB invalidation: everything of a PASID, or pages of it.
const PASID_SELECTIVE: u64 = 2 << 4;
const PAGES_OF_PASID: u64 = 3 << 4;

/// The largest address mask of a PASID-based IOTLB invalidation, 1 GiB: for more pages everything of
/// the PASID is invalidated. An IOMMU must take each mask (11.4.2, MAMV), but QEMU's refuses larger
/// ones. Ranges of device TLBs have no such limit.
pub(crate) const MAX_MASK: u32 = 18;

/// The PASID of requests that have none.
const NO_PASID: u32 = 0;

/// A cache that may hold translations of a guest's first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// The IOTLB of an IOMMU.
    Iotlb {
        /// Domain ID.
        did: u16,
        /// PASID, 0 for requests without one.
        pasid: u32,
    },
    /// The TLB of a device.
    Device {
        /// PASID, 0 for requests without one.
        pasid: u32,
        /// Source ID of the device.
        sid: u16,
        /// Source ID of its physical function.
        pfsid: u16,
        /// How many invalidations the device takes at once, 0 for 32.
        qdep: u8,
    },
}

impl Cache {
    /// Returns the descriptor that invalidates a range in the cache.
    #[inline(always)]
    pub(crate) fn descriptor(&self, range: &Range) -> Descriptor {
        match *self {
            Self::Iotlb { did, pasid } => iotlb(did, pasid, range),
            Self::Device {
                pasid,
                sid,
                pfsid,
                qdep,
            } => {
                // 32 invalidations do not fit the field, in which 0 stands for them.
                let qdep = u64::from(qdep & 0x1f);
                let pfsid = u64::from(pfsid);
                let pfsid = (pfsid & 0xf) << 12 | pfsid >> 4 << 52;
                let sid = u64::from(sid);
                if pasid == NO_PASID {
                    let word = DEVICE_TLB | pfsid | qdep << 16 | sid << 32;
                    [word, device_addr(range, 1 << 0), 0, 0]
                } else {
                    let pasid = u64::from(pasid);
                    let word = PASID_DEVICE_TLB | qdep << 4 | pfsid | sid << 16 | pasid << 32;
                    [word, device_addr(range, 1 << 11), 0, 0]
                }
            }
        }
    }
}

fn iotlb(did: u16, pasid: u32, range: &Range) -> Descriptor {
    let word = PASID_IOTLB | u64::from(did) << 16 | u64::from(pasid) << 32;
    if range.order > MAX_MASK {
        return [word | PASID_SELECTIVE, 0, 0, 0];
    }
    let pages = range.addr | u64::from(range.leaf) << 6 | u64::from(range.order);
    [word | PAGES_OF_PASID, pages, 0, 0]
}

/// The address of a device-TLB invalidation. With the flag `size` the lowest address bit from bit 12
/// on that is clear says how many pages there are: two if it is bit 12, four if it is bit 13, and
/// everything if it is bit 63.
fn device_addr(range: &Range, size: u64) -> u64 {
    match range.order.checked_sub(1) {
        None => range.addr,
        Some(ones) => range.addr | (((1 << ones) - 1) << 12) | size,
    }
}
