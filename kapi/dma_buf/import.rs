// SPDX-License-Identifier: GPL-2.0-only

//! Importing dma-bufs whose physical memory the exporter tells: device memory, above all.
//!
//! C header: `include/linux/dma-buf.h`. The exporter may take the memory back at any time; it says
//! so through [`Importer::revoked`].

use core::{
    ffi::c_void,
    ptr::NonNull,
    sync::atomic::{
        AtomicPtr,
        Ordering, //
    }, //
};

use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::Arc, //
};

use crate::ffi::bindings;

/// A counted reference to a dma-buf.
pub(crate) struct DmaBuf(NonNull<bindings::dma_buf>);

// SAFETY: A dma-buf may be used and put from any task.
unsafe impl Send for DmaBuf {}
// SAFETY: As above.
unsafe impl Sync for DmaBuf {}

impl DmaBuf {
    /// Looks up a descriptor of the caller: `None` where it is not a dma-buf's.
    pub(crate) fn get(fd: i32) -> Option<Self> {
        // SAFETY: It looks the descriptor up in the caller's table.
        let raw = from_err_ptr(unsafe { bindings::iommufd_rs_dma_buf_get(fd) }).ok()?;
        Some(Self(NonNull::new(raw)?))
    }

    /// How many bytes it has.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: The dma-buf is alive, and its size never changes.
        crate::kapi::units::to_u64(unsafe { (*self.0.as_ptr()).size })
    }
}

impl Drop for DmaBuf {
    fn drop(&mut self) {
        // SAFETY: The reference is ours to give back.
        unsafe { bindings::iommufd_rs_dma_buf_put(self.0.as_ptr()) };
    }
}

/// The device in whose name dma-bufs are imported: `/dev/iommu` itself.
static DEVICE: AtomicPtr<bindings::device> = AtomicPtr::new(core::ptr::null_mut());

/// Names the device, or nobody.
///
/// # Safety
///
/// The device stays until another is named, and until every [`Attachment`] is gone.
pub(crate) unsafe fn set_device(device: *mut bindings::device) {
    DEVICE.store(device, Ordering::Release);
}

/// Physical memory of a dma-buf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PhysRange {
    /// The first byte's address.
    pub(crate) start: u64,
    /// How many bytes.
    pub(crate) len: u64,
}

/// Who maps a dma-buf.
pub(crate) trait Importer: Send + Sync + 'static {
    /// The memory is gone: nothing may reach it when this returns. Called with the dma-buf's
    /// reservation lock held, perhaps more than once.
    fn revoked(&self);
}

/// A pinned attachment to a dma-buf.
///
/// # Invariants
///
/// `raw` is attached to `buf`, pinned, and has `importer` for its private data.
pub(crate) struct Attachment<T: Importer> {
    raw: NonNull<bindings::dma_buf_attachment>,
    buf: DmaBuf,
    importer: Arc<T>,
}

// SAFETY: The dma-buf core locks its attachments.
unsafe impl<T: Importer> Send for Attachment<T> {}
// SAFETY: As above.
unsafe impl<T: Importer> Sync for Attachment<T> {}

impl<T: Importer> Attachment<T> {
    const OPS: bindings::dma_buf_attach_ops = bindings::dma_buf_attach_ops {
        allow_peer2peer: true,
        invalidate_mappings: Some(revoked::<T>),
    };

