# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# A guest inside the guest. L1 is the guest that the runner boots. It mounts a tree of Debian's programs
# and starts the unmodified QEMU of that tree as a user without privileges, with KVM: the CPU that the
# runner's QEMU emulates has SVM on x86 and EL2 on arm64. L2 is the guest of that QEMU: the same kernel,
# l2-init, and a network card that is bound to L1's vfio-pci. L2 executes commands of L1; l2-init lists
# them. Every step is a test.

L2_ROOT=/userland
# In MiB. The limit of locked memory has room for the firmware's pages but not for a second L2.
L2_MEMORY=384
L2_MEMLOCK=448
L2_USER=1000
# Seconds, on a busy machine. L2 boots in 8 to 15.
L2_BOOT_LIMIT=300
L2_ANSWER_LIMIT=200
# For what takes a moment.
L2_LIMIT=120
# Printing, character by character, takes a third of L2's boot, so it prints warnings only.
L2_LOGLEVEL=6
L2_CMDLINE=
# Set to print L2's console while L2 runs.
L2_WATCH=
L2_PID=

# What stands before the names of tests, if they are made more than once.
L2_VARIANT=

# check NAME COMMAND...: one test, which passes if COMMAND succeeds. If it fails, WHY has the reason.
check() {
	local name=$L2_VARIANT$1
	shift
	WHY=
	if "$@"; then
		ok "$name${WHY:+ ($WHY)}"
	else
		not_ok "$name" "$WHY"
		return 1
	fi
}

# seconds: set NOW to the seconds since boot. Starts no process, since it is called in loops while L2 runs.
seconds() {
	read -r NOW _ </proc/uptime
	NOW=${NOW%.*}
}

# l2_load PARAMETER...: load the module under test with these parameters, VFIO, and KVM.
l2_load() {
	load_iommufd "$@"
	load_vfio
	module kvm
	module kvm-amd
	[ -c /dev/kvm ] || die "no /dev/kvm: can L1's CPU run guests?"
	l2_allow /dev/kvm
}

# l2_prepare: mount the tree of programs at L2_ROOT, and this guest's files below its /mnt.
l2_prepare() {
	local dir
	mkdir -p "$L2_ROOT"
	mount -t 9p -o trans=virtio,version=9p2000.L,ro,access=any,cache=loose,msize=262144 \
		userland "$L2_ROOT" || die "no tree of programs over 9p"
	for dir in proc sys dev tmp; do
		mount -o bind "/$dir" "$L2_ROOT/$dir"
	done
	mount -o bind / "$L2_ROOT/mnt"
	trap l2_end EXIT
}

# l2_allow FILE...: give the files to the user that runs QEMU.
l2_allow() { chown "$L2_USER" "$@"; }

l2_runs() { [ -n "$L2_PID" ] && [ -e "/proc/$L2_PID/exe" ]; }

# l2_qemu MEMLOCK ARGUMENT...: run QEMU until it exits, with a limit of so many MiB of locked memory. Its
# messages go to /tmp/l2.qemu.
l2_qemu() {
	# shellcheck disable=SC3045
	ulimit -l $(($1 * 1024))
	shift
	# shellcheck disable=SC2086
	exec chroot "$L2_ROOT" /usr/bin/setpriv --reuid "$L2_USER" --regid "$L2_USER" --clear-groups \
		/usr/bin/env -i PATH=/usr/bin IOCTL_COUNT=/tmp/l2.ioctls LD_PRELOAD=/mnt/programs/ioctl_count.so \
		$INNER_QEMU -smp 1 -m "$L2_MEMORY" \
		-nodefaults -no-user-config -display none \
		-kernel /mnt/inner/kernel -initrd /mnt/inner/initramfs \
		-append "console=$CONSOLE talk=$RESULTS loglevel=$L2_LOGLEVEL panic=-1 $INNER_CMDLINE $L2_CMDLINE" \
		-chardev file,id=console,path=/tmp/l2.console -serial chardev:console \
		-chardev file,id=talk,path=/tmp/l2.said,input-path=/tmp/l2.told -serial chardev:talk \
		"$@" >/tmp/l2.qemu 2>&1
}

# l2_watch: print L2's console until QEMU exits.
l2_watch() {
	local line part=
	while true; do
		if IFS= read -r line; then
			echo "      L2 | $part$line"
			part=
		else
			# The beginning of a line whose end is not written yet.
			part=$part$line
			[ -e /tmp/l2.told ] || break
			sleep 0.5
		fi
	done </tmp/l2.console
}

