// SPDX-License-Identifier: GPL-2.0-only

//! vIOMMUs of an IOMMU driver: `struct iommufd_viommu` and its operations.
//!
//! C header: `include/linux/iommufd.h`.

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    device::Device,
    error::to_result,
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
            hw_queue::{
                get_hw_queue_size,
                hw_queue_init_phys,
                Queues, //
            },
            nested::NestedTables,
            ops::{
                data_of,
                errno,
                Driver, //
            },
            requests::Array,
            shared_pages::NewViommu, //
        }, //
    }, //
};

/// What a driver has for the virtual IOMMU of a guest. It goes after all that is made on it.
pub(crate) trait VirtualIommu: Sized + Send + Sync + 'static {
    /// The driver.
    type Driver: Driver<Viommu = Self>;

    /// Which kind it is, of `enum iommu_viommu_type`.
    const KIND: u32;

    /// Which kind of HW queues it has, of `enum iommu_hw_queue_type`.
    const QUEUE_KIND: Option<u32>;

    /// Makes what the driver keeps with `viommu`. `EOPNOTSUPP` for data where none are expected, or
    /// what they are wrong by.
    fn new(viommu: NewViommu<'_>, data: Option<UserData>) -> Result<Self>;

    /// Makes page tables for user space to fill; `flags` are the uAPI's HWPT_ALLOC flags.
    /// `EOPNOTSUPP` for what it does not know.
    fn alloc_nested(&self, flags: u32, data: UserData) -> Result<<Self::Driver as Driver>::Nested>;

    /// Carries out a user's requests to forget what is cached.
    fn invalidate(viommu: ViommuRef<'_, Self::Driver>, requests: Array<'_>) -> Result;
}

/// A vIOMMU's memory. iommufd's part comes first.
#[repr(C)]
struct Memory<V> {
    core: bindings::iommufd_viommu,
    queues: Queues,
    data: V,
}

/// The queues of a vIOMMU.
///
/// # Safety
///
/// [`viommu_init`] has initialised it for `V`, and it is not destroyed during `'a`.
pub(super) unsafe fn queues_of<'a, V: VirtualIommu>(
    viommu: *mut bindings::iommufd_viommu,
) -> &'a Queues {
    // SAFETY: The caller's promise.
    unsafe { &(*viommu.cast::<Memory<V>>()).queues }
}

/// A vIOMMU that is initialised.
#[derive(Clone, Copy)]
pub(crate) struct ViommuRef<'a, D: Driver> {
    raw: NonNull<bindings::iommufd_viommu>,
    _driver: PhantomData<&'a D::Viommu>,
}

impl<D: Driver> ViommuRef<'_, D> {
    /// # Safety
    ///
    /// [`viommu_init`] has initialised it for `D`, and it is not destroyed while the reference is
    /// used.
    pub(super) unsafe fn new(raw: NonNull<bindings::iommufd_viommu>) -> Self {
        Self {
            raw,
            _driver: PhantomData,
        }
    }

    /// By what the guest knows a device. `ENOENT` where it does not.
    pub(crate) fn virt_id(&self, dev: &Device) -> Result<usize> {
        let mut id = 0;
        // SAFETY: The vIOMMU is initialised, the device alive.
        to_result(unsafe {
            bindings::iommufd_viommu_get_vdev_id(self.raw.as_ptr(), device::as_raw(dev), &mut id)
        })?;
        Ok(id)
    }

    /// Reports an event of type `kind` (`enum iommu_veventq_type`) to the guest. Returns
    /// `EOPNOTSUPP` if the vIOMMU has no queue for that type, `ENOMEM`.
    pub(crate) fn report<T: AsBytes>(&self, kind: u32, event: &T) -> Result {
        // SAFETY: The vIOMMU is initialised. The event is only read.
        to_result(unsafe {
            bindings::iommufd_viommu_report_event(
                self.raw.as_ptr(),
                kind,
                core::ptr::from_ref(event).cast_mut().cast(),
                size_of::<T>(),
            )
        })
    }

    /// Runs `f` on the driver's data of the device that the guest knows by `virt_id`. A spinlock is
    /// held meanwhile. `None` where there is no such device.
    pub(crate) fn with_device<T>(
        &self,
        virt_id: usize,
        f: impl FnOnce(&D::Device) -> T,
    ) -> Option<T> {
        // SAFETY: The vIOMMU is initialised. What is found stays until the lock is released; it is
        // behind the vIOMMU's IOMMU, so `D` has probed it.
        unsafe {
            let vdevs = &raw mut (*self.raw.as_ptr()).vdevs;
            bindings::xa_lock(vdevs);
            let dev = bindings::iommufd_viommu_find_dev(self.raw.as_ptr(), virt_id);
            let found = (!dev.is_null()).then(|| f(data_of::<D>(dev)));
            bindings::xa_unlock(vdevs);
            found
        }
    }
}

