// SPDX-License-Identifier: GPL-2.0-only

//! Importing of dma-bufs whose exporter tells the physical address of the memory.
//!
//! The memory is device memory, as a rule. The exporter may revoke it at any time, of which it
//! informs the importer by [`Importer::revoked`].
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

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

use crate::{
    ffi::bindings,
    kapi::{
        mm::phys::PhysPiece,
        units::to_u64, //
    }, //
};

/// A counted reference to a dma-buf.
///
/// # Invariants
///
/// The reference is counted.
pub(crate) struct DmaBuf(NonNull<bindings::dma_buf>);

// SAFETY: Any task may use a dma-buf and put a reference to it.
unsafe impl Send for DmaBuf {}
// SAFETY: Any task may use a dma-buf.
unsafe impl Sync for DmaBuf {}

impl DmaBuf {
    /// Returns the dma-buf of a descriptor of the current process, or `None` if the descriptor is
    /// not that of a dma-buf.
    pub(crate) fn get(fd: i32) -> Option<Self> {
        // SAFETY: The function accepts any number.
        let raw = from_err_ptr(unsafe { bindings::iommufd_rs_dma_buf_get(fd) }).ok()?;
        // INVARIANT: dma_buf_get() has counted a reference for us.
        Some(Self(NonNull::new(raw)?))
    }

    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: By the type invariants there is a reference to the dma-buf. Its size does not
        // change.
        to_u64(unsafe { (*self.0.as_ptr()).size })
    }
}

impl Drop for DmaBuf {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the reference is counted, and it is not used any more.
        unsafe { bindings::iommufd_rs_dma_buf_put(self.0.as_ptr()) };
    }
}

/// The device on whose behalf dma-bufs are imported: that of `/dev/iommu`.
static DEVICE: AtomicPtr<bindings::device> = AtomicPtr::new(core::ptr::null_mut());

/// Sets the device on whose behalf dma-bufs are imported.
///
/// # Safety
///
/// `device` must be null, or a device that exists until another has been set and each
/// [`Attachment`] has been dropped.
pub(crate) unsafe fn set_device(device: *mut bindings::device) {
    DEVICE.store(device, Ordering::Release);
}

/// The physical memory of a dma-buf.
///
/// It is neither [`Copy`] nor [`Clone`]: the importer has the only one, and drops it when the
/// memory is revoked.
///
/// # Invariants
///
/// The exporter has lent the `len` bytes from the physical address `start` to the importer. They do
/// not wrap.
pub(crate) struct BufMemory {
    start: u64,
    len: u64,
}

impl BufMemory {
    /// # Safety
    ///
    /// The caller must ensure the type's invariants.
    pub(super) unsafe fn new(start: u64, len: u64) -> Self {
        // INVARIANT: By the safety requirements.
        Self { start, len }
    }

    /// Returns `len` bytes of the memory from byte `offset`, or as many as there are. Returns
    /// `None` if that is no byte.
    pub(crate) fn part(&self, offset: u64, len: u64) -> Option<PhysPiece<'_>> {
        let len = len.min(self.len.checked_sub(offset)?);
        if len == 0 {
            return None;
        }
        // SAFETY: The bytes lie inside the memory, and there is at least one. The memory is lent as
        // long as `self` is borrowed, since the importer drops `self` when it is revoked.
        Some(unsafe { PhysPiece::new(self.start + offset, len, true) })
    }
}

/// A user of the memory of a dma-buf.
pub(crate) trait Importer: Send + Sync + 'static {
    /// Takes the memory. Called once, with the reservation lock of the dma-buf held. An error makes
    /// [`Attachment::new`] fail.
    fn attached(&self, memory: BufMemory) -> Result;

    /// Drops the memory, after it has been unmapped from all page tables. The exporter may reuse it
    /// when this returns. Called when the exporter revokes the memory, maybe more than once, and
    /// before the dma-buf is detached, each time with its reservation lock held.
    fn revoked(&self);
}

/// A pinned attachment to a dma-buf.
///
/// # Invariants
///
/// `raw` is an attachment to `buf`, is pinned, and has `importer` for its private data.
pub(crate) struct Attachment<T: Importer> {
    raw: NonNull<bindings::dma_buf_attachment>,
    buf: DmaBuf,
    importer: Arc<T>,
}

// SAFETY: The dma-buf core locks attachments, and any task may detach one. `T` is `Send` and
// `Sync`.
unsafe impl<T: Importer> Send for Attachment<T> {}
// SAFETY: The dma-buf core locks attachments. `T` is `Send` and `Sync`.
unsafe impl<T: Importer> Sync for Attachment<T> {}

impl<T: Importer> Attachment<T> {
    const OPS: bindings::dma_buf_attach_ops = bindings::dma_buf_attach_ops {
        allow_peer2peer: true,
        invalidate_mappings: Some(revoked::<T>),
    };

