/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Functions that C has only as inlines or macros, made callable from Rust, and
 * prototypes of exported functions whose header is not under include/.
 */
#ifndef IOMMUFD_RS_SHIMS_H
#define IOMMUFD_RS_SHIMS_H

#include <linux/idr.h>
#include <linux/iommu.h>
#include <linux/jump_label.h>
#include <linux/rbtree.h>
#include <linux/types.h>

struct device;
struct dma_buf;
struct dma_buf_attach_ops;
struct dma_buf_attachment;
struct file;
struct iommufd_ctx;
struct iommufd_vdevice;
struct iommufd_object;
struct iommufd_viommu;
struct mm_struct;
struct mutex;
struct page;
struct phys_vec;
struct pt_iommu;
struct rw_semaphore;
struct task_struct;
struct user_struct;
struct vm_area_struct;
struct wait_queue_head;
struct workqueue_struct;
struct xarray;

/* drivers/iommu/iommu-priv.h, exported in namespace IOMMUFD_INTERNAL */
int iommu_attach_group_handle(struct iommu_domain *domain,
			      struct iommu_group *group,
			      struct iommu_attach_handle *handle);
void iommu_detach_group_handle(struct iommu_domain *domain,
			       struct iommu_group *group);
int iommu_replace_group_handle(struct iommu_group *group,
			       struct iommu_domain *new_domain,
			       struct iommu_attach_handle *handle);
int iommu_replace_device_pasid(struct iommu_domain *domain, struct device *dev,
			       ioasid_t pasid,
			       struct iommu_attach_handle *handle);
struct iommu_attach_handle *iommu_attach_handle_get(struct iommu_group *group,
						    ioasid_t pasid,
						    unsigned int type);

/* drivers/iommu/iommu-pages.h */
void iommu_put_pages_list(struct iommu_pages_list *list);

/* linux/iommu.h of a kernel with the patch series */
int iommu_map_phys_vec(struct iommu_domain *domain, unsigned long iova,
		       const struct phys_vec *vec, unsigned int nr, int prot,
		       gfp_t gfp);
bool iommufd_rs_find_map_phys_vec(void);
int iommufd_rs_map_phys_vec(struct iommu_domain *domain, unsigned long iova,
			    const struct phys_vec *vec, unsigned int nr,
			    int prot, gfp_t gfp);

/* linux/uaccess.h */
int iommufd_rs_copy_struct_from_user(void *dst, size_t ksize,
				     const void __user *src, size_t usize);
int iommufd_rs_get_user_u32(u32 *value, const u32 __user *src);
int iommufd_rs_put_user_u64(u64 value, u64 __user *dst);
unsigned long iommufd_rs_clear_user(void __user *to, unsigned long n);
void iommufd_rs_pagefault_disable(void);
void iommufd_rs_pagefault_enable(void);

/* linux/preempt.h */
void iommufd_rs_preempt_disable(void);
void iommufd_rs_preempt_enable(void);

/* linux/fs.h */
void iommufd_rs_get_file(struct file *file);

/* linux/pagemap.h */
size_t iommufd_rs_fault_in_readable(const char __user *from, size_t size);
size_t iommufd_rs_fault_in_writeable(const char __user *to, size_t size);

/* linux/sched/signal.h */
bool iommufd_rs_fatal_signal_pending(void);

/* linux/mutex.h */
int iommufd_rs_mutex_lock_killable(struct mutex *lock);

/* linux/mutex.h, linux/rwsem.h, linux/osq_lock.h */
void iommufd_rs_mutex_let_waiters_in(struct mutex *lock);
void iommufd_rs_rwsem_let_waiters_in(struct rw_semaphore *sem);

/* linux/wait.h */
void iommufd_rs_wake_up_all(struct wait_queue_head *queue);

/* linux/sched/user.h, linux/sched/signal.h, linux/cred.h */
bool iommufd_rs_get_accounts(struct mm_struct **mm, struct task_struct **task,
			     struct user_struct **user);
void iommufd_rs_put_accounts(struct mm_struct *mm, struct task_struct *task,
			     struct user_struct *user);
bool iommufd_rs_are_accounts(const struct mm_struct *mm, const struct task_struct *task,
			     const struct user_struct *user);
