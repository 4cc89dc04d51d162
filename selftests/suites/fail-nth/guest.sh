# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd

# Each mock device is a line on the serial console, which is slow: only warnings go there.
echo N >/sys/module/printk/parameters/ignore_loglevel
dmesg -n 5

# On a kernel with KASAN and lockdep this takes its time.
LIMIT=1500
run iommu/iommufd_fail_nth
