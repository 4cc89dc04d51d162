#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Makes, once, a tree of programs for a guest of an architecture and prints its path: those of some
# packages, with all they need; if none is named, the QEMU that a guest of another architecture runs,
# and the firmware of that QEMU's guests. Usage: userland.sh ARCH [PACKAGE...]
#
# The packages are those of the toolchain root's own Debian, unpacked and not installed: nothing in
# them can run here. The cache entry is named by this script, and by QEMU's version or the packages.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
inside || exec "$TOP/scripts/enter" "$0" "$@"

PACKAGES=(base-files coreutils libc-bin util-linux)
case ${1:-} in
arm64) DEBIAN=arm64 QEMU=qemu-system-arm FIRMWARE=qemu-efi-aarch64 ;;
x86_64) DEBIAN=amd64 QEMU=qemu-system-x86 FIRMWARE=seabios ;;
*) die "userland.sh: no list of packages for '${1:-}'" ;;
esac
ARCHITECTURE=$1
shift
TOOLS=("$@")
WHAT=${TOOLS[*]}
if [ ${#TOOLS[@]} = 0 ]; then
	WHAT=QEMU
	PACKAGES+=("$FIRMWARE")
	VERSION=$(awk -v p="$QEMU" '$1 == p { print $2 }' /versions)
fi
TREE=$CACHE/userland-$ARCHITECTURE-$( (cat "$0"; echo "${VERSION:-$WHAT}") | key)

# As if nothing was installed, so that apt brings everything that is needed. The mirror may have moved
# on since the root was made: then its index is fetched anew. If our QEMU is gone the list says which other
# one will do; snapshots are not asked.
download() {
	local apt=(apt-get -q -y -o "Dir::State::status=$TREE.part/status" -o "Dir::Cache=$TREE.part"
		-o "Dir::Cache::archives=$TREE.part/debs" -o APT::Sandbox::User=root
		-o "Acquire::http::Timeout=$SILENCE" -o "Acquire::https::Timeout=$SILENCE"
		-o "APT::Architecture=$DEBIAN" -o "APT::Architectures::=$DEBIAN")
	local install=(-t "$(. /etc/os-release && echo "$VERSION_CODENAME")-backports" --no-install-recommends
		--download-only install "${PACKAGES[@]}")
	mkdir -p "$TREE.part/debs/partial" "$TREE.part/lists/partial"
	: >"$TREE.part/status"
	if [ ${#TOOLS[@]} != 0 ]; then
		! TRIES=1 network 15 "${apt[@]}" "${install[@]}" "${TOOLS[@]}" || return 0
		apt+=(-o "Dir::State::lists=$TREE.part/lists")
		network 10 "${apt[@]}" --error-on=any update
		network 15 "${apt[@]}" "${install[@]}" "${TOOLS[@]}"
		return
	fi
	! TRIES=1 network 15 "${apt[@]}" "${install[@]}" "$QEMU=$VERSION" || return 0
	apt+=(-o "Dir::State::lists=$TREE.part/lists")
	network 10 "${apt[@]}" --error-on=any update
	! TRIES=1 network 15 "${apt[@]}" "${install[@]}" "$QEMU=$VERSION" || return 0
	VERSION=$(apt-cache "${apt[@]:3}" madison "$QEMU" |
		python3 -B "$TOP/scripts/toolchain/other.py" "$TOP/scripts/toolchain/common" "$QEMU")
	echo "$VERSION" >"$TREE.part/other"
	network 15 "${apt[@]}" "${install[@]}" "$QEMU=$VERSION"
}

unpack() {
	local deb
	for deb in "$TREE.part"/debs/*.deb; do dpkg-deb -x "$deb" "$TREE.part/tree"; done
	mkdir -p "$TREE.part/tree"/{dev,mnt,proc,sys,tmp}
}

make_tree() {
	[ ! -e "$TREE" ] || return 0
	say "Fetching $WHAT for $ARCHITECTURE (once, about 20 seconds): $TREE"
	rm -rf "$TREE.part"
	step "userland: download" "$LOGS/userland-$ARCHITECTURE-download.log" download
	[ ! -e "$TREE.part/other" ] || say "  $QEMU for $ARCHITECTURE: $(cat "$TREE.part/other"), as $VERSION is not to be had any more"
	step "userland: unpack" "$LOGS/userland-$ARCHITECTURE-unpack.log" unpack
	mv "$TREE.part/tree" "$TREE"
	rm -rf "$TREE.part"
}

if [ ! -e "$TREE" ]; then with_lock "$TREE.lock" make_tree; fi
echo "$TREE"
