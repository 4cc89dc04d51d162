# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_device 1af4 1044
export RNG_CDEV="$CDEV" RNG_BDF="$BDF"
bind_device 1234 11e8
export OTHER_CDEV="$CDEV" OTHER_BDF="$BDF"
bind_device 1234 11e8
export CDEV BDF

# By the backend of our own first.
if has_native amd_vi; then
	cp /programs/nested-amd /programs/nested-amd-native
	run nested-amd-native none
	echo in_tree >/sys/module/iommufd_rs/parameters/backend
fi
export IN_TREE=1
run nested-amd none
