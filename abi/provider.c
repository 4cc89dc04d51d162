// SPDX-License-Identifier: GPL-2.0-only
/*
 * What drivers that are built into the kernel call: on a kernel with our patch
 * series the functions of drivers/iommu/iommufd/driver.c come here while this
 * module is loaded. The functions are written in Rust.
 */
#include <linux/errno.h>

#include "../ffi/shims.h"

#if __has_include(<linux/iommufd_provider.h>)
#include <linux/iommufd_provider.h>

/* TODO[MMAP]: nothing can be mapped. */
static int alloc_mmap(struct iommufd_ctx *ictx, struct iommufd_object *owner,
		      phys_addr_t mmio_addr, size_t length,
		      unsigned long *offset)
{
	return -EOPNOTSUPP;
}

static void destroy_mmap(struct iommufd_ctx *ictx, struct iommufd_object *owner,
			 unsigned long offset)
{
}

static const struct iommufd_provider provider = {
	.object_depend = iommufd_rs_object_depend,
	.object_undepend = iommufd_rs_object_undepend,
	.alloc_mmap = alloc_mmap,
	.destroy_mmap = destroy_mmap,
	.vdevice_to_device = iommufd_rs_vdevice_to_device,
	.report_event = iommufd_rs_report_event,
};

int iommufd_rs_register_provider(void)
{
	return iommufd_register_provider(&provider);
}

void iommufd_rs_unregister_provider(void)
{
	iommufd_unregister_provider(&provider);
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
