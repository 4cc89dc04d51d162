# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

# complaints: print how often the kernel has complained so far.
complaints() { dmesg | grep -cE 'WARNING:|BUG:|panicked' || true; }

pinned() {
	echo 1 >/proc/sys/vm/stat_refresh
	echo $(($(vmstat nr_foll_pin_acquired) - $(vmstat nr_foll_pin_released)))
}

# A WARN is printed once for each place in the code, unless this resets it.
forget_warnings() { echo 1 >/sys/kernel/debug/clear_warn_once; }

# tried_with SET: run the programs of /tmp/SET, and set HOW if that shows the mistake.
tried_with() {
	local before pages status=0
	before=$(complaints)
	pages=$(pinned)
	limited /programs/fuzz run "/tmp/$1" /tmp/ours || status=$?
	fuzz compare "/tmp/$1" "/tmp/$1.c" /tmp/ours >/tmp/findings || status=$?
	HOW=$(sed -n 's/^# \(.*; ours .*\)/\1/p' /tmp/findings | head -n 1)
	[ "$(pinned)" = "$pages" ] || HOW="$(($(pinned) - pages)) pages stay pinned"
	[ "$(complaints)" = "$before" ] || HOW="a complaint of the kernel"
	[ "$status" = 0 ] || HOW="status $status"
}

# find_mistake MODULE: whether the fuzzer finds the mistake of a module, first by the corpus, then by
# random programs. HOW says by what.
find_mistake() {
	dmesg -c >/dev/null
	forget_warnings
	insmod "$1" || die "insmod $1 failed"
	tried_with corpus
	[ -n "$HOW" ] || tried_with random
	limited rmmod iommufd_rs || die "rmmod failed"
	[ -n "$HOW" ]
}

quiet_console
touch /tmp/leaks
LIMIT=300
fuzz corpus >/tmp/corpus
fuzz generate 1 300 >/tmp/random
# Ours, without a mistake, differs from C in nothing.
for set in corpus random; do
	answers "/tmp/$set" iommufd "/tmp/$set.c"
	answers "/tmp/$set" "$OURS" /tmp/ours
	fuzz compare "/tmp/$set" "/tmp/$set.c" /tmp/ours >/tmp/findings
	if [ -s /tmp/findings ]; then
		cat /tmp/findings
		not_ok "without a mistake, $set" "$(head -n 1 /tmp/findings)"
	else
		ok "without a mistake, $set"
	fi
done
for module in /mistakes/*.ko; do
	name=$(basename "$module" .ko | tr - ' ')
	begin=$(uptime)
	if find_mistake "$module"; then
		ok "$name: found after $(($(uptime) - begin)) s by: $HOW"
	else
		not_ok "$name" "not found in $(($(uptime) - begin)) s"
	fi
done
