// SPDX-License-Identifier: GPL-2.0-only
/*
 * The descriptors that requests become for a first stage that several devices and PASIDs have, see
 * nested_vtd_pasid.c. Each PASID is a cache of its own, of the IOTLB and of the TLB of a device with ATS.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "nested_vtd.h"
#include "vtd_shown.h"

/* Fields of the first word of an invalidation of pages of a PASID (6.5.2.4), and of its second. */
#define PAGES_OF_PASID	(3UL << 4)
#define ALL_OF_PASID	(2UL << 4)
#define IH		(1UL << 6)
/* Of the second word of an invalidation of a device's TLB with a PASID (6.5.2.6): more than a page. */
#define S		(1UL << 11)
/* The lowest bit of the address that is 0 is the highest. */
#define ALL_OF_DEVICE	((~0UL >> 1 & ~0xfffUL) | S)
/* How many invalidations the device takes at once (6.5.2.5, 6.5.2.6). */
#define QDEP		(0x1fUL << 16)
#define PASID_QDEP	(0x1fUL << 4)

/* Descriptors for which there is one wait: of few requests, where the driver's own path has as many, and of more. */
#define FEW		4u
#define SMALL		16u
#define SUBMISSION	64u

static struct submitted seen;

/* An edu and a device with ATS, in one context with one parent. */
struct devices {
	struct guest g;
	int rng;
	uint64_t rng_sid;
	uint32_t one, two;	/* first stages */
};

static bool open_devices(struct devices *d)
{
	unsigned int bus, slot, function;
	uint32_t dev_id;
	int r;

	if (!open_quiet(&d->g, getenv("CDEV")))
		return false;
	if (sscanf(getenv("RNG_BDF") ?: "", "%*x:%x:%x.%x", &bus, &slot, &function) != 3)
		fail("RNG_BDF is no address of a device");
	d->rng_sid = bus << 8 | slot << 3 | function;
	d->rng = open(getenv("RNG_CDEV") ?: "", O_RDWR | O_CLOEXEC);
	r = bind_device(d->rng, d->g.fd, &dev_id);
	r = r ?: make_parent(&d->g, IOMMU_HWPT_ALLOC_PASID);
	r = r ?: first_stage_for_pasids(&d->g, 0, &d->one);
	r = r ?: first_stage_for_pasids(&d->g, 1, &d->two);
	if (r)
		fail("no two devices with PASIDs: %s", errno_name(r));
	return !r;
}

static void close_devices(struct devices *d)
{
	close(d->rng);
	close_guest(&d->g);
}

static uint64_t did_of(const char *device, uint32_t pasid)
{
	return ENTRY_DID(read_pasid_entry(getenv(device) ?: "", pasid).word[1]);
}

static void submit(struct devices *d, uint32_t hwpt, const request *requests, uint32_t nr)
{
	begin_submissions(&seen);
	if (invalidate(&d->g, hwpt, requests, nr))
		fail("%u requests are refused", nr);
	end_submissions(&seen);
}

static uint32_t count(uint64_t ignored, uint64_t word0, uint64_t word1)
{
	uint32_t nr = 0;

	for (uint32_t n = 0; n < seen.descriptors; n++)
		nr += (seen.word[n][0] & ~ignored) == word0 && seen.word[n][1] == word1;
	return nr;
}

/* How many there were for the IOTLB, of pages or of all. */
static uint32_t of_iotlb(uint64_t did, uint64_t pasid, uint64_t granularity, uint64_t word1)
{
	return count(0, TYPE_PASID_IOTLB | granularity | did << 16 | pasid << 32, word1);
}

/* How many there were for the TLB of the device with ATS. */
static uint32_t of_rng(const struct devices *d, uint64_t pasid, uint64_t word1)
{
	if (pasid)
		return count(PASID_QDEP, TYPE_PASID_DEVICE_TLB | d->rng_sid << 16 | pasid << 32, word1);
	return count(QDEP, TYPE_DEVICE_TLB | d->rng_sid << 32, word1);
}

