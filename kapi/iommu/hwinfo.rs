// SPDX-License-Identifier: GPL-2.0-only

//! What an IOMMU driver tells about the hardware behind a device.
//!
//! C header: `include/linux/iommu.h` (`struct iommu_ops`, `hw_info`).

use core::ptr::NonNull;

use kernel::{
    device::Device,
    error::from_err_ptr,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::iommu::device, //
};

/// A driver's description of its hardware: a struct of the uAPI and its type.
pub(crate) struct HwInfo {
    /// NULL where the driver has nothing to say.
    data: Option<NonNull<u8>>,
    len: usize,
    kind: u32,
}

impl HwInfo {
    /// Asks the device's driver for data of type `wanted` (`enum iommu_hw_info_type`).
    /// `EOPNOTSUPP` where it has none of that type, `ENODEV` without a driver, `ENOMEM`.
    pub(crate) fn of(dev: &Device, wanted: u32) -> Result<Self> {
        let Some(hw_info) = device::iommu_ops(dev)?.hw_info else {
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
        Ok(Self {
            data: NonNull::new(data.cast()),
            len: len as usize,
            kind,
        })
    }

    /// The struct's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self.data {
            // SAFETY: The driver allocated `len` bytes and filled them.
            Some(data) => unsafe { core::slice::from_raw_parts(data.as_ptr(), self.len) },
            None => &[],
        }
    }

    /// Which struct it is (`enum iommu_hw_info_type`).
    pub(crate) fn kind(&self) -> u32 {
        self.kind
    }
}

impl Drop for HwInfo {
    fn drop(&mut self) {
        if let Some(data) = self.data {
            // SAFETY: The driver allocated it with kmalloc for us to free.
            unsafe { bindings::kfree(data.as_ptr().cast()) };
        }
    }
}

/// What PASIDs a device may use.
pub(crate) struct PasidInfo {
    /// log2 of how many, 0 for none.
    pub(crate) max_log2: u8,
    /// They may carry execute permission.
    pub(crate) exec: bool,
    /// They may carry privileged mode.
    pub(crate) privileged: bool,
}

/// What PASIDs the device may use.
pub(crate) fn pasid_info(dev: &Device) -> PasidInfo {
    // PCI_PASID_CTRL, include/uapi/linux/pci_regs.h.
    const EXEC: c_int = bindings::PCI_PASID_CTRL_EXEC as c_int;
    const PRIV: c_int = bindings::PCI_PASID_CTRL_PRIV as c_int;

    // SAFETY: The device is alive.
    let max = unsafe { bindings::iommufd_rs_dev_max_pasids(device::as_raw(dev)) };
    let Some(max_log2) = max.checked_ilog2() else {
        return PasidInfo {
            max_log2: 0,
            exec: false,
            privileged: false,
        };
    };
    // SAFETY: The device is alive.
    let status = unsafe { bindings::iommufd_rs_dev_pasid_status(device::as_raw(dev)) }.max(0);
    PasidInfo {
        max_log2: max_log2 as u8,
        exec: status & EXEC != 0,
        privileged: status & PRIV != 0,
    }
}
