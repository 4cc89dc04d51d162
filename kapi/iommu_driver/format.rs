// SPDX-License-Identifier: GPL-2.0-only

//! Formats of page tables that the kernel's generic page table code knows.

use kernel::prelude::*;

use crate::ffi::bindings;

/// How large a table's addresses are, and where it begins.
#[derive(Clone, Copy)]
pub(crate) struct Geometry {
    /// Bits of an I/O virtual address.
    pub(crate) address_bits: u8,
    /// Bits of a physical address.
    pub(crate) output_bits: u8,
    /// The level of the first table, 0 being that of the smallest page.
    pub(crate) top_level: u32,
    /// `1 << PT_FEAT_*` for each feature that the hardware has and the table shall use.
    pub(crate) features: u32,
}

pub(super) type IovaToPhys = unsafe extern "C" fn(
    *mut bindings::iommu_domain,
    bindings::dma_addr_t,
) -> bindings::phys_addr_t;
pub(super) type ReadAndClearDirty = unsafe extern "C" fn(
    *mut bindings::iommu_domain,
    c_ulong,
    usize,
    c_ulong,
    *mut bindings::iommu_dirty_bitmap,
) -> c_int;

/// A format.
///
/// # Safety
///
/// `Table` begins with a `struct pt_iommu`; all zeroes are what `init` expects. The functions are
/// those that the generic code has for `Table`.
pub(crate) unsafe trait Format: 'static {
    /// `struct pt_iommu_<format>`.
    type Table;

    /// `pt_iommu_<format>_iova_to_phys()`.
    const IOVA_TO_PHYS: IovaToPhys;
    /// `pt_iommu_<format>_read_and_clear_dirty()`.
    const READ_AND_CLEAR_DIRTY: ReadAndClearDirty;

    /// `pt_iommu_<format>_init()`.
    ///
    /// # Safety
    ///
    /// `table` is zero but for what is common to all formats, and stays in place as long as it is
    /// used.
    unsafe fn init(table: *mut Self::Table, geometry: &Geometry) -> c_int;
}

/// AMD's version 1 format with pages from 2 KiB, which no hardware has: smaller than the CPU's, for
/// testing.
pub(crate) struct Amdv1Mock;

const _: () = {
    assert!(core::mem::offset_of!(bindings::pt_iommu_amdv1, iommu) == 0);
    assert!(core::mem::offset_of!(bindings::pt_iommu, domain) == 0);
};

// SAFETY: Checked above; the functions' signatures are those of the C header.
unsafe impl Format for Amdv1Mock {
    type Table = bindings::pt_iommu_amdv1;

    const IOVA_TO_PHYS: IovaToPhys = bindings::pt_iommu_amdv1_mock_iova_to_phys;
    const READ_AND_CLEAR_DIRTY: ReadAndClearDirty =
        bindings::pt_iommu_amdv1_mock_read_and_clear_dirty;

    unsafe fn init(table: *mut Self::Table, geometry: &Geometry) -> c_int {
        let config = bindings::pt_iommu_amdv1_cfg {
            common: bindings::pt_iommu_cfg {
                features: geometry.features,
                hw_max_vasz_lg2: geometry.address_bits,
                hw_max_oasz_lg2: geometry.output_bits,
            },
            starting_level: geometry.top_level,
        };
        // SAFETY: The caller's promise; the configuration is read only during the call.
        unsafe { bindings::pt_iommu_amdv1_mock_init(table, &config, bindings::GFP_KERNEL) }
    }
}
