// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nested translation by an SMMUv3, as a VMM uses it: a device's DMA goes through page tables that a
 * guest fills and through those of the guest's memory. KTAP; the frame is that of uapi.c.
 *
 * Usage: CDEV=... EDU_BDF=... CARD_BDF=... RNG_BDF=... nested-smmu none SUITE...; with $CDEV alone the
 * suites are nested, and bridge if the device has several StreamIDs.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nested_call.h"

static void both_stages(struct fixture *none)
{
	struct nested n;
	uint32_t hwpt;

	if (!open_attached(&n, &hwpt))
		return;
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	/* DMA must not reach addresses that only the second stage maps, nor unmapped ones. */
	WANT(written_to(&n, ipa_of(B_PAGE)), 0);
	WANT(written_to(&n, HOLE_VA), 0);
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	close_nested(&n);
}

/* A guest changes an entry and issues one command; takes: the command must invalidate the entry. */
static void stale_until(const char *name, command c, bool takes)
{
	struct nested n;
	uint32_t hwpt;

	if (!open_attached(&n, &hwpt))
		return;
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	map_va(&n, 0, TARGET_VA, B_PAGE);
	/* The old entry must be cached, or the rest would test nothing. */
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	WANT(submit_one(&n, c), 0);
	if (written_to(&n, TARGET_VA) != (takes ? B_PAGE : A_PAGE))
		fail("%s: the device does not write where it has to", name);
	close_nested(&n);
}

static command leaf(command c)
{
	c.cmd[1] |= 1;
	return c;
}

static void translations(struct fixture *none)
{
	stale_until("NH_VA", by_va(OP_NH_VA, TARGET_VA, ASID), true);
	stale_until("NH_VA of another page", by_va(OP_NH_VA, HOLE_VA, ASID), false);
	stale_until("NH_VA of the last level", leaf(by_va(OP_NH_VA, TARGET_VA, ASID)), true);
	stale_until("NH_VA of another address space", by_va(OP_NH_VA, TARGET_VA, ASID + 1), false);
	stale_until("NH_VAA", by_va(OP_NH_VAA, TARGET_VA, 0), true);
	stale_until("NH_VAA of another page", by_va(OP_NH_VAA, HOLE_VA, 0), false);
	stale_until("NH_ASID", by_asid(ASID), true);
	stale_until("NH_ASID of another", by_asid(ASID + 1), false);
	stale_until("NH_ALL", by_op(OP_NH_ALL | (uint64_t)ANY_VMID << 32), true);
	stale_until("NSNH_ALL", by_op(OP_NSNH_ALL), true);
}

static void ranges(struct fixture *none)
{
	stale_until("a page by its level", by_range(TARGET_VA, ASID, 3, 0, 0), true);
	stale_until("a range", by_range(SOURCE_VA, ASID, 0, 31, 0), true);
	stale_until("a range with a scale", by_range(0, ASID, 3, 15, 5), true);
	stale_until("a range that ends before", by_range(SOURCE_VA, ASID, 3, 15, 0), false);
	stale_until("a range that begins behind", by_range(HOLE_VA, ASID, 3, 31, 0), false);
	stale_until("a range of another address space", by_range(SOURCE_VA, ASID + 1, 3, 31, 0), false);
	stale_until("a range of all address spaces",
		    in_range(by_va(OP_NH_VAA, SOURCE_VA, 0), 3, 31, 0), true);
	stale_until("a range of all address spaces that ends before",
		    in_range(by_va(OP_NH_VAA, SOURCE_VA, 0), 3, 15, 0), false);
}

/* A guest changes a device's context descriptor: the command must invalidate the cached one. */
static void descriptor_until(command c)
{
	struct nested n;
	uint32_t hwpt;

	if (!open_attached(&n, &hwpt))
		return;
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	set_cd(&n, 1, ASID + 1);
	/* The old descriptor is used even if no translation is cached. */
	WANT(submit_one(&n, by_op(OP_NSNH_ALL)), 0);
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	WANT(submit_one(&n, c), 0);
	WANT(written_to(&n, TARGET_VA), B_PAGE);
	close_nested(&n);
}

static void descriptors(struct fixture *none)
{
	descriptor_until(by_vsid(OP_CFGI_CD, VSID));
	descriptor_until(by_vsid(OP_CFGI_CD_ALL, VSID));
}

