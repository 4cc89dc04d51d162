# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

l2_load
bind_igb
l2_prepare
l2_allow /dev/iommu "$CDEV"

set -- -object iommufd,id=iommufd0 -device "vfio-pci,host=$BDF,iommufd=iommufd0"
check "QEMU refuses to start with too little lockable memory" l2_too_little "$@"
l2_life "$@"
l2_comes_back "$@"
