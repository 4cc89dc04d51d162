#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Builds or installs the module. Usage: module.sh check|build|clippy|install [VARIABLE=VALUE...]
# check says whether the module can be built for the kernel in KDIR, and builds nothing.
# The variables go to the kernel's make. From the environment:
#   KDIR     a prepared kernel build folder: the module is built for that kernel with the tools that
#            are installed here. Without it, for the test kernel with those of the toolchain root.
#   FLAVOUR  which test kernel
#   OUT      where the build's output goes
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/kdir.sh"

GOAL=$1
shift
FLAVOUR=${FLAVOUR:-plain}

if [ -z "${KDIR:-}" ]; then
	[ "$GOAL" != check ] || die "name the kernel's build folder by KDIR="
	if ! inside; then
		IOMMUFD_RS_BIND=${INSTALL_MOD_PATH:-} exec "$TOP/scripts/enter" FLAVOUR="$FLAVOUR" \
			OUT="${OUT:-}" INSTALL_MOD_PATH="${INSTALL_MOD_PATH:-}" "$0" "$GOAL" "$@"
	fi
	[ "$GOAL" != install ] || [ -n "${INSTALL_MOD_PATH:-}" ] ||
		die "a module for the test kernel is of no use on this machine: name a kernel by KDIR=, or a folder by INSTALL_MOD_PATH="
	KDIR=$("$TOP/scripts/kernel.sh" "$FLAVOUR")
	OUT=${OUT:-$BUILD/$ARCH/$FLAVOUR/module}
	TOOLS=(LLVM="-$(. /settings && echo "$LLVM_MAJOR")")
else
	KDIR=$(readlink -m "$KDIR")
	OUT=${OUT:-$BUILD/kdir/module}
	TOOLS=()
fi

if [ ${#TOOLS[@]} = 0 ]; then
	check_kernel "$@"
	[ "$GOAL" != check ] || { say "the module can be built for the kernel in $KDIR"; exit; }
else
	TOOLS+=(ARCH="$ARCH")
fi

# Output that was made for another kernel cannot be built upon.
prepare_out() {
	[ "$(cat "$OUT/made-for" 2>/dev/null)" != "$KDIR" ] || return 0
	rm -rf "$OUT"
	mkdir -p "$OUT"
	echo "$KDIR" >"$OUT/made-for"
}

kmake() { make --no-print-directory -C "$KDIR" M="$TOP" MO="$OUT" "${TOOLS[@]}" "$@"; }

install_module() {
	local release modules
	[ -e "$OUT/iommufd-rs.ko" ] || die "nothing is built in $OUT"
	release=$(cat "$KDIR/include/config/kernel.release")
	modules=${INSTALL_MOD_PATH:-}/lib/modules/$release
	kmake INSTALL_MOD_PATH="${INSTALL_MOD_PATH:-}" INSTALL_MOD_DIR=updates DEPMOD=true "$@" modules_install
	depmod -a ${INSTALL_MOD_PATH:+-b "$INSTALL_MOD_PATH"} "$release"
	say "installed $modules/updates/iommufd-rs.ko"
	if grep '/vfio\.ko[^:]*:' "$modules/modules.dep" | grep -v 'iommufd-rs\.ko' >&2; then
		say "warning: by modules.dep, shown above, vfio does not load iommufd-rs; see Documentation/install.rst"
	fi
	if [ -z "${INSTALL_MOD_PATH:-}" ] && [ "$release" != "$(uname -r)" ]; then
		say "note: the running kernel is $(uname -r); the module is for $release"
	fi
}

work() {
	prepare_out
	case $GOAL in
	build)
		kmake -j"$(nproc)" "$@" modules
		say "built $OUT/iommufd-rs.ko"
		;;
	clippy) kmake -j"$(nproc)" CLIPPY=1 W=e "$@" modules ;;
	install) install_module "$@" ;;
	*) die "module.sh: no goal '$GOAL'" ;;
	esac
}

with_lock "$OUT.lock" work "$@"