static void no_first_stage(struct fixture *none)
{
	uint32_t bypass, aborting, invalid, both;
	struct nested n;

	if (!open_attached(&n, &both))
		return;
	WANT(vste(&n, STE_BYPASS, 0, &bypass), 0);
	WANT(vste(&n, STE_ABORT, 0, &aborting), 0);
	WANT(vste(&n, STE_INVALID, 0, &invalid), 0);
	WANT(attach(n.dev, bypass, NULL), 0);
	n.stamp++;
	*(volatile uint32_t *)page_of(&n, SOURCE_PAGE) = n.stamp;
	device_copies(&n, ipa_of(SOURCE_PAGE), ipa_of(B_PAGE));
	WANT(*(volatile uint32_t *)page_of(&n, B_PAGE), n.stamp);
	WANT(attach(n.dev, both, NULL), 0);
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	WANT(attach(n.dev, aborting, NULL), 0);
	WANT(written_to(&n, TARGET_VA), 0);
	WANT(written_to(&n, ipa_of(A_PAGE)), 0);
	WANT(attach(n.dev, invalid, NULL), 0);
	WANT(written_to(&n, TARGET_VA), 0);
	/* Attaches the device to the guest's tables, to the host's, and back. */
	WANT(attach(n.dev, both, NULL), 0);
	WANT(attach(n.dev, both, NULL), 0);
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	WANT(attach(n.dev, n.parent, NULL), 0);
	device_copies(&n, ipa_of(SOURCE_PAGE), ipa_of(B_PAGE));
	WANT(*(volatile uint32_t *)page_of(&n, B_PAGE), n.stamp);
	WANT(attach(n.dev, both, NULL), 0);
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	WANT(detach(n.dev), 0);
	WANT(written_to(&n, TARGET_VA), 0);
	close_nested(&n);
}

static void replaced(struct fixture *none)
{
	uint32_t one, two;
	struct nested n;

	if (!open_attached(&n, &one))
		return;
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	/* A guest's new stream table entry is a new HWPT, here with the next context descriptor. */
	WANT(second_vste(&n, &two), 0);
	WANT(attach(n.dev, two, NULL), 0);
	WANT(written_to(&n, TARGET_VA), B_PAGE);
	WANT(destroy(n.fd, two), -EBUSY);
	WANT(destroy(n.fd, one), 0);
	WANT(destroy(n.fd, n.viommu), -EBUSY);
	close_nested(&n);
}

/* Only a first stage needs a vDEVICE; other entries work without one. */
static void without_vdevice(struct fixture *none)
{
	uint32_t both, bypass, aborting;
	struct nested n;

	if (!open_nested(&n))
		return;
	WANT(destroy(n.fd, n.vdevice), 0);
	WANT(translate(&n, &both), 0);
	WANT(vste(&n, STE_BYPASS, 0, &bypass), 0);
	WANT(vste(&n, STE_ABORT, 0, &aborting), 0);
	WANT(attach(n.dev, both, NULL), -ENOENT);
	WANT(attach(n.dev, bypass, NULL), 0);
	WANT(attach(n.dev, both, NULL), -ENOENT);
	WANT(attach(n.dev, aborting, NULL), 0);
	WANT(submit_one(&n, by_vsid(OP_CFGI_CD, VSID)), -EIO);
	close_nested(&n);
}

static int event_queue(struct nested *n, uint32_t depth, int *file)
{
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = n->viommu, .type = IOMMU_VEVENTQ_TYPE_ARM_SMMUV3,
		.veventq_depth = depth,
	};
	int r = call(n->fd, IOMMU_VEVENTQ_ALLOC, &cmd);

	*file = cmd.out_veventq_fd;
	return r;
}

struct event {
	struct iommufd_vevent_header header;
	struct iommu_vevent_arm_smmuv3 data;
};

/* Reads the next event; returns false if none arrives within a minute. */
static bool next_event(int file, struct event *event)
{
	struct pollfd ready = { .fd = file, .events = POLLIN };

	return poll(&ready, 1, 60000) == 1 && read(file, event, sizeof(*event)) == sizeof(*event);
}

