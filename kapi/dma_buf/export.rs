// SPDX-License-Identifier: GPL-2.0-only

//! Exporting kernel memory as a dma-buf that can be taken back and given again.
//!
//! C header: `include/linux/dma-buf.h`.

use kernel::{
    error::from_err_ptr,
    module::this_module,
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        AtomicFlag, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::units::to_u64,
    LocalModule, //
};

/// The memory behind a dma-buf.
struct Exported {
    memory: KVec<u8>,
    /// Changes with the reservation lock held.
    revoked: AtomicFlag,
}

struct Ops(bindings::dma_buf_ops);

// SAFETY: Never written to.
unsafe impl Sync for Ops {}

static OPS: Ops = Ops(bindings::dma_buf_ops {
    map_dma_buf: Some(map),
    unmap_dma_buf: Some(unmap),
    release: Some(release),
    ..pin_init::zeroed()
});

/// The memory is told of, never mapped for an importer.
///
/// # Safety
///
/// As `map_dma_buf` of `struct dma_buf_ops`.
unsafe extern "C" fn map(
    _attach: *mut bindings::dma_buf_attachment,
    _direction: bindings::dma_data_direction,
) -> *mut bindings::sg_table {
    EOPNOTSUPP.to_ptr()
}

/// # Safety
///
/// As `unmap_dma_buf` of `struct dma_buf_ops`.
unsafe extern "C" fn unmap(
    _attach: *mut bindings::dma_buf_attachment,
    _table: *mut bindings::sg_table,
    _direction: bindings::dma_data_direction,
) {
}

/// # Safety
///
/// As `release` of `struct dma_buf_ops`, for a dma-buf of [`export`].
unsafe extern "C" fn release(buf: *mut bindings::dma_buf) {
    // SAFETY: `export` put it there, and the dma-buf is used by nobody any more.
    drop(unsafe { KBox::<Exported>::from_raw((*buf).priv_.cast()) });
}

/// The memory of a dma-buf, or `None` where it is not one of ours.
///
/// # Safety
///
/// `buf` is alive during `'a`.
unsafe fn exported<'a>(buf: *mut bindings::dma_buf) -> Option<&'a Exported> {
    // SAFETY: The caller's promise; a dma-buf with these operations has such data.
    unsafe { core::ptr::eq((*buf).ops, &OPS.0).then(|| &*(*buf).priv_.cast::<Exported>()) }
}

/// Exports `len` bytes of zeroes, and returns a descriptor of the caller's. `flags` are those of
/// the file. `ENOMEM`, `EMFILE`, `EINVAL` for unknown flags.
pub(crate) fn export(len: usize, flags: u32) -> Result<u32> {
    let exported = Exported {
        memory: KVec::from_elem(0, len, GFP_KERNEL)?,
        revoked: AtomicFlag::new(false),
    };
    let exported = KBox::into_raw(KBox::new(exported, GFP_KERNEL)?);
    // CAST: The same bits.
    let flags = flags as c_int;
    let info = bindings::dma_buf_export_info {
        exp_name: c"iommufd_rs".as_char_ptr(),
        owner: this_module::<LocalModule>().as_ptr(),
        ops: &OPS.0,
        size: len,
        flags,
        priv_: exported.cast(),
        ..Default::default()
    };
    // SAFETY: Everything in it lives as long as the dma-buf.
    let buf = match from_err_ptr(unsafe { bindings::dma_buf_export(&info) }) {
        Ok(buf) => buf,
        Err(error) => {
            // SAFETY: It came from `KBox::into_raw`, and no dma-buf has it.
            drop(unsafe { KBox::from_raw(exported) });
            return Err(error);
        }
    };
    // SAFETY: The descriptor takes over our reference to the new dma-buf.
    let fd = unsafe { bindings::dma_buf_fd(buf, flags) };
    u32::try_from(fd).map_err(|_| {
        // SAFETY: There is no descriptor, so the reference is still ours.
        unsafe { bindings::dma_buf_put(buf) };
        Error::from_errno(fd)
    })
}

/// Takes the memory of a dma-buf of the caller's back, or gives it again. Importers have let go
/// when this returns. `EBADF` or `EINVAL` where there is no such dma-buf, `EOPNOTSUPP` where it is
/// not one of ours.
pub(crate) fn revoke(fd: i32, revoked: bool) -> Result {
    // SAFETY: It looks the descriptor up in the caller's table.
    let buf = from_err_ptr(unsafe { bindings::dma_buf_get(fd) })?;
    // SAFETY: The reference that `dma_buf_get` returned is given back only after its use.
    unsafe {
        let result = exported(buf).ok_or(EOPNOTSUPP).map(|exported| {
            bindings::iommufd_rs_dma_buf_lock(buf);
            exported.revoked.store(revoked, Relaxed);
            bindings::dma_buf_invalidate_mappings(buf);
            bindings::iommufd_rs_dma_buf_unlock(buf);
        });
        bindings::dma_buf_put(buf);
        result
    }
}

/// Returns the physical address and the length in bytes of the memory behind an attachment, as
/// `vfio_pci_dma_buf_iommufd_map()` does. Returns `EOPNOTSUPP` if [`export`] did not make the
/// dma-buf, and `ENODEV` if the memory is revoked.
///
/// # Safety
///
/// `attach` must be an attachment to a dma-buf, and the caller must hold the reservation lock.
pub(super) unsafe fn phys(attach: *mut bindings::dma_buf_attachment) -> Result<(u64, u64)> {
    // SAFETY: By the safety requirements the dma-buf exists during the call.
    let exported = unsafe { exported((*attach).dmabuf) }.ok_or(EOPNOTSUPP)?;
    if exported.revoked.load(Relaxed) {
        return Err(ENODEV);
    }
    // SAFETY: The vector was allocated by kmalloc(), so the kernel maps it and it is contiguous.
    let start = unsafe { bindings::iommufd_rs_virt_to_phys(exported.memory.as_ptr().cast()) };
    Ok((start, to_u64(exported.memory.len())))
}
