// SPDX-License-Identifier: GPL-2.0-only

//! `/dev/iommu` and its file operations; `/dev/vfio/vfio` is another name for it.
//!
//! The kernel crate's misc devices have neither a mode nor a node name, and answer 32-bit ioctls,
//! which `/dev/iommu` does not. So this file registers it itself.

use core::ffi::c_void;

use kernel::{
    error::{
        from_result,
        to_result, //
    },
    mm::virt::VmaNew,
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    types::Opaque, //
};

#[cfg(CONFIG_DEBUG_FS)]
use kernel::{
    container_of,
    sync::Arc, //
};

use crate::{
    ffi::bindings,
    kapi::{
        file::file_ref::FileRef,
        mm::vma,
        reason::{
            Because,
            Reason, //
        },
        sync::raw_ref::RawRef, //
    },
    object::Ctx,
    observe,
    uapi,
    viommu,
    LocalModule, //
};

/// A registered device.
#[pin_data(PinnedDrop)]
pub(crate) struct MiscDevice {
    /// Where contexts are shown.
    #[cfg_attr(not(CONFIG_DEBUG_FS), allow(dead_code))]
    shown: Shown,
    #[pin]
    raw: Opaque<bindings::miscdevice>,
}

// SAFETY: A `struct miscdevice` may be registered by one task and unregistered by another.
unsafe impl Send for MiscDevice {}
// SAFETY: Nothing can be done with a `&MiscDevice`.
unsafe impl Sync for MiscDevice {}

/// Where contexts are shown. `None` if debugfs has no memory for them.
#[cfg(CONFIG_DEBUG_FS)]
pub(super) type Shown = Option<Arc<observe::debugfs::Top>>;
#[cfg(not(CONFIG_DEBUG_FS))]
pub(super) type Shown = Option<core::convert::Infallible>;

/// Makes the place where contexts are shown.
pub(super) fn shown() -> Shown {
    #[cfg(CONFIG_DEBUG_FS)]
    return observe::debugfs::Top::new()
        .and_then(|top| Ok(Arc::new(top, GFP_KERNEL)?))
        .ok();
    #[cfg(not(CONFIG_DEBUG_FS))]
    None
}

/// The file operations. Their address tells the files of this module from others.
struct Fops(bindings::file_operations);

// SAFETY: The operations are not written.
unsafe impl Sync for Fops {}

static FOPS: Fops = Fops(bindings::file_operations {
    owner: this_module::<LocalModule>().as_ptr(),
    open: Some(open),
    release: Some(release),
    unlocked_ioctl: Some(ioctl),
    mmap: Some(mmap),
    show_fdinfo: Some(show_fdinfo),
    ..pin_init::zeroed()
});

/// The device node in `/dev`.
struct Node {
    minor: u32,
    name: &'static CStr,
    path: &'static CStr,
    mode: u16,
}

impl MiscDevice {
    /// Registers `/dev/iommu`, mode 0660. Returns `ENOMEM`, or `EBUSY` or `EEXIST` if the kernel
    /// has one already.
    pub(crate) fn iommu(shown: &Shown) -> impl PinInit<Self, Error> {
        let node = Node {
            minor: bindings::MISC_DYNAMIC_MINOR,
            name: c"iommu",
            path: c"iommu",
            mode: 0o660,
        };
        let register = Self::register(node, shown);
        register.pin_chain(|device| {
            // SAFETY: The device is registered until `drop`, which runs when the module is
            // unloaded: every file of it is closed then, so no dma-buf is imported any more.
            unsafe { crate::kapi::dma_buf::import::set_device((*device.raw.get()).this_device) };
            Ok(())
        })
    }

    /// Registers `/dev/vfio/vfio`, mode 0666. Returns `ENOMEM`, or `EBUSY` or `EEXIST` if vfio has
    /// registered its own.
    pub(crate) fn vfio_container(shown: &Shown) -> impl PinInit<Self, Error> {
        let node = Node {
            minor: bindings::VFIO_MINOR,
            name: c"vfio",
            path: c"vfio/vfio",
            mode: 0o666,
        };
        Self::register(node, shown)
    }

