# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

quiet_console
# Mock devices are destroyed all the time, which waits for RCU. The kernel can do that sooner.
echo 1 >/sys/kernel/rcu_expedited
load_iommufd
for way in failslab fail_page_alloc fail_usercopy fail_function; do
	[ -e "/sys/kernel/debug/$way" ] || die "this kernel has no $way"
done
fail_everything
run fuzz inject 1 "${SHARE:-1/1}"
