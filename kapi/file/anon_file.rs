// SPDX-License-Identifier: GPL-2.0-only

//! Files without a name, each of which owns a value.
//!
//! A file with events ([`EventFile`]) can be read and polled, and some can be written.
//!
//! C headers: [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h),
//! [`include/linux/poll.h`](srctree/include/linux/poll.h)

use core::{
    ffi::c_void,
    mem::MaybeUninit,
    ptr::NonNull, //
};

use kernel::{
    error::from_err_ptr,
    fs::{
        file::{
            flags::O_CLOEXEC,
            FileDescriptorReservation, //
        },
        File, //
    },
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    sync::aref::ARef,
    uaccess::{
        UserSlice,
        UserSliceReader,
        UserSliceWriter, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::{
        file::pollers::Pollers,
        lines::Lines, //
    },
    LocalModule, //
};

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use core::any::Any;

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use crate::kapi::sync::shared::{
    Shared,
    SharedAny, //
};

/// The operations for which a file is ready.
pub(crate) struct Ready {
    /// There is an event to read.
    pub(crate) read: bool,
    /// The file can be written.
    pub(crate) write: bool,
}

impl Ready {
    fn as_raw(&self) -> bindings::__poll_t {
        let mut raw = 0;
        if self.read {
            raw |= bindings::POLLIN | bindings::POLLRDNORM;
        }
        if self.write {
            raw |= bindings::POLLOUT;
        }
        raw
    }
}

/// The value of a file with events. The file has no position.
///
/// # Examples
///
/// ```
/// use crate::kapi::{
///     file::{
///         anon_file::{EventFile, NewEventFile, Ready},
///         pollers::{new_pollers, Pollers},
///     },
///     lines::Lines,
/// };
/// use kernel::{
///     uaccess::{UserSliceReader, UserSliceWriter},
/// };
///
/// /// A file from which one byte can be read, any number of times.
/// struct One {
///     byte: u8,
///     pollers: Pin<KBox<Pollers>>,
/// }
///
/// impl EventFile for One {
///     const WRITES: bool = false;
///
///     fn read(&self, to: &mut UserSliceWriter) -> Result<usize> {
///         to.write(&self.byte)?;
///         Ok(1)
///     }
///
///     fn write(&self, _from: &mut UserSliceReader) -> Result<usize> {
///         Err(EBADF)
///     }
///
///     fn pollers(&self) -> &Pollers {
///         &self.pollers
///     }
///
///     fn ready(&self) -> Ready {
///         Ready { read: true, write: false }
///     }
///
///     fn show(&self, _lines: &Lines<'_>) {}
/// }
///
/// /// Returns a descriptor of the current process.
/// fn open(byte: u8) -> Result<u32> {
///     let file = NewEventFile::new(c"[one]")?;
///     let pollers = KBox::pin_init(new_pollers!("One::pollers"), GFP_KERNEL)?;
///     let fd = file.fd();
///     file.install(One { byte, pollers });
///     Ok(fd)
/// }
/// ```
pub(crate) trait EventFile: Send + Sync + 'static {
    /// Whether the file can be written.
    const WRITES: bool;

    /// Writes the events that are there to user memory, without waiting for more. Returns the
    /// number of bytes, or 0 if there is no event.
    fn read(&self, to: &mut UserSliceWriter) -> Result<usize>;

    /// Reads from user memory. Returns the number of bytes that were used.
    fn write(&self, from: &mut UserSliceReader) -> Result<usize>;

    /// Writes lines about the file for `/proc/PID/fdinfo/N`.
    fn show(&self, lines: &Lines<'_>);

    /// Returns the tasks that are woken when [`EventFile::ready`] changes.
    fn pollers(&self) -> &Pollers;

    /// Returns the operations for which the file is ready.
    fn ready(&self) -> Ready;
}

/// The file operations of an [`EventFile`].
struct EventFops<T>(core::marker::PhantomData<T>);

impl<T: EventFile> EventFops<T> {
    const RAW: bindings::file_operations = bindings::file_operations {
        owner: this_module::<LocalModule>().as_ptr(),
        read: Some(read::<T>),
        write: if T::WRITES { Some(write::<T>) } else { None },
        poll: Some(poll::<T>),
        show_fdinfo: Some(show_fdinfo::<T>),
        release: Some(release::<T>),
        ..pin_init::zeroed()
    };
}

/// Returns the value of a file.
///
/// # Safety
///
/// `file` must be in use by user space during `'a`, and must have the operations for a `T`.
unsafe fn value<'a, T>(file: *mut bindings::file) -> &'a T {
    // SAFETY: `install` stored the value before user space had the file, and `release` frees it.
    unsafe { &*(*file).private_data.cast() }
}

/// Returns `ESPIPE` if a position other than 0 is asked for.
///
/// # Safety
///
/// `pos` must be null or valid for reads.
unsafe fn check_position(pos: *mut bindings::loff_t) -> Result {
    // SAFETY: By the safety requirements it is null or can be read.
    match unsafe { pos.as_ref() } {
        Some(pos) if *pos != 0 => Err(ESPIPE),
        _ => Ok(()),
    }
}

fn count(result: Result<usize>) -> isize {
    match result {
        // CAST: It is at most the length of the user's buffer, which the VFS limits to
        // `MAX_RW_COUNT`.
        Ok(bytes) => bytes as isize,
        Err(error) => error.to_errno() as isize,
    }
}

/// # Safety
///
/// As for `read` of `struct file_operations`. The file must have the operations for a `T`.
unsafe extern "C" fn read<T: EventFile>(
    file: *mut bindings::file,
    buf: *mut c_char,
    len: usize,
    pos: *mut bindings::loff_t,
) -> isize {
    // SAFETY: The VFS passes a valid position or a null pointer.
    let position = unsafe { check_position(pos) };
    count(position.and_then(|()| {
        // SAFETY: User space uses the file during the call, and it has these operations.
        let value = unsafe { value::<T>(file) };
        let mut to = UserSlice::new(UserPtr::from_ptr(buf.cast()), len).writer();
        value.read(&mut to)
    }))
}

/// # Safety
///
/// As for `write` of `struct file_operations`. The file must have the operations for a `T`.
unsafe extern "C" fn write<T: EventFile>(
    file: *mut bindings::file,
    buf: *const c_char,
    len: usize,
    pos: *mut bindings::loff_t,
) -> isize {
    // SAFETY: The VFS passes a valid position or a null pointer.
    let position = unsafe { check_position(pos) };
    count(position.and_then(|()| {
        // SAFETY: User space uses the file during the call, and it has these operations.
        let value = unsafe { value::<T>(file) };
        let mut from = UserSlice::new(UserPtr::from_ptr(buf.cast_mut().cast()), len).reader();
        value.write(&mut from)
    }))
}

/// # Safety
///
/// As for `poll` of `struct file_operations`. The file must have the operations for a `T`.
unsafe extern "C" fn poll<T: EventFile>(
    file: *mut bindings::file,
    table: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // SAFETY: User space uses the file during the call, and it has these operations.
    let value = unsafe { value::<T>(file) };
    // SAFETY: The file exists during the call, as the caller holds a reference, and
    // `check_position` ensures that no position of it is used.
    let file = unsafe { File::from_raw_file(file) };
    // SAFETY: They belong to the value, of which `release` has the only mutable reference: it exists
    // until the file is released.
    unsafe { value.pollers().add(file, table) };
    value.ready().as_raw()
}

/// # Safety
///
/// As for `show_fdinfo` of `struct file_operations`. The file must have the operations for a `T`.
unsafe extern "C" fn show_fdinfo<T: EventFile>(
    out: *mut bindings::seq_file,
    file: *mut bindings::file,
) {
    // SAFETY: procfs found the file among those that user space has, and holds a reference to it.
    let value = unsafe { value::<T>(file) };
    // SAFETY: procfs holds the lock of the seq_file during the call.
    let lines = Lines::new(unsafe { SeqFile::from_raw(out) });
    lines.line("driver", fmt!("iommufd_rs"));
    value.show(&lines);
}

/// # Safety
///
/// As for `release` of `struct file_operations`. The file must have the operations for a `T`.
unsafe extern "C" fn release<T>(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: The file exists during the call, and has no user any more.
    let data: *mut T = unsafe { (*file).private_data.cast() };
    if !data.is_null() {
        // SAFETY: `install` or `new` stored what `KBox::into_raw` returned.
        drop(unsafe { KBox::from_raw(data) });
    }
    0
}

/// Creates a file with the private data `data`. `name` appears in /proc. Returns `ENOMEM`, or
/// `ENFILE` if the system has too many files.
///
/// # Safety
///
/// The operations must be for such data, and must release it. On failure it remains with the
/// caller.
unsafe fn make(
    name: &CStr,
    fops: &'static bindings::file_operations,
    data: *mut c_void,
) -> Result<ARef<File>> {
    // SAFETY: The name is copied, and the operations are static and for such data.
    let file = from_err_ptr(unsafe {
        bindings::anon_inode_getfile(name.as_char_ptr(), fops, data, bindings::O_RDWR as c_int)
    })?;
    // SAFETY: anon_inode_getfile() returned the only reference to a new file, of which nobody uses
    // the position.
    Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(file.cast())) })
}

