// SPDX-License-Identifier: GPL-2.0-only

//! `/dev/iommu` and its file operations; `/dev/vfio/vfio` is another name for it.
//!
//! The kernel crate's misc devices have neither a mode nor a node name, and answer 32-bit ioctls,
//! which this device never did; hence the registration here.

use core::{
    cell::UnsafeCell,
    ffi::c_void, //
};

use kernel::{
    error::to_result,
    mm::virt::VmaNew,
    prelude::*,
    types::Opaque, //
};

use crate::{
    abi::errno,
    ffi::bindings,
    kapi::file::file_ref::FileRef,
    object::Ctx,
    uapi,
    viommu, //
};

/// A registered device.
#[pin_data(PinnedDrop)]
pub(crate) struct MiscDevice {
    #[pin]
    raw: Opaque<bindings::miscdevice>,
}

// SAFETY: A `struct miscdevice` may be registered by one task and unregistered by another.
unsafe impl Send for MiscDevice {}
// SAFETY: Nothing can be done with a `&MiscDevice`.
unsafe impl Sync for MiscDevice {}

/// The file operations. `owner` is set once, before the device is registered.
struct Fops(UnsafeCell<bindings::file_operations>);

// SAFETY: Written during module initialisation only, when nobody can have opened the device.
unsafe impl Sync for Fops {}

static FOPS: Fops = Fops(UnsafeCell::new(bindings::file_operations {
    open: Some(open),
    release: Some(release),
    unlocked_ioctl: Some(ioctl),
    mmap: Some(mmap),
    ..pin_init::zeroed()
}));

/// How a device appears.
struct Node {
    minor: u32,
    name: &'static CStr,
    path: &'static CStr,
    mode: u16,
}

impl MiscDevice {
    /// Makes `/dev/iommu` appear, mode 0660. `ENOMEM`, `EBUSY` or `EEXIST` where it is there
    /// already.
    pub(crate) fn iommu(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let register = Self::register(Node {
            minor: bindings::MISC_DYNAMIC_MINOR,
            name: c"iommu",
            path: c"iommu",
            mode: 0o660,
        });
        // SAFETY: No device is registered, so nobody reads the operations.
        unsafe { (*FOPS.0.get()).owner = module.as_ptr() };
        register.pin_chain(|device| {
            // SAFETY: The device is unregistered only when the module goes, and with it
            // everything that could use it.
            unsafe { crate::kapi::dma_buf::import::set_device((*device.raw.get()).this_device) };
            Ok(())
        })
    }

    /// Makes `/dev/vfio/vfio` appear, mode 0666, after [`MiscDevice::iommu`]. `ENOMEM`, `EBUSY` or
    /// `EEXIST` where vfio has its own.
    pub(crate) fn vfio_container() -> impl PinInit<Self, Error> {
        Self::register(Node {
            minor: bindings::VFIO_MINOR,
            name: c"vfio",
            path: c"vfio/vfio",
            mode: 0o666,
        })
    }

    fn register(node: Node) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            raw <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                let device = bindings::miscdevice {
                    minor: node.minor as c_int,
                    name: node.name.as_char_ptr(),
                    nodename: node.path.as_char_ptr(),
                    mode: node.mode,
                    fops: FOPS.0.get(),
                    ..Default::default()
                };
                // SAFETY: `slot` is ours to write; it is pinned until `drop` unregisters it.
                to_result(unsafe {
                    slot.write(device);
                    bindings::misc_register(slot)
                })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for MiscDevice {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `register` has registered it.
        unsafe { bindings::misc_deregister(self.raw.get()) };
    }
}

/// The context of a file, or NULL where the file is not one of ours.
///
/// # Safety
///
/// `file` is a live file.
pub(crate) unsafe fn ctx_of(file: *mut bindings::file) -> *mut c_void {
    // SAFETY: The caller keeps the file alive; both fields are set before it is visible.
    unsafe {
        if core::ptr::eq((*file).f_op, FOPS.0.get()) {
            (*file).private_data
        } else {
            core::ptr::null_mut()
        }
    }
}

unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: The file is being opened: its private data is the `struct miscdevice`.
    let minor = unsafe { (*(*file).private_data.cast::<bindings::miscdevice>()).minor };
    // VFIO's own containers count by process.
    let is_vfio_container = minor == bindings::VFIO_MINOR as c_int;
    if is_vfio_container {
        kernel::do_once_lite! {
            pr_info!("/dev/vfio/vfio is provided by iommufd, not by vfio\n");
        }
    }
    // SAFETY: The file is being opened, so its private data is ours to set. `release` below
    // releases the context.
    errno(unsafe { FileRef::open(file, Ctx::new(is_vfio_container)) })
}

unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: `open` has succeeded, and the file is being released.
    unsafe { FileRef::<Ctx>::release(file) };
    0
}

unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
    // SAFETY: `open` has set it, and the caller holds the file.
    let ctx = unsafe { FileRef::<Ctx>::borrow_raw((*file).private_data) };
    match uapi::ioctl(&ctx, cmd, arg) {
        Ok(value) => value as c_long,
        Err(error) => error.to_errno() as c_long,
    }
}

unsafe extern "C" fn mmap(file: *mut bindings::file, vma: *mut bindings::vm_area_struct) -> c_int {
    // SAFETY: `open` has set it, and the caller holds the file.
    let ctx = unsafe { FileRef::<Ctx>::borrow_raw((*file).private_data) };
    // SAFETY: The kernel sets the VMA up during the call.
    let vma = unsafe { VmaNew::from_raw(vma) };
    errno(viommu::mmap::find(&ctx, vma).and_then(|(owner, memory)| {
        // SAFETY: `Offers::get` has found, under its lock, the object whose id the offer has. The
        // object takes the offer back before its id is free, so it is the one that offered the
        // memory.
        unsafe { memory.map(vma, owner) }
    }))
}
