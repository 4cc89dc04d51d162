// SPDX-License-Identifier: GPL-2.0-only
/* Files of shmem and hugetlbfs, whose memory memfd_pin_folios() pins: bodies of functions of shims.h. */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pkeys.h>
#include <linux/shmem_fs.h>
#include <linux/userfaultfd_k.h>

#include "shims.h"

unsigned int iommufd_rs_file_block_bits(const struct file *file)
{
	return file_inode(file)->i_blkbits;
}

/* Returns whether memfd_pin_folios() can pin the file's folios. */
bool iommufd_rs_file_is_memfd_like(struct file *file)
{
	const struct inode *inode = file_inode(file);

	/* shmem_file() is not exported. */
	return is_file_hugepages(file) ||
	       (inode->i_sb->s_magic == TMPFS_MAGIC && S_ISREG(inode->i_mode));
}

/*
 * Returns whether the page cache has a page for each byte of the file up to its end. fallocate() can have allocated
 * pages behind that, which ->nrpages counts too; then false is returned.
 */
static bool has_all_pages(const struct inode *inode)
{
	struct address_space *mapping = inode->i_mapping;
	unsigned long end = DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE);
	struct folio *folio;

	if (READ_ONCE(mapping->nrpages) < end)
		return false;
	/* Of a large folio, all pages are counted that are behind the end. */
	folio = filemap_get_folio(mapping, end);
	if (!IS_ERR(folio)) {
		end = folio_next_index(folio);
		folio_put(folio);
	}
	return READ_ONCE(mapping->nrpages) >= end &&
	       !xa_find(&mapping->i_pages, &end, ULONG_MAX, XA_PRESENT);
}

/*
 * Returns how many pages in a row the page cache has from @first on, at most @most. One in swap is not among them.
 * Another task may change that at once.
 */
static unsigned long nr_pages_from(struct address_space *mapping, pgoff_t first,
				   unsigned long most)
{
	XA_STATE(xas, &mapping->i_pages, first);
	pgoff_t next = first;
	void *entry;

	rcu_read_lock();
	xas_for_each(&xas, entry, first + most - 1) {
		if (xas_retry(&xas, entry))
			continue;
		if (xas.xa_index > next || xa_is_value(entry))
			break;
		next = (xas.xa_index | (BIT(xas_get_order(&xas)) - 1)) + 1;
	}
	rcu_read_unlock();
	return min(next - first, most);
}

/*
 * Returns the file of the mapping at @addr if pinning by the file pins what pinning by address pins: a shared
 * mapping of shmem or hugetlbfs that permits the access, where nothing but the file decides which page is at an
 * address. Otherwise returns NULL. Stores the byte of the file at @addr. Makes @len, which is a number of pages in
 * bytes, smaller if the mapping ends before, or the file has memory for fewer only. The caller has the mmap
 * lock. "Shared mappings" in Documentation/architecture.rst has the reasons.
 */
struct file *iommufd_rs_shared_file(struct mm_struct *mm, unsigned long addr, bool write,
				    loff_t *start, unsigned long *len)
{
	const vm_flags_t special = VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_MAYBE_GUARD | VM_SHADOW_STACK |
				   ARCH_VM_PKEY_FLAGS;
	struct vm_area_struct *vma = vma_lookup(mm, addr);
	struct inode *inode;
	unsigned long pages;

	if (!vma || !vma->vm_file || !(vma->vm_flags & VM_MAYSHARE) || (vma->vm_flags & special) ||
	    !(vma->vm_flags & (write ? VM_WRITE : VM_READ)) || userfaultfd_armed(vma) ||
	    !iommufd_rs_file_is_memfd_like(vma->vm_file))
		return NULL;
	*start = ((loff_t)vma->vm_pgoff << PAGE_SHIFT) + (addr - vma->vm_start);
	*len = min(*len, vma->vm_end - addr);
	inode = file_inode(vma->vm_file);
	if (!has_all_pages(inode)) {
		pages = nr_pages_from(inode->i_mapping, *start >> PAGE_SHIFT, *len >> PAGE_SHIFT);
		*len = pages << PAGE_SHIFT;
	}
	return vma->vm_file;
}

/* Returns whether the memory of one of @nr folios is known to be broken. */
bool iommufd_rs_any_folio_poisoned(struct folio **folios, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (folio_contain_hwpoisoned_page(folios[i]))
			return true;
	return false;
}

/*
 * Zeroes those of @nr folios of a file on shmem that fallocate() has allocated and nobody has used since.
 * memfd_pin_folios() returns them as they are, and shmem zeroes such a folio when it is used first.
 */
void iommufd_rs_zero_unused_folios(struct folio **folios, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++) {
		struct folio *folio = folios[i];

		if (likely(folio_test_uptodate(folio)))
			continue;
		folio_lock(folio);
		if (!folio_test_uptodate(folio)) {
			folio_zero_range(folio, 0, folio_size(folio));
			flush_dcache_folio(folio);
			folio_mark_uptodate(folio);
		}
		folio_unlock(folio);
	}
}

#ifdef CONFIG_IOMMUFD_RS_KUNIT
struct file *iommufd_rs_shmem_file(loff_t size)
{
	return shmem_file_setup("iommufd_rs", size, (vma_flags_t){});
}
#endif
