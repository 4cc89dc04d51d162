# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_igb

run tracing "$CDEV"
run debugfs "$CDEV"
run observe "$CDEV" mock
