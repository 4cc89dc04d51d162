// SPDX-License-Identifier: GPL-2.0-only

//! Pages that accesses have pinned. Only their indices are known.

use core::marker::PhantomData;

use kernel::prelude::*;

use crate::kapi::units::{
    PageRange,
    PAGE_SHIFT, //
};

/// Pages that are pinned, which nothing has.
pub(crate) enum Extent {}

impl Extent {
    /// Is not called.
    pub(crate) fn read(&self, _offset: u64, _data: &mut [u8]) -> Result {
        match *self {}
    }

    /// Is not called.
    pub(crate) fn write(&self, _offset: u64, _data: &[u8]) -> Result {
        match *self {}
    }
}

/// A page of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PagePtr(Option<u64>);

impl PagePtr {
    /// The page with this index.
    pub(crate) fn at(page: u64) -> Self {
        Self(Some(page))
    }

    /// No page.
    pub(crate) fn null() -> Self {
        Self(None)
    }
}

/// Pages that are pinned, one behind the other.
pub(crate) struct PinnedRun<'a> {
    pages: PageRange,
    _pages: PhantomData<&'a ()>,
}

impl<'a> PinnedRun<'a> {
    /// These pages are pinned.
    pub(crate) fn new(pages: PageRange) -> Self {
        Self {
            pages,
            _pages: PhantomData,
        }
    }

    /// Returns the number of pages.
    pub(crate) fn npages(&self) -> u64 {
        self.pages.len()
    }

    /// Returns where the first page is.
    pub(crate) fn phys(&self) -> u64 {
        self.pages.start() << PAGE_SHIFT
    }

    /// Returns the pages.
    pub(crate) fn pages(self) -> impl Iterator<Item = PagePtr> + 'a {
        (self.pages.start()..=self.pages.last()).map(PagePtr::at)
    }
}
