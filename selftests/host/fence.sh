#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Sees that the fence of the design stands: where unsafe code may be, who may know whom, and what
# every file keeps to. Usage: fence.sh [TREE]. Prints KTAP; fails on a breach.
set -euo pipefail
export LC_ALL=C
cd "${1:-$(dirname "$0")/../..}"

readonly MOST_LINES=650
ROOT=iommufd_rs.rs

# Who may know whom, besides itself: the arrows of the design.
declare -A MAY_KNOW=(
	[abi]="uapi compat viommu device hwpt ioas object kapi ffi"
	[uapi]="compat viommu device hwpt ioas object kapi"
	[compat]="viommu device hwpt ioas object kapi"
	[viommu]="compat device hwpt drivers ioas object kapi"
	[device]="compat viommu hwpt drivers ioas object kapi"
	[hwpt]="compat viommu device drivers ioas object kapi"
	[drivers]="kapi"
	[ioas]="object kapi"
	[object]="kapi"
	[kapi]="ffi"
	[ffi]=""
)
# Among these the order is free, but there is one.
PEERS="compat viommu device hwpt"
# These are what the fence fences.
UNSAFE_FOLDERS="abi kapi ffi"

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT

find . \( -path ./build -o -path ./.git -o -path ./patches -o -name target -o -name __pycache__ \) -prune \
	-o -type f -printf '%P\n' | sort >"$SCRATCH/files"
grep '\.rs$' "$SCRATCH/files" | grep -v '^selftests/' >"$SCRATCH/rust" || :
[ -s "$SCRATCH/rust" ] && [ -e "$ROOT" ] || { echo "fence.sh: no $ROOT and its folders in $PWD" >&2; exit 2; }

# The code of all Rust files as FILE:LINE:CODE, without comments and what is in quotes.
tr '\n' '\0' <"$SCRATCH/rust" | xargs -0 awk '
	{
		code = $0
		gsub(/"([^"\\]|\\.)*"/, "\"\"", code)
		sub(/\/\/.*/, "", code)
		if (code ~ /[^ \t]/)
			print FILENAME ":" FNR ":" code
	}' >"$SCRATCH/code"
# And of those files that the fence keeps safe.
grep -vE "^((${UNSAFE_FOLDERS// /|})/|drivers/[^/]+/raw\.rs:)" "$SCRATCH/code" >"$SCRATCH/safe" || :

COUNT=0 BREACHES=0

# check NAME COMMAND...: what the command prints are breaches.
check() {
	local name=$1 found
	shift
	COUNT=$((COUNT + 1))
	found=$("$@")
	if [ -z "$found" ]; then
		echo "ok $COUNT $name"
	else
		BREACHES=$((BREACHES + 1))
		sed 's/^/# /' <<<"$found"
		echo "not ok $COUNT $name"
	fi
}

matches() { grep -E "$2" "$SCRATCH/$1" || :; }

folders() { sed -n 's|/.*||p' "$SCRATCH/rust" | sort -u; }

# The parts that nobody declared safe. What drivers/ declares for itself counts as well, since the
# raw.rs of a vendor cannot be allowed to be unsafe under a parent that forbids it.
not_forbidden() {
	local file part
	for file in "$ROOT" drivers/mod.rs drivers/*/mod.rs; do
		[ -e "$file" ] || continue
		awk -v file="$file" '
			/^[ \t]*(\/\/|$)/ { next }
			/^#\[forbid\(unsafe_code\)\]/ { forbidden = 1; next }
			/^#\[/ { next }
			/^(pub(\([a-z]+\))? )?mod [a-z0-9_]+;/ {
				sub(/;.*/, "")
				print file, $NF, forbidden + 0
			}
			{ forbidden = 0 }' "$file"
	done >"$SCRATCH/mods"
	while read -r file part forbidden; do
		((!forbidden)) || continue
		case $file:$part in
		"$ROOT":drivers) [ -n "$(compgen -G 'drivers/*/raw.rs')" ] && continue ;;
		"$ROOT":selftests) continue ;;
		"$ROOT":*) [[ " $UNSAFE_FOLDERS " = *" $part "* ]] && continue ;;
		drivers/*/mod.rs:raw) continue ;;
		drivers/mod.rs:*) grep -q "^$ROOT drivers 1" "$SCRATCH/mods" && continue
			[ -e "drivers/$part/raw.rs" ] && continue ;;
		*) grep -q "^$ROOT drivers 1" "$SCRATCH/mods" && continue
			[[ $file = drivers/*/mod.rs ]] && [ ! -e "${file%mod.rs}raw.rs" ] && continue ;;
		esac
		echo "$file: mod $part is not under #[forbid(unsafe_code)]"
	done <"$SCRATCH/mods"
	# What exists is declared somewhere, or nobody forbids it anything.
	for part in $(folders); do
		[ "$part" = "$ROOT" ] || grep -q "^$ROOT $part " "$SCRATCH/mods" || echo "$part/: not declared in $ROOT"
	done
}

