#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Tests that docs.py finds what it is there for: each test breaks one thing in a copy of the tree. Prints
# KTAP.
set -euo pipefail
cd "$(dirname "$0")/../.."

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
TREE=$SCRATCH/tree
COUNT=0 FAILED=0

result() {
	COUNT=$((COUNT + 1))
	if ((!$1)); then echo "ok $COUNT $2"; else
		echo "not ok $COUNT $2"
		FAILED=$((FAILED + 1))
	fi
}

check() { python3 -B selftests/host/docs.py "$TREE"; }

# finds MESSAGE FILE TEXT: with TEXT at the end of FILE there is that one complaint, and no other.
finds() {
	local status=0
	cp "$TREE/$2" "$SCRATCH/saved"
	printf '\n%b\n' "$3" >>"$TREE/$2"
	[ "$(check)" = "$1" ] || status=1
	result "$status" "$1"
	mv "$SCRATCH/saved" "$TREE/$2"
}

mkdir "$TREE"
tar -c --exclude=./build --exclude=./.git --exclude=target . | tar -x -C "$TREE"

echo "KTAP version 1"
status=0
check || status=1
result "$status" "the tree as it is"
finds "Documentation/todo.rst: there is no kapi/nothing.rs" Documentation/todo.rst 'See ``kapi/nothing.rs``.'
finds "README.md: there is no selftests/none" README.md 'See `selftests/none`.'
finds "README.md: there is no Documentation/none.rst, to which it links" README.md '[x](Documentation/none.rst)'
finds "Documentation/todo.rst: there is no page nothing" Documentation/todo.rst 'See :doc:`nothing`.'
finds "Documentation/todo.rst: there is no goal nothing of make" Documentation/todo.rst 'Run ``make nothing``.'
finds "README.md: there is no suite nothing" README.md 'make test SUITES="uapi nothing"'
finds "Documentation/todo.rst: there is no type Nothing" Documentation/todo.rst '``Nothing::inner`` is it.'
finds "Documentation/todo.rst: there is no nothing_at_all in any type" Documentation/todo.rst '``Ioas::nothing_at_all()`` is it.'
finds "no page has make nothing" Makefile '.PHONY: nothing'
finds "scripts/lib.sh: there is no Documentation/nothing.rst" scripts/lib.sh '# See Documentation/nothing.rst.'
finds "Documentation/todo.rst: the line below 'A title' is too short" Documentation/todo.rst 'A title\n======\n\nText.'
finds "Documentation/todo.rst: the section 'A title' has no text" Documentation/todo.rst 'A title\n======='
finds "Documentation/todo.rst: the section 'A title' has no text" Documentation/todo.rst 'A title\n=======\n\nOther\n=====\n\nText.'
finds "Documentation/todo.rst: there is no empty line above 'A title'" Documentation/todo.rst 'Text.\nA title\n=======\n\nText.'
finds "Documentation/todo.rst: there is no step 99 in install" Documentation/todo.rst 'See :doc:`install`, step 99.'
finds "README.md: there is no step 99 in install" README.md '[x](Documentation/install.rst), step 99'
finds "Documentation/todo.rst: there is no section 'No such section' in vmm" Documentation/todo.rst 'See :doc:`vmm`, "No such\nsection".'
finds "Documentation/todo.rst: line $(($(wc -l <"$TREE/Documentation/todo.rst") + 2)) has more than 130 columns" Documentation/todo.rst \
	"$(printf 'x%.0s' {1..131})"
finds "Documentation/locking.rst: lacks the lock Ioas::none" ioas/mod.rs 'const X: &str = "Ioas::none";'
cp "$TREE/Documentation/todo.rst" "$SCRATCH/saved"
truncate -s -1 "$TREE/Documentation/todo.rst"
status=0
[ "$(check)" = "Documentation/todo.rst: there is no newline at the end" ] || status=1
result "$status" "a page without a newline at its end"
mv "$SCRATCH/saved" "$TREE/Documentation/todo.rst"
echo >"$TREE/Documentation/new.rst"
status=0
[ "$(check)" = "README.md: does not list Documentation/new.rst" ] || status=1
result "$status" "a page that README does not list"
rm "$TREE/Documentation/new.rst"
sed -i 's/^IOMMUFD_RS_VERSION := .*/IOMMUFD_RS_VERSION := 99.0.0/' "$TREE/Kbuild"
status=0
[[ "$(check)" == "CHANGELOG.md: the newest version is "*", that of Kbuild 99.0.0" ]] || status=1
result "$status" "a version that the change log does not have"
# bugs MESSAGE TEXT: with TEXT at the end of the page on bugs, bugs_page.py has that to say.
bugs() {
	local page=$TREE/Documentation/bugs.rst status=0
	cp "$page" "$SCRATCH/saved"
	printf '\n%s\n' "$2" >>"$page"
	[ "$(python3 -B selftests/host/bugs_page.py "$TREE")" = "Documentation/bugs.rst: $1" ] || status=1
	result "$status" "$1"
	mv "$SCRATCH/saved" "$page"
}
bugs "there is no suite nothing" '``nothing``: "a test"'
bugs 'no program of the suite uapi has a test "nothing"' '``uapi``: "nothing"'
bugs "there is no unit test nothing" '``kunit``: ``nothing``'
# reasons MESSAGE FILE EXPRESSION: with the sed EXPRESSION applied to FILE, scripts/reasons.py has that to say.
reasons() {
	local status=0
	cp "$TREE/$2" "$SCRATCH/saved"
	sed -i "$3" "$TREE/$2"
	[[ "$(python3 -B scripts/reasons.py --check "$TREE")" == *"$1"* ]] || status=1
	result "$status" "reasons: $1"
	mv "$SCRATCH/saved" "$TREE/$2"
}
reasons "out of date" Documentation/reasons.rst '$d'
reasons "out of date" kapi/reason/table.rs 's/limit of locked memory/limit/'
reasons "of which" kapi/reason/table.rs 's/c"map-limit"/"map-limit"/'
reasons "MapLimit is called map-limits" kapi/reason/table.rs 's/c"map-limit"/c"map-limits"/'
reasons "code 1291 twice" kapi/reason/table.rs 's/= 0x050a,/= 0x050b,/'
reasons "more than one number" kapi/reason/table.rs 's/{} pages over/{} pages over {}/'
reasons "no code uses" kapi/reason/table.rs 's/^    MapLimit = 0x050a/    MapLimitX = 0x050a/; s/c"map-limit"/c"map-limit-x"/'
reasons "Impossible is returned with EFAULT" kapi/reason/table.rs 's/EOVERFLOW EFAULT\], c"impossible"/EOVERFLOW], c"impossible"/'
reasons "no test asserts fault-answer" selftests/guest/fault.c 's/"fault-answer"/NULL/'
reasons "a test asserts killed, which is listed as untested" selftests/guest/fault.c 's/"fault-answer"/"killed"/'
reasons "killed is listed as untested and is no reason" kapi/reason/table.rs 's/c"killed"/c"killer"/'
echo "1..$COUNT"
[ "$FAILED" = 0 ]
