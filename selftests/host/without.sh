#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Lints the module for a kernel without these options, which all test kernels have: what is there for them must
# not be used by the rest, nor be left without a use. No such kernel is built: a copy of the test kernel's build
# folder says that it has none.
set -euo pipefail
. scripts/lib.sh

OPTIONS='CONFIG_DEBUG_FS CONFIG_IOMMUFD_NOIOMMU CONFIG_VFIO_NOIOMMU'

inside || exec scripts/enter "$0" "$@"
kernel=$(scripts/kernel.sh plain)
out=$BUILD/$ARCH/plain/without
rm -rf "$out"
mkdir -p "$out"
# Links to all files, but for those that name options.
cp -rs "$kernel" "$out/kernel"
for file in include/generated/rustc_cfg include/generated/autoconf.h include/config/auto.conf; do
	rm "$out/kernel/$file"
	grep -vE "(^|[^A-Z_])(${OPTIONS// /|})(=| |$)" "$kernel/$file" >"$out/kernel/$file"
	[ "$(wc -l <"$kernel/$file")" -gt "$(wc -l <"$out/kernel/$file")" ] || die "$file names none of $OPTIONS"
done
rm "$out/kernel/Makefile"
sed "s|^export KBUILD_OUTPUT = .*|export KBUILD_OUTPUT = $out/kernel|" "$kernel/Makefile" >"$out/kernel/Makefile"
grep -q "$out/kernel\$" "$out/kernel/Makefile" || die "no KBUILD_OUTPUT in $kernel/Makefile"
KDIR=$out/kernel OUT=$out/module scripts/module.sh clippy ARCH="$ARCH" \
	LLVM="-$(. /settings && echo "$LLVM_MAJOR")" CONFIG_IOMMUFD_RS_KUNIT=y
