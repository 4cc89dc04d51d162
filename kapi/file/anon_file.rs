// SPDX-License-Identifier: GPL-2.0-only

//! Files that stand for a value and have no name. Those with events can be read, perhaps written,
//! and waited for.
//!
//! C headers: `include/linux/anon_inodes.h`, `include/linux/poll.h`.

use core::ptr::NonNull;

use kernel::{
    error::from_err_ptr,
    fs::File,
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
    kapi::file::this_module, //
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
        owner: this_module::as_ptr(),
        read: Some(read::<T>),
        write: if T::WRITES { Some(write::<T>) } else { None },
        poll: Some(poll::<T>),
        release: Some(release::<T>),
        // SAFETY: All zeroes are valid file operations.
        ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
    };
}

/// The value behind a file.
///
/// # Safety
///
/// `file` is a live file that [`make`] made with a `T`.
unsafe fn value<'a, T>(file: *mut bindings::file) -> &'a T {
    // SAFETY: `make` put it there, and it stays until `release`.
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
/// As `read` of `struct file_operations`, for a file that [`make`] made with a `T`.
unsafe extern "C" fn read<T: EventFile>(
    file: *mut bindings::file,
    buf: *mut c_char,
    len: usize,
    pos: *mut bindings::loff_t,
) -> isize {
    // SAFETY: The file has these operations because it was made with a `T`, and is in use.
    let result = unsafe { check_position(pos).map(|()| value::<T>(file)) };
    count(result.and_then(|value| {
        let mut to = UserSlice::new(UserPtr::from_ptr(buf.cast()), len).writer();
        value.read(&mut to)
    }))
}

/// # Safety
///
/// As `write` of `struct file_operations`, for a file that [`make`] made with a `T`.
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
/// As `poll` of `struct file_operations`, for a file that [`make`] made with a `T`.
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
/// As `release` of `struct file_operations`, for a file that [`make`] made with a `T`.
unsafe extern "C" fn release<T>(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: `make` put it there, and the file is used by nobody any more.
    drop(unsafe { KBox::<T>::from_raw((*file).private_data.cast()) });
    0
}

/// Makes a file that owns `value`. `ENOMEM`, `ENFILE`.
///
/// # Safety
///
/// The operations are for a `T`, and release it.
unsafe fn make<T>(
    name: &CStr,
    fops: &'static bindings::file_operations,
    value: T,
) -> Result<ARef<File>> {
    let data = KBox::into_raw(KBox::new(value, GFP_KERNEL_ACCOUNT)?);
    // SAFETY: The name is copied, the operations are static, the data are theirs.
    let file = from_err_ptr(unsafe {
        bindings::anon_inode_getfile(
            name.as_char_ptr(),
            fops,
            data.cast(),
            bindings::O_RDWR as c_int,
        )
    });
    match file {
        // SAFETY: A new file whose only reference is ours, and whose position nobody uses.
        Ok(file) => Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(file.cast())) }),
        Err(error) => {
            // SAFETY: It came from `KBox::into_raw`, and no file has it.
            drop(unsafe { KBox::from_raw(data) });
            Err(error)
        }
    }
}

/// Makes a file with events that owns `value`. `name` shows in /proc. `ENOMEM`, `ENFILE`.
pub(crate) fn with_events<T: EventFile>(name: &CStr, value: T) -> Result<ARef<File>> {
    // SAFETY: The operations are those for a `T`.
    unsafe { make(name, &EventFops::<T>::RAW, value) }
}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
struct Fops(bindings::file_operations);

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
// SAFETY: Never written to.
unsafe impl Sync for Fops {}

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
static FOPS: Fops = Fops(bindings::file_operations {
    owner: this_module::as_ptr(),
    release: Some(release::<SharedAny>),
    // SAFETY: All zeroes are valid file operations.
    ..unsafe { core::mem::MaybeUninit::zeroed().assume_init() }
});

/// Makes a file that holds `value`. `name` shows in /proc. `ENOMEM`, `ENFILE`.
#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) fn new<T: Any + Send + Sync>(name: &CStr, value: Shared<T>) -> Result<ARef<File>> {
    // SAFETY: The operations are those for a `SharedAny`.
    unsafe { make(name, &FOPS.0, value.erase()) }
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
