// SPDX-License-Identifier: GPL-2.0-only

//! The description of the hardware that an IOMMU driver gives.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h) (`hw_info` of `struct
//! iommu_ops`)

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::iommu::device::{
        self,
        IommuDevice, //
    }, //
};

/// A driver's description of its hardware: a struct of the uAPI and its type.
///
/// # Examples
///
/// ```
/// use crate::kapi::iommu::{device::IommuDevice, hwinfo::HwInfo};
///
/// /// Returns the first bytes of a description, 0 for those that there are not.
/// fn first_bytes(dev: &IommuDevice, wanted: u32) -> Result<[u8; 4]> {
///     let info = HwInfo::of(dev, wanted)?;
///     let mut first = [0; 4];
///     first.iter_mut().zip(info.bytes()).for_each(|(to, from)| *to = *from);
///     Ok(first)
/// }
/// ```
///
/// # Invariants
///
/// If `data` is `Some`, it is an allocation of kmalloc() with `len` initialised bytes that nothing
/// else frees.
pub(crate) struct HwInfo {
    data: Option<NonNull<u8>>,
    len: usize,
    kind: u32,
}

impl HwInfo {
    /// Asks the device's driver for a struct of type `wanted` (`enum iommu_hw_info_type`). A driver
    /// that does not describe its hardware has an empty one of type `IOMMU_HW_INFO_TYPE_NONE`.
    ///
    /// Returns `EOPNOTSUPP` if the driver does not have that type, `ENODEV` if no IOMMU driver
    /// manages the device, `ENOMEM` if there is no memory.
    pub(crate) fn of(dev: &IommuDevice, wanted: u32) -> Result<Self> {
        let Some(hw_info) = device::iommu_ops(dev)?.hw_info else {
            // INVARIANT: There is no allocation.
            return Ok(Self {
                data: None,
                len: 0,
                kind: bindings::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_NONE,
            });
        };
        let mut len: u32 = 0;
        let mut kind = wanted;
        // SAFETY: The operation belongs to the driver of this device.
        let data = from_err_ptr(unsafe { hw_info(device::as_raw(dev), &mut len, &mut kind) })?;
        // INVARIANT: The operation returns an allocation of `len` bytes that the caller frees.
        Ok(Self {
            data: NonNull::new(data.cast()),
            len: len as usize,
            kind,
        })
    }

    /// Returns the bytes of the struct.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self.data {
            // SAFETY: By the type invariant there are `len` initialised bytes.
            Some(data) => unsafe { core::slice::from_raw_parts(data.as_ptr(), self.len) },
            None => &[],
        }
    }

    /// Returns the type of the struct (`enum iommu_hw_info_type`).
    pub(crate) fn kind(&self) -> u32 {
        self.kind
    }
}

impl Drop for HwInfo {
    fn drop(&mut self) {
        if let Some(data) = self.data {
            // SAFETY: By the type invariant kmalloc() allocated it, and nothing else frees it.
            unsafe { bindings::kfree(data.as_ptr().cast()) };
        }
    }
}

/// The PASIDs that a device may use.
pub(crate) struct PasidInfo {
    /// log2 of the number of PASIDs, or 0 if there are none.
    pub(crate) max_log2: u8,
    /// Requests with a PASID may ask for execute permission.
    pub(crate) exec: bool,
    /// Requests with a PASID may ask for privileged mode.
    pub(crate) privileged: bool,
}

/// Returns the PASIDs that the device may use.
pub(crate) fn pasid_info(dev: &IommuDevice) -> PasidInfo {
    // PCI_PASID_CTRL, include/uapi/linux/pci_regs.h.
    const EXEC: c_int = bindings::PCI_PASID_CTRL_EXEC as c_int;
    const PRIV: c_int = bindings::PCI_PASID_CTRL_PRIV as c_int;

    // SAFETY: An `IommuDevice` is a valid device, as `IommuDevice::new` requires.
    let max = unsafe { bindings::iommufd_rs_dev_max_pasids(device::as_raw(dev)) };
    let Some(max_log2) = max.checked_ilog2() else {
        return PasidInfo {
            max_log2: 0,
            exec: false,
            privileged: false,
        };
    };
    // SAFETY: An `IommuDevice` is a valid device, as `IommuDevice::new` requires.
    let status = unsafe { bindings::iommufd_rs_dev_pasid_status(device::as_raw(dev)) }.max(0);
    PasidInfo {
        max_log2: max_log2 as u8,
        exec: status & EXEC != 0,
        privileged: status & PRIV != 0,
    }
}
