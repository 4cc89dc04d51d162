// SPDX-License-Identifier: GPL-2.0-only

//! The operations of paging domains: `struct iommu_domain_ops` and `struct iommu_dirty_ops`.
//!
//! On kernels with debug assertions a domain also watches whether what is unmapped is flushed, and whether
//! its memory is pinned until then. For that it has operations of its own instead of those of its format
//! (`struct pt_iommu_ops`), by which the core unmaps.

use core::ops::Deref;

use kernel::{
    current,
    error::{
        from_result,
        to_result, //
    },
    new_spinlock,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::{
        bug::warn_on_once,
        iommu_driver::{
            device::{
                change_faulting,
                data_of, //
            },
            driver::{
                Paging,
                PagingDomain, //
            },
            format::{
                Format,
                Geometry, //
            },
            unflushed::{
                Mistake,
                Page,
                Unflushed, //
            }, //
        },
        sync::rwsem::new_rwsem,
        units::{
            to_u64,
            to_usize,
            IovaRange, //
        }, //
    }, //
};

// SAFETY: The IOMMU core and the generic page table code lock what they change, and `T` is `Send`.
unsafe impl<T: Paging> Send for PagingDomain<T> {}
// SAFETY: The IOMMU core and the generic page table code lock what they change, and `T` is `Sync`.
unsafe impl<T: Paging> Sync for PagingDomain<T> {}

impl<T: Paging> PagingDomain<T> {
    const OPS: bindings::iommu_domain_ops = bindings::iommu_domain_ops {
        attach_dev: Some(attach_dev::<T>),
        set_dev_pasid: Some(set_dev_pasid::<T>),
        iova_to_phys: Some(T::Format::IOVA_TO_PHYS),
        iotlb_sync: Some(iotlb_sync::<T>),
        free: Some(free::<T>),
        ..pin_init::zeroed()
    };

    const DIRTY_OPS: bindings::iommu_dirty_ops = bindings::iommu_dirty_ops {
        set_dirty_tracking: Some(set_dirty_tracking::<T>),
        read_and_clear_dirty: Some(T::Format::READ_AND_CLEAR_DIRTY),
    };

    /// Allocates page tables that map nothing. `dirty` says whether they can record which pages are
    /// written to. Returns `ENOMEM` if there is no memory, or `EINVAL` for a geometry that the
    /// format does not have.
    pub(crate) fn new(data: T, geometry: &Geometry, dirty: bool) -> Result<Pin<KBox<Self>>> {
        let memory = KBox::<Self>::new_uninit(GFP_KERNEL)?;
        let raw: *mut Self = KBox::into_raw(memory).cast();
        let walks = new_rwsem!((), "PagingDomain::walks");
        let unflushed = new_spinlock!(Unflushed::new(), "Watch::unflushed");
        // SAFETY: Nothing else refers to the memory, which does not move, and zero is valid for what of the
        // table `init` does not set, and for operations.
        let table = unsafe {
            raw.write_bytes(0, 1);
            (&raw mut (*raw).data).write(data);
            pin_init::raw_init(&raw mut (*raw).walks, walks);
            pin_init::raw_init(&raw mut (*raw).watch.unflushed, unflushed);
            &mut *raw.cast::<bindings::pt_iommu>()
        };
        table.nid = bindings::NUMA_NO_NODE;
        table.domain.type_ = bindings::IOMMU_DOMAIN_UNMANAGED;
        table.domain.ops = &Self::OPS;
        if dirty {
            table.domain.dirty_ops = &Self::DIRTY_OPS;
        }
        // SAFETY: Only fields that all formats have are set, and the memory does not move.
        let result = to_result(unsafe { T::Format::init(raw.cast(), geometry) });
        if cfg!(debug_assertions) && result.is_ok() {
            // SAFETY: `init` has initialised the table, and nothing else refers to it.
            unsafe { Self::watch(raw) };
        }
        // INVARIANT: `init` has initialised the table, or has left its operations zero.
        // SAFETY: `raw` came from `KBox::into_raw`, and every field was set.
        let domain = unsafe { Pin::new_unchecked(KBox::from_raw(raw)) };
        result.map(|()| domain)
    }

    /// Has the core unmap by [`unmap_range`].
    ///
    /// # Safety
    ///
    /// [`Format::init`] must have initialised the table, and nothing else may refer to the domain.
    unsafe fn watch(raw: *mut Self) {
        let table: *mut bindings::pt_iommu = raw.cast();
        // SAFETY: By the safety requirements of this function the table has operations, which are static, and
        // both can be changed.
        unsafe {
            (*raw).watch.format_ops = (*table).ops.as_ref();
            if let Some(ops) = (*raw).watch.format_ops {
                (*raw).watch.ops = bindings::pt_iommu_ops {
                    unmap_range: Some(unmap_range::<T>),
                    ..*ops
                };
                (*table).ops = &raw const (*raw).watch.ops;
            }
        }
    }

