// SPDX-License-Identifier: GPL-2.0-only
/* Bodies of the functions of shims.h; see there. */
#include <linux/atomic.h>
#include <linux/cred.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/generic_pt/iommu.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/jump_label.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>
#include <linux/preempt.h>
#include <linux/rbtree_augmented.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio_pci_core.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <uapi/linux/iommufd.h>

#include "shims.h"

/*
 * A full source has the private headers of which shims.h repeats prototypes: the compiler refuses a
 * repeated one that has become wrong.
 */
#if __has_include("iommu-priv.h") && __has_include("iommu-pages.h")
#include "iommu-pages.h"
#include "iommu-priv.h"
#endif

void iommufd_rs_preempt_disable(void)
{
	preempt_disable();
}

void iommufd_rs_preempt_enable(void)
{
	preempt_enable();
}

void iommufd_rs_get_file(struct file *file)
{
	get_file(file);
}

bool iommufd_rs_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

/* The tasks that wait have queued themselves under a lock that the caller held after them. */
void iommufd_rs_wake_up_all(struct wait_queue_head *queue)
{
	if (waitqueue_active(queue))
		wake_up_all(queue);
}

/*
 * Takes references to what the current process's memory is charged to. Returns false, and takes none, in a
 * kernel thread.
 */
bool iommufd_rs_get_accounts(struct mm_struct **mm, struct task_struct **task,
			     struct user_struct **user)
{
	*mm = current->mm;
	if (!*mm)
		return false;
	mmgrab(*mm);
	*task = get_task_struct(current->group_leader);
	*user = get_uid(current_user());
	return true;
}

void iommufd_rs_put_accounts(struct mm_struct *mm, struct task_struct *task,
			     struct user_struct *user)
{
	mmdrop(mm);
	put_task_struct(task);
	free_uid(user);
}

/* Returns true if iommufd_rs_get_accounts() would take references to these. */
bool iommufd_rs_are_accounts(const struct mm_struct *mm, const struct task_struct *task,
			     const struct user_struct *user)
{
	return current->mm == mm && current->group_leader == task && current_user() == user;
}

/* Returns false, and charges nothing, if this exceeds RLIMIT_MEMLOCK of @task. */
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
	WARN_ON_ONCE(atomic_long_sub_return(npages, &user->locked_vm) < 0);
}

u32 iommufd_rs_uid(struct user_struct *user)
{
	return from_kuid_munged(current_user_ns(), user->uid);
}

/* Returns 0 if the task has ended, or if the current one does not see it. */
pid_t iommufd_rs_tgid(struct task_struct *task)
{
	return task_tgid_vnr(task);
}

/* In pages. */
unsigned long iommufd_rs_memlock_limit(struct task_struct *task)
{
	return task_rlimit(task, RLIMIT_MEMLOCK) >> PAGE_SHIFT;
}

unsigned long iommufd_rs_user_locked_vm(struct user_struct *user)
{
	return atomic_long_read(&user->locked_vm);
}

unsigned long iommufd_rs_locked_vm(struct mm_struct *mm)
{
	return READ_ONCE(mm->locked_vm);
}

unsigned long iommufd_rs_pinned_vm(struct mm_struct *mm)
{
	return atomic64_read(&mm->pinned_vm);
}

/*
 * Charges pages to a process, and takes away as many as @fewer says, which is 0 then. The caller must hold
 * a reference to the users of @mm. Returns -EINTR, and changes nothing, if the task is killed while it
 * waits for the mmap lock; -EAGAIN, and changes nothing, if that is not free and @wait is false; -ENOMEM if
 * @npages more exceed the limit of @task.
 */
int iommufd_rs_charge_mm(struct mm_struct *mm, unsigned long npages,
			 atomic64_t *fewer, struct task_struct *task, bool wait)
{
	unsigned long less;
	int rc = 0;

	/* No VMA is changed, so their sequence counters need not be. */
	if (!wait && !down_write_trylock(&mm->mmap_lock))
		return -EAGAIN;
	if (wait && down_write_killable(&mm->mmap_lock))
		return -EINTR;
	less = atomic64_xchg(fewer, 0);
	if (less)
		__account_locked_vm(mm, less, false, task, false);
	if (npages)
		rc = __account_locked_vm(mm, npages, true, task, false);
	up_write(&mm->mmap_lock);
	return rc;
}

/*
 * Takes pages away that were charged to a process. Returns false, and changes nothing, if its mmap lock is
 * not free. The caller must hold a reference to the users of @mm.
 */
