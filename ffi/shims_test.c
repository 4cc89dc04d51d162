// SPDX-License-Identifier: GPL-2.0-only
/* Bodies of the functions of shims_test.h; see there. */
#include <linux/device.h>
#include <linux/fault-inject.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/property.h>
#include <linux/rwsem.h>
#include <linux/slab.h>

#include "shims_test.h"

static DECLARE_FAULT_ATTR(fail_iommufd);

/*
 * Read while a mock device reports a page fault, written while an attachment
 * changes.
 */
static DECLARE_RWSEM(iommufd_rs_fault_lock);

void iommufd_rs_fault_lock_read(void)
{
	down_read(&iommufd_rs_fault_lock);
}

void iommufd_rs_fault_unlock_read(void)
{
	up_read(&iommufd_rs_fault_lock);
}

void iommufd_rs_fault_lock_write(void)
{
	down_write(&iommufd_rs_fault_lock);
}

void iommufd_rs_fault_unlock_write(void)
{
	up_write(&iommufd_rs_fault_lock);
}

/* The attribute in debugfs, to be removed with debugfs_remove(). */
struct dentry *iommufd_rs_fault_init(void)
{
	return fault_create_debugfs_attr("fail_iommufd", NULL, &fail_iommufd);
}

bool iommufd_rs_should_fail(void)
{
	return should_fail(&fail_iommufd, 1);
}

/*
 * Adds an initialised device behind @iommu, which takes care of it from here on. With no bits it has
 * one PASID, and that means none; without the property the core would let any be attached.
 */
int iommufd_rs_mock_device_add(struct device *dev, struct iommu_device *iommu,
			       u32 pasid_bits)
{
	const struct property_entry properties[] = {
		PROPERTY_ENTRY_U32("pasid-num-bits", pasid_bits),
		{},
	};
	int rc;

	rc = device_create_managed_software_node(dev, properties, NULL);
	if (rc)
		return rc;
	rc = iommu_mock_device_add(dev, iommu);
	if (!rc) {
		/* The core reports to nobody that it could not probe the device. */
		if (dev->iommu && dev->iommu_group)
			return 0;
		device_del(dev);
		return -ENOMEM;
	}
	/* It leaves what it had when the firmware spec could not be made. */
	kfree(dev->iommu);
	dev->iommu = NULL;
	device_remove_software_node(dev);
	return rc;
}

void *iommufd_rs_dev_iommu_priv(struct device *dev)
{
	return dev_iommu_priv_get(dev);
}

void iommufd_rs_put_page(struct page *page)
{
	put_page(page);
}

bool iommufd_rs_page_is_compound(const struct page *page)
{
	return PageCompound(page);
}

/* How often a page is pinned; exact for pages that are not compound. */
int iommufd_rs_page_pins(struct page *page)
{
	return page_ref_count(page) / GUP_PIN_COUNTING_BIAS;
}

/* Whether it is memory of a process or a file. A page that is free, or was truncated, is not any more. */
bool iommufd_rs_phys_is_user(phys_addr_t phys)
{
	struct folio *folio;

	if (!pfn_valid(PHYS_PFN(phys)))
		return false;
	folio = page_folio(pfn_to_page(PHYS_PFN(phys)));
	return !folio_test_slab(folio) && READ_ONCE(folio->mapping);
}

/* Whether memory is pinned, or a page may be: it has as many references. */
bool iommufd_rs_phys_is_pinned(phys_addr_t phys)
{
	return pfn_valid(PHYS_PFN(phys)) &&
	       folio_maybe_dma_pinned(page_folio(pfn_to_page(PHYS_PFN(phys))));
}

u64 iommufd_rs_virt_to_phys(const void *virt)
{
	return virt_to_phys((void *)virt);
}

void *iommufd_rs_page_address(const struct page *page)
{
	return page_address(page);
}
