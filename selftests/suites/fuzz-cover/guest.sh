# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

quiet_console
cover
load_iommufd
fail_everything
run fuzz load 1 "/modules/$MODULE.ko"
run fuzz race 2 60
run fuzz kill 30
