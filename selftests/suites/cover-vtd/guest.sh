# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_igb
export FIRST_BDF="$BDF" SECOND_CDEV="$CDEV"
bind_igb
export SECOND_BDF="$BDF"

run uapi "$CDEV"
run compat "$BDF"
run pair none
run known-bugs "$CDEV"
run observe "$CDEV" fdinfo refused readers cases
