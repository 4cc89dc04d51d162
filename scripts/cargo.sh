#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Runs cargo with crates of Debian: those of a package and of what it needs, which are unpacked once. It
# takes no others. Usage: cargo.sh PACKAGE ARGUMENT...
set -euo pipefail
. "$(dirname "$0")/lib.sh"
inside || exec "$TOP/scripts/enter" "$0" "$@"

CRATES=$("$TOP/scripts/userland.sh" "$(uname -m | sed 's/aarch64/arm64/')" "$1")/usr/share/cargo/registry
exec cargo --offline --config 'source.crates-io.replace-with="debian"' \
	--config "source.debian.directory=\"$CRATES\"" "${@:2}"
