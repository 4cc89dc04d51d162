# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/bench.sh

echo 1 >/proc/sys/vm/compact_memory
take_turns bench 180 untraced iommufd-rs-second
