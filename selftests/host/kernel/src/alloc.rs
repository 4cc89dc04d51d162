// SPDX-License-Identifier: GPL-2.0-only

//! Memory: vectors whose growth may fail.

pub mod fault;
pub mod kvec;

pub use crate::alloc::kvec::{
    KVVec,
    KVec,
    VVec, //
};

/// The error of an allocation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

/// Allocation flags. The stand-in treats all of them alike.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(u32);

impl core::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl core::ops::BitAnd for Flags {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl core::ops::Not for Flags {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0)
    }
}

/// The flags by name.
pub mod flags {
    use super::Flags;

    /// May sleep.
    pub const GFP_KERNEL: Flags = Flags(1);
    /// May sleep; charged to the caller's memory cgroup.
    pub const GFP_KERNEL_ACCOUNT: Flags = Flags(2);
    /// May not sleep.
    pub const GFP_ATOMIC: Flags = Flags(4);
    /// May not sleep, and may fail sooner.
    pub const GFP_NOWAIT: Flags = Flags(8);
    /// The memory is zeroed.
    pub const __GFP_ZERO: Flags = Flags(16);
    /// No warning is logged when the allocation fails.
    pub const __GFP_NOWARN: Flags = Flags(32);
}
