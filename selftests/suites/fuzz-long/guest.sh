# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

quiet_console

cover

# Rounds of a minute on our module, and the same programs on the C module. Each begins with the programs
# of those before that reached something new.
end=$(($(uptime) + RUN_SECONDS))
: >/tmp/all
seed=$(date +%s)
while [ "$(uptime)" -lt "$end" ]; do
	MODULE=$OURS
	load_iommufd
	/programs/fuzz evolve "$seed" 40 100000 /tmp/programs /tmp/ours /tmp/pool
	rmmod "$OURS" || die "rmmod $OURS failed"
	answers /tmp/programs iommufd /tmp/c
	compared /tmp/programs /tmp/c /tmp/ours /tmp/all
	minimise
	cat /tmp/findings >>/tmp/all
	seed=$((seed + 1))
done
MODULE=$OURS
load_iommufd
echo "# programs for the corpus, which reach what those in it do not:"
/programs/fuzz distill $((RUN_SECONDS / 2)) /tmp/pool | sed 's/^/+ /'
rmmod "$OURS" || die "rmmod $OURS failed"
mv /tmp/all /tmp/findings
report_findings

load_iommufd
fail_everything
run fuzz inject 41 1/1
run fuzz race "$seed" 60
