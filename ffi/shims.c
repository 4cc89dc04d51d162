// SPDX-License-Identifier: GPL-2.0-only
/* Bodies of the functions of shims.h; see there. */
#include <linux/atomic.h>
#include <linux/cred.h>
#include <linux/dma-buf.h>
#include <linux/err.h>
#include <linux/hugetlb.h>
#include <linux/iommu.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/uaccess.h>
#include <uapi/linux/iommufd.h>

#include "shims.h"

int iommufd_rs_copy_struct_from_user(void *dst, size_t ksize,
				     const void __user *src, size_t usize)
{
	return copy_struct_from_user(dst, ksize, src, usize);
}

unsigned long iommufd_rs_clear_user(void __user *to, unsigned long n)
{
	return clear_user(to, n);
}

struct user_struct *iommufd_rs_get_current_user(void)
{
	return get_uid(current_user());
}

/* False, and nothing charged, where RLIMIT_MEMLOCK of the task forbids it. */
bool iommufd_rs_charge_user(struct user_struct *user, struct task_struct *task,
			    unsigned long npages)
{
	unsigned long limit = task_rlimit(task, RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long old = atomic_long_read(&user->locked_vm);

	do {
		if (npages > limit || (unsigned long)old > limit - npages)
			return false;
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &old, old + npages));
	return true;
}

void iommufd_rs_uncharge_user(struct user_struct *user, unsigned long npages)
{
	atomic_long_sub(npages, &user->locked_vm);
}

/* The caller holds a reference to the users of @mm. */
int iommufd_rs_account_mm(struct mm_struct *mm, unsigned long npages, bool inc,
			  struct task_struct *task)
{
	int rc;

	mmap_write_lock(mm);
	rc = __account_locked_vm(mm, npages, inc, task, false);
	mmap_write_unlock(mm);
	return rc;
}

void iommufd_rs_add_pinned_vm(struct mm_struct *mm, long npages)
{
	atomic64_add(npages, &mm->pinned_vm);
}

unsigned long iommufd_rs_page_to_pfn(const struct page *page)
{
	return page_to_pfn(page);
}

struct page *iommufd_rs_pfn_to_page(unsigned long pfn)
{
	return pfn_to_page(pfn);
}

unsigned long iommufd_rs_folio_pfn(struct folio *folio)
{
	return folio_pfn(folio);
}

unsigned long iommufd_rs_folio_nr_pages(struct folio *folio)
{
	return folio_nr_pages(folio);
}

/* Whether memfd_pin_folios() can serve the file. */
bool iommufd_rs_file_is_memfd_like(struct file *file)
{
	const struct inode *inode = file_inode(file);

	/* shmem_file() itself is out of a module's reach. */
	return is_file_hugepages(file) ||
	       (inode->i_sb->s_magic == TMPFS_MAGIC && S_ISREG(inode->i_mode));
}

/* NULL where no IOMMU driver manages the device. */
const struct iommu_ops *iommufd_rs_dev_iommu_ops(struct device *dev)
{
	return dev->iommu ? dev->iommu->iommu_dev->ops : NULL;
}

u32 iommufd_rs_dev_max_pasids(struct device *dev)
{
	return dev->iommu ? dev->iommu->max_pasids : 0;
}

/* PCI_PASID_CTRL_* bits, or a negative errno where the device is not PCI or has no PASID. */
int iommufd_rs_dev_pasid_status(struct device *dev)
{
	if (!dev_is_pci(dev))
		return -ENODEV;
	return pci_pasid_status(to_pci_dev(dev));
}

/*
 * Unmaps the ranges and flushes the IOTLB once for all of them. Returns how
 * many bytes were unmapped.
 */
size_t iommufd_rs_iommu_unmap_ranges(struct iommu_domain *domain,
				     const struct iommu_iova_range *ranges,
				     size_t nr_ranges)
{
	struct iommu_iotlb_gather gather;
	size_t unmapped = 0;
	size_t i;

	iommu_iotlb_gather_init(&gather);
	for (i = 0; i != nr_ranges; i++)
		unmapped += iommu_unmap_fast(domain, ranges[i].start,
					     ranges[i].last - ranges[i].start + 1,
					     &gather);
	iommu_iotlb_sync(domain, &gather);
	return unmapped;
}

bool iommufd_rs_fd_is_dma_buf(int fd)
{
#if IS_ENABLED(CONFIG_DMA_SHARED_BUFFER)
	struct dma_buf *dmabuf = dma_buf_get(fd);

	if (IS_ERR(dmabuf))
		return false;
	dma_buf_put(dmabuf);
	return true;
#else
	return false;
#endif
}
