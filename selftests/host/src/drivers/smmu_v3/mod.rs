// SPDX-License-Identifier: GPL-2.0-only

//! The policy of the native backend for SMMUv3.

#[path = "../../../../../drivers/smmu_v3/batch.rs"]
pub(crate) mod batch;
#[path = "../../../../../drivers/smmu_v3/command.rs"]
pub(crate) mod command;
#[path = "../../../../../drivers/smmu_v3/features.rs"]
pub(crate) mod features;
#[path = "../../../../../drivers/smmu_v3/merge.rs"]
pub(crate) mod merge;
#[path = "../../../../../drivers/smmu_v3/pending.rs"]
pub(crate) mod pending;
#[path = "../../../../../drivers/smmu_v3/ste.rs"]
pub(crate) mod ste;
