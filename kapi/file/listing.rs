// SPDX-License-Identifier: GPL-2.0-only

//! Files of debugfs that are written piece by piece, as they are read.
//!
//! The kernel crate's debugfs writes a file as a whole. Here a read gets some pieces of a few lines,
//! together a page at most, so the length of a file bounds neither the time in which locks are held
//! nor memory. A piece is composed in kernel memory and copied to the reader when it is complete, so no lock is
//! held while the reader's memory is accessed.
//!
//! Removing a directory waits for reads of its files, hence for the memory of their readers. It
//! must be done by a task for which nobody waits.
//!
//! C headers: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h),
//! [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)

use core::{
    cell::Cell,
    ffi::c_void,
    marker::PhantomData, //
};

use kernel::{
    error::from_result,
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    str::CString,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::{
        file::directory::Directory,
        sync::signal, //
    },
    LocalModule, //
};

/// The room, in bytes, that there must be to go on with a piece. A line, or a few that belong together,
/// may be longer: then the kernel has the piece written again, with more room or as the next one.
const ROOM: usize = 1024;

/// The most lines of a piece, so that its writer holds locks for a short time only.
const LINES: usize = 8;

/// The piece of a file that is being written.
pub(crate) struct Piece<'a> {
    raw: *mut bindings::seq_file,
    file: &'a SeqFile,
    /// How often [`Piece::has_room`] was called.
    asked: Cell<usize>,
}

impl Piece<'_> {
    /// Returns whether there is room for 1,024 bytes, and this was called 8 times at most. Must be
    /// called before each line, or a few that belong together.
    pub(crate) fn has_room(&self) -> bool {
        let asked = self.asked.get();
        self.asked.set(asked + 1);
        asked < LINES && self.has_bytes()
    }

    fn has_bytes(&self) -> bool {
        // SAFETY: The reader's task, which this is, owns the struct during the call.
        unsafe { (*self.raw).size.saturating_sub((*self.raw).count) >= ROOM }
    }

    /// Returns the file, to which lines are written.
    pub(crate) fn file(&self) -> &SeqFile {
        self.file
    }
}

/// The contents of a file.
pub(crate) trait Listing: 'static {
    /// What the files of the directory are about.
    type Data: Send + Sync + 'static;
    /// Where a piece begins. The first one begins at the default.
    type Place: Copy + Default + Send;

    /// Writes lines from `place` on as long as there [is room](Piece::has_room), and returns where the next piece
    /// begins, or `None` at the end. It may write less, and nothing at all.
    fn list(data: &Self::Data, place: Self::Place, out: &Piece<'_>) -> Option<Self::Place>;
}

/// An open file.
struct Reading<L: Listing> {
    data: Arc<L::Data>,
    /// Where the present piece begins. `None` at the end.
    place: Option<L::Place>,
    /// Where the one after it begins.
    next: Option<L::Place>,
}

/// The operations of files with the contents `L`.
struct Ops<L>(PhantomData<L>);

