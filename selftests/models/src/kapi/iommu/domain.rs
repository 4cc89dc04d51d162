// SPDX-License-Identifier: GPL-2.0-only

//! Domains, and the memory that is mapped in them, page by page.
//!
//! Only the task that works on an area may change what is known here of its pages, so there is no lock, and
//! loom reports two tasks that do so at once, or one that does so after another without a lock between. So
//! it is with the bytes of a page: who uses them while the page is mapped, and who does when it is not.

use core::ops::RangeInclusive;
use std::sync::{
    atomic::{
        AtomicUsize,
        Ordering::SeqCst, //
    },
    Arc, //
};

use loom::cell::UnsafeCell;

use crate::{
    ioas::IoasRanges,
    kapi::{
        reason::{
            Reason,
            Result, //
        },
        units::{
            IovaRange,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    },
};

/// The number of pages of memory, and of IOVA.
pub(crate) const PAGES: usize = 4;

/// What devices may do with memory.
#[derive(Clone, Copy)]
pub(crate) struct Prot {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) mmio: bool,
}

/// What one task at a time may change.
struct Cell<T>(UnsafeCell<T>);

// SAFETY: Loom checks that nothing reads the value while it is written.
unsafe impl<T: Send> Send for Cell<T> {}
// SAFETY: Loom checks that nothing reads the value while it is written.
unsafe impl<T: Send> Sync for Cell<T> {}

impl<T> Cell<T> {
    /// Makes one.
    fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Calls `f` with the value, at which several tasks may look.
    fn look<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        // SAFETY: The cell is there as long as the value.
        self.0.with(|value| f(unsafe { &*value }))
    }

    /// Calls `f` with the value, which it may change.
    fn change<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: The cell is there as long as the value.
        self.0.with_mut(|value| f(unsafe { &mut *value }))
    }
}

/// What domains do with a page of memory.
#[derive(Default)]
struct Use {
    pinned: bool,
    /// The number of domains that have it.
    domains: usize,
}

/// A page of memory.
struct Page {
    of_domains: Cell<Use>,
    /// The number of accesses that have pinned it.
    accesses: AtomicUsize,
    bytes: Cell<()>,
    /// It cannot be pinned.
    absent: bool,
}

/// The memory of a process.
#[derive(Clone)]
pub(crate) struct Memory(Arc<[Page; PAGES]>);

impl Memory {
    /// Makes memory in which the pages with these indices cannot be pinned.
    pub(crate) fn new(absent: &[usize]) -> Self {
        Self(Arc::new(core::array::from_fn(|page| Page {
            of_domains: Cell::new(Use::default()),
            accesses: AtomicUsize::new(0),
            bytes: Cell::new(()),
            absent: absent.contains(&page),
        })))
    }

    fn page(&self, page: u64) -> &Page {
        &self.0[page as usize]
    }

    fn change<R>(&self, page: u64, f: impl FnOnce(&mut Use) -> R) -> R {
        self.page(page).of_domains.change(f)
    }

    /// Returns `EFAULT` if a page cannot be pinned.
    fn check(&self, page: u64) -> Result {
        match self.page(page).absent {
            true => Err(Reason::UserMemory.with(0)),
            false => Ok(()),
        }
    }

    /// Pins pages for an access, or none.
    pub(crate) fn hold(&self, pages: RangeInclusive<u64>) -> Result {
        pages.clone().try_for_each(|page| self.check(page))?;
        { pages }.for_each(|page| {
            self.page(page).accesses.fetch_add(1, SeqCst);
        });
        Ok(())
    }

    /// Unpins pages of an access.
    pub(crate) fn let_go(&self, pages: RangeInclusive<u64>) {
        for page in pages {
            let before = self.page(page).accesses.fetch_sub(1, SeqCst);
            assert!(before > 0, "an access unpins a page twice");
        }
    }

    /// Uses the bytes of pages that are mapped.
    pub(crate) fn touch(&self, pages: RangeInclusive<u64>) {
        { pages }.for_each(|page| self.page(page).bytes.look(|()| ()));
    }

    /// Uses the bytes of pages that are not mapped any more, so that nobody else does.
    pub(crate) fn reuse(&self, pages: RangeInclusive<u64>) {
        { pages }.for_each(|page| self.page(page).bytes.change(|()| ()));
    }

