// SPDX-License-Identifier: GPL-2.0-only

//! An IOMMU with a bus of its own, for devices that software makes.
//!
//! C headers: `include/linux/device/bus.h`, `include/linux/platform_device.h`.

use core::{
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::atomic::{
        AtomicPtr,
        Ordering, //
    }, //
};

use kernel::{
    device::Device,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        rcu,
        Arc, //
    },
    types::Opaque, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::{
            device::{
                as_raw,
                IommuDevice, //
            },
            domain::Domain,
            iopf::PageRequest,
            nested::NestedDomain, //
        },
        iommu_driver::{
            driver::{
                DeviceState,
                Driver,
                NestedTables,
                PagingDomain,
                Probed, //
            },
            fault::{
                report,
                Faulting,
                Queue, //
            },
            ops::Ops, //
        },
        sync::complete_on_drop::CompleteOnDrop, //
    }, //
};

/// The registered IOMMU of a driver, which keeps this in a static.
///
/// # Invariants
///
/// The pointer is NULL, or came from `Arc::as_ptr()` of the reference that a [`Registration`] owns.
/// The registration drops that reference an RCU grace period after it cleared the pointer.
pub(crate) struct IommuSlot<D: Driver>(AtomicPtr<BusIommu<D>>);

impl<D: Driver> IommuSlot<D> {
    /// Makes a slot without an IOMMU.
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// Returns the IOMMU, if one is registered.
    pub(crate) fn get(&self) -> Option<Arc<BusIommu<D>>> {
        let _guard = rcu::read_lock();
        let iommu = self.0.load(Ordering::Acquire);
        if iommu.is_null() {
            return None;
        }
        // SAFETY: By the type invariant the reference is not dropped during the RCU read-side
        // critical section, and `ManuallyDrop` does not drop it here.
        let iommu = ManuallyDrop::new(unsafe { Arc::from_raw(iommu.cast_const()) });
        Some((*iommu).clone())
    }
}

/// The registration of an IOMMU and its bus. Dropping it waits until all devices on the bus were
/// freed.
pub(crate) struct Registration<D: Driver> {
    slot: &'static IommuSlot<D>,
    /// Taken when dropped.
    iommu: Option<Arc<BusIommu<D>>>,
}

impl<D: Driver> Registration<D> {
    /// Registers a bus called `name` and its IOMMU, and puts the IOMMU into `slot`.
    ///
    /// Returns `EEXIST` if there is a bus of that name, `EBUSY` if the slot has an IOMMU, `ENOMEM`
    /// if there is no memory.
    pub(crate) fn new(
        module: &'static ThisModule,
        slot: &'static IommuSlot<D>,
        name: &'static CStr,
    ) -> Result<Self> {
        let iommu = Arc::pin_init(BusIommu::new(module, name)?, GFP_KERNEL)?;
        // INVARIANT: The reference is put into the registration below.
        let found = slot.0.compare_exchange(
            core::ptr::null_mut(),
            Arc::as_ptr(&iommu).cast_mut(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        found.map_err(|_| EBUSY)?;
        Ok(Self {
            slot,
            iommu: Some(iommu),
        })
    }
}

impl<D: Driver> Drop for Registration<D> {
    fn drop(&mut self) {
        self.slot.0.store(core::ptr::null_mut(), Ordering::Release);
        rcu::synchronize_rcu();
        if let Some(iommu) = self.iommu.take() {
            let dropped = iommu.dropped.completion();
            drop(iommu);
            dropped.wait_for_completion();
        }
    }
}

/// A platform device, the parent of the IOMMU in sysfs.
///
/// # Invariants
///
/// The device is registered.
struct Platform(NonNull<bindings::platform_device>);

impl Platform {
    fn new(name: &'static CStr) -> Result<Self> {
        let info = bindings::platform_device_info {
            name: name.as_char_ptr(),
            ..Default::default()
        };
        // SAFETY: `name` is a NUL-terminated string, and the function copies what it is given.
        let raw = from_err_ptr(unsafe { bindings::platform_device_register_full(&info) })?;
        Ok(Self(NonNull::new(raw).ok_or(ENOMEM)?))
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is registered.
        unsafe { bindings::platform_device_unregister(self.0.as_ptr()) };
    }
}

/// A registered bus.
///
/// # Invariants
///
/// The bus is registered. It is another field of the same [`BusIommu`], which is dropped after
/// this.
struct Bus(*mut bindings::bus_type);

impl Drop for Bus {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is registered.
        unsafe { bindings::bus_unregister(self.0) };
    }
}

/// The sysfs entry of an IOMMU.
///
/// # Invariants
///
/// The IOMMU was added to sysfs. It is another field of the same [`BusIommu`], which is dropped
/// after this.
struct Attributes(*mut bindings::iommu_device);

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it was added.
        unsafe { bindings::iommu_device_sysfs_remove(self.0) };
    }
}

