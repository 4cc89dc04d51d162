# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/bench.sh

# measure LABEL MODULE: half a round, from loading the module to unloading it.
measure() {
	MODULE=$2
	load_iommufd
	load_vfio
	bind_igb
	echo "$1 $CDEV" >&5
	read -r _ <&6 || die "the program that measures has ended"
	unload_modules
	# Else the next vfio-pci takes it by itself.
	echo >"/sys/bus/pci/devices/$BDF/driver_override"
}

take_turns bench-latency 300
