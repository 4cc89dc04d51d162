# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# A guest inside the guest. L1 is the guest that the runner boots; it mounts a tree of Debian's programs
# and starts the unmodified QEMU in it as a user without privileges, with KVM on the CPU that the
# machine's QEMU emulates, which has SVM on x86 and EL2 on arm64. L2 is what that QEMU runs: the same kernel, l2-init, and the network card
# that L1's vfio-pci gave away. L2 does as it is told (l2-init says what that can be). Every step is a
# test.

L2_ROOT=/userland
# In MiB. The limit on locked memory leaves room for the firmware's pages but not for a second L2.
L2_MEMORY=384
L2_MEMLOCK=448
L2_USER=1000
# Seconds, on a busy machine. L2 is up after 8 to 15.
L2_BOOT_LIMIT=200
L2_ANSWER_LIMIT=100
# What L2 prints at boot, character by character, is a third of the time that its boot takes: warnings will do.
L2_LOGLEVEL=6
L2_CMDLINE=
# Whether L2's console is shown while L2 runs, for people.
L2_WATCH=
L2_PID=

# check NAME COMMAND...: one test; where COMMAND fails, WHY says why.
check() {
	local name=$1
	shift
	WHY=
	if "$@"; then
		ok "$name${WHY:+ ($WHY)}"
	else
		not_ok "$name" "$WHY"
		return 1
	fi
}

# seconds: since boot, in NOW. What is asked for again and again while L2 works starts no process.
seconds() {
	read -r NOW _ </proc/uptime
	NOW=${NOW%.*}
}

# l2_load: the module under test, VFIO, and KVM for L2's QEMU.
l2_load() {
	load_iommufd
	load_vfio
	module kvm
	module kvm-amd
	[ -c /dev/kvm ] || die "no /dev/kvm: can L1's CPU run guests?"
	l2_allow /dev/kvm
}

# l2_prepare: the tree of programs at L2_ROOT, with this guest's own files below its /mnt.
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

# l2_allow FILE...: what L2's QEMU may open.
l2_allow() { chown "$L2_USER" "$@"; }

l2_runs() { [ -n "$L2_PID" ] && [ -e "/proc/$L2_PID/exe" ]; }

# l2_qemu MEMLOCK ARGUMENT...: run QEMU, with so many MiB that it may lock, until it ends. What it
# has to say goes to /tmp/l2.qemu.
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

# l2_watch: show L2's console until QEMU is gone.
l2_watch() {
	local line part=
	while true; do
		if read -r line; then
			echo "      L2 | $part$line"
			part=
		else
			# Of a line that is still being written this is the beginning.
			part=$part$line
			[ -e /tmp/l2.told ] || break
			sleep 0.5
		fi
	done </tmp/l2.console
}

