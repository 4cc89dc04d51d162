// SPDX-License-Identifier: GPL-2.0-only

//! The files of the module's `ioas/` that are pure logic.

#[path = "../../../../ioas/few.rs"]
pub(crate) mod few;
#[path = "../../../../ioas/interval.rs"]
pub(crate) mod interval;
#[path = "../../../../ioas/place.rs"]
pub(crate) mod place;
#[path = "../../../../ioas/segments.rs"]
pub(crate) mod segments;