    /// Returns the indices of the pages that accesses have pinned.
    pub(crate) fn held(&self) -> Vec<u64> {
        let pages = 0..PAGES as u64;
        pages
            .filter(|page| self.page(*page).accesses.load(SeqCst) != 0)
            .collect()
    }

    /// Pins a page for domains, which is not pinned for them. Returns `EFAULT`.
    pub(crate) fn pin(&self, page: u64) -> Result {
        self.change(page, |of_domains| {
            assert!(!of_domains.pinned, "a page is pinned twice");
            self.check(page)?;
            of_domains.pinned = true;
            Ok(())
        })
    }

    /// Unpins a page that no domain has.
    pub(crate) fn unpin(&self, page: u64) {
        self.change(page, |page| {
            assert!(page.pinned, "a page is unpinned twice");
            assert_eq!(page.domains, 0, "a page is unpinned that a domain has");
            page.pinned = false;
        });
    }

    /// A page must be pinned.
    pub(crate) fn expect_pinned(&self, page: u64) {
        self.change(page, |page| assert!(page.pinned, "a page is not pinned"));
    }

    /// Returns the indices of the pages that are pinned for domains.
    pub(crate) fn pinned(&self) -> Vec<u64> {
        let pages = 0..PAGES as u64;
        pages
            .filter(|page| self.change(*page, |page| page.pinned))
            .collect()
    }
}

/// A domain. It must not have a page when it is dropped.
pub(crate) struct Domain {
    has: [Cell<bool>; PAGES],
    memory: Memory,
    on_drop: Box<dyn Fn() + Send + Sync>,
}

impl Domain {
    /// Makes a domain for pages of this memory. Calls `on_drop` when it is dropped.
    pub(crate) fn new(memory: &Memory, on_drop: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            has: core::array::from_fn(|_| Cell::new(false)),
            memory: memory.clone(),
            on_drop: Box::new(on_drop),
        }
    }

    /// Returns the size of a page.
    pub(crate) fn min_page_size(&self) -> u64 {
        PAGE_SIZE
    }

    /// Returns the addresses of the pages. All others are reserved as long as the domain has an area.
    pub(crate) fn aperture(&self) -> IovaRange {
        IovaRange::from_len(0, (PAGES as u64) << PAGE_SHIFT).unwrap()
    }

    /// Maps the pages of a range, which are pinned.
    pub(crate) fn map(&self, range: IovaRange) -> Result {
        for page in range.start() >> PAGE_SHIFT..=range.last() >> PAGE_SHIFT {
            self.memory.change(page, |page| {
                assert!(page.pinned, "a page is mapped that is not pinned");
                page.domains += 1;
            });
            self.has[page as usize].change(|has| {
                assert!(!*has, "a page is mapped twice");
                *has = true;
            });
        }
        Ok(())
    }

    /// Unmaps the pages of ranges.
    pub(crate) fn unmap(&self, _: IoasRanges, ranges: impl IntoIterator<Item = IovaRange>) {
        for range in ranges {
            for page in range.start() >> PAGE_SHIFT..=range.last() >> PAGE_SHIFT {
                self.has[page as usize].change(|has| {
                    assert!(*has, "a page is unmapped twice");
                    *has = false;
                });
                self.memory.change(page, |page| page.domains -= 1);
            }
        }
    }

    /// Reads which pages of a range are dirty. It must have them.
    pub(crate) fn read_dirty(&self, range: IovaRange) {
        for page in range.start() >> PAGE_SHIFT..=range.last() >> PAGE_SHIFT {
            let has = self.has[page as usize].look(|has| *has);
            assert!(has, "dirty pages are read of what is not mapped");
        }
    }

    /// Returns the indices of the pages that it has.
    pub(crate) fn pages(&self) -> Vec<u64> {
        let pages = 0..PAGES as u64;
        pages
            .filter(|page| self.has[*page as usize].change(|has| *has))
            .collect()
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // A model that fails drops what it has in any state.
        if !std::thread::panicking() {
            let pages = self.pages();
            assert!(pages.is_empty(), "a domain is dropped that has a page");
            (self.on_drop)();
        }
    }
}
