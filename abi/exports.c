// SPDX-License-Identifier: GPL-2.0-only
/*
 * The symbols that vfio and vendor drivers link to, under the names and in the
 * namespaces of the C module. The functions are written in Rust (abi/); their
 * signatures are checked there against linux/iommufd.h.
 */
#include <linux/export.h>
#include <linux/iommufd.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/stringify.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "../ffi/shims.h"

/* Rust's module! macro has no field for the version. */
MODULE_VERSION(__stringify(IOMMUFD_RS_VERSION));

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Bind devices even where the platform cannot keep a device from forging interrupts; a security weakness");

/* A change applies to devices that are bound afterwards. */
static const char *const backends[] = { "native", "in_tree" };
static int backend;

static int set_backend(const char *value, const struct kernel_param *param)
{
	int found = sysfs_match_string(backends, value);

	if (found < 0)
		return found;
	WRITE_ONCE(backend, found);
	return 0;
}

static int get_backend(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%s\n", backends[READ_ONCE(backend)]);
}

static const struct kernel_param_ops backend_ops = {
	.set = set_backend,
	.get = get_backend,
};
module_param_cb(backend, &backend_ops, NULL, 0644);
MODULE_PARM_DESC(backend,
		 "native: nest by this module where the IOMMU's driver lets it, which is the default; in_tree: by the driver everywhere");

#if IS_ENABLED(CONFIG_IOMMUFD_VFIO_CONTAINER)
MODULE_ALIAS_MISCDEV(VFIO_MINOR);
MODULE_ALIAS("devname:vfio/vfio");
#endif

bool iommufd_rs_allow_unsafe_interrupts(void)
{
	return READ_ONCE(allow_unsafe_interrupts);
}

bool iommufd_rs_native_backends(void)
{
	return READ_ONCE(backend) == 0;
}

EXPORT_SYMBOL_NS_GPL(iommufd_ctx_get, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_ctx_put, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_ctx_from_file, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_ctx_from_fd, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_ctx_has_group, "IOMMUFD");

EXPORT_SYMBOL_NS_GPL(iommufd_device_bind, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_device_unbind, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_device_attach, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_device_replace, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_device_detach, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_device_to_ictx, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_device_to_id, "IOMMUFD");

EXPORT_SYMBOL_NS_GPL(iommufd_access_create, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_access_destroy, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_access_attach, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_access_replace, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_access_detach, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_access_pin_pages, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_access_unpin_pages, "IOMMUFD");
EXPORT_SYMBOL_NS_GPL(iommufd_access_rw, "IOMMUFD");

EXPORT_SYMBOL_NS_GPL(iommufd_vfio_compat_ioas_get_id, "IOMMUFD_VFIO");
EXPORT_SYMBOL_NS_GPL(iommufd_vfio_compat_ioas_create, "IOMMUFD_VFIO");
EXPORT_SYMBOL_NS_GPL(iommufd_vfio_compat_set_no_iommu, "IOMMUFD_VFIO");
