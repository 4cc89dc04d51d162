# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

uptime() { cut -d . -f 1 /proc/uptime; }

quiet_console
# Mock devices are destroyed all the time, which waits for RCU. The kernel can do that sooner.
echo 1 >/sys/kernel/rcu_expedited

# Rounds of a minute or so: our module makes answers to new programs, then the C module to the same.
end=$(($(uptime) + RUN_SECONDS))
seed=$(date +%s)
programs=0
calls=0
: >/tmp/all
: >/tmp/firsts
while [ "$(uptime)" -lt "$end" ]; do
	MODULE=$OURS
	load_iommufd
	limited /programs/fuzz evolve "$seed" 25 1000000 /tmp/programs /tmp/ours /dev/null
	rmmod "$OURS" || die "rmmod $OURS failed"
	answers /tmp/programs iommufd /tmp/c
	fuzz compare /tmp/programs /tmp/c /tmp/ours /tmp/all >/tmp/findings
	cat /tmp/findings
	cat /tmp/findings >>/tmp/all
	grep '^r0 ' /tmp/programs >>/tmp/firsts
	programs=$((programs + $(grep -c '^r0 ' /tmp/programs)))
	calls=$((calls + $(grep -c '^[a-z0-9: ]*r[0-9]* = ' /tmp/programs)))
	echo "# so far $programs programs, $calls calls, compared in $(uptime) s"
	seed=$((seed + 1))
done
mv /tmp/all /tmp/findings
minimise
# What the report counts are the first calls of programs.
mv /tmp/firsts /tmp/programs
report_findings
