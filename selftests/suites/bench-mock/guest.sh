# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/bench.sh

# measure LABEL MODULE: half a round, from loading the module to unloading it.
measure() {
	MODULE=$2
	load_iommufd
	have_measured "$1" mock
	unload_modules
}

quiet_console
take_turns bench-mock 60