bool iommufd_rs_charge_user(struct user_struct *user, struct task_struct *task,
			    unsigned long npages);
void iommufd_rs_uncharge_user(struct user_struct *user, unsigned long npages);
u32 iommufd_rs_uid(struct user_struct *user);
pid_t iommufd_rs_tgid(struct task_struct *task);
unsigned long iommufd_rs_memlock_limit(struct task_struct *task);
unsigned long iommufd_rs_user_locked_vm(struct user_struct *user);
unsigned long iommufd_rs_locked_vm(struct mm_struct *mm);
unsigned long iommufd_rs_pinned_vm(struct mm_struct *mm);

/* linux/mm.h, linux/mmap_lock.h */
int iommufd_rs_charge_mm(struct mm_struct *mm, unsigned long npages,
			 atomic64_t *fewer, struct task_struct *task,
			 bool wait);
bool iommufd_rs_try_uncharge_mm(struct mm_struct *mm, unsigned long npages);
long iommufd_rs_pin_remote(struct mm_struct *mm, unsigned long start,
			   unsigned long nr_pages, unsigned int gup_flags,
			   struct page **pages);
void iommufd_rs_add_pinned_vm(struct mm_struct *mm, long npages);
unsigned long iommufd_rs_page_to_pfn(const struct page *page);
struct page *iommufd_rs_pfn_to_page(unsigned long pfn);
void iommufd_rs_unpin(unsigned long pfn, unsigned long npages, bool dirty);
void iommufd_rs_unpin_pages(u64 *pfns, unsigned long nr, unsigned int shift, bool dirty);
unsigned long iommufd_rs_folio_nr_pages(struct folio *folio);
bool iommufd_rs_file_is_memfd_like(struct file *file);
struct file *iommufd_rs_shared_file(struct mm_struct *mm, unsigned long addr, bool write,
				    loff_t *start, unsigned long *len);
bool iommufd_rs_any_folio_poisoned(struct folio **folios, size_t nr);
void iommufd_rs_zero_unused_folios(struct folio **folios, size_t nr);
unsigned int iommufd_rs_file_block_bits(const struct file *file);
int iommufd_rs_map_uncached(struct vm_area_struct *vma, unsigned long pfn);

/* linux/iommu.h */
const struct iommu_ops *iommufd_rs_dev_iommu_ops(struct device *dev);
struct iommu_device *iommufd_rs_dev_iommu_device(struct device *dev);
bool iommufd_rs_dev_has_iommu(struct device *dev);
bool iommufd_rs_dev_is_vf_with_pri(struct device *dev);
u32 iommufd_rs_dev_max_pasids(struct device *dev);
int iommufd_rs_dev_pasid_status(struct device *dev);
void iommufd_rs_iotlb_gather_init(struct iommu_iotlb_gather *gather);
void iommufd_rs_free_gathered_pages(struct iommu_iotlb_gather *gather);
void iommufd_rs_iotlb_sync(struct iommu_domain *domain,
			   struct iommu_iotlb_gather *gather);

/* linux/dma-buf.h, linux/dma-resv.h; -EOPNOTSUPP and the like without dma-buf */
struct dma_buf *iommufd_rs_dma_buf_get(int fd);
void iommufd_rs_dma_buf_put(struct dma_buf *dmabuf);
struct dma_buf_attachment *
iommufd_rs_dma_buf_attach(struct dma_buf *dmabuf, struct device *dev,
			  const struct dma_buf_attach_ops *ops, void *priv);
void iommufd_rs_dma_buf_detach(struct dma_buf *dmabuf,
			       struct dma_buf_attachment *attach);
int iommufd_rs_dma_buf_pin(struct dma_buf_attachment *attach);
void iommufd_rs_dma_buf_unpin(struct dma_buf_attachment *attach);
int iommufd_rs_dma_buf_phys(struct dma_buf_attachment *attach,
			    struct phys_vec *phys);
void iommufd_rs_dma_buf_lock(struct dma_buf *dmabuf);
void iommufd_rs_dma_buf_unlock(struct dma_buf *dmabuf);

/* linux/generic_pt/iommu.h */
void iommufd_rs_pt_iommu_deinit(struct pt_iommu *table);

/* linux/workqueue.h */
struct workqueue_struct *iommufd_rs_alloc_unbound_workqueue(const char *name);

