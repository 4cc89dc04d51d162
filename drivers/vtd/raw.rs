// SPDX-License-Identifier: GPL-2.0-only

//! The door of the VT-d driver: what the driver does for this backend.
//!
//! The driver keeps the sequence of an attach, the lists of caches and devices, the invalidation
//! queue and all of their locks. It calls back for the first-stage fields of a PASID table entry,
//! and for the descriptors of an invalidation.
//!
//! C header: `include/linux/intel-iommu-door.h`.

use core::{
    cell::Cell,
    ffi::{
        c_int,
        c_void, //
    },
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull, //
};

use kernel::{
    error::to_result,
    prelude::*,
    sync::Arc, //
};

use crate::{
    drivers::vtd::{
        batch::{
            self,
            Caches,
            Walk, //
        },
        descriptor::{
            Cache,
            Descriptor, //
        },
        first_stage::{
            self,
            Entry,
            FirstStage, //
        },
        hardware::Hardware,
        range, //
    },
    ffi::bindings,
    kapi::iommu::{
        device::{
            self,
            IommuDevice, //
        },
        domain::Domain,
        nested::NestedDomain, //
    }, //
};

// The pure files name the flags of the user API themselves: they are compiled on the host too.
const _: () = {
    assert!(first_stage::SRE == bindings::iommu_hwpt_vtd_s1_flags_IOMMU_VTD_S1_SRE as u64);
    assert!(first_stage::EAFE == bindings::iommu_hwpt_vtd_s1_flags_IOMMU_VTD_S1_EAFE as u64);
    assert!(first_stage::WPE == bindings::iommu_hwpt_vtd_s1_flags_IOMMU_VTD_S1_WPE as u64);
    assert!(range::LEAF == bindings::iommu_hwpt_vtd_s1_invalidate_flags_IOMMU_VTD_INV_FLAGS_LEAF);
    assert!(size_of::<range::Words>() == size_of::<bindings::iommu_hwpt_vtd_s1_invalidate>());
};

/// The driver's table of functions, held until it is dropped.
pub(crate) struct Door(());

impl Door {
    /// Looks the table up. Returns `None` where the kernel has none. Called once, when the module
    /// is loaded.
    pub(crate) fn open() -> Option<Self> {
        // SAFETY: No other function of the door is called before it returns.
        if !unsafe { bindings::iommufd_rs_vtd_open() } {
            return None;
        }
        Some(Self(()))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // SAFETY:
        // - `open` succeeded.
        // - The module is being unloaded, so no device is bound, and no domain of this backend is
        //   left that calls the door.
        unsafe { bindings::iommufd_rs_vtd_close() };
    }
}

/// Returns whether the driver that has the door translates for `dev`.
pub(crate) fn owns(dev: &IommuDevice) -> bool {
    if !device::is_managed(dev) {
        return false;
    }
    // SAFETY:
    // - The module makes an `IommuDevice` after `Door::open` has returned, and the function accepts
    //   a door that is not open.
    // - An IOMMU driver manages the device, as was checked, and the core does not release it from that,
    //   as `IommuDevice::new` requires.
    unsafe { bindings::iommufd_rs_vtd_owns(device::as_raw(dev)) }
}

/// Returns what the IOMMU of `dev` implements, or `None` if it is another driver's or cannot nest.
pub(crate) fn hardware(dev: &IommuDevice) -> Option<Hardware> {
    if !owns(dev) {
        return None;
    }
    // SAFETY: `owns` has said that the device is the driver's.
    unsafe { info(device::as_raw(dev)) }
}

/// Returns what the IOMMU of `dev` implements, or `None` if it cannot nest.
///
/// # Safety
///
/// `dev` must be a device of the driver that has the door, which must be open.
unsafe fn info(dev: *mut bindings::device) -> Option<Hardware> {
    let (mut cap, mut ecap) = (0, 0);
    // SAFETY:
    // - The caller guarantees that the door is open and that the device is the driver's.
    // - The numbers can be written.
    let nests = unsafe { bindings::iommufd_rs_vtd_info(dev, &mut cap, &mut ecap) };
    nests.then(|| Hardware::new(cap, ecap))
}

/// Returns what a domain was made with.
///
/// # Safety
///
/// `domain` must have the operations `OPS`, and be valid for `'a`.
unsafe fn stage_of<'a>(domain: *mut bindings::iommu_domain) -> &'a FirstStage {
    // SAFETY: A domain with these operations came from the door, which is open as long as domains
    // exist.
    let private = unsafe { bindings::iommufd_rs_vtd_priv(domain) };
    // SAFETY: `alloc_nested` passed a `FirstStage`, which is valid as long as the domain.
    unsafe { &*private.cast::<FirstStage>() }
}