# Which part of the crate each line names, as FILE:LINE FOLDER PART.
knowledge() {
	awk -F: '
		{
			file = $1
			line = $2
			folder = file
			sub(/\/.*/, "", folder)
			code = substr($0, length(file) + length(line) + 3)
			while (match(code, /(crate|super)::([a-z_0-9]+|\{)/)) {
				part = substr(code, RSTART, RLENGTH)
				code = substr(code, RSTART + RLENGTH)
				sub(/.*::/, "", part)
				print file ":" line, folder, part
			}
		}' "$SCRATCH/code"
}

wrong_arrows() {
	local place folder part
	while read -r place folder part; do
		if [ "$part" = "{" ]; then
			echo "$place: one import a line, so that it can be checked"
		elif [ "$folder" = "${place%%:*}" ] || [ "$folder" = "$part" ] || [ -z "${MAY_KNOW[$part]+known}" ]; then
			:
		elif [ -z "${MAY_KNOW[$folder]+known}" ]; then
			echo "$place: nothing says what $folder/ may know"
		elif [[ " ${MAY_KNOW[$folder]} " != *" $part "* ]]; then
			echo "$place: $folder/ must not know $part/"
		fi
	done <"$SCRATCH/knowledge"
}

circles() {
	awk -v peers="$PEERS" '
		BEGIN { for (n = split(peers, list, " "); n; n--) peer[list[n]] }
		($2 in peer) && ($3 in peer) && $2 != $3 { print $2, $3 }' "$SCRATCH/knowledge" |
		sort -u >"$SCRATCH/arrows"
	# It fails at a circle, and says what is in it.
	tsort "$SCRATCH/arrows" 2>&1 >/dev/null | sed -n 's/^tsort: \([a-z]*\)$/\1/p' || :
}

# Vendors are known to drivers/ alone.
vendors_named() {
	local vendor
	for vendor in drivers/*/; do
		vendor=$(basename "$vendor")
		grep -v '^drivers/' "$SCRATCH/code" | grep -E "drivers::$vendor([^a-z0-9_]|$)" || :
	done
}

# unexplained WORD PATTERN: code that matches and whose statement has no comment "WORD: ..." above.
unexplained() {
	tr '\n' '\0' <"$SCRATCH/rust" | xargs -0 awk -v word="$1:" -v pattern="$2" '
		FNR == 1 { explained = 0 }
		index($0, "//") && index($0, word) { explained = 1 }
		/^[ \t]*(\/\/|#\[)/ { next }
		{
			code = $0
			gsub(/"([^"\\]|\\.)*"/, "\"\"", code)
			sub(/[ \t]*\/\/.*/, "", code)
			if (code ~ pattern && !explained)
				print FILENAME ":" FNR ":" $0
			# A statement may go on in the next line.
			if (code == "" || code ~ /[;{},]$/)
				explained = 0
		}'
}

too_long() {
	grep -E '\.(rs|c|h|sh|py)$' "$SCRATCH/files" | tr '\n' '\0' | xargs -0 awk -v most="$MOST_LINES" '
		FNR == most + 1 { print FILENAME ": more than " most " lines" }'
}

# The licence is in the first line that can have it: after #!, where there is that.
no_licence() {
	local file lines
	while read -r file; do
		{ IFS= read -r first && IFS= read -r second || :; } 2>/dev/null <"$file"
		case $file in
		*.rs | *.c | *.h | *.S | *.sh | *.py | *Makefile | *Kbuild | *Kconfig) ;;
		*) [[ $first = '#!'* ]] || continue ;;
		esac
		lines=$first
		[[ $first != '#!'* ]] || lines=$second
		[[ $lines = *'SPDX-License-Identifier: GPL-2.0'* ]] || echo "$file"
	done <"$SCRATCH/files"
}

knowledge >"$SCRATCH/knowledge"

echo "KTAP version 1"
echo "1..11"
check "no unsafe code outside the fence" matches safe '(^|[^A-Za-z0-9_])unsafe([^A-Za-z0-9_]|$)'
check "no bindings outside the fence" matches safe '(^|[^A-Za-z0-9_])(bindings::|crate::ffi([^A-Za-z0-9_]|$))'
check "unsafe code is forbidden outside the fence" not_forbidden
check "knowledge goes downwards" wrong_arrows
check "no circle among $PEERS" circles
check "vendors are not known by name" vendors_named
check "nothing panics by name" matches code \
	'\.(unwrap|expect|unwrap_err|expect_err)\(|(^|[^A-Za-z0-9_])(panic|todo|unimplemented|unreachable)!'
check "indexing that could fail says why it cannot" unexplained PANIC '[A-Za-z0-9_)?][[][^]]*[a-z][^]]*[]]'
check "unsafe blocks say why they are sound" unexplained SAFETY '(^|[^A-Za-z0-9_])unsafe ([{]|impl )'
check "no file is longer than $MOST_LINES lines" too_long
check "every source file has its licence first" no_licence
((BREACHES == 0))
