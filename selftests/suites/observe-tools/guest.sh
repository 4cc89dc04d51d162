# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

TREE=/userland
CALLS=/mnt/programs/few_calls

# debian COMMAND...: show a command and run it in the tree of tools, with what it says in $TREE/tmp/said.
debian() {
	echo "# $*"
	chroot "$TREE" /usr/bin/env -i PATH=/usr/bin:/usr/sbin HOME=/tmp TERM=dumb "$@" >/tmp/said 2>&1 || echo "# status $?"
	sed 's/^/  /' /tmp/said
}

# said NAME COUNT PATTERN: check how many lines of what the command said match.
said() {
	local found
	found=$(grep -Ec "$3" /tmp/said || true)
	if [ "$found" = "$2" ]; then
		ok "$1"
	else
		not_ok "$1" "$found lines match '$3', expected $2"
	fi
}

load_iommufd
module=$MODULE

mkdir -p "$TREE"
mount -t 9p -o trans=virtio,version=9p2000.L,ro,access=any,cache=loose,msize=262144 userland "$TREE" ||
	die "no tree of tools over 9p"
for dir in proc sys dev tmp; do mount -o bind "/$dir" "$TREE/$dir"; done
mount -o bind / "$TREE/mnt"
mount -t tracefs tracefs /sys/kernel/tracing
mount -o bind /sys/kernel/tracing "$TREE/sys/kernel/tracing"

if [ "$module" = iommufd ]; then
	# The C module has no tracepoints: only that the tools run is checked.
	debian trace-cmd list -e iommufd_rs
	said "trace-cmd: none of the C module" 0 "iommufd_rs:"
	debian perf stat -e context-switches "$CALLS"
	said "perf: runs the calls" 1 "^ +[0-9]+ +context-switches"
else
	debian trace-cmd record -q -o /tmp/trace.dat -e iommufd_rs "$CALLS"
	debian trace-cmd report -i /tmp/trace.dat
	said "trace-cmd: maps" 3 "iommufd_map:.* errno=0"
	said "trace-cmd: the map that is refused" 1 "iommufd_refused:.* command=IOMMU_IOAS_MAP errno=-17 reason=map-exists"
	said "trace-cmd: unmaps" 2 "iommufd_unmap:.* errno=0"

	debian perf stat -e iommufd_rs:iommufd_map -e iommufd_rs:iommufd_unmap "$CALLS"
	said "perf: maps" 1 "^ *4 +iommufd_rs:iommufd_map"
	said "perf: unmaps" 1 "^ *2 +iommufd_rs:iommufd_unmap"

	cat >/tmp/bytes.bt <<-END
		#define u64 __u64
		#define u32 __u32
		tracepoint:iommufd_rs:iommufd_map /args.errno == 0/ { @bytes[comm] = sum(args.length); }
	END
	debian bpftrace -I /usr/include/x86_64-linux-gnu -c "$CALLS" /tmp/bytes.bt
	said "bpftrace: bytes that were mapped" 1 '^@bytes\[few_calls\]: 24576$'
fi
