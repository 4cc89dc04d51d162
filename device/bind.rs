// SPDX-License-Identifier: GPL-2.0-only

//! Binding: a driver hands the DMA of its device to a context.

use core::any::Any;

use kernel::{
    device::Device,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

use crate::{
    device::{
        claim::Claims,
        group::Group,
        msi::Interrupts, //
    },
    drivers::{
        backend_of,
        Backend, //
    },
    kapi::{
        file::{
            file_ref::FileRef,
            params::allow_unsafe_interrupts, //
        },
        iommu::{
            device::has_iommu,
            group::{
                capable,
                Capability,
                DmaOwner,
                IommuGroup, //
            }, //
        },
        sync::{
            complete_on_drop::CompleteOnDrop,
            shared::Shared, //
        }, //
    },
    object::{
        Ctx,
        Kind,
        Ref,
        Registry,
        Reservation, //
    }, //
};

/// A use of a context's state for an IOMMU group.
struct GroupUse {
    groups: Shared<Registry>,
    /// The IOMMU group's number, or `None` where the device has no IOMMU and is a group of its own.
    key: Option<u64>,
    /// Taken when dropped.
    group: Option<Shared<Group>>,
}

impl Drop for GroupUse {
    fn drop(&mut self) {
        if let (Some(group), Some(key)) = (self.group.take(), self.key) {
            self.groups.release(key, group);
        }
    }
}

/// A driver's hold on a device that it has bound, and on the context.
pub(crate) struct Binding {
    /// The device.
    pub(crate) device: Ref<BoundDevice>,
    /// The context, which stays as long as a driver has bound a device to it.
    pub(crate) ctx: FileRef<Ctx>,
}

/// A device bound to a context. Who bound it holds a reference until it unbinds.
#[pin_data]
pub(crate) struct BoundDevice {
    #[pin]
    claims: Claims,
    // Field order: the context has a group only while it owns the group's DMA, which is what
    // `iommufd_ctx_has_group()` is asked for. That everything is dropped is said last.
    group: GroupUse,
    owner: Option<Arc<DmaOwner>>,
    backend: &'static dyn Backend,
    dev: ARef<Device>,
    /// What goes with the binding: see [`BoundDevice::adopt`].
    _keep: Option<Keep>,
    dropped: CompleteOnDrop,
}

type Keep = KBox<dyn Any + Send + Sync>;

impl Kind for BoundDevice {}

impl BoundDevice {
    /// Binds a device. `EINVAL` where its DMA is not cache coherent, `ENODEV` where it has no IOMMU
    /// group, `EPERM` where it could forge interrupts and the administrator did not allow that,
    /// `EBUSY` where a kernel driver or another context uses its group, `ENOMEM`.
    ///
    /// A device without an IOMMU can be bound if the kernel is made for that; that the caller may
    /// is the calling driver's to check.
    pub(crate) fn bind(ctx: &Ctx, dev: &Device) -> Result<Ref<Self>> {
        let reservation = ctx.objects().reserve()?;
        let dropped = CompleteOnDrop::new()?;
        let (group, owner) = if cfg!(CONFIG_IOMMUFD_NOIOMMU) && !has_iommu(dev) {
            (Self::lone_group(ctx)?, None)
        } else {
            let iommu = Self::check_device(dev)?;
            Self::check_interrupts(&iommu, dev)?;
            let owner = DmaOwner::claim(dev, ctx)?;
            (Self::join_group(ctx, dev, iommu)?, Some(owner))
        };
        Self::publish(reservation, dev, group, owner, None, dropped)
    }

    /// Binds a device that software made and that has no interrupts. `keep` is what it lives by,
    /// and is dropped when nothing else of the binding is left. Fails as [`BoundDevice::bind`].
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    pub(crate) fn adopt(ctx: &Ctx, dev: &Device, keep: Keep) -> Result<Ref<Self>> {
        let reservation = ctx.objects().reserve()?;
        let dropped = CompleteOnDrop::new()?;
        let iommu = Self::check_device(dev)?;
        let owner = DmaOwner::claim(dev, ctx)?;
        let group = Self::join_group(ctx, dev, iommu)?;
        Self::publish(reservation, dev, group, Some(owner), Some(keep), dropped)
    }

    fn publish(
        reservation: Reservation<'_>,
        dev: &Device,
        group: GroupUse,
        owner: Option<Arc<DmaOwner>>,
        keep: Option<Keep>,
        dropped: CompleteOnDrop,
    ) -> Result<Ref<Self>> {
        let device = try_pin_init!(Self {
            claims <- Claims::new(),
            group,
            owner,
            backend: backend_of(dev),
            dev: dev.into(),
            _keep: keep,
            dropped,
        });
        Ok(reservation.fill(device)?.publish_and_get())
    }

    /// A group for a device without an IOMMU, which nobody has a say in. `ENOMEM`.
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
    fn check_device(dev: &Device) -> Result<IommuGroup> {
        if !capable(dev, Capability::CacheCoherency) {
            return Err(EINVAL);
        }
        IommuGroup::of(dev)
    }

    /// Returns the context's state for a group, whose DMA the caller has claimed. Returns `ENOMEM` if
    /// there is no memory for it.
    fn join_group(ctx: &Ctx, dev: &Device, iommu: IommuGroup) -> Result<GroupUse> {
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
    fn check_interrupts(iommu: &IommuGroup, dev: &Device) -> Result {
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
            return Err(EPERM);
        }
        dev_warn!(
            dev,
            "MSI interrupts are not isolated by the platform: the device can forge others'. \
             Bound all the same because allow_unsafe_interrupts is set.\n"
        );
        Ok(())
    }

    /// Undoes [`BoundDevice::bind`], and returns once nothing of the binding is left. Cannot fail.
    pub(crate) fn unbind(ctx: &Ctx, device: Ref<Self>) {
        let dropped = device.dropped.completion();

        let _id = ctx.objects().withdraw(&device);
        // The driver detaches first; were it to forget, DMA must not go on.
        device.detach_all(ctx, device.id());
        device.claims.end(ctx);
        drop(device);
        // Whoever still looks at the device is inside an ioctl, and done soon.
        dropped.wait_for_completion();
    }

    /// The device itself.
    pub(crate) fn dev(&self) -> &Device {
        &self.dev
    }

    /// Returns the ownership of its DMA, or `None` if it has no IOMMU.
    pub(super) fn owner(&self) -> Option<&Arc<DmaOwner>> {
        self.owner.as_ref()
    }

    /// What it knows of its vDEVICE.
    pub(super) fn claims(&self) -> &Claims {
        &self.claims
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
        self.group.group.as_deref().ok_or(ENODEV)
    }
}
