# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

. /lib/fuzz.sh

quiet_console
run fuzz check
fuzz corpus >/tmp/programs
both /tmp/programs
compared /tmp/programs /tmp/c /tmp/ours
minimise
report_findings
calls="ioas_map hwpt_alloc hwpt_invalidate ioas_change_process fault_queue_alloc viommu_alloc vdevice_alloc veventq_alloc
	hw_queue_alloc pasid_attach"
# Some programs with each are enough.
for call in $calls; do
	fuzz corpus "$call" | awk -v RS= -v ORS='\n\n' 'NR <= 4'
done >/tmp/some
# shellcheck disable=SC2086
succeed /tmp/some $calls
