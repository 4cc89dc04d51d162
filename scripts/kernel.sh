#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Builds the test kernel once and prints its build folder. Usage: kernel.sh [FLAVOUR]
# FLAVOUR is plain or the name of a further config fragment in patches/<version>/config. The cache
# entry is named by the kernel source's version, the patch series, the config fragments and the
# compilers' versions. A build begins with a copy of a finished one by the same compilers, which saves
# most of the work: of the same flavour with other patches or options, or else of the flavour that the
# fragment names by "# built-from: FLAVOUR". A fragment that says "# with: FLAVOUR" has that one's options
# too. One that says "# patches: none" is built of the kernel's source as Debian has it, one that says
# "# patches: series and FILE" of the source with one patch more.
# What follows "# make: " in a fragment is an argument of make.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
inside || exec "$TOP/scripts/enter" "$0" "$@"

FLAVOUR=${1:-plain}

# Of the root that this runs in: KVERSION, PATCHES_FOR and LLVM_MAJOR; and its packages.
. /settings
VERSIONS=/versions
PATCHES=$TOP/patches/$PATCHES_FOR

# fragments FLAVOUR: the config fragments that it is made of.
fragments() {
	echo "$PATCHES/config/common.config"
	echo "$PATCHES/config/$ARCH.config"
	[ "$1" != plain ] || return 0
	if [ -e "$PATCHES/config/$1.config" ]; then
		sed -n "s|^# with: \(.*\)|$PATCHES/config/\1.config|p" "$PATCHES/config/$1.config"
	fi
	echo "$PATCHES/config/$1.config"
}

# series FLAVOUR: the patches of its source.
series() {
	[ -e "$PATCHES/series" ] || return 0
	fragments "$1" | xargs grep -qx '# patches: none' || sed "s|^|$PATCHES/|" "$PATCHES/series"
	fragments "$1" | xargs sed -n "s|^# patches: series and |$PATCHES/|p"
}

version_of() { awk -v p="$1" '$1 == p { print }' "$VERSIONS"; }

while IFS= read -r file; do
	[ -e "$file" ] || die "ARCH=$ARCH, kernel flavour '$FLAVOUR', version $KVERSION: there is no $file"
done < <(fragments "$FLAVOUR")

# shellcheck disable=SC2046
source_key() { (version_of "linux-source-$KVERSION"; cat /dev/null $(series "$1")) | key; }
source_of() { echo "$CACHE/linux-$KVERSION-$(source_key "$1")"; }

# tools: the compilers' versions.
tools() { for p in rustc bindgen "clang-$LLVM_MAJOR" "lld-$LLVM_MAJOR"; do version_of "$p"; done; }

# folder_of FLAVOUR: its build folder. The file made-of in it says by which tools it was built, and before
# that from which source folder; the file .patched there lists the files that the patches change.
folder_of() {
	local key
	# shellcheck disable=SC2046
	key=$( (echo "$(source_key "$1") $ARCH"; tools; cat $(fragments "$1")) | key)
	echo "$CACHE/kernel-$KVERSION-$ARCH-$1-$key"
}

SRC=$(source_of "$FLAVOUR")
OBJ=$(folder_of "$FLAVOUR")

# Of the fragments: arguments of make.
mapfile -t WORDS < <(fragments "$FLAVOUR" | xargs sed -n 's/^# make: //p')

kmake() { make -C "$SRC" O="$OBJ" ARCH="$ARCH" LLVM="-$LLVM_MAJOR" "${WORDS[@]}" "$@"; }

unpack() {
	local patch file
	rm -rf "$SRC.part"
	mkdir -p "$SRC.part"
	tar -C "$SRC.part" --strip-components=1 -xf "/usr/src/linux-source-$KVERSION.tar.xz"
	for patch in $(series "$FLAVOUR"); do
		echo "applying $patch"
		patch -d "$SRC.part" -p1 --fuzz=0 <"$patch"
	done
	# shellcheck disable=SC2046
	cat /dev/null $(series "$FLAVOUR") | sed -n 's|^+++ b/||p' >"$SRC.part/.patched"
	# What is the same in another source is as old as there, so that what was made of it need not be made anew.
	while IFS= read -r file; do
		for patch in "$CACHE/linux-$KVERSION-"*/"$file"; do
			if [ "$patch" -ot "$SRC.part/$file" ] && cmp -s "$patch" "$SRC.part/$file"; then
				touch -r "$patch" "$SRC.part/$file"
			fi
		done
	done <"$SRC.part/.patched"
	mv "$SRC.part" "$SRC"
}

