// SPDX-License-Identifier: GPL-2.0-only

//! The vIOMMUs of an IOMMU driver: `struct iommufd_viommu` and its operations.
//!
//! C header: `include/linux/iommufd.h`.

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    device::Device,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    transmute::AsBytes, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::{
            device,
            domain::UserData,
            provider, //
        },
        iommu_driver::{
            device::data_of,
            driver::{
                Driver,
                NestedTables,
                ViommuRef,
                VirtualIommu, //
            },
            hw_queue::{
                get_hw_queue_size,
                hw_queue_init_phys,
                Queues,
                ViommuBase, //
            },
            requests::Array,
            shared_pages::{
                NewViommu,
                OfferedPages, //
            }, //
        }, //
    }, //
};

/// The struct of a vIOMMU: iommufd's part, and the driver's.
#[repr(C)]
struct Memory<V> {
    base: ViommuBase,
    data: V,
    /// Pages that user space may map. They refer to iommufd's part.
    pages: Option<OfferedPages>,
}

impl<D: Driver> ViommuRef<'_, D> {
    /// Returns the id by which the guest knows a device. Returns `ENOENT` if the device has no
    /// vDEVICE on this vIOMMU.
    pub(crate) fn virt_id(&self, dev: &Device) -> Result<usize> {
        let mut id = 0;
        // SAFETY: By the type invariant the vIOMMU is initialised, and a `&Device` is a valid
        // device.
        to_result(unsafe {
            bindings::iommufd_viommu_get_vdev_id(self.raw.as_ptr(), device::as_raw(dev), &mut id)
        })?;
        Ok(id)
    }

    /// Reports an event of type `kind` (`enum iommu_veventq_type`) to the guest. Returns
    /// `EOPNOTSUPP` if the vIOMMU has no queue for that type, `ENOMEM` if there is no memory.
    pub(crate) fn report<T: AsBytes>(&self, kind: u32, event: &T) -> Result {
        // SAFETY: By the type invariant the vIOMMU is initialised, and the function only reads the
        // event.
        to_result(unsafe {
            bindings::iommufd_viommu_report_event(
                self.raw.as_ptr(),
                kind,
                core::ptr::from_ref(event).cast_mut().cast(),
                size_of::<T>(),
            )
        })
    }

    /// Runs `f` on the driver's data of the device that the guest knows by `virt_id`, with a
    /// spinlock held. Returns `None` if there is no such device.
    pub(crate) fn with_device<T>(
        &self,
        virt_id: usize,
        f: impl FnOnce(&D::Device) -> T,
    ) -> Option<T> {
        // SAFETY: By the type invariant the vIOMMU is initialised.
        let vdevs = unsafe { &raw mut (*self.raw.as_ptr()).vdevs };
        // SAFETY: The array is initialised, and unlocked below.
        unsafe { bindings::xa_lock(vdevs) };
        // SAFETY: The lock of the array is held.
        let dev = unsafe { bindings::iommufd_viommu_find_dev(self.raw.as_ptr(), virt_id) };
        let found = if dev.is_null() {
            None
        } else {
            // SAFETY:
            // - A device in the array is behind the IOMMU of the vIOMMU, so `D` probed it.
            // - It stays in the array, and exists, while the lock of the array is held.
            Some(f(unsafe { data_of::<D>(dev) }))
        };
        // SAFETY: This task has locked the array, above.
        unsafe { bindings::xa_unlock(vdevs) };
        found
    }
}

impl<D: Driver> Deref for ViommuRef<'_, D> {
    type Target = D::Viommu;

    fn deref(&self) -> &D::Viommu {
        // SAFETY: By the type invariant `viommu_init` has initialised it for `D`.
        unsafe { &(*self.raw.cast::<Memory<D::Viommu>>().as_ptr()).data }
    }
}

/// The operations of the vIOMMUs of type `V`.
struct Ops<V>(PhantomData<V>);

impl<V: VirtualIommu> Ops<V> {
    const RAW: bindings::iommufd_viommu_ops = bindings::iommufd_viommu_ops {
        destroy: Some(destroy::<V>),
        alloc_domain_nested: Some(alloc_domain_nested::<V>),
        cache_invalidate: Some(cache_invalidate::<V>),
        get_hw_queue_size: Some(get_hw_queue_size::<V>),
        hw_queue_init_phys: Some(hw_queue_init_phys::<V>),
        ..pin_init::zeroed()
    };
}

