# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd

quiet_console

# Takes longer on a kernel with KASAN and lockdep, for which the suite has a longer limit.
[ "$LIMIT" -lt 900 ] || LIMIT=1500
run iommu/iommufd
run pasid none
