/* SPDX-License-Identifier: GPL-2.0-only */
/* As shims.h, for CONFIG_IOMMUFD_RS_TEST: the mock IOMMU and fault injection. */
#ifndef IOMMUFD_RS_SHIMS_TEST_H
#define IOMMUFD_RS_SHIMS_TEST_H

#include <linux/iommu.h>
#include <linux/types.h>

struct bus_type;
struct dentry;
struct device;
struct dma_buf;
struct notifier_block;
struct page;

/* drivers/iommu/iommu-priv.h */
int iommu_device_register_bus(struct iommu_device *iommu,
			      const struct iommu_ops *ops,
			      const struct bus_type *bus,
			      struct notifier_block *nb);
void iommu_device_unregister_bus(struct iommu_device *iommu,
				 const struct bus_type *bus,
				 struct notifier_block *nb);
int iommu_mock_device_add(struct device *dev, struct iommu_device *iommu);
int iommufd_rs_mock_device_add(struct device *dev, struct iommu_device *iommu,
			       u32 pasid_bits);

/* linux/iommu.h */
void *iommufd_rs_dev_iommu_priv(struct device *dev);

/* linux/rwsem.h */
void iommufd_rs_fault_lock_read(void);
void iommufd_rs_fault_unlock_read(void);
void iommufd_rs_fault_lock_write(void);
void iommufd_rs_fault_unlock_write(void);

/* linux/fault-inject.h */
struct dentry *iommufd_rs_fault_init(void);
bool iommufd_rs_should_fail(void);

/* linux/mm.h */
void iommufd_rs_put_page(struct page *page);
bool iommufd_rs_page_is_compound(const struct page *page);
int iommufd_rs_page_pins(struct page *page);
bool iommufd_rs_phys_is_user(phys_addr_t phys);
bool iommufd_rs_phys_is_pinned(phys_addr_t phys);
u64 iommufd_rs_virt_to_phys(const void *virt);
void *iommufd_rs_page_address(const struct page *page);

#endif
