// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that has ATS, under a guest's device table entry: virtio-rng, which does no DMA here. The
 * commands for the device's TLB are read from the driver's command buffer. Around a reset of such a
 * device the PCI core moves it to blocked DMA and back, without iommufd.
 */
#include <stdlib.h>
#include <string.h>

#include "nested_amd.h"

#define ANY	RING

static struct issued seen;

static bool open_rng(struct guest *g)
{
	return open_guest_of(g, getenv("RNG_CDEV"), getenv("RNG_BDF"));
}

/* The entry of a device that the guest lets use ATS. */
static struct dte with_ats(uint32_t domain)
{
	struct dte dte = translating(domain, GCR3_PAGE);

	dte.word[1] |= DTE_I;
	return dte;
}

/* ATS is the guest's to refuse where the device would have translations of its tables. */
static void ats_of_entries(struct fixture *none)
{
	struct dte dte = translating(DOMAIN, GCR3_PAGE), with = with_ats(DOMAIN);
	struct guest g;
	uint32_t hwpt;

	if (!open_rng(&g))
		return;
	CHECK(parent_entry(&g).word[1] & DTE_I);
	WANT(nested(&g, dte, &hwpt), 0);
	WANT(attach(g.edu.dev, hwpt, NULL), 0);
	/* The driver has it on whatever the guest says. */
	WANT(entry_of(&g).word[1] & DTE_I, by_the_driver() ? DTE_I : 0);
	WANT(nested(&g, with, &hwpt), 0);
	WANT(attach(g.edu.dev, hwpt, NULL), 0);
	WANT(entry_of(&g).word[1] & DTE_I, DTE_I);
	WANT(detach(g.edu.dev), 0);
	WANT(entry_of(&g).word[1], 0);
	close_guest(&g);
}

static void reset(struct fixture *none)
{
	struct dte before, after;
	struct guest g;
	uint32_t hwpt;

	if (!open_rng(&g))
		return;
	WANT(nested(&g, with_ats(DOMAIN), &hwpt), 0);
	WANT(attach(g.edu.dev, hwpt, NULL), 0);
	before = entry_of(&g);
	CHECK(before.word[0] & DTE_GV);
	for (int n = 0; n < 3; n++) {
		WANT(call(g.edu.dev, VFIO_DEVICE_RESET, NULL), 0);
		after = entry_of(&g);
		WANT(memcmp(&before, &after, sizeof(before)), 0);
	}
	/* With other entries in between. */
	parent_entry(&g);
	WANT(call(g.edu.dev, VFIO_DEVICE_RESET, NULL), 0);
	WANT(entry_of(&g).word[0] & DTE_GV, 0);
	WANT(detach(g.edu.dev), 0);
	WANT(call(g.edu.dev, VFIO_DEVICE_RESET, NULL), 0);
	WANT(entry_of(&g).word[0], DTE_V);
	WANT(attach(g.edu.dev, hwpt, NULL), 0);
	after = entry_of(&g);
	WANT(memcmp(&before, &after, sizeof(before)), 0);
	close_guest(&g);
}

/* Returns how many commands to the device's TLB were issued, and whether one was for everything. */
static uint32_t device_commands(const struct guest *g, bool *everything)
{
	uint32_t nr = 0;

	*everything = false;
	for (uint32_t n = 0; n < seen.commands; n++) {
		if (OPCODE_OF(seen.word[n][0]) != CMD_IOTLB || (seen.word[n][0] & 0xffff) != device_id_of(g))
			continue;
		nr++;
		*everything |= seen.word[n][1] == (ALL_PAGES | CMD_S);
	}
	return nr;
}