    fn register(node: Node, shown: &Shown) -> impl PinInit<Self, Error> {
        #[cfg_attr(not(CONFIG_DEBUG_FS), allow(clippy::clone_on_copy))]
        let shown = shown.clone();
        try_pin_init!(Self {
            // Before the device can be opened.
            shown,
            raw <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                let device = bindings::miscdevice {
                    minor: node.minor as c_int,
                    name: node.name.as_char_ptr(),
                    nodename: node.path.as_char_ptr(),
                    mode: node.mode,
                    fops: &raw const FOPS.0,
                    ..Default::default()
                };
                // SAFETY: `slot` can be written, and does not move before `drop` has unregistered
                // it.
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

/// Returns the context of a file, or NULL if the file does not belong to this module.
///
/// # Safety
///
/// `file` must be a valid file that is open during the call.
pub(crate) unsafe fn ctx_of(file: *mut bindings::file) -> *mut c_void {
    // SAFETY: The caller guarantees that the file is open, so `open` has set both fields.
    unsafe {
        if core::ptr::eq((*file).f_op, &raw const FOPS.0) {
            (*file).private_data
        } else {
            core::ptr::null_mut()
        }
    }
}

unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: The file is being opened: its private data is the `struct miscdevice`.
    let device: *mut bindings::miscdevice = unsafe { (*file).private_data.cast() };
    // SAFETY: `register` has registered the device, whose file is being opened.
    let minor = unsafe { (*device).minor };
    // VFIO's own containers account pinned pages to the process.
    let is_vfio_container = minor == bindings::VFIO_MINOR as c_int;
    if is_vfio_container {
        kernel::do_once_lite! {
            pr_info!("/dev/vfio/vfio is provided by iommufd, not by vfio\n");
        }
    }
    // SAFETY:
    // - The file is being opened, so nothing else uses its private data.
    // - `release` below releases the context.
    let opened = unsafe { FileRef::open(file, Ctx::new(is_vfio_container)) };
    #[cfg(CONFIG_DEBUG_FS)]
    if opened.is_ok() {
        // SAFETY: `open` above has set the private data, and the file is open during the call.
        let ctx = unsafe { FileRef::<Ctx>::borrow_raw((*file).private_data) };
        // SAFETY: `register` has registered a field of a `MiscDevice`, which exists during the call
        // because misc_deregister() waits for it.
        let shown = unsafe { &(*container_of!(Opaque::cast_from(device), MiscDevice, raw)).shown };
        // SAFETY: The `struct miscdevice` exists during the call, and its minor does not change while
        // it is registered.
        let is_container = unsafe { (*device).minor } == bindings::VFIO_MINOR as c_int;
        if let Some(top) = shown {
            top.show(&ctx, is_container);
        }
    }
    from_result(|| opened.map(|()| 0))
}

unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: `open` has succeeded, and the file is being released.
    unsafe { FileRef::<Ctx>::release(file) };
    0
}

unsafe extern "C" fn ioctl(file: *mut bindings::file, cmd: c_uint, arg: c_ulong) -> c_long {
    // SAFETY: `open` has set the private data, and the file is open during the call.
    let ctx = unsafe { FileRef::<Ctx>::borrow_raw((*file).private_data) };
    from_result(|| uapi::ioctl(&ctx, cmd, arg).map(|value| value as c_long))
}

unsafe extern "C" fn show_fdinfo(out: *mut bindings::seq_file, file: *mut bindings::file) {
    // SAFETY: `open` has set the private data, and procfs has a reference to the file.
    let ctx = unsafe { FileRef::<Ctx>::borrow_raw((*file).private_data) };
    // SAFETY: procfs holds the lock of the seq_file during the call.
    observe::fdinfo::show(&ctx, unsafe { SeqFile::from_raw(out) });
}

unsafe extern "C" fn mmap(file: *mut bindings::file, vma: *mut bindings::vm_area_struct) -> c_int {
    // SAFETY: `open` has set the private data, and the file is open during the call.
    let ctx = unsafe { FileRef::<Ctx>::borrow_raw((*file).private_data) };
    // SAFETY: The VMA is new, and the caller has the mmap lock for writing.
    let vma = unsafe { VmaNew::from_raw(vma) };
    from_result(|| {
        let found = viommu::mmap::find(&ctx, vma);
        let (owner, memory) = found.map_err(|refusal| ctx.refuse(c"mmap", refusal))?;
        // SAFETY: `Offers::get` has found the object with the id of the offer while the offer was
        // there, and an object takes its offers back before its id is free (`object/offers.rs`), so
        // it is the one that offered the memory.
        let mapped = unsafe { memory.map(vma, owner) };
        let offset = vma::offset(vma).unwrap_or(u64::MAX);
        mapped
            .because(Reason::MmapSize, offset)
            .map_err(|refusal| ctx.refuse(c"mmap", refusal))?;
        Ok(0)
    })
}
