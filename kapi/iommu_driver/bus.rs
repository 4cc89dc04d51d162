// SPDX-License-Identifier: GPL-2.0-only

//! An IOMMU in front of a bus of its own, for devices that software makes.

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
            domain::Domain,
            iopf::PageRequest,
            nested::NestedDomain, //
        },
        iommu_driver::{
            fault::{
                Faulting,
                FaultsBlocked,
                Queue, //
            },
            nested::NestedTables,
            ops::{
                raw,
                Driver,
                Ops,
                Probed, //
            },
            paging::PagingDomain, //
        },
        sync::complete_on_drop::CompleteOnDrop, //
    }, //
};

/// Where a driver finds its registered IOMMU: a static of its own.
pub(crate) struct IommuSlot<D: Driver>(AtomicPtr<BusIommu<D>>);

impl<D: Driver> IommuSlot<D> {
    /// Nothing is registered.
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// The IOMMU, while it is registered.
    pub(crate) fn get(&self) -> Option<Arc<BusIommu<D>>> {
        let _guard = rcu::read_lock();
        let iommu = self.0.load(Ordering::Acquire);
        if iommu.is_null() {
            return None;
        }
        // SAFETY: The registration holds a reference until it has cleared the slot and every RCU
        // reader is through; it is not given back here.
        let iommu = ManuallyDrop::new(unsafe { Arc::from_raw(iommu.cast_const()) });
        Some((*iommu).clone())
    }
}

/// A registered IOMMU with its bus. Dropping it waits until all devices are gone.
pub(crate) struct Registration<D: Driver> {
    slot: &'static IommuSlot<D>,
    /// Taken when dropped.
    iommu: Option<Arc<BusIommu<D>>>,
}

impl<D: Driver> Registration<D> {
    /// Makes a bus, `name`, and an IOMMU in front of it that `slot` leads to. `ENOMEM`, `EEXIST`
    /// where there is a bus of that name, `EBUSY` where the driver has an IOMMU already.
    pub(crate) fn new(
        module: &'static ThisModule,
        slot: &'static IommuSlot<D>,
        name: &'static CStr,
    ) -> Result<Self> {
        let iommu = Arc::pin_init(BusIommu::new(module, name)?, GFP_KERNEL)?;
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

/// A platform device that stands for the hardware.
struct Platform(NonNull<bindings::platform_device>);

impl Platform {
    fn new(name: &'static CStr) -> Result<Self> {
        let info = bindings::platform_device_info {
            name: name.as_char_ptr(),
            ..Default::default()
        };
        // SAFETY: The name lives for ever, the rest is copied.
        let raw = from_err_ptr(unsafe { bindings::platform_device_register_full(&info) })?;
        Ok(Self(NonNull::new(raw).ok_or(ENOMEM)?))
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // SAFETY: `new` registered it.
        unsafe { bindings::platform_device_unregister(self.0.as_ptr()) };
    }
}

/// A registered bus. What it points to is pinned beside it.
struct Bus(*mut bindings::bus_type);

impl Drop for Bus {
    fn drop(&mut self) {
        // SAFETY: It was registered when this was made.
        unsafe { bindings::bus_unregister(self.0) };
    }
}

/// An IOMMU in sysfs. What it points to is pinned beside it.
struct Attributes(*mut bindings::iommu_device);

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: It was added when this was made.
        unsafe { bindings::iommu_device_sysfs_remove(self.0) };
    }
}

/// An IOMMU that the core knows. What it points to is pinned beside it.
struct CoreRegistration {
    iommu: *mut bindings::iommu_device,
    bus: *mut bindings::bus_type,
    notifier: *mut bindings::notifier_block,
}

impl Drop for CoreRegistration {
    fn drop(&mut self) {
        // SAFETY: It was registered when this was made.
        unsafe { bindings::iommu_device_unregister_bus(self.iommu, self.bus, self.notifier) };
    }
}

/// An IOMMU and its bus.
#[pin_data]
pub(crate) struct BusIommu<D: Driver> {
    // Field order: each goes before what it needs; that everything is gone is said last.
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
    faults: Queue,
    name: &'static CStr,
    /// The number of the next device.
    next: Atomic<u32>,
    dropped: CompleteOnDrop,
}

// SAFETY: The C objects have locks of their own.
unsafe impl<D: Driver> Send for BusIommu<D> {}
// SAFETY: As above.
unsafe impl<D: Driver> Sync for BusIommu<D> {}