impl<L: Listing> Ops<L> {
    const FILE: &'static bindings::file_operations = &bindings::file_operations {
        owner: this_module::<LocalModule>().as_ptr(),
        open: Some(Self::open),
        read: Some(bindings::seq_read),
        release: Some(Self::release),
        ..pin_init::zeroed()
    };

    const SEQ: &'static bindings::seq_operations = &bindings::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    /// # Safety
    ///
    /// Must be called by debugfs for a file that [`Dir::file`] has made.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: `Dir::file` has stored the address of the directory's data, which has a
            // reference until the file has been removed, and debugfs waits for this call then.
            let data = unsafe { ArcBorrow::<L::Data>::from_raw((*inode).i_private.cast()) };
            let reading = KBox::new(
                Reading::<L> {
                    data: data.into(),
                    place: None,
                    next: None,
                },
                GFP_KERNEL,
            )?;
            // SAFETY: The file is being opened.
            kernel::error::to_result(unsafe { bindings::seq_open(file, Self::SEQ) })?;
            // SAFETY: `seq_open` has set the private data of the file to a new struct.
            unsafe {
                let seq: *mut bindings::seq_file = (*file).private_data.cast();
                (*seq).private = KBox::into_raw(reading).cast();
            }
            // The place in the file is known to `Reading` only, so nobody can seek.
            // SAFETY: The file is being opened.
            Ok(unsafe { bindings::nonseekable_open(inode, file) })
        })
    }

    /// # Safety
    ///
    /// Must be called for a file that [`Ops::open`] has opened.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open` has stored both, and the file is not read any more when it is released.
        drop(unsafe {
            let seq: *mut bindings::seq_file = (*file).private_data.cast();
            KBox::<Reading<L>>::from_raw((*seq).private.cast())
        });
        // SAFETY: `open` has called `seq_open`.
        unsafe { bindings::seq_release(inode, file) }
    }

    /// # Safety
    ///
    /// Must be called by an operation of `SEQ`, with its argument.
    unsafe fn reading<'a>(seq: *mut bindings::seq_file) -> &'a mut Reading<L> {
        // SAFETY: `open` has stored it, and the lock of the file is held during operations.
        unsafe { &mut *(*seq).private.cast() }
    }

    /// # Safety
    ///
    /// Must be called by seq_file for a file that [`Ops::open`] has opened.
    unsafe extern "C" fn start(
        seq: *mut bindings::seq_file,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: This is an operation of `SEQ`.
        let reading = unsafe { Self::reading(seq) };
        // SAFETY: `pos` is a variable of the caller.
        if unsafe { *pos } == 0 {
            reading.place = Some(Default::default());
        }
        match reading.place {
            // Any pointer but a null one will do.
            Some(_) => seq.cast(),
            None => core::ptr::null_mut(),
        }
    }

    /// # Safety
    ///
    /// Must be called by seq_file for a file that [`Ops::open`] has opened.
    unsafe extern "C" fn next(
        seq: *mut bindings::seq_file,
        _piece: *mut c_void,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: This is an operation of `SEQ`.
        let reading = unsafe { Self::reading(seq) };
        reading.place = reading.next;
        // SAFETY: `pos` is a variable of the caller.
        unsafe { *pos = (*pos).wrapping_add(1).max(1) };
        match reading.place {
            // Pieces without a line follow one another in one read.
            Some(_) => match signal::check_killed() {
                Ok(()) => seq.cast(),
                Err(error) => error.to_ptr(),
            },
            None => core::ptr::null_mut(),
        }
    }

    /// # Safety
    ///
    /// Must be called by seq_file for a file that [`Ops::open`] has opened.
    unsafe extern "C" fn stop(_seq: *mut bindings::seq_file, _piece: *mut c_void) {}

    /// # Safety
    ///
    /// Must be called by seq_file for a file that [`Ops::open`] has opened.
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _piece: *mut c_void) -> c_int {
        // SAFETY: This is an operation of `SEQ`.
        let reading = unsafe { Self::reading(seq) };
        let Some(place) = reading.place else {
            return 0;
        };
        let piece = Piece {
            raw: seq,
            // SAFETY: The struct belongs to this task during the operation.
            file: unsafe { SeqFile::from_raw(seq) },
            asked: Cell::new(0),
        };
        if piece.has_bytes() {
            reading.next = L::list(&reading.data, place, &piece);
        } else {
            // This is how an operation says that it has no room. The next read begins with it.
            // SAFETY: The struct belongs to this task during the operation.
            unsafe { (*seq).count = (*seq).size };
        }
        0
    }
}

/// A directory of debugfs with files that are about one thing. Dropping it removes it and its
/// files, and waits for their readers.
pub(crate) struct Dir<D> {
    // Field order: the files are removed before the reference to what they are about is dropped.
    dir: Directory,
    data: Arc<D>,
}

impl<D: Send + Sync + 'static> Dir<D> {
    /// Makes a directory in the one that is called `parent`, which is at the top of debugfs.
    /// Returns `ENOENT` if there is none, and the errors of debugfs. Sleeps as long as somebody
    /// lists `parent`.
    pub(crate) fn new(parent: &CStr, name: &CString, data: Arc<D>) -> Result<Self> {
        let dir = Directory::inside(parent, name)?;
        Ok(Self { dir, data })
    }

    /// Makes a file that root may read. Does nothing if debugfs has no memory for it.
    pub(crate) fn file<L: Listing<Data = D>>(&self, name: &CStr) {
        let data = Arc::as_ptr(&self.data).cast_mut().cast();
        // SAFETY: The operations want the address of an `Arc`'s value: that of the reference of
        // `self`, which is dropped after the directory.
        unsafe { self.dir.file(name, 0o400, data, Ops::<L>::FILE) };
    }
}
