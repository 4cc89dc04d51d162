# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_device 1af4 1044
export RNG_CDEV="$CDEV" RNG_BDF="$BDF"
bind_device 1234 11e8
export OTHER_CDEV="$CDEV" OTHER_BDF="$BDF"
bind_device 1234 11e8
export CDEV BDF

PROGRAMS=nested-vtd
[ ! -e /programs/nested-vtd-pasid ] || PROGRAMS=nested-vtd-pasid
# The C module has no tracepoints.
[ ! -e /programs/nested-vtd-trace ] || [ "$MODULE" = iommufd ] || PROGRAMS="$PROGRAMS nested-vtd-trace"

# By the backend of our own first.
if has_native vtd; then
	for program in $PROGRAMS; do
		cp "/programs/$program" "/programs/$program-native"
		run "$program-native" none
	done
	echo in_tree >/sys/module/iommufd_rs/parameters/backend
fi
export IN_TREE=1
for program in $PROGRAMS; do
	run "$program" none
done
