// SPDX-License-Identifier: GPL-2.0-only
/*
 * The door of the VT-d driver (linux/intel-iommu-door.h), where the kernel has
 * it: the functions of its table, made callable from Rust. The caller must call
 * iommufd_rs_vtd_open() first. iommufd_rs_vtd_owns() may then be called at any
 * time, the others only if that returned true, and not after
 * iommufd_rs_vtd_close().
 */
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/module.h>

#include "shims.h"

#if __has_include(<linux/intel-iommu-door.h>)
#include <linux/intel-iommu-door.h>

/* NULL if the kernel has no door, and after iommufd_rs_vtd_close(). */
static const struct intel_iommu_door *door;

bool iommufd_rs_vtd_open(void)
{
	door = symbol_get(intel_iommu_door);
	return door;
}

void iommufd_rs_vtd_close(void)
{
	door = NULL;
	symbol_put(intel_iommu_door);
}

bool iommufd_rs_vtd_owns(struct device *dev)
{
	return door && door->owns(dev);
}

bool iommufd_rs_vtd_info(struct device *dev, u64 *cap, u64 *ecap)
{
	return door->info(dev, cap, ecap);
}

struct iommu_domain *
iommufd_rs_vtd_alloc_nested(struct iommu_domain *parent,
			    const struct iommu_domain_ops *ops,
			    void (*fill)(const void *priv, u64 *entry),
			    void *priv)
{
	return door->alloc_nested(parent, ops, fill, priv);
}

void *iommufd_rs_vtd_free_nested(struct iommu_domain *domain)
{
	return door->free_nested(domain);
}

void *iommufd_rs_vtd_priv(struct iommu_domain *domain)
{
	return door->nested_priv(domain);
}

int iommufd_rs_vtd_attach_nested(struct iommu_domain *domain,
				 struct device *dev, struct iommu_domain *old)
{
	return door->attach_nested(domain, dev, old);
}

int iommufd_rs_vtd_set_dev_pasid_nested(struct iommu_domain *domain,
					struct device *dev, u32 pasid,
					struct iommu_domain *old)
{
	return door->set_dev_pasid_nested(domain, dev, pasid, old);
}

static unsigned int encode(void *priv, const struct intel_iommu_door_tag *tag,
			   unsigned int from, u64 (*descs)[4],
			   unsigned int room)
{
	const struct iommufd_rs_vtd_encoder *encoder = priv;
	const struct iommufd_rs_vtd_tag copy = {
		.pasid = tag->pasid,
		.did = tag->did,
		.device_tlb = tag->device_tlb,
		.qdep = tag->qdep,
		.sid = tag->sid,
		.pfsid = tag->pfsid,
	};

	return encoder->encode(encoder->ranges, &copy, from, descs, room);
}

int iommufd_rs_vtd_invalidate(struct iommu_domain *domain,
			      struct iommufd_rs_vtd_encoder *encoder)
{
	const struct intel_iommu_door_encoder door_encoder = {
		.encode = encode,
		.priv = encoder,
		.descs = encoder->descs,
		.room = encoder->room,
	};

	return door->invalidate(domain, &door_encoder);
}
#else
bool iommufd_rs_vtd_open(void)
{
	return false;
}

void iommufd_rs_vtd_close(void)
{
}

bool iommufd_rs_vtd_owns(struct device *dev)
{
	return false;
}

bool iommufd_rs_vtd_info(struct device *dev, u64 *cap, u64 *ecap)
{
	return false;
}

struct iommu_domain *
iommufd_rs_vtd_alloc_nested(struct iommu_domain *parent,
			    const struct iommu_domain_ops *ops,
			    void (*fill)(const void *priv, u64 *entry),
			    void *priv)
{
	return ERR_PTR(-EOPNOTSUPP);
}

void *iommufd_rs_vtd_free_nested(struct iommu_domain *domain)
{
	return NULL;
}

void *iommufd_rs_vtd_priv(struct iommu_domain *domain)
{
	return NULL;
}

int iommufd_rs_vtd_attach_nested(struct iommu_domain *domain,
				 struct device *dev, struct iommu_domain *old)
{
	return -EOPNOTSUPP;
}

int iommufd_rs_vtd_set_dev_pasid_nested(struct iommu_domain *domain,
					struct device *dev, u32 pasid,
					struct iommu_domain *old)
{
	return -EOPNOTSUPP;
}

int iommufd_rs_vtd_invalidate(struct iommu_domain *domain,
			      struct iommufd_rs_vtd_encoder *encoder)
{
	return -EOPNOTSUPP;
}
#endif
