// SPDX-License-Identifier: GPL-2.0-only

//! What the module's pure logic uses of its `kapi/iommu/`.

pub(crate) mod invalidate;
