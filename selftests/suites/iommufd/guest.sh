# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# What our module does not have yet, by the names of kselftest. They are not run on it, and are not
# skipped tests either: they are tests that it fails.
NOT_YET_TESTS="viommu_alloc_with_data"

load_iommufd

quiet_console

set --
if [ "$MODULE" = iommufd-rs ]; then
	for name in $NOT_YET_TESTS; do
		echo "not yet: $name"
		set -- "$@" -T "$name"
	done
fi
# On a kernel with KASAN and lockdep this takes its time.
LIMIT=1500
run iommu/iommufd "$@"
run pasid none
