# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

# both_use_one_ioas: check that QEMU attached two devices and allocated one IOAS.
both_use_one_ioas() {
	WHY="$(l2_calls VFIO_DEVICE_ATTACH_IOMMUFD_PT) devices attached, $(l2_calls IOMMU_IOAS_ALLOC) IOAS"
	[ "$WHY" = "2 devices attached, 1 IOAS" ]
}

l2_load
l2_prepare
bind_igb
l2_allow /dev/iommu "$CDEV"
set -- -object iommufd,id=iommufd0 -device "vfio-pci,host=$BDF,iommufd=iommufd0"
bind_igb
l2_allow "$CDEV"
set -- "$@" -device "vfio-pci,host=$BDF,iommufd=iommufd0"

l2_start "$@"
check "boots and finds both cards" l2_up 2
check "both share one IOAS" both_use_one_ioas
l2_native
check "its memory is pinned once" l2_pins "$L2_LIMIT"
l2_network "both cards" eth0 10.0.2.2
l2_network "both cards" eth1 10.0.3.2
check "eth0 is made to receive all the time" l2_ask flood eth0 "http://10.0.2.2:$SERVED_PORT/"
check "eth0 receives meanwhile" l2_receives eth0
l2_killed_in_flight eth1 10.0.3.2