    /// Attaches and pins a dma-buf, and tells `importer` through `mapped` where its memory is,
    /// under the reservation lock: a revocation comes after that. `EOPNOTSUPP` where the exporter
    /// does not tell, `ENODEV` where it has revoked the memory already, `ENOMEM`.
    pub(crate) fn new(
        buf: DmaBuf,
        importer: Arc<T>,
        mapped: impl FnOnce(&T, PhysRange) -> Result,
    ) -> Result<Self> {
        let device = DEVICE.load(Ordering::Acquire);
        if device.is_null() {
            return Err(ENODEV);
        }
        let data: *const T = Arc::as_ptr(&importer);
        // SAFETY: The dma-buf and the device are alive; the operations are static; the importer
        // lives as long as the attachment, which owns a reference.
        let raw = from_err_ptr(unsafe {
            bindings::iommufd_rs_dma_buf_attach(
                buf.0.as_ptr(),
                device,
                &Self::OPS,
                data.cast_mut().cast::<c_void>(),
            )
        })?;
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        let mut result = Err(EINVAL);
        let mut mapped = Some(mapped);
        with_reservation(&buf, || {
            // SAFETY: The attachment is new and the reservation lock is held.
            let pinned = to_result(unsafe { bindings::iommufd_rs_dma_buf_pin(raw.as_ptr()) });
            result = pinned.and_then(|()| {
                // SAFETY: As above.
                let told = unsafe { phys_of(raw.as_ptr()) };
                let known = told.and_then(|phys| match mapped.take() {
                    Some(mapped) => mapped(&importer, phys),
                    None => Err(EINVAL),
                });
                if known.is_err() {
                    // SAFETY: It was pinned above.
                    unsafe { bindings::iommufd_rs_dma_buf_unpin(raw.as_ptr()) };
                }
                known
            });
        });
        if let Err(error) = result {
            // SAFETY: It was attached above and is not pinned.
            unsafe { bindings::iommufd_rs_dma_buf_detach(buf.0.as_ptr(), raw.as_ptr()) };
            return Err(error);
        }
        // INVARIANT: Attached, pinned, and with the importer for private data.
        Ok(Self { raw, buf, importer })
    }

    /// Who maps it.
    pub(crate) fn importer(&self) -> &Arc<T> {
        &self.importer
    }
}

impl<T: Importer> Drop for Attachment<T> {
    fn drop(&mut self) {
        with_reservation(&self.buf, || {
            // SAFETY: By the invariant it is pinned; the reservation lock is held.
            unsafe { bindings::iommufd_rs_dma_buf_unpin(self.raw.as_ptr()) };
        });
        // SAFETY: By the invariant it is attached. No callback comes after this.
        unsafe { bindings::iommufd_rs_dma_buf_detach(self.buf.0.as_ptr(), self.raw.as_ptr()) };
    }
}

/// Asks the exporter where the memory is. `EOPNOTSUPP` where it does not tell, `ENODEV` where it
/// has revoked it.
///
/// # Safety
///
/// The attachment is alive, and the reservation lock is held.
unsafe fn phys_of(attach: *mut bindings::dma_buf_attachment) -> Result<PhysRange> {
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    // SAFETY: The caller's promise.
    match unsafe { crate::kapi::dma_buf::export::phys(attach) } {
        Err(error) if error == EOPNOTSUPP => {}
        result => return result,
    }
    let mut phys = bindings::phys_vec::default();
    // SAFETY: The caller's promise; `phys` is ours to write.
    to_result(unsafe { bindings::iommufd_rs_dma_buf_phys(attach, &mut phys) })?;
    Ok(PhysRange {
        start: phys.paddr,
        len: crate::kapi::units::to_u64(phys.len),
    })
}

/// Runs `f` with the reservation lock held.
fn with_reservation(buf: &DmaBuf, f: impl FnOnce()) {
    // SAFETY: The dma-buf is alive.
    unsafe { bindings::iommufd_rs_dma_buf_lock(buf.0.as_ptr()) };
    f();
    // SAFETY: Locked above.
    unsafe { bindings::iommufd_rs_dma_buf_unlock(buf.0.as_ptr()) };
}

/// # Safety
///
/// `attach` is an [`Attachment`] of a `T`, whose reservation lock is held.
unsafe extern "C" fn revoked<T: Importer>(attach: *mut bindings::dma_buf_attachment) {
    // SAFETY: The attachment's private data is a `T` that lives as long as the attachment.
    let importer = unsafe { &*(*attach).importer_priv.cast::<T>().cast_const() };
    importer.revoked();
}
