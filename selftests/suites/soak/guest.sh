# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/l2.sh

# L1's CPU, which QEMU emulates, delivers an interrupt to L2 a second time if L1's memory map changes just
# after it was injected, as it does when a card is reset or unplugged; once in some 50 lives L2 did not
# survive that. So QEMU emulates L2's CPU as well.
INNER_QEMU="${INNER_QEMU%% *} -accel tcg -cpu max"
L2_BOOT_LIMIT=900
L2_ANSWER_LIMIT=300

# By how many KiB the kernel's memory may grow from the end of the first life to that of the last one. At both times
# L2 is dead, and the second card may be at work or not: what its program or a part of uapi has then, and pages of the
# slab allocator of which a part is free, made a difference of 272 KiB between two lives in the hour of testing.rst. There
# are some 3,200 rounds of 64 mappings between the first and the last life of that hour, the program is killed 72 times,
# and the card unplugged 36 times. So more is lost in such an hour if it is 4 bytes a mapping, 250 a round, 11 KiB each
# time that the program is killed, 22 KiB each time that the card is unplugged, or 60 KiB a life; L2's page tables have
# 768. What is less is not found, as an object of 4 KiB each time that the program is killed.
LOST_LIMIT=768

# A task that is blocked for so many seconds is a complaint of the kernel.
echo 20 >/proc/sys/kernel/hung_task_timeout_secs

# go_on: whether the time is not over, and the second card has not failed.
go_on() {
	seconds
	[ "$NOW" -lt "$SOAK_END" ] && [ ! -s /tmp/second-failed ]
}

# press: fill memory, free it, and compact it, again and again. There stays enough for L2 to start, or little if
# L2 has all its memory. What is filled is not in /tmp, which others write to. Writes to /tmp/presses how many MiB
# were filled and how many pages were moved, unless less than half was filled of what there was.
press() {
	local mib leave filled moved
	mkdir /fill
	mount -t tmpfs -o size=100% fill /fill
	while go_on; do
		leave=$((L2_MEMORY + 320))
		[ ! -e /tmp/l2-is-up ] || leave=160
		mib=$(awk -v leave="$leave" '$1 == "MemAvailable:" { print int($2 / 1024) - leave }' /proc/meminfo)
		filled=0
		if [ "$mib" -gt 0 ]; then
			dd if=/dev/zero of=/fill/fill bs=1M count="$mib" 2>/dev/null || true
			filled=$(($(stat -c %s /fill/fill 2>/dev/null || echo 0) / 1048576))
		fi
		# compact_success counts allocations that compacted by themselves, not this.
		moved=$(vmstat pgmigrate_success)
		echo 1 >/proc/sys/vm/compact_memory
		moved=$(($(vmstat pgmigrate_success) - moved))
		rm -f /fill/fill
		if [ "$filled" -gt 0 ] && [ "$filled" -ge $((mib / 2)) ]; then
			echo "$filled $moved" >>/tmp/presses
		fi
		echo 3 >/proc/sys/vm/drop_caches
		sleep 2
	done
}

# copy_until_killed COMMAND...: for 15 seconds, have the second card copy, be moved and reset, with dirty tracking
# beside it. Then run the command, and kill the program at work. It adds a line to /tmp/copies for each round.
copy_until_killed() {
	local pid status=0
	/programs/copies "$BDF" >>/tmp/copies 2>/tmp/copies.why &
	pid=$!
	sleep 15
	"$@"
	kill -KILL $pid 2>/dev/null || true
	wait $pid || status=$?
	echo >>/tmp/kills
	# It ends by SIGALRM, with status 142, if a call does not end.
	[ "$status" = 137 ] || echo "copies ended with status $status: $(cat /tmp/copies.why)" >/tmp/second-failed
}

# remove_second: begin to unplug the second card. That ends when nobody has its file open.
remove_second() {
	echo 1 >"/sys/bus/pci/devices/$BDF/remove" &
	REMOVAL=$!
	sleep 1
}

# second_card: the second card copies, and its program is killed; it is reset; a part of uapi runs on it, another
# one each time; it copies again, and is unplugged meanwhile; then it is found and bound again. Writes how often
# to /tmp/rounds. What uapi says is not judged: it counts pinned pages, which others pin meanwhile.
second_card() {
	local rounds=0 part
	set -- format ioas option map unmap file copy device hwpt limit life dirty process
	while go_on; do
		copy_until_killed true
		echo 1 >"/sys/bus/pci/devices/$BDF/reset"
		part=$1
		shift
		set -- "$@" "$part"
		timeout -s KILL 900 /programs/uapi "$CDEV" "$part" >/tmp/uapi.log 2>&1 || true
		! grep -q '^# Totals' /tmp/uapi.log || echo "$part" >>/tmp/parts
		copy_until_killed remove_second
		wait "$REMOVAL"
		echo 1 >/sys/bus/pci/rescan
		bind_igb
		rounds=$((rounds + 1))
		echo "$rounds" >/tmp/rounds
	done
}

