#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Runs the models. Arguments are passed to cargo test. Loom, the library that tries every order of
# threads, is Debian's.
set -euo pipefail
. "$(dirname "$0")/../../scripts/lib.sh"

exec "$TOP/scripts/cargo.sh" librust-loom-dev test \
	--manifest-path "$TOP/selftests/models/Cargo.toml" --target-dir "$BUILD/models" "$@"
