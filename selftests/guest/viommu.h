/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VIOMMU_H
#define VIOMMU_H

#include "viommu_call.h"

extern const struct suite viommu_suite, invalidate_suite, vdevice_suite, event_suite;
extern const struct suite viommu_race_suite, mmap_suite, hw_queue_suite, viommu_bugs_suite;
extern const struct suite viommu_data_suite, late_suite;

#endif
