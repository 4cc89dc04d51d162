// SPDX-License-Identifier: GPL-2.0-only
/*
 * The door of the SMMUv3 driver (linux/arm-smmu-v3-door.h), where the kernel
 * has it: the functions of its table, made callable from Rust. The caller must
 * call iommufd_rs_smmu_v3_open() first. iommufd_rs_smmu_v3_owns() may then be
 * called at any time, the others only if that returned true, and not after
 * iommufd_rs_smmu_v3_close().
 */
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/module.h>

#include "shims.h"

#if __has_include(<linux/arm-smmu-v3-door.h>)
#include <linux/arm-smmu-v3-door.h>

/* NULL if the kernel has no door, and after iommufd_rs_smmu_v3_close(). */
static const struct arm_smmu_v3_door *door;

bool iommufd_rs_smmu_v3_open(void)
{
	door = symbol_get(arm_smmu_v3_door);
	return door;
}

void iommufd_rs_smmu_v3_close(void)
{
	door = NULL;
	symbol_put(arm_smmu_v3_door);
}

bool iommufd_rs_smmu_v3_owns(struct device *dev)
{
	return door && door->owns(dev);
}

void iommufd_rs_smmu_v3_info(struct iommufd_viommu *viommu,
			     struct iommufd_rs_smmu_v3_info *info)
{
	struct arm_smmu_v3_door_info from;

	door->info(viommu, &from);
	*info = (struct iommufd_rs_smmu_v3_info){
		.ats = from.ats,
		.two_level_cds = from.two_level_cds,
		.stall_configurable = from.stall_configurable,
		.range_invalidation = from.range_invalidation,
		.ds = from.ds,
		.repeat_erratum = from.repeat_erratum,
		.asid_bits = from.asid_bits,
		.ssid_bits = from.ssid_bits,
		.vmid = from.vmid,
	};
}

int iommufd_rs_smmu_v3_stream(struct iommufd_viommu *viommu, u32 vsid,
			      unsigned int nth, u32 *sid)
{
	return door->stream(viommu, vsid, nth, sid);
}

struct iommu_domain *
iommufd_rs_smmu_v3_alloc_nested(struct iommufd_viommu *viommu,
				const struct iommu_domain_ops *ops,
				const u64 ste[2], bool ats, void *priv)
{
	__le64 words[2] = { cpu_to_le64(ste[0]), cpu_to_le64(ste[1]) };

	return door->alloc_nested(viommu, ops, words, ats, priv);
}

void *iommufd_rs_smmu_v3_free_nested(struct iommu_domain *domain)
{
	return door->free_nested(domain);
}

int iommufd_rs_smmu_v3_attach_nested(struct iommu_domain *domain,
				     struct device *dev,
				     struct iommu_domain *old,
				     void (*make)(const void *priv, u64 *ste))
{
	return door->attach_nested(domain, dev, old,
				   (void (*)(const void *, __le64 *))make);
}

int iommufd_rs_smmu_v3_issue(struct iommufd_viommu *viommu, u64 (*cmds)[2],
			     int n, bool sync)
{
	return door->issue(viommu, cmds, n, sync);
}
#else
bool iommufd_rs_smmu_v3_open(void)
{
	return false;
}

void iommufd_rs_smmu_v3_close(void)
{
}

bool iommufd_rs_smmu_v3_owns(struct device *dev)
{
	return false;
}

void iommufd_rs_smmu_v3_info(struct iommufd_viommu *viommu,
			     struct iommufd_rs_smmu_v3_info *info)
{
}

int iommufd_rs_smmu_v3_stream(struct iommufd_viommu *viommu, u32 vsid,
			      unsigned int nth, u32 *sid)
{
	return -ENOENT;
}

struct iommu_domain *
iommufd_rs_smmu_v3_alloc_nested(struct iommufd_viommu *viommu,
				const struct iommu_domain_ops *ops,
				const u64 ste[2], bool ats, void *priv)
{
	return ERR_PTR(-EOPNOTSUPP);
}

void *iommufd_rs_smmu_v3_free_nested(struct iommu_domain *domain)
{
	return NULL;
}

int iommufd_rs_smmu_v3_attach_nested(struct iommu_domain *domain,
				     struct device *dev,
				     struct iommu_domain *old,
				     void (*make)(const void *priv, u64 *ste))
{
	return -EOPNOTSUPP;
}

int iommufd_rs_smmu_v3_issue(struct iommufd_viommu *viommu, u64 (*cmds)[2],
			     int n, bool sync)
{
	return -EOPNOTSUPP;
}
#endif