# l2_start ARGUMENT...: start L2 with these arguments of QEMU in addition to the usual ones.
l2_start() {
	rm -f /tmp/l2.*
	mkfifo -m 666 /tmp/l2.told
	: >/tmp/l2.said
	chown "$L2_USER" /tmp/l2.said
	# Open for reading and writing, so that neither side waits for the other to open it.
	exec 4<>/tmp/l2.told 5</tmp/l2.said
	: >/tmp/l2.console
	chown "$L2_USER" /tmp/l2.console
	if [ -n "$L2_WATCH" ]; then l2_watch & fi
	faults_before=$(faults)
	users_before=$(users)
	(l2_qemu "$L2_MEMLOCK" "$@") 4>&- 5<&- &
	L2_PID=$!
	seconds
	L2_BEGAN=$NOW
}

# qemu_said: print the last message of QEMU. If it gives up on a CPU, it prints all registers after that.
qemu_said() { { grep '^qemu-system' /tmp/l2.qemu || cat /tmp/l2.qemu; } | tail -n 3 | tr '\n' ' '; }

# l2_threads: print what each of QEMU's threads does: its name, state, CPU time in ticks, and the innermost
# functions of the kernel.
l2_threads() {
	local task state
	for task in "/proc/$L2_PID/task"/*; do
		state=$(sed 's/.*) //' "$task/stat" | awk '{ print $1 ", " $12 " + " $13 }')
		echo "$(cat "$task/comm") ($state) in $(awk '{ print $2 }' "$task/stack" | head -n 4 | tr '\n' ' ')"
	done | tr '\n' ';'
}

# l2_hear SECONDS: wait for the next line of L2 and set SAID to it.
l2_hear() {
	local end line part=
	seconds
	end=$((NOW + $1))
	until IFS= read -r line <&5; do
		# The beginning of a line whose end is not written yet. It may end with a space.
		part=$part$line
		seconds
		if ! l2_runs; then
			WHY="QEMU has ended: $(qemu_said)"
			return 1
		elif [ "$NOW" -ge "$end" ]; then
			WHY="L2 said nothing for $1 s; QEMU's threads: $(l2_threads)"
			WHY="$WHY its console's last lines: $(tail -n 5 /tmp/l2.console | tr '\n' ' ')"
			return 1
		fi
		sleep 0.5
	done
	SAID=$(echo "$part$line" | tr -d '\r')
}

# l2_ask COMMAND...: send a command to L2. SAID is set to its reply without the "ok".
l2_ask() {
	echo "$*" >&4
	l2_hear "$L2_ANSWER_LIMIT" || return 1
	case $SAID in
	ok*) SAID=${SAID#ok} SAID=${SAID# } ;;
	*)
		WHY="L2 answers to '$*': $SAID"
		return 1
		;;
	esac
}

# l2_up CARDS: check that L2 boots and has so many network cards.
l2_up() {
	l2_hear "$L2_BOOT_LIMIT" || return 1
	seconds
	WHY="after $((NOW - L2_BEGAN)) s"
	[ "$SAID" = "up $1" ] || { WHY="L2 says '$SAID', not 'up $1'"; return 1; }
}

l2_address() { l2_ask address "$1" && WHY=$SAID; }

# l2_fetch NIC SERVER: check that L2 fetches the file from the server without an error.
l2_fetch() {
	l2_ask fetch "$1" "http://$2:$SERVED_PORT/" || return 1
	# shellcheck disable=SC2086
	set -- $SAID
	[ $# = 3 ] || { WHY="L2 answers to fetch: $SAID"; return 1; }
	WHY="$1 bytes in $3 s"
	[ "$1" = "$SERVED_BYTES" ] || { WHY="$1 bytes arrived of $SERVED_BYTES"; return 1; }
	[ "$2" = "$SERVED_SHA256" ] || { WHY="sha256 $2, not $SERVED_SHA256"; return 1; }
}

# l2_network BOOT NIC SERVER: check that the card works in L2.
l2_network() {
	check "$1, $2 gets an address by DHCP" l2_address "$2"
	check "$1, $2 fetches a file, and its checksum is right" l2_fetch "$2" "$3"
}

l2_reboots() {
	l2_ask reboot || return 1
	seconds
	L2_BEGAN=$NOW
	l2_up "$1"
}

# faults_told: print the messages of the IOMMU, a VT-d or an SMMUv3, about DMA faults since boot.
faults_told() { dmesg | grep -E 'DMAR:.*fault addr|arm-smmu-v3.* event: '; }

# faults: print how many DMA faults were reported.
faults() { faults_told | wc -l; }

# users: print the use count of the module under test.
users() { cat "/sys/module/$(echo "$MODULE" | tr - _)/refcnt"; }

# pinned: print how many pages are pinned.
pinned() {
	echo 1 >/proc/sys/vm/stat_refresh
	echo $(($(vmstat nr_foll_pin_acquired) - $(vmstat nr_foll_pin_released)))
}

# l2_pins SECONDS: check that QEMU pins all of L2's memory in that time.
l2_pins() {
	local end kib=0
	seconds
	end=$((NOW + $1))
	while true; do
		kib=$(awk '$1 == "VmPin:" { print $2 }' "/proc/$L2_PID/status")
		[ "${kib:-0}" -lt $((L2_MEMORY * 1024)) ] || break
		seconds
		if ! l2_runs || [ "$NOW" -ge "$end" ]; then
			WHY="$kib KiB of $L2_MEMORY MiB; $(qemu_said)"
			return 1
		fi
		sleep 0.5
	done
	WHY="$((kib / 1024)) MiB"
}

# l2_top ARGUMENT...: run iommufd-top, print what it says, which is in /tmp/top then, and check that it succeeds.
l2_top() {
	local status=0
	chroot "$L2_ROOT" /usr/bin/python3 -B /mnt/programs/iommufd-top "$@" >/tmp/top 2>&1 || status=$?
	sed 's/^/iommufd-top: /' /tmp/top
	WHY="iommufd-top ends with $status: $(tail -n 1 /tmp/top)"
	[ "$status" = 0 ]
}

# l2_has_python: the trees of other architectures have QEMU and what it needs.
l2_has_python() { [ "$(uname -m)" = x86_64 ]; }

# l2_listed CONTEXT: check that iommufd-top lists QEMU with this context, or that the C module tells nothing.
l2_listed() {
	l2_top --once || return 1
	if [ "$MODULE" = iommufd-rs ]; then
		WHY="iommufd-top does not list QEMU, process $L2_PID, with context $1"
		grep -qE "^$L2_PID(\+[0-9]+)? +$1 +qemu-system-" /tmp/top
	else
		WHY="iommufd-top does not say that the module tells nothing"
		grep -q 'of a module that tells nothing' /tmp/top
	fi
}

# l2_seen: check that iommufd-top shows QEMU's open of the module's device, and that fdinfo says that QEMU
# has pinned all of L2's memory, and against which limit. The C module says nothing there.
l2_seen() {
	local lines
	lines=$(cat "/proc/$L2_PID/fdinfo/"*)
	if l2_has_python; then
		l2_listed "$(echo "$lines" | awk '$1 == "iommufd-context:" { print $2; exit }')" || return 1
	fi
	WHY=
	[ "$MODULE" = iommufd-rs ] || return 0
	# shellcheck disable=SC2046
	set -- $(echo "$lines" | awk '$1 ~ /^iommufd-(pinned|account-uid|account-limit):$/ { print $2 }')
	WHY="$1 KiB are pinned, for user $2 with a limit of $3 KiB"
	[ "$1" -ge $((L2_MEMORY * 1024)) ] && [ "$2" = "$L2_USER" ] && [ "$3" = $((L2_MEMLOCK * 1024)) ]
}

# l2_has_backend NAME: check by fdinfo, while L2 runs, that all of QEMU's devices have that backend.
l2_has_backend() {
	local backends
	backends=$(sed -n 's/^iommufd-device-[0-9]*-backend:[[:space:]]*//p' "/proc/$L2_PID/fdinfo/"* |
		sort -u)
	WHY=${backends:-no device in fdinfo}
	[ "$backends" = "$1" ]
}