/// A new file with events that has no value yet, and a descriptor for it.
///
/// Neither is visible to user space before [`NewEventFile::install`]. Dropping it closes the file,
/// which the kernel defers until the task returns to user space. Since the file has no value,
/// nothing that a value refers to is dropped as late as that.
pub(crate) struct NewEventFile<T: EventFile> {
    /// It has the operations for a `T`, and a null pointer for its private data.
    file: ARef<File>,
    data: KBox<MaybeUninit<T>>,
    fd: FileDescriptorReservation,
}

impl<T: EventFile> NewEventFile<T> {
    /// Creates a file and reserves a descriptor that is closed on exec. `name` appears in /proc.
    /// Returns `ENOMEM`, `ENFILE` if the system has too many files, or `EMFILE` if the process has.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        let data = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
        // SAFETY: The operations accept a null pointer for a file that is not in use.
        let file = unsafe { make(name, &EventFops::<T>::RAW, core::ptr::null_mut())? };
        let fd = FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC)?;
        Ok(Self { file, data, fd })
    }

    /// Returns the number of the descriptor.
    pub(crate) fn fd(&self) -> u32 {
        self.fd.reserved_fd()
    }

    /// Stores the value in the file, and makes the descriptor visible to user space.
    pub(crate) fn install(self, value: T) {
        let data: *mut T = KBox::into_raw(self.data.write(value));
        let file = self.file;
        // SAFETY:
        // - `file` is the only reference to the file, so no other task reads the field.
        // - The operations are those for a `T`.
        unsafe { (*file.as_ptr()).private_data = data.cast() };
        self.fd.fd_install(file);
    }
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
struct Fops(bindings::file_operations);

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
// SAFETY: The operations are never written to.
unsafe impl Sync for Fops {}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
static FOPS: Fops = Fops(bindings::file_operations {
    owner: this_module::<LocalModule>().as_ptr(),
    release: Some(release::<SharedAny>),
    ..pin_init::zeroed()
});

