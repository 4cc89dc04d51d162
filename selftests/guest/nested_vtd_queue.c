// SPDX-License-Identifier: GPL-2.0-only
/*
 * The descriptors that a guest's requests become, see nested_vtd.c. They are read from the driver's queue. The
 * driver waits once for each request, our module once for 64 descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nested_vtd.h"
#include "vtd_shown.h"

/* Fields of a PASID-based IOTLB invalidation (6.5.2.4). The PASID of requests without one is 0. */
#define PAGES_OF_PASID	(3UL << 4)
#define ALL_OF_PASID	(2UL << 4)
#define IH		(1UL << 6)
/* Flag of a device-TLB invalidation (6.5.2.5): more than a page. */
#define S		1UL
/* All of it: the lowest bit of the address that is 0 is the highest. */
#define ALL_OF_DEVICE	((~0UL >> 1 & ~0xfffUL) | S)

/* Requests for which there is one wait. */
#define SUBMISSION	64u

static struct submitted seen;

/* The first word of a descriptor about the IOTLB, of the device at $BDF as it is attached. */
static uint64_t iotlb_word(const char *bdf, uint64_t granularity)
{
	return TYPE_PASID_IOTLB | granularity | ENTRY_DID(read_entry(bdf).word[1]) << 16;
}

static void check_descriptor(uint32_t n, uint64_t word0, uint64_t word1)
{
	if (n >= seen.descriptors)
		fail("descriptor %u is missing", n);
	else if (seen.word[n][0] != word0 || seen.word[n][1] != word1)
		fail("descriptor %u is %#lx %#lx, not %#lx %#lx", n, seen.word[n][0], seen.word[n][1], word0,
		     word1);
}

static void submit(struct guest *g, uint32_t hwpt, const request *requests, uint32_t nr)
{
	begin_submissions(&seen);
	if (invalidate(g, hwpt, requests, nr))
		fail("%u requests are refused", nr);
	end_submissions(&seen);
}

static void each_request(struct fixture *none)
{
	const struct {
		request r;
		uint64_t granularity, word1;
	} table[] = {
		{ pages(TARGET_VA, 1, 0), PAGES_OF_PASID, TARGET_VA },
		{ pages(TARGET_VA, 1, LEAF), PAGES_OF_PASID, TARGET_VA | IH },
		{ pages(0x123456789000, 1, LEAF), PAGES_OF_PASID, 0x123456789000 | IH },
		/* Powers of two of pages, by how many low bits of the address do not count. */
		{ pages(0x40000, 4, 0), PAGES_OF_PASID, 0x40000 | 2 },
		{ pages(0x40000, 4, LEAF), PAGES_OF_PASID, 0x40000 | 2 | IH },
		{ pages(0x40000, 64, LEAF), PAGES_OF_PASID, 0x40000 | 6 | IH },
		/* The most that QEMU's IOMMU has a mask for. */
		{ pages(1UL << 30, 1UL << 18, 0), PAGES_OF_PASID, 1UL << 30 | 18 },
		{ pages(0, ALL, 0), ALL_OF_PASID, 0 },
		{ pages(0, ALL, LEAF), ALL_OF_PASID, 0 },
	};
	const char *bdf = getenv("BDF") ?: "";
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, &hwpt))
		return;
	for (unsigned int n = 0; n < ARRAY_SIZE(table); n++) {
		submit(&g, hwpt, &table[n].r, 1);
		WANT(seen.descriptors, 1);
		WANT(seen.waits, 1);
		check_descriptor(0, iotlb_word(bdf, table[n].granularity), table[n].word1);
	}
	close_guest(&g);
}

/* Pages that no mask names. The driver invalidates all that the next larger mask names. */
static void no_mask(struct fixture *none)
{
	const request r = pages(0x21000, 2, LEAF);
	const char *bdf = getenv("BDF") ?: "";
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, &hwpt))
		return;
	submit(&g, hwpt, &r, 1);
	WANT(seen.waits, 1);
	if (by_the_driver()) {
		check_descriptor(0, iotlb_word(bdf, PAGES_OF_PASID), 0x20000 | 2 | IH);
		WANT(seen.descriptors, 1);
	} else {
		check_descriptor(0, iotlb_word(bdf, PAGES_OF_PASID), 0x21000 | IH);
		check_descriptor(1, iotlb_word(bdf, PAGES_OF_PASID), 0x22000 | IH);
		WANT(seen.descriptors, 2);
	}
	close_guest(&g);
}