# l2_native [PREFIX]: check that QEMU's devices have the native backend for their IOMMU. The C module has none.
l2_native() {
	[ "$MODULE" = iommufd ] || check "${1-}the backend is native" l2_has_backend "$(native_backend "$BDF")"
}

# l2_unseen: check that no process has /dev/iommu open any more, as fdinfo tells it.
l2_unseen() {
	if l2_has_python; then
		l2_top --once -d 0 || return 1
		WHY="iommufd-top says: $(head -n 1 /tmp/top)"
		[ "$(head -n 1 /tmp/top)" = "iommufd-top: 0 open, 0B pinned" ] || return 1
	fi
	WHY=$(grep -l '^iommufd-context:' /proc/[0-9]*/fdinfo/* 2>/dev/null || true)
	[ -z "$WHY" ]
}

# l2_calls IOCTL [failed]: print how often QEMU has called it, or how often that has failed.
l2_calls() {
	/programs/ioctl_report /tmp/l2.ioctls | awk -v name="$1" -v what="${2:-}" '
		$1 == name { calls = what == "failed" ? $3 : $2 }
		END { print calls + 0 }'
}

# l2_maps_by IOCTL: check that QEMU maps all of L2's memory by it. Other memory may be mapped by others.
l2_maps_by() {
	local mebibytes
	mebibytes=$(/programs/ioctl_report /tmp/l2.ioctls | awk -v name="$1" '$1 == name { print int($5) }')
	WHY="${mebibytes:=0} MiB"
	[ "$mebibytes" -ge "$L2_MEMORY" ]
}

# l2_no_fault: check that the IOMMU has reported no fault since L2 was started.
l2_no_fault() {
	local count=$(($(faults) - faults_before))
	[ "$count" = 0 ] || { WHY="$count faults: $(faults_told | tail -n 2)"; return 1; }
}

# l2_receives NIC: check that the card's counter increases, sooner or later.
l2_receives() {
	local first began
	l2_ask received "$1" || return 1
	first=$SAID
	seconds
	began=$NOW
	while [ "$SAID" -le "$first" ]; do
		[ $((NOW - began)) -lt "$L2_LIMIT" ] || { WHY="the card received nothing"; return 1; }
		sleep 1
		seconds
		l2_ask received "$1" || return 1
	done
	WHY="$((SAID - first)) bytes in $((NOW - began)) s"
}

# l2_gone SECONDS: check that QEMU exits in that time.
l2_gone() {
	local end
	seconds
	end=$((NOW + $1))
	while l2_runs; do
		seconds
		[ "$NOW" -lt "$end" ] || { WHY="still there after $1 s: $(cat "/proc/$L2_PID/stack")"; return 1; }
		sleep 0.2
	done
	wait "$L2_PID" || true
	L2_PID=
	exec 4>&- 5<&-
	rm /tmp/l2.told
}

l2_nothing_pinned() {
	local count
	count=$(pinned)
	[ "$count" = 0 ] || { WHY="$count pages are"; return 1; }
}

l2_nobody_uses() {
	[ "$(users)" = "$users_before" ] || { WHY="$(users) users, and $users_before before L2 was started"; return 1; }
}

# l2_left_nothing HOW: check that no page, fault or reference is left after the exit of QEMU.
l2_left_nothing() {
	check "after $1, no DMA fault" l2_no_fault
	check "after $1, no page is pinned" l2_nothing_pinned
	check "after $1, as many users of the module as before" l2_nobody_uses
}

# l2_killed_in_flight NIC SERVER: kill QEMU during DMA, so that it cannot stop the card.
l2_killed_in_flight() {
	check "$1 is made to receive all the time" l2_ask flood "$1" "http://$2:$SERVED_PORT/"
	sleep 2
	check "the card writes to memory all the time" l2_receives "$1"
	kill -KILL "$L2_PID"
	check "QEMU ends when it is killed" l2_gone "$L2_LIMIT"
	# Time for writes that the card may still have in flight.
	sleep 1
	l2_left_nothing "SIGKILL during DMA"
	if [ -e /programs/iommufd-top ]; then check "it is not seen any more" l2_unseen; fi
}

# l2_comes_back ARGUMENT...: start QEMU again after one was killed, and end it in good order. It could not
# start if the memory of the killed QEMU were still charged or its device in use.
l2_comes_back() {
	l2_start "$@"
	check "QEMU starts again and pins as much, so the locked memory was given back" l2_pins "$L2_LIMIT"
	kill -TERM "$L2_PID"
	check "QEMU ends in good order" l2_gone "$L2_LIMIT"
	l2_left_nothing "an orderly end"
}

# l2_too_little ARGUMENT...: check that QEMU cannot start if the limit of locked memory is below L2's memory.
l2_too_little() {
	local memlock=$L2_MEMLOCK
	L2_MEMLOCK=$((L2_MEMORY / 2))
	l2_start "$@"
	L2_MEMLOCK=$memlock
	l2_gone "$L2_ANSWER_LIMIT" || return 1
	# The error is that of a map, or with the container, which pins at that time, of opening the device.
	WHY=$(grep -o 'Cannot allocate memory' /tmp/l2.qemu | head -n 1)
	[ -n "$WHY" ] || { WHY="another reason: $(qemu_said)"; return 1; }
}

# l2_end: kill QEMU if it still runs, and print all messages of QEMU and L2.
l2_end() {
	if l2_runs; then kill -KILL "$L2_PID"; fi
	rm -f /tmp/l2.told
	wait || true
	[ -z "$L2_WATCH" ] || return 0
	sed 's/^/QEMU in L1: /' /tmp/l2.qemu 2>/dev/null || true
	sed 's/^/L2: /' /tmp/l2.console 2>/dev/null || true
	/programs/ioctl_report /tmp/l2.ioctls || true
}

# l2_life ARGUMENT...: run L2 with one card from its start to its end, with these arguments of QEMU.
l2_life() {
	l2_start "$@"
	check "boots and finds the card" l2_up 1
	check "its memory is pinned" l2_pins "$L2_LIMIT"
	if [ -e /programs/iommufd-top ]; then check "it is seen from outside" l2_seen; fi
	l2_native
	l2_network "first boot" eth0 10.0.2.2
	check "reboots" l2_reboots 1
	l2_network "second boot" eth0 10.0.2.2
	l2_killed_in_flight eth0 10.0.2.2
}
