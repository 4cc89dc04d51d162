/* SPDX-License-Identifier: GPL-2.0-only */
/* The suites of nested-vtd and nested-vtd-pasid. */
#ifndef NESTED_VTD_H
#define NESTED_VTD_H

#include "vtd_call.h"

extern const struct suite table_suite, queue_suite, ats_suite, caches_suite, dirty_suite;

/* Returns whether the IOMMU has what the flags and the width of a first stage need. */
bool is_able(uint64_t flags, uint32_t width);

/* Word 2 of the entry of a first stage that the IOMMU is able to walk. WPE is about supervisors alone. */
uint64_t entry_of_stage(struct iommu_hwpt_vtd_s1 s1);

#endif
