# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# The functions for suites that measure.

uptime() { cut -d . -f 1 /proc/uptime; }

# have_measured LABEL CDEV: have the program measure, with the module that is loaded.
have_measured() {
	if [ "${FUNCTIONS:-}" ]; then
		awk -v "label=$1" '$4 ~ /^\[/ && $2 ~ /[tTwW]/ { print "symbol", label, $1, $3 }' /proc/kallsyms
	fi
	echo "$1 $2" >&5
	read -r _ <&6 || die "the program that measures has ended"
}

# measure LABEL MODULE: half a round, from loading the module to unloading it, with an igb. A suite may define
# its own.
measure() {
	MODULE=$2
	load_iommufd
	load_vfio
	bind_igb
	if [ "$1" = type1 ]; then
		CDEV=/dev/vfio/$(basename "$(readlink "/sys/bus/pci/devices/$BDF/iommu_group")")
	fi
	have_measured "$1" "$CDEV"
	unload_modules
	# Else the next vfio-pci takes it by itself.
	echo >"/sys/bus/pci/devices/$BDF/driver_override"
}

# take_turns PROGRAM SECONDS [LABEL [MODULE]]: measure the C module and the one of the suite in turn. Starts the
# program, and calls measure LABEL MODULE up to ten times for each module, as long as SECONDS are not over.
# LABEL is measured with the C module as well, or with MODULE.
take_turns() {
	local ours=$MODULE rounds=10 unit=ns begin round=0
	if [ "$CLOCK" = instructions ]; then
		# A second round differs only by who comes first.
		rounds=2
		unit=instructions
	fi
	# One program measures both modules, so that both map the same memory. How fragmented the memory
	# is matters more than the module.
	mkfifo /tmp/ask /tmp/answer
	run "$1" "$unit" /tmp/ask /tmp/answer "$ROWS" &
	exec 5>/tmp/ask 6</tmp/answer
	# The module that is measured second has warm caches, and the speed of the machine changes: the
	# modules take turns at being first.
	begin=$(uptime)
	while [ $round -lt $rounds ] && [ $(($(uptime) - begin)) -lt "$2" ]; do
		if [ $((round % 2)) = 0 ]; then
			measure c iommufd
			measure rust "$ours"
		else
			measure rust "$ours"
			measure c iommufd
		fi
		[ $# -lt 3 ] || measure "$3" "${4:-iommufd}"
		round=$((round + 1))
	done
	# The program exits at the end of file.
	exec 5>&-
	wait
}

# measure_backend LABEL MODULE BACKEND: from loading the module to unloading it, with QEMU's edu device.
measure_backend() {
	MODULE=$2
	load_iommufd
	if [ "$3" ]; then
		echo "$3" >/sys/module/iommufd_rs/parameters/backend
	fi
	load_vfio
	bind_device 1234 11e8
	have_measured "$1" "$CDEV"
	unload_modules
	# Else the next vfio-pci takes it by itself.
	echo >"/sys/bus/pci/devices/$BDF/driver_override"
}

# compare_backends PROGRAM: measure the C module, and that of the suite by in_tree and by its native backend,
# in turn. Starts the program.
compare_backends() {
	OURS=$MODULE
	measure_rounds "$1" compare_once
}

compare_once() {
	measure_backend c iommufd ""
	[ "$OURS" = iommufd ] || measure_backend in_tree "$OURS" in_tree
	measure_backend rust "$OURS" "$([ "$OURS" = iommufd ] || echo native)"
}

# measure_native PROGRAM: measure the module of the suite by its native backend, where the others have nothing that
# could be compared. Starts the program.
measure_native() { measure_rounds "$1" native_once; }

native_once() { measure_backend rust "$MODULE" native; }

# measure_rounds PROGRAM ROUND: start the program, and run ROUND, which measures, several times.
measure_rounds() {
	local rounds=5 unit=ns round=0
	if [ "$CLOCK" = instructions ]; then
		rounds=2
		unit=instructions
	fi
	mkfifo /tmp/ask /tmp/answer
	run "$1" "$unit" /tmp/ask /tmp/answer &
	exec 5>/tmp/ask 6</tmp/answer
	while [ $round -lt $rounds ]; do
		"$2"
		round=$((round + 1))
	done
	# The program exits at the end of file.
	exec 5>&-
	wait
}