/// Allocates the domain of a guest's first stage on `parent`. Returns `EINVAL` if `parent` is
/// another driver's or cannot be nested on, `EOPNOTSUPP` if `dev` is another driver's, and `ENOMEM`.
pub(crate) fn alloc_nested(
    dev: &IommuDevice,
    parent: Arc<Domain>,
    stage: FirstStage,
) -> Result<NestedDomain> {
    if !owns(dev) {
        return Err(EOPNOTSUPP);
    }
    let private = KBox::new(stage, GFP_KERNEL_ACCOUNT)?;
    let alloc = |parent| {
        let alloc = |private| {
            // SAFETY:
            // - The door is open, since `owns` has returned true.
            // - `on_parent_by` passes a domain of the device's driver, which is the one of the
            //   door.
            // - `OPS` is static.
            unsafe { bindings::iommufd_rs_vtd_alloc_nested(parent, &OPS, Some(fill), private) }
        };
        // SAFETY:
        // - The driver returns a new domain or an `ERR_PTR`.
        // - `free` of `OPS` takes `private` back.
        unsafe { NestedDomain::with_private(private, alloc) }
    };
    // SAFETY: The driver returns a new domain, which refers to the parent and to `private` only;
    // that is freed with it.
    unsafe { NestedDomain::on_parent_by(dev, parent, alloc) }
}

/// A nested domain that [`alloc_nested`] of this file made.
///
/// # Invariants
///
/// The domain has the operations `OPS`.
pub(crate) struct NestedVtd<'a> {
    domain: NonNull<bindings::iommu_domain>,
    valid: PhantomData<&'a NestedDomain>,
    submissions: Cell<u32>,
}

impl<'a> NestedVtd<'a> {
    /// Returns the domain as one of this backend's, or `None` if it is not.
    pub(crate) fn of(domain: &'a NestedDomain) -> Option<Self> {
        let raw = domain.with_ops(&OPS)?;
        // INVARIANT: The operations were checked.
        Some(Self {
            domain: raw,
            valid: PhantomData,
            submissions: Cell::new(0),
        })
    }
}

impl NestedVtd<'_> {
    /// Walks the caches, with descriptors that are made in `room`, at most `batch::MAX` at once.
    fn invalidate_in(&self, walk: &Walk<'_>, room: &mut [MaybeUninit<Descriptor>]) -> Result {
        // CAST: `batch::MAX` is a small number.
        let count = room.len().min(batch::MAX) as u32;
        let first = room.as_mut_ptr().cast::<Descriptor>();
        let encoding = Encoding {
            walk,
            first,
            submissions: &self.submissions,
        };
        let mut encoder = bindings::iommufd_rs_vtd_encoder {
            encode: Some(encode),
            ranges: core::ptr::from_ref(&encoding).cast_mut().cast(),
            descs: first,
            room: count,
        };
        // SAFETY:
        // - By the type invariant the domain came from the door.
        // - `encode` gets `encoding`, which is valid during the call.
        // - `room` has at least `count` descriptors, of which the driver reads only those that
        //   `encode` has written.
        to_result(unsafe {
            bindings::iommufd_rs_vtd_invalidate(self.domain.as_ptr(), &mut encoder)
        })
    }
}

impl Caches for NestedVtd<'_> {
    fn invalidate(&self, walk: &Walk<'_>) -> Result {
        // Descriptors of a few ranges are made on the stack, even if there are several caches. If
        // there is no memory for more, there are more submissions.
        if walk.len() > FEW {
            let room = KBox::<[MaybeUninit<Descriptor>; batch::MAX]>::new_uninit(GFP_NOWAIT);
            if let Ok(mut room) = room {
                // SAFETY: An array of `MaybeUninit` needs no initialization.
                return self.invalidate_in(walk, unsafe { room.assume_init_mut() });
            }
        }
        self.invalidate_in(walk, &mut [MaybeUninit::uninit(); SMALL])
    }

    fn submissions(&self) -> u32 {
        self.submissions.get()
    }
}

/// How many ranges have their descriptors on the stack.
const FEW: usize = 4;
/// How many descriptors fit on the stack: as many as the driver's own path submits at once.
const SMALL: usize = 16;

/// What [`encode`] needs during a call of the door.
struct Encoding<'a> {
    walk: &'a Walk<'a>,
    /// Where the first descriptor of a submission is.
    first: *mut Descriptor,
    submissions: &'a Cell<u32>,
}

/// The operations of the domains that [`alloc_nested`] makes.
static OPS: bindings::iommu_domain_ops = bindings::iommu_domain_ops {
    attach_dev: Some(attach_dev),
    set_dev_pasid: Some(set_dev_pasid),
    free: Some(free),
    ..pin_init::zeroed()
};