/* The caches of two first stages, while devices and PASIDs come and go. */
static void each_cache(struct fixture *none)
{
	const request r = pages(TARGET_VA, 1, LEAF);
	const uint64_t page = TARGET_VA | IH;
	struct devices d;
	uint64_t one, two;

	if (!open_devices(&d))
		return;
	WANT(attach(d.g.edu.dev, d.one, NULL), 0);
	WANT(attach_pasid(d.g.edu.dev, 5, d.one), 0);
	WANT(attach_pasid(d.g.edu.dev, 6, d.two), 0);
	WANT(attach(d.rng, d.two, NULL), 0);
	WANT(attach_pasid(d.rng, 5, d.one), 0);
	WANT(attach_pasid(d.rng, 70, d.one), 0);
	one = did_of("BDF", 5);
	two = did_of("BDF", 6);
	CHECK(one != two);
	WANT(did_of("RNG_BDF", 70), one);
	WANT(did_of("RNG_BDF", 0), two);
	/* PASID 5 of both devices is one cache of the IOTLB. The edu has no TLB. */
	submit(&d, d.one, &r, 1);
	WANT(of_iotlb(one, 0, PAGES_OF_PASID, page), 1);
	WANT(of_iotlb(one, 5, PAGES_OF_PASID, page), 1);
	WANT(of_iotlb(one, 70, PAGES_OF_PASID, page), 1);
	WANT(of_rng(&d, 5, TARGET_VA), 1);
	WANT(of_rng(&d, 70, TARGET_VA), 1);
	WANT(seen.descriptors, 5);
	WANT(seen.waits, 1);
	submit(&d, d.two, &r, 1);
	WANT(of_iotlb(two, 0, PAGES_OF_PASID, page), 1);
	WANT(of_iotlb(two, 6, PAGES_OF_PASID, page), 1);
	WANT(of_rng(&d, 0, TARGET_VA), 1);
	WANT(seen.descriptors, 3);
	WANT(seen.waits, 1);
	/* One PASID less, one device less at a PASID, one PASID that went to the other first stage. */
	WANT(detach_pasid(d.rng, 70), 0);
	submit(&d, d.one, &r, 1);
	WANT(of_iotlb(one, 70, PAGES_OF_PASID, page), 0);
	WANT(of_rng(&d, 5, TARGET_VA), 1);
	WANT(seen.descriptors, 3);
	WANT(detach_pasid(d.rng, 5), 0);
	submit(&d, d.one, &r, 1);
	WANT(of_iotlb(one, 5, PAGES_OF_PASID, page), 1);
	WANT(seen.descriptors, 2);
	WANT(attach_pasid(d.g.edu.dev, 5, d.two), 0);
	submit(&d, d.one, &r, 1);
	WANT(of_iotlb(one, 0, PAGES_OF_PASID, page), 1);
	WANT(seen.descriptors, 1);
	submit(&d, d.two, &r, 1);
	WANT(of_iotlb(two, 5, PAGES_OF_PASID, page), 1);
	WANT(seen.descriptors, 4);
	WANT(detach(d.g.edu.dev), 0);
	submit(&d, d.one, &r, 1);
	WANT(seen.descriptors, 0);
	WANT(seen.waits, 0);
	close_devices(&d);
}

/* Each kind of request, for one PASID of a device with ATS. */
static void kinds(struct fixture *none)
{
	const struct {
		request r;
		uint64_t granularity, iotlb, device;
	} table[] = {
		{ pages(TARGET_VA, 1, 0), PAGES_OF_PASID, TARGET_VA, TARGET_VA },
		{ pages(TARGET_VA, 1, LEAF), PAGES_OF_PASID, TARGET_VA | IH, TARGET_VA },
		{ pages(0x40000, 2, 0), PAGES_OF_PASID, 0x40000 | 1, 0x40000 | S },
		{ pages(0x40000, 4, LEAF), PAGES_OF_PASID, 0x40000 | 2 | IH, 0x41000 | S },
		{ pages(0x40000, 64, 0), PAGES_OF_PASID, 0x40000 | 6, 0x5f000 | S },
		{ pages(0, ALL, 0), ALL_OF_PASID, 0, ALL_OF_DEVICE },
	};
	struct devices d;
	uint64_t did;

	if (!open_devices(&d))
		return;
	WANT(attach_pasid(d.rng, 0x1234, d.one), 0);
	did = did_of("RNG_BDF", 0x1234);
	for (unsigned int n = 0; n < ARRAY_SIZE(table); n++) {
		submit(&d, d.one, &table[n].r, 1);
		WANT(of_iotlb(did, 0x1234, table[n].granularity, table[n].iotlb), 1);
		WANT(of_rng(&d, 0x1234, table[n].device), 1);
		WANT(seen.descriptors, 2);
		WANT(seen.waits, 1);
	}
	close_devices(&d);
}

