// SPDX-License-Identifier: GPL-2.0-only

//! Paging domains: I/O page tables that the kernel fills.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

use crate::{
    ffi::bindings,
    kapi::{
        bug::warn_on_once,
        iommu::{
            batch::Batch,
            device::{
                self,
                IommuDevice, //
            },
            driver_ref::DriverRef,
            iopf::FaultSink,
            owned_domain::OwnedDomain, //
        },
        mm::{
            phys::PhysPiece,
            retry_faults::UserRange, //
        },
        uapi,
        units::{
            to_u64,
            to_usize,
            IovaRange, //
        }, //
    }, //
};

/// The protection of a mapping: the `IOMMU_READ` family of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prot {
    /// DMA may read the memory.
    pub(crate) read: bool,
    /// DMA may write the memory.
    pub(crate) write: bool,
    /// The memory is a device's, which is not cached.
    pub(crate) mmio: bool,
}

impl Prot {
    /// Returns the flags of the IOMMU core. Mappings of RAM are cache coherent, because binding
    /// refuses a device whose DMA is not: the user API cannot flush caches.
    pub(super) fn as_raw(self) -> c_int {
        let mut raw = if self.mmio {
            bindings::IOMMU_MMIO
        } else {
            bindings::IOMMU_CACHE
        };
        if self.read {
            raw |= bindings::IOMMU_READ;
        }
        if self.write {
            raw |= bindings::IOMMU_WRITE;
        }
        raw as c_int
    }
}

/// The driver-specific data of a request of user space: `struct iommu_user_data`.
#[derive(Clone, Copy)]
pub(crate) struct UserData {
    /// The type of the data; which enum it is of depends on the request.
    pub(crate) kind: u32,
    /// The address of the data in user memory.
    pub(crate) ptr: UserPtr,
    /// The length of the data in bytes.
    pub(crate) len: usize,
}

impl UserData {
    /// Returns the memory that the driver reads.
    pub(crate) fn range(self) -> UserRange {
        UserRange::read(self.ptr, self.len)
    }

    /// Returns the same memory, to which the driver may write an answer.
    pub(crate) fn answered_range(self) -> UserRange {
        UserRange::read_and_answer(self.ptr, self.len)
    }

    /// Returns the C struct.
    pub(super) fn as_raw(self) -> bindings::iommu_user_data {
        bindings::iommu_user_data {
            type_: self.kind,
            uptr: self.ptr.as_mut_ptr(),
            len: self.len,
        }
    }
}

/// Code that may change the translation of addresses.
///
/// Page tables are changed by several tasks at once, as long as these are concerned with different
/// addresses, and they have no idea how long memory remains what it is. So [`Domain::map`] and
/// [`Domain::unmap`] want a value that only certain code has.
///
/// # Safety
///
/// The code that can make a value of the type must ensure for the ranges that it passes along with
/// it:
///
/// - While a range is mapped or unmapped, no other task maps, unmaps or walks a part of it.
/// - What a range is mapped to remains pinned, or lent to this module, until the range is unmapped.
///   What is in a [`MapList`] remains so until the list is mapped or dropped, too.
///
/// [`MapList`]: crate::kapi::iommu::map_list::MapList
pub(crate) unsafe trait RangeOwner: Copy {}

/// A paging domain. Its page tables are freed when this is dropped.
///
/// # Examples
///
/// ```
/// use crate::kapi::{
///     iommu::domain::{Domain, Prot, RangeOwner},
///     mm::phys::PhysPiece,
///     units::IovaRange,
/// };
///
/// /// Maps all of a piece of memory for reading, from `iova` on. Returns what was mapped.
/// fn map_piece(
///     domain: &Domain,
///     owner: impl RangeOwner,
///     iova: u64,
///     piece: PhysPiece<'_>,
/// ) -> Result<IovaRange> {
///     let prot = Prot {
///         read: true,
///         write: false,
///         mmio: false,
///     };
///     let range = IovaRange::from_len(iova, piece.len())?;
///     domain.map(owner, range, core::iter::once(piece), prot, false)?;
///     Ok(range)
/// }
/// ```
pub(crate) struct Domain {
    owned: OwnedDomain,
    coherent: bool,
    software: bool,
    /// Whether the driver made it to be translated by a second time.
    nest_parent: bool,
}

