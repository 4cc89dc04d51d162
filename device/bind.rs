// SPDX-License-Identifier: GPL-2.0-only

//! Binding: a driver hands the DMA of its device to a context.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    device::{
        claims::Claims,
        group::Group,
        msi::Interrupts, //
    },
    drivers::{
        backend_of,
        Backend, //
    },
    kapi::{
        bug::warn_on_once,
        file::params::allow_unsafe_interrupts,
        iommu::{
            device::{
                has_iommu,
                IommuDevice,
                SysfsPath, //
            },
            group::{
                capable,
                Capability,
                DmaOwner,
                IommuGroup, //
            }, //
        },
        lines::Lines,
        reason::{
            Because,
            Reason,
            Refusal,
            Result, //
        },
        sync::shared::Shared, //
    },
    object::{
        Ctx,
        Kind,
        Ref,
        Registry,
        Reservation, //
    }, //
};

/// A reference to the state that a context keeps for an IOMMU group.
struct GroupUse {
    groups: Shared<Registry>,
    /// The IOMMU group's number, or `None` if the device has no IOMMU and is a group of its own.
    key: Option<u64>,
    /// `None` after `drop` has taken it.
    group: Option<Shared<Group>>,
}

impl Drop for GroupUse {
    fn drop(&mut self) {
        if let (Some(group), Some(key)) = (self.group.take(), self.key) {
            self.groups.release(key, group);
        }
    }
}

/// A device bound to a context. The driver that bound it holds a reference until it unbinds it.
#[pin_data]
pub(crate) struct BoundDevice {
    #[pin]
    claims: Claims,
    // Field order: the context has a group only while it owns the group's DMA, because vfio takes
    // `iommufd_ctx_has_group()` for the ownership. `dev` is dropped last, since unbinding waits for
    // that.
    group: GroupUse,
    owner: Option<Arc<DmaOwner>>,
    backend: &'static dyn Backend,
    /// The path in sysfs, if there was memory for it.
    path: Option<SysfsPath>,
    dev: IommuDevice,
}

impl Kind for BoundDevice {
    const NAME: &'static CStr = c"device";

    fn show(&self, lines: &Lines<'_>) {
        if let Some(path) = &self.path {
            lines.line("path", fmt!("{path}"));
        }
        if let Some(key) = self.group.key {
            lines.number("group", key);
        }
        lines.line("backend", fmt!("{}", self.backend_name()));
        if let Some(group) = &self.group.group {
            group.show(lines);
        }
    }
}

impl BoundDevice {
    /// Binds a device.
    ///
    /// Returns `EINVAL` if its DMA is not cache coherent, `ENODEV` if it has no IOMMU group,
    /// `EPERM` if it could forge interrupts and the administrator has not allowed that, `EBUSY` if
    /// a kernel driver or another context owns the DMA of its group, `ENOMEM`.
    ///
    /// A device without an IOMMU can be bound on kernels with `CONFIG_IOMMUFD_NOIOMMU`. The calling
    /// driver must have checked that its user may do that.
    pub(crate) fn bind(ctx: &Ctx, dev: IommuDevice) -> Result<Ref<Self>> {
        let reservation = ctx.objects().reserve()?;
        let (group, owner) = if cfg!(CONFIG_IOMMUFD_NOIOMMU) && !has_iommu(&dev) {
            (Self::lone_group(ctx)?, None)
        } else {
            let iommu = Self::check_device(&dev)?;
            Self::check_interrupts(&iommu, &dev)?;
            let owner = Self::claim(&dev, ctx)?;
            (Self::join_group(ctx, &dev, iommu)?, Some(owner))
        };
        Self::publish(reservation, dev, group, owner)
    }

    /// Binds a mock device, which has no interrupts. Returns the errors of [`BoundDevice::bind`].
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn adopt(ctx: &Ctx, dev: IommuDevice) -> Result<Ref<Self>> {
        let reservation = ctx.objects().reserve()?;
        let iommu = Self::check_device(&dev)?;
        let owner = Self::claim(&dev, ctx)?;
        let group = Self::join_group(ctx, &dev, iommu)?;
        Self::publish(reservation, dev, group, Some(owner))
    }

    fn publish(
        reservation: Reservation<'_>,
        dev: IommuDevice,
        group: GroupUse,
        owner: Option<Arc<DmaOwner>>,
    ) -> Result<Ref<Self>> {
        let device = try_pin_init!(Self {
            claims <- Claims::new(),
            group,
            owner,
            backend: backend_of(&dev),
            path: SysfsPath::of(&dev),
            dev,
        }? Refusal);
        let device = reservation.fill(device)?;
        dev_dbg!(device.dev, "bound, backend {}\n", device.backend_name());
        Ok(device.publish_and_get())
    }

