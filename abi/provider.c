// SPDX-License-Identifier: GPL-2.0-only
/*
 * The callbacks for drivers that are built into the kernel. On a kernel with
 * this project's patches, the functions of drivers/iommu/iommufd/driver.c call
 * them while this module is loaded. All but sw_msi() are written in Rust.
 */
#include <linux/errno.h>
#include <linux/iommu.h>
#include <linux/msi.h>

#include "../ffi/shims.h"

#if __has_include(<linux/iommufd_provider.h>)
#include <linux/iommufd_provider.h>

/* The caller holds the group's mutex, so its attach handle cannot change. */
static int sw_msi(struct iommu_domain *domain, struct msi_desc *desc,
		  phys_addr_t msi_addr)
{
	struct iommu_group *group = msi_desc_to_dev(desc)->iommu_group;
	struct iommu_attach_handle *handle;
	u64 iova;
	int rc;

	handle = iommu_attach_handle_get(group, IOMMU_NO_PASID, 0);
	if (IS_ERR(handle))
		return 0;
	rc = iommufd_rs_place_doorbell(handle, msi_addr & PAGE_MASK, &iova);
	/* 0: the IOMMU does not translate interrupts; keep the address. */
	if (rc <= 0)
		return rc;
	msi_desc_set_iommu_msi_iova(desc, iova, PAGE_SHIFT);
	return 0;
}

static const struct iommufd_provider provider = {
	.object_depend = iommufd_rs_object_depend,
	.object_undepend = iommufd_rs_object_undepend,
	.alloc_mmap = iommufd_rs_alloc_mmap,
	.destroy_mmap = iommufd_rs_destroy_mmap,
	.vdevice_to_device = iommufd_rs_vdevice_to_device,
	.report_event = iommufd_rs_report_event,
	.sw_msi = sw_msi,
};

int iommufd_rs_register_provider(void)
{
	iommufd_set_provider(&provider);
	return 0;
}

void iommufd_rs_unregister_provider(void)
{
	iommufd_set_provider(NULL);
}
#else
int iommufd_rs_register_provider(void)
{
	return -EOPNOTSUPP;
}

void iommufd_rs_unregister_provider(void)
{
}
#endif
