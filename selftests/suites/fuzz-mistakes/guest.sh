# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

uptime() { cut -d . -f 1 /proc/uptime; }

# complaints: print how often the kernel has complained so far.
complaints() { dmesg | grep -cE 'WARNING:|BUG:|panicked' || true; }

pinned() {
	echo 1 >/proc/sys/vm/stat_refresh
	echo $(($(vmstat nr_foll_pin_acquired) - $(vmstat nr_foll_pin_released)))
}

# A WARN is printed once for each place in the code, unless this resets it.
forget_warnings() { echo 1 >/sys/kernel/debug/clear_warn_once; }

# find_mistake MODULE: whether the fuzzer finds the mistake of a module. HOW says by what.
find_mistake() {
	local before pages status=0
	dmesg -c >/dev/null
	forget_warnings
	before=$(complaints)
	pages=$(pinned)
	insmod "$1" || die "insmod $1 failed"
	limited /programs/fuzz run /tmp/programs /tmp/ours || status=$?
	fuzz compare /tmp/programs /tmp/c /tmp/ours >/tmp/findings || status=$?
	HOW=$(sed -n 's/^# \(.*; ours .*\)/\1/p' /tmp/findings | head -n 1)
	[ "$(pinned)" = "$pages" ] || HOW="$(($(pinned) - pages)) pages stay pinned"
	[ "$(complaints)" = "$before" ] || HOW="a complaint of the kernel"
	[ "$status" = 0 ] || HOW="status $status"
	limited rmmod iommufd_rs || die "rmmod failed"
	[ -n "$HOW" ]
}

quiet_console
touch /tmp/leaks
LIMIT=120
fuzz corpus >/tmp/programs
fuzz generate 1 300 >>/tmp/programs
answers /tmp/programs iommufd /tmp/c
# Ours, without a mistake, differs from C in nothing.
answers /tmp/programs "$OURS" /tmp/ours
fuzz compare /tmp/programs /tmp/c /tmp/ours >/tmp/findings
[ -s /tmp/findings ] && not_ok "without a mistake" "$(head -n 1 /tmp/findings)" || ok "without a mistake"
for module in /mistakes/*.ko; do
	name=$(basename "$module" .ko | tr - ' ')
	begin=$(uptime)
	if find_mistake "$module"; then
		ok "$name: found after $(($(uptime) - begin)) s by: $HOW"
	else
		not_ok "$name" "not found in $(($(uptime) - begin)) s"
	fi
done
