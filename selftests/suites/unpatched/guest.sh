# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# What vfio-vtd does: it loads the modules and binds the card too.
. /suite/like.sh
echo never >/sys/kernel/mm/transparent_hugepage/shmem_enabled

NAME="the module says that drivers cannot call it"
if [ "$MODULE" != iommufd-rs ]; then
	:
elif dmesg | grep -q 'no calls from built-in drivers on this kernel'; then
	ok "$NAME"
else
	not_ok "$NAME" "the kernel's log has no line of it"
fi

run uapi "$CDEV"
run compat "$BDF"