impl<D: Driver> BusIommu<D> {
    fn new(module: &'static ThisModule, name: &'static CStr) -> Result<impl PinInit<Self, Error>> {
        let dropped = CompleteOnDrop::new()?;
        let platform = Platform::new(name)?;
        let faults = Queue::new(name)?;
        Ok(try_pin_init!(&this in Self {
            ops <- Ops::new(module.as_ptr()),
            notifier <- Opaque::zeroed(),
            bus <- Opaque::ffi_init(move |slot: *mut bindings::bus_type| {
                let bus = bindings::bus_type {
                    name: name.as_char_ptr(),
                    ..Default::default()
                };
                // SAFETY: `slot` is ours to write.
                unsafe { slot.write(bus) };
            }),
            iommu <- Opaque::zeroed(),
            _registered: {
                // SAFETY: The bus was set above and is pinned.
                let bus = unsafe { (*this.as_ptr()).bus.get() };
                // SAFETY: It stays until it is unregistered.
                to_result(unsafe { bindings::bus_register(bus) })?;
                Bus(bus)
            },
            _attributes: {
                // SAFETY: The IOMMU is pinned and zero, as it has to be; the platform device lives
                // longer.
                unsafe {
                    let iommu = (*this.as_ptr()).iommu.get();
                    to_result(bindings::iommu_device_sysfs_add(
                        iommu,
                        &raw mut (*platform.0.as_ptr()).dev,
                        core::ptr::null_mut(),
                        c"%s".as_char_ptr(),
                        name.as_char_ptr(),
                    ))?;
                    Attributes(iommu)
                }
            },
            _core: {
                // SAFETY: All of it is pinned and stays until it is unregistered.
                unsafe {
                    let this = this.as_ptr();
                    let (iommu, bus) = ((*this).iommu.get(), (*this).bus.get());
                    let notifier = (*this).notifier.get();
                    let ops = (*this).ops.as_ptr();
                    to_result(bindings::iommu_device_register_bus(iommu, ops, bus, notifier))?;
                    (*iommu).max_pasids = D::MAX_PASIDS;
                    CoreRegistration { iommu, bus, notifier }
                }
            },
            _platform: platform,
            faults,
            name,
            next: Atomic::new(0),
            dropped,
        }? Error))
    }

    /// Makes a device on the bus. `pasid_bits` says how wide its PASIDs are, 0 for none. `ENOMEM`.
    pub(crate) fn add_device(
        self: &Arc<Self>,
        data: D::Device,
        pasid_bits: u32,
    ) -> Result<BusDevice<D>> {
        let faulting = Faulting::new()?;
        let memory = KBox::into_raw(KBox::<Memory<D>>::new_uninit(GFP_KERNEL)?).cast::<Memory<D>>();
        // SAFETY: `memory` is ours alone; a device is zero before `device_initialize`, from when on
        // it is `release` that frees it.
        let dev = unsafe {
            memory.write_bytes(0, 1);
            (&raw mut (*memory).data).write(data);
            (&raw mut (*memory).faulting).write(faulting);
            (&raw mut (*memory).iommu).write(self.clone());
            let dev = &raw mut (*memory).dev;
            (*dev).release = Some(release::<D>);
            (*dev).bus = self.bus.get();
            bindings::device_initialize(dev);
            Initialised(dev)
        };
        let number = self.next.fetch_add(1, Relaxed);
        // SAFETY: The device is initialised, and is on the bus of the IOMMU.
        unsafe {
            to_result(bindings::dev_set_name(
                dev.0,
                c"%s%u".as_char_ptr(),
                self.name.as_char_ptr(),
                number,
            ))?;
            to_result(bindings::iommufd_rs_mock_device_add(
                dev.0,
                self.iommu.get(),
                pasid_bits,
            ))?;
        }
        let dev = dev.into_raw();
        // INVARIANT: It was just added.
        Ok(BusDevice {
            // SAFETY: It is not NULL.
            dev: unsafe { NonNull::new_unchecked(dev) },
            _driver: core::marker::PhantomData,
        })
    }

