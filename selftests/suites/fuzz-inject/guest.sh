# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

quiet_console
load_iommufd
fail_everything
run fuzz inject 1
run fuzz load 1 "/modules/$MODULE.ko"
