# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Checks of a kernel's build folder, $KDIR, for which the module is to be built with the tools that
# are installed. Sourced by module.sh after lib.sh. Reads BINDGEN, CC, LLVM and RUSTC from the
# environment as the kernel's make does.

config() { grep -qx "CONFIG_$1" "$KDIR/.config"; }
text_of() { sed -n "s/^CONFIG_$1=\"\(.*\)\"/\1/p" "$KDIR/.config"; }
# arch_of: the ARCH= that the kernel was built with. Its configuration names it in the third line.
arch_of() { sed -n '3s|^# Linux/\([^ ]*\) .*|\1|p' "$KDIR/.config"; }
exports() { awk -v name="$1" '$2 == name { found = 1 } END { exit !found }' "$KDIR/Module.symvers"; }

PROBLEMS=0
# The kernel's source, or empty where it is not there.
SOURCE=

# problem WHAT CURE: the module cannot be built for this kernel, or would be of no use there.
problem() {
	say "error: $1"
	say "       $2"
	PROBLEMS=$((PROBLEMS + 1))
}

# caution WHAT CURE: the module can be built, but something does not work with it.
caution() {
	say "warning: $1"
	say "         $2"
}

REBUILD="run 'make olddefconfig', build the kernel again, install it and boot it"

# set_option OPTION VALUE: what to do for a configuration that lacks it.
set_option() { echo "in $KDIR set CONFIG_$1=$2 in .config, $REBUILD"; }

check_is_built() {
	local source=$KDIR
	if [ ! -e "$KDIR/.config" ] || [ ! -e "$KDIR/Makefile" ]; then
		problem "KDIR=$KDIR is no kernel build folder: it has no .config or no Makefile" \
			"give the folder that the running kernel was built in (its O= folder, or its source tree if it was built there)"
		return
	fi
	[ ! -L "$KDIR/source" ] || source=$KDIR/source
	if [ -e "$source/drivers/iommu/iommufd/iommufd_private.h" ]; then
		SOURCE=$source
	else
		problem "the kernel's source is not in $(readlink -m "$source"), where the build folder says it is" \
			"put the source back there, or build a kernel from its source; a package of headers does not suffice"
	fi
	if [ ! -e "$KDIR/Module.symvers" ] || [ ! -e "$KDIR/rust/libkernel.rmeta" ] ||
		[ ! -e "$KDIR/include/config/kernel.release" ]; then
		problem "the kernel in $KDIR is not built: it lacks Module.symvers, rust/libkernel.rmeta or include/config/kernel.release" \
			"build it ('make'); packages of kernel headers lack rust/*.rmeta and cannot be used"
	fi
}

# series_of VERSION: its first two numbers.
series_of() { sed 's/^\([0-9]*\.[0-9]*\).*/\1/' <<<"$1"; }

check_version() {
	local release series known oldest
	[ -e "$KDIR/include/config/kernel.release" ] || return 0
	release=$(cat "$KDIR/include/config/kernel.release")
	series=$(series_of "$release")
	known=$(cd "$TOP/patches" && printf '%s\n' [0-9]* | sort -V)
	grep -qxF "$series" <<<"$known" && return
	oldest=$(head -n 1 <<<"$known")
	if [ "$(printf '%s\n%s\n' "$series" "$oldest" | sort -V | head -n 1)" = "$series" ]; then
		problem "the kernel in $KDIR is $release, and the module needs $oldest or later" \
			"use a kernel of a series that this module is tested with: ${known//$'\n'/, }"
	else
		caution "the kernel in $KDIR is $release; the module is not tested with it, only with ${known//$'\n'/, }" \
			"the build may fail; if it succeeds, try the module where no data can be lost"
	fi
}

check_options() {
	config RUST=y || problem "the kernel in $KDIR was built without CONFIG_RUST" \
		"$(set_option RUST y) ('make rustavailable' there says what is missing)"
	config IOMMUFD=m || problem \
		"the kernel in $KDIR does not have CONFIG_IOMMUFD=m: only a module can be replaced by another one" \
		"$(set_option IOMMUFD m)"
	config IOMMU_IOPF=y || problem \
		"the kernel in $KDIR lacks CONFIG_IOMMU_IOPF, which has no question of its own" \
		"in $KDIR enable the IOMMU driver of the machine (CONFIG_INTEL_IOMMU, CONFIG_AMD_IOMMU or CONFIG_ARM_SMMU_V3_SVA), which selects it, $REBUILD"
	config MODULE_UNLOAD=y || caution \
		"the kernel in $KDIR lacks CONFIG_MODULE_UNLOAD: neither iommufd nor iommufd_rs can be unloaded" \
		"choose the module before the first one is loaded, or $(set_option MODULE_UNLOAD y)"
	config VFIO_DEVICE_CDEV=y || caution \
		"the kernel in $KDIR lacks CONFIG_VFIO_DEVICE_CDEV: there will be no /dev/vfio/devices, which VMMs open for iommufd" \
		"$(set_option VFIO_DEVICE_CDEV y)"
	! config MODVERSIONS=y || caution \
		"the kernel in $KDIR has CONFIG_MODVERSIONS: its vfio.ko may refuse this module ('disagrees about version of symbol')" \
		"turn the option off there, $REBUILD"
	! config MODULE_SIG_FORCE=y || caution \
		"the kernel in $KDIR has CONFIG_MODULE_SIG_FORCE: it loads only modules that are signed by a key it trusts" \
		"modules_install signs the module if the kernel's signing key is still in $KDIR; else see 'Secure Boot' in Documentation/install.rst"
}

