# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

# complaints: print the first line of each complaint of the kernel so far, without the time, and without the folder
# that a module was built in.
complaints() {
	dmesg | sed -nE '/WARNING:|BUG:|panicked/ { s/^\[ *[0-9.]+\] //; s|[^ ]*/tree/||; p }'
}

pinned() {
	echo 1 >/proc/sys/vm/stat_refresh
	echo $(($(vmstat nr_foll_pin_acquired) - $(vmstat nr_foll_pin_released)))
}

# tables: print how many pages IOMMU page tables have.
tables() {
	echo 1 >/proc/sys/vm/stat_refresh
	vmstat nr_iommu_pages
}

# A WARN is printed once for each place in the code, unless this resets it.
forget_warnings() { echo 1 >/sys/kernel/debug/clear_warn_once; }

# print_blocked: have the kernel print each minute which tasks are blocked.
print_blocked() { while sleep 60; do echo w >/proc/sysrq-trigger; done; }

# is_blocked: whether the kernel has printed a task of the fuzzer twice, and not two that were blocked for a moment.
is_blocked() {
	dmesg | sed -nE 's/.*task:fuzz +state:D.* pid:([0-9]+) .*/\1/p' | sort | uniq -d | grep -q .
}

# judged COMMAND...: run a command, which sets HOW if it finds the mistake, and LATE if it cannot tell. Set HOW if the
# command fails, or leaves something behind. A command that was ended by limited() may have been slow, and leave something
# for a moment: then LATE is set, and HOW only if a task is blocked, or the kernel has complained.
judged() {
	local before pages tables begin printing status=0
	before=$(complaints | wc -l)
	pages=$(pinned)
	tables=$(tables)
	begin=$(uptime)
	HOW=
	print_blocked &
	printing=$!
	"$@" || status=$?
	kill $printing
	wait $printing || true
	if [ "$status" = 137 ] && [ $(($(uptime) - begin)) -ge "$LIMIT" ]; then
		LATE="no end after $LIMIT s"
		HOW=
		! is_blocked || HOW="$LATE, and a task of the fuzzer is blocked"
	elif [ "$status" != 0 ]; then
		HOW="status $status"
	else
		[ "$(pinned)" = "$pages" ] || HOW="$(($(pinned) - pages)) pages stay pinned"
		[ "$(tables)" = "$tables" ] || HOW="$(($(tables) - tables)) pages of page tables are not freed"
	fi
	[ "$(complaints | wc -l)" = "$before" ] ||
		HOW="a complaint of the kernel: $(complaints | sed -n "$((before + 1))p")"
}

# differs SET: run the programs of /tmp/SET, and compare what they answer with what the C module answered.
differs() {
	limited /programs/fuzz run "/tmp/$1" /tmp/ours || return
	fuzz compare "/tmp/$1" "/tmp/$1.c" /tmp/ours >/tmp/findings 2>/dev/null || return
	HOW=$(sed -n 's/^# \(.*; ours .*\)/\1/p' /tmp/findings | head -n 1)
}

# meets: run the corpus' programs of threads. If that does not tell whether the answers are right, nothing was found.
meets() {
	limited /programs/fuzz meet 60 >/tmp/met || return
	grep -q '^not ok' /tmp/met || return 0
	HOW=$(sed -nE 's/^# (no order |after close: |pins: )/\1/p' /tmp/met | head -n 1)
	[ -n "$HOW" ] || LATE="fuzz meet: $(sed -n 's/^# half /half /p' /tmp/met)"
}

# injects: let every second allocation of each call fail in those programs of the corpus that map memory and allocate page
# tables, of which it is mapped into several then. A difference that was not seen again finds nothing.
injects() {
	# The module has a way to fail of its own.
	fail_everything
	limited /programs/fuzz inject 2 1/1 /tmp/mapping >/tmp/met || return
	grep -q '^not ok' /tmp/met || return 0
	HOW=$(sed -nE '/, and not again: /d; s/^# (call [0-9]+ fails at )/\1/p' /tmp/met | head -n 1)
	[ -n "$HOW" ] || LATE="fuzz inject: $(grep '^not ok' /tmp/met | head -n 1)"
}

# find_mistake MODULE: whether the fuzzer finds the mistake of a module, first by the corpus, then by
# random programs, then by those of threads, and last by what is made to fail. HOW says by what.
find_mistake() {
	dmesg -c >/dev/null
	forget_warnings
	LATE=
	insmod "$1" || die "insmod $1 failed"
	judged differs corpus
	[ -n "$HOW" ] || judged differs random
	[ -n "$HOW" ] || judged meets
	[ -n "$HOW" ] || judged injects
	limited rmmod iommufd_rs || die "rmmod failed"
	[ -n "$HOW" ]
}

quiet_console
touch /tmp/leaks
LIMIT=300
# A mistake may leave memory charged, or more uncharged than was charged. The next one must not be found by that: each
# has a user of its own.
export FUZZ_USER=1000
fuzz corpus >/tmp/corpus
awk -v RS= -v ORS='\n\n' '/ hwpt_alloc/ && / ioas_(map|copy)/' /tmp/corpus >/tmp/mapping
fuzz generate 1 300 >/tmp/random
for set in corpus random; do
	answers "/tmp/$set" iommufd "/tmp/$set.c"
done

# unmistaken NAME COMMAND...: that a command finds nothing if the module is without a mistake.
unmistaken() {
	local name=$1
	shift
	dmesg -c >/dev/null
	forget_warnings
	LATE=
	MODULE=$OURS
	load_iommufd
	judged "$@"
	rmmod "$MODULE" || die "rmmod $MODULE failed"
	if [ -n "$HOW$LATE" ]; then
		cat /tmp/findings /tmp/met 2>/dev/null || true
		not_ok "without a mistake, $name" "${HOW:-$LATE}"
	else
		ok "without a mistake, $name"
	fi
}

unmistaken corpus differs corpus
unmistaken random differs random
unmistaken threads meets
unmistaken failures injects
for module in /mistakes/*.ko; do
	name=$(basename "$module" .ko | tr - ' ')
	FUZZ_USER=$((FUZZ_USER + 1))
	begin=$(uptime)
	if find_mistake "$module" && [ $(($(uptime) - begin)) -le 600 ]; then
		ok "$name: found after $(($(uptime) - begin)) s by: $HOW"
	else
		not_ok "$name" "not found within 600 s, and after $(($(uptime) - begin)) s: ${HOW:-${LATE:-nothing}}"
	fi
done