impl Domain {
    /// Allocates a paging domain that the device can be attached to. `flags` are the
    /// `IOMMU_HWPT_ALLOC_*` flags that concern drivers.
    ///
    /// Returns `EOPNOTSUPP` if the driver does not support the flags or the data, `ENODEV` if no
    /// IOMMU driver manages the device, or the error of the driver.
    pub(crate) fn alloc(dev: &IommuDevice, flags: u32, data: Option<UserData>) -> Result<Self> {
        let driver = DriverRef::of(dev)?;
        let ops = driver.ops();
        let raw = match ops.domain_alloc_paging_flags {
            Some(alloc) => {
                let data = data.map(UserData::as_raw);
                let data = data.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
                // SAFETY: The operation belongs to the driver of this device.
                let raw = from_err_ptr(unsafe { alloc(device::as_raw(dev), flags, data) })?;
                // SAFETY: The operation returned a new domain that nothing else refers to.
                unsafe { (*raw).owner = ops };
                raw
            }
            None if flags != 0 || data.is_some() => return Err(EOPNOTSUPP),
            // SAFETY: The device is valid, and an IOMMU driver manages it.
            None => from_err_ptr(unsafe {
                bindings::iommu_paging_domain_alloc_flags(device::as_raw(dev), 0)
            })?,
        };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // SAFETY: The domain is new, and the driver's.
        let mut domain = unsafe { Self::from_raw(raw, driver, false) };
        domain.nest_parent = flags & uapi::hwpt::NEST_PARENT != 0;
        Ok(domain)
    }

    /// Takes over a new domain. `software` is what [`Domain::is_software`] returns.
    ///
    /// # Safety
    ///
    /// `raw` must be a valid paging domain that nothing else refers to or frees, and `driver` a
    /// reference to the driver that made it.
    pub(super) unsafe fn from_raw(
        raw: NonNull<bindings::iommu_domain>,
        driver: DriverRef,
        software: bool,
    ) -> Self {
        Self {
            // SAFETY: The caller guarantees that the domain is the driver's, and gives it away.
            owned: unsafe { OwnedDomain::from_raw(raw, driver) },
            coherent: false,
            software,
            nest_parent: false,
        }
    }

    /// Returns whether no IOMMU translates by these page tables: they are for devices without one.
    pub(crate) fn is_software(&self) -> bool {
        self.software
    }

    /// Returns whether the driver with these operations made the domain as a nest parent. Drivers
    /// rely on both: what they make of a first stage as a second one is not what it maps.
    pub(super) fn is_parent_of(&self, ops: &bindings::iommu_ops) -> bool {
        self.nest_parent && core::ptr::eq(self.inner().owner, ops)
    }

    /// Delivers the page faults of devices that are attached from now on to `sink`.
    pub(crate) fn set_fault_sink(&mut self, sink: Arc<dyn FaultSink>) {
        self.owned.set_fault_sink(sink);
    }

    /// Returns whether the page faults of devices are delivered.
    pub(crate) fn has_fault_sink(&self) -> bool {
        self.owned.fault_sink().is_some()
    }

    /// Returns the C object.
    pub(crate) fn as_ptr(&self) -> *mut bindings::iommu_domain {
        self.owned.as_ptr()
    }

    /// Returns the part that both kinds of domains have.
    pub(super) fn owned(&self) -> &OwnedDomain {
        &self.owned
    }

    fn inner(&self) -> &bindings::iommu_domain {
        // SAFETY: The domain is valid as long as `self`, and the fields that are read of it do not
        // change once it is allocated.
        unsafe { &*self.as_ptr() }
    }

    /// Returns the page sizes of the domain in bytes, a bit each.
    pub(crate) fn page_sizes(&self) -> u64 {
        to_u64(self.inner().pgsize_bitmap)
    }

    /// Returns the smallest page size of the domain in bytes.
    pub(crate) fn min_page_size(&self) -> u64 {
        1 << self.page_sizes().trailing_zeros().min(63)
    }

    /// Returns the addresses that the domain can translate.
    pub(crate) fn aperture(&self) -> IovaRange {
        let geometry = &self.inner().geometry;
        IovaRange::new(geometry.aperture_start, geometry.aperture_end).unwrap_or(IovaRange::ALL)
    }

    /// Makes the IOMMU snoop the CPU's caches even for DMA that a device marks as not snooped.
    /// Returns whether the IOMMU can do that.
    pub(crate) fn enforce_cache_coherency(&mut self) -> bool {
        // SAFETY: The operations are part of the driver, to which `owned` has a reference.
        let ops = unsafe { self.inner().ops.as_ref() };
        self.coherent = match ops.and_then(|ops| ops.enforce_cache_coherency) {
            // SAFETY: The domain is valid as long as `self`, and the operation is its own.
            Some(enforce) => unsafe { enforce(self.as_ptr()) },
            None => false,
        };
        self.coherent
    }

