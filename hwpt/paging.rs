// SPDX-License-Identifier: GPL-2.0-only

//! Page tables that the kernel fills from an address space.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            AtomicFlag, //
        },
        Arc, //
    }, //
};

use crate::{
    drivers::Backend,
    hwpt::{
        fault::Faults,
        FaultQueue, //
    },
    ioas::{
        Ioas, //
    },
    kapi::{
        iommu::{
            device::IommuDevice,
            domain::{
                Domain,
                UserData, //
            },
            group::{
                capable,
                Capability, //
            }, //
        },
        lines::Lines,
        reason::{
            Because,
            Reason,
            Result, //
        },
        uapi, //
    },
    object::{
        Kind,
        Ref, //
    }, //
};

/// Page tables that carry the mappings of an address space.
pub(crate) struct HwptPaging {
    domain: Arc<Domain>,
    ioas: Ref<Ioas>,
    /// See [`HwptPaging::is_automatic`].
    automatic: bool,
    /// See [`HwptPaging::pasid_compatible`].
    pasids: bool,
    /// See [`HwptPaging::can_be_parent`].
    parent: bool,
    /// Made for dirty tracking.
    tracked: bool,
    /// Dirty tracking is on.
    tracking: AtomicFlag,
    /// What receives page faults of the devices.
    faults: Option<Arc<Faults>>,
    /// The address space's mappings are in the page tables.
    filled: AtomicFlag,
}

impl Kind for HwptPaging {
    const NAME: &'static CStr = c"hwpt-paging";
    const MAY_GO_WITH_LAST_USER: bool = true;

    fn goes_with_last_user(&self) -> bool {
        self.automatic
    }

    fn show(&self, lines: &Lines<'_>) {
        let domain = &self.domain;
        let aperture = domain.aperture();
        lines.number("ioas", self.ioas.id());
        lines.line("page-sizes", fmt!("{:#x}", domain.page_sizes()));
        lines.line(
            "aperture",
            fmt!("{:#x}-{:#x}", aperture.start(), aperture.last()),
        );
        lines.flag("automatic", self.automatic);
        lines.flag("parent", self.parent);
        lines.flag("pasid", self.pasids);
        let tracking = if !self.tracked {
            "none"
        } else if self.tracking.load(Relaxed) {
            "on"
        } else {
            "off"
        };
        lines.line("dirty-tracking", fmt!("{tracking}"));
        if let Some(faults) = &self.faults {
            faults.show(lines);
        }
    }
}

/// A request for page tables.
pub(crate) struct Request<'a> {
    /// A device that must be able to use them.
    pub(crate) dev: &'a IommuDevice,
    /// The backend of that device.
    pub(crate) backend: &'static dyn Backend,
    /// `enum iommufd_hwpt_alloc_flags`.
    pub(crate) flags: u32,
    /// The driver's own data.
    pub(crate) data: Option<UserData>,
    /// The queue that receives page faults of the devices.
    pub(crate) faults: Option<Ref<FaultQueue>>,
    /// See [`HwptPaging::is_automatic`].
    pub(crate) automatic: bool,
}

impl HwptPaging {
    /// Makes page tables, without mappings yet. Returns `EOPNOTSUPP` for flags that the device's
    /// IOMMU does not support, `ENOMEM`, or the error of its driver.
    pub(crate) fn new(ioas: Ref<Ioas>, request: Request<'_>) -> Result<Self> {
        use uapi::hwpt;
        const KNOWN: u32 =
            hwpt::NEST_PARENT | hwpt::DIRTY_TRACKING | hwpt::FAULT_ID_VALID | hwpt::PASID;

        let Request {
            dev,
            backend,
            flags,
            data,
            faults,
            automatic,
        } = request;
        if flags & !KNOWN != 0 {
            return Err(Reason::CommandFlags.with((flags & !KNOWN).into()));
        }
        if flags & hwpt::DIRTY_TRACKING != 0 && !capable(dev, Capability::DirtyTracking) {
            return Err(Reason::HwptDirty.with(0));
        }
        // Faults of the second stage cannot be distinguished from the guest's.
        if flags & hwpt::FAULT_ID_VALID != 0 && flags & hwpt::NEST_PARENT != 0 {
            return Err(Reason::HwptFaultParent.with(0));
        }
        let mut domain = backend
            .alloc_paging(dev, flags & !hwpt::FAULT_ID_VALID, data)
            .because(Reason::HwptDriver, flags.into())?;
        // Page table entries carry it, so it is decided before there are any.
        if capable(dev, Capability::EnforceCacheCoherency) && !domain.enforce_cache_coherency() {
            return Err(Reason::HwptCoherency.with(0));
        }
        let faults = Faults::to(faults)?;
        if let Some(faults) = &faults {
            domain.set_fault_sink(faults.clone());
        }
        Ok(Self {
            domain: Arc::new(domain, GFP_KERNEL_ACCOUNT)?,
            ioas,
            automatic,
            pasids: flags & hwpt::PASID != 0,
            parent: flags & hwpt::NEST_PARENT != 0,
            tracked: flags & hwpt::DIRTY_TRACKING != 0,
            tracking: AtomicFlag::new(false),
            faults,
            filled: AtomicFlag::new(false),
        })
    }

    /// Fills the page tables with the mappings of the address space, and keeps them equal from then
    /// on. Called once, before the object is published. Returns the errors of [`Ioas::add_domain`].
    pub(crate) fn fill(&self) -> Result {
        self.ioas.add_domain(&self.domain)?;
        self.filled.store(true, Relaxed);
        Ok(())
    }

    /// Returns the address space.
    pub(crate) fn ioas(&self) -> &Ref<Ioas> {
        &self.ioas
    }

    /// Returns the domain.
    pub(crate) fn domain(&self) -> &Arc<Domain> {
        &self.domain
    }

    /// Records whether dirty tracking is on.
    pub(super) fn set_tracking(&self, on: bool) {
        self.tracking.store(on, Relaxed);
    }

    /// Returns whether the kernel made it for a device that was attached to the address space. Any
    /// device that fits uses it, and it is destroyed when the last one is detached.
    pub(crate) fn is_automatic(&self) -> bool {
        self.automatic
    }

    /// Returns whether nested page tables and vIOMMUs can be made on it.
    pub(crate) fn can_be_parent(&self) -> bool {
        self.parent
    }

    /// Returns whether a PASID, or a device of which a PASID is attached, may be attached to it.
    pub(crate) fn pasid_compatible(&self) -> bool {
        self.pasids
    }
}

impl Drop for HwptPaging {
    fn drop(&mut self) {
        if self.filled.load(Relaxed) {
            self.ioas.remove_domain(&self.domain);
        }
    }
}
