# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# How the toolchain root is entered: in a mount namespace of its own, which goes with the command. Root
# needs no more. Anybody else gets a user namespace too, where they are root and the user IDs that
# /etc/subuid gives them are everybody else.

is_root() { [ "$(id -u)" = 0 ]; }

# exec_in_namespace COMMAND...: goes on as a command where a root can be made and entered.
exec_in_namespace() {
	if is_root; then exec unshare --mount -- "$@"; fi
	exec unshare --user --map-root-user --map-auto --mount -- "$@"
}

# check_namespace: ends the run, and says what is missing, if there can be no such namespace.
check_namespace() {
	local why
	! why=$(exec_in_namespace true 2>&1) || return 0
	! is_root || die "no mount namespace can be made here: a container must be a privileged one ($why)"
	command -v newuidmap >/dev/null ||
		die "without root this needs newuidmap: install the package uidmap, or run this as root"
	grep -q "^\($(id -un)\|$(id -u)\):" /etc/subuid 2>/dev/null ||
		die "without root this needs user IDs of yours in /etc/subuid and /etc/subgid: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un), or run this as root"
	[ "$(cat /proc/sys/kernel/apparmor_restrict_unprivileged_userns 2>/dev/null)" != 1 ] ||
		die "AppArmor keeps users from making namespaces here: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run this as root"
	die "no user namespace can be made here ($why); run this as root"
}

# exec_in_root ROOT FOLDER... -- COMMAND...: goes on as a command in a root that sees these folders under
# their own names; one written as FROM:TO is seen under another one.
exec_in_root() {
	# A user's namespace may show the machine's /proc and /sys, but not have them anew. Debian has chroot in
	# a folder that is not in the PATH of an ordinary user.
	# shellcheck disable=SC2016
	exec_in_namespace bash -euc '
		PATH=$PATH:/usr/sbin:/sbin
		root=$1; shift
		mount --make-rprivate /
		mount --bind "$root" "$root"
		mount --rbind /dev "$root/dev"
		mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
		mount -t sysfs sysfs "$root/sys" 2>/dev/null || mount --rbind /sys "$root/sys"
		mount -t tmpfs tmpfs "$root/tmp"
		while [ "$1" != -- ]; do
			if [ -d "${1%%:*}" ]; then
				mkdir -p "$root${1#*:}"
				mount --rbind "${1%%:*}" "$root${1#*:}"
			fi
			shift
		done
		shift
		exec chroot "$root" "$@"' -- "$@"
}
