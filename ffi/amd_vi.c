// SPDX-License-Identifier: GPL-2.0-only
/*
 * The door of the AMD-Vi driver (linux/amd-iommu-door.h), where the kernel has
 * it: the functions of its table, made callable from Rust. The caller must call
 * iommufd_rs_amd_vi_open() first. iommufd_rs_amd_vi_owns() may then be called at
 * any time, the others only if that returned true, and not after
 * iommufd_rs_amd_vi_close().
 */
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/module.h>

#include "../uapi/iommufd_rs.h"
#include "shims.h"

#if __has_include(<linux/amd-iommu-door.h>)
#include <linux/amd-iommu-door.h>

static_assert(AMD_IOMMU_DOOR_VIOMMU_TYPE == IOMMUFD_RS_VIOMMU_TYPE_AMD);
/* drivers/amd_vi/batch.rs submits so many. */
static_assert(AMD_IOMMU_DOOR_MAX == 64);

/* NULL if the kernel has no door, and after iommufd_rs_amd_vi_close(). */
static const struct amd_iommu_door *door;
static const struct iommufd_rs_amd_vi_callbacks *callbacks;

static void fill(const void *priv, u64 dte[4])
{
	callbacks->fill(priv, dte);
}

static bool report(void *priv, struct device *dev, const u32 event[4])
{
	return callbacks->report(priv, event);
}

static const struct amd_iommu_door_nested_ops nested_ops = {
	.fill = fill,
	.report = report,
};

bool iommufd_rs_amd_vi_open(const struct iommufd_rs_amd_vi_callbacks *by)
{
	callbacks = by;
	door = symbol_get(amd_iommu_door);
	return door;
}

void iommufd_rs_amd_vi_close(void)
{
	door = NULL;
	symbol_put(amd_iommu_door);
}

bool iommufd_rs_amd_vi_owns(struct device *dev)
{
	return door && door->owns(dev);
}

bool iommufd_rs_amd_vi_info(u64 *efr)
{
	u64 efr2;

	return door->info(efr, &efr2);
}

struct iommu_domain *
iommufd_rs_amd_vi_alloc_nested(struct iommufd_viommu *viommu, u16 gdom_id,
			       const struct iommu_domain_ops *ops, bool ats,
			       void *priv)
{
	return door->alloc_nested(viommu, gdom_id, ops, &nested_ops, ats, priv);
}

void *iommufd_rs_amd_vi_free_nested(struct iommu_domain *domain)
{
	return door->free_nested(domain);
}

int iommufd_rs_amd_vi_attach_nested(struct iommu_domain *domain,
				    struct device *dev,
				    struct iommu_domain *old)
{
	return door->attach_nested(domain, dev, old);
}

bool iommufd_rs_amd_vi_domain(struct iommufd_viommu *viommu, u16 *gdom_id,
			      u16 *domain_id)
{
	return door->domain(viommu, gdom_id, domain_id);
}

bool iommufd_rs_amd_vi_device(struct iommufd_viommu *viommu, u64 *virt_id,
			      struct iommufd_rs_amd_vi_device *device)
{
	struct amd_iommu_door_device from = { .ats = device->ats };

	if (!door->device(viommu, virt_id, &from))
		return false;
	*device = (struct iommufd_rs_amd_vi_device){
		.devid = from.devid,
		.qdep = from.qdep,
		.ats = from.ats,
	};
	return true;
}

int iommufd_rs_amd_vi_submit(struct iommufd_viommu *viommu, u64 (*cmds)[2],
			     unsigned int n, u64 *seq)
{
	return door->submit(viommu, (u32(*)[4])cmds, n, seq);
}

int iommufd_rs_amd_vi_wait(struct iommufd_viommu *viommu, u64 seq)
{
	return door->wait(viommu, seq);
}
#else
bool iommufd_rs_amd_vi_open(const struct iommufd_rs_amd_vi_callbacks *by)
{
	return false;
}

void iommufd_rs_amd_vi_close(void)
{
}

bool iommufd_rs_amd_vi_owns(struct device *dev)
{
	return false;
}

bool iommufd_rs_amd_vi_info(u64 *efr)
{
	return false;
}

struct iommu_domain *
iommufd_rs_amd_vi_alloc_nested(struct iommufd_viommu *viommu, u16 gdom_id,
			       const struct iommu_domain_ops *ops, bool ats,
			       void *priv)
{
	return ERR_PTR(-EOPNOTSUPP);
}

void *iommufd_rs_amd_vi_free_nested(struct iommu_domain *domain)
{
	return NULL;
}

int iommufd_rs_amd_vi_attach_nested(struct iommu_domain *domain,
				    struct device *dev,
				    struct iommu_domain *old)
{
	return -EOPNOTSUPP;
}

bool iommufd_rs_amd_vi_domain(struct iommufd_viommu *viommu, u16 *gdom_id,
			      u16 *domain_id)
{
	return false;
}

bool iommufd_rs_amd_vi_device(struct iommufd_viommu *viommu, u64 *virt_id,
			      struct iommufd_rs_amd_vi_device *device)
{
	return false;
}

int iommufd_rs_amd_vi_submit(struct iommufd_viommu *viommu, u64 (*cmds)[2],
			     unsigned int n, u64 *seq)
{
	return -EIO;
}

int iommufd_rs_amd_vi_wait(struct iommufd_viommu *viommu, u64 seq)
{
	return -EIO;
}
#endif