    /// Attaches a dma-buf, pins it, and hands its memory to `importer`, in this order and before
    /// the exporter can revoke it.
    ///
    /// Returns `EOPNOTSUPP` if the exporter does not tell the address of the memory, `ENODEV` if it
    /// has revoked the memory, `EINVAL` if there is less memory than the size of the dma-buf says,
    /// `ENOMEM`, or the error of [`Importer::attached`].
    pub(crate) fn new(buf: DmaBuf, importer: Arc<T>) -> Result<Self> {
        let device = DEVICE.load(Ordering::Acquire);
        if device.is_null() {
            return Err(ENODEV);
        }
        let data: *const T = Arc::as_ptr(&importer);
        // SAFETY: `buf` is a reference to the dma-buf, and `set_device` was promised that the
        // device outlives the attachment. The operations are static. The attachment owns a
        // reference to the importer.
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
        with_reservation(&buf, || {
            // SAFETY: The attachment exists, and the reservation lock is held.
            result = to_result(unsafe { bindings::iommufd_rs_dma_buf_pin(raw.as_ptr()) });
            if result.is_ok() {
                // SAFETY: The attachment exists, and the reservation lock is held.
                let memory = unsafe { memory_of(raw.as_ptr()) };
                result = memory.and_then(|memory| {
                    if memory.len < buf.size() {
                        return Err(EINVAL);
                    }
                    importer.attached(memory)
                });
                if result.is_err() {
                    // SAFETY: The attachment was pinned above.
                    unsafe { bindings::iommufd_rs_dma_buf_unpin(raw.as_ptr()) };
                }
            }
        });
        if let Err(error) = result {
            // SAFETY: The attachment exists and is not pinned.
            unsafe { bindings::iommufd_rs_dma_buf_detach(buf.0.as_ptr(), raw.as_ptr()) };
            return Err(error);
        }
        // INVARIANT: It was attached with `importer` for its private data, and pinned.
        Ok(Self { raw, buf, importer })
    }

    /// Returns the importer.
    pub(crate) fn importer(&self) -> &Arc<T> {
        &self.importer
    }
}

impl<T: Importer> Drop for Attachment<T> {
    fn drop(&mut self) {
        with_reservation(&self.buf, || {
            // What is left of the memory must not be used after this.
            self.importer.revoked();
            // SAFETY: By the type invariants it is pinned. The reservation lock is held.
            unsafe { bindings::iommufd_rs_dma_buf_unpin(self.raw.as_ptr()) };
        });
        // SAFETY: By the type invariants it is attached to `buf`, and it is not pinned any more.
        // The dma-buf core does not call `revoked` after this.
        unsafe { bindings::iommufd_rs_dma_buf_detach(self.buf.0.as_ptr(), self.raw.as_ptr()) };
    }
}

/// Asks the exporter for the memory of a dma-buf. Returns `EOPNOTSUPP` if it does not tell, and
/// `ENODEV` if it has revoked the memory.
///
/// # Safety
///
/// `attach` must be an attachment that is pinned, and the caller must hold the reservation lock.
unsafe fn memory_of(attach: *mut bindings::dma_buf_attachment) -> Result<BufMemory> {
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    // SAFETY: The requirements are the same.
    match unsafe { crate::kapi::dma_buf::export::phys(attach) } {
        Err(error) if error == EOPNOTSUPP => {}
        // SAFETY: The exporter has lent the memory until it revokes it.
        result => return result.map(|(start, len)| unsafe { BufMemory::new(start, len) }),
    }
    let mut phys = bindings::phys_vec::default();
    // SAFETY: The requirements are the same. `phys` can be written.
    to_result(unsafe { bindings::iommufd_rs_dma_buf_phys(attach, &mut phys) })?;
    // SAFETY: The exporter has lent the memory until it revokes it.
    Ok(unsafe { BufMemory::new(phys.paddr, to_u64(phys.len)) })
}

/// Runs `f` with the reservation lock of the dma-buf held.
fn with_reservation(buf: &DmaBuf, f: impl FnOnce()) {
    // SAFETY: `buf` is a reference to the dma-buf.
    unsafe { bindings::iommufd_rs_dma_buf_lock(buf.0.as_ptr()) };
    f();
    // SAFETY: The lock was acquired above.
    unsafe { bindings::iommufd_rs_dma_buf_unlock(buf.0.as_ptr()) };
}

/// # Safety
///
/// `attach` must be that of an [`Attachment`] with an importer `T`. The caller must hold the
/// reservation lock.
unsafe extern "C" fn revoked<T: Importer>(attach: *mut bindings::dma_buf_attachment) {
    // SAFETY: `Attachment::new` made the private data of an `Arc<T>` that is dropped after the
    // dma-buf has been detached.
    let importer = unsafe { &*(*attach).importer_priv.cast::<T>().cast_const() };
    importer.revoked();
}
