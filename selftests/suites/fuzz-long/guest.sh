# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

quiet_console

# guided MODULE ANSWERS POOL: make programs, /tmp/programs, by what they reach in a module. What that is of the C module
# is printed as "c reached": coverage.py reads what is reached of ours.
guided() {
	local mark=reached
	[ "$1" = "$OURS" ] || mark='c reached'
	MODULE=$1
	load_iommufd
	/programs/fuzz evolve "$seed" 40 100000 /tmp/programs "$2" "$3" >/tmp/evolved || die "fuzz evolve on $MODULE failed"
	sed "s/^# reached/# $mark/" /tmp/evolved
	rmmod "$MODULE" || die "rmmod $MODULE failed"
}

cover

# Rounds of a minute: programs that are guided by the code of a module that they reach, and the same programs on the
# other module. Each begins with the programs of those before, by the same module, that reached something new. The C
# module has the second round, and each second one.
end=$(($(uptime) + RUN_SECONDS))
: >/tmp/all
: >/tmp/pool-c
seed=$(date +%s)
round=0
while [ "$(uptime)" -lt "$end" ]; do
	if [ $((round % 2)) = 0 ]; then
		guided "$OURS" /tmp/ours /tmp/pool
		answers /tmp/programs iommufd /tmp/c
	else
		guided iommufd /tmp/c /tmp/pool-c
		answers /tmp/programs "$OURS" /tmp/ours
	fi
	compared /tmp/programs /tmp/c /tmp/ours /tmp/all
	minimise
	cat /tmp/findings >>/tmp/all
	seed=$((seed + 1))
	round=$((round + 1))
done
MODULE=$OURS
load_iommufd
echo "# programs for the corpus, which reach what those in it do not:"
cat /tmp/pool-c >>/tmp/pool
/programs/fuzz distill $((RUN_SECONDS / 2)) /tmp/pool | sed 's/^/+ /'
rmmod "$OURS" || die "rmmod $OURS failed"
mv /tmp/all /tmp/findings
report_findings

load_iommufd
fail_everything
run fuzz inject 41 1/1
run fuzz race "$seed" 60
