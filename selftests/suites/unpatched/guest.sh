# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# What vfio-vtd does: it loads the modules and binds the card too.
. /suite/like.sh
echo never >/sys/kernel/mm/transparent_hugepage/shmem_enabled

# says_once NAME LINE: check that the module has logged a line once.
says_once() {
	local times
	times=$(dmesg | grep -c "iommufd_rs: $2\$") || true
	if [ "$times" = 1 ]; then
		ok "$1"
	else
		not_ok "$1" "the kernel's log has the line $times times"
	fi
}

if [ "$MODULE" = iommufd-rs ]; then
	says_once "the module says that drivers cannot call it" "no calls from built-in drivers on this kernel"
	says_once "the module says that no driver has a door" "no native backends on this kernel"
	says_once "the module says that page tables take no lists" \
		"scattered memory is mapped page by page on this kernel"
fi

run uapi "$CDEV"
run compat "$BDF"
