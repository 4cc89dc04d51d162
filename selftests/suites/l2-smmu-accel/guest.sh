# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# L2 has an SMMUv3: its driver makes stage 1, which the hardware of L1 reads, and QEMU passes the driver's
# commands on by IOMMU_HWPT_INVALIDATE. Stage 2 maps L2's memory.

. /lib/l2.sh

# Without its firmware L2 has no ACPI, and QEMU has an accelerated SMMUv3 only in ACPI's tables.
FIRMWARE=/usr/share/qemu-efi-aarch64/QEMU_EFI.fd
L2_CMDLINE=acpi=force
# An address that L2 maps nothing at: Linux takes I/O addresses from the top of 32 bits downwards.
WILD=0x10000000

# l2_driver_translates: check that the card is behind L2's SMMU, in a domain of its driver, by L2's log.
l2_driver_translates() {
	l2_ask behind eth0 || return 1
	# shellcheck disable=SC2086
	set -- $SAID
	[ $# = 3 ] || { WHY="L2 answers to behind: $SAID"; return 1; }
	WHY="eth0 is $3, behind $1, type $2"
	BDF_IN_L2=$3
	case "$1 $2" in
	smmu3.*\ DMA | smmu3.*\ DMA-FQ) ;;
	*) return 1 ;;
	esac
	l2_ask log "arm-smmu-v3.*oas.*features" || return 1
	[ "${SAID%% *}" = 1 ] || { WHY="its driver says $SAID"; return 1; }
	l2_ask log "$BDF_IN_L2:.Adding.to.iommu.group" || return 1
	[ "${SAID%% *}" = 1 ] || { WHY="the core says $SAID"; return 1; }
}

# l2_nests: check that QEMU made page tables for both stages, and passes commands on, which none refuses.
l2_nests() {
	local made commands failed
	made="$(l2_calls IOMMU_VIOMMU_ALLOC) vIOMMU, $(l2_calls IOMMU_VDEVICE_ALLOC) vDEVICE"
	made="$made, $(l2_calls IOMMU_VEVENTQ_ALLOC) vEVENTQ"
	commands=$(l2_calls IOMMU_HWPT_INVALIDATE)
	failed=$(l2_calls IOMMU_HWPT_INVALIDATE failed)
	WHY="$made, $(l2_calls IOMMU_HWPT_ALLOC) HWPTs, $commands batches of commands, $failed failed"
	[ "$made" = "1 vIOMMU, 1 vDEVICE, 1 vEVENTQ" ] && [ "$commands" -gt 100 ] && [ "$failed" = 0 ]
}

# l2_sid: print the StreamID that L2's firmware gives the card: its address.
l2_sid() {
	local slot=${BDF_IN_L2##*:}
	printf '%#x' $((0x${slot%.*} << 3 | ${slot#*.}))
}

# l2_told_of_fault: check that L2's SMMU reports F_TRANSLATION for the card, whose rings are elsewhere.
l2_told_of_fault() {
	local end sid
	sid=$(l2_sid)
	l2_ask log "event:.F_TRANSLATION" || return 1
	[ "${SAID%% *}" = 0 ] || { WHY="there was one before: $SAID"; return 1; }
	l2_ask wild eth0 "$WILD" || return 1
	seconds
	end=$((NOW + 30))
	until [ "${SAID%% *}" -gt 0 ] 2>/dev/null; do
		seconds
		[ "$NOW" -lt "$end" ] || { WHY="no event within 30 s"; return 1; }
		sleep 1
		l2_ask log "event:.F_TRANSLATION.*sid:.$sid" || return 1
	done
	WHY="${SAID#* }"
}

# life NAME BACKEND ARGUMENT...: run L2 from its start to its end. NAME is in the tests' names, BACKEND what
# fdinfo calls the backend, or "" with the C module, which has no fdinfo.
life() {
	local backend=$2
	L2_VARIANT="$1, "
	shift 2
	l2_start "$@"
	check "boots and finds the card" l2_up 1
	check "its memory is pinned" l2_pins "$L2_LIMIT"
	[ ! "$backend" ] || check "fdinfo names the backend" l2_has_backend "$backend"
	check "L2's own driver translates for the card" l2_driver_translates
	l2_network "first boot" eth0 10.0.2.2
	check "QEMU nests" l2_nests
	check "eth0 is made to receive all the time" l2_ask flood eth0 "http://10.0.2.2:$SERVED_PORT/"
	check "L2's SMMU reports a fault of the card" l2_told_of_fault
	check "L1's kernel reports none" l2_no_fault
	check "reboots" l2_reboots 1
	check "after the reboot, L2's own driver translates for the card" l2_driver_translates
	l2_network "second boot" eth0 10.0.2.2
	[ ! "$backend" ] || check "fdinfo still names the backend" l2_has_backend "$backend"
	l2_killed_in_flight eth0 10.0.2.2
	l2_comes_back "$@"
	L2_VARIANT=
}

# lives NAME BACKEND: bind the card and run L2, see life.
lives() {
	bind_igb
	l2_allow /dev/iommu "$CDEV"
	life "$1" "$2" -bios "$FIRMWARE" -object iommufd,id=iommufd0 \
		-device arm-smmuv3,primary-bus=pcie.0,id=smmu,accel=on \
		-device "vfio-pci,host=$BDF,iommufd=iommufd0,bus=pcie.0"
	# Otherwise vfio-pci binds it by itself when it is loaded again, and it is not found.
	echo >"/sys/bus/pci/devices/$BDF/driver_override"
}

l2_load
l2_prepare
if [ "$MODULE" = iommufd ]; then
	lives c ""
else
	if has_native smmu_v3; then
		lives native smmu_v3
		unload_modules
		l2_load backend=in_tree
	fi
	lives in_tree in_tree
fi
