# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

uptime() { cut -d . -f 1 /proc/uptime; }

quiet_console

# Rounds of a minute on our module, and the same programs on the C module. Each begins with the programs
# of those before that reached something new.
end=$(($(uptime) + RUN_SECONDS))
: >/tmp/all
: >/tmp/all-programs
seed=$(date +%s)
while [ "$(uptime)" -lt "$end" ]; do
	MODULE=$OURS
	load_iommufd
	/programs/fuzz evolve "$seed" 40 100000 /tmp/programs /tmp/ours /tmp/pool
	rmmod "$OURS" || die "rmmod $OURS failed"
	answers /tmp/programs iommufd /tmp/c
	fuzz compare /tmp/programs /tmp/c /tmp/ours /tmp/all >/tmp/findings
	minimise
	cat /tmp/findings >>/tmp/all
	grep '^r0' /tmp/programs >>/tmp/all-programs
	seed=$((seed + 1))
done
echo "# the programs that reached something new:"
sed 's/^/+ /' /tmp/pool
mv /tmp/all /tmp/findings
mv /tmp/all-programs /tmp/programs
report_findings

MODULE=$OURS
load_iommufd
fail_everything
run fuzz inject 1
run fuzz race "$seed" 60