    /// Returns a group for a device without an IOMMU. Returns `ENOMEM` if there is no memory for
    /// it.
    fn lone_group(ctx: &Ctx) -> Result<GroupUse> {
        Ok(GroupUse {
            groups: ctx.groups().clone(),
            key: None,
            group: Some(Shared::pin_init(
                Group::new(None, None)?,
                GFP_KERNEL_ACCOUNT,
            )?),
        })
    }

    /// Returns the group of a device with an IOMMU. Returns `EINVAL` if the device's DMA is not
    /// cache coherent, `ENODEV` if it has no group.
    fn check_device(dev: &IommuDevice) -> Result<IommuGroup> {
        if !capable(dev, Capability::CacheCoherency) {
            return Err(Reason::BindIncoherent.with(0));
        }
        IommuGroup::of(dev).because(Reason::BindNoGroup, 0)
    }

    /// Claims the DMA of the device's group for the context. Returns the errors of [`DmaOwner::claim`].
    fn claim(dev: &IommuDevice, ctx: &Ctx) -> Result<Arc<DmaOwner>> {
        DmaOwner::claim(dev, ctx).map_err(|error| match error {
            ENOMEM => error.into(),
            error => Reason::BindOwner.errno(error, 0),
        })
    }

    /// Returns the context's state for a group, whose DMA the caller has claimed. Returns `ENOMEM`
    /// if there is no memory for it.
    fn join_group(ctx: &Ctx, dev: &IommuDevice, iommu: IommuGroup) -> Result<GroupUse> {
        let key = u64::from(iommu.id());
        let init = Group::new(Some(iommu), Interrupts::of(ctx, dev)?)?;
        Ok(GroupUse {
            groups: ctx.groups().clone(),
            key: Some(key),
            group: Some(ctx.groups().get_or_make(key, || init)?),
        })
    }

    /// Returns `EPERM` if a device of the group can forge interrupts and the administrator has not
    /// allowed that.
    fn check_interrupts(iommu: &IommuGroup, dev: &IommuDevice) -> Result {
        if iommu.has_isolated_msi() {
            return Ok(());
        }
        if !allow_unsafe_interrupts() {
            // The parameter has the name of this module: a line that is there for the C one has no
            // effect.
            kernel::do_once_lite! {
                dev_warn!(
                    dev,
                    "not bound: MSI interrupts are not isolated by the platform, the device could \
                     forge others'. Turn interrupt remapping on, or accept that with \
                     \"options iommufd_rs allow_unsafe_interrupts=1\" in modprobe.d\n"
                );
            }
            return Err(Reason::BindInterrupts.with(iommu.id().into()));
        }
        // A user can bind devices as often as they like.
        kernel::do_once_lite! {
            dev_warn!(
                dev,
                "MSI interrupts are not isolated by the platform: the device can forge others'. \
                 Bound all the same because allow_unsafe_interrupts is set.\n"
            );
        }
        Ok(())
    }

    /// Undoes [`BoundDevice::bind`]. Returns when the binding and all that uses its device have
    /// been dropped. Cannot fail.
    pub(crate) fn unbind(ctx: &Ctx, device: Ref<Self>) {
        let dropped = device.dev.dropped();

        let id = ctx.objects().withdraw(&device);
        // The driver's reference keeps it in the table.
        warn_on_once!(id.is_none());
        // Drivers detach the device before. One that has not must not leave DMA enabled.
        device.detach_all(ctx);
        device.claims.end(ctx);
        drop(device);
        // Other references are those of ioctls that are running. None holds one while it waits for
        // user space, see `kapi/mm/retry_faults.rs`.
        dropped.wait_for_completion();
    }

    /// Returns the device.
    pub(crate) fn dev(&self) -> &IommuDevice {
        &self.dev
    }

    /// Returns the ownership of its DMA, or `None` if it has no IOMMU.
    pub(super) fn owner(&self) -> Option<&Arc<DmaOwner>> {
        self.owner.as_ref()
    }

    /// Returns the state of its vDEVICE.
    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns the backend of its IOMMU.
    pub(crate) fn backend(&self) -> &'static dyn Backend {
        self.backend
    }

    /// Returns the name of that backend, which is chosen when the device is bound. The module
    /// parameter `backend` does not change it any more.
    pub(crate) fn backend_name(&self) -> &'static str {
        self.backend.name()
    }

    /// Returns whether no IOMMU translates for the device.
    pub(crate) fn is_bare(&self) -> bool {
        self.group.key.is_none()
    }

    /// Returns its group. `ENODEV` cannot happen, since the group is there until the device is
    /// dropped.
    pub(crate) fn group(&self) -> Result<&Group> {
        let group = self.group.group.as_deref();
        warn_on_once!(group.is_none());
        group.ok_or(Reason::Impossible.errno(ENODEV, 0))
    }
}
