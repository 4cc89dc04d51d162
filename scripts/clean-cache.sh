#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Says what is in the cache folder, how large it is, and removes it. Asks first on a terminal; anywhere else
# CONFIRM=yes is needed. Only what the build scripts make is removed, whatever else is in the folder.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
! inside || die "the toolchain root that this runs in cannot be removed from within"
. "$TOP/scripts/root.sh"

[ -d "$CACHE" ] || { say "There is no $CACHE."; exit 0; }
# The names of entries end with a key. Folders of others may begin like them.
LIST=$(find "$CACHE" -mindepth 1 -maxdepth 1 -regextype posix-extended \( -name toolchain.lock -o -regex \
	'.*/(toolchain|linux|kernel|userland)-([^/]*-)?[0-9a-f]{16}(\.part|\.lock)?' \) | sort)
[ -n "$LIST" ] || { say "There is nothing of ours in $CACHE."; exit 0; }
mapfile -t ENTRIES <<<"$LIST"

for entry in "${ENTRIES[@]}"; do
	case $entry in
	*.lock) flock -n "$entry" true || die "a build is running: it has locked $entry" ;;
	esac
done

# An unfinished root of an ordinary user may have files that only its namespace may read and remove.
as_owner() {
	if is_root; then "$@"; else (check_namespace && exec_in_namespace "$@"); fi
}

say "In $CACHE:"
as_owner du -sh -c -- "${ENTRIES[@]}" | sed "s|$CACHE/||; s|^|  |" >&2
ANSWER=${CONFIRM:-}
if [ -z "$ANSWER" ] && [ -t 0 ]; then read -r -p "Remove all of it? Nothing else may use it now. [yes/no] " ANSWER; fi
[ "$ANSWER" = yes ] || die "nothing was removed; type CONFIRM=yes to remove it without a question"
as_owner rm -rf --one-file-system -- "${ENTRIES[@]}"
say "Removed."