/* linux/jump_label.h: whether calls are timed */
struct iommufd_rs_key {
	struct static_key_false key;
};
extern struct iommufd_rs_key iommufd_rs_timing;
void iommufd_rs_time(bool on);

/* linux/rwsem.h */
void iommufd_rs_down_write_under(struct rw_semaphore *sem,
				 struct rw_semaphore *outer);

/* linux/xarray.h */
int iommufd_rs_xa_reserve(struct xarray *xa, unsigned long index, gfp_t gfp);
void iommufd_rs_xa_hide(struct xarray *xa, unsigned long index);

#ifdef CONFIG_IOMMUFD_RS_KUNIT
/* linux/shmem_fs.h */
struct file *iommufd_rs_shmem_file(loff_t size);
#endif

/* linux/slab.h */
void *iommufd_rs_kmalloc_account(size_t size);
void *iommufd_rs_kmalloc_noretry(size_t size);

/* linux/highmem.h */
void iommufd_rs_copy_to_phys(u64 phys, const void *from, size_t len);
void iommufd_rs_copy_from_phys(void *to, u64 phys, size_t len);

/* linux/kthread.h, linux/uaccess.h */
unsigned long iommufd_rs_copy_to_mm(struct mm_struct *mm, unsigned long to,
				    const void *from, size_t len);
unsigned long iommufd_rs_copy_from_mm(struct mm_struct *mm, void *to,
				      unsigned long from, size_t len);

void iommufd_rs_ida_init(struct ida *ida);

/* Inserts a node at the place that a search has found to be empty. */
void iommufd_rs_rb_insert(struct rb_node *node, struct rb_node *parent,
			  struct rb_node **link, struct rb_root *root);

/*
 * A node of a red-black tree that knows the largest weight in its subtree, or that it does not know it. The
 * weight of a node depends on the node before it, so it is forgotten if there is another one.
 */
#define IOMMUFD_RS_UNKNOWN U64_MAX
struct iommufd_rs_weighted {
	struct rb_node rb;
	u64 weight;
	u64 heaviest;
};
void iommufd_rs_weighted_forget(struct iommufd_rs_weighted *node);
/* Takes the place of the node, and the node behind that. */
void iommufd_rs_weighted_insert(struct iommufd_rs_weighted *node,
				struct rb_node *parent, struct rb_node **link,
				struct iommufd_rs_weighted *next,
				struct rb_root *root);
/* Returns the node behind the one that is removed. */
struct rb_node *iommufd_rs_weighted_erase(struct iommufd_rs_weighted *node,
					  struct rb_root *root);

/* ffi/smmu_v3.c */
struct iommufd_rs_smmu_v3_info {
	bool ats;
	bool two_level_cds;
	bool stall_configurable;
	bool range_invalidation;
	bool ds;
	bool repeat_erratum;
	u8 asid_bits;
	u8 ssid_bits;
	u16 vmid;
};
bool iommufd_rs_smmu_v3_open(void);
void iommufd_rs_smmu_v3_close(void);
bool iommufd_rs_smmu_v3_owns(struct device *dev);
void iommufd_rs_smmu_v3_info(struct iommufd_viommu *viommu,
			     struct iommufd_rs_smmu_v3_info *info);
int iommufd_rs_smmu_v3_stream(struct iommufd_viommu *viommu, u32 vsid,
			      unsigned int nth, u32 *sid);
struct iommu_domain *
iommufd_rs_smmu_v3_alloc_nested(struct iommufd_viommu *viommu,
				const struct iommu_domain_ops *ops,
				const u64 ste[2], bool ats, void *priv);
void *iommufd_rs_smmu_v3_free_nested(struct iommu_domain *domain);
int iommufd_rs_smmu_v3_attach_nested(struct iommu_domain *domain,
				     struct device *dev,
				     struct iommu_domain *old,
				     void (*make)(const void *priv, u64 *ste));
int iommufd_rs_smmu_v3_issue(struct iommufd_viommu *viommu, u64 (*cmds)[2],
			     int n, bool sync);