static void events(struct fixture *none)
{
	struct event event;
	struct nested n;
	uint32_t hwpt;
	int file;

	if (!open_attached(&n, &hwpt))
		return;
	WANT(event_queue(&n, 16, &file), 0);
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	/* F_TRANSLATION with the guest's StreamID of the device and the address. */
	WANT(written_to(&n, HOLE_VA), 0);
	CHECK(next_event(file, &event));
	WANT(event.header.flags, 0);
	WANT(event.data.evt[0] & 0xff, 0x10);
	WANT(event.data.evt[0] >> 32, VSID);
	WANT(event.data.evt[2], HOLE_VA);
	/* C_BAD_CD: the guest's descriptor is not valid. */
	*(uint64_t *)page_of(&n, CD_PAGE) &= ~(1ULL << 31);
	WANT(submit_one(&n, by_vsid(OP_CFGI_CD, VSID)), 0);
	WANT(written_to(&n, TARGET_VA), 0);
	CHECK(next_event(file, &event));
	WANT(event.data.evt[0] & 0xff, 0x0a);
	WANT(event.data.evt[0] >> 32, VSID);
	close(file);
	close_nested(&n);
}

/*
 * A guest's entry with descriptors where it has no memory, and at the table's end. The DMA is ended, and
 * the device works with another entry.
 */
static void faulting_entries(struct fixture *none)
{
	uint32_t nowhere, high, both;
	struct nested n;

	if (!open_attached(&n, &both))
		return;
	WANT(vste(&n, STE_TRANSLATE | (GUEST_BASE + 2 * GUEST_PAGES * PAGE), STE_CD_CACHED, &nowhere), 0);
	WANT(vste(&n, STE_TRANSLATE | (1ULL << 43), STE_CD_CACHED, &high), 0);
	WANT(attach(n.dev, nowhere, NULL), 0);
	WANT(written_to(&n, TARGET_VA), 0);
	WANT(attach(n.dev, high, NULL), 0);
	WANT(written_to(&n, TARGET_VA), 0);
	WANT(attach(n.dev, both, NULL), 0);
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	close_nested(&n);
}

/*
 * Has the device cause more faults than the queue can hold, and reads after some time. Returns whether the guest learns
 * how many were lost.
 */
static bool learns_of_loss(unsigned int microseconds)
{
	struct event event = {};
	bool first, learns;
	struct nested n;
	uint32_t hwpt, i;
	int file;

	if (!open_attached(&n, &hwpt))
		return false;
	if (event_queue(&n, 1, &file)) {
		fail("no queue of events");
		return false;
	}
	for (i = 0; i < 3; i++)
		if (written_to(&n, HOLE_VA))
			fail("what is not mapped is written to");
	usleep(microseconds);
	first = next_event(file, &event) && event.header.sequence == 0;
	learns = read(file, &event, sizeof(event)) == sizeof(event.header) &&
		 event.header.flags == IOMMU_VEVENTQ_FLAG_LOST_EVENTS && event.header.sequence == 2;
	if (!first)
		fail("the first event is not in the queue");
	close(file);
	close_nested(&n);
	return learns;
}

/*
 * The driver reports faults from its threaded interrupt handler, of which nobody knows when it is done. A guest that is
 * not told does not learn of the loss however long it waits.
 */
static void lost_events(struct fixture *none)
{
	bool learns = false;
	int i;

	for (i = 0; i < 5 && !learns && !has_failed(); i++)
		learns = learns_of_loss(500000 << i);
	CHECK(learns);
}

static void wrong_entries(struct fixture *none)
{
	static const struct {
		const char *name;
		uint64_t words[2];
		int want, driver;
	} table[] = {
		{ "valid", { STE_TRANSLATE }, 0, 0 },
		{ "bypass with a table", { STE_BYPASS | GUEST_BASE }, 0, 0 },
		{ "not valid, and all else", { ~1ULL, ~0ULL }, 0, 0 },
		{ "Config 1", { 1 | 1 << 1 }, -EIO, -EIO },
		{ "second stage", { 1 | 6 << 1 }, -EIO, -EIO },
		{ "both stages", { 1 | 7 << 1 }, -EIO, -EIO },
		{ "a reserved bit", { STE_TRANSLATE | 1ULL << 52 }, -EIO, -EIO },
		{ "MEV", { STE_TRANSLATE, 1 << 19 }, -EIO, -EIO },
		{ "S2FWB", { STE_TRANSLATE, 1 << 25 }, -EIO, -EIO },
		{ "STRW", { STE_TRANSLATE, 1ULL << 30 }, -EIO, -EIO },
		{ "SHCFG", { STE_TRANSLATE, 1ULL << 44 }, -EIO, -EIO },
		{ "full ATS", { STE_TRANSLATE, 1 << 28 }, 0, 0 },
		{ "split-stage ATS", { STE_TRANSLATE, 2 << 28 }, -EIO, -EIO },
		{ "ATS with DPT", { STE_TRANSLATE, 3ULL << 28 }, -EIO, -EIO },
		/* QEMU's SMMUv3 stalls nothing, which makes the bit ILLEGAL (IHI 0070, 5.2). */
		{ "no stalls", { STE_TRANSLATE, 1 << 27 }, -EIO, 0 },
		{ "no stalls, bypass", { STE_BYPASS, 1 << 27 }, 0, 0 },
	};
	struct nested n;
	uint32_t id, i;

	if (!open_nested(&n))
		return;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		int r = vste(&n, table[i].words[0], table[i].words[1], &id);

		if (r != (by_the_driver() ? table[i].driver : table[i].want))
			fail("%s: got %s", table[i].name, errno_name(r));
		if (!r)
			WANT(destroy(n.fd, id), 0);
	}
	close_nested(&n);
}