bool iommufd_rs_try_uncharge_mm(struct mm_struct *mm, unsigned long npages)
{
	/* No VMA is changed, so their sequence counters need not be. */
	if (!down_write_trylock(&mm->mmap_lock))
		return false;
	__account_locked_vm(mm, npages, false, current, false);
	up_write(&mm->mmap_lock);
	return true;
}

/*
 * Pins pages of another process. Returns their number, or a negative errno: -EINTR if the task is being
 * killed. The mmap lock is released while a page fault waits. The caller must hold a reference to the
 * users of @mm.
 */
long iommufd_rs_pin_remote(struct mm_struct *mm, unsigned long start,
			   unsigned long nr_pages, unsigned int gup_flags,
			   struct page **pages)
{
	int locked = 1;
	long pinned;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	pinned = pin_user_pages_remote(mm, start, nr_pages, gup_flags, pages,
				       &locked);
	if (locked)
		mmap_read_unlock(mm);
	return pinned;
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

/*
 * Unpins pages that follow each other in physical memory, and marks them dirty
 * on request. For a page alone nobody has to look where its folio ends.
 */
void iommufd_rs_unpin(unsigned long pfn, unsigned long npages, bool dirty)
{
	struct page *first = pfn_to_page(pfn);
	struct folio *folio;

	if (npages != 1) {
		unpin_user_page_range_dirty_lock(first, npages, dirty);
		return;
	}
	folio = page_folio(first);
	if (dirty && !folio_test_dirty(folio)) {
		folio_lock(folio);
		folio_mark_dirty(folio);
		folio_unlock(folio);
	}
	unpin_user_folio(folio, 1);
}

/*
 * Unpins pages whose frame numbers are in @pfns from bit @shift on, and marks them
 * dirty on request. The numbers are overwritten.
 */
void iommufd_rs_unpin_pages(u64 *pfns, unsigned long nr, unsigned int shift, bool dirty)
{
	struct page **pages = (struct page **)pfns;
	unsigned long i;

	BUILD_BUG_ON(sizeof(*pages) != sizeof(*pfns));
	for (i = 0; i < nr; i++)
		pages[i] = pfn_to_page(pfns[i] >> shift);
	unpin_user_pages_dirty_lock(pages, nr, dirty);
}

unsigned long iommufd_rs_folio_nr_pages(struct folio *folio)
{
	return folio_nr_pages(folio);
}

/* Maps device memory from @pfn to all of @vma, which must be being set up. */
int iommufd_rs_map_uncached(struct vm_area_struct *vma, unsigned long pfn)
{
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	return io_remap_pfn_range(vma, vma->vm_start, pfn,
				  vma->vm_end - vma->vm_start,
				  vma->vm_page_prot);
}

/* NULL if no IOMMU driver manages the device. */
struct iommu_device *iommufd_rs_dev_iommu_device(struct device *dev)
{
	return dev->iommu ? dev->iommu->iommu_dev : NULL;
}

/*
 * NULL if no IOMMU driver manages the device. dev->iommu is there, with no
 * IOMMU, where firmware names one whose driver did not take the device.
 */
const struct iommu_ops *iommufd_rs_dev_iommu_ops(struct device *dev)
{
	struct iommu_device *iommu = iommufd_rs_dev_iommu_device(dev);

	return iommu ? iommu->ops : NULL;
}

/*
 * dev->iommu_group does not tell: vfio makes a group for a device without an
 * IOMMU.
 */
bool iommufd_rs_dev_has_iommu(struct device *dev)
{
	return dev->iommu;
}

bool iommufd_rs_dev_is_vf_with_pri(struct device *dev)
{
	return dev_is_pci(dev) && to_pci_dev(dev)->is_virtfn &&
	       pci_pri_supported(to_pci_dev(dev));
}

u32 iommufd_rs_dev_max_pasids(struct device *dev)
{
	return dev->iommu ? dev->iommu->max_pasids : 0;
}

/* PCI_PASID_CTRL_* bits, or a negative errno if it is no PCI device or has no PASID. */
int iommufd_rs_dev_pasid_status(struct device *dev)
{
	if (!dev_is_pci(dev))
		return -ENODEV;
	return pci_pasid_status(to_pci_dev(dev));
}

struct workqueue_struct *iommufd_rs_alloc_unbound_workqueue(const char *name)
{
	return alloc_workqueue("%s", WQ_UNBOUND, 0, name);
}

struct iommufd_rs_key iommufd_rs_timing = { .key = STATIC_KEY_FALSE_INIT };

void iommufd_rs_time(bool on)
{
	if (on)
		static_branch_enable(&iommufd_rs_timing.key);
	else
		static_branch_disable(&iommufd_rs_timing.key);
}

/* -EEXIST if there is an entry, even if it is only reserved. */
int iommufd_rs_xa_reserve(struct xarray *xa, unsigned long index, gfp_t gfp)
{
	int rc = xa_insert(xa, index, NULL, gfp);

	return rc == -EBUSY ? -EEXIST : rc;
}

/* The entry becomes a reserved one, for which no memory is needed. */
void iommufd_rs_xa_hide(struct xarray *xa, unsigned long index)
{
	xa_store(xa, index, XA_ZERO_ENTRY, 0);
}

void iommufd_rs_iotlb_gather_init(struct iommu_iotlb_gather *gather)
{
	iommu_iotlb_gather_init(gather);
}

/* Frees pages that were removed from page tables which no IOMMU caches. */
void iommufd_rs_free_gathered_pages(struct iommu_iotlb_gather *gather)
{
	iommu_put_pages_list(&gather->freelist);
}

void iommufd_rs_pt_iommu_deinit(struct pt_iommu *table)
{
	pt_iommu_deinit(table);
}

void iommufd_rs_iotlb_sync(struct iommu_domain *domain,
			   struct iommu_iotlb_gather *gather)
{
	iommu_iotlb_sync(domain, gather);
}

#if IS_ENABLED(CONFIG_DMA_SHARED_BUFFER)
struct dma_buf *iommufd_rs_dma_buf_get(int fd)
{
	return dma_buf_get(fd);
}

void iommufd_rs_dma_buf_put(struct dma_buf *dmabuf)
{
	dma_buf_put(dmabuf);
}

struct dma_buf_attachment *
iommufd_rs_dma_buf_attach(struct dma_buf *dmabuf, struct device *dev,
			  const struct dma_buf_attach_ops *ops, void *priv)
{
	return dma_buf_dynamic_attach(dmabuf, dev, ops, priv);
}

void iommufd_rs_dma_buf_detach(struct dma_buf *dmabuf,
			       struct dma_buf_attachment *attach)
{
	dma_buf_detach(dmabuf, attach);
}

int iommufd_rs_dma_buf_pin(struct dma_buf_attachment *attach)
{
	return dma_buf_pin(attach);
}

void iommufd_rs_dma_buf_unpin(struct dma_buf_attachment *attach)
{
	dma_buf_unpin(attach);
}

void iommufd_rs_dma_buf_lock(struct dma_buf *dmabuf)
{
	dma_resv_lock(dmabuf->resv, NULL);
}

void iommufd_rs_dma_buf_unlock(struct dma_buf *dmabuf)
{
	dma_resv_unlock(dmabuf->resv);
}
#else
struct dma_buf *iommufd_rs_dma_buf_get(int fd)
{
	return ERR_PTR(-ENXIO);
}

void iommufd_rs_dma_buf_put(struct dma_buf *dmabuf)
{
}

struct dma_buf_attachment *
iommufd_rs_dma_buf_attach(struct dma_buf *dmabuf, struct device *dev,
			  const struct dma_buf_attach_ops *ops, void *priv)
{
	return ERR_PTR(-EOPNOTSUPP);
}

void iommufd_rs_dma_buf_detach(struct dma_buf *dmabuf,
			       struct dma_buf_attachment *attach)
{
}

int iommufd_rs_dma_buf_pin(struct dma_buf_attachment *attach)
{
	return -EOPNOTSUPP;
}

void iommufd_rs_dma_buf_unpin(struct dma_buf_attachment *attach)
{
}

void iommufd_rs_dma_buf_lock(struct dma_buf *dmabuf)
{
}

void iommufd_rs_dma_buf_unlock(struct dma_buf *dmabuf)
{
}
#endif

/*
 * Only vfio-pci tells where its memory is. It links to us, so its function is
 * looked up when it is needed.
 */
int iommufd_rs_dma_buf_phys(struct dma_buf_attachment *attach,
			    struct phys_vec *phys)
{
#if IS_ENABLED(CONFIG_VFIO_PCI_DMABUF)
	typeof(&vfio_pci_dma_buf_iommufd_map) fn;
	int rc;

