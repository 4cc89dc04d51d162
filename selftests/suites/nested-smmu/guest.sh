# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_igb
export CARD_BDF="$BDF"
bind_device 1af4 1044
export RNG_BDF="$BDF"
bind_device 1234 11e8
export EDU_BDF="$BDF" CDEV

# By the backend of our own first.
if has_native smmu_v3; then
	cp /programs/nested-smmu /programs/nested-smmu-native
	run nested-smmu-native none nested "during DMA" card ATS failures vDEVICE
	echo in_tree >/sys/module/iommufd_rs/parameters/backend
fi
export IN_TREE=1
run nested-smmu none nested "during DMA" card ATS failures vDEVICE
