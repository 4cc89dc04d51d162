# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_device 1234 11e8
export OTHER_CDEV="$CDEV" OTHER_BDF="$BDF"
bind_device 1234 11e8
export CDEV BDF

# By the backend of our own first.
if has_native amd_vi; then
	cp /programs/nested-amd-dma /programs/nested-amd-dma-native
	run nested-amd-dma-native none
	echo in_tree >/sys/module/iommufd_rs/parameters/backend
fi
export IN_TREE=1
run nested-amd-dma none
