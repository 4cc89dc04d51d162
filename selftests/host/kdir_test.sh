#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Tests the checks that scripts/kdir.sh makes of a kernel's build folder. Each test changes one thing
# in a made-up folder that is in order, and wants the one message that is about it. Prints KTAP.
set -euo pipefail
cd "$(dirname "$0")/../.."

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
KERNEL=$SCRATCH/kernel
COUNT=0 FAILED=0
RUSTC_TEXT='rustc 1.85.1 (4eb161250 2025-03-15)'

# tool NAME LINE: a program that prints one line.
tool() {
	printf '#!/bin/sh\necho "%s"\n' "$2" >"$SCRATCH/bin/$1"
	chmod +x "$SCRATCH/bin/$1"
}

# make_kernel: a build folder, and a set of tools, that have all that is asked for.
make_kernel() {
	rm -rf "$KERNEL" "$SCRATCH/bin"
	mkdir -p "$KERNEL"/{rust,include/config,include/linux,scripts,drivers/iommu/iommufd} "$SCRATCH/bin"
	printf '%s\n' '#' '# Automatically generated file; DO NOT EDIT.' '# Linux/x86_64 7.3.4 Kernel Configuration' '#' \
		"CONFIG_RUSTC_VERSION_TEXT=\"$RUSTC_TEXT\"" 'CONFIG_BINDGEN_VERSION_TEXT="bindgen 0.71.1"' \
		'CONFIG_CC_VERSION_TEXT="gcc (Debian 14.2.0-19) 14.2.0"' CONFIG_RUST=y CONFIG_IOMMUFD=m \
		CONFIG_IOMMU_IOPF=y CONFIG_VFIO_DEVICE_CDEV=y CONFIG_MODULE_UNLOAD=y \
		'# CONFIG_MODVERSIONS is not set' >"$KERNEL/.config"
	echo 7.3.4 >"$KERNEL/include/config/kernel.release"
	touch "$KERNEL/Makefile" "$KERNEL/rust/libkernel.rmeta" "$KERNEL/drivers/iommu/iommufd/iommufd_private.h" \
		"$KERNEL/include/linux/iommufd_provider.h" "$KERNEL/scripts/rust_is_available_bindgen_libclang.h"
	printf '0x00000000\tiommufd_set_provider\tvmlinux\tEXPORT_SYMBOL_GPL\tIOMMUFD_INTERNAL\n' \
		>"$KERNEL/Module.symvers"
	tool rustc "$RUSTC_TEXT"
	printf '#!/bin/sh\n[ "$1" = --version ] || [ -e "$1" ]\n' >"$SCRATCH/bin/bindgen"
	chmod +x "$SCRATCH/bin/bindgen"
	tool clang-19 'clang version 19.1.7'
}

# option NAME [VALUE]: one line of the configuration becomes another one, or is gone.
option() {
	sed -i "/CONFIG_$1[= ]/d" "$KERNEL/.config"
	[ -z "${2:-}" ] || echo "CONFIG_$1=$2" >>"$KERNEL/.config"
}

arm64() {
	sed -i '3s/x86_64/arm64/' "$KERNEL/.config"
}

