# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

quiet_console
# Mock devices are destroyed all the time, which waits for RCU. The kernel can do that sooner.
echo 1 >/sys/kernel/rcu_expedited

# Rounds of two minutes or so: our module makes answers to new programs, then the C module to the same. A round
# begins with the programs of the tree, not with those of the round before, so that rounds differ.
end=$(($(uptime) + RUN_SECONDS))
seed=$(date +%s)
: >/tmp/all
while [ "$(uptime)" -lt "$end" ]; do
	MODULE=$OURS
	load_iommufd
	limited /programs/fuzz evolve "$seed" 60 1000000 /tmp/programs /tmp/ours /dev/null
	rmmod "$OURS" || die "rmmod $OURS failed"
	answers /tmp/programs iommufd /tmp/c
	compared /tmp/programs /tmp/c /tmp/ours /tmp/all
	cat /tmp/findings
	cat /tmp/findings >>/tmp/all
	echo "# seed $seed. So far $PROGRAMS programs, $CALLS calls, $((CALLS / $(uptime))) a second by both modules," \
		"$((CALLS - AFTER)) compared"
	seed=$((seed + 1))
done
mv /tmp/all /tmp/findings
minimise
report_findings