/// Creates a file that holds `value`. `name` appears in /proc. Returns `ENOMEM`, or `ENFILE` if the
/// system has too many files.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) fn new<T: Any + Send + Sync>(name: &CStr, value: Shared<T>) -> Result<ARef<File>> {
    let data = KBox::into_raw(KBox::new(value.erase(), GFP_KERNEL_ACCOUNT)?);
    // SAFETY: The operations are those for a `SharedAny`.
    unsafe { make(name, &FOPS.0, data.cast()) }.inspect_err(|_| {
        // SAFETY: It came from `KBox::into_raw`, and there is no file that owns it.
        drop(unsafe { KBox::from_raw(data) });
    })
}

/// Returns the value of the file of a descriptor of the current process. Returns `EBADFD` if there
/// is none, or if [`new`] did not make it with a `T`.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) fn get<T: Any + Send + Sync>(fd: u32) -> Result<Shared<T>> {
    // SAFETY: The function accepts any number.
    let file = NonNull::new(unsafe { bindings::fget(fd) }).ok_or(EBADFD)?;
    let raw = file.as_ptr();
    // SAFETY:
    // - fget() has counted a reference for us.
    // - `new` makes all files with these operations, and stores a `SharedAny` before they are
    //   visible.
    let value = unsafe {
        let is_ours = core::ptr::eq((*raw).f_op, &FOPS.0);
        is_ours.then(|| (*(*raw).private_data.cast::<SharedAny>()).clone())
    };
    // SAFETY: The reference was counted above, and is not used any more.
    unsafe { bindings::fput(raw) };
    value.ok_or(EBADFD)?.downcast().map_err(|_| EBADFD)
}
