# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/bench.sh

take_turns bench-latency 300