    /// Records that the caller has unmapped `range`, whose first page is `page`. `begins` says that the
    /// caller has flushed what it unmapped before.
    fn note_unmapped(&self, range: IovaRange, page: Page, begins: bool) {
        let task = current!().pid();
        let result = self
            .watch
            .unflushed
            .lock()
            .unmapped(task, range, page, begins);
        warn_on_once!(result == Err(Mistake::NotFlushed));
        warn_on_once!(result == Err(Mistake::UnpinnedBefore));
    }

    /// Records that the caller flushes `range`.
    fn note_flushed(&self, range: IovaRange) {
        let result = self.watch.unflushed.lock().flushed(current!().pid(), range);
        warn_on_once!(result == Err(Mistake::PartFlushed));
        if let Ok(Some(phys)) = result {
            // A device could reach a page that was unpinned, and may be somebody else's.
            // SAFETY: The function accepts any address.
            warn_on_once!(!unsafe { bindings::iommufd_rs_phys_is_pinned(phys) });
        }
    }

    /// Limits the I/O virtual addresses that can be mapped.
    pub(crate) fn limit_aperture(self: Pin<&mut Self>, range: IovaRange) {
        // SAFETY: `self` is the only reference to the domain, as it is mutable.
        let geometry = unsafe { &mut (*self.raw()).geometry };
        geometry.aperture_start = range.start();
        geometry.aperture_end = range.last();
    }

    /// Sets the page sizes that the domain reports, in bytes, a bit each.
    pub(crate) fn set_page_sizes(self: Pin<&mut Self>, sizes: u64) {
        // SAFETY: `self` is the only reference to the domain, as it is mutable.
        unsafe { (*self.raw()).pgsize_bitmap = to_usize(sizes) };
    }

    /// Returns whether the page tables can record which pages are written to.
    pub(crate) fn has_dirty(&self) -> bool {
        // SAFETY: The domain is valid, and `new` alone writes the field.
        unsafe { !(*self.raw()).dirty_ops.is_null() }
    }

    /// Returns the physical address that `iova` is mapped to, or 0 if it is not mapped. While others map
    /// or unmap there, it may be that from before or after.
    pub(crate) fn phys(&self, iova: u64) -> u64 {
        let _walk = self.walks.read();
        // SAFETY:
        // - By the type invariant the table is initialised.
        // - Pages that were part of the table are freed by `iotlb_sync`, which waits for `walks`, or when the
        //   domain is dropped, which is borrowed.
        unsafe { T::Format::IOVA_TO_PHYS(self.raw(), iova) }
    }

    /// Records a write to the page at `iova`, if one is mapped, as if a device had done it. Returns
    /// `EOPNOTSUPP` if the kernel was built without tests of the generic page table code.
    pub(crate) fn set_dirty(&self, iova: u64) -> Result {
        let table: *mut bindings::pt_iommu = self.raw().cast();
        // SAFETY: By the type invariant the table is initialised; its operations are static, or
        // in the domain, which is borrowed.
        let ops = unsafe { (*table).ops.as_ref() };
        let set_dirty = ops.and_then(|ops| ops.set_dirty).ok_or(EOPNOTSUPP)?;
        let _walk = self.walks.read();
        // SAFETY:
        // - The operation belongs to the table.
        // - Pages that were part of the table are freed by `iotlb_sync`, which waits for `walks`, or when the
        //   domain is dropped, which is borrowed.
        unsafe { set_dirty(table, iova) };
        Ok(())
    }

    fn raw(&self) -> *mut bindings::iommu_domain {
        self.table.get().cast()
    }

    /// Makes the domain that an operation of the driver returns to the IOMMU core.
    pub(super) fn into_raw(domain: Pin<KBox<Self>>) -> *mut bindings::iommu_domain {
        // SAFETY: The memory does not move before `free` drops it.
        KBox::into_raw(unsafe { Pin::into_inner_unchecked(domain) }).cast()
    }

    /// # Safety
    ///
    /// `raw` must be a domain that [`PagingDomain::<T>::into_raw`](Self::into_raw) returned. It
    /// must not be freed during `'a`.
    pub(super) unsafe fn borrow<'a>(raw: *mut bindings::iommu_domain) -> &'a Self {
        // SAFETY: The caller guarantees that it is a `PagingDomain<T>` that is not freed during `'a`.
        unsafe { &*raw.cast() }
    }
}

impl<T: Paging> Deref for PagingDomain<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: Paging> Drop for PagingDomain<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the table is initialised, or zero, which the function
        // accepts.
        unsafe { bindings::iommufd_rs_pt_iommu_deinit(self.raw().cast()) };
    }
}

/// # Safety
///
/// Must be called as `attach_dev` of a domain with the operations for `T`.
unsafe extern "C" fn attach_dev<T: Paging>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    old: *mut bindings::iommu_domain,
) -> c_int {
    from_result(|| {
        // SAFETY: A domain with these operations came from `into_raw`, and exists during the call.
        let tables = unsafe { PagingDomain::<T>::borrow(domain) };
        // SAFETY: The core attaches only devices that the driver of the domain probed.
        T::attach(tables, unsafe { data_of::<T::Driver>(dev) })?;
        // SAFETY: The core holds the group's mutex, and passes valid domains or NULL.
        unsafe { change_faulting::<T::Driver>(dev, domain, old) }?;
        Ok(0)
    })
}