static void lengths_of_batches(struct fixture *none)
{
	static const uint32_t lengths[] = { 1, 2, 15, 16, 17, 63, 64, 65, 100 };
	static request batch[100];
	const char *bdf = getenv("BDF") ?: "";
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, &hwpt))
		return;
	for (uint32_t i = 0; i < ARRAY_SIZE(batch); i++)
		batch[i] = pages(HOLE_VA + 2 * i * PAGE, 1, LEAF);
	for (unsigned int n = 0; n < ARRAY_SIZE(lengths); n++) {
		submit(&g, hwpt, batch, lengths[n]);
		WANT(seen.descriptors, lengths[n]);
		WANT(seen.waits, by_the_driver() ? lengths[n] : (lengths[n] + SUBMISSION - 1) / SUBMISSION);
		for (uint32_t i = 0; i < lengths[n]; i++)
			check_descriptor(i, iotlb_word(bdf, PAGES_OF_PASID), batch[i].addr | IH);
		if (has_failed())
			break;
	}
	close_guest(&g);
}

/* Neighbours become one, whose directories stay cached if all permit that. */
static void neighbours(struct fixture *none)
{
	static request batch[64];
	const char *bdf = getenv("BDF") ?: "";
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, &hwpt))
		return;
	for (uint32_t i = 0; i < ARRAY_SIZE(batch); i++)
		batch[i] = pages(0x40000 + i * PAGE, 1, LEAF);
	for (int directories = 0; directories < 2; directories++) {
		batch[ARRAY_SIZE(batch) - 1].flags = directories ? 0 : LEAF;
		submit(&g, hwpt, batch, ARRAY_SIZE(batch));
		WANT(seen.descriptors, by_the_driver() ? ARRAY_SIZE(batch) : 1);
		WANT(seen.waits, seen.descriptors);
		if (!by_the_driver())
			check_descriptor(0, iotlb_word(bdf, PAGES_OF_PASID), 0x40000 | 6 | (directories ? 0 : IH));
	}
	close_guest(&g);
}

/* Two devices behind one first stage have one domain ID and one IOTLB. Without a device there is nothing. */
static void devices(struct fixture *none)
{
	const char *bdf = getenv("BDF") ?: "", *other_bdf = getenv("OTHER_BDF") ?: "";
	const request r = pages(TARGET_VA, 1, LEAF);
	uint32_t hwpt, dev_id;
	struct guest g;
	int other;

	if (!open_attached(&g, &hwpt))
		return;
	other = open(getenv("OTHER_CDEV") ?: "", O_RDWR | O_CLOEXEC);
	WANT(bind_device(other, g.fd, &dev_id), 0);
	WANT(attach(other, hwpt, NULL), 0);
	WANT(ENTRY_DID(read_entry(bdf).word[1]), ENTRY_DID(read_entry(other_bdf).word[1]));
	for (int detached = 0; detached < 2; detached++) {
		submit(&g, hwpt, &r, 1);
		WANT(seen.descriptors, 1);
		WANT(seen.waits, 1);
		check_descriptor(0, iotlb_word(detached ? other_bdf : bdf, PAGES_OF_PASID), TARGET_VA | IH);
		WANT(detach(detached ? other : g.edu.dev), 0);
	}
	submit(&g, hwpt, &r, 1);
	WANT(seen.descriptors, 0);
	WANT(seen.waits, 0);
	close(other);
	close_guest(&g);
}

/* Returns how many descriptors of a type there were for this domain ID. */
static uint32_t about_domain(uint32_t type, uint64_t did)
{
	uint32_t nr = 0;

	for (uint32_t n = 0; n < seen.descriptors; n++)
		nr += TYPE_OF(seen.word[n][0]) == type && (seen.word[n][0] >> 16 & 0xffff) == did;
	return nr;
}

/* The host unmaps a page of the guest's memory: what the IOMMU has cached for the nested device goes too. */
static void host_unmaps(struct fixture *none)
{
	const char *bdf = getenv("BDF") ?: "";
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, &hwpt))
		return;
	WANT(unmap(g.fd, g.ioas, GUEST_BASE, GUEST_PAGES * PAGE), GUEST_PAGES * PAGE);
	for (int detached = 0; detached < 2; detached++) {
		const uint64_t did = ENTRY_DID(read_entry(bdf).word[1]);

		WANT(map(g.fd, g.ioas, g.memory, PAGE, GUEST_BASE), 0);
		if (detached)
			WANT(detach(g.edu.dev), 0);
		begin_submissions(&seen);
		WANT(unmap(g.fd, g.ioas, GUEST_BASE, PAGE), PAGE);
		end_submissions(&seen);
		WANT(about_domain(TYPE_IOTLB, did), !detached);
	}
	close_guest(&g);
}

