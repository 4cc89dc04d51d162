# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# kunit_suite FOLDER: hand the results of a suite, as KUnit keeps them, to the runner. The lines of a test's
# parameters have no plan and are left out; the test has a line of its own.
kunit_suite() {
	echo
	echo "@@ program ${1##*/}"
	grep -v '^        ' "$1/results"
	echo
	echo "@@ exit 0"
}

# KUnit runs the tests of a module when it is loaded.
load_iommufd
suites=
for folder in /sys/kernel/debug/kunit/iommufd_rs_*/; do
	[ -e "$folder/results" ] || continue
	suites=1
	kunit_suite "${folder%/}"
done
[ -n "$suites" ] || die "$MODULE.ko brought no KUnit suite"

# The test of the patch that maps lists, once for each format of page tables. The kernel's test compares the number
# of page tables before and after. What a CPU counts is added to that number when the CPU becomes idle, every
# stat_interval seconds, and when it is more than a threshold: keep no CPU idle, and add nothing in the middle. The
# threshold is 30 with the CPUs and the memory of this guest. The list has up to 26 page tables. If the test were moved
# to another CPU in between, that one would count those that go, and both would count more and more: what keeps a CPU
# busy does not make the test wait for it, and only what waits is moved.
BUSY=
for _ in 1 2 3 4 5 6 7 8; do
	while :; do :; done &
	renice -n 19 -p $! >/dev/null
	BUSY="$BUSY $!"
done
echo 3600 >/proc/sys/vm/stat_interval
# What was to be added by the interval of before is.
sleep 3
echo 1 >/proc/sys/vm/stat_refresh
printf '*.test_map_vec' >/sys/module/kunit/parameters/filter_glob
module iommu_pt_kunit_test
formats=0
for folder in /sys/kernel/debug/kunit/*_iommu_test/; do
	kunit_suite "${folder%/}"
	formats=$((formats + 1))
done
[ "$formats" -ge 3 ] || die "the test of page tables has run for $formats formats"
rmmod iommu_pt_kunit_test
# shellcheck disable=SC2086
kill -KILL $BUSY
# shellcheck disable=SC2086
wait $BUSY || true
echo 1 >/proc/sys/vm/stat_interval

dmesg | grep -q 'iommu: Debugging page allocations' || die "the kernel does not check what an IOMMU maps"
load_vfio
bind_igb

run uapi "$CDEV"
