# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# How many rounds at most, and after how many seconds none is begun any more.
ROUNDS=10
SECONDS_LEFT=180

# measure LABEL MODULE: a round's half, from loading the module to unloading it.
measure() {
	MODULE=$2
	load_iommufd
	load_vfio
	bind_igb
	# Both begin with free memory in pieces as large as can be, whatever the last one left.
	echo 1 >/proc/sys/vm/compact_memory
	run bench "$1" "$CDEV"
	unload_modules
	# Else the next vfio-pci takes it by itself.
	echo >"/sys/bus/pci/devices/$BDF/driver_override"
}

uptime() { cut -d . -f 1 /proc/uptime; }

# A module that comes second finds warm caches, and the machine changes with time: each module
# comes first in every other round.
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
