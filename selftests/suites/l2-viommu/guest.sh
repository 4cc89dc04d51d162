# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

has_iommu() {
	l2_ask iommu || return 1
	WHY=$SAID
	[ "$SAID" = dmar0 ]
}

# small_maps: check that QEMU mapped what L2 maps: many more mappings than L2 has memory regions.
small_maps() {
	WHY="$(l2_calls IOMMU_IOAS_MAP) maps, $(l2_calls IOMMU_IOAS_UNMAP) unmaps"
	[ "$(l2_calls IOMMU_IOAS_MAP)" -gt 200 ] && [ "$(l2_calls IOMMU_IOAS_UNMAP)" -gt 20 ]
}

l2_load
bind_igb
l2_prepare
l2_allow /dev/iommu "$CDEV"
L2_CMDLINE=intel_iommu=on

l2_start -machine q35 -device intel-iommu,caching-mode=on -object iommufd,id=iommufd0 \
	-device "vfio-pci,host=$BDF,iommufd=iommufd0"
check "boots and finds the card" l2_up 1
check "has an IOMMU" has_iommu
l2_native
l2_network "first boot" eth0 10.0.2.2
check "QEMU follows L2's mappings" small_maps
check "reboots" l2_reboots 1
l2_network "second boot" eth0 10.0.2.2
l2_killed_in_flight eth0 10.0.2.2
