// SPDX-License-Identifier: GPL-2.0-only

//! A dma-buf of kernel memory that stands for device memory, and can be revoked.

use kernel::prelude::*;

use crate::kapi::{
    dma_buf::export,
    uapi::test::{
        DmabufGet,
        DmabufRevoke, //
    },
    units::{
        align_up,
        to_usize,
        PAGE_SIZE, //
    }, //
};

/// The largest number of pages of a dma-buf.
const MAX_PAGES: u64 = 512;

/// Makes a dma-buf and returns its descriptor. Returns `EINVAL` if the length is 0 or more than
/// [`MAX_PAGES`] pages, `ENOMEM`, and `EMFILE`.
pub(super) fn get(cmd: &DmabufGet) -> Result<u32> {
    let len = align_up(u64::from(cmd.length), PAGE_SIZE);
    let len = len.filter(|len| *len != 0 && *len <= PAGE_SIZE * MAX_PAGES);
    export::export(to_usize(len.ok_or(EINVAL)?), cmd.open_flags)
}

/// Revokes the memory of a dma-buf, or makes it available again.
pub(super) fn revoke(cmd: &DmabufRevoke) -> Result {
    export::revoke(cmd.dmabuf_fd, cmd.revoked != 0)
}
