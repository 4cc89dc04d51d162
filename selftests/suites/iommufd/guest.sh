# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# What our module does not have yet, by the names of kselftest: fixtures, and single tests of others.
# They are not run on it, and are not skipped tests either: they are tests that it fails.
# The one test of iommufd_device_pasid begins with nested page tables, a fault queue and a vIOMMU;
# what of it needs none of these is in the program pasid.
NOT_YET_FIXTURES="iommufd_viommu iommufd_device_pasid"
NOT_YET_TESTS="cmd_length alloc_hwpt_nested"

load_iommufd

# Each mock device is a line on the serial console, which is slow: only warnings go there.
echo N >/sys/module/printk/parameters/ignore_loglevel
dmesg -n 5

set --
if [ "$MODULE" = iommufd-rs ]; then
	for name in $NOT_YET_FIXTURES; do
		echo "not yet: every test of $name"
		set -- "$@" -F "$name"
	done
	for name in $NOT_YET_TESTS; do
		echo "not yet: $name"
		set -- "$@" -T "$name"
	done
fi
# On a kernel with KASAN and lockdep this takes its time.
LIMIT=1500
run iommu/iommufd "$@"
run pasid none