static void wrong_commands(struct fixture *none)
{
	static const struct {
		const char *name;
		command c;
	} table[] = {
		{ "SYNC", { { 0x46 } } },
		{ "CFGI_STE", { { 0x03 | (uint64_t)VSID << 32 } } },
		{ "CFGI_ALL", { { 0x04, 31 } } },
		{ "EL2_ALL", { { 0x20 } } },
		{ "S12_VMALL", { { 0x28 } } },
		{ "S2_IPA", { { 0x2a } } },
		{ "RESUME", { { 0x44 | (uint64_t)VSID << 32 } } },
		{ "ATC_INV without ATS", { { 0x40 | (uint64_t)VSID << 32 } } },
		{ "no opcode", { { 0 } } },
		{ "a device that is none", { { 0x05 | (uint64_t)(VSID + 1) << 32 } } },
		{ "the host's id of it", { { 0x05 | 0x20ULL << 32 } } },
		{ "a secure stream", { { 0x05 | 1 << 10 | (uint64_t)VSID << 32 } } },
		{ "a substream", { { 0x05 | 1 << 12 | (uint64_t)VSID << 32 } } },
		{ "NH_VA with a reserved bit", { { 0x12, 1 << 1 } } },
		{ "NH_VA of 128-bit descriptors", { { 0x12, 1 << 10 | 3 << 8 | 1 << 7 } } },
		{ "a granule alone", { { 0x12, 1 << 10 } } },
		{ "a level alone", { { 0x12, 1 << 8 } } },
		{ "NSNH_ALL with a VMID", { { 0x30 | 1ULL << 32 } } },
	};
	struct nested n;
	uint32_t i;

	if (!open_nested(&n))
		return;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		int r = submit_one(&n, table[i].c);

		if (r != -EIO)
			fail("%s: got %s", table[i].name, errno_name(r));
	}
	close_nested(&n);
}

/* Submits an invalid command at a place: those before it take effect, and their number is returned. */
static void invalid_at(struct nested *n, uint32_t place, uint32_t nr)
{
	command commands[160];
	uint32_t done, i;

	for (i = 0; i < nr; i++)
		commands[i] = by_va(OP_NH_VA, HOLE_VA, ASID);
	commands[place].cmd[0] = 0x46;
	if (place)
		commands[place - 1] = by_va(OP_NH_VA, TARGET_VA, ASID);
	WANT(submit(n, commands, nr, &done), -EIO);
	WANT(done, place);
}

static void invalid_anywhere(struct fixture *none)
{
	struct nested n;
	uint32_t hwpt, i;

	if (!open_attached(&n, &hwpt))
		return;
	for (i = 0; i < 140; i++)
		invalid_at(&n, i, 150);
	/* The commands before it must have taken effect. */
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	for (i = 1; i < 140; i += by_the_driver() ? 43 : 1) {
		map_va(&n, 0, TARGET_VA, B_PAGE);
		invalid_at(&n, i, 150);
		memset(page_of(&n, A_PAGE), 0, PAGE);
		start_write(&n, TARGET_VA);
		/* The driver issues blocks of 63, and nothing of one with an invalid command. */
		WANT(arrived_at(&n), by_the_driver() ? A_PAGE : B_PAGE);
		map_va(&n, 0, TARGET_VA, A_PAGE);
		WANT(submit_one(&n, by_op(OP_NSNH_ALL)), 0);
		memset(page_of(&n, B_PAGE), 0, PAGE);
		start_write(&n, TARGET_VA);
		WANT(arrived_at(&n), A_PAGE);
	}
	close_nested(&n);
}

