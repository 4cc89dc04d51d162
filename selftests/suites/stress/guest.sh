# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_igb
export SECOND_CDEV="$CDEV"
bind_igb

run observe "$CDEV" readers
run stress "$CDEV"
