# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# How many rounds at most, and after how many seconds none is begun any more.
ROUNDS=10
SECONDS_LEFT=180
UNIT=ns
if [ "$CLOCK" = instructions ]; then
	# A second round differs only by who comes first.
	ROUNDS=2
	UNIT=instructions
fi

# measure LABEL MODULE: a round's half, from loading the module to unloading it.
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

# One program measures all the time, because both modules are to map the same memory: how many pieces
# it is in makes more of a difference than they do.
mkfifo /tmp/ask /tmp/answer
echo 1 >/proc/sys/vm/compact_memory
run bench "$UNIT" /tmp/ask /tmp/answer &
exec 5>/tmp/ask 6</tmp/answer

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
# It ends when nobody can ask any more.
exec 5>&-
wait
