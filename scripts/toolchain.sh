#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Makes the toolchain root once and prints its path. The root is a Debian 13 tree under the cache
# folder, named by its package list, so a changed list makes a new root and an old one stays usable.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
if inside; then echo /; exit; fi

SUITE=trixie
PACKAGES=$TOP/scripts/packages
ROOT=$CACHE/toolchain-$(key <"$PACKAGES")

# Everything that a package script may need is mounted in a namespace of its own and so goes away
# with the command.
in_root() {
	# shellcheck disable=SC2016
	unshare --mount -- bash -euc '
		root=$1; shift
		mount --make-rprivate /
		mount --rbind /dev "$root/dev"
		mount -t proc proc "$root/proc"
		mount -t tmpfs tmpfs "$root/tmp"
		exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
			http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" \
			PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"' -- "$@"
}

bootstrap() {
	local part=$1
	[ ! -e "$part/base-complete" ] || return 0
	if ! command -v mmdebstrap >/dev/null; then
		apt-get update -q
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q mmdebstrap debian-archive-keyring
	fi
	rm -rf --one-file-system "$part"
	# mmdebstrap knows a mirror; IOMMUFD_RS_MIRROR may name a closer one.
	mmdebstrap --variant=minbase --include=ca-certificates "$SUITE" "$part" ${IOMMUFD_RS_MIRROR:-}
	# Backports come from the mirror that the new root's own sources already name.
	awk -v s="$SUITE" '$1 == "deb" && $3 == s { $3 = s "-backports"; print; exit }' \
		"$part/etc/apt/sources.list" >"$part/etc/apt/sources.list.d/backports.list"
	cp -L /etc/resolv.conf "$part/etc/resolv.conf"
	# A machine that reaches its mirror through a proxy says so in its apt configuration.
	if command -v apt-config >/dev/null; then
		apt-config dump --format '%f "%v";%n' | grep -i '^Acquire::https\?::.*proxy' \
			>"$part/etc/apt/apt.conf.d/90proxy" || true
	fi
	touch "$part/base-complete"
}

# pick PACKAGE VERSION SERIES: the pinned version, or the newest of its series with a notice.
pick() {
	local have
	have=$(in_root "$part" apt-cache madison "$1" | awk -F'|' '{ gsub(/ /, "", $2); print $2 }')
	if grep -qxF -- "$2" <<<"$have"; then
		echo "$1=$2"
		return
	fi
	have=$(awk -v s="$3" 'index($0, s) == 1' <<<"$have" | sort -Vr | head -n 1)
	[ -n "$have" ] || { echo "no version $3* of $1 on the mirror" >&2; return 1; }
	echo "NOTICE: $1 $2 is gone from the mirror, taking $have" | tee -a "$part/pins-replaced" >&2
	echo "$1=$have"
}

# listed: the lines of the package list that name a package.
listed() { sed 's/#.*//; /^[[:space:]]*$/d' "$PACKAGES"; }

# unpack NAME:ARCHITECTURE: the files of a package, without installing it.
unpack() {
	# shellcheck disable=SC2016
	in_root "$part" sh -euc '
		mkdir -p "/opt/$2"
		cd /var/cache/apt/archives
		rm -f "$1"_*.deb
		apt-get download -q "$1:$2"
		dpkg-deb -x "$1"_*.deb "/opt/$2"' -- "${1%:*}" "${1#*:}"
}

install_packages() {
	local part=$1 name version series arch
	local -a wanted=() backports=() unpacked=()
	rm -f "$part/pins-replaced"
	for arch in $(listed | sed -n 's/^[^ ]*:\([^[:space:]]*\).*/\1/p' | sort -u); do
		in_root "$part" dpkg --add-architecture "$arch"
	done
	in_root "$part" apt-get update -q
	while read -r name version series; do
		case $version in
		'') wanted+=("$name") ;;
		unpack) unpacked+=("$name") ;;
		*)
			version=$(pick "$name" "$version" "$series")
			backports+=("$version")
			;;
		esac
	done < <(listed)
	# What Debian 13 has itself comes first, lest backports' newer ones of it be preferred.
	in_root "$part" apt-get install -y -q --no-install-recommends "${wanted[@]}"
	in_root "$part" apt-get install -y -q --no-install-recommends -t "$SUITE-backports" "${backports[@]}"
	for name in "${unpacked[@]}"; do unpack "$name"; done
	in_root "$part" apt-get clean
	in_root "$part" dpkg-query -W -f '${Package} ${Version}\n' >"$part/versions"
}

make_root() {
	[ ! -e "$ROOT/versions" ] || return 0
	[ "$(id -u)" = 0 ] || die "making the toolchain root needs root; run this as root"
	say "Making the toolchain root (once, about 2 minutes): $ROOT"
	step "toolchain: base system" "$LOGS/toolchain-base.log" bootstrap "$ROOT.part"
	step "toolchain: packages" "$LOGS/toolchain-packages.log" install_packages "$ROOT.part"
	if [ -e "$ROOT.part/pins-replaced" ]; then
		sed 's/^/  /' "$ROOT.part/pins-replaced" >&2
	fi
	rm -rf --one-file-system "$ROOT"
	mv "$ROOT.part" "$ROOT"
}

if [ ! -e "$ROOT/versions" ]; then with_lock "$CACHE/toolchain.lock" make_root; fi
echo "$ROOT"
