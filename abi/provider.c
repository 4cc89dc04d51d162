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

static const struct iommufd_provider provider = {
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
