// SPDX-License-Identifier: GPL-2.0-only

//! Page tables of an IOMMU driver: `struct iommu_domain` and its operations.

use core::{
    marker::PhantomPinned,
    ops::Deref, //
};

use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu_driver::{
            bus::change_faulting,
            format::{
                Format,
                Geometry, //
            },
            ops::{
                data_of,
                errno,
                Driver, //
            }, //
        },
        units::{
            to_usize,
            IovaRange, //
        }, //
    }, //
};

/// What a driver does with its page tables, beyond filling them, which the generic code does.
pub(crate) trait Paging: Sized + Send + Sync + 'static {
    /// The driver.
    type Driver: Driver<Domain = Self>;
    /// How the page tables look.
    type Format: Format;

    /// Lets the device's DMA go through the page tables. `EINVAL` where the two do not fit. Called
    /// with the group's lock held.
    fn attach(domain: &PagingDomain<Self>, dev: &<Self::Driver as Driver>::Device) -> Result;

    /// As [`Paging::attach`], for the device's DMA with a PASID.
    fn attach_pasid(
        domain: &PagingDomain<Self>,
        dev: &<Self::Driver as Driver>::Device,
        pasid: u32,
    ) -> Result;

    /// Starts or stops noticing what is written to.
    fn track_dirty(&self, enable: bool) -> Result;
}

/// Page tables, and what the driver keeps with them.
///
/// # Invariants
///
/// `table` was initialised by the format.
#[repr(C)]
pub(crate) struct PagingDomain<T: Paging> {
    // The first bytes are a `struct iommu_domain`.
    table: Opaque<<T::Format as Format>::Table>,
    data: T,
    _pin: PhantomPinned,
}

// SAFETY: The IOMMU core and the generic page table code lock what they share.
unsafe impl<T: Paging> Send for PagingDomain<T> {}
// SAFETY: As above.
unsafe impl<T: Paging> Sync for PagingDomain<T> {}

impl<T: Paging> PagingDomain<T> {
    const OPS: bindings::iommu_domain_ops = bindings::iommu_domain_ops {
        attach_dev: Some(attach_dev::<T>),
        set_dev_pasid: Some(set_dev_pasid::<T>),
        iova_to_phys: Some(T::Format::IOVA_TO_PHYS),
        iotlb_sync: Some(iotlb_sync),
        free: Some(free::<T>),
        // SAFETY: All zeroes are valid operations.
        ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
    };

    const DIRTY_OPS: bindings::iommu_dirty_ops = bindings::iommu_dirty_ops {
        set_dirty_tracking: Some(set_dirty_tracking::<T>),
        read_and_clear_dirty: Some(T::Format::READ_AND_CLEAR_DIRTY),
    };

    /// Empty page tables. `dirty` says whether what is written to can be noticed. `ENOMEM`, or
    /// `EINVAL` for a geometry that the format does not have.
    pub(crate) fn new(data: T, geometry: &Geometry, dirty: bool) -> Result<Pin<KBox<Self>>> {
        let memory = KBox::<Self>::new_uninit(GFP_KERNEL)?;
        let raw: *mut Self = KBox::into_raw(memory).cast();
        // SAFETY: `raw` is ours alone and stays in place. The table is zero but for what is common
        // to all formats when the format initialises it.
        let result = to_result(unsafe {
            raw.write_bytes(0, 1);
            (&raw mut (*raw).data).write(data);
            let table: *mut bindings::pt_iommu = raw.cast();
            (*table).nid = bindings::NUMA_NO_NODE;
            (*table).domain.type_ = bindings::IOMMU_DOMAIN_UNMANAGED;
            (*table).domain.ops = &Self::OPS;
            if dirty {
                (*table).domain.dirty_ops = &Self::DIRTY_OPS;
            }
            T::Format::init(raw.cast(), geometry)
        });
        // INVARIANT: Initialised, or without operations, which is as good for dropping it.
        // SAFETY: It came from `KBox::into_raw`; every field was set.
        let domain = unsafe { Pin::new_unchecked(KBox::from_raw(raw)) };
        result.map(|()| domain)
    }

    /// Narrows the addresses that can be mapped, before anybody has the page tables.
    pub(crate) fn limit_aperture(self: Pin<&mut Self>, range: IovaRange) {
        // SAFETY: We are the only ones who have it.
        let geometry = unsafe { &mut (*self.raw()).geometry };
        geometry.aperture_start = range.start();
        geometry.aperture_end = range.last();
    }

    /// Chooses the page sizes that are told of, a bit each, before anybody has the page tables.
    pub(crate) fn set_page_sizes(self: Pin<&mut Self>, sizes: u64) {
        // SAFETY: We are the only ones who have it.
        unsafe { (*self.raw()).pgsize_bitmap = to_usize(sizes) };
    }

