// SPDX-License-Identifier: GPL-2.0-only

//! Page tables that no IOMMU walks: they only remember which address means which memory.
//!
//! They have AMD's format, because that has the most page sizes, and are kept by the kernel's
//! generic page table code.
//!
//! C header: `include/linux/generic_pt/iommu.h`.

use core::ptr::NonNull;

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    ffi::bindings,
    kapi::iommu::{
        domain::Domain,
        driver_ref::DriverRef, //
    }, //
};

/// The page tables of a domain. The domain is `amdv1.iommu.domain`, the first field of all.
#[repr(C)]
struct SoftwarePt {
    amdv1: bindings::pt_iommu_amdv1,
    /// Guards the root of the table while a level is added.
    lock: bindings::spinlock_t,
}

const _: () = {
    assert!(core::mem::offset_of!(SoftwarePt, amdv1) == 0);
    assert!(core::mem::offset_of!(bindings::pt_iommu_amdv1, iommu) == 0);
    assert!(core::mem::offset_of!(bindings::pt_iommu, domain) == 0);
};

/// `struct iommu_ops` that stand for no IOMMU: the core attaches a domain only to devices whose
/// IOMMU driver owns it, hence never one of these.
struct Nobody(bindings::iommu_ops);

// SAFETY: Only its address is used.
unsafe impl Sync for Nobody {}

static NOBODY: Nobody = Nobody(
    // SAFETY: All zeroes are valid operations.
    unsafe { core::mem::MaybeUninit::zeroed().assume_init() },
);

static DOMAIN_OPS: bindings::iommu_domain_ops = bindings::iommu_domain_ops {
    iova_to_phys: Some(bindings::pt_iommu_amdv1_iova_to_phys),
    iotlb_sync: Some(iotlb_sync),
    free: Some(free),
    // SAFETY: All zeroes are valid operations.
    ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
};

static DRIVER_OPS: bindings::pt_iommu_driver_ops = bindings::pt_iommu_driver_ops {
    change_top: Some(change_top),
    get_top_lock: Some(get_top_lock),
};

/// Nothing walks the table, so nothing caches it: what was taken out of it is freed.
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
/// As `free` of `struct iommu_domain_ops`, for a domain of [`alloc`].
unsafe extern "C" fn free(domain: *mut bindings::iommu_domain) {
    let pt: *mut SoftwarePt = domain.cast();
    // SAFETY: `alloc` made the domain of a `KBox<SoftwarePt>` that nobody uses any more.
    unsafe {
        bindings::iommufd_rs_pt_iommu_deinit(&mut (*pt).amdv1.iommu);
        drop(KBox::from_raw(pt));
    }
}

/// Nothing walks the table, so nothing needs to know where it begins.
///
/// # Safety
///
/// As `change_top` of `struct pt_iommu_driver_ops`.
unsafe extern "C" fn change_top(
    _table: *mut bindings::pt_iommu,
    _top: bindings::phys_addr_t,
    _level: c_uint,
) {
}

/// # Safety
///
/// As `get_top_lock` of `struct pt_iommu_driver_ops`, for page tables of [`alloc`].
unsafe extern "C" fn get_top_lock(table: *mut bindings::pt_iommu) -> *mut bindings::spinlock_t {
    let pt: *mut SoftwarePt = table.cast();
    // SAFETY: The table is that of a `SoftwarePt`, as its driver operations are ours.
    unsafe { &raw mut (*pt).lock }
}

/// Makes page tables for a device without an IOMMU: any address may mean any memory. `ENOMEM`.
pub(crate) fn alloc() -> Result<Domain> {
    let driver = DriverRef::get(&NOBODY.0)?;
    let pt =
        KBox::into_raw(KBox::<SoftwarePt>::new_uninit(GFP_KERNEL_ACCOUNT)?).cast::<SoftwarePt>();
    let config = bindings::pt_iommu_amdv1_cfg {
        common: bindings::pt_iommu_cfg {
            features: (1 << bindings::pt_features_PT_FEAT_DYNAMIC_TOP)
                | (1 << bindings::PT_FEAT_AMDV1_ENCRYPT_TABLES)
                | (1 << bindings::PT_FEAT_AMDV1_FORCE_COHERENCE),
            hw_max_vasz_lg2: 64,
            hw_max_oasz_lg2: 52,
        },
        // Three levels, 512 GiB; more are added when an address needs them.
        starting_level: 2,
    };
    // SAFETY: `pt` is ours alone and stays in place until `free`; all zeroes are valid for the
    // parts that `pt_iommu_amdv1_init` does not set.
    let result = to_result(unsafe {
        pt.write_bytes(0, 1);
        bindings::__spin_lock_init(
            &raw mut (*pt).lock,
            c"SoftwarePt::lock".as_char_ptr(),
            kernel::static_lock_class!().as_ptr(),
        );
        (*pt).amdv1.iommu.nid = bindings::NUMA_NO_NODE;
        (*pt).amdv1.iommu.driver_ops = &DRIVER_OPS;
        (*pt).amdv1.iommu.domain.ops = &DOMAIN_OPS;
        (*pt).amdv1.iommu.domain.owner = &NOBODY.0;
        bindings::pt_iommu_amdv1_init(&raw mut (*pt).amdv1, &config, bindings::GFP_KERNEL_ACCOUNT)
    });
    if let Err(error) = result {
        // SAFETY: It came from `KBox::into_raw` above.
        drop(unsafe { KBox::from_raw(pt) });
        return Err(error);
    }
    // SAFETY: The domain is new, ours alone, and has operations that live for ever.
    Ok(unsafe { Domain::from_raw(NonNull::new_unchecked(pt.cast()), driver, true) })
}