# second_copied: that the second card did everything that copies does, and nothing wrong. WHY is how much.
second_copied() {
	WHY=$(cat /tmp/second-failed)
	[ -z "$WHY" ] || return 1
	WHY=$(awk '{ copies += $1; moves += $3; resets += $5; dirty += $7; limits += $10; late += $12 }
		$15 > longest { longest = $15 }
		END {
			printf "%d rounds, %d copies, %d moves, %d resets, %d dirty pages, ", NR, copies, moves, resets, dirty
			printf "%d times at the limit of locked memory, %d late, longest call %d ms", limits, late, longest
			exit !(copies && moves && resets && dirty && limits)
		}' /tmp/copies) || return 1
	WHY="$WHY; killed $(wc -l </tmp/kills) times"
}

# pressed: that memory was filled until the end, at least once in each life, and that compaction moved pages.
pressed() {
	wait $PRESS || return 1
	WHY=$(awk -v lives="$LIVES" '{ moved += $2; moving += $2 > 0 }
		$1 > most { most = $1 }
		END {
			printf "%d MiB at most; %d pages were moved, in %d of these times", most, moved, moving
			exit !(NR >= lives && moved)
		}' /tmp/presses)
}

# kernel_memory: print how many KiB the kernel has for itself: slabs that it cannot reclaim, page tables of IOMMUs,
# what is in addresses of its own, and what is there for each CPU. Objects that are free are given back before.
kernel_memory() {
	local cache
	echo 3 >/proc/sys/vm/drop_caches
	for cache in /sys/kernel/slab/*; do
		# A link is another name of one.
		[ -L "$cache" ] || echo 1 >"$cache/shrink"
	done
	echo 1 >/proc/sys/vm/stat_refresh
	awk '/^(SUnreclaim|SecPageTables|VmallocUsed|Percpu):/ { sum += $2 } END { print sum }' /proc/meminfo
}

# weigh: add to /tmp/kernel-memory the least of three times that the kernel has for itself, while others go on.
weigh() {
	{ kernel_memory; sleep 1; kernel_memory; sleep 1; kernel_memory; } | sort -n | head -n 1 >>/tmp/kernel-memory
}

# nothing_lost: that the kernel has not much more memory for itself than after the first life. One life is enough only
# if there was no time for more.
nothing_lost() {
	local grown
	grown=$(($(tail -n 1 /tmp/kernel-memory) - $(head -n 1 /tmp/kernel-memory)))
	WHY="$(tr '\n' ' ' </tmp/kernel-memory)KiB after each life"
	if [ "$LIVES" -lt 2 ]; then
		WHY="not looked for in one life; $WHY"
		[ "$RUN_SECONDS" -lt 1800 ]
	else
		WHY="$grown KiB more, and $LOST_LIMIT may be; $WHY"
		[ "$grown" -le "$LOST_LIMIT" ]
	fi
}

# no_fault: that the IOMMU has reported no fault since boot. The kernel's log may have lost its beginning. That was
# looked at before, if the line is there still that was written to the log when this was called last.
LOOKS=0
no_fault() {
	local seen="soak: look $LOOKS at the log."
	[ "$LOOKS" != 0 ] || seen=
	LOOKS=$((LOOKS + 1))
	echo "<6>soak: look $LOOKS at the log." >/dev/kmsg
	# L2 changes it when it starts.
	faults_before=0
	l2_no_fault || return 1
	dmesg | grep -F "$seen" >/dev/null || { WHY="the log has lost what came after '$seen'"; return 1; }
}

# no_stall: what the process that calls beside all this says of its longest call.
no_stall() {
	kill -TERM $STALLS
	wait $STALLS
	local code=$?
	WHY=$(tail -n 1 /tmp/stalls)
	return $code
}

# soak_end: after a failure, stop what is done beside L2, and say what QEMU and L2 said.
soak_end() {
	# shellcheck disable=SC2086
	kill -KILL $STALLS $PRESS $SECOND 2>/dev/null || true
	l2_end
}

l2_load
l2_prepare
bind_igb
l2_allow /dev/iommu "$CDEV"
set -- -object iommufd,id=iommufd0 -device "vfio-pci,host=$BDF,iommufd=iommufd0"
bind_igb

seconds
SOAK_END=$((NOW + RUN_SECONDS))
echo 0 >/tmp/rounds
: >/tmp/copies >/tmp/kernel-memory >/tmp/kills >/tmp/parts >/tmp/presses >/tmp/second-failed
/programs/stalls 5 >/tmp/stalls &
STALLS=$!
press &
PRESS=$!
second_card &
SECOND=$!
trap soak_end EXIT

LIVES=0
check "no DMA fault before the first life" no_fault
while go_on; do
	check "life $LIVES: QEMU refuses to start with too little lockable memory" l2_too_little "$@"
	l2_start "$@"
	check "life $LIVES: boots and finds the card" l2_up 1
	: >/tmp/l2-is-up
	check "life $LIVES: gets an address by DHCP" l2_address eth0
	check "life $LIVES: fetches a file, and its checksum is right" l2_fetch eth0 10.0.2.2
	check "life $LIVES: is made to receive all the time" l2_ask flood eth0 "http://10.0.2.2:$SERVED_PORT/"
	sleep 15
	check "life $LIVES: the card writes to memory all the time" l2_receives eth0
	rm -f /tmp/l2-is-up
	kill -KILL "$L2_PID"
	check "life $LIVES: QEMU ends when it is killed" l2_gone "$L2_LIMIT"
	# Time for writes that the card may still have in flight.
	sleep 1
	check "life $LIVES: no DMA fault of any card so far" no_fault
	# kmemleak and KASAN keep memory that was freed. There kmemleak says what is lost.
	[ -e /sys/kernel/debug/kmemleak ] || weigh
	LIVES=$((LIVES + 1))
done

wait $SECOND
trap l2_end EXIT
check "no call has taken more than 5 seconds" no_stall
check "the second card copies what it should" second_copied
check "the second card was unplugged $(cat /tmp/rounds) times" [ "$(cat /tmp/rounds)" -gt 0 ]
check "$(wc -l </tmp/parts) parts of uapi ran to their end" [ -s /tmp/parts ]
check "memory was filled and compacted $(wc -l </tmp/presses) times" pressed
[ -e /sys/kernel/debug/kmemleak ] || check "the kernel lost no memory" nothing_lost
sleep 1
check "no DMA fault" no_fault
check "no page is pinned" l2_nothing_pinned
