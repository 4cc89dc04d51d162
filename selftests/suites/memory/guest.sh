# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd

run shared none
