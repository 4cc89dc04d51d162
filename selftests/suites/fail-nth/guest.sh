# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd

quiet_console

# On a kernel with KASAN and lockdep this takes its time, and the suite has it there.
[ "$LIMIT" -lt 900 ] || LIMIT=1500
run iommu/iommufd_fail_nth
