// SPDX-License-Identifier: GPL-2.0-only

//! A context: what one open of `/dev/iommu` stands for.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic,
            AtomicFlag, //
        },
        Arc,
        SetOnce, //
    }, //
};

use crate::{
    kapi::{
        bug::warn_on_once,
        latency::Latencies,
        mm::usage::{
            Account,
            Usage, //
        },
        reason::{
            LastRefusal,
            Refusal,
            Refused,
            Result, //
        },
        sync::{
            clear_on_drop::ClearOnDrop,
            shared::Shared, //
        },
        trace::{
            self,
            emit, //
        }, //
    },
    object::{
        DriverSide,
        Offers,
        Registry,
        Table, //
    }, //
};

/// The numbers of calls since the file was opened, for reading without a lock.
pub(crate) struct Counters {
    /// Ranges that were mapped or copied.
    pub(crate) maps: Atomic<u64>,
    /// Calls that have unmapped something.
    pub(crate) unmaps: Atomic<u64>,
    /// Invalidation requests that were carried out.
    pub(crate) invalidations: Atomic<u64>,
}

impl Counters {
    const fn new() -> Self {
        Self {
            maps: Atomic::new(0),
            unmaps: Atomic::new(0),
            invalidations: Atomic::new(0),
        }
    }
}

/// The number of the context that was made last.
static LAST_ID: Atomic<u64> = Atomic::new(0);

/// Something that exists as long as a context.
pub(crate) trait Companion: Send + Sync {}

/// Everything that belongs to one open of `/dev/iommu`.
///
/// The open file owns it. A reference to it is a reference to that file
/// ([`FileRef`](crate::kapi::file::file_ref::FileRef)): each driver that has bound a device has
/// one, so the context exists as long, even if user space has closed the file. Dropping the context
/// drops all objects.
#[pin_data]
pub(crate) struct Ctx {
    /// See [`Ctx::accompany`]. Dropped first.
    companion: SetOnce<KBox<dyn Companion>>,
    // Field order: objects go before what they share, and drivers come back to us meanwhile.
    #[pin]
    driver_side: ClearOnDrop<Shared<DriverSide>>,
    latencies: Arc<Latencies>,
    #[pin]
    last_refusal: LastRefusal,
    #[pin]
    usage: ClearOnDrop<Arc<Usage>>,
    counters: Counters,
    groups: Shared<Registry>,
    windows: Shared<Registry>,
    process_accounting: AtomicFlag,
    no_iommu: AtomicFlag,
}

impl Ctx {
    /// Initialises a context without objects. See [`Ctx::process_accounting`].
    pub(crate) fn new(process_accounting: bool) -> impl PinInit<Self, Error> {
        let id = LAST_ID.fetch_add(1, Relaxed).wrapping_add(1);
        try_pin_init!(Self {
            driver_side <- ClearOnDrop::new(
                Shared::pin_init(DriverSide::new(id), GFP_KERNEL_ACCOUNT)?
            ),
            latencies: Arc::new(Latencies::new(), GFP_KERNEL_ACCOUNT)?,
            companion: SetOnce::new(),
            last_refusal <- LastRefusal::new(),
            usage <- ClearOnDrop::new(Arc::pin_init(Usage::new(), GFP_KERNEL_ACCOUNT)?),
            counters: Counters::new(),
            groups: Shared::pin_init(Registry::new(), GFP_KERNEL_ACCOUNT)?,
            windows: Shared::pin_init(Registry::new(), GFP_KERNEL_ACCOUNT)?,
            process_accounting: AtomicFlag::new(process_accounting),
            no_iommu: AtomicFlag::new(false),
        })
    }

    /// Returns the number of the context: 1 for the first one since the module was loaded, 2 for
    /// the next one. No two contexts have the same number. What the module shows to people names a
    /// context by it; ids of objects are unique within a context only.
    pub(crate) fn id(&self) -> u64 {
        self.objects().context()
    }

    /// Returns the table of its objects.
    pub(crate) fn objects(&self) -> &Arc<Table> {
        self.driver_side.objects()
    }

    /// Returns how long calls took, if that was measured.
    pub(crate) fn latencies(&self) -> &Arc<Latencies> {
        &self.latencies
    }

    /// Keeps `companion` as long as the context exists. It is dropped before the objects are.
    /// Called once.
    #[cfg_attr(not(CONFIG_DEBUG_FS), allow(dead_code))]
    pub(crate) fn accompany(&self, companion: KBox<dyn Companion>) {
        warn_on_once!(!self.companion.populate(companion));
    }

    /// Returns the device memory of objects that user space may map.
    pub(crate) fn offers(&self) -> &Offers {
        self.driver_side.offers()
    }

    /// Returns what IOMMU drivers reach of the context.
    pub(crate) fn driver_side(&self) -> &Shared<DriverSide> {
        &self.driver_side
    }

    /// Returns the state of each IOMMU group that has a bound device, by the group's id.
    pub(crate) fn groups(&self) -> &Shared<Registry> {
        &self.groups
    }

    /// Returns the state of each window of addresses for interrupts, by its first address.
    pub(crate) fn windows(&self) -> &Shared<Registry> {
        &self.windows
    }

    /// Records that `command` is refused, and returns the error. Everything that user space or vfio
    /// asks of the context ends here if it fails. Addresses for interrupts are asked for by the IOMMU
    /// core, which knows no context: its errors do not.
    #[cold]
    pub(crate) fn refuse(&self, command: &'static CStr, refusal: Refusal) -> Error {
        self.last_refusal.record(Refused { command, refusal });
        let reason = refusal.reason();
        emit(|| trace::Refused {
            context: self.id(),
            command,
            error: refusal.error().to_errno(),
            code: reason.code(),
            reason: reason.name(),
            number: refusal.number(),
        });
        refusal.error()
    }

    /// Returns the pinned memory.
    pub(crate) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// Returns how memory that is mapped now is charged.
    pub(crate) fn account(&self) -> Account<'_> {
        Account {
            usage: &self.usage,
            process: self.process_accounting(),
        }
    }

    /// Returns the numbers of calls.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the last refusal.
    pub(crate) fn last_refusal(&self) -> &LastRefusal {
        &self.last_refusal
    }

    /// Returns whether pinned pages are accounted to the process rather than to the user
    /// (`IOMMU_OPTION_RLIMIT_MODE`).
    pub(crate) fn process_accounting(&self) -> bool {
        self.process_accounting.load(Relaxed)
    }

    /// Sets how pinned pages are accounted to what `decide` returns. Returns `EBUSY` if there are
    /// objects, or what `decide` fails with.
    pub(crate) fn set_process_accounting(&self, decide: impl FnOnce() -> Result<bool>) -> Result {
        self.objects().while_empty(|| ())?;
        // It may write to user memory, and mmap() looks objects up under the mmap lock.
        let process = decide()?;
        self.objects()
            .while_empty(|| self.process_accounting.store(process, Relaxed))
    }

    /// Returns whether a VFIO group without an IOMMU uses the context. It excludes groups with one.
    pub(crate) fn no_iommu(&self) -> bool {
        self.no_iommu.load(Relaxed)
    }

    /// Records that a VFIO group without an IOMMU uses the context. Returns `EBUSY` if an object is
    /// marked, as the address space of groups with an IOMMU is.
    pub(crate) fn set_no_iommu(&self) -> Result {
        self.objects()
            .while_unmarked(|| self.no_iommu.store(true, Relaxed))
    }
}