/// # Safety
///
/// Must be called as `set_dev_pasid` of a domain with the operations for `T`.
unsafe extern "C" fn set_dev_pasid<T: Paging>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    pasid: bindings::ioasid_t,
    old: *mut bindings::iommu_domain,
) -> c_int {
    from_result(|| {
        // SAFETY: A domain with these operations came from `into_raw`, and exists during the call.
        let tables = unsafe { PagingDomain::<T>::borrow(domain) };
        // SAFETY: The core attaches only devices that the driver of the domain probed.
        T::attach_pasid(tables, unsafe { data_of::<T::Driver>(dev) }, pasid)?;
        // SAFETY: The core holds the group's mutex, and passes valid domains or NULL.
        unsafe { change_faulting::<T::Driver>(dev, domain, old) }?;
        Ok(0)
    })
}

/// # Safety
///
/// Must be called as `set_dirty_tracking` of a domain with the operations for `T`.
unsafe extern "C" fn set_dirty_tracking<T: Paging>(
    domain: *mut bindings::iommu_domain,
    enable: bool,
) -> c_int {
    from_result(|| {
        // SAFETY: A domain with these operations came from `into_raw`, and exists during the call.
        let tables = unsafe { PagingDomain::<T>::borrow(domain) };
        tables.track_dirty(enable)?;
        Ok(0)
    })
}

/// Returns the page at a physical address.
fn page_at(phys: u64) -> Page {
    // SAFETY: The function accepts any address.
    if !unsafe { bindings::iommufd_rs_phys_is_user(phys) } {
        return Page::Other;
    }
    // SAFETY: The function accepts any address.
    if unsafe { bindings::iommufd_rs_phys_is_pinned(phys) } {
        Page::Pinned(phys)
    } else {
        Page::Loose
    }
}

/// Returns what is to be flushed, or `None` if that is nothing.
fn gathered(gather: &bindings::iommu_iotlb_gather) -> Option<IovaRange> {
    IovaRange::new(to_u64(gather.start), to_u64(gather.end))
}

/// Unmaps as the format does, and records it.
///
/// # Safety
///
/// Must be called as `unmap_range` of `struct pt_iommu_ops`, by the operations of a domain for `T`.
unsafe extern "C" fn unmap_range<T: Paging>(
    table: *mut bindings::pt_iommu,
    iova: bindings::dma_addr_t,
    len: bindings::dma_addr_t,
    gather: *mut bindings::iommu_iotlb_gather,
) -> usize {
    // SAFETY: A table with these operations is the first field of a domain that came from `into_raw`, and
    // exists during the call.
    let tables = unsafe { PagingDomain::<T>::borrow(table.cast()) };
    let Some(unmap) = tables.watch.format_ops.and_then(|ops| ops.unmap_range) else {
        return 0;
    };
    let page = page_at(tables.phys(iova));
    // SAFETY: The caller passes what it has gathered, and nobody else changes it.
    let begins = gathered(unsafe { &*gather }).is_none();
    // SAFETY: The table has the format of the operation; the rest is as the caller guarantees.
    let unmapped = unsafe { unmap(table, iova, len, gather) };
    if let Ok(range) = IovaRange::from_len(iova, to_u64(unmapped)) {
        tables.note_unmapped(range, page, begins);
    }
    unmapped
}

/// Frees the page tables that were unlinked. There is no hardware that caches them.
///
/// # Safety
///
/// Must be called as `iotlb_sync` of a domain with the operations for `T`.
unsafe extern "C" fn iotlb_sync<T: Paging>(
    domain: *mut bindings::iommu_domain,
    gather: *mut bindings::iommu_iotlb_gather,
) {
    // SAFETY: A domain with these operations came from `into_raw`, and exists during the call.
    let tables = unsafe { PagingDomain::<T>::borrow(domain) };
    if cfg!(debug_assertions) {
        // SAFETY: The caller passes what it has gathered, and nobody else changes it.
        if let Some(range) = gathered(unsafe { &*gather }) {
            tables.note_flushed(range);
        }
    }
    let _no_walk = tables.walks.write();
    // SAFETY:
    // - The pages in the list of `gather` are not part of a page table any more.
    // - A walk that found one before has ended, since `walks` is held.
    unsafe { bindings::iommufd_rs_free_gathered_pages(gather) };
}

/// # Safety
///
/// Must be called as `free` of a domain with the operations for `T`.
unsafe extern "C" fn free<T: Paging>(domain: *mut bindings::iommu_domain) {
    let domain: *mut PagingDomain<T> = domain.cast();
    // SAFETY: `into_raw` made it of a `KBox`, and nothing refers to it any more.
    let domain = unsafe { Pin::new_unchecked(KBox::from_raw(domain)) };
    // A task has unmapped something, and has not flushed it.
    warn_on_once!(!domain.watch.unflushed.lock().is_empty());
}
