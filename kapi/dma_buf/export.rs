// SPDX-License-Identifier: GPL-2.0-only

//! Exporting of kernel memory as a dma-buf that can be revoked and restored.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

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
    /// Changed with the reservation lock of the dma-buf held.
    revoked: AtomicFlag,
}

struct Ops(bindings::dma_buf_ops);

// SAFETY: The operations are never written to.
unsafe impl Sync for Ops {}

static OPS: Ops = Ops(bindings::dma_buf_ops {
    map_dma_buf: Some(map),
    unmap_dma_buf: Some(unmap),
    release: Some(release),
    ..pin_init::zeroed()
});

/// Fails: importers are told the address of the memory, it is not mapped for them.
///
/// # Safety
///
/// As for `map_dma_buf` of `struct dma_buf_ops`.
unsafe extern "C" fn map(
    _attach: *mut bindings::dma_buf_attachment,
    _direction: bindings::dma_data_direction,
) -> *mut bindings::sg_table {
    EOPNOTSUPP.to_ptr()
}

/// # Safety
///
/// As for `unmap_dma_buf` of `struct dma_buf_ops`.
unsafe extern "C" fn unmap(
    _attach: *mut bindings::dma_buf_attachment,
    _table: *mut bindings::sg_table,
    _direction: bindings::dma_data_direction,
) {
}

/// # Safety
///
/// As for `release` of `struct dma_buf_ops`. [`export`] must have made the dma-buf.
unsafe extern "C" fn release(buf: *mut bindings::dma_buf) {
    // SAFETY:
    // - `export` stored what `KBox::into_raw` returned.
    // - The dma-buf has no user any more.
    drop(unsafe { KBox::<Exported>::from_raw((*buf).priv_.cast()) });
}

/// Returns the memory of a dma-buf, or `None` if [`export`] did not make it.
///
/// # Safety
///
/// The dma-buf must exist during `'a`.
unsafe fn exported<'a>(buf: *mut bindings::dma_buf) -> Option<&'a Exported> {
    // SAFETY:
    // - The dma-buf exists during `'a`.
    // - `export` makes all dma-bufs with these operations, and stores an `Exported`.
    unsafe { core::ptr::eq((*buf).ops, &OPS.0).then(|| &*(*buf).priv_.cast::<Exported>()) }
}

/// Exports `len` zeroed bytes, and returns a descriptor of the current process. `flags` are those
/// of the file.
///
/// Returns `ENOMEM`, `EMFILE` if the process has no descriptor left, and `EINVAL` for unknown
/// flags.
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
    // SAFETY:
    // - Name, module and operations are static.
    // - The data is freed by `release`.
    let buf = match from_err_ptr(unsafe { bindings::dma_buf_export(&info) }) {
        Ok(buf) => buf,
        Err(error) => {
            // SAFETY: It came from `KBox::into_raw`, and there is no dma-buf that owns it.
            drop(unsafe { KBox::from_raw(exported) });
            return Err(error);
        }
    };
    // SAFETY: `buf` is a reference to the new dma-buf, which passes to the descriptor.
    let fd = unsafe { bindings::dma_buf_fd(buf, flags) };
    u32::try_from(fd).map_err(|_| {
        // SAFETY: There is no descriptor, so the reference was not passed on.
        unsafe { bindings::dma_buf_put(buf) };
        Error::from_errno(fd)
    })
}

/// Revokes or restores the memory of a dma-buf. Importers do not use the memory any more when this
/// returns.
///
/// Returns `EBADF` or `EINVAL` if `fd` is not a descriptor of a dma-buf, and `EOPNOTSUPP` if
/// [`export`] did not make it.
pub(crate) fn revoke(fd: i32, revoked: bool) -> Result {
    // SAFETY: The function accepts any number.
    let buf = from_err_ptr(unsafe { bindings::dma_buf_get(fd) })?;
    // SAFETY: dma_buf_get() has counted a reference for us, which is put below.
    let exported = unsafe { exported(buf) }.ok_or(EOPNOTSUPP);
    let result = exported.map(|exported| {
        // SAFETY:
        // - There is a reference to the dma-buf.
        // - Its reservation lock is held where the second function requires that.
        unsafe {
            bindings::iommufd_rs_dma_buf_lock(buf);
            exported.revoked.store(revoked, Relaxed);
            bindings::dma_buf_invalidate_mappings(buf);
            bindings::iommufd_rs_dma_buf_unlock(buf);
        }
    });
    // SAFETY: The reference was counted above, and is not used any more.
    unsafe { bindings::dma_buf_put(buf) };
    result
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
