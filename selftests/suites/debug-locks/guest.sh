# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_igb
export SECOND_CDEV="$CDEV"
bind_igb

# kill and copy take minutes for a test on this kernel.
run locks "$CDEV" wait remote second exit charge
