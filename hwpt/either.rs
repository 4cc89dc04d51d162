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
        AnyRef,
        Ctx,
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

impl TryFrom<AnyRef> for Hwpt {
    /// The reference, if the object is of another kind.
    type Error = AnyRef;

    fn try_from(object: AnyRef) -> Result<Self, AnyRef> {
        object
            .downcast()
            .map(Self::Paging)
            .or_else(|object| object.downcast().map(Self::Nested))
    }
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
pub(crate) struct HwptInUse<'c> {
    ctx: &'c Ctx,
    /// `None` after `drop` has taken it.
    hwpt: Option<Hwpt>,
}

impl<'c> HwptInUse<'c> {
    /// Wraps a reference to page tables of `ctx`.
    pub(crate) fn new(ctx: &'c Ctx, hwpt: Hwpt) -> Self {
        let hwpt = Some(hwpt);
        Self { ctx, hwpt }
    }

    /// Returns the page tables. They are there until this is dropped, so it does not fail.
    pub(crate) fn hwpt(&self) -> Result<&Hwpt> {
        some_or_warn!(self.hwpt.as_ref())
    }

    /// Runs `f` with the page tables that the kernel fills and that have this id. Returns `ENOENT`
    /// if there are none, or what `f` returns.
    pub(crate) fn with_paging<T>(
        ctx: &'c Ctx,
        id: u32,
        f: impl FnOnce(&Ref<HwptPaging>) -> Result<T>,
    ) -> Result<T> {
        let in_use = Self::new(ctx, Hwpt::Paging(ctx.objects().get(id)?));
        f(in_use.hwpt()?.paging())
    }
}

impl Drop for HwptInUse<'_> {
    fn drop(&mut self) {
        if let Some(hwpt) = self.hwpt.take() {
            hwpt.give_back(self.ctx);
        }
    }
}
