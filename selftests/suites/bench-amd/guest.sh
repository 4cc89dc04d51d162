# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/bench.sh

measure_native bench-amd