impl<D: Driver> Deref for ViommuRef<'_, D> {
    type Target = D::Viommu;

    fn deref(&self) -> &D::Viommu {
        // SAFETY: It is initialised.
        unsafe { &(*self.raw.cast::<Memory<D::Viommu>>().as_ptr()).data }
    }
}

/// The operations of a kind of vIOMMUs.
struct Ops<V>(PhantomData<V>);

impl<V: VirtualIommu> Ops<V> {
    const RAW: bindings::iommufd_viommu_ops = bindings::iommufd_viommu_ops {
        destroy: Some(destroy::<V>),
        alloc_domain_nested: Some(alloc_domain_nested::<V>),
        cache_invalidate: Some(cache_invalidate::<V>),
        get_hw_queue_size: Some(get_hw_queue_size::<V>),
        hw_queue_init_phys: Some(hw_queue_init_phys::<V>),
        // SAFETY: All zeroes are valid operations.
        ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
    };
}

/// What is known by devices' virtual ids is asked of the kernel, which must ask us then.
///
/// # Safety
///
/// As `get_viommu_size` of `struct iommu_ops`.
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
/// As `viommu_init` of `struct iommu_ops`, for a vIOMMU of the size that was asked for.
pub(super) unsafe extern "C" fn viommu_init<V: VirtualIommu>(
    viommu: *mut kernel::bindings::iommufd_viommu,
    parent: *mut bindings::iommu_domain,
    data: *const bindings::iommu_user_data,
) -> c_int {
    const { assert!(align_of::<Memory<V>>() <= align_of::<bindings::iommufd_viommu>()) };
    let memory: *mut Memory<V> = viommu.cast();
    let (Some(parent), Some(raw)) = (NonNull::new(parent), NonNull::new(viommu.cast())) else {
        return EINVAL.to_errno();
    };
    // SAFETY: The data are the caller's during the call. iommufd has initialised its part, which
    // goes after what is made here: `destroy` comes before.
    let made = unsafe {
        let data = data.as_ref().map(UserData::from_raw);
        V::new(NewViommu::new(raw), data)
    };
    errno(made.map(|made| {
        // SAFETY: The memory is ours to initialise, and stays in place.
        unsafe {
            pin_init::raw_init(&raw mut (*memory).queues, Queues::new(parent));
            (&raw mut (*memory).data).write(made);
            (*memory).core.ops = &Ops::<V>::RAW;
        }
    }))
}

/// # Safety
///
/// As `destroy` of `struct iommufd_viommu_ops`, for a vIOMMU of `V`.
unsafe extern "C" fn destroy<V: VirtualIommu>(viommu: *mut bindings::iommufd_viommu) {
    let memory: *mut Memory<V> = viommu.cast();
    // SAFETY: `viommu_init` has made it, and set these operations only then.
    unsafe {
        core::ptr::drop_in_place(&raw mut (*memory).queues);
        core::ptr::drop_in_place(&raw mut (*memory).data);
    };
}

/// # Safety
///
/// As `alloc_domain_nested` of `struct iommufd_viommu_ops`, for a vIOMMU of `V`.
unsafe extern "C" fn alloc_domain_nested<V: VirtualIommu>(
    viommu: *mut bindings::iommufd_viommu,
    flags: u32,
    data: *const bindings::iommu_user_data,
) -> *mut bindings::iommu_domain {
    let Some(raw) = NonNull::new(viommu) else {
        return EINVAL.to_ptr();
    };
    // SAFETY: The vIOMMU has these operations, so it is initialised; the data are the caller's
    // during the call.
    let tables = unsafe {
        let viommu = ViommuRef::<V::Driver>::new(raw);
        viommu.alloc_nested(flags, UserData::from_raw(&*data))
    };
    NestedTables::into_raw_or_error(tables, Some(raw))
}

/// # Safety
///
/// As `cache_invalidate` of `struct iommufd_viommu_ops`, for a vIOMMU of `V`.
unsafe extern "C" fn cache_invalidate<V: VirtualIommu>(
    viommu: *mut bindings::iommufd_viommu,
    array: *mut bindings::iommu_user_data_array,
) -> c_int {
    let Some(raw) = NonNull::new(viommu) else {
        return EINVAL.to_errno();
    };
    // SAFETY: As for `alloc_domain_nested`; the array is ours during the call.
    errno(unsafe { V::invalidate(ViommuRef::new(raw), Array::new(&mut *array)) })
}
