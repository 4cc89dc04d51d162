// SPDX-License-Identifier: GPL-2.0-only

//! Formats of page tables that the generic page table code of the kernel implements.
//!
//! C header: `include/linux/generic_pt/iommu.h`.

use kernel::prelude::*;

use crate::ffi::bindings;

/// The size and the features of a page table.
#[derive(Clone, Copy)]
pub(crate) struct Geometry {
    /// The number of bits of an I/O virtual address.
    pub(crate) address_bits: u8,
    /// The number of bits of a physical address.
    pub(crate) output_bits: u8,
    /// The level of the top table. Level 0 has entries for the smallest pages.
    pub(crate) top_level: u32,
    /// The `PT_FEAT_*` numbers of the features to be used, a bit each.
    pub(crate) features: u32,
}

/// `iova_to_phys` of `struct iommu_domain_ops`.
pub(super) type IovaToPhys = unsafe extern "C" fn(
    *mut bindings::iommu_domain,
    bindings::dma_addr_t,
) -> bindings::phys_addr_t;

/// `read_and_clear_dirty` of `struct iommu_dirty_ops`.
pub(super) type ReadAndClearDirty = unsafe extern "C" fn(
    *mut bindings::iommu_domain,
    c_ulong,
    usize,
    c_ulong,
    *mut bindings::iommu_dirty_bitmap,
) -> c_int;

/// A format of page tables.
///
/// # Safety
///
/// `Table` must begin with a `struct pt_iommu`, and that with a `struct iommu_domain`. The
/// functions must be those that the generic page table code has for `Table`.
pub(crate) unsafe trait Format: 'static {
    /// `struct pt_iommu_<format>`.
    type Table;

    /// `pt_iommu_<format>_iova_to_phys()`.
    const IOVA_TO_PHYS: IovaToPhys;
    /// `pt_iommu_<format>_read_and_clear_dirty()`.
    const READ_AND_CLEAR_DIRTY: ReadAndClearDirty;

    /// Initialises a table: `pt_iommu_<format>_init()`. Returns 0 or an errno.
    ///
    /// # Safety
    ///
    /// `table` must be zero except for the fields of its `struct pt_iommu`, and must not move.
    unsafe fn init(table: *mut Self::Table, geometry: &Geometry) -> c_int;
}

/// The version 1 format of AMD's IOMMU with pages from 2 KiB on. No hardware has it: its pages can
/// be smaller than the CPU's, for tests.
pub(crate) struct Amdv1Mock;

const _: () = {
    assert!(core::mem::offset_of!(bindings::pt_iommu_amdv1, iommu) == 0);
    assert!(core::mem::offset_of!(bindings::pt_iommu, domain) == 0);
};

// SAFETY: The offsets are checked above, and the functions are those that the generic page table
// code has for the format of `pt_iommu_amdv1_mock_init`, whose table is a `struct pt_iommu_amdv1`.
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
        // SAFETY:
        // - By the safety requirements of this function the table is zero and does not move.
        // - The configuration is only read.
        unsafe { bindings::pt_iommu_amdv1_mock_init(table, &config, bindings::GFP_KERNEL) }
    }
}
