/* SPDX-License-Identifier: GPL-2.0-only */
/* What bindgen reads to make ffi/bindings_generated.rs. */
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <uapi/linux/iommufd.h>

#include "shims.h"