configure() {
	local line wrong=0
	# Of two lines about one option the last counts.
	# shellcheck disable=SC2046
	cat $(fragments "$FLAVOUR") | tac | awk -F= '!/^CONFIG_/ || !seen[$1]++' | tac >"$OBJ/fragments.config"
	kmake KCONFIG_ALLCONFIG="$OBJ/fragments.config" allnoconfig
	# Kconfig drops what it cannot satisfy without a word: say it.
	while IFS= read -r line; do
		case $line in
		CONFIG_*=n) ! grep -q "^${line%=n}=" "$OBJ/.config" ;;
		CONFIG_*) grep -qxF "$line" "$OBJ/.config" ;;
		esac || { echo "the kernel's Kconfig did not take: $line"; wrong=1; }
	done < <(grep '^CONFIG_' "$OBJ/fragments.config")
	return "$wrong"
}

build() {
	kmake -j"$(nproc)" all
	kmake INSTALL_HDR_PATH="$OBJ/usr" headers_install
}

# seed: begin with a copy of another finished build, of which kbuild then makes anew what depends on an
# option or a patch that differs. The commands that it compares with its own name the folder in full at
# times, and the source's always. What it would leave although it does not belong here is removed: modules
# that this kernel may not have, and the count of builds.
seed() {
	local from file
	from=$(head -n 1 "$1/made-of")
	rm -rf "$OBJ.part"
	cp -a --reflink=auto "$1" "$OBJ.part"
	rm -f "$OBJ.part/complete" "$OBJ.part/.version"
	find "$OBJ.part" -name '*.ko' -delete
	find "$OBJ.part" -name '*.cmd' -exec sed -i "s|$1|$OBJ|g; s|$from/|$SRC/|g" {} +
	# A file of another source may look older than what was made of its namesake.
	if [ "$from" != "$SRC" ]; then
		sort -u "$from/.patched" "$SRC/.patched" | while IFS= read -r file; do
			cmp -s "$from/$file" "$SRC/$file" || touch -c "$SRC/$file"
		done
	fi
	mv "$OBJ.part" "$OBJ"
}

# built_from: the flavour with which the build may begin. What its own fragment says comes last.
built_from() { fragments "$FLAVOUR" | xargs sed -n 's/^# built-from: //p' | tail -n 1; }

# can_seed FOLDER: whether it is a finished build by the same tools, whose source is still there.
can_seed() {
	[ -e "$1/complete" ] && [ -e "$1/made-of" ] && [ -e "$(head -n 1 "$1/made-of")/.patched" ] &&
		tail -n +2 "$1/made-of" | cmp -s - <(tools)
}

# seed_folder: the finished build that this one can begin with, if there is one and no work has begun yet.
# Of several of the same flavour it is the one that was finished last.
seed_folder() {
	local folder from
	[ ! -e "$OBJ" ] || return 0
	# A key has no hyphen, unlike what follows in the name of another flavour that begins like this one.
	for folder in $(find "$CACHE" -maxdepth 2 -path "$CACHE/kernel-$KVERSION-$ARCH-$FLAVOUR-*/complete" \
			! -path "$CACHE/kernel-$KVERSION-$ARCH-$FLAVOUR-*-*" -printf '%T@ %h\n' | sort -rn | cut -d' ' -f2-); do
		if can_seed "$folder"; then echo "$folder"; return 0; fi
	done
	from=$(built_from)
	[ -n "$from" ] || return 0
	folder=$(folder_of "$from")
	if can_seed "$folder"; then echo "$folder"; fi
}

make_source() { [ -e "$SRC" ] || step "kernel: unpack and patch" "$LOGS/kernel-source.log" unpack; }

make_kernel() {
	local from time="10 minutes"
	[ ! -e "$OBJ/complete" ] || return 0
	from=$(seed_folder)
	[ -z "$from" ] || time="1 to 10 minutes"
	say "Building Linux $KVERSION for $ARCH, $FLAVOUR (once, about $time on two cores): $OBJ"
	with_lock "$SRC.lock" make_source
	[ -z "$from" ] || step "kernel: copy a like one" "$LOGS/kernel-copy-$ARCH-$FLAVOUR.log" seed "$from"
	mkdir -p "$OBJ"
	step "kernel: configure" "$LOGS/kernel-config-$ARCH-$FLAVOUR.log" configure
	step "kernel: build" "$LOGS/kernel-build-$ARCH-$FLAVOUR.log" build
	(echo "$SRC"; tools) >"$OBJ/made-of"
	touch "$OBJ/complete"
}

if [ ! -e "$OBJ/complete" ]; then with_lock "$OBJ.lock" make_kernel; fi
echo "$OBJ"