    /// Finds the driver's data of a device. `ENODEV` where it is not on the bus.
    pub(crate) fn probe<'a>(&self, dev: &'a Device) -> Result<Probed<'a, D>> {
        let data = NonNull::from(self.data(dev).ok_or(ENODEV)?);
        // SAFETY: A device of the bus keeps both its data and its IOMMU.
        Ok(unsafe { Probed::new(NonNull::new_unchecked(self.iommu.get()), data) })
    }

    /// The driver's data of a device, or `None` where it is not on the bus.
    pub(crate) fn data<'a>(&self, dev: &'a Device) -> Option<&'a D::Device> {
        let memory = self.memory(dev)?;
        // SAFETY: It is one of ours, and there as long as the device.
        Some(unsafe { &(*memory).data })
    }

    /// Where a device of the bus is, or `None` where it is on another.
    fn memory(&self, dev: &Device) -> Option<*const Memory<D>> {
        let dev = raw(dev);
        // SAFETY: The device is alive, and its bus does not change. Nobody but `add_device` puts
        // devices on the bus.
        unsafe { core::ptr::eq((*dev).bus, self.bus.get()) }.then(|| dev.cast_const().cast())
    }

    /// Lets a device have a page fault. With the `last` one of its group it returns once somebody
    /// has taken the group. Nothing happens where the device may not have any. `EINVAL` where it is
    /// not on the bus.
    pub(crate) fn fault(&self, dev: &Device, request: &PageRequest, last: bool) -> Result {
        let memory = self.memory(dev).ok_or(EINVAL)?;
        // SAFETY: It is one of ours; whoever attaches or detaches its device blocks faults
        // meanwhile.
        unsafe { (*memory).faulting.report(dev, request, last) };
        Ok(())
    }

    /// Keeps a device from having page faults. Held by whoever attaches or detaches it, from before
    /// until what was attached is gone. `None` where it is not on the bus.
    pub(crate) fn block_faults<'a>(&self, dev: &'a Device) -> Option<FaultsBlocked<'a>> {
        let memory = self.memory(dev)?;
        // SAFETY: It is one of ours, and there as long as the device.
        Some(unsafe { (*memory).faulting.block_faults() })
    }

    /// The page tables behind a domain that user space fills, or `None` where they are not of this
    /// IOMMU.
    pub(crate) fn nested<'a>(
        &self,
        domain: &'a NestedDomain,
    ) -> Option<&'a NestedTables<D::Nested>> {
        let raw = domain.as_ptr();
        // SAFETY: As for `domain`; all nested domains are of type `D::Nested`.
        unsafe { core::ptr::eq((*raw).owner, self.ops.as_ptr()).then(|| NestedTables::borrow(raw)) }
    }

    /// The page tables behind a domain, or `None` where they are not of this IOMMU.
    pub(crate) fn domain<'a>(&self, domain: &'a Domain) -> Option<&'a PagingDomain<D::Domain>> {
        let raw = domain.as_ptr();
        // SAFETY: The domain is valid, and its owner, set when it was made, is who made it: all
        // page tables that these operations make are of type `D::Domain`.
        unsafe { core::ptr::eq((*raw).owner, self.ops.as_ptr()).then(|| PagingDomain::borrow(raw)) }
    }
}

/// A device's memory. The device comes first.
#[repr(C)]
struct Memory<D: Driver> {
    dev: bindings::device,
    data: D::Device,
    faulting: Faulting,
    iommu: Arc<BusIommu<D>>,
}

/// Lets a device have page faults where its domains say so: `new` is attached in the slot of `old`.
///
/// # Safety
///
/// The device was probed by driver `D`; the group's lock is held; the domains are valid or NULL.
pub(super) unsafe fn change_faulting<D: Driver>(
    dev: *mut bindings::device,
    new: *mut bindings::iommu_domain,
    old: *mut bindings::iommu_domain,
) -> Result {
    // SAFETY: A driver of this kind has no devices but those of its bus, which are such memory.
    let memory = unsafe { &*dev.cast_const().cast::<Memory<D>>() };
    // SAFETY: The caller's promise.
    unsafe { memory.faulting.change(&memory.iommu.faults, dev, new, old) }
}

/// # Safety
///
/// As `release` of `struct device`, for a device of [`BusIommu::add_device`].
unsafe extern "C" fn release<D: Driver>(dev: *mut bindings::device) {
    // SAFETY: The device is the first part of its memory, which `add_device` made; nobody refers to
    // it any more.
    drop(unsafe { KBox::from_raw(dev.cast::<Memory<D>>()) });
}

/// An initialised device that is not added. Dropping it puts it.
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
        // SAFETY: The reference is ours to give back.
        unsafe { bindings::put_device(self.0) };
    }
}

/// A device that software made. Dropping it takes it off the bus: nobody may own its DMA then.
///
/// # Invariants
///
/// The device was added to the bus, and a reference to it is ours.
pub(crate) struct BusDevice<D: Driver> {
    dev: NonNull<bindings::device>,
    _driver: core::marker::PhantomData<D>,
}

// SAFETY: A device may be used and unregistered from any task.
unsafe impl<D: Driver> Send for BusDevice<D> {}
// SAFETY: As above.
unsafe impl<D: Driver> Sync for BusDevice<D> {}

impl<D: Driver> BusDevice<D> {
    /// The device.
    pub(crate) fn dev(&self) -> &Device {
        // SAFETY: By the invariant it is alive.
        unsafe { Device::from_raw(self.dev.as_ptr()) }
    }
}

impl<D: Driver> Drop for BusDevice<D> {
    fn drop(&mut self) {
        // SAFETY: By the invariant it is added; our reference goes with it.
        unsafe { bindings::device_unregister(self.dev.as_ptr()) };
    }
}
