# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
echo 1 >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode
bind_igb

run noiommu "$CDEV"
run compat "$BDF"