/// Returns whether the IOMMU of `dev`, which need not be the one that `domain` was made for, can have
/// it. The driver leaves that to this backend.
///
/// # Safety
///
/// `domain` must have the operations `OPS`, and `dev` must be a device of the driver that has the door.
unsafe fn suits(domain: *mut bindings::iommu_domain, dev: *mut bindings::device) -> bool {
    // SAFETY: The caller guarantees what concerns the domain, which is valid during the call.
    let stage = unsafe { stage_of(domain) };
    // SAFETY: The device is the driver's, as the caller guarantees.
    unsafe { info(dev) }.is_some_and(|hardware| stage.suits(&hardware))
}

/// `attach_dev` of `OPS`. Returns `-EINVAL` if the IOMMU of the device cannot have the domain.
///
/// # Safety
///
/// As the IOMMU core calls it: `domain` has these operations, and `dev` is a device of its driver.
unsafe extern "C" fn attach_dev(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    old: *mut bindings::iommu_domain,
) -> c_int {
    // SAFETY: The caller guarantees that the domain came from the door, and the device is valid.
    if !unsafe { suits(domain, dev) } {
        return EINVAL.to_errno();
    }
    // SAFETY: The domain came from the door; the arguments are those of the IOMMU core.
    unsafe { bindings::iommufd_rs_vtd_attach_nested(domain, dev, old) }
}

/// `set_dev_pasid` of `OPS`. Returns `-EINVAL` if the IOMMU of the device cannot have the domain.
///
/// # Safety
///
/// As [`attach_dev`].
unsafe extern "C" fn set_dev_pasid(
    domain: *mut bindings::iommu_domain,
    dev: *mut bindings::device,
    pasid: bindings::ioasid_t,
    old: *mut bindings::iommu_domain,
) -> c_int {
    // SAFETY: The caller guarantees that the domain came from the door, and the device is valid.
    if !unsafe { suits(domain, dev) } {
        return EINVAL.to_errno();
    }
    // SAFETY: The domain came from the door; the arguments are those of the IOMMU core.
    unsafe { bindings::iommufd_rs_vtd_set_dev_pasid_nested(domain, dev, pasid, old) }
}

/// Sets the first-stage fields of an entry. The driver calls it with a spinlock held.
///
/// # Safety
///
/// `private` must be what [`alloc_nested`] passed, and `entry` an entry of the driver that nothing
/// else accesses.
unsafe extern "C" fn fill(private: *const c_void, entry: *mut u64) {
    // SAFETY: `alloc_nested` passed a `FirstStage`, which is valid as long as the domain.
    let stage = unsafe { &*private.cast::<FirstStage>() };
    // SAFETY: The driver passes an entry of its own, which is this long.
    stage.fill(unsafe { &mut *entry.cast::<Entry>() });
}

/// Makes descriptors for a cache. The driver calls it with a spinlock held.
///
/// # Safety
///
/// `encoding` must be what `invalidate` of [`NestedVtd`] passed, and `descriptors` must have room
/// for `room` of them.
unsafe extern "C" fn encode(
    encoding: *mut c_void,
    tag: *const bindings::iommufd_rs_vtd_tag,
    from: u32,
    descriptors: *mut [u64; 4],
    room: u32,
) -> u32 {
    // SAFETY: `invalidate` passed a reference that is valid during its call of the door.
    let encoding = unsafe { &*encoding.cast::<Encoding<'_>>() };
    let begins = descriptors == encoding.first;
    // SAFETY: The driver passes a tag of its own.
    let tag = unsafe { &*tag };
    let (cache, times) = match tag.device_tlb {
        0 => (
            Cache::Iotlb {
                did: tag.did,
                pasid: tag.pasid,
            },
            1,
        ),
        times => (
            Cache::Device {
                pasid: tag.pasid,
                sid: tag.sid,
                pfsid: tag.pfsid,
                qdep: tag.qdep,
            },
            usize::from(times),
        ),
    };
    let put = |place, descriptor| {
        // SAFETY: `Walk::encode` passes places below `room`, for which there is room, as the caller
        // guarantees.
        unsafe { descriptors.add(place).write(descriptor) };
    };
    let walk = encoding.walk;
    let written = walk.encode(&cache, times, from as usize, room as usize, put);
    if begins && written != 0 {
        let submissions = &encoding.submissions;
        submissions.set(submissions.get().wrapping_add(1));
    }
    // At most `room`, which is a `u32`.
    written as u32
}

/// `free` of `OPS`.
///
/// # Safety
///
/// `domain` must have these operations, and nothing may use it any more.
unsafe extern "C" fn free(domain: *mut bindings::iommu_domain) {
    // SAFETY: The domain came from `alloc_nested` of the door, which is open as long as domains
    // exist.
    let private = unsafe { bindings::iommufd_rs_vtd_free_nested(domain) };
    // SAFETY: `alloc_nested` of this file passed it, from `KBox::into_raw`.
    drop(unsafe { KBox::from_raw(private.cast::<FirstStage>()) });
}
