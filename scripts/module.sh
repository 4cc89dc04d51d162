#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Builds or installs the module. Usage: module.sh build|clippy|install [VARIABLE=VALUE...]
# The variables go to the kernel's make. From the environment:
#   KDIR     a prepared kernel build folder: the module is built for that kernel with the tools that
#            are installed here. Without it, for the test kernel with those of the toolchain root.
#   FLAVOUR  which test kernel
#   OUT      where the build's output goes
set -euo pipefail
. "$(dirname "$0")/lib.sh"

GOAL=$1
shift
FLAVOUR=${FLAVOUR:-plain}

if [ -z "${KDIR:-}" ]; then
	if ! inside; then
		IOMMUFD_RS_BIND=${INSTALL_MOD_PATH:-} exec "$TOP/scripts/enter" FLAVOUR="$FLAVOUR" \
			OUT="${OUT:-}" INSTALL_MOD_PATH="${INSTALL_MOD_PATH:-}" "$0" "$GOAL" "$@"
	fi
	[ "$GOAL" != install ] || [ -n "${INSTALL_MOD_PATH:-}" ] ||
		die "a module for the test kernel is of no use on this machine: name a kernel by KDIR=, or a folder by INSTALL_MOD_PATH="
	KDIR=$("$TOP/scripts/kernel.sh" "$FLAVOUR")
	OUT=${OUT:-$BUILD/$ARCH/$FLAVOUR/module}
	TOOLS=(LLVM=-19)
else
	[ -d "$KDIR" ] || die "KDIR=$KDIR is no folder"
	KDIR=$(cd "$KDIR" && pwd)
	OUT=${OUT:-$BUILD/kdir/module}
	TOOLS=()
fi

config() { grep -qx "CONFIG_$1" "$KDIR/.config"; }
text_of() { sed -n "s/^CONFIG_$1=\"\(.*\)\"/\1/p" "$KDIR/.config"; }

# A kernel that cannot take the module is better refused here than by a page of compiler errors.
check_kernel() {
	local tool=${RUSTC:-rustc} here there
	[ -e "$KDIR/.config" ] && [ -e "$KDIR/Makefile" ] ||
		die "$KDIR is no prepared kernel build folder: it lacks .config or Makefile"
	config RUST=y || die "the kernel in $KDIR was built without CONFIG_RUST"
	config IOMMUFD=m || die "the kernel in $KDIR must have CONFIG_IOMMUFD=m, so that another module can take its place"
	! config MODVERSIONS=y || say "warning: the kernel in $KDIR has CONFIG_MODVERSIONS: its vfio.ko will refuse this module unless vfio is rebuilt against it"
	[ -e "$KDIR/Module.symvers" ] && [ -e "$KDIR/rust/libkernel.rmeta" ] ||
		die "$KDIR lacks Module.symvers or rust/libkernel.rmeta: build that kernel first (make && make modules)"
	here=$("$tool" --version 2>/dev/null) || die "no $tool: install the Rust compiler that built the kernel in $KDIR: $(text_of RUSTC_VERSION_TEXT)"
	there=$(text_of RUSTC_VERSION_TEXT)
	[ "$here" = "$there" ] || die "the kernel in $KDIR was built by '$there', but $tool is '$here': Rust modules need the same one (set RUSTC=)"
}

# The kernel's architecture, and its C compiler's family unless the person chose one.
choose_tools() {
	local suffix
	TOOLS+=(ARCH="$(sed -n '3s|^# Linux/\([^ ]*\) .*|\1|p' "$KDIR/.config")")
	if config CC_IS_CLANG=y && [ -z "${LLVM:-}${CC:-}" ]; then
		suffix=$(text_of CC_VERSION_TEXT | sed -n 's/.*clang version \([0-9]*\).*/-\1/p')
		command -v "clang$suffix" >/dev/null || suffix=1
		TOOLS+=(LLVM="$suffix")
	fi
}

if [ ${#TOOLS[@]} = 0 ]; then
	check_kernel
	choose_tools
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
		say "warning: by modules.dep, shown above, vfio does not load iommufd-rs; see Documentation/building.rst"
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
