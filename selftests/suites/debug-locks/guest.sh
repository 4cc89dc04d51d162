# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# Not the tests of long memory: that of 8 GiB takes minutes each time on this kernel.
load_iommufd
load_vfio
bind_igb
export SECOND_CDEV="$CDEV"
bind_igb

run locks "$CDEV" remote copy second exit charge
