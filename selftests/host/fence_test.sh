#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Sees that fence.sh finds what it is there for: each breach is made in a copy of the tree. Prints
# KTAP; fails where one is overlooked.
set -euo pipefail
cd "$(dirname "$0")/../.."

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
TREE=$SCRATCH/tree
COUNT=0 MISSED=0

result() {
	COUNT=$((COUNT + 1))
	if ((!$1)); then echo "ok $COUNT $2"; else
		echo "not ok $COUNT $2"
		MISSED=$((MISSED + 1))
	fi
}

# finds CHECK FILE TEXT: with TEXT at the end of FILE that check of the fence fails, and no other.
finds() {
	local number=$1 file=$2 text=$3 found status=0
	mkdir -p "$TREE/$(dirname "$file")"
	[ ! -e "$TREE/$file" ] || cp "$TREE/$file" "$SCRATCH/saved"
	printf '%b\n' "$text" >>"$TREE/$file"
	found=$(bash "$TREE/selftests/host/fence.sh" "$TREE" | sed -n 's/^not ok \([0-9]*\).*/\1/p') || status=1
	((status)) && [ "$found" = "$number" ] && status=0 || status=1
	result "$status" "check $number: $file: ${text:0:60}${found:+ (failed: ${found//$'\n'/ })}"
	if [ -e "$SCRATCH/saved" ]; then mv "$SCRATCH/saved" "$TREE/$file"; else rm "$TREE/$file"; fi
}

# passes FILE TEXT: that is no breach.
passes() {
	local file=$1 text=$2 status=0
	cp "$TREE/$file" "$SCRATCH/saved"
	printf '%b\n' "$text" >>"$TREE/$file"
	bash "$TREE/selftests/host/fence.sh" "$TREE" >/dev/null || status=1
	result "$status" "no breach: $file: ${text:0:60}"
	mv "$SCRATCH/saved" "$TREE/$file"
}

mkdir "$TREE"
tar -c --exclude=./build --exclude=./.git --exclude=target . | tar -x -C "$TREE"
LICENCE='// SPDX-License-Identifier: GPL-2.0-only'

echo "KTAP version 1"
passes ioas/mod.rs ''
finds 1 ioas/mod.rs 'fn f() {\n    // SAFETY: It is not.\n    unsafe { g() }\n}'
finds 1 drivers/mod.rs '// SAFETY: It is not.\nunsafe impl Send for X {}'
passes ioas/mod.rs '// unsafe {'
passes kapi/mod.rs '// SAFETY: It is.\nunsafe impl Send for X {}'
finds 2 hwpt/mod.rs 'use kernel::bindings::page;'
finds 2 object/mod.rs 'fn f() {\n    kernel::bindings::BUG()\n}'
finds 3 iommufd_rs.rs 'mod stray;'
finds 3 stray/mod.rs "$LICENCE"
finds 4 object/mod.rs 'use crate::ioas::Ioas;'
finds 4 kapi/mod.rs 'use crate::object::Table;'
finds 4 ioas/mod.rs 'use crate::device::Device;'
finds 4 device/mod.rs 'fn f() {\n    crate::uapi::g()\n}'
finds 4 drivers/mod.rs 'use super::hwpt;'
finds 4 ioas/mod.rs 'use crate::{kapi::units, object::Ref};'
finds 5 hwpt/mod.rs 'use crate::device::Device;'
finds 6 device/mod.rs 'use crate::drivers::in_tree::InTree;'
finds 7 ioas/mod.rs 'const X: u8 = f().unwrap();'
finds 7 kapi/mod.rs 'fn f() {\n    panic!("no")\n}'
finds 7 abi/mod.rs 'fn f() {\n    unreachable!()\n}'
passes ioas/mod.rs '// It would panic!() and unwrap().\nconst X: &str = "panic!";'
finds 8 ioas/mod.rs 'fn f() {\n    list[index]\n}'
finds 8 abi/mod.rs 'fn f() {\n    g(&list[..len]);\n}'
passes abi/mod.rs 'fn f() {\n    // PANIC: It cannot.\n    g(&list[..len]);\n}'
passes abi/mod.rs '#[repr(C)]\nstruct S([u8; LEN]);'
finds 9 kapi/mod.rs 'fn f() {\n    // SAFETY: Of another.\n    g();\n    unsafe { h() }\n}'
finds 9 abi/mod.rs 'unsafe impl Send for X {}'
finds 10 selftests/runner/long.py "# SPDX-License-Identifier: GPL-2.0-only$(printf '\\n%.0s' {1..650})"
passes selftests/runner/tests.py ''
finds 11 scripts/new.sh '#!/bin/sh\necho'
finds 11 scripts/new '#!/bin/sh\necho'
finds 11 ioas/stray.rs '\n// SPDX-License-Identifier: GPL-2.0-only'
echo "1..$COUNT"
((MISSED == 0))
