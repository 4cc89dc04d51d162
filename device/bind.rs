// SPDX-License-Identifier: GPL-2.0-only

//! Binding: a driver hands the DMA of its device to a context.

use crate::device::group::Group;
use crate::drivers::backend_of;
use crate::drivers::Backend;
use crate::kapi::device::has_iommu;
use crate::kapi::group::capable;
use crate::kapi::group::Capability;
use crate::kapi::group::DmaOwner;
use crate::kapi::group::IommuGroup;
use crate::kapi::params::allow_unsafe_interrupts;
use crate::kapi::shared::Shared;
use crate::object::Ctx;
use crate::object::Kind;
use crate::object::Ref;
use core::ops::Deref;
use kernel::device::Device;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::Arc;
use kernel::sync::Completion;

/// A use of a context's state for an IOMMU group.
struct GroupUse {
    ctx: Shared<Ctx>,
    /// The IOMMU group's number, or `None` where the device has no IOMMU and is a group of its own.
    key: Option<u32>,
    /// Taken when dropped.
    group: Option<Shared<Group>>,
}

impl Drop for GroupUse {
    fn drop(&mut self) {
        if let (Some(group), Some(key)) = (self.group.take(), self.key) {
            self.ctx.groups().release(key, group);
        }
    }
}

/// Says so when dropped.
struct Gone(Arc<Completion>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.complete_all();
    }
}

/// A device bound to a context. The driver that bound it holds a reference until it unbinds.
pub(crate) struct BoundDevice {
    // Field order: DMA goes back to the kernel first; that everything is gone is said last.
    _owner: Option<DmaOwner>,
    group: GroupUse,
    backend: &'static dyn Backend,
    dev: ARef<Device>,
    gone: Gone,
}

impl Kind for BoundDevice {}

impl BoundDevice {
    /// Binds a device. `EINVAL` where its DMA is not cache coherent, `ENODEV` where it has no IOMMU
    /// group, `EPERM` where it could forge interrupts and the administrator did not allow that,
    /// `EBUSY` where a kernel driver or another context uses its group, `ENOMEM`.
    ///
    /// A device without an IOMMU can be bound if the kernel is made for that; that the caller may is
    /// the calling driver's to check.
    pub(crate) fn bind(ctx: &Shared<Ctx>, dev: &Device) -> Result<Ref<Self>> {
        let reservation = ctx.objects().reserve()?;
        let (group, owner) = if cfg!(CONFIG_IOMMUFD_NOIOMMU) && !has_iommu(dev) {
            (Self::lone_group(ctx)?, None)
        } else {
            let group = Self::join_group(ctx, dev)?;
            let owner = DmaOwner::claim(dev, core::ptr::from_ref::<Ctx>(ctx).cast())?;
            (group, Some(owner))
        };
        let done = Arc::pin_init(Completion::new(), GFP_KERNEL_ACCOUNT)?;
        let device = reservation.fill(Ok(Self {
            _owner: owner,
            group,
            backend: backend_of(dev),
            dev: dev.into(),
            gone: Gone(done),
        }))?;
        Ok(device.publish())
    }

    /// A group for a device without an IOMMU, which nobody has a say in. `ENOMEM`.
    fn lone_group(ctx: &Shared<Ctx>) -> Result<GroupUse> {
        Ok(GroupUse {
            ctx: ctx.clone(),
            key: None,
            group: Some(Shared::pin_init(Group::new(None)?, GFP_KERNEL_ACCOUNT)?),
        })
    }

    /// The group of a device with an IOMMU, if that can be trusted with the device.
    fn join_group(ctx: &Shared<Ctx>, dev: &Device) -> Result<GroupUse> {
        if !capable(dev, Capability::CacheCoherency) {
            return Err(EINVAL);
        }
        let iommu = IommuGroup::of(dev)?;
        if !iommu.has_isolated_msi() {
            if !allow_unsafe_interrupts() {
                return Err(EPERM);
            }
            dev_warn!(
                dev,
                "MSI interrupts are not isolated by the platform: the device can forge others'. \
                 Bound all the same because allow_unsafe_interrupts is set.\n"
            );
        }
        let key = iommu.id();
        let init = Group::new(Some(iommu))?;
        Ok(GroupUse {
            ctx: ctx.clone(),
            key: Some(key),
            group: Some(ctx.groups().get_or_make(key, || init)?),
        })
    }

    /// Undoes [`BoundDevice::bind`], and returns once nothing of the binding is left. Cannot fail.
    pub(crate) fn unbind(device: Ref<Self>) {
        let ctx = device.ctx().clone();
        let gone = device.gone.0.clone();

        ctx.objects().withdraw(&device);
        // The driver detaches first; were it to forget, DMA must not go on.
        device.detach(device.id());
        drop(device);
        // Whoever still looks at the device is inside an ioctl, and done soon.
        gone.wait_for_completion();
    }

    /// The context.
    pub(crate) fn ctx(&self) -> &Shared<Ctx> {
        &self.group.ctx
    }

    /// The device itself.
    pub(crate) fn dev(&self) -> &Device {
        &self.dev
    }

    /// What drives its IOMMU.
    pub(crate) fn backend(&self) -> &'static dyn Backend {
        self.backend
    }

    /// Whether no IOMMU translates for the device.
    pub(crate) fn is_bare(&self) -> bool {
        self.group.key.is_none()
    }

    /// Its group. `ENODEV` never happens while the device is bound.
    pub(crate) fn group(&self) -> Result<&Group> {
        self.group.group.as_ref().map(Deref::deref).ok_or(ENODEV)
    }
}
