// SPDX-License-Identifier: GPL-2.0-only

//! Files that stand for a value and have no name. Those with events can be read, perhaps written,
//! and waited for.
//!
//! C headers: `include/linux/anon_inodes.h`, `include/linux/poll.h`.

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
    sync::{
        aref::ARef,
        poll::{
            PollCondVar,
            PollTable, //
        }, //
    },
    uaccess::{
        UserSlice,
        UserSliceReader,
        UserSliceWriter, //
    }, //
};

use crate::{
    ffi::bindings,
    LocalModule, //
};

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use core::any::Any;

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use crate::kapi::sync::shared::{
    Shared,
    SharedAny, //
};

/// What can be done with a file without waiting.
pub(crate) struct Ready {
    /// There is something to read.
    pub(crate) read: bool,
    /// It can be written to.
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

/// What stands behind a file with events. The file has no position.
pub(crate) trait EventFile: Send + Sync + 'static {
    /// Whether the file can be written to at all.
    const WRITES: bool;

    /// Reads what there is, without waiting, and returns how many bytes that was.
    fn read(&self, to: &mut UserSliceWriter) -> Result<usize>;

    /// Takes what is written and returns how many bytes of it.
    fn write(&self, from: &mut UserSliceReader) -> Result<usize>;

    /// What is woken when [`EventFile::ready`] has changed.
    fn event(&self) -> &PollCondVar;

    /// What can be done at this moment.
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
        release: Some(release::<T>),
        ..pin_init::zeroed()
    };
}

/// The value behind a file.
///
/// # Safety
///
/// `file` is a live file that user space has, with the operations for a `T`.
unsafe fn value<'a, T>(file: *mut bindings::file) -> &'a T {
    // SAFETY: `install` put it there before user space had the file, and it stays until `release`.
    unsafe { &*(*file).private_data.cast() }
}

/// `ESPIPE` where the caller wants another place than the only one.
///
/// # Safety
///
/// `pos` is NULL or can be read.
unsafe fn check_position(pos: *mut bindings::loff_t) -> Result {
    // SAFETY: The caller's promise.
    match unsafe { pos.as_ref() } {
        Some(pos) if *pos != 0 => Err(ESPIPE),
        _ => Ok(()),
    }
}

fn count(result: Result<usize>) -> isize {
    match result {
        // CAST: No more than was asked for, and that is limited to less than an `isize` has.
        Ok(bytes) => bytes as isize,
        Err(error) => error.to_errno() as isize,
    }
}

/// # Safety
///
/// As `read` of `struct file_operations`, for a file with the operations for a `T`.
unsafe extern "C" fn read<T: EventFile>(
    file: *mut bindings::file,
    buf: *mut c_char,
    len: usize,
    pos: *mut bindings::loff_t,
) -> isize {
    // SAFETY: The file has these operations, and user space uses it.
    let result = unsafe { check_position(pos).map(|()| value::<T>(file)) };
    count(result.and_then(|value| {
        let mut to = UserSlice::new(UserPtr::from_ptr(buf.cast()), len).writer();
        value.read(&mut to)
    }))
}

/// # Safety
///
/// As `write` of `struct file_operations`, for a file with the operations for a `T`.
unsafe extern "C" fn write<T: EventFile>(
    file: *mut bindings::file,
    buf: *const c_char,
    len: usize,
    pos: *mut bindings::loff_t,
) -> isize {
    // SAFETY: As for `read`.
    let result = unsafe { check_position(pos).map(|()| value::<T>(file)) };
    count(result.and_then(|value| {
        let mut from = UserSlice::new(UserPtr::from_ptr(buf.cast_mut().cast()), len).reader();
        value.write(&mut from)
    }))
}

/// # Safety
///
/// As `poll` of `struct file_operations`, for a file with the operations for a `T`.
unsafe extern "C" fn poll<T: EventFile>(
    file: *mut bindings::file,
    table: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // SAFETY: As for `read`; the caller gives a table or NULL, and nobody uses the position.
    let (value, file, table) = unsafe {
        (
            value::<T>(file),
            File::from_raw_file(file),
            PollTable::from_raw(table),
        )
    };
    table.register_wait(file, value.event());
    value.ready().as_raw()
}

