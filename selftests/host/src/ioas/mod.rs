// SPDX-License-Identifier: GPL-2.0-only

//! The files of the module's `ioas/` that are pure logic.

#[path = "../../../../ioas/alignments.rs"]
pub(crate) mod alignments;
#[path = "../../../../ioas/allowed.rs"]
pub(crate) mod allowed;
#[path = "../../../../ioas/behind.rs"]
pub(crate) mod behind;
#[path = "../../../../ioas/builder.rs"]
pub(crate) mod builder;
#[path = "../../../../ioas/division.rs"]
pub(crate) mod division;
#[path = "../../../../ioas/extents.rs"]
pub(crate) mod extents;
#[path = "../../../../ioas/interval.rs"]
pub(crate) mod interval;
#[path = "../../../../ioas/iova_alloc.rs"]
pub(crate) mod iova_alloc;
#[path = "../../../../ioas/leaves.rs"]
pub(crate) mod leaves;
#[path = "../../../../ioas/membership.rs"]
pub(crate) mod membership;
#[path = "../../../../ioas/reserved.rs"]
pub(crate) mod reserved;
#[path = "../../../../ioas/room.rs"]
pub(crate) mod room;
#[path = "../../../../ioas/runs.rs"]
pub(crate) mod runs;
#[path = "../../../../ioas/segments.rs"]
pub(crate) mod segments;
#[path = "../../../../ioas/tally.rs"]
pub(crate) mod tally;
