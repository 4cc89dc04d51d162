# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_device 1234 11e8
CDEV2=$CDEV
bind_device 1234 11e8
export CDEV CDEV2

# By the backend of our own first.
if has_native smmu_v3; then
	cp /programs/nested-smmus /programs/nested-smmus-native
	run nested-smmus-native none
	echo in_tree >/sys/module/iommufd_rs/parameters/backend
fi
export IN_TREE=1
run nested-smmus none