/* The host unmaps a page: the device has translations of the guest's addresses to it, which the host does not know. */
static void host_unmaps(struct fixture *none)
{
	struct guest g;
	bool everything;
	uint32_t hwpt;

	if (!open_rng(&g))
		return;
	WANT(unmap(g.fd, g.ioas, GUEST_BASE, GUEST_PAGES * PAGE), GUEST_PAGES * PAGE);
	WANT(nested(&g, with_ats(DOMAIN), &hwpt), 0);
	for (int is_nested = 0; is_nested < 2; is_nested++) {
		WANT(attach(g.edu.dev, is_nested ? hwpt : g.parent, NULL), 0);
		WANT(map(g.fd, g.ioas, g.memory, PAGE, GUEST_BASE), 0);
		begin_issue(&seen);
		WANT(unmap(g.fd, g.ioas, GUEST_BASE, PAGE), PAGE);
		end_issue(&seen, ANY);
		CHECK(device_commands(&g, &everything) > 0);
		WANT(everything, is_nested);
	}
	close_guest(&g);
}

/* The guest's commands have the host's DeviceID and the device's depth, whatever the guest's say. */
static void commands(struct fixture *none)
{
	const uint64_t range = 0x123456000UL;
	command c = iotlb(DEVICE, range), other = iotlb(OTHER_DEVICE, range);
	uint32_t hwpt, done;
	struct guest g;
	uint64_t id;

	if (by_the_driver()) {
		skip("the driver has no commands of guests");
		return;
	}
	if (!open_rng(&g))
		return;
	WANT(nested(&g, with_ats(DOMAIN), &hwpt), 0);
	WANT(attach(g.edu.dev, hwpt, NULL), 0);
	id = device_id_of(&g);
	c.cmd[0] |= 0x7fUL << 24 | 0xffffUL << 32;
	for (int all = 0; all < 2; all++) {
		c.cmd[1] = all ? ALL_PAGES | CMD_S : range;
		begin_issue(&seen);
		WANT(invalidate(&g, &c, 1), 0);
		end_issue(&seen, 1);
		WANT(seen.commands, 1);
		/* The depth that virtio-rng says is 0, which stands for 32. */
		WANT(seen.word[0][0] & ~(0xffUL << 24), CMD_IOTLB << 60 | id << 32 | id);
		CHECK((seen.word[0][0] >> 24 & 0xff) != 0x7f);
		WANT(seen.word[0][1], c.cmd[1]);
	}
	WANT(invalidate_of(&g, &other, sizeof(other), 1, &done), -ENOENT);
	/*
	 * As the kernel's driver, PASID 0 where the guest's tables translate what has no PASID. The device has
	 * nothing by another one, since its PASIDs are not turned on, and need not answer.
	 */
	c = iotlb(DEVICE, range | CMD_GN);
	for (int pasid = 0; pasid < 2; pasid++) {
		c.cmd[0] |= pasid ? 5UL << 48 : 0;
		begin_issue(&seen);
		WANT(invalidate(&g, &c, 1), 0);
		end_issue(&seen, 1);
		WANT(seen.commands, !pasid);
		WANT(seen.waits, !pasid);
	}
	/* Bits 15:8 and 19:16 of a PASID, of which the IOMMU has 16. */
	c = iotlb(DEVICE, range | CMD_GN);
	c.cmd[0] |= 1UL << 23;
	begin_issue(&seen);
	WANT(invalidate(&g, &c, 1), 0);
	end_issue(&seen, 1);
	WANT(seen.commands, 0);
	c.cmd[0] |= 1UL << 56;
	WANT(invalidate_of(&g, &c, sizeof(c), 1, &done), -EIO);
	c = iotlb(DEVICE, range);
	/* Without ATS there is nothing to tell it. */
	WANT(detach(g.edu.dev), 0);
	begin_issue(&seen);
	WANT(invalidate(&g, &c, 1), 0);
	end_issue(&seen, 1);
	WANT(seen.commands, 0);
	close_guest(&g);
}

static const struct test tests[] = {
	{ "ATS of entries", ats_of_entries, ALONE },
	{ "resets of a device with ATS", reset, ALONE },
	{ "the host unmaps what a device with ATS has", host_unmaps, ALONE },
	{ "commands for a device with ATS", commands, ALONE },
};

const struct suite ats_suite = {
	.name = "ATS", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