/// The registration of an IOMMU with the IOMMU core.
///
/// # Invariants
///
/// The IOMMU is registered for the bus, with the notifier. All three are other fields of the same
/// [`BusIommu`], which are dropped after this.
struct CoreRegistration {
    iommu: *mut bindings::iommu_device,
    bus: *mut bindings::bus_type,
    notifier: *mut bindings::notifier_block,
}

impl Drop for CoreRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is registered with these.
        unsafe { bindings::iommu_device_unregister_bus(self.iommu, self.bus, self.notifier) };
    }
}

/// An IOMMU and its bus.
#[pin_data]
pub(crate) struct BusIommu<D: Driver> {
    // Each field is dropped before the fields that it needs, and `dropped` last.
    _attributes: Attributes,
    _core: CoreRegistration,
    _registered: Bus,
    _platform: Platform,
    #[pin]
    iommu: Opaque<bindings::iommu_device>,
    #[pin]
    bus: Opaque<bindings::bus_type>,
    #[pin]
    notifier: Opaque<bindings::notifier_block>,
    #[pin]
    ops: Ops<D>,
    faults: Arc<Queue>,
    name: &'static CStr,
    /// The number in the name of the next device.
    next: Atomic<u32>,
    dropped: CompleteOnDrop,
}

// SAFETY: The C objects may be used and unregistered by any task.
unsafe impl<D: Driver> Send for BusIommu<D> {}
// SAFETY: The driver core and the IOMMU core lock the C objects.
unsafe impl<D: Driver> Sync for BusIommu<D> {}

impl<D: Driver> BusIommu<D> {
    fn new(module: &'static ThisModule, name: &'static CStr) -> Result<impl PinInit<Self, Error>> {
        let dropped = CompleteOnDrop::new()?;
        let platform = Platform::new(name)?;
        let faults = Queue::new(name)?;
        Ok(try_pin_init!(&this in Self {
            ops <- Ops::new(module),
            notifier <- Opaque::zeroed(),
            bus <- Opaque::ffi_init(move |slot: *mut bindings::bus_type| {
                let bus = bindings::bus_type {
                    name: name.as_char_ptr(),
                    ..Default::default()
                };
                // SAFETY: `slot` can be written to.
                unsafe { slot.write(bus) };
            }),
            iommu <- Opaque::zeroed(),
            _registered: {
                // SAFETY: `this` is the memory that is being initialised.
                let bus = unsafe { (*this.as_ptr()).bus.get() };
                // SAFETY: The bus was initialised above, and does not move.
                to_result(unsafe { bindings::bus_register(bus) })?;
                // INVARIANT: It was just registered.
                Bus(bus)
            },
            _attributes: {
                // SAFETY: `this` is the memory that is being initialised.
                let iommu = unsafe { (*this.as_ptr()).iommu.get() };
                // SAFETY:
                // - The IOMMU is zero, as the function expects, and does not move.
                // - The platform device is registered, and is unregistered after the IOMMU was
                //   removed.
                to_result(unsafe {
                    bindings::iommu_device_sysfs_add(
                        iommu,
                        &raw mut (*platform.0.as_ptr()).dev,
                        core::ptr::null_mut(),
                        c"%s".as_char_ptr(),
                        name.as_char_ptr(),
                    )
                })?;
                // INVARIANT: It was just added.
                Attributes(iommu)
            },
            _core: {
                // SAFETY: `this` is the memory that is being initialised, of which these were
                // above.
                let (iommu, bus, notifier, ops) = unsafe {
                    let this = this.as_ptr();
                    let (iommu, bus) = ((*this).iommu.get(), (*this).bus.get());
                    (iommu, bus, (*this).notifier.get(), (*this).ops.as_ptr())
                };
                // SAFETY: None of them moves, and all are dropped after the registration.
                to_result(unsafe {
                    bindings::iommu_device_register_bus(iommu, ops, bus, notifier)
                })?;
                // SAFETY: The IOMMU has no devices yet, so the core does not read the field.
                unsafe { (*iommu).max_pasids = D::MAX_PASIDS };
                // INVARIANT: It was just registered.
                CoreRegistration { iommu, bus, notifier }
            },
            _platform: platform,
            faults,
            name,
            next: Atomic::new(0),
            dropped,
        }? Error))
    }

