// SPDX-License-Identifier: GPL-2.0-only

//! The physical address of mapped memory, for devices without an IOMMU.

use crate::{
    ioas::{
        membership::Followed,
        Ioas, //
    },
    kapi::{
        bug::some_or_warn,
        mm::{
            locked_vm::may_do_raw_io,
            user::UserStruct, //
        },
        reason::{
            Because,
            Reason,
            Result, //
        },
        sync::signal,
        uapi,
        units::{
            page_offset,
            IovaRange,
            PageRange,
            PAGE_SHIFT, //
        }, //
    },
    object::{
        Ctx,
        Ref, //
    }, //
};

/// IOMMU_IOAS_NOIOMMU_GET_PA.
pub(crate) fn noiommu_get_pa(
    ctx: &Ctx,
    mut cmd: uapi::IoasNoiommuGetPa,
    user: &UserStruct,
) -> Result {
    if !cfg!(CONFIG_IOMMUFD_NOIOMMU) {
        return Err(Reason::PhysUnsupported.with(0));
    }
    if !may_do_raw_io() {
        return Err(Reason::PhysPrivilege.with(0));
    }
    if cmd.flags != 0 {
        return Err(Reason::CommandFlags.with(cmd.flags.into()));
    }
    if cmd.__reserved != 0 {
        return Err(Reason::CommandReserved.with(cmd.__reserved.into()));
    }
    if cmd.length == 0 {
        return Err(Reason::CommandRange.with(cmd.iova));
    }
    if cmd.iova == u64::MAX {
        return Err(Reason::CommandOverflow.with(cmd.iova));
    }
    let ioas: Ref<Ioas> = ctx.objects().get(cmd.ioas_id)?;
    (cmd.out_phys, cmd.length) = ioas.phys(cmd.iova, cmd.length)?;
    user.write(&cmd)
}

impl Ioas {
    /// Returns the physical address of the memory at `iova`, and the number of bytes of the mapping
    /// that follow in memory, at most `most`, which is not 0. Returns `ENOENT` if nothing is mapped,
    /// `EOPNOTSUPP` if no device without an IOMMU uses the address space, and `EINVAL` for device
    /// memory that was revoked.
    fn phys(&self, iova: u64, most: u64) -> Result<(u64, u64)> {
        loop {
            let before = self.software_domain();
            let found = self.pinned_at(iova, most)?;
            let after = self.software_domain();
            let after = after.ok_or(Reason::PhysNoDevice.with(0))?;
            // The page may move if the domain has pinned it after it was found.
            if before == Some(after) {
                return found.ok_or(Reason::PhysNoDevice.with(0));
            }
            signal::check_killed()?;
        }
    }

    /// Returns the last change of the domains if one of them that has every area is for a device
    /// without an IOMMU.
    fn software_domain(&self) -> Option<Followed> {
        let space = self.space.read();
        let members = &space.domains.members;
        let mut domains = members.full();
        domains
            .any(|domain| domain.is_software())
            .then(|| members.up_to_date())
    }

    /// As [`Ioas::phys`]. Returns `Ok(None)` if the page is not pinned.
    fn pinned_at(&self, iova: u64, most: u64) -> Result<Option<(u64, u64)>> {
        let point = IovaRange::from_len(iova, 1).because(Reason::CommandRange, iova)?;
        let mut reader = self.reader();
        let found = reader.next(point, |range, area| Ok((range, area.slice.clone())))?;
        let (range, slice) = found.ok_or(Reason::PhysGap.with(iova))?;
        let start = slice.start + (iova - range.start());
        let offset = page_offset(start);
        // What is behind it need not be looked at.
        let end = iova.saturating_add(most - 1).min(range.last());
        let last = slice.start + (end - range.start());
        let wanted = some_or_warn!(PageRange::new(start >> PAGE_SHIFT, last >> PAGE_SHIFT))?;

        let found = match slice.pages.mmio() {
            Some((mmio, first)) => {
                let phys = mmio
                    .phys(first + wanted.start())?
                    .ok_or(Reason::PhysRevoked.with(iova))?;
                Some((phys, wanted.len()))
            }
            None => slice.pages.contiguous(wanted)?,
        };
        Ok(found.map(|(phys, npages)| {
            let bytes = (npages << PAGE_SHIFT) - offset;
            (phys + offset, bytes.min(end - iova + 1))
        }))
    }
}
