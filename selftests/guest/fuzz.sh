# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# Functions for suites that compare the C and the Rust module by the fuzzer.

OURS=$MODULE

fuzz() { /programs/fuzz "$@"; }

# load MODULE: load a module, and if the machine has a network card bind it to VFIO, so that programs may open it.
load() {
	MODULE=$1
	load_iommufd
	[ -n "$(find_device 8086 10c9)" ] || return 0
	load_vfio
	bind_igb
}

# unload: unload all modules.
unload() {
	local name
	# Else vfio-pci would take the card by itself when it is loaded again.
	[ -z "${BDF:-}" ] || echo >"/sys/bus/pci/devices/$BDF/driver_override"
	# shellcheck disable=SC2013
	for name in $(cut -d ' ' -f 1 /proc/modules); do
		rmmod "$name" || die "rmmod $name failed"
	done
}

# cover: print what the programs of the tree reach alone, for coverage.py.
cover() {
	MODULE=$OURS
	load_iommufd
	mount -t tracefs tracefs /sys/kernel/tracing
	limited /programs/fuzz cover "/modules/$OURS.ko" || die "fuzz cover ended with status $?"
	rmmod "$OURS" || die "rmmod $OURS failed"
}

# answers PROGRAMS MODULE FILE: write what a module answers to programs.
answers() {
	local status=0
	load "$2"
	limited /programs/fuzz run "$1" "$3" || status=$?
	unload
	[ "$status" = 0 ] || die "fuzz run on $MODULE ended with status $status"
}

# both PROGRAMS: what both modules answer, as /tmp/c and /tmp/ours.
both() {
	answers "$1" "$OURS" /tmp/ours
	answers "$1" iommufd /tmp/c
}

# minimise: print the programs of /tmp/findings, and make the first of them as small as they can be.
minimise() {
	local round=0
	cat /tmp/findings
	# What one program leaves behind may make a hundred that follow differ.
	awk -v RS= -v ORS='\n\n' 'NR <= 16' /tmp/findings >/tmp/first
	mv /tmp/first /tmp/findings
	while [ -s /tmp/findings ] && [ "$round" -lt 12 ]; do
		fuzz smaller /tmp/findings >/tmp/smaller
		[ -s /tmp/smaller ] || break
		both /tmp/smaller
		fuzz pick /tmp/findings /tmp/smaller /tmp/c /tmp/ours >/tmp/picked
		! cmp -s /tmp/findings /tmp/picked || break
		mv /tmp/picked /tmp/findings
		round=$((round + 1))
	done
}

# counted FILE: add the programs and calls of a file, which were compared, to PROGRAMS and CALLS.
PROGRAMS=0
CALLS=0
counted() {
	PROGRAMS=$((PROGRAMS + $(grep -c '^r0 ' "$1")))
	CALLS=$((CALLS + $(grep -c '^[a-z0-9: ]*r[0-9]* = ' "$1")))
}

# compared PROGRAMS C OURS [KNOWN]: write what differs in the answers of both modules to /tmp/findings. Add the
# programs and calls to PROGRAMS and CALLS, and those calls to AFTER that were made and not compared.
AFTER=0
compared() {
	local after
	fuzz compare "$@" >/tmp/findings 2>/tmp/after || die "fuzz compare: $(cat /tmp/after)"
	cat /tmp/after
	after=$(sed -n 's/^# \([0-9]*\) calls of .*/\1/p' /tmp/after)
	AFTER=$((AFTER + after))
	counted "$1"
}

# report_findings: report each finding as a failed test.
report_findings() {
	echo "# $AFTER further calls were not compared, since they come after a difference"
	run fuzz report "$PROGRAMS programs, $((CALLS - AFTER)) calls" /tmp/findings
}

# succeed PROGRAMS CALL...: that our module carries out each of these calls in some program. Else both modules might
# answer alike because nothing can be done.
succeed() {
	local programs=$1 call
	shift
	load "$OURS"
	fuzz show "$programs" >/tmp/shown
	unload
	for call in "$@"; do
		if grep -q "= $call(.*# 0" /tmp/shown; then
			ok "$call succeeds"
		else
			cat /tmp/shown
			not_ok "$call succeeds" "it never does"
		fi
	done
}

uptime() { cut -d . -f 1 /proc/uptime; }

# fail_functions: let functions that pin memory, map it for a device, or attach devices fail when a
# program asks for it, if the kernel allows that: the errors are some that they return.
fail_functions() {
	local dir=/sys/kernel/debug/fail_function function
	[ -e "$dir" ] || return 0
	echo 100 >"$dir/probability"
	echo 1 >"$dir/interval"
	echo 0 >"$dir/times"
	for function in pin_user_pages_fast pin_user_page_runs_fast_only pin_user_pages_remote \
			memfd_pin_folios iommu_map iommu_map_phys_vec \
			iommu_attach_group_handle iommu_replace_group_handle iommu_attach_device_pasid \
			iommu_replace_device_pasid iommu_device_claim_dma_owner; do
		echo "$function" >"$dir/inject"
		# -ENOMEM
		echo 0xfffffffffffffff4 >"$dir/$function/retval"
	done
}

# fail_everything: let allocations fail, if a program asks for it, that the kernel exempts by default, and
# do not print each.
fail_everything() {
	local dir
	for dir in failslab fail_page_alloc fail_usercopy fail_iommufd fail_function; do
		dir=/sys/kernel/debug/$dir
		[ -e "$dir" ] || continue
		echo 0 >"$dir/verbose"
		[ ! -e "$dir/ignore-gfp-wait" ] || echo N >"$dir/ignore-gfp-wait"
		[ ! -e "$dir/ignore-gfp-highmem" ] || echo N >"$dir/ignore-gfp-highmem"
		[ ! -e "$dir/min-order" ] || echo 0 >"$dir/min-order"
	done
	fail_functions
}
