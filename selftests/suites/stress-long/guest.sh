# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

export STRESS_SECONDS=600
. /suite/like.sh