    /// Whether what is written to can be noticed.
    pub(crate) fn has_dirty(&self) -> bool {
        // SAFETY: By the invariant it is a domain, and this does not change once it is made.
        unsafe { !(*self.raw()).dirty_ops.is_null() }
    }

    /// The physical address that `iova` leads to, 0 where nothing is mapped.
    pub(crate) fn phys(&self, iova: u64) -> u64 {
        // SAFETY: By the invariant the table is initialised.
        unsafe { T::Format::IOVA_TO_PHYS(self.raw(), iova) }
    }

    /// Makes the page at `iova` look written to, as a device would. Nothing happens where none is
    /// mapped; `EOPNOTSUPP` where the kernel is not made for testing.
    pub(crate) fn set_dirty(&self, iova: u64) -> Result {
        let table: *mut bindings::pt_iommu = self.raw().cast();
        // SAFETY: By the invariant the table has operations.
        let set_dirty = unsafe { (*table).ops.as_ref() }.and_then(|ops| ops.set_dirty);
        // SAFETY: The table is initialised; no lock is needed.
        unsafe { set_dirty.ok_or(EOPNOTSUPP)?(table, iova) };
        Ok(())
    }

    fn raw(&self) -> *mut bindings::iommu_domain {
        self.table.get().cast()
    }

    /// Gives the page tables to the IOMMU core.
    pub(super) fn into_raw(domain: Pin<KBox<Self>>) -> *mut bindings::iommu_domain {
        // SAFETY: It stays in place until `free`.
        KBox::into_raw(unsafe { Pin::into_inner_unchecked(domain) }).cast()
    }

    /// # Safety
    ///
    /// `raw` came from [`PagingDomain::<T>::into_raw`](Self::into_raw) and is not freed during
    /// `'a`.
    pub(super) unsafe fn borrow<'a>(raw: *mut bindings::iommu_domain) -> &'a Self {
        // SAFETY: The caller's promise.
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
        // SAFETY: The table is initialised, or zero where that failed; nobody uses it any more.
        unsafe { bindings::iommufd_rs_pt_iommu_deinit(self.raw().cast()) };
    }
}

/// # Safety
///
/// As `attach_dev` of `struct iommu_domain_ops`, for a domain of `T`.
unsafe extern "C" fn attach_dev<T: Paging>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    old: *mut bindings::iommu_domain,
) -> c_int {
    // SAFETY: The domain is one with these operations, and the core attaches probed devices, with
    // the group's lock held.
    errno(unsafe {
        T::attach(PagingDomain::borrow(domain), data_of::<T::Driver>(dev))
            .and_then(|()| change_faulting::<T::Driver>(dev, domain, old))
    })
}

/// # Safety
///
/// As `set_dev_pasid` of `struct iommu_domain_ops`, for a domain of `T`.
unsafe extern "C" fn set_dev_pasid<T: Paging>(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    pasid: bindings::ioasid_t,
    old: *mut bindings::iommu_domain,
) -> c_int {
    // SAFETY: As for `attach_dev`.
    errno(unsafe {
        T::attach_pasid(
            PagingDomain::borrow(domain),
            data_of::<T::Driver>(dev),
            pasid,
        )
        .and_then(|()| change_faulting::<T::Driver>(dev, domain, old))
    })
}

/// # Safety
///
/// As `set_dirty_tracking` of `struct iommu_dirty_ops`, for a domain of `T`.
unsafe extern "C" fn set_dirty_tracking<T: Paging>(
    domain: *mut bindings::iommu_domain,
    enable: bool,
) -> c_int {
    // SAFETY: The domain is one with these operations.
    errno(unsafe { PagingDomain::<T>::borrow(domain) }.track_dirty(enable))
}

/// No hardware has cached anything: what was taken out of the table is freed.
///
/// # Safety
///
/// As `iotlb_sync` of `struct iommu_domain_ops`.
unsafe extern "C" fn iotlb_sync(
    _domain: *mut bindings::iommu_domain,
    gather: *mut bindings::iommu_iotlb_gather,
) {
    // SAFETY: The caller's list has pages that are in no table any more.
    unsafe { bindings::iommufd_rs_free_gathered_pages(gather) };
}

/// # Safety
///
/// As `free` of `struct iommu_domain_ops`, for a domain of `T`.
unsafe extern "C" fn free<T: Paging>(domain: *mut bindings::iommu_domain) {
    let domain: *mut PagingDomain<T> = domain.cast();
    // SAFETY: `into_raw` gave it away, and the core has it no more.
    drop(unsafe { Pin::new_unchecked(KBox::from_raw(domain)) });
}
