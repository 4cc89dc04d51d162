#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Runs the models. Arguments are passed to cargo test. Loom, the library that tries every order of
# threads, is Debian's: it is unpacked once, and cargo takes no other crates.
set -euo pipefail
. "$(dirname "$0")/../../scripts/lib.sh"
inside || exec "$TOP/scripts/enter" "$0" "$@"

CRATES=$("$TOP/scripts/userland.sh" "$(uname -m | sed 's/aarch64/arm64/')" librust-loom-dev)/usr/share/cargo/registry
exec cargo test --offline --manifest-path "$TOP/selftests/models/Cargo.toml" --target-dir "$BUILD/models" \
	--config 'source.crates-io.replace-with="debian"' --config "source.debian.directory=\"$CRATES\"" "$@"
