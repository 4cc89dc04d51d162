// SPDX-License-Identifier: GPL-2.0-only

//! Page tables of either kind. A device can be attached to both.

use crate::{
    hwpt::{
        HwptNested,
        HwptPaging, //
    },
    ioas::Ioas,
    kapi::{
        bug::some_or_warn,
        iommu::{
            attachable::Attachable,
            device::IommuDevice, //
        },
        reason::Result, //
    },
    object::{
        Ctx,
        InUse,
        Ref, //
    }, //
};

/// A reference to page tables.
#[derive(Clone)]
pub(crate) enum Hwpt {
    /// Page tables that the kernel fills.
    Paging(Ref<HwptPaging>),
    /// Page tables that user space fills.
    Nested(Ref<HwptNested>),
}

impl Hwpt {
    /// Returns their id.
    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Paging(hwpt) => hwpt.id(),
            Self::Nested(hwpt) => hwpt.id(),
        }
    }

    /// Returns whether both refer to the same page tables.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Paging(one), Self::Paging(other)) => one.same(other),
            (Self::Nested(one), Self::Nested(other)) => one.same(other),
            _ => false,
        }
    }

    /// Returns the domain, for an attachment of a device.
    pub(crate) fn attachable(&self, dev: &IommuDevice) -> Attachable {
        match self {
            Self::Paging(hwpt) => Attachable::Paging(hwpt.domain().clone()),
            Self::Nested(hwpt) => Attachable::Nested(hwpt.domain_for(dev).clone()),
        }
    }

    /// Returns the page tables that the kernel fills and that translate for a device: these, or the
    /// parent of nested ones.
    pub(crate) fn paging_for(&self, dev: &IommuDevice) -> &Ref<HwptPaging> {
        match self {
            Self::Paging(hwpt) => hwpt,
            Self::Nested(hwpt) => hwpt.parent_for(dev),
        }
    }

    /// Returns the page tables that the kernel fills: these, or the parent of nested ones. Nested
    /// ones on a vIOMMU over several IOMMUs have a parent for each; this is one of them.
    pub(crate) fn paging(&self) -> &Ref<HwptPaging> {
        match self {
            Self::Paging(hwpt) => hwpt,
            Self::Nested(hwpt) => hwpt.parent(),
        }
    }

    /// Returns the address space of the page tables that the kernel fills.
    pub(crate) fn ioas(&self) -> &Ref<Ioas> {
        self.paging().ioas()
    }

    /// Returns whether the vDEVICE of a device that is attached must exist until it is detached.
    pub(crate) fn keeps_vdevices(&self) -> bool {
        match self {
            Self::Paging(_) => false,
            Self::Nested(hwpt) => hwpt.keeps_vdevices(),
        }
    }

    /// Returns whether devices may have page faults.
    pub(crate) fn takes_faults(&self) -> bool {
        match self {
            Self::Paging(hwpt) => hwpt.domain().has_fault_sink(),
            Self::Nested(hwpt) => hwpt.takes_faults(),
        }
    }

    /// Returns whether a PASID, or a device of which a PASID is attached, may be attached to them.
    pub(crate) fn pasid_compatible(&self) -> bool {
        match self {
            Self::Paging(hwpt) => hwpt.pasid_compatible(),
            Self::Nested(hwpt) => hwpt.pasid_compatible(),
        }
    }

    /// Gives the reference back. Page tables that the kernel made for a device go with the last
    /// one.
    pub(crate) fn give_back(self, ctx: &Ctx) {
        match self {
            Self::Paging(hwpt) if hwpt.is_automatic() => ctx.objects().release(hwpt),
            other => drop(other),
        }
    }
}

/// A reference to page tables for the length of a call.
///
/// Page tables that the kernel made for a device are destroyed when the last device leaves them. If
/// a call uses them at that moment, they are destroyed at the end of the call.
pub(crate) struct HwptInUse<'t> {
    // Field order: this reference is dropped before the one that gives the page tables back.
    hwpt: Hwpt,
    _in_use: InUse<'t>,
}

impl<'t> HwptInUse<'t> {
    /// Returns the page tables that a look-up has found, or the look-up's result if the object is of
    /// another kind.
    pub(crate) fn of(found: InUse<'t>) -> Result<Self, InUse<'t>> {
        let paging = found.lend().map(Hwpt::Paging);
        match paging.or_else(|| found.lend().map(Hwpt::Nested)) {
            Some(hwpt) => Ok(Self {
                hwpt,
                _in_use: found,
            }),
            None => Err(found),
        }
    }

    /// Returns the page tables.
    pub(crate) fn hwpt(&self) -> &Hwpt {
        &self.hwpt
    }

    /// Runs `f` with the page tables that the kernel fills and that have this id. Returns `ENOENT`
    /// if there are none, or what `f` returns.
    pub(crate) fn with_paging<T>(
        ctx: &Ctx,
        id: u32,
        f: impl FnOnce(&Ref<HwptPaging>) -> Result<T>,
    ) -> Result<T> {
        Self::with_paging_if(ctx, id, |_| true, f)
    }

    /// As [`HwptInUse::with_paging`], for page tables that suit. Returns `ENOENT` for others, of which no
    /// reference is taken. `suits` is called under the lock of the object table: it must be quick and
    /// must not sleep.
    pub(crate) fn with_paging_if<T>(
        ctx: &Ctx,
        id: u32,
        suits: impl FnOnce(&HwptPaging) -> bool,
        f: impl FnOnce(&Ref<HwptPaging>) -> Result<T>,
    ) -> Result<T> {
        let found = ctx.objects().get_in_use(id, suits)?;
        // Dropped before `found`.
        let hwpt = some_or_warn!(found.lend())?;
        f(&hwpt)
    }
}
