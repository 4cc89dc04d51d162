# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# The functions for a suite's guest.sh. Lines that begin with "@@ " are read by the runner on the host:
#
#	@@ booted	  the script of the suite begins
#	@@ program NAME	  the output of NAME follows, KTAP unless the suite says otherwise
#	@@ exit STATUS	  the program has exited
#	@@ ok NAME	  a check made by these functions
#	@@ not ok NAME: REASON
#	@@ script STATUS  the suite's script has ended
#	@@ tainted FLAGS  the kernel's taint flags at the end
#	@@ done		  everything has run

ok() { echo; echo "@@ ok $1"; }
not_ok() { echo; echo "@@ not ok $1: $2"; }

# die REASON: fail the suite and exit.
die() {
	not_ok "set-up" "$1"
	exit 1
}

# end_session ID: kill the processes of a session.
end_session() {
	local pid
	# The fields after the name, which is in brackets: state, parent, process group, session.
	for pid in $(cat /proc/[0-9]*/stat 2>/dev/null |
			awk -v id="$1" '{ pid = $1; sub(/.*\) /, "") } $4 == id { print pid }'); do
		kill -KILL "$pid" 2>/dev/null || true
	done
}

# limited COMMAND...: run a command in a new session. If it takes more than LIMIT seconds, have the
# kernel print what tasks are blocked on, and kill the session.
limited() {
	local pid watchdog status=0
	setsid "$@" &
	pid=$!
	(
		sleep "$LIMIT" &
		# shellcheck disable=SC2064
		trap "kill $!; exit" TERM
		wait || true
		echo "no end after $LIMIT seconds: $*"
		echo w >/proc/sysrq-trigger
		cat "/proc/$pid/stack"
		end_session "$pid"
	) &
	watchdog=$!
	wait "$pid" || status=$?
	kill "$watchdog" || true
	wait "$watchdog" || true
	end_session "$pid"
	return "$status"
}

# report_standstill: when three quarters of the guest's time have passed, print on the console what tasks are blocked
# on, how often the serial ports interrupted, and the processes.
report_standstill() {
	sleep $((LIMIT * 3 / 2))
	echo w >/proc/sysrq-trigger
	grep -h ttyS /proc/interrupts >/dev/console || true
	cat /proc/tty/driver/serial >/dev/console || true
	ps -o pid,ppid,stat,args >/dev/console
}

# run PROGRAM ARGUMENT...: run a test program of the initramfs and pass its output to the runner. In a suite that
# has the program follow, that one prints what code of the module the test program reaches.
run() {
	local program=$1 follow= status=0
	shift
	[ ! -e /programs/follow ] || follow=/programs/follow
	echo
	echo "@@ program $program"
	limited $follow "/programs/$program" "$@" || status=$?
	echo
	echo "@@ exit $status"
}

# module NAME PARAMETER...: load a module unless the kernel has it built in.
module() {
	local name=$1
	[ -e "/modules/$name.ko" ] || return 0
	shift
	insmod "/modules/$name.ko" "$@" || die "insmod $name.ko failed, the log has the kernel's reason"
}

# load_iommufd PARAMETER...: load the module under test, and check that it and no other provides /dev/iommu.
load_iommufd() {
	[ ! -e /dev/iommu ] || die "/dev/iommu is there before a module was loaded"
	[ -e "/modules/$MODULE.ko" ] || die "$MODULE.ko is not in the initramfs"
	module "$MODULE" "$@"
	[ -c /dev/iommu ] || die "no /dev/iommu after loading $MODULE.ko"
}

# quiet_console: print only warnings to the serial console, which is slow. The kernel prints a line for
# each mock device.
quiet_console() {
	echo N >/sys/module/printk/parameters/ignore_loglevel
	dmesg -n 5
}

# load_vfio: load the modules of VFIO.
load_vfio() {
	local name
	for name in irqbypass vfio vfio_iommu_type1 vfio-pci-core vfio-pci; do
		module "$name"
	done
}