# expect NAME STATUS LINES [TEXT] [ARGUMENT...]: the check ends with that status after so many errors and
# warnings, of which one contains TEXT; each is followed by a line that says what to do.
expect() {
	local name=$1 wanted=$2 lines=$3 text=${4:-} said status=0 found cures result=ok
	shift $(($# < 4 ? $# : 4))
	# Nothing of the machine's own but what the check itself calls.
	said=$(env -i PATH="$SCRATCH/bin:$SCRATCH/own" KDIR="${GIVEN:-$KERNEL}" "$BASH" scripts/module.sh check "$@" 2>&1) ||
		status=1
	found=$(grep -cE '^(error|warning): ' <<<"${said/error: the module cannot/}" || true)
	cures=$(grep -c '^        *[^ ]' <<<"$said" || true)
	[ "$status" = "$wanted" ] && [ "$found" = "$lines" ] && [ "$cures" = "$lines" ] &&
		grep -qF -- "$text" <<<"$said" || result='not ok'
	COUNT=$((COUNT + 1))
	if [ "$result" != ok ]; then
		FAILED=$((FAILED + 1))
		sed 's/^/# /' <<<"exit status $status, $found messages, $cures cures"$'\n'"$said"
	fi
	echo "$result $COUNT $name"
	make_kernel
}

# The machine's own tools, without its compilers.
mkdir -p "$SCRATCH/own"
for name in awk basename cat cut dirname grep head readlink sed sha256sum sort tr; do
	ln -s "$(command -v "$name")" "$SCRATCH/own/$name"
done
make_kernel

echo "KTAP version 1"
expect "a kernel in order" 0 0 "can be built"
GIVEN=$SCRATCH/none expect "no folder" 1 1 "no kernel build folder"
GIVEN=$SCRATCH/bin expect "another folder" 1 1 "no kernel build folder"
rm "$KERNEL/Module.symvers"
expect "a kernel that is not built" 1 1 "is not built"
rm "$KERNEL/rust/libkernel.rmeta"
expect "a package of headers" 1 1 "packages of kernel headers"
ln -s "$SCRATCH/moved" "$KERNEL/source"
expect "the source has been moved" 1 1 "$SCRATCH/moved"
echo 7.2.9 >"$KERNEL/include/config/kernel.release"
expect "an older kernel" 1 1 "needs 7.3 or later"
echo 6.12.3-amd64 >"$KERNEL/include/config/kernel.release"
expect "a much older kernel" 1 1 "is 6.12.3-amd64, and"
echo 7.10.0-rc1 >"$KERNEL/include/config/kernel.release"
expect "a newer kernel" 0 1 "not tested with it, only with 7.3"
echo 7.3.0-rc5-next >"$KERNEL/include/config/kernel.release"
expect "a kernel of the series with a longer name" 0 0 "can be built"
option RUST
expect "no Rust" 1 1 "CONFIG_RUST=y"
option IOMMUFD y
expect "iommufd is built in" 1 1 "CONFIG_IOMMUFD=m"
option IOMMUFD
expect "no iommufd" 1 1 "CONFIG_IOMMUFD=m"
option IOMMU_IOPF
expect "no I/O page faults" 1 1 "CONFIG_INTEL_IOMMU, CONFIG_AMD_IOMMU or CONFIG_ARM_SMMU_V3_SVA"
option VFIO_DEVICE_CDEV
expect "no device files of VFIO" 0 1 "CONFIG_VFIO_DEVICE_CDEV=y"
option MODULE_UNLOAD
expect "modules stay" 0 1 "CONFIG_MODULE_UNLOAD=y"
option MODVERSIONS y
expect "symbols have versions" 0 1 "disagrees about version of symbol"
option MODULE_SIG_FORCE y
expect "only signed modules" 0 1 "Secure Boot"
expect "mock devices on a kernel without tests" 1 1 "CONFIG_IOMMUFD_TEST=y" CONFIG_IOMMUFD_RS_TEST=y
option IOMMUFD_TEST y
expect "mock devices on a kernel with tests" 0 0 "can be built" CONFIG_IOMMUFD_RS_TEST=y
rm "$KERNEL/include/linux/iommufd_provider.h"
: >"$KERNEL/Module.symvers"
expect "x86-64 without the patches" 0 0 "can be built"
arm64
rm "$KERNEL/include/linux/iommufd_provider.h"
: >"$KERNEL/Module.symvers"
expect "arm64 without the patches" 0 1 "patches/7.3/series"
arm64
expect "arm64 with the patches" 0 0 "can be built"
: >"$KERNEL/Module.symvers"
expect "patched after it was built" 1 1 "was patched after"
rm "$SCRATCH/bin/rustc"
expect "no rustc" 1 1 "was built by '$RUSTC_TEXT'"
tool rustc 'rustc 1.85.0'
expect "another rustc" 1 1 "rustc is 'rustc 1.85.0'"
rm "$SCRATCH/bin/bindgen"
expect "no bindgen" 1 1 "package bindgen"
printf '#!/bin/sh\n[ "$1" = --version ]\n' >"$SCRATCH/bin/bindgen"
expect "no libclang" 1 1 "LIBCLANG_PATH="
option CC_VERSION_TEXT '"Debian clang version 19.1.7 (3)"'
option CC_IS_CLANG y
expect "a kernel built by Clang" 0 0 "can be built"
option CC_VERSION_TEXT '"Debian clang version 18.1.8"'
option CC_IS_CLANG y
expect "a kernel built by a Clang that is not there" 1 1 "clang-18"
option RUST
option IOMMUFD y
expect "two things at once" 1 2 "2 of the above"
echo "1..$COUNT"
[ "$FAILED" = 0 ]
