// SPDX-License-Identifier: GPL-2.0-only

//! A dma-buf of kernel memory that stands for device memory, and can be taken back.

use crate::kapi::dmabuf_export;
use crate::kapi::uapi_test::DmabufGet;
use crate::kapi::uapi_test::DmabufRevoke;
use crate::kapi::units::align_up;
use crate::kapi::units::to_usize;
use crate::kapi::units::PAGE_SIZE;
use kernel::prelude::*;

/// The most pages that one has.
const MAX_PAGES: u64 = 512;

/// Makes one and returns its descriptor. `EINVAL` for a length of 0 or too much, `ENOMEM`,
/// `EMFILE`.
pub(super) fn get(cmd: &DmabufGet) -> Result<u32> {
    let len = align_up(u64::from(cmd.length), PAGE_SIZE);
    let len = len.filter(|len| *len != 0 && *len <= PAGE_SIZE * MAX_PAGES);
    dmabuf_export::export(to_usize(len.ok_or(EINVAL)?), cmd.open_flags)
}

/// Takes one's memory back, or gives it again.
pub(super) fn revoke(cmd: &DmabufRevoke) -> Result {
    dmabuf_export::revoke(cmd.dmabuf_fd, cmd.revoked != 0)
}
