#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Formats every Rust file by the kernel's rules. Usage: format.sh [--check]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
inside || exec "$TOP/scripts/enter" "$0" "$@"

RULES=$("$TOP/scripts/kernel.sh")/source/.rustfmt.toml
cd "$TOP"
find . -path ./build -prune -o -path ./.git -prune -o -path '*/target' -prune -o \
	-name '*.rs' ! -name '*generated*' -print >"$BUILD/rust-files"
[ -s "$BUILD/rust-files" ] || die "there is no Rust file in $TOP"
COLOUR=never
if [ -t 1 ]; then COLOUR=auto; fi
xargs rustfmt --color "$COLOUR" --config-path "$RULES" "$@" <"$BUILD/rust-files"