/* ffi/vtd.c */
struct iommufd_rs_vtd_tag {
	u32 pasid;
	u16 did;
	u8 device_tlb;
	u8 qdep;
	u16 sid;
	u16 pfsid;
};
struct iommufd_rs_vtd_encoder {
	unsigned int (*encode)(void *ranges,
			       const struct iommufd_rs_vtd_tag *tag,
			       unsigned int from, u64 (*descs)[4],
			       unsigned int room);
	void *ranges;
	u64 (*descs)[4];
	unsigned int room;
};
bool iommufd_rs_vtd_open(void);
void iommufd_rs_vtd_close(void);
bool iommufd_rs_vtd_owns(struct device *dev);
bool iommufd_rs_vtd_info(struct device *dev, u64 *cap, u64 *ecap);
struct iommu_domain *
iommufd_rs_vtd_alloc_nested(struct iommu_domain *parent,
			    const struct iommu_domain_ops *ops,
			    void (*fill)(const void *priv, u64 *entry),
			    void *priv);
void *iommufd_rs_vtd_free_nested(struct iommu_domain *domain);
void *iommufd_rs_vtd_priv(struct iommu_domain *domain);
int iommufd_rs_vtd_attach_nested(struct iommu_domain *domain,
				 struct device *dev, struct iommu_domain *old);
int iommufd_rs_vtd_set_dev_pasid_nested(struct iommu_domain *domain,
					struct device *dev, u32 pasid,
					struct iommu_domain *old);
int iommufd_rs_vtd_invalidate(struct iommu_domain *domain,
			      struct iommufd_rs_vtd_encoder *encoder);

/* ffi/amd_vi.c */
struct iommufd_rs_amd_vi_callbacks {
	void (*fill)(const void *priv, u64 *dte);
	bool (*report)(void *priv, const u32 *event);
};
struct iommufd_rs_amd_vi_device {
	u16 devid;
	u8 qdep;
	bool ats;
};
bool iommufd_rs_amd_vi_open(const struct iommufd_rs_amd_vi_callbacks *callbacks);
void iommufd_rs_amd_vi_close(void);
bool iommufd_rs_amd_vi_owns(struct device *dev);
bool iommufd_rs_amd_vi_info(u64 *efr);
struct iommu_domain *
iommufd_rs_amd_vi_alloc_nested(struct iommufd_viommu *viommu, u16 gdom_id,
			       const struct iommu_domain_ops *ops, bool ats,
			       void *priv);
void *iommufd_rs_amd_vi_free_nested(struct iommu_domain *domain);
int iommufd_rs_amd_vi_attach_nested(struct iommu_domain *domain,
				    struct device *dev,
				    struct iommu_domain *old);
bool iommufd_rs_amd_vi_domain(struct iommufd_viommu *viommu, u16 *gdom_id,
			      u16 *domain_id);
bool iommufd_rs_amd_vi_device(struct iommufd_viommu *viommu, u64 *virt_id,
			      struct iommufd_rs_amd_vi_device *device);
int iommufd_rs_amd_vi_submit(struct iommufd_viommu *viommu, u64 (*cmds)[2],
			     unsigned int n, u64 *seq);
int iommufd_rs_amd_vi_wait(struct iommufd_viommu *viommu, u64 seq);

/* abi/exports.c */
bool iommufd_rs_allow_unsafe_interrupts(void);
bool iommufd_rs_native_backends(void);

/* abi/provider.c */
int iommufd_rs_register_provider(void);
void iommufd_rs_unregister_provider(void);

/* abi/viommu.rs */
struct device *iommufd_rs_vdevice_to_device(struct iommufd_vdevice *vdevice);
int iommufd_rs_object_depend(struct iommufd_object *dependent,
			     struct iommufd_object *depended);
void iommufd_rs_object_undepend(struct iommufd_object *dependent,
				struct iommufd_object *depended);
int iommufd_rs_report_event(struct iommufd_viommu *viommu, unsigned int type,
			    const void *event_data, size_t data_len);
int iommufd_rs_alloc_mmap(struct iommufd_ctx *ictx,
			  struct iommufd_object *owner, phys_addr_t mmio_addr,
			  size_t length, unsigned long *offset);
void iommufd_rs_destroy_mmap(struct iommufd_ctx *ictx,
			     struct iommufd_object *owner,
			     unsigned long offset);

/* abi/msi.rs */
int iommufd_rs_place_doorbell(struct iommu_attach_handle *handle, u64 page,
			      u64 *iova);

#endif