    /// Adds a device to the bus. `pasid_bits` is the width of its PASIDs, or 0 if it has none.
    /// Returns `ENOMEM` if there is no memory.
    pub(crate) fn add_device(
        self: &Arc<Self>,
        data: D::Device,
        pasid_bits: u32,
    ) -> Result<BusDevice<D>> {
        let state = DeviceState {
            data,
            faulting: Faulting::new(self.faults.clone()),
        };
        let memory = KBox::into_raw(KBox::<Memory<D>>::new_uninit(GFP_KERNEL)?).cast::<Memory<D>>();
        // SAFETY: Nothing else refers to the memory, and zero is valid for a `struct device` that
        // is not initialised.
        let dev = unsafe {
            memory.write_bytes(0, 1);
            (&raw mut (*memory).state).write(state);
            (&raw mut (*memory).iommu).write(self.clone());
            let dev = &raw mut (*memory).dev;
            (*dev).release = Some(release::<D>);
            (*dev).bus = self.bus.get();
            dev
        };
        // SAFETY: From here on `release` frees the memory.
        unsafe { bindings::device_initialize(dev) };
        // INVARIANT: It was just initialised, and nothing else has its first reference.
        let dev = Initialised(dev);

        let number = self.next.fetch_add(1, Relaxed);
        // SAFETY: The device is initialised, and the format has these two arguments.
        to_result(unsafe {
            bindings::dev_set_name(
                dev.0,
                c"%s%u".as_char_ptr(),
                self.name.as_char_ptr(),
                number,
            )
        })?;
        // SAFETY: The device is initialised, and on the bus of the IOMMU.
        to_result(unsafe {
            bindings::iommufd_rs_mock_device_add(dev.0, self.iommu.get(), pasid_bits)
        })?;
        let dev = dev.into_raw();
        // INVARIANT: It was just added, and `into_raw` returned the reference.
        Ok(BusDevice {
            // SAFETY: It points into `memory`, which is not NULL.
            dev: unsafe { NonNull::new_unchecked(dev) },
            _driver: core::marker::PhantomData,
        })
    }

