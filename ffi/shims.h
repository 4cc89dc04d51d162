/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Functions that C has only as inlines or macros, made callable from Rust, and
 * prototypes of exported functions whose header is not under include/.
 */
#ifndef IOMMUFD_RS_SHIMS_H
#define IOMMUFD_RS_SHIMS_H

#include <linux/iommu.h>
#include <linux/types.h>

struct device;
struct file;
struct mm_struct;
struct page;
struct task_struct;
struct user_struct;

/* drivers/iommu/iommu-priv.h, exported in namespace IOMMUFD_INTERNAL */
int iommu_attach_group_handle(struct iommu_domain *domain,
			      struct iommu_group *group,
			      struct iommu_attach_handle *handle);
void iommu_detach_group_handle(struct iommu_domain *domain,
			       struct iommu_group *group);
int iommu_replace_group_handle(struct iommu_group *group,
			       struct iommu_domain *new_domain,
			       struct iommu_attach_handle *handle);

/* linux/uaccess.h */
int iommufd_rs_copy_struct_from_user(void *dst, size_t ksize,
				     const void __user *src, size_t usize);
unsigned long iommufd_rs_clear_user(void __user *to, unsigned long n);

/* linux/sched/user.h, linux/sched/signal.h, linux/cred.h */
struct user_struct *iommufd_rs_get_current_user(void);
bool iommufd_rs_charge_user(struct user_struct *user, struct task_struct *task,
			    unsigned long npages);
void iommufd_rs_uncharge_user(struct user_struct *user, unsigned long npages);

/* linux/mm.h, linux/mmap_lock.h */
int iommufd_rs_account_mm(struct mm_struct *mm, unsigned long npages, bool inc,
			  struct task_struct *task);
void iommufd_rs_add_pinned_vm(struct mm_struct *mm, long npages);
unsigned long iommufd_rs_page_to_pfn(const struct page *page);
struct page *iommufd_rs_pfn_to_page(unsigned long pfn);
unsigned long iommufd_rs_folio_pfn(struct folio *folio);
unsigned long iommufd_rs_folio_nr_pages(struct folio *folio);
bool iommufd_rs_file_is_memfd_like(struct file *file);

/* linux/iommu.h */
const struct iommu_ops *iommufd_rs_dev_iommu_ops(struct device *dev);
u32 iommufd_rs_dev_max_pasids(struct device *dev);
int iommufd_rs_dev_pasid_status(struct device *dev);
size_t iommufd_rs_iommu_unmap_ranges(struct iommu_domain *domain,
				     const struct iommu_iova_range *ranges,
				     size_t nr_ranges);

/* include/linux/dma-buf.h */
bool iommufd_rs_fd_is_dma_buf(int fd);

/* abi/exports.c */
bool iommufd_rs_allow_unsafe_interrupts(void);

#endif