/// # Safety
///
/// As `release` of `struct file_operations`, for a file with the operations for a `T`.
unsafe extern "C" fn release<T>(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: The file is used by nobody any more.
    let data: *mut T = unsafe { (*file).private_data.cast() };
    if !data.is_null() {
        // SAFETY: It came from `KBox::into_raw`, and the file owned it.
        drop(unsafe { KBox::from_raw(data) });
    }
    0
}

/// Makes a file with the private data `data`. `name` shows in /proc. Returns `ENOMEM` or `ENFILE`.
///
/// # Safety
///
/// The operations are for such data, and release it. On failure it stays the caller's.
unsafe fn make(
    name: &CStr,
    fops: &'static bindings::file_operations,
    data: *mut c_void,
) -> Result<ARef<File>> {
    // SAFETY: The name is copied, the operations are static, the data are theirs.
    let file = from_err_ptr(unsafe {
        bindings::anon_inode_getfile(name.as_char_ptr(), fops, data, bindings::O_RDWR as c_int)
    })?;
    // SAFETY: `anon_inode_getfile` returned a new file. Its only reference is ours, and nobody uses
    // its position.
    Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(file.cast())) })
}

/// A new file with events that has no value yet, and a descriptor for it.
///
/// Neither is visible to user space before [`NewEventFile::install`]. Dropping it closes the file,
/// which is deferred until the task returns to user space. Since the file has no value, no
/// reference of a value's is dropped as late as that.
pub(crate) struct NewEventFile<T: EventFile> {
    /// Has the operations for a `T`, and NULL as its private data.
    file: ARef<File>,
    data: KBox<MaybeUninit<T>>,
    fd: FileDescriptorReservation,
}

impl<T: EventFile> NewEventFile<T> {
    /// Makes a file and takes a descriptor that is closed on exec. `name` shows in /proc. Returns
    /// `ENOMEM`, `ENFILE` or `EMFILE`.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        let data = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
        // SAFETY: The operations release NULL as well as a `T`.
        let file = unsafe { make(name, &EventFops::<T>::RAW, core::ptr::null_mut())? };
        let fd = FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC)?;
        Ok(Self { file, data, fd })
    }

    /// Returns the number of the descriptor.
    pub(crate) fn fd(&self) -> u32 {
        self.fd.reserved_fd()
    }

    /// Gives the file its value, and user space the descriptor.
    pub(crate) fn install(self, value: T) {
        let data: *mut T = KBox::into_raw(self.data.write(value));
        let file = self.file;
        // SAFETY: `file` has the only reference to the file, so nobody reads the field. The
        // operations are for a `T`.
        unsafe { (*file.as_ptr()).private_data = data.cast() };
        self.fd.fd_install(file);
    }
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
struct Fops(bindings::file_operations);

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
// SAFETY: Never written to.
unsafe impl Sync for Fops {}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
static FOPS: Fops = Fops(bindings::file_operations {
    owner: this_module::<LocalModule>().as_ptr(),
    release: Some(release::<SharedAny>),
    ..pin_init::zeroed()
});

/// Makes a file that holds `value`. `name` shows in /proc. `ENOMEM`, `ENFILE`.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) fn new<T: Any + Send + Sync>(name: &CStr, value: Shared<T>) -> Result<ARef<File>> {
    let data = KBox::into_raw(KBox::new(value.erase(), GFP_KERNEL_ACCOUNT)?);
    // SAFETY: The operations are those for a `SharedAny`.
    unsafe { make(name, &FOPS.0, data.cast()) }.inspect_err(|_| {
        // SAFETY: It came from `KBox::into_raw`, and no file has it.
        drop(unsafe { KBox::from_raw(data) });
    })
}

/// What the file with a descriptor of the caller's stands for. `EBADFD` where there is no such file
/// or it stands for something else.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) fn get<T: Any + Send + Sync>(fd: u32) -> Result<Shared<T>> {
    // SAFETY: It looks the descriptor up in the caller's table.
    let file = NonNull::new(unsafe { bindings::fget(fd) }).ok_or(EBADFD)?;
    // SAFETY: `fget` returned a live file, which is put only after its use; both fields are set
    // before it is visible, and a file with these operations has such data.
    let value = unsafe {
        let raw = file.as_ptr();
        let ours = core::ptr::eq((*raw).f_op, &FOPS.0);
        let value = ours.then(|| (*(*raw).private_data.cast::<SharedAny>()).clone());
        bindings::fput(raw);
        value
    };
    value.ok_or(EBADFD)?.downcast().map_err(|_| EBADFD)
}
