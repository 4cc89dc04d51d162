# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# The largest number of rounds, and the number of seconds after which no round is started.
ROUNDS=10
SECONDS_LEFT=180
UNIT=ns
if [ "$CLOCK" = instructions ]; then
	# A second round differs only by who comes first.
	ROUNDS=2
	UNIT=instructions
fi

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

uptime() { cut -d . -f 1 /proc/uptime; }

# One program measures both modules, so that both map the same memory. How fragmented the memory is
# matters more than the module.
mkfifo /tmp/ask /tmp/answer
echo 1 >/proc/sys/vm/compact_memory
run bench "$UNIT" /tmp/ask /tmp/answer &
exec 5>/tmp/ask 6</tmp/answer

# The module that is measured second has warm caches, and the speed of the machine changes: the modules
# take turns at being first.
OURS=$MODULE
begin=$(uptime)
round=0
while [ $round -lt $ROUNDS ] && [ $(($(uptime) - begin)) -lt $SECONDS_LEFT ]; do
	if [ $((round % 2)) = 0 ]; then
		measure c iommufd
		measure rust "$OURS"
	else
		measure rust "$OURS"
		measure c iommufd
	fi
	round=$((round + 1))
done
# The program exits at the end of file.
exec 5>&-
wait
