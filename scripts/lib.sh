# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Shared by the build scripts: where things live, how progress and failure are shown.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${IOMMUFD_RS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/iommufd-rs}
ARCH=${ARCH:-x86_64}
TOOLCHAIN=${TOOLCHAIN:-debian13}
BUILD=$TOP/build
# shellcheck disable=SC2034
LOGS=$BUILD/logs

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# inside: whether this is the toolchain root already. Scripts that work there go there by `enter`.
inside() { [ -n "${IOMMUFD_RS_INSIDE:-}" ]; }

last_line() { tail -n 1 "$1" | tr -s '[:space:]' ' ' | tr -d '[:cntrl:]'; }

# step NAME LOG COMMAND...: run a long command with its output in LOG, show elapsed time meanwhile
# and the last lines of the log if it fails.
step() {
	local name=$1 log=$2 start=$SECONDS pid status=0 last=0 stopped=0
	shift 2
	mkdir -p "$(dirname "$log")"
	# A process group of its own, so that an interrupt ends all of it.
	set -m
	if inside; then sed 's/^/# /' /chosen; fi >"$log"
	"$@" >>"$log" 2>&1 </dev/null &
	set +m
	pid=$!
	trap 'stopped=1; kill -- "-$pid"' INT TERM
	while kill -0 "$pid" 2>/dev/null; do
		if [ -t 2 ]; then
			printf '\r\033[K  %-34s %4ds  %.40s' "$name" $((SECONDS - start)) "$(last_line "$log")" >&2
		elif ((SECONDS - start - last >= 60)); then
			last=$((SECONDS - start))
			say "  $name: $last s ... $(last_line "$log")"
		fi
		sleep 0.2
	done
	wait "$pid" || status=$?
	trap - INT TERM
	((!stopped)) || exit 130
	[ ! -t 2 ] || printf '\r\033[K' >&2
	if ((status)); then
		say "  $name: FAILED after $((SECONDS - start)) s (exit status $status)"
		say "  the last lines of $log:"
		tail -n 20 "$log" | sed 's/^/    | /' >&2
		say "  Put right what they say and run the same command again: finished steps are kept."
		return "$status"
	fi
	printf '  %-34s %4ds\n' "$name" $((SECONDS - start)) >&2
}

# key TEXT-ON-STDIN: the name of a cache entry made from what is on standard input.
key() { sha256sum | cut -c1-16; }

# What asks a mirror gives up a connection after so many seconds without a byte, and is tried so often.
SILENCE=${IOMMUFD_RS_SILENCE:-30}
TRIES=${IOMMUFD_RS_TRIES:-3}

# network MINUTES COMMAND...: a step that asks a mirror: it ends in that time, and is tried again.
network() {
	local limit=$1 status try
	shift
	for ((try = 1; try <= TRIES; try++)); do
		status=0
		timeout --foreground --kill-after=10 "${limit}m" "$@" || status=$?
		((status)) || return 0
		((status != 124)) || say "not over after $limit minutes"
		say "attempt $try of $TRIES failed (exit status $status): $*"
		((try == TRIES)) || sleep $((2 * try))
	done
	return "$status"
}

# with_lock FILE COMMAND...: two builds at once take turns instead of spoiling each other's work.
with_lock() {
	local lock=$1
	shift
	mkdir -p "$(dirname "$lock")"
	(
		if ! flock -n 9; then
			say "waiting for another build to finish ($lock) ..."
			flock 9
		fi
		"$@"
	) 9>"$lock"
}