# l2_start ARGUMENT...: start L2 with these arguments to QEMU beside the usual ones.
l2_start() {
	rm -f /tmp/l2.*
	mkfifo -m 666 /tmp/l2.told
	: >/tmp/l2.said
	chown "$L2_USER" /tmp/l2.said
	# Open for both, so that neither side waits for the other to come.
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

# qemu_said: what QEMU itself said last. Where it gives up on a CPU it prints all registers after that.
qemu_said() { { grep '^qemu-system' /tmp/l2.qemu || cat /tmp/l2.qemu; } | tail -n 3 | tr '\n' ' '; }

# l2_hear SECONDS: the next line that L2 says, in SAID.
l2_hear() {
	local end line part=
	seconds
	end=$((NOW + $1))
	until read -r line <&5; do
		# Of a line that is still being written this is the beginning.
		part=$part$line
		seconds
		if ! l2_runs; then
			WHY="QEMU has ended: $(qemu_said)"
			return 1
		elif [ "$NOW" -ge "$end" ]; then
			WHY="L2 said nothing for $1 s; its console's last lines: $(tail -n 5 /tmp/l2.console)"
			return 1
		fi
		sleep 0.5
	done
	SAID=$(echo "$part$line" | tr -d '\r')
}

# l2_ask COMMAND...: tell L2 to do something. Its answer without the "ok" is in SAID.
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

# l2_up CARDS: L2 is up and sees so many network cards.
l2_up() {
	l2_hear "$L2_BOOT_LIMIT" || return 1
	seconds
	WHY="after $((NOW - L2_BEGAN)) s"
	[ "$SAID" = "up $1" ] || { WHY="L2 says '$SAID', not 'up $1'"; return 1; }
}

l2_address() { l2_ask address "$1" && WHY=$SAID; }

# l2_fetch NIC SERVER: every byte of the served file arrives.
l2_fetch() {
	l2_ask fetch "$1" "http://$2:$SERVED_PORT/" || return 1
	# shellcheck disable=SC2086
	set -- $SAID
	WHY="$1 bytes in $3 s"
	[ "$1" = "$SERVED_BYTES" ] || { WHY="$1 bytes arrived of $SERVED_BYTES"; return 1; }
	[ "$2" = "$SERVED_SHA256" ] || { WHY="sha256 $2, not $SERVED_SHA256"; return 1; }
}

# l2_network BOOT NIC SERVER: the card works in L2.
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

# faults_told: what the IOMMU, a VT-d or an SMMUv3, has said of DMA faults since boot.
faults_told() { dmesg | grep -E 'DMAR:.*fault addr|arm-smmu-v3.* event: '; }

# faults: how many they were.
faults() { faults_told | wc -l; }

# users: how many others hold the module under test in memory.
users() { cat "/sys/module/$(echo "$MODULE" | tr - _)/refcnt"; }

# pinned: pages that are pinned at this moment.
pinned() {
	echo 1 >/proc/sys/vm/stat_refresh
	echo $(($(vmstat nr_foll_pin_acquired) - $(vmstat nr_foll_pin_released)))
}

# l2_pins SECONDS: in that time all of L2's memory is pinned, by QEMU's process.
l2_pins() {
	local end kib=0
	seconds
	end=$((NOW + $1))
	while [ "${kib:-0}" -lt $((L2_MEMORY * 1024)) ]; do
		seconds
		if ! l2_runs || [ "$NOW" -ge "$end" ]; then
			WHY="$kib KiB of $L2_MEMORY MiB; $(qemu_said)"
			return 1
		fi
		sleep 0.5
		kib=$(awk '$1 == "VmPin:" { print $2 }' "/proc/$L2_PID/status")
	done
	WHY="$((kib / 1024)) MiB"
}

# l2_calls IOCTL: how often QEMU has called it.
l2_calls() {
	/programs/ioctl_report /tmp/l2.ioctls | awk -v name="$1" '$1 == name { calls = $2 } END { print calls + 0 }'
}

# l2_maps_by IOCTL: QEMU mapped all of L2's memory by it. (What it maps beside, it may map by another.)
l2_maps_by() {
	local mebibytes
	mebibytes=$(/programs/ioctl_report /tmp/l2.ioctls | awk -v name="$1" '$1 == name { print int($5) }')
	WHY="${mebibytes:=0} MiB"
	[ "$mebibytes" -ge "$L2_MEMORY" ]
}

# l2_no_fault: the IOMMU has stopped nothing since L2 was started.
l2_no_fault() {
	local count=$(($(faults) - faults_before))
	[ "$count" = 0 ] || { WHY="$count faults: $(faults_told | tail -n 2)"; return 1; }
}

# l2_receives NIC: two looks at the card's counter, a second apart, differ.
l2_receives() {
	local first
	l2_ask received "$1" || return 1
	first=$SAID
	sleep 1
	l2_ask received "$1" || return 1
	WHY="$((SAID - first)) bytes in a second"
	[ "$SAID" -gt "$first" ] || { WHY="the card received nothing"; return 1; }
}

# l2_gone SECONDS: QEMU's process ends.
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

# l2_left_nothing HOW: what must hold after QEMU is gone.
l2_left_nothing() {
	check "after $1, no DMA fault" l2_no_fault
	check "after $1, no page is pinned" l2_nothing_pinned
	check "after $1, as many users of the module as before" l2_nobody_uses
}

# l2_killed_in_flight NIC SERVER: QEMU has no time to stop the card.
l2_killed_in_flight() {
	check "$1 is made to receive all the time" l2_ask flood "$1" "http://$2:$SERVED_PORT/"
	sleep 2
	check "the card writes to memory all the time" l2_receives "$1"
	kill -KILL "$L2_PID"
	check "QEMU ends when it is killed" l2_gone 60
	# What the card still had to write would come now.
	sleep 1
	l2_left_nothing "SIGKILL during DMA"
}

# l2_comes_back ARGUMENT...: were the memory of a QEMU that was killed still counted as locked, or its
# device still taken, then the next one could not start. This one ends in good order.
l2_comes_back() {
	l2_start "$@"
	check "QEMU starts again and pins as much, so the locked memory was given back" l2_pins 60
	kill -TERM "$L2_PID"
	check "QEMU ends in good order" l2_gone 60
	l2_left_nothing "an orderly end"
}

# l2_too_little ARGUMENT...: with less memory to lock than L2 has, QEMU cannot start.
l2_too_little() {
	local memlock=$L2_MEMLOCK
	L2_MEMLOCK=$((L2_MEMORY / 2))
	l2_start "$@"
	L2_MEMLOCK=$memlock
	l2_gone 60 || return 1
	# At a map, or with the container, where pages are pinned when the device is opened, at that.
	WHY=$(grep -o 'Cannot allocate memory' /tmp/l2.qemu | head -n 1)
	[ -n "$WHY" ] || { WHY="another reason: $(qemu_said)"; return 1; }
}

# l2_end: whatever went wrong, no QEMU stays behind; the log has all that it and L2 said.
l2_end() {
	if l2_runs; then kill -KILL "$L2_PID"; fi
	rm -f /tmp/l2.told
	wait || true
	[ -z "$L2_WATCH" ] || return 0
	sed 's/^/QEMU in L1: /' /tmp/l2.qemu 2>/dev/null || true
	sed 's/^/L2: /' /tmp/l2.console 2>/dev/null || true
	/programs/ioctl_report /tmp/l2.ioctls || true
}

# l2_life ARGUMENT...: a whole life of L2 with one card, QEMU having these arguments.
l2_life() {
	l2_start "$@"
	check "boots and finds the card" l2_up 1
	check "its memory is pinned" l2_pins 1
	l2_network "first boot" eth0 10.0.2.2
	check "reboots" l2_reboots 1
	l2_network "second boot" eth0 10.0.2.2
	l2_killed_in_flight eth0 10.0.2.2
}
