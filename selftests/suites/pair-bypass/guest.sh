# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
echo 1 >"/sys/module/$(echo "$MODULE" | tr - _)/parameters/allow_unsafe_interrupts"
echo 1 >/sys/module/vfio/parameters/enable_unsafe_noiommu_mode
bind_igb
export FIRST_BDF="$BDF"
bind_igb
export SECOND_BDF="$BDF"

run bypass none
