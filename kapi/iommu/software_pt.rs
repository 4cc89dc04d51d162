// SPDX-License-Identifier: GPL-2.0-only

//! Page tables of devices without an IOMMU. Nothing walks them: they record which memory is mapped
//! at which address, for `IOMMU_IOAS_NOIOMMU_GET_PA`.
//!
//! The generic page table code of the kernel keeps them in the format of AMD's IOMMU, which has the
//! most page sizes.
//!
//! C header: [`include/linux/generic_pt/iommu.h`](srctree/include/linux/generic_pt/iommu.h)

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

/// The page tables of a domain. The domain is `amdv1.iommu.domain`, which is at offset 0.
#[repr(C)]
struct SoftwarePt {
    amdv1: bindings::pt_iommu_amdv1,
    /// Protects the top of the table while a level is added.
    lock: bindings::spinlock_t,
}

const _: () = {
    assert!(core::mem::offset_of!(SoftwarePt, amdv1) == 0);
    assert!(core::mem::offset_of!(bindings::pt_iommu_amdv1, iommu) == 0);
    assert!(core::mem::offset_of!(bindings::pt_iommu, domain) == 0);
};

/// The owner of the domains. The IOMMU core attaches a domain only to devices whose driver is its
/// owner, and no driver has these operations.
struct NoDriver(bindings::iommu_ops);

// SAFETY: The struct is not written.
unsafe impl Sync for NoDriver {}

static NO_DRIVER: NoDriver = NoDriver(pin_init::zeroed());

static DOMAIN_OPS: bindings::iommu_domain_ops = bindings::iommu_domain_ops {
    iova_to_phys: Some(bindings::pt_iommu_amdv1_iova_to_phys),
    iotlb_sync: Some(iotlb_sync),
    free: Some(free),
    ..pin_init::zeroed()
};

static DRIVER_OPS: bindings::pt_iommu_driver_ops = bindings::pt_iommu_driver_ops {
    change_top: Some(change_top),
    get_top_lock: Some(get_top_lock),
};

/// Frees the page tables that were unlinked. Nothing walks the table, so nothing caches it.
///
/// # Safety
///
/// Must be called as `iotlb_sync` of `struct iommu_domain_ops`.
unsafe extern "C" fn iotlb_sync(
    _domain: *mut bindings::iommu_domain,
    gather: *mut bindings::iommu_iotlb_gather,
) {
    // SAFETY: The pages in the list of `gather` are not part of a page table any more.
    unsafe { bindings::iommufd_rs_free_gathered_pages(gather) };
}

/// # Safety
///
/// Must be called as `free` of a domain that [`alloc`] made.
unsafe extern "C" fn free(domain: *mut bindings::iommu_domain) {
    let pt: *mut SoftwarePt = domain.cast();
    // SAFETY: `alloc` initialised the table, and nothing uses it any more.
    unsafe { bindings::iommufd_rs_pt_iommu_deinit(&mut (*pt).amdv1.iommu) };
    // SAFETY: The domain is at offset 0 of a `SoftwarePt`, which `alloc` made of a `KBox`.
    drop(unsafe { KBox::from_raw(pt) });
}

/// Does nothing: nothing walks the table.
///
/// # Safety
///
/// Must be called as `change_top` of `struct pt_iommu_driver_ops`.
unsafe extern "C" fn change_top(
    _table: *mut bindings::pt_iommu,
    _top: bindings::phys_addr_t,
    _level: c_uint,
) {
}

/// # Safety
///
/// Must be called as `get_top_lock` of `struct pt_iommu_driver_ops`, for page tables that [`alloc`]
/// made.
unsafe extern "C" fn get_top_lock(table: *mut bindings::pt_iommu) -> *mut bindings::spinlock_t {
    let pt: *mut SoftwarePt = table.cast();
    // SAFETY: The table is at offset 0 of a `SoftwarePt`, so the address computed is that of its
    // field.
    unsafe { &raw mut (*pt).lock }
}

/// Allocates page tables that map nothing, with 64-bit addresses. Returns `ENOMEM` if there is no
/// memory.
pub(crate) fn alloc() -> Result<Domain> {
    let driver = DriverRef::of_static(&NO_DRIVER.0)?;
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
        // Three levels translate 512 GiB. The code adds levels when an address needs them.
        starting_level: 2,
    };
    // SAFETY: The memory can be written, and zero is valid for what of the table is not set below.
    let tables = unsafe {
        pt.write_bytes(0, 1);
        &mut *pt
    };
    // SAFETY:
    // - The lock can be written, and does not move, since it is a field of a boxed `SoftwarePt`.
    // - Name and lock class are static.
    unsafe {
        bindings::__spin_lock_init(
            &mut tables.lock,
            c"SoftwarePt::lock".as_char_ptr(),
            kernel::static_lock_class!().as_ptr(),
        )
    };
    tables.amdv1.iommu.nid = bindings::NUMA_NO_NODE;
    tables.amdv1.iommu.driver_ops = &DRIVER_OPS;
    tables.amdv1.iommu.domain.ops = &DOMAIN_OPS;
    tables.amdv1.iommu.domain.owner = &NO_DRIVER.0;
    // SAFETY: The table does not move before `free`, and the configuration is only read.
    let result = to_result(unsafe {
        bindings::pt_iommu_amdv1_init(&mut tables.amdv1, &config, bindings::GFP_KERNEL_ACCOUNT)
    });
    if let Err(error) = result {
        // SAFETY: `pt` came from `KBox::into_raw`, and no table was initialised in it.
        drop(unsafe { KBox::from_raw(pt) });
        return Err(error);
    }
    // SAFETY: `KBox::into_raw` does not return NULL.
    let domain = unsafe { NonNull::new_unchecked(pt.cast()) };
    // SAFETY: The domain is new, and `driver` stands for the owner, which has no module.
    Ok(unsafe { Domain::from_raw(domain, driver, true) })
}
