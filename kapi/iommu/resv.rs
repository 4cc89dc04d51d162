// SPDX-License-Identifier: GPL-2.0-only

//! The I/O virtual addresses that a device cannot use for DMA.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use kernel::{
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::device::{
            self,
            IommuDevice, //
        },
        units::{
            to_u64,
            IovaRange, //
        }, //
    }, //
};

/// Why a device cannot use a range: `enum iommu_resv_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResvKind {
    /// Firmware wants an identity mapping, which is needed only until a driver is bound to the
    /// device.
    DirectRelaxable,
    /// MSIs are written there, at an address that the hardware determines.
    HwMsi,
    /// MSIs are written there, at an address that software may choose.
    SwMsi,
    /// Another reason.
    Other,
}

/// A range of I/O virtual addresses that a device cannot use for DMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResvRegion {
    /// The addresses.
    pub(crate) range: IovaRange,
    /// The reason.
    pub(crate) kind: ResvKind,
}

/// Returns the ranges that a device cannot use for DMA. Returns `ENODEV` if no IOMMU driver manages the
/// device, and `ENOMEM`.
///
/// # Examples
///
/// ```
/// use crate::kapi::iommu::{
///     device::IommuDevice,
///     resv::{resv_regions, ResvKind},
/// };
///
/// fn has_hw_msi(dev: &IommuDevice) -> Result<bool> {
///     let regions = resv_regions(dev)?;
///     Ok(regions.iter().any(|region| region.kind == ResvKind::HwMsi))
/// }
/// ```
pub(crate) fn resv_regions(dev: &IommuDevice) -> Result<KVec<ResvRegion>> {
    device::iommu_ops(dev)?;
    let mut regions = KVec::new();
    let mut result = Ok(());
    let mut list = bindings::list_head::default();
    let head: *mut bindings::list_head = &mut list;

    // SAFETY: `head` points to a local variable.
    unsafe {
        (*head).next = head;
        (*head).prev = head;
    }
    // SAFETY:
    // - An `IommuDevice` is a valid device, as `IommuDevice::new` requires.
    // - An IOMMU driver manages it, as was checked above, and the core does not release it from that.
    // - The list is empty, and stays in place until it is put.
    unsafe { bindings::iommu_get_resv_regions(device::as_raw(dev), head) };

    // SAFETY: The list was initialised above, and is on this task's stack.
    let mut entry = unsafe { (*head).next };
    while !core::ptr::eq(entry, head) {
        // SAFETY: Every entry but the head is the `list` field of a region.
        let raw = unsafe { &*kernel::container_of!(entry, bindings::iommu_resv_region, list) };
        let kind = match raw.type_ {
            bindings::iommu_resv_type_IOMMU_RESV_DIRECT_RELAXABLE => ResvKind::DirectRelaxable,
            bindings::iommu_resv_type_IOMMU_RESV_MSI => ResvKind::HwMsi,
            bindings::iommu_resv_type_IOMMU_RESV_SW_MSI => ResvKind::SwMsi,
            _ => ResvKind::Other,
        };
        // The core does not check its drivers: an empty range reserves nothing.
        if let (Ok(range), Ok(())) = (IovaRange::from_len(raw.start, to_u64(raw.length)), result) {
            result = regions
                .push(ResvRegion { range, kind }, GFP_KERNEL)
                .map_err(Error::from);
        }
        entry = raw.list.next;
    }
    // SAFETY: `iommu_get_resv_regions` filled the list.
    unsafe { bindings::iommu_put_resv_regions(device::as_raw(dev), head) };
    result.map(|()| regions)
}