static void large_batches(struct fixture *none)
{
	command *commands = calloc(4096, sizeof(*commands));
	uint32_t hwpt, done, i, sizes[] = { 1, 63, 64, 65, 4096 };
	struct nested n;

	CHECK(commands);
	if (!open_attached(&n, &hwpt))
		return;
	for (i = 0; i < 4096; i++)
		commands[i] = by_va(OP_NH_VA, HOLE_VA + 2 * PAGE * i, ASID);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t last = sizes[i] - 1;
		command before = commands[last];

		map_va(&n, 0, TARGET_VA, A_PAGE);
		WANT(submit_one(&n, by_op(OP_NSNH_ALL)), 0);
		WANT(written_to(&n, TARGET_VA), A_PAGE);
		map_va(&n, 0, TARGET_VA, B_PAGE);
		WANT(written_to(&n, TARGET_VA), A_PAGE);
		commands[last] = by_va(OP_NH_VA, TARGET_VA, ASID);
		WANT(submit(&n, commands, sizes[i], &done), 0);
		WANT(done, sizes[i]);
		WANT(written_to(&n, TARGET_VA), B_PAGE);
		commands[last] = before;
	}
	close_nested(&n);
	free(commands);
}

/* All kinds of commands in one batch: those behind others take effect too, and the count is exact. */
static void mixed_batch(struct fixture *none)
{
	command *commands = calloc(4096, sizeof(*commands));
	uint32_t hwpt, done, i;
	struct nested n;

	CHECK(commands);
	if (!open_attached(&n, &hwpt))
		return;
	for (i = 0; i < 4096; i++) {
		switch (i % 6) {
		case 0: commands[i] = by_va(OP_NH_VA, HOLE_VA + PAGE * i, ASID); break;
		case 1: commands[i] = by_range(HOLE_VA + PAGE * i, ASID, 3, 1, 0); break;
		case 2: commands[i] = by_va(OP_NH_VAA, HOLE_VA + PAGE * i, 0); break;
		case 3: commands[i] = by_asid(ASID + 1 + i % 7); break;
		case 4: commands[i] = by_vsid(OP_CFGI_CD, VSID); break;
		case 5: commands[i] = by_vsid(OP_CFGI_CD_ALL, VSID); break;
		}
	}
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	map_va(&n, 0, TARGET_VA, B_PAGE);
	WANT(submit(&n, commands, 4096, &done), 0);
	WANT(done, 4096);
	/* No command of them was for that page. */
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	/* The driver issues whole blocks of 63, and this one is not whole: see invalid_anywhere(). */
	commands[4093] = by_va(OP_NH_VA, TARGET_VA, ASID);
	commands[4094].cmd[0] = 0x46;
	WANT(submit(&n, commands, 4096, &done), -EIO);
	WANT(done, 4094);
	WANT(written_to(&n, TARGET_VA), by_the_driver() ? A_PAGE : B_PAGE);
	commands[4094] = by_va(OP_NH_VA, TARGET_VA, ASID);
	WANT(submit(&n, commands, 4096, &done), 0);
	WANT(done, 4096);
	WANT(written_to(&n, TARGET_VA), B_PAGE);
	close_nested(&n);
	free(commands);
}

/* Invalidates adjacent pages by level. They may be merged to a range; all must be invalidated. */
static void adjacent(struct fixture *none)
{
	command commands[16];
	uint32_t hwpt, done, i;
	struct nested n;

	if (!open_attached(&n, &hwpt))
		return;
	for (i = 0; i < 16; i++)
		map_va(&n, 0, TARGET_VA + i * PAGE, A_PAGE);
	for (i = 0; i < 16; i++)
		WANT(written_to(&n, TARGET_VA + i * PAGE), A_PAGE);
	for (i = 0; i < 16; i++) {
		map_va(&n, 0, TARGET_VA + i * PAGE, B_PAGE);
		commands[i] = by_range(TARGET_VA + i * PAGE, ASID, 3, 0, 0);
	}
	WANT(written_to(&n, TARGET_VA + 15 * PAGE), A_PAGE);
	WANT(submit(&n, commands, 16, &done), 0);
	WANT(done, 16);
	for (i = 0; i < 16; i++)
		WANT(written_to(&n, TARGET_VA + i * PAGE), B_PAGE);
	close_nested(&n);
}