    /// Returns whether [`Domain::enforce_cache_coherency`] was called and succeeded.
    pub(crate) fn is_coherent(&self) -> bool {
        self.coherent
    }

    /// Maps `range` to pieces of physical memory, from its beginning and as far as either reaches.
    /// Returns the number of bytes that were mapped. `owner` proves that the caller may change the
    /// range.
    ///
    /// The driver may use large pages. With `small_pages` it has an entry for every page of the
    /// CPU, so that any part of the range can be unmapped later.
    ///
    /// Returns `EFAULT` if `prot` permits writing but a piece does not, `EINVAL` if an address is
    /// not aligned to the pages of the domain, `ENOMEM`, or another error of the driver. Nothing of
    /// the range is mapped then.
    pub(crate) fn map<'a>(
        &self,
        owner: impl RangeOwner,
        range: IovaRange,
        pieces: impl Iterator<Item = PhysPiece<'a>>,
        prot: Prot,
        small_pages: bool,
    ) -> Result<u64> {
        let mut done = 0;
        let result = if small_pages {
            let pages = pieces.flat_map(PhysPiece::pages);
            self.map_pieces(owner, range, pages, prot, &mut done)
        } else {
            self.map_pieces(owner, range, pieces, prot, &mut done)
        };
        match result {
            Ok(()) => Ok(done),
            Err(error) => {
                self.unmap(owner, IovaRange::from_len(range.start(), done));
                Err(error)
            }
        }
    }

    /// Maps each piece with entries of its own. Adds the number of bytes that are mapped to `done`,
    /// also on failure.
    // Inlined it would be in its caller several times, each with room for a batch on the stack.
    #[inline(never)]
    fn map_pieces<'a>(
        &self,
        _owner: impl RangeOwner,
        range: IovaRange,
        mut pieces: impl Iterator<Item = PhysPiece<'a>>,
        prot: Prot,
        done: &mut u64,
    ) -> Result {
        let flags = prot.as_raw();
        let mut batch = Batch::new();

        loop {
            batch.fill(&mut pieces, range.len() - *done, prot.write)?;
            // This is past the end of the address space only when nothing is left.
            let iova = range.start().wrapping_add(*done);
            // SAFETY:
            // - The domain is valid as long as `self`.
            // - The owner keeps the memory until the range is unmapped, and nobody else changes the
            //   range: `RangeOwner` guarantees that.
            unsafe { batch.map(self.as_ptr(), iova, flags, done)? };
            if !batch.is_full() {
                return Ok(());
            }
        }
    }

    /// Unmaps ranges, each of which must be mapped as a whole. `owner` proves that the caller may
    /// change them. No device can reach the memory any more when this returns: the IOTLB has been
    /// flushed, once for all ranges. Ranges that follow each other are unmapped in one walk.
    pub(crate) fn unmap(
        &self,
        _owner: impl RangeOwner,
        ranges: impl IntoIterator<Item = IovaRange>,
    ) {
        let mut ranges = ranges.into_iter().peekable();
        // Drivers do not expect a flush of nothing.
        if ranges.peek().is_none() {
            return;
        }
        let gather = Opaque::<bindings::iommu_iotlb_gather>::uninit();
        // SAFETY: `gather` can be written.
        unsafe { bindings::iommufd_rs_iotlb_gather_init(gather.get()) };
        while let Some(mut range) = ranges.next() {
            while let Some(longer) = ranges.peek().and_then(|next| range.join(next)) {
                range = longer;
                ranges.next();
            }
            let (start, len) = (to_usize(range.start()), to_usize(range.len()));
            // SAFETY: The domain is valid as long as `self`, `gather` is initialised, and nobody
            // else changes the range; see `RangeOwner`.
            let unmapped =
                unsafe { bindings::iommu_unmap_fast(self.as_ptr(), start, len, gather.get()) };
            // A driver that unmaps another length than was mapped has lost track of its tables.
            warn_on_once!(unmapped != len);
        }
        // SAFETY: The domain is valid as long as `self`, and `gather` is initialised.
        unsafe { bindings::iommufd_rs_iotlb_sync(self.as_ptr(), gather.get()) };
    }
}