	fn = symbol_get(vfio_pci_dma_buf_iommufd_map);
	if (!fn)
		return -EOPNOTSUPP;
	rc = fn(attach, phys);
	symbol_put(vfio_pci_dma_buf_iommufd_map);
	return rc;
#else
	return -EOPNOTSUPP;
#endif
}

/* NULL if the kernel does not have it. It is not part of a module, so it stays. */
static typeof(&iommu_map_phys_vec) map_phys_vec;

bool iommufd_rs_find_map_phys_vec(void)
{
	map_phys_vec = symbol_get(iommu_map_phys_vec);
	if (map_phys_vec)
		symbol_put(iommu_map_phys_vec);
	return map_phys_vec;
}

/* Only if iommufd_rs_find_map_phys_vec() has returned true. */
int iommufd_rs_map_phys_vec(struct iommu_domain *domain, unsigned long iova,
			    const struct phys_vec *vec, unsigned int nr,
			    int prot, gfp_t gfp)
{
	return map_phys_vec(domain, iova, vec, nr, prot, gfp);
}

/* NULL, without a warning, if the memory is not there after one attempt to reclaim some. */
void *iommufd_rs_kmalloc_account(size_t size)
{
	return kmalloc(size, GFP_KERNEL_ACCOUNT);
}

void *iommufd_rs_kmalloc_noretry(size_t size)
{
	return kmalloc(size, GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY);
}

/*
 * The bytes must lie in one page, and the page must have a struct page. It is
 * not marked dirty, which may wait for a file's server, until it is unpinned.
 */
void iommufd_rs_copy_to_phys(u64 phys, const void *from, size_t len)
{
	memcpy_to_page(pfn_to_page(PHYS_PFN(phys)), offset_in_page(phys), from,
		       len);
}

void iommufd_rs_copy_from_phys(void *to, u64 phys, size_t len)
{
	memcpy_from_page(to, pfn_to_page(PHYS_PFN(phys)), offset_in_page(phys),
			 len);
}

void iommufd_rs_ida_init(struct ida *ida)
{
	ida_init(ida);
}

/*
 * Marks `heaviest` of a node and of those above it as unknown, up to `stop`. Those above a node that is
 * marked are marked already.
 */
static void weighted_propagate(struct rb_node *rb, struct rb_node *stop)
{
	while (rb != stop) {
		struct iommufd_rs_weighted *node =
			rb_entry(rb, struct iommufd_rs_weighted, rb);

		if (node->heaviest == IOMMUFD_RS_UNKNOWN)
			break;
		node->heaviest = IOMMUFD_RS_UNKNOWN;
		rb = rb_parent(rb);
	}
}

static void weighted_copy(struct rb_node *rb_old, struct rb_node *rb_new)
{
	struct iommufd_rs_weighted *old =
		rb_entry(rb_old, struct iommufd_rs_weighted, rb);
	struct iommufd_rs_weighted *new =
		rb_entry(rb_new, struct iommufd_rs_weighted, rb);

	new->heaviest = old->heaviest;
}

/* The tree is balanced below nodes that were marked before. */
static void weighted_rotate(struct rb_node *rb_old, struct rb_node *rb_new)
{
	rb_entry(rb_old, struct iommufd_rs_weighted, rb)->heaviest =
		IOMMUFD_RS_UNKNOWN;
	rb_entry(rb_new, struct iommufd_rs_weighted, rb)->heaviest =
		IOMMUFD_RS_UNKNOWN;
}

static const struct rb_augment_callbacks weighted = {
	.propagate = weighted_propagate,
	.copy = weighted_copy,
	.rotate = weighted_rotate,
};

void iommufd_rs_weighted_forget(struct iommufd_rs_weighted *node)
{
	node->weight = IOMMUFD_RS_UNKNOWN;
	weighted_propagate(&node->rb, NULL);
}

void iommufd_rs_rb_insert(struct rb_node *node, struct rb_node *parent,
			  struct rb_node **link, struct rb_root *root)
{
	rb_link_node(node, parent, link);
	rb_insert_color(node, root);
}

void iommufd_rs_weighted_insert(struct iommufd_rs_weighted *node,
				struct rb_node *parent, struct rb_node **link,
				struct iommufd_rs_weighted *next,
				struct rb_root *root)
{
	node->weight = IOMMUFD_RS_UNKNOWN;
	node->heaviest = IOMMUFD_RS_UNKNOWN;
	rb_link_node(&node->rb, parent, link);
	weighted_propagate(parent, NULL);
	/* The next node is above the new one, so its `heaviest` is marked. */
	if (next)
		next->weight = IOMMUFD_RS_UNKNOWN;
	rb_insert_augmented(&node->rb, root, &weighted);
}

struct rb_node *iommufd_rs_weighted_erase(struct iommufd_rs_weighted *node,
					  struct rb_root *root)
{
	struct rb_node *next = rb_next(&node->rb);

	if (next)
		iommufd_rs_weighted_forget(
			rb_entry(next, struct iommufd_rs_weighted, rb));
	rb_erase_augmented(&node->rb, root, &weighted);
	return next;
}