/* Makes nested page tables from len bytes of data; the bytes after the entry are tail. */
static int vste_of(struct nested *n, uint32_t len, uint64_t tail)
{
	static uint64_t data[2 * PAGE / sizeof(uint64_t)];
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .dev_id = n->dev_id, .pt_id = n->viommu,
		.data_type = IOMMU_HWPT_DATA_ARM_SMMUV3, .data_len = len, .data_uptr = PTR(data),
	};
	int r;

	data[0] = STE_BYPASS;
	data[2] = tail;
	r = call(n->fd, IOMMU_HWPT_ALLOC, &cmd);
	return r ?: destroy(n->fd, cmd.out_hwpt_id);
}

/* Submits two commands of len bytes each; the bytes after each command are tail. */
static int submit_of(struct nested *n, uint32_t len, uint64_t tail, uint32_t *done)
{
	uint64_t data[6] = { OP_NSNH_ALL };
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd), .hwpt_id = n->viommu, .data_uptr = PTR(data),
		.data_type = IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
		.entry_len = len, .entry_num = 2,
	};
	int r;

	data[len / sizeof(*data)] = OP_NSNH_ALL;
	if (len > sizeof(command))
		data[len / sizeof(*data) - 1] = tail;
	r = call(n->fd, IOMMU_HWPT_INVALIDATE, &cmd);
	*done = cmd.entry_num;
	return r;
}

static void lengths(struct fixture *none)
{
	uint32_t done;
	struct nested n;

	if (!open_nested(&n))
		return;
	WANT(vste_of(&n, 8, 0), -EINVAL);
	WANT(vste_of(&n, 16, 1), 0);
	WANT(vste_of(&n, 24, 0), by_the_driver() ? -EINVAL : 0);
	WANT(vste_of(&n, 24, 1), by_the_driver() ? -EINVAL : -E2BIG);
	WANT(vste_of(&n, PAGE, 0), by_the_driver() ? -EINVAL : 0);
	/* No more zeroes are looked for, because the device cannot be unbound meanwhile. */
	WANT(vste_of(&n, PAGE + 1, 0), by_the_driver() ? -EINVAL : -E2BIG);
	WANT(vste_of(&n, ~0U, 0), by_the_driver() ? -EINVAL : -E2BIG);
	WANT(submit_of(&n, 8, 0, &done), by_the_driver() ? 0 : -EINVAL);
	WANT(done, by_the_driver() ? 2 : 0);
	WANT(submit_of(&n, 16, 1, &done), 0);
	WANT(done, 2);
	WANT(submit_of(&n, 24, 0, &done), 0);
	WANT(done, 2);
	WANT(submit_of(&n, 24, 1, &done), -E2BIG);
	WANT(done, 0);
	close_nested(&n);
}

/* A call with no commands only checks whether the type is supported. */
static void probes(struct fixture *none)
{
	struct iommu_hwpt_invalidate cmd = { .size = sizeof(cmd) };
	struct nested n;

	if (!open_nested(&n))
		return;
	cmd.hwpt_id = n.viommu;
	cmd.data_type = IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3;
	WANT(call(n.fd, IOMMU_HWPT_INVALIDATE, &cmd), by_the_driver() ? -EINVAL : 0);
	cmd.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1;
	WANT(call(n.fd, IOMMU_HWPT_INVALIDATE, &cmd), -EINVAL);
	close_nested(&n);
}

static const struct test tests[] = {
	{ "DMA through both stages", both_stages, ALONE },
	{ "translations are cached until a command", translations, ALONE },
	{ "ranges", ranges, ALONE },
	{ "context descriptors are cached until a command", descriptors, ALONE },
	{ "entries without a first stage", no_first_stage, ALONE },
	{ "one entry after another", replaced, ALONE },
	{ "without a vDEVICE", without_vdevice, ALONE },
	{ "events", events, ALONE },
	{ "events that are lost", lost_events, ALONE },
	{ "entries that fault", faulting_entries, ALONE },
	{ "wrong entries", wrong_entries, ALONE },
	{ "wrong commands", wrong_commands, ALONE },
	{ "an invalid command at any place", invalid_anywhere, ALONE },
	{ "large batches", large_batches, ALONE },
	{ "a large batch of all kinds", mixed_batch, ALONE },
	{ "pages in a row", adjacent, ALONE },
	{ "lengths of entries and commands", lengths, ALONE },
	{ "asking for a type of commands", probes, ALONE },
};

static const struct suite nested_suite = {
	.name = "nested", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = {
	&nested_suite, &during_dma_suite, &card_suite, &ats_suite, &bridge_suite, &failure_suite,
	&vdevice_suite,
};
const unsigned int nr_suites = ARRAY_SIZE(suites);