    /// Implements [`Driver::probe`]. Returns `ENODEV` if the device is not on the bus.
    pub(crate) fn probe<'a>(&self, dev: &'a Device) -> Result<Probed<'a, D>> {
        let state = NonNull::from(self.state(dev).ok_or(ENODEV)?);
        // SAFETY: `get()` does not return NULL.
        let iommu = unsafe { NonNull::new_unchecked(self.iommu.get()) };
        // SAFETY: The memory of a device on the bus contains the state and a reference to the
        // IOMMU.
        Ok(unsafe { Probed::new(iommu, state) })
    }

    /// Returns the driver's data of a device, or `None` if it is not on the bus.
    pub(crate) fn data<'a>(&self, dev: &'a Device) -> Option<&'a D::Device> {
        self.state(dev).map(|state| &state.data)
    }

    /// Returns the state of a device, or `None` if it is not on the bus.
    fn state<'a>(&self, dev: &'a Device) -> Option<&'a DeviceState<D>> {
        let dev = as_raw(dev);
        // SAFETY: A `&Device` is a valid device, whose bus does not change.
        if !core::ptr::eq(unsafe { (*dev).bus }, self.bus.get()) {
            return None;
        }
        // SAFETY: `add_device` alone puts devices on the bus, and each is the first field of a
        // `Memory`.
        Some(unsafe { &(*dev.cast_const().cast::<Memory<D>>()).state })
    }

    /// Reports a page fault of a device. `last` says that it is the last one of its group; then the
    /// group has been delivered when this returns. A fault that nothing takes is answered at once.
    /// Returns `EINVAL` if the device is not on the bus, and `EBUSY` if it has had too many faults
    /// that are not the last one of their group.
    pub(crate) fn fault(&self, dev: &IommuDevice, request: &PageRequest, last: bool) -> Result {
        let state = self.state(dev).ok_or(EINVAL)?;
        // SAFETY: `iommufd_rs_mock_device_add` adds a device to the bus only if it could be probed,
        // and an `IommuDevice` was not removed.
        unsafe { report(dev, &state.faulting, request, last) }
    }

    /// Returns the page tables of a nested domain, or `None` if it is not one of this IOMMU.
    pub(crate) fn nested<'a>(
        &self,
        domain: &'a NestedDomain,
    ) -> Option<&'a NestedTables<D::Nested>> {
        let raw = domain.as_ptr();
        // SAFETY: The domain is valid as long as `domain`.
        let ours = core::ptr::eq(unsafe { (*raw).owner }, self.ops.as_ptr());
        // SAFETY: The nested domains that these operations make are `NestedTables<D::Nested>`.
        ours.then(|| unsafe { NestedTables::borrow(raw) })
    }

    /// Returns the page tables of a paging domain, or `None` if it is not one of this IOMMU.
    pub(crate) fn domain<'a>(&self, domain: &'a Domain) -> Option<&'a PagingDomain<D::Domain>> {
        let raw = domain.as_ptr();
        // SAFETY: The domain is valid as long as `domain`.
        let ours = core::ptr::eq(unsafe { (*raw).owner }, self.ops.as_ptr());
        // SAFETY: The paging domains that these operations make are `PagingDomain<D::Domain>`.
        ours.then(|| unsafe { PagingDomain::borrow(raw) })
    }
}

/// The memory of a device.
#[repr(C)]
struct Memory<D: Driver> {
    // The first field: the driver core's pointer to it is a pointer to the memory.
    dev: bindings::device,
    state: DeviceState<D>,
    /// Keeps the IOMMU, and the bus, as long as the device.
    iommu: Arc<BusIommu<D>>,
}

/// # Safety
///
/// Must be called as `release` of a device that [`BusIommu::add_device`] has initialised.
unsafe extern "C" fn release<D: Driver>(dev: *mut bindings::device) {
    // SAFETY:
    // - The device is the first field of a `Memory`, which `add_device` allocated in a `KBox`.
    // - Nothing refers to it any more.
    drop(unsafe { KBox::from_raw(dev.cast::<Memory<D>>()) });
}

/// A device that is initialised and not added.
///
/// # Invariants
///
/// A reference to the device belongs to this.
struct Initialised(*mut bindings::device);

impl Initialised {
    fn into_raw(self) -> *mut bindings::device {
        let raw = self.0;
        core::mem::forget(self);
        raw
    }
}

impl Drop for Initialised {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::put_device(self.0) };
    }
}

/// A device on the bus. Dropping it removes the device. The DMA ownership of its group must have
/// been released before.
///
/// # Invariants
///
/// The device was added to the bus, and a reference to it belongs to this.
pub(crate) struct BusDevice<D: Driver> {
    dev: NonNull<bindings::device>,
    _driver: core::marker::PhantomData<D>,
}

// SAFETY: A device may be removed by any task.
unsafe impl<D: Driver> Send for BusDevice<D> {}
// SAFETY: A `&Device` may be used by any task.
unsafe impl<D: Driver> Sync for BusDevice<D> {}

impl<D: Driver> BusDevice<D> {
    /// Returns the device to users of its IOMMU. It is removed when the last of them has dropped
    /// it. Returns `ENOMEM` if there is no memory.
    pub(crate) fn into_iommu_device(self) -> Result<IommuDevice> {
        // SAFETY: By the type invariant there is a reference to it.
        let dev = unsafe { Device::from_raw::<'_>(self.dev.as_ptr()) };
        // SAFETY: The IOMMU core probed the device when it was added to the bus, which has no
        // drivers that could be unbound, and it remains on the bus until `self` is dropped.
        unsafe { IommuDevice::new(dev, self) }
    }
}

impl<D: Driver> Drop for BusDevice<D> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it was added, and the reference is ours.
        unsafe { bindings::device_unregister(self.dev.as_ptr()) };
    }
}
