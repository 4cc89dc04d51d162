#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Builds, for the kernel in KDIR and with the tools that are installed here, those programs of
# selftests/guest that are of use on a real machine, and prints their folder.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kdir.sh"

[ -n "${KDIR:-}" ] || die "name the kernel's build folder by KDIR="
KDIR=$(readlink -m "$KDIR")
check_is_built
((!PROBLEMS)) || exit 1

# The programs' Makefile looks for the kernel's source and its exported headers in one folder. A
# kernel that was built in its source has neither there.
VIEW=$BUILD/kdir/kernel
OUT=$BUILD/kdir/programs

work() {
	rm -rf "$VIEW"
	mkdir -p "$VIEW" "$OUT"
	ln -s "$(readlink -m "$SOURCE")" "$VIEW/source"
	make -C "$KDIR" ARCH="$(arch_of)" INSTALL_HDR_PATH="$VIEW/usr" headers_install
	make -C "$TOP/selftests/guest" KERNEL="$VIEW" OUT="$OUT" CC="${CC:-gcc}" \
		demo bench hw-info ioctl_count.so ioctl_report
}

with_lock "$OUT.lock" step "programs" "$LOGS/programs.log" work
say "built $OUT: demo, bench, hw-info, ioctl_count.so, ioctl_report"