# find_device VENDOR DEVICE: print the address of the first PCI device with these ids that is not bound
# to vfio-pci.
find_device() {
	local dir
	for dir in /sys/bus/pci/devices/*; do
		[ ! -e "/sys/bus/pci/drivers/vfio-pci/${dir##*/}" ] || continue
		if [ "$(cat "$dir/vendor" "$dir/device" | tr '\n' ' ')" = "0x$1 0x$2 " ]; then
			basename "$dir"
			return
		fi
	done
}

# bind_device VENDOR DEVICE: bind such a device to vfio-pci. Sets BDF to its address and CDEV to its file.
bind_device() {
	local sys
	BDF=$(find_device "$1" "$2")
	[ -n "$BDF" ] || die "no PCI device $1:$2 in this machine"
	sys=/sys/bus/pci/devices/$BDF
	[ ! -e "$sys/driver" ] || echo "$BDF" >"$sys/driver/unbind"
	echo vfio-pci >"$sys/driver_override"
	echo "$BDF" >/sys/bus/pci/drivers/vfio-pci/bind || die "vfio-pci does not take $BDF"
	CDEV=/dev/vfio/devices/$(ls "$sys/vfio-dev" 2>/dev/null)
	[ -c "$CDEV" ] || die "vfio-pci has $BDF, but it has no character device"
}

# has_native NAME: succeed if the module under test has the native backend NAME. The kernels of the suites have a
# door for each, so that only the C module has none.
has_native() {
	[ "$MODULE" != iommufd ] || return 1
	dmesg | grep -q "iommufd_rs: native backends: .*$1" || die "$MODULE.ko does not say that it has the native backend $1"
}

# native_backend BDF: print the native backend for the IOMMU that translates for a device, see backends.rst.
native_backend() {
	case $(readlink -f "/sys/bus/pci/devices/$1/iommu") in
	*/dmar*) echo vtd ;;
	*/ivhd*) echo amd_vi ;;
	*/smmu3.*) echo smmu_v3 ;;
	esac
}

# bind_igb: bind the network card for which the kernel's libvfio has a driver.
bind_igb() { bind_device 8086 10c9; }

# unload_modules: unload all modules, the last one first.
unload_modules() {
	local name reasons=
	# shellcheck disable=SC2013
	for name in $(cut -d ' ' -f 1 /proc/modules); do
		limited rmmod "$name" || reasons="$reasons rmmod $name failed;"
	done
	[ ! -e /dev/iommu ] || reasons="$reasons /dev/iommu is still there;"
	if [ -z "$reasons" ]; then
		ok "all modules unload"
	else
		not_ok "all modules unload" "${reasons# }"
	fi
}

# check_leaks: check that kmemleak, if the kernel has it, reports no leak. It ignores memory that is
# younger than 5 seconds, and reports what two scans found.
check_leaks() {
	local file=/sys/kernel/debug/kmemleak name="no memory leaked"
	[ -e "$file" ] || return 0
	sleep 6
	echo scan >"$file"
	sleep 1
	echo scan >"$file"
	cat "$file"
	if grep -q '^unreferenced' "$file"; then
		not_ok "$name" "$(grep -c '^unreferenced' "$file") blocks, listed above"
	else
		ok "$name"
	fi
}

vmstat() { awk -v name="$1" '$1 == name { print $2 }' /proc/vmstat; }

# check_pinned_pages: check that as many pages were unpinned since boot as were pinned, and that some
# were: every suite maps memory, unless it measures chosen rows only.
check_pinned_pages() {
	local name="no pinned page left" acquired released
	# The write adds up the counters of all CPUs.
	echo 1 >/proc/sys/vm/stat_refresh
	acquired=$(vmstat nr_foll_pin_acquired)
	released=$(vmstat nr_foll_pin_released)
	if [ -z "$acquired" ] || { [ "$acquired" = 0 ] && [ -z "$ROWS" ]; }; then
		not_ok "$name" "the kernel counted no pinned page at all"
	elif [ "$acquired" != "$released" ]; then
		not_ok "$name" "$acquired pinned, $released unpinned, $((acquired - released)) leaked"
	else
		ok "$name"
	fi
}
