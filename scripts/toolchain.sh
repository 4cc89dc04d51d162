#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Makes a toolchain root once and prints its path. TOOLCHAIN is the name of a list beside `common` in
# scripts/toolchain. The root is a Debian 13 tree under the cache folder, named by its lists, so a changed
# list makes a new root and an old one stays usable. KVERSION asks for another kernel than the lists do.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
if inside; then echo /; exit; fi
. "$TOP/scripts/root.sh"

SUITE=trixie
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
LISTS=$TOP/scripts/toolchain
WANTED=("$LISTS/common" "$LISTS/$TOOLCHAIN")

names() { find "$LISTS" -type f ! -name '*.py' ! -name common -printf '%f\n' | sort | tr '\n' ' '; }

[ -e "${WANTED[1]}" ] && [[ " $(names)" = *" $TOOLCHAIN "* ]] ||
	die "there is no toolchain '$TOOLCHAIN'; type TOOLCHAIN= and one of: $(names)"
ROOT=$CACHE/toolchain-$TOOLCHAIN-$( (cat "${WANTED[@]}"; echo "${KVERSION:-}") | key)

in_root() {
	exec_in_root "$ROOT.part" "$LISTS:/mnt" -- env -i HOME=/root LANG=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# need_mmdebstrap: installs it, where root runs this on a Debian; says what to install otherwise.
need_mmdebstrap() {
	local options=(-q -y -o "Acquire::http::Timeout=$SILENCE" -o "Acquire::https::Timeout=$SILENCE")
	command -v mmdebstrap >/dev/null && return 0
	is_root && command -v apt-get >/dev/null ||
		die "the toolchain root is made by mmdebstrap: install the packages mmdebstrap and debian-archive-keyring"
	network 10 apt-get "${options[@]}" update
	DEBIAN_FRONTEND=noninteractive network 10 apt-get "${options[@]}" install mmdebstrap debian-archive-keyring
}

bootstrap() {
	local part=$1 setting options=() mirror="mirror ${IOMMUFD_RS_MIRROR:-of mmdebstrap}"
	# Another mirror needs another base, because the root's sources name the one that it came from.
	[ "$(cat "$part/base-complete" 2>/dev/null)" != "$mirror" ] || return 0
	need_mmdebstrap
	for setting in "Acquire::http::Timeout \"$SILENCE\"" "Acquire::https::Timeout \"$SILENCE\"" \
		'Acquire::Retries "1"'; do
		options+=(--aptopt="$setting")
	done
	# mmdebstrap looks for it itself, but only where gpg is installed; outside Debian apt does not know it.
	if [ -e "$KEYRING" ]; then options+=(--keyring="$KEYRING"); fi
	# mmdebstrap knows a mirror; IOMMUFD_RS_MIRROR may name a closer one.
	network 15 "$0" --in-namespace bash -euc 'rm -rf --one-file-system "$1"; exec mmdebstrap "${@:2}"' -- \
		"$part" --mode=root --variant=minbase --include=ca-certificates,python3 "${options[@]}" \
		"$SUITE" "$part" ${IOMMUFD_RS_MIRROR:+"$IOMMUFD_RS_MIRROR"} || {
		echo "try again later, or another mirror: IOMMUFD_RS_MIRROR=http://... make ..."
		return 1
	}
	# Backports come from the mirror that the new root's own sources already name.
	sed -n "/^deb /s/ $SUITE / $SUITE-backports /p" "$part/etc/apt/sources.list" | head -n 1 \
		>"$part/etc/apt/sources.list.d/backports.list"
	cp -L /etc/resolv.conf "$part/etc/resolv.conf"
	# A machine that reaches its mirror through a proxy says so in its apt configuration.
	if command -v apt-config >/dev/null; then
		apt-config dump --format '%f "%v";%n' | grep -i '^Acquire::https\?::.*proxy' \
			>"$part/etc/apt/apt.conf.d/90proxy" || true
	fi
	echo "$mirror" >"$part/base-complete"
}

install_packages() {
	local folders status=0
	folders=$(find "$TOP/patches" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*' ! -name '*[!0-9.]*' -printf '%f ')
	(in_root python3 -B /mnt/install.py --toolchain "$TOOLCHAIN" --suite "$SUITE" --kernel "${KVERSION:-}" \
		--folders "$folders" --silence "$SILENCE" --tries "$TRIES" /mnt/common "/mnt/$TOOLCHAIN") || status=$?
	# In a user's namespace what belongs to others than its root could not be deleted by the user outside.
	is_root || (exec_in_namespace find "$ROOT.part" ! -uid 0 -exec chown -h 0:0 {} +)
	return "$status"
}

make_root() {
	[ ! -e "$ROOT/versions" ] || return 0
	check_namespace
	say "Making the toolchain root $TOOLCHAIN (once, about 2 minutes): $ROOT"
	step "toolchain: base system" "$LOGS/toolchain-base.log" bootstrap "$ROOT.part"
	step "toolchain: packages" "$LOGS/toolchain-packages.log" install_packages
	sed 's/^/  /' "$ROOT.part/chosen" >&2
	rm -rf --one-file-system "$ROOT"
	mv "$ROOT.part" "$ROOT"
}

if [ "${1:-}" = --in-namespace ]; then exec_in_namespace "${@:2}"; fi
if [ ! -e "$ROOT/versions" ]; then with_lock "$CACHE/toolchain.lock" make_root; fi
echo "$ROOT"
