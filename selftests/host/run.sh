#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Runs the tests of the module's pure logic. Arguments are passed to cargo test. Proptest, the library that
# makes random cases and finds smaller ones that fail too, is Debian's.
set -euo pipefail
. "$(dirname "$0")/../../scripts/lib.sh"

exec "$TOP/scripts/cargo.sh" librust-proptest-dev test \
	--manifest-path "$TOP/selftests/host/Cargo.toml" --target-dir "$BUILD/host" "$@"