/// Returns the size of a vIOMMU. The driver calls functions of the kernel that look into iommufd's
/// structs, so it has vIOMMUs only if those functions call this module.
///
/// # Safety
///
/// Must be called as `get_viommu_size` of `struct iommu_ops`.
pub(super) unsafe extern "C" fn get_viommu_size<V: VirtualIommu>(
    _dev: *mut bindings::device,
    kind: bindings::iommu_viommu_type,
) -> usize {
    if kind == V::KIND && provider::is_registered() {
        size_of::<Memory<V>>()
    } else {
        0
    }
}

/// # Safety
///
/// Must be called as `viommu_init` of `struct iommu_ops`, for a vIOMMU of the size that
/// [`get_viommu_size`] returned for `V`.
pub(super) unsafe extern "C" fn viommu_init<V: VirtualIommu>(
    viommu: *mut kernel::bindings::iommufd_viommu,
    parent: *mut bindings::iommu_domain,
    data: *const bindings::iommu_user_data,
) -> c_int {
    const { assert!(align_of::<Memory<V>>() <= align_of::<bindings::iommufd_viommu>()) };
    from_result(|| {
        let memory: *mut Memory<V> = viommu.cast();
        let parent = NonNull::new(parent).ok_or(EINVAL)?;
        let raw = NonNull::new(viommu.cast()).ok_or(EINVAL)?;
        // SAFETY: `data` is NULL or valid during the call.
        let data = unsafe { data.as_ref() }.map(UserData::from_raw);
        // SAFETY: iommufd has initialised its part, which exists until after `destroy`.
        let mut new = unsafe { NewViommu::new(raw) };
        let made = V::new(&mut new, data)?;
        // SAFETY: iommufd holds a reference to the parent until after `destroy`: `Viommu::parent` in
        // `kapi/iommu/viommu.rs`.
        let queues = unsafe { Queues::new(parent) };
        // SAFETY:
        // - The driver's part is uninitialised: `get_viommu_size` has asked for its memory.
        // - It does not move: the struct of a vIOMMU is used by its address.
        // - `Queues::new` cannot fail.
        unsafe {
            pin_init::raw_init(&raw mut (*memory).base.queues, queues);
            (&raw mut (*memory).data).write(made);
            (&raw mut (*memory).pages).write(new.into_pages());
            (*memory).base.core.ops = &Ops::<V>::RAW;
        }
        Ok(0)
    })
}

/// # Safety
///
/// Must be called as `destroy` of a vIOMMU with the operations for `V`.
unsafe extern "C" fn destroy<V: VirtualIommu>(viommu: *mut bindings::iommufd_viommu) {
    let memory: *mut Memory<V> = viommu.cast();
    // SAFETY: `viommu_init` initialised all three before it set these operations, and nothing
    // refers to them any more.
    unsafe {
        core::ptr::drop_in_place(&raw mut (*memory).pages);
        core::ptr::drop_in_place(&raw mut (*memory).data);
        core::ptr::drop_in_place(&raw mut (*memory).base.queues);
    };
}

/// # Safety
///
/// Must be called as `alloc_domain_nested` of a vIOMMU with the operations for `V`.
unsafe extern "C" fn alloc_domain_nested<V: VirtualIommu>(
    viommu: *mut bindings::iommufd_viommu,
    flags: u32,
    data: *const bindings::iommu_user_data,
) -> *mut bindings::iommu_domain {
    let Some(raw) = NonNull::new(viommu) else {
        return EINVAL.to_ptr();
    };
    // SAFETY: `viommu_init` set the operations once the vIOMMU was initialised for `V`.
    let viommu = unsafe { ViommuRef::<V::Driver>::new(raw) };
    // SAFETY: `data` is valid during the call.
    let data = UserData::from_raw(unsafe { &*data });
    let tables = viommu.alloc_nested(flags, data);
    // SAFETY: A nested domain on a vIOMMU has a reference to it: `kapi::iommu::nested`.
    unsafe { NestedTables::into_raw_or_error(tables, Some(raw)) }
}

/// # Safety
///
/// Must be called as `cache_invalidate` of a vIOMMU with the operations for `V`.
unsafe extern "C" fn cache_invalidate<V: VirtualIommu>(
    viommu: *mut bindings::iommufd_viommu,
    array: *mut bindings::iommu_user_data_array,
) -> c_int {
    from_result(|| {
        let raw = NonNull::new(viommu).ok_or(EINVAL)?;
        // SAFETY: `viommu_init` set the operations once the vIOMMU was initialised for `V`.
        let viommu = unsafe { ViommuRef::new(raw) };
        // SAFETY: The caller does not use the array during the call.
        let array = Array::new(unsafe { &mut *array });
        V::invalidate(viommu, array)?;
        Ok(0)
    })
}