/* Batches for five caches: submissions are cut between the requests of a cache and between caches. */
static void batches(struct fixture *none)
{
	static const uint32_t lengths[] = { 1, 2, 4, 5, 12, 13, 25, 26, 38, 39 };
	static request batch[39];
	struct devices d;
	uint64_t did;

	if (!open_devices(&d))
		return;
	WANT(attach(d.g.edu.dev, d.one, NULL), 0);
	WANT(attach_pasid(d.rng, 5, d.one), 0);
	WANT(attach_pasid(d.rng, 70, d.one), 0);
	did = did_of("RNG_BDF", 5);
	for (uint32_t i = 0; i < ARRAY_SIZE(batch); i++)
		batch[i] = pages(HOLE_VA + 2 * i * PAGE, 1, LEAF);
	for (unsigned int n = 0; n < ARRAY_SIZE(lengths); n++) {
		const uint32_t nr = lengths[n], all = 5 * nr, room = nr > FEW ? SUBMISSION : SMALL;

		submit(&d, d.one, batch, nr);
		WANT(seen.descriptors, all);
		WANT(seen.waits, by_the_driver() ? nr : (all + room - 1) / room);
		for (uint32_t i = 0; i < nr; i++) {
			WANT(of_iotlb(did, 0, PAGES_OF_PASID, batch[i].addr | IH), 1);
			WANT(of_iotlb(did, 5, PAGES_OF_PASID, batch[i].addr | IH), 1);
			WANT(of_iotlb(did, 70, PAGES_OF_PASID, batch[i].addr | IH), 1);
			WANT(of_rng(&d, 5, batch[i].addr), 1);
			WANT(of_rng(&d, 70, batch[i].addr), 1);
		}
	}
	close_devices(&d);
}

/* One request, for up to 21 caches: never more waits than by the driver. */
static void one_request(struct fixture *none)
{
	const request r = pages(TARGET_VA, 1, LEAF);
	struct devices d;
	uint64_t did;

	if (!open_devices(&d))
		return;
	WANT(attach(d.g.edu.dev, d.one, NULL), 0);
	did = did_of("BDF", 0);
	for (uint32_t pasid = 1; pasid <= 10; pasid++) {
		const uint32_t all = 2 * pasid + 1;

		WANT(attach_pasid(d.rng, pasid, d.one), 0);
		submit(&d, d.one, &r, 1);
		WANT(seen.descriptors, all);
		WANT(seen.waits, (all + SMALL - 1) / SMALL);
		for (uint32_t n = 1; n <= pasid; n++) {
			WANT(of_iotlb(did, n, PAGES_OF_PASID, TARGET_VA | IH), 1);
			WANT(of_rng(&d, n, TARGET_VA), 1);
		}
	}
	close_devices(&d);
}

/* The host unmaps a page of the guest's memory: of each first stage and PASID that has it nothing stays cached. */
static void host_unmaps(struct fixture *none)
{
	struct devices d;
	uint64_t one, two;
	uint32_t of_one = 0, of_two = 0;

	if (!open_devices(&d))
		return;
	WANT(attach_pasid(d.g.edu.dev, 5, d.one), 0);
	WANT(attach_pasid(d.rng, 70, d.two), 0);
	one = did_of("BDF", 5);
	two = did_of("RNG_BDF", 70);
	begin_submissions(&seen);
	WANT(unmap(d.g.fd, d.g.ioas, GUEST_BASE, GUEST_PAGES * PAGE), GUEST_PAGES * PAGE);
	end_submissions(&seen);
	for (uint32_t n = 0; n < seen.descriptors; n++) {
		of_one += TYPE_OF(seen.word[n][0]) == TYPE_IOTLB && (seen.word[n][0] >> 16 & 0xffff) == one;
		of_two += TYPE_OF(seen.word[n][0]) == TYPE_IOTLB && (seen.word[n][0] >> 16 & 0xffff) == two;
	}
	CHECK(of_one);
	CHECK(of_two);
	/* The device has translations of the guest's addresses, which the host does not know. */
	CHECK(of_rng(&d, 70, ALL_OF_DEVICE));
	close_devices(&d);
}

static const struct test tests[] = {
	{ "each cache of a first stage", each_cache, ALONE },
	{ "each kind of request", kinds, ALONE },
	{ "batches for several caches", batches, ALONE },
	{ "one request for many caches", one_request, ALONE },
	{ "the host unmaps", host_unmaps, ALONE },
};

const struct suite caches_suite = {
	.name = "caches", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
