#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Sees that the fence of the design stands: where unsafe code may be, what may be imported from where,
# and what every file keeps to. Usage: fence.sh [TREE]. Prints KTAP; fails on a breach.
set -euo pipefail
export LC_ALL=C
cd "${1:-$(dirname "$0")/../..}"

readonly MOST_LINES=650
ROOT=iommufd_rs.rs

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

# imports CHECK: what that check of imports.py finds.
imports() { sed -n "s/^$1: //p" "$SCRATCH/imports"; }

bindings() {
	imports bindings
	matches safe '(^|[^A-Za-z0-9_])bindings::'
}

words() { python3 -B selftests/host/words.py .; }

signatures() { python3 -B selftests/host/signatures.py "$@" kapi || :; }

safety() { python3 -B selftests/host/safety.py .; }

# The contracts of RangeOwner hold for these files. Any code that has a RANGES may change page tables.
readonly RANGE_OWNERS='^(ioas/(ranges|filler|domains|mmio|together)|device/msi)\.rs:'
# What these have of it, and the only places that name the types of RANGES.
readonly RANGE_TYPES='^(ioas/(ranges|together)|device/msi)\.rs:|^ioas/mod\.rs:[0-9]+: *ranges::IoasRanges,|^device/mod\.rs:[0-9]+:pub\(crate\) use msi::DoorbellRanges;'
# And those that say which ranges are filled, emptied and unpinned.
readonly RANGE_CALLERS='^ioas/(filler|domains|mmio|together|map|members|unmap)\.rs:'
# A function of members.rs that unmaps and unpins what it is given, and those that give it ranges.
readonly RANGE_FOLLOWERS='^ioas/(map|members|cut)\.rs:'
range_owners() {
	local start='(^|[^A-Za-z0-9_])' end='([^A-Za-z0-9_]|$)'
	matches safe "${start}RANGES$end" | grep -vE "$RANGE_OWNERS" || :
	matches safe "${start}(IoasRanges|DoorbellRanges|RangeOwner)$end" | grep -vE "$RANGE_TYPES" || :
	# Nothing gives a value away: what other files can name, another name, or the result of a function.
	matches safe "(${start}(pub|static|type|as)$end|->).*(RANGES|IoasRanges|DoorbellRanges)$end|(RANGES|IoasRanges|DoorbellRanges) as " |
		grep -vE '^ioas/(ranges|mod)\.rs:|^device/mod\.rs:|^device/msi\.rs:[0-9]+:pub\(crate\) struct DoorbellRanges' || :
	matches safe "${start}(fill_one|unfill_one|fill_together|Filler|mmio\.(map|unmap))$end|^ioas/.*[^A-Za-z0-9_.]release$end" |
		grep -vE "$RANGE_CALLERS|fn release\(&mut self" || :
	matches safe "${start}(catch_up|take_out_of_leaving)$end" | grep -vE "$RANGE_FOLLOWERS" || :
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

python3 -B selftests/host/imports.py . >"$SCRATCH/imports"

echo "KTAP version 1"
echo "1..18"
check "no unsafe code outside the fence" matches safe '(^|[^A-Za-z0-9_])unsafe([^A-Za-z0-9_]|$)'
check "no bindings outside the fence" bindings
check "unsafe code is forbidden outside the fence" not_forbidden
check "imports go downwards" imports arrows
check "no circle of imports among folders" imports folders
check "vendors are not known by name" imports vendors
check "nothing panics by name" matches code \
	'\.(unwrap|expect|unwrap_err|expect_err)\(|(^|[^A-Za-z0-9_])(panic|todo|unimplemented|unreachable)!'
check "indexing that could fail says why it cannot" unexplained PANIC '[A-Za-z0-9_)?][[][^]]*[a-z][^]]*[]]'
check "unsafe blocks say why they are sound" unexplained SAFETY '(^|[^A-Za-z0-9_])unsafe ([{]|impl )'
check "no file is longer than $MOST_LINES lines" too_long
check "every source file has its licence first" no_licence
check "no circle of imports among files" imports files
check "imports are in vertical groups" imports style
check "words that must not come back" words
check "no safe function of kapi takes a physical address or a raw pointer" signatures
check "an unsafe function of kapi without its unsafe is noticed" signatures --without-unsafe
check "SAFETY comments state one fact, about what is there" safety
check "only what abi/contracts.rs names changes page tables" range_owners
((BREACHES == 0))
