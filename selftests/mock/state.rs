// SPDX-License-Identifier: GPL-2.0-only

//! The private data of the mock IOMMU driver: of a device, of page tables, and of a vIOMMU.
//!
//! What a cache contains are numbers that tests choose, compare and invalidate. No translation uses
//! them.

use kernel::{
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic,
        AtomicFlag, //
    }, //
};

use crate::kapi::{
    iommu::domain::UserData,
    uapi::{
        hwpt,
        test::{
            mock,
            HwptSelftest, //
        }, //
    }, //
};

/// The number of bytes of the first version of `$struct`, whose last field was `$last`, a `u32`.
macro_rules! first_version {
    ($struct:ident, $last:ident) => {
        core::mem::offset_of!($struct, $last) + size_of::<u32>()
    };
}

pub(super) use first_version;

/// The driver.
pub(super) enum Mock {}

/// The driver's data of a device.
pub(super) struct MockDevice {
    /// The device does not support page tables that track dirty pages.
    pub(super) no_dirty: bool,
    /// The device's cache of translations.
    pub(super) cache: [Atomic<u32>; mock::CACHES],
    /// The virtual id that the device had when it was last attached to page tables on a vIOMMU.
    /// Written under the group's lock.
    pub(super) virt_id: Atomic<u64>,
    /// The next attachment of [`mock::PASID_FAILING`] fails.
    fails_next: AtomicFlag,
}

impl MockDevice {
    /// Creates the data of a device that is not attached, with [`mock::CACHED`] in its cache.
    pub(super) fn new(no_dirty: bool) -> Self {
        Self {
            no_dirty,
            cache: [const { Atomic::new(mock::CACHED) }; mock::CACHES],
            virt_id: Atomic::new(0),
            fails_next: AtomicFlag::new(false),
        }
    }

    /// Returns `ENOMEM` for every other attachment of [`mock::PASID_FAILING`]. Called with the
    /// group's lock held.
    pub(super) fn check_pasid(&self, pasid: u32) -> Result {
        if pasid != mock::PASID_FAILING {
            return Ok(());
        }
        let fails = self.fails_next.load(Relaxed);
        self.fails_next.store(!fails, Relaxed);
        if fails {
            Err(ENOMEM)
        } else {
            Ok(())
        }
    }

    /// Lets the next attachment of `pasid` succeed.
    pub(super) fn reset_pasid(&self, pasid: u32) {
        if pasid == mock::PASID_FAILING {
            self.fails_next.store(false, Relaxed);
        }
    }
}

/// The driver's data of paging page tables.
pub(super) struct MockDomain {
    tracking: AtomicFlag,
}

impl MockDomain {
    /// Creates the data of page tables that do not track dirty pages yet.
    pub(super) fn new() -> Self {
        Self {
            tracking: AtomicFlag::new(false),
        }
    }

    /// Returns whether dirty pages are tracked.
    pub(super) fn is_tracking(&self) -> bool {
        self.tracking.load(Relaxed)
    }

    /// Starts or stops tracking dirty pages.
    pub(super) fn set_tracking(&self, enable: bool) {
        self.tracking.store(enable, Relaxed);
    }
}

/// The driver's data of nested page tables.
pub(super) struct MockNested {
    /// The IOTLB.
    pub(super) iotlb: [Atomic<u32>; mock::IOTLBS],
}

impl MockNested {
    /// Creates the data of nested page tables. `data` says what their IOTLB contains.
    ///
    /// Returns `EOPNOTSUPP` for flags other than [`hwpt::PASID`] and for data of another type, or
    /// as [`UserData::read`].
    pub(super) fn new(flags: u32, data: UserData) -> Result<Self> {
        if flags & !hwpt::PASID != 0 || data.kind != mock::HWPT_DATA {
            return Err(EOPNOTSUPP);
        }
        let first = first_version!(HwptSelftest, iotlb);
        let config: HwptSelftest = data.read(mock::HWPT_DATA, first)?;
        Ok(Self {
            iotlb: core::array::from_fn(|_| Atomic::new(config.iotlb)),
        })
    }

    /// Returns whether entry `id` of the IOTLB contains `iotlb`.
    pub(super) fn has_cached(&self, id: u32, iotlb: u32) -> bool {
        let entry = self.iotlb.get(id as usize);
        entry.is_some_and(|entry| entry.load(Relaxed) == iotlb)
    }
}

/// The driver's data of a vIOMMU: none.
pub(super) struct MockViommu;
