// SPDX-License-Identifier: GPL-2.0-only

//! MSI doorbells that devices reach through the IOMMU, as those of an arm64 ITS.
//!
//! C headers: [`include/linux/msi.h`](srctree/include/linux/msi.h),
//! [`include/linux/iommu.h`](srctree/include/linux/iommu.h) (`iommu_dma_prepare_msi()`)

use kernel::prelude::*;

use crate::kapi::{
    mm::phys::PhysPiece,
    units::PAGE_SIZE, //
};

/// The page of a doorbell: a register of an interrupt controller to which devices write.
///
/// # Invariants
///
/// The value is the page-aligned physical address of a doorbell, which exists until the machine is
/// shut down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doorbell(u64);

impl Doorbell {
    /// Creates the doorbell at a physical address.
    ///
    /// # Safety
    ///
    /// `page` must be the page-aligned address of a doorbell, as an irqchip driver has told it.
    pub(crate) unsafe fn from_phys(page: u64) -> Self {
        // INVARIANT: By the safety requirements. Interrupt controllers are not removed.
        Self(page)
    }

    /// Returns the page, to be mapped.
    pub(crate) fn piece(self) -> PhysPiece<'static> {
        // SAFETY: By the type invariants the doorbell exists until the machine is shut down, and is
        // one page that devices may write to.
        unsafe { PhysPiece::new(self.0, PAGE_SIZE, true) }
    }
}

/// The I/O virtual addresses at which the devices of a group find doorbells.
pub(crate) trait Doorbells: Send + Sync {
    /// Makes a doorbell reachable for the devices of the group, and returns the I/O virtual address
    /// of its page. A doorbell keeps its address, whatever the group is attached to.
    ///
    /// Returns `EOVERFLOW` if the IOMMU driver has reserved too few addresses for doorbells, and
    /// `ENOMEM`.
    fn place(&self, doorbell: Doorbell) -> Result<u64>;
}
