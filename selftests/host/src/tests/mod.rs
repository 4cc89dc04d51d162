// SPDX-License-Identifier: GPL-2.0-only

//! The tests, one file for each file under test.

mod alignments;
mod allowed;
mod amd_vi;
mod behind;
mod builder;
mod chunks;
mod counts;
mod division;
mod interval;
mod iova_alloc;
mod iova_choice;
mod leaves;
mod membership;
mod memory;
mod mocks;
mod pieces;
mod random;
mod reserved;
mod room;
mod segments;
mod small;
mod small_areas;
mod smmu_v3;
mod unflushed;
mod units;
mod unpin;
mod vtd;
