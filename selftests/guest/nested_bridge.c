// SPDX-License-Identifier: GPL-2.0-only
/* A vIOMMU, a vDEVICE and commands for edu behind a PCIe-to-PCI bridge. */
#include <stdlib.h>

#include "nested_call.h"

/* Of a device behind a PCIe-to-PCI bridge, which has the StreamID of the bridge as well. */
static void several_streams(struct fixture *none)
{
	uint32_t marker = by_the_driver() ? 0x4d40 : 0x4d00;
	struct nested n;

	WANT(open_parent(&n, getenv("CDEV")), 0);
	WANT(viommu(&n), 0);
	WANT(vdevice(&n), by_the_driver() ? -EOPNOTSUPP : 0);
	/* What the runner looks for in QEMU's trace, see smmu_batches.c. */
	WANT(submit_one(&n, by_asid(marker)), 0);
	WANT(submit_one(&n, by_op(OP_NH_ALL)), 0);
	WANT(submit_one(&n, by_asid(marker + 1)), 0);
	note("between %u and %u: 1 1 1", marker, marker + 1);
	if (!by_the_driver()) {
		command both[2] = { by_vsid(OP_CFGI_CD, VSID), by_vsid(OP_CFGI_CD_ALL, VSID) };
		uint32_t done;

		/* QEMU knows one of the StreamIDs, the bridge's, by which DMA comes. */
		WANT(submit_one(&n, by_asid(marker + 2)), 0);
		WANT(submit_one(&n, both[0]), 0);
		WANT(submit_one(&n, by_asid(marker + 3)), 0);
		note("between %u and %u: 1 2 1 1", marker + 2, marker + 3);
		WANT(submit_one(&n, by_asid(marker + 4)), 0);
		WANT(submit(&n, both, 2, &done), 0);
		WANT(done, 2);
		WANT(submit_one(&n, by_asid(marker + 5)), 0);
		note("between %u and %u: 1 4 1 1", marker + 4, marker + 5);
	}
	close_nested(&n);
}

/*
 * The bridge is in the device's IOMMU group, so it is attached with it; but it is bound to no driver, so it
 * has no vDEVICE, which a first stage needs.
 */
static void bridge_without_vdevice(struct fixture *none)
{
	uint32_t both, bypass, aborting;
	struct nested n;

	WANT(open_parent(&n, getenv("CDEV")), 0);
	WANT(viommu(&n), 0);
	WANT(vdevice(&n), by_the_driver() ? -EOPNOTSUPP : 0);
	WANT(translate(&n, &both), 0);
	WANT(vste(&n, STE_BYPASS, 0, &bypass), 0);
	WANT(vste(&n, STE_ABORT, 0, &aborting), 0);
	WANT(attach(n.dev, both, NULL), -ENOENT);
	WANT(attach(n.dev, bypass, NULL), 0);
	*(volatile uint32_t *)page_of(&n, SOURCE_PAGE) = ++n.stamp;
	device_copies(&n, ipa_of(SOURCE_PAGE), ipa_of(B_PAGE));
	WANT(*(volatile uint32_t *)page_of(&n, B_PAGE), n.stamp);
	WANT(attach(n.dev, aborting, NULL), 0);
	WANT(written_to(&n, ipa_of(A_PAGE)), 0);
	close_nested(&n);
}

static const struct test bridge_tests[] = {
	{ "a vDEVICE, and commands for all StreamIDs", several_streams, ALONE },
	{ "DMA by the bridge's StreamID", bridge_without_vdevice, ALONE },
};

const struct suite bridge_suite = {
	.name = "bridge", .tests = bridge_tests, .nr_tests = ARRAY_SIZE(bridge_tests),
};