# check_test_options OPTION...: what the options on make's command line need of the kernel.
check_test_options() {
	local option
	for option; do
		[ "$option" != CONFIG_IOMMUFD_RS_TEST=y ] || config IOMMUFD_TEST=y || problem \
			"CONFIG_IOMMUFD_RS_TEST=y needs a kernel with CONFIG_IOMMUFD_TEST=y" \
			"$(set_option IOMMUFD_TEST y), or leave the option away: it is for tests only"
	done
}

# Drivers in the kernel itself reach the module through patch 0001 of the series. Those of arm64 need
# that for interrupts; on x86-64 Intel's and AMD's drivers do not call iommufd.
check_patches() {
	local patched=1 exported=1
	[ -n "$SOURCE" ] && [ -e "$KDIR/Module.symvers" ] || return 0
	[ -e "$SOURCE/include/linux/iommufd_provider.h" ] || patched=0
	exports iommufd_set_provider || exported=0
	if ((patched && !exported)); then
		problem "the source of the kernel in $KDIR was patched after the kernel was built" \
			"build the kernel again, install it and boot it"
	elif ((!patched)) && [ "$(arch_of)" = arm64 ]; then
		caution "the kernel in $KDIR lacks the patch series: on arm64 no device can use MSIs, and there are no vIOMMUs" \
			"apply the files that patches/$(series_of "$(cat "$KDIR/include/config/kernel.release")")/series lists to the kernel's source, $REBUILD"
	fi
}

check_tools() {
	local rustc=${RUSTC:-rustc} bindgen=${BINDGEN:-bindgen} here there
	there=$(text_of RUSTC_VERSION_TEXT)
	[ -n "$there" ] || return 0
	if ! here=$("$rustc" --version 2>/dev/null); then
		problem "there is no $rustc; the kernel in $KDIR was built by '$there'" \
			"install that version (package rustc, or rustup), or name it by RUSTC="
	elif [ "$here" != "$there" ]; then
		problem "the kernel in $KDIR was built by '$there', but $rustc is '$here'" \
			"name the same compiler by RUSTC=, or build the kernel again with this one: Rust modules need the very same"
	fi
	if ! "$bindgen" --version >/dev/null 2>&1; then
		problem "there is no $bindgen; the kernel in $KDIR was built with '$(text_of BINDGEN_VERSION_TEXT)'" \
			"install it (package bindgen, or 'cargo install bindgen-cli'), or name it by BINDGEN="
	elif [ -n "$SOURCE" ] && ! "$bindgen" "$SOURCE/scripts/rust_is_available_bindgen_libclang.h" >/dev/null 2>&1; then
		problem "$bindgen finds no libclang" \
			"install it (package libclang-dev), or name its folder by LIBCLANG_PATH="
	fi
}

# choose_tools: what the kernel's make needs to know on its command line, into the array TOOLS: the
# architecture, and LLVM= for a kernel built by Clang unless LLVM or CC was given.
choose_tools() {
	local version suffix
	TOOLS+=(ARCH="$(arch_of)")
	config CC_IS_CLANG=y && [ -z "${LLVM:-}${CC:-}" ] || return 0
	version=$(text_of CC_VERSION_TEXT | sed -n 's/.*clang version \([0-9]*\).*/\1/p')
	suffix=-$version
	if ! command -v "clang$suffix" >/dev/null; then
		suffix=1
		command -v clang >/dev/null || problem \
			"the kernel in $KDIR was built by Clang $version, and there is neither clang-$version nor clang" \
			"install clang-$version, lld-$version and llvm-$version, or name their folder by LLVM=/folder/"
	fi
	TOOLS+=(LLVM="$suffix")
}

# check_kernel OPTION...: makes all checks, says all that is wrong, and ends the build if anything is.
check_kernel() {
	check_is_built
	if [ -e "$KDIR/.config" ]; then
		check_version
		check_options
		check_test_options "$@"
		check_patches
		check_tools
		choose_tools
	fi
	((!PROBLEMS)) || die "the module cannot be built for this kernel: $PROBLEMS of the above to be put right; see Documentation/install.rst"
}
