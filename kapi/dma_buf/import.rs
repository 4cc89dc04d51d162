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
    new_mutex,
    prelude::*,
    sync::{
        Mutex,
        MutexGuard, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::{
        mm::phys::PhysPiece,
        sync::killable::lock_killable,
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
        // SAFETY: By the type invariants there is a reference to the dma-buf, whose size does not
        // change once it is exported.
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
/// It is neither [`Copy`] nor [`Clone`]: a [`Loan`] has the only one, lends it to the importer by a
/// guard, and drops it when the memory is revoked.
///
/// # Invariants
///
/// The exporter has lent the `len` bytes from the physical address `start` to this module. They do
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
        // SAFETY:
        // - The bytes lie inside the memory, by the two checks above.
        // - The memory is lent as long as `self` is borrowed: it is borrowed from a guard of
        //   `Loan::inner`, under which `Loan::revoke` drops it.
        Some(unsafe { PhysPiece::new(self.start + offset, len, true) })
    }
}

/// What a user of the memory of a dma-buf records of it, such as where it has mapped the memory.
pub(crate) trait Importer: Send + Unpin + 'static {
    /// Unmaps the memory from all page tables. The exporter may reuse it when this returns. Called
    /// once, when the exporter revokes the memory or before the dma-buf is detached, with the
    /// reservation lock of the dma-buf and `Loan::inner` held.
    fn revoked(&mut self);
}

/// The memory of a dma-buf, and what the importer records of it.
///
/// The lock `Loan::inner` (rank 31) is taken inside the reservation lock of the dma-buf.
#[pin_data]
struct Loan<T> {
    #[pin]
    inner: Mutex<Loaned<T>>,
}

struct Loaned<T> {
    /// The memory, from when it was pinned until it is revoked.
    memory: Option<BufMemory>,
    importer: T,
}

impl<T: Importer> Loan<T> {
    /// Has the importer unmap the memory, and drops it.
    fn revoke(&self) {
        let mut loaned = self.inner.lock();
        let Loaned { memory, importer } = &mut *loaned;
        if memory.is_some() {
            importer.revoked();
            *memory = None;
        }
    }
}

/// The memory of a dma-buf, which is not revoked as long as this exists.
pub(crate) struct LoanGuard<'a, T>(MutexGuard<'a, Loaned<T>>);

impl<T: Importer> LoanGuard<'_, T> {
    /// Returns the memory, or `None` if it was revoked, and what the importer records of it.
    pub(crate) fn parts(&mut self) -> (Option<&BufMemory>, &mut T) {
        let Loaned { memory, importer } = &mut *self.0;
        (memory.as_ref(), importer)
    }
}

/// A pinned attachment to a dma-buf.
///
/// # Invariants
///
/// `raw` is an attachment to `buf`, is pinned, and has the address of `loan` for its private data.
pub(crate) struct Attachment<T: Importer> {
    raw: NonNull<bindings::dma_buf_attachment>,
    buf: DmaBuf,
    loan: Pin<KBox<Loan<T>>>,
}

// SAFETY: The dma-buf core locks what it changes of an attachment, and any task may detach one; the
// other fields are `Send`.
unsafe impl<T: Importer> Send for Attachment<T> {}
// SAFETY: A `&Attachment` gives access to `loan` only, which is `Sync`.
unsafe impl<T: Importer> Sync for Attachment<T> {}

impl<T: Importer> Attachment<T> {
    const OPS: bindings::dma_buf_attach_ops = bindings::dma_buf_attach_ops {
        allow_peer2peer: true,
        invalidate_mappings: Some(revoked::<T>),
    };

    /// Attaches a dma-buf and pins it. `importer` has recorded nothing yet.
    ///
    /// Returns `EOPNOTSUPP` if the exporter does not tell the address of the memory, `ENODEV` if it
    /// has revoked the memory, `EINVAL` if there is less memory than the size of the dma-buf says,
    /// and `ENOMEM`.
    pub(crate) fn new(buf: DmaBuf, importer: T) -> Result<Self> {
        let device = DEVICE.load(Ordering::Acquire);
        if device.is_null() {
            return Err(ENODEV);
        }
        let memory = None;
        let loan = KBox::pin_init(
            pin_init!(Loan {
                inner <- new_mutex!(Loaned { memory, importer }, "Loan::inner"),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let data: *const Loan<T> = &*loan;
        // SAFETY:
        // - `buf` is a reference to the dma-buf.
        // - The device outlives the attachment, as `set_device` requires.
        // - The operations are static.
        // - `data` does not move, and is dropped after the dma-buf has been detached: below, or by
        //   the drop of the result.
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
                // SAFETY: The attachment exists, is pinned, and the reservation lock is held.
                let memory = unsafe { memory_of(raw.as_ptr()) };
                result = memory.and_then(|memory| {
                    if memory.len < buf.size() {
                        return Err(EINVAL);
                    }
                    loan.inner.lock().memory = Some(memory);
                    Ok(())
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
        // INVARIANT: It was attached with `data` for its private data, and pinned.
        Ok(Self { raw, buf, loan })
    }

    /// Locks the memory and what the importer records of it.
    pub(crate) fn lock(&self) -> LoanGuard<'_, T> {
        LoanGuard(self.loan.inner.lock())
    }

    /// As [`Attachment::lock`]. Returns `EINTR` if the task is being killed.
    pub(crate) fn lock_killable(&self) -> Result<LoanGuard<'_, T>> {
        Ok(LoanGuard(lock_killable(&self.loan.inner)?))
    }
}

impl<T: Importer> Drop for Attachment<T> {
    fn drop(&mut self) {
        with_reservation(&self.buf, || {
            self.loan.revoke();
            // SAFETY: By the type invariants it is pinned, and the reservation lock is held.
            unsafe { bindings::iommufd_rs_dma_buf_unpin(self.raw.as_ptr()) };
        });
        // SAFETY: By the type invariants it is attached to `buf`, and it was unpinned above.
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
    // SAFETY: The caller guarantees that it is pinned, and holds the reservation lock.
    match unsafe { crate::kapi::dma_buf::export::phys(attach) } {
        Err(error) if error == EOPNOTSUPP => {}
        // SAFETY: The exporter has lent the memory until it revokes it.
        result => return result.map(|(start, len)| unsafe { BufMemory::new(start, len) }),
    }
    let mut phys = bindings::phys_vec::default();
    // SAFETY: The requirements on `attach` are the same, and `phys` can be written.
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
    // SAFETY: `Attachment::new` made the private data of a `Loan<T>`, which is dropped after the
    // dma-buf was detached; that takes the reservation lock, which the caller holds.
    let loan = unsafe { &*(*attach).importer_priv.cast::<Loan<T>>().cast_const() };
    loan.revoke();
}
