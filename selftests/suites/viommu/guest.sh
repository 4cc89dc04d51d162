# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd

# Each mock device is a line on the serial console, which is slow: only warnings go there.
echo N >/sys/module/printk/parameters/ignore_loglevel
dmesg -n 5

run viommu none
