// SPDX-License-Identifier: GPL-2.0-only

//! A stand-in for the kernel crate, for tests on the host.
//!
//! Names, signatures and semantics are those of Linux 7.3's `rust/kernel`, as far as the module's
//! pure logic uses them. Unlike in the kernel, allocations are counted and can be made to fail: see
//! [`alloc::fault`].

#![forbid(unsafe_code)]

pub mod alloc;
pub mod error;
pub mod rbtree;

/// The CPU's page size.
pub mod page {
    /// Bytes in a page.
    pub const PAGE_SIZE: usize = 4096;
}

/// The names that kernel code imports by default.
pub mod prelude {
    pub use crate::{
        alloc::{
            flags::*,
            KVVec,
            KVec,
            VVec, //
        },
        error::{
            code::*,
            Error,
            Result, //
        }, //
    };
    pub use core::{
        mem::{
            align_of,
            align_of_val,
            size_of,
            size_of_val, //
        },
        pin::Pin, //
    };
}
