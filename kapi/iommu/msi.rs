// SPDX-License-Identifier: GPL-2.0-only

//! MSI doorbells that devices reach through the IOMMU, as those of an arm64 ITS.
//!
//! C headers: `include/linux/msi.h`, `include/linux/iommu.h` (`iommu_dma_prepare_msi()`).

use kernel::prelude::*;

/// Where a group's devices find doorbells.
pub(crate) trait Doorbells: Send + Sync {
    /// Makes a doorbell reachable for the devices of the group, and tells the address in I/O
    /// virtual memory of its page; `page` is the physical one. From now on the same doorbell has
    /// the same address, whatever the group is attached to. `EOVERFLOW` where the IOMMU's driver
    /// has set aside too few addresses, `ENOMEM`.
    fn place(&self, page: u64) -> Result<u64>;
}
