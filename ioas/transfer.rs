// SPDX-License-Identifier: GPL-2.0-only

//! Copies of bytes between the kernel and the memory of an address space.

use kernel::prelude::*;

use crate::kapi::mm::pin::Extent;

/// The bytes that are copied, and the direction.
pub(crate) enum Transfer<'a> {
    /// From the address space.
    Read(&'a mut [u8]),
    /// To the address space.
    Write(&'a [u8]),
}

impl Transfer<'_> {
    /// Returns true if memory of the address space is written.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self, Self::Write(_))
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Read(data) => data.len(),
            Self::Write(data) => data.len(),
        }
    }

    /// Copies the bytes, which lie in one page, from or to byte `offset` of the extent.
    pub(super) fn copy(self, extent: &Extent, offset: u64) -> Result {
        match self {
            Self::Read(data) => extent.read(offset, data),
            Self::Write(data) => extent.write(offset, data),
        }
    }

    /// Returns the `len` bytes that follow the first `skip` bytes.
    pub(crate) fn part(&mut self, skip: usize, len: usize) -> Option<Transfer<'_>> {
        let end = skip.checked_add(len)?;
        Some(match self {
            Self::Read(data) => Transfer::Read(data.get_mut(skip..end)?),
            Self::Write(data) => Transfer::Write(data.get(skip..end)?),
        })
    }
}