static const struct test tests[] = {
	{ "each request", each_request, ALONE },
	{ "pages that no mask names", no_mask, ALONE },
	{ "lengths of batches", lengths_of_batches, ALONE },
	{ "neighbours become one descriptor", neighbours, ALONE },
	{ "devices of a first stage", devices, ALONE },
	{ "the host unmaps", host_unmaps, ALONE },
};

const struct suite queue_suite = {
	.name = "queue", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

/*
 * A device that has ATS: virtio-rng, which does no DMA here. Around a reset of such a device the PCI core moves it
 * to blocked DMA and back, without iommufd.
 */
static bool open_rng(struct guest *g, uint32_t *hwpt)
{
	return open_quiet(g, getenv("RNG_CDEV")) && attach_first_stage(g, hwpt);
}

/* Checks that a descriptor is about the device's TLB. How many it takes at once is left out. */
static void check_device(uint32_t n, uint64_t word1)
{
	unsigned int bus, slot, function;
	uint64_t sid;

	if (sscanf(getenv("RNG_BDF") ?: "", "%*x:%x:%x.%x", &bus, &slot, &function) != 3)
		fail("RNG_BDF is no address of a device");
	sid = bus << 8 | slot << 3 | function;
	if (n < seen.descriptors)
		seen.word[n][0] &= ~(0x1fUL << 16);
	check_descriptor(n, TYPE_DEVICE_TLB | sid << 32, word1);
}

static void device_tlbs(struct fixture *none)
{
	const struct {
		request r;
		uint64_t granularity, iotlb, device;
	} table[] = {
		{ pages(TARGET_VA, 1, LEAF), PAGES_OF_PASID, TARGET_VA | IH, TARGET_VA },
		{ pages(0x40000, 2, 0), PAGES_OF_PASID, 0x40000 | 1, 0x40000 | S },
		{ pages(0x40000, 4, 0), PAGES_OF_PASID, 0x40000 | 2, 0x41000 | S },
		{ pages(0x40000, 64, 0), PAGES_OF_PASID, 0x40000 | 6, 0x5f000 | S },
		{ pages(0, ALL, 0), ALL_OF_PASID, 0, ALL_OF_DEVICE },
	};
	const char *bdf = getenv("RNG_BDF") ?: "";
	static request batch[40];
	struct guest g;
	uint32_t hwpt;

	if (!open_rng(&g, &hwpt))
		return;
	for (unsigned int n = 0; n < ARRAY_SIZE(table); n++) {
		submit(&g, hwpt, &table[n].r, 1);
		WANT(seen.descriptors, 2);
		WANT(seen.waits, 1);
		check_descriptor(0, iotlb_word(bdf, table[n].granularity), table[n].iotlb);
		check_device(1, table[n].device);
	}
	/* All of the IOTLB come before those of the device. */
	for (uint32_t i = 0; i < ARRAY_SIZE(batch); i++)
		batch[i] = pages(HOLE_VA + 2 * i * PAGE, 1, LEAF);
	submit(&g, hwpt, batch, ARRAY_SIZE(batch));
	WANT(seen.descriptors, 2 * ARRAY_SIZE(batch));
	WANT(seen.waits, by_the_driver() ? ARRAY_SIZE(batch) : 2);
	for (uint32_t i = 0; i < ARRAY_SIZE(batch); i++) {
		const uint32_t at = by_the_driver() ? 2 * i : i;

		check_descriptor(at, iotlb_word(bdf, PAGES_OF_PASID), batch[i].addr | IH);
		check_device(by_the_driver() ? at + 1 : ARRAY_SIZE(batch) + i, batch[i].addr);
	}
	close_guest(&g);
}

/*
 * A submission fails. Of its batch all others are made, for the IOTLB first and then for the device, and no request
 * counts; later batches are not begun. The driver submits each request alone, and drops the error.
 */
static void failing_submission(struct fixture *none)
{
	const struct {
		uint32_t nth, requests, done, first, descriptors;
	} table[] = {
		{ 1, 1, 0, 0, 0 },
		{ 1, 40, 0, SUBMISSION, 2 * 40 - SUBMISSION },
		{ 2, 40, 0, 0, SUBMISSION },
		{ 1, 80, 0, SUBMISSION, SUBMISSION },
		{ 2, 80, 0, 0, SUBMISSION },
		{ 3, 80, SUBMISSION, 0, 2 * SUBMISSION },
	};
	const char *bdf = getenv("RNG_BDF") ?: "";
	/* The driver needs 3 descriptors for each, fewer than the queue has. */
	static request batch[80];
	uint32_t hwpt, done;
	struct guest g;

	if (!open_rng(&g, &hwpt))
		return;
	for (uint32_t i = 0; i < ARRAY_SIZE(batch); i++)
		batch[i] = pages(HOLE_VA + 2 * i * PAGE, 1, LEAF);
	for (unsigned int n = 0; n < ARRAY_SIZE(table) && !has_failed(); n++) {
		const uint32_t nr = table[n].requests;

		begin_submissions(&seen);
		CHECK(fail_submission(table[n].nth));
		WANT(invalidate_of(&g, hwpt, batch, sizeof(*batch), nr, &done), by_the_driver() ? 0 : -ETIMEDOUT);
		CHECK(fail_submission(0));
		end_submissions(&seen);
		WANT(done, by_the_driver() ? nr : table[n].done);
		WANT(seen.descriptors, by_the_driver() ? 2 * (nr - 1) : table[n].descriptors);
		/* The batch that fails is the first, but for the last row. */
		for (uint32_t i = 0; i < seen.descriptors && !by_the_driver() && !table[n].done; i++) {
			const uint32_t ranges = nr < SUBMISSION ? nr : SUBMISSION, at = table[n].first + i;

			if (at < ranges)
				check_descriptor(i, iotlb_word(bdf, PAGES_OF_PASID), batch[at].addr | IH);
			else
				check_device(i, batch[at - ranges].addr);
		}
	}
	submit(&g, hwpt, batch, 1);
	WANT(seen.descriptors, 2);
	close_guest(&g);
}

/* The host unmaps a page: the device has translations of the guest's addresses to it, which the host does not know. */
static void host_unmaps_of_device(struct fixture *none)
{
	uint32_t hwpt, everything = 0;
	struct guest g;

	if (!open_rng(&g, &hwpt))
		return;
	begin_submissions(&seen);
	WANT(unmap(g.fd, g.ioas, GUEST_BASE, GUEST_PAGES * PAGE), GUEST_PAGES * PAGE);
	end_submissions(&seen);
	CHECK(about_domain(TYPE_IOTLB, ENTRY_DID(read_entry(getenv("RNG_BDF")).word[1])) > 0);
	for (uint32_t n = 0; n < seen.descriptors; n++)
		everything += TYPE_OF(seen.word[n][0]) == TYPE_DEVICE_TLB && seen.word[n][1] == ALL_OF_DEVICE;
	CHECK(everything > 0);
	close_guest(&g);
}

static void reset(struct fixture *none)
{
	const char *bdf = getenv("RNG_BDF") ?: "";
	const request r = pages(TARGET_VA, 1, LEAF);
	struct shown_entry before, after;
	struct guest g;
	uint32_t hwpt;

	if (!open_rng(&g, &hwpt))
		return;
	before = read_entry(bdf);
	WANT(before.word[2], phys_of(page_of(&g, L4_PAGE)));
	for (int n = 0; n < 3; n++) {
		WANT(call(g.edu.dev, VFIO_DEVICE_RESET, NULL), 0);
		after = read_entry(bdf);
		WANT(memcmp(&before, &after, sizeof(before)), 0);
		submit(&g, hwpt, &r, 1);
		WANT(seen.descriptors, 2);
		check_descriptor(0, iotlb_word(bdf, PAGES_OF_PASID), TARGET_VA | IH);
		check_device(1, TARGET_VA);
	}
	/* With none in between. */
	WANT(detach(g.edu.dev), 0);
	WANT(call(g.edu.dev, VFIO_DEVICE_RESET, NULL), 0);
	WANT(read_entry(bdf).word[0] & ENTRY_PRESENT, 0);
	WANT(attach(g.edu.dev, hwpt, NULL), 0);
	after = read_entry(bdf);
	WANT(after.word[0], before.word[0]);
	WANT(after.word[2], before.word[2]);
	close_guest(&g);
}

static const struct test ats_tests[] = {
	{ "requests for a device with ATS", device_tlbs, ALONE },
	{ "a submission that fails", failing_submission, ALONE },
	{ "the host unmaps what a device with ATS has", host_unmaps_of_device, ALONE },
	{ "resets of a device with ATS", reset, ALONE },
};

const struct suite ats_suite = {
	.name = "ATS", .tests = ats_tests, .nr_tests = ARRAY_SIZE(ats_tests),
};
