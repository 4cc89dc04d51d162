#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Runs the models under valgrind's memcheck, which follows each access to memory. Arguments are passed to cargo
# test. With --seen it runs a program instead that reads memory which it has freed, and fails if that is not
# reported.
#
# Valgrind is Debian's, in a tree of its own, with the C library and the symbols of that: there the programs run.
set -euo pipefail
. "$(dirname "$0")/../../../scripts/lib.sh"
inside || exec "$TOP/scripts/enter" "$0" "$@"
. "$TOP/scripts/root.sh"

# memcheck PROGRAM ARGUMENT...: goes on as a program whose exit status is 99 if there is a report.
memcheck() {
	local tree
	tree=$("$TOP/scripts/userland.sh" "$(uname -m | sed 's/aarch64/arm64/')" valgrind libc6-dbg)
	exec_in_root "$tree" "$BUILD" -- valgrind.bin --quiet --fair-sched=try --error-exitcode=99 "$@"
}

case ${1:-} in
--run)
	memcheck "${@:2}"
	;;
--seen)
	mkdir -p "$BUILD/memcheck"
	rustc --edition 2021 -C opt-level=1 -o "$BUILD/memcheck/freed" - <<-'END'
		fn main() {
		    let place = Box::into_raw(Box::new(std::hint::black_box(1u64)));
		    drop(unsafe { Box::from_raw(place) });
		    std::hint::black_box(unsafe { place.read_volatile() });
		}
	END
	status=0
	(memcheck "$BUILD/memcheck/freed") || status=$?
	[ "$status" = 99 ] || die "exit status $status: a program that reads freed memory is not reported"
	;;
*)
	export "CARGO_TARGET_$(uname -m | tr a-z A-Z)_UNKNOWN_LINUX_GNU_RUNNER=$(realpath "$0") --run"
	exec cargo test --offline --manifest-path "$(dirname "$0")/Cargo.toml" --target-dir "$BUILD/memcheck" "$@"
	;;
esac
