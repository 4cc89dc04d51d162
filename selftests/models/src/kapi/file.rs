// SPDX-License-Identifier: GPL-2.0-only

//! Files: those that are open, and references to them.

/// Files that own a value.
pub(crate) mod anon_file {
    use std::{
        cell::RefCell,
        marker::PhantomData,
        sync::Arc, //
    };

    use kernel::{
        prelude::*,
        uaccess::{
            UserSliceReader,
            UserSliceWriter, //
        }, //
    };

    use crate::kapi::{
        file::pollers::Pollers,
        lines::Lines,
        reason, //
    };

    /// The operations for which a file is ready.
    pub(crate) struct Ready {
        pub(crate) read: bool,
        pub(crate) write: bool,
    }

    /// The value of a file with events.
    pub(crate) trait EventFile: Send + Sync {
        const WRITES: bool;

        fn read(&self, to: &mut UserSliceWriter) -> Result<usize>;
        fn write(&self, from: &mut UserSliceReader) -> Result<usize>;
        fn show(&self, lines: &Lines<'_>);
        fn pollers(&self) -> &Pollers;
        fn ready(&self) -> Ready;
    }

    /// What user space does with a file.
    pub(crate) trait Calls: Send + Sync {
        fn read(&self, to: &mut UserSliceWriter) -> Result<usize>;
        fn write(&self, from: &mut UserSliceReader) -> Result<usize>;
        fn is_readable(&self) -> bool;
        /// How often tasks that poll were woken.
        fn woken(&self) -> usize;
    }

    impl<T: EventFile> Calls for T {
        fn read(&self, to: &mut UserSliceWriter) -> Result<usize> {
            EventFile::read(self, to)
        }

        fn write(&self, from: &mut UserSliceReader) -> Result<usize> {
            EventFile::write(self, from)
        }

        fn is_readable(&self) -> bool {
            self.ready().read
        }

        fn woken(&self) -> usize {
            self.pollers().woken()
        }
    }

    std::thread_local! {
        /// The file that was opened last. The threads of a model are in one of the system.
        static OPENED: RefCell<Option<Arc<dyn Calls>>> = const { RefCell::new(None) };
    }

    /// Returns the file that was opened last.
    pub(crate) fn opened() -> Arc<dyn Calls> {
        OPENED.take().expect("a file was opened")
    }

    /// A file that is not visible yet.
    pub(crate) struct NewEventFile<T>(PhantomData<T>);

    impl<T: EventFile + 'static> NewEventFile<T> {
        /// Makes a file.
        pub(crate) fn new(_name: &CStr) -> reason::Result<Self> {
            Ok(Self(PhantomData))
        }

        /// Returns the number of the descriptor.
        pub(crate) fn fd(&self) -> u32 {
            0
        }

        /// Makes the file visible.
        pub(crate) fn install(self, value: T) {
            OPENED.set(Some(Arc::new(value)));
        }
    }
}

/// The tasks that poll a file. There are none: how often they would be woken is counted.
pub(crate) mod pollers {
    use std::sync::atomic::{
        AtomicUsize,
        Ordering::SeqCst, //
    };

    use kernel::prelude::*;

    /// How often they were woken.
    pub(crate) struct Pollers(AtomicUsize);

    impl Pollers {
        /// Returns an initialiser.
        pub(crate) fn new() -> impl PinInit<Self> {
            kernel::init::By(|| Ok(Self(AtomicUsize::new(0))))
        }

        /// Counts.
        pub(crate) fn wake_all(&self) {
            self.0.fetch_add(1, SeqCst);
        }

        pub(super) fn woken(&self) -> usize {
            self.0.load(SeqCst)
        }
    }

    macro_rules! new_pollers {
        ($name:literal) => {
            $crate::kapi::file::pollers::Pollers::new()
        };
    }
    pub(crate) use new_pollers;
}

/// References to files.
pub(crate) mod file_ref {
    use core::ops::Deref;
    use std::sync::Arc;

    /// A reference to a file, and to its value.
    pub(crate) struct FileRef<T>(Arc<T>);

    impl<T> FileRef<T> {
        /// Opens a file with a value.
        pub(crate) fn new(value: T) -> Self {
            Self(Arc::new(value))
        }
    }

    impl<T> Clone for FileRef<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T> Deref for FileRef<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }
}
