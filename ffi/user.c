// SPDX-License-Identifier: GPL-2.0-only
/* User memory: bodies of functions of shims.h. */
#include <linux/fault-inject-usercopy.h>
#include <linux/kthread.h>
#include <linux/pagemap.h>
#include <linux/uaccess.h>

#include "shims.h"

static noinline int copy_other_struct(void *dst, size_t ksize,
				      const void __user *src, size_t usize)
{
	return copy_struct_from_user(dst, ksize, src, usize);
}

/* Most callers have the struct that is known here: some words, for which copy_from_user() takes longer. */
int iommufd_rs_copy_struct_from_user(void *dst, size_t ksize,
				     const void __user *src, size_t usize)
{
	const u64 __user *from = src;
	u64 *to = dst;
	size_t i;

	if (usize != ksize || !IS_ALIGNED((unsigned long)dst | ksize, sizeof(*to)))
		return copy_other_struct(dst, ksize, src, usize);
	might_fault();
	/* As copy_from_user() does. */
	if (should_fail_usercopy() || !user_read_access_begin(src, ksize))
		return -EFAULT;
	for (i = 0; i < ksize / sizeof(*to); i++)
		unsafe_get_user(to[i], from + i, fault);
	user_read_access_end();
	return 0;
fault:
	user_read_access_end();
	return -EFAULT;
}

int iommufd_rs_get_user_u32(u32 *value, const u32 __user *src)
{
	return get_user(*value, src);
}

int iommufd_rs_put_user_u64(u64 value, u64 __user *dst)
{
	/* As copy_to_user() does. */
	return should_fail_usercopy() ? -EFAULT : put_user(value, dst);
}

unsigned long iommufd_rs_clear_user(void __user *to, unsigned long n)
{
	return clear_user(to, n);
}

void iommufd_rs_pagefault_disable(void)
{
	pagefault_disable();
}

void iommufd_rs_pagefault_enable(void)
{
	pagefault_enable();
}

size_t iommufd_rs_fault_in_readable(const char __user *from, size_t size)
{
	return fault_in_readable(from, size);
}

/* This one leaves what is there as it is. */
size_t iommufd_rs_fault_in_writeable(const char __user *to, size_t size)
{
	return fault_in_safe_writeable(to, size);
}

/*
 * Copies to or from the memory of @mm. It must be that of the current task, or
 * the task must be a kernel thread, which adopts it meanwhile. Returns the
 * number of bytes that could not be copied.
 */
unsigned long iommufd_rs_copy_to_mm(struct mm_struct *mm, unsigned long to,
				    const void *from, size_t len)
{
	bool borrow = current->mm != mm;
	unsigned long rc;

	if (borrow)
		kthread_use_mm(mm);
	rc = copy_to_user((void __user *)to, from, len);
	if (borrow)
		kthread_unuse_mm(mm);
	return rc;
}

unsigned long iommufd_rs_copy_from_mm(struct mm_struct *mm, void *to,
				      unsigned long from, size_t len)
{
	bool borrow = current->mm != mm;
	unsigned long rc;

	if (borrow)
		kthread_use_mm(mm);
	rc = copy_from_user(to, (const void __user *)from, len);
	if (borrow)
		kthread_unuse_mm(mm);
	return rc;
}
