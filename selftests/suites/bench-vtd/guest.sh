# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

ROUNDS=5
UNIT=ns
if [ "$CLOCK" = instructions ]; then
	ROUNDS=2
	UNIT=instructions
fi

# measure LABEL MODULE BACKEND: from loading the module to unloading it.
measure() {
	MODULE=$2
	load_iommufd
	if [ "$3" ]; then
		echo "$3" >/sys/module/iommufd_rs/parameters/backend
	fi
	load_vfio
	bind_device 1234 11e8
	echo "$1 $CDEV" >&5
	read -r _ <&6 || die "the program that measures has ended"
	unload_modules
	# Else the next vfio-pci takes it by itself.
	echo >"/sys/bus/pci/devices/$BDF/driver_override"
}

mkfifo /tmp/ask /tmp/answer
run bench-vtd "$UNIT" /tmp/ask /tmp/answer &
exec 5>/tmp/ask 6</tmp/answer
OURS=$MODULE
round=0
while [ $round -lt $ROUNDS ]; do
	measure c iommufd ""
	[ "$OURS" = iommufd ] || measure in_tree "$OURS" in_tree
	measure rust "$OURS" "$([ "$OURS" = iommufd ] || echo native)"
	round=$((round + 1))
done
# The program exits at the end of file.
exec 5>&-
wait
