// SPDX-License-Identifier: GPL-2.0-only

//! Events: entries of an IOMMU's event log, converted to the guest's ids.
//!
//! Sections are those of the AMD I/O Virtualization Technology Specification, 48882.

use crate::drivers::{
    amd_vi::dte::GuestDte,
    field::Field, //
};

/// An entry of an event log.
pub(crate) type Event = [u64; 2];

/// Codes (2.5).
mod code {
    /// ILLEGAL_DEV_TABLE_ENTRY (2.5.2)
    pub(super) const ILLEGAL_DEV_TABLE_ENTRY: u64 = 1;
    /// IO_PAGE_FAULT (2.5.3)
    pub(super) const IO_PAGE_FAULT: u64 = 2;
    /// INVALID_DEVICE_REQUEST (2.5.9)
    pub(super) const INVALID_DEVICE_REQUEST: u64 = 8;
}

/// Word 0 of the three events. Word 1 is an address that the device has used.
const DEVICE_ID: Field = Field::new(15, 0);
const PASID_HIGH: Field = Field::new(19, 16);
/// Bits 15:0 of the PASID with `GN`. Without it the domain ID in IO_PAGE_FAULT.
const PASID_LOW: Field = Field::new(47, 32);
const GN: Field = Field::bit(48);
/// In IO_PAGE_FAULT: an interrupt, a page that is present, a write, and a request for a translation.
/// `RW` has a meaning only with `PR` set and `I` and `TR` clear.
const I: Field = Field::bit(51);
const PR: Field = Field::bit(52);
const RW: Field = Field::bit(53);
const TR: Field = Field::bit(56);
const CODE: Field = Field::new(63, 60);

/// The flags between `GN` and `CODE` that are not reserved: I, RW, RZ and TR of
/// ILLEGAL_DEV_TABLE_ENTRY; NX, US, I, PR, RW, PE, RZ and TR of IO_PAGE_FAULT; US, TR and the type
/// of INVALID_DEVICE_REQUEST.
const ILLEGAL_FLAGS: u64 = 1 << 51 | 1 << 53 | 1 << 55 | 1 << 56;
const FAULT_FLAGS: u64 = Field::new(56, 49).mask();
const REQUEST_FLAGS: u64 = 1 << 49 | Field::new(59, 56).mask();

/// Returns the DeviceID that an event has.
pub(crate) fn device_id([word0, _]: Event) -> u16 {
    // CAST: The field has 16 bits.
    DEVICE_ID.of(word0) as u16
}

/// Returns whether an IO_PAGE_FAULT is of a write, or `None` if it does not say so.
fn is_write(word0: u64) -> Option<bool> {
    let says = PR.is_set(word0) && !I.is_set(word0) && !TR.is_set(word0);
    says.then(|| RW.is_set(word0))
}

/// Returns the event for a guest that knows the device by this id and has this entry for it. Returns
/// `None` for events that are not about what the guest has set up.
pub(crate) fn for_guest([word0, address]: Event, device: u16, entry: &GuestDte) -> Option<Event> {
    let code = CODE.of(word0);
    // Those with the I bit should be the host's, but QEMU sets it in each IO_PAGE_FAULT.
    let (flags, is_guests) = match code {
        code::ILLEGAL_DEV_TABLE_ENTRY => (ILLEGAL_FLAGS, entry.is_valid()),
        code::IO_PAGE_FAULT => (FAULT_FLAGS, entry.may_fault(is_write(word0))),
        code::INVALID_DEVICE_REQUEST => (REQUEST_FLAGS, entry.is_valid()),
        _ => return None,
    };
    if !is_guests {
        return None;
    }
    let mut told = word0 & (CODE.mask() | GN.mask() | flags);
    told = DEVICE_ID.put(told, u64::from(device));
    if GN.is_set(word0) {
        told |= word0 & (PASID_HIGH.mask() | PASID_LOW.mask());
    } else if code == code::IO_PAGE_FAULT {
        told = PASID_LOW.put(told, u64::from(entry.domain_id()));
    }
    Some([told, address])
}
