// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty tracking of the second stage under a guest's first stages, see nested_vtd_pasid.c. QEMU's VT-d marks nothing
 * in a second stage: the bits by which an IOMMU says that it wrote are set by the test.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "leaf.h"
#include "nested_vtd.h"
#include "tracking.h"
#include "vtd_shown.h"

static struct submitted seen;

/* An entry that is looked at. */
struct place {
	const char *bdf;
	uint32_t pasid;
	struct shown_entry before;	/* without tracking */
};

/* Devices and PASIDs behind first stages of one parent, and one behind the parent. */
struct devices {
	struct guest g;
	int rng, other;
	uint32_t one, two;
	struct place places[4];
};

static int open_beside(struct guest *g, const char *device)
{
	int dev = open(getenv(device) ?: "", O_RDWR | O_CLOEXEC);
	uint32_t id;
	int r = bind_device(dev, g->fd, &id);

	if (r)
		fail("%s: %s", device, errno_name(r));
	return dev;
}

static bool open_devices(struct devices *d)
{
	const char *bdf = getenv("BDF") ?: "";
	int r;

	if (!open_quiet(&d->g, getenv("CDEV")))
		return false;
	d->rng = open_beside(&d->g, "RNG_CDEV");
	d->other = open_beside(&d->g, "OTHER_CDEV");
	r = make_parent(&d->g, IOMMU_HWPT_ALLOC_PASID | IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	r = r ?: first_stage_for_pasids(&d->g, 0, &d->one);
	r = r ?: first_stage_for_pasids(&d->g, 1, &d->two);
	r = r ?: attach(d->g.edu.dev, d->one, NULL);
	r = r ?: attach_pasid(d->g.edu.dev, 5, d->two);
	r = r ?: attach_pasid(d->rng, 70, d->two);
	r = r ?: attach(d->other, d->g.parent, NULL);
	if (r)
		fail("no parent with dirty tracking: %s", errno_name(r));
	d->places[0] = (struct place){ bdf, 0, read_pasid_entry(bdf, 0) };
	d->places[1] = (struct place){ bdf, 5, read_pasid_entry(bdf, 5) };
	bdf = getenv("RNG_BDF") ?: "";
	d->places[2] = (struct place){ bdf, 70, read_pasid_entry(bdf, 70) };
	bdf = getenv("OTHER_BDF") ?: "";
	d->places[3] = (struct place){ bdf, 0, read_pasid_entry(bdf, 0) };
	return !r;
}

static void close_devices(struct devices *d)
{
	close(d->rng);
	close(d->other);
	close_guest(&d->g);
}

/* All entries are what they were, with tracking or without. */
static void check_entries(struct devices *d, bool on)
{
	for (unsigned int n = 0; n < ARRAY_SIZE(d->places); n++) {
		const struct place *p = &d->places[n];
		const struct shown_entry entry = read_pasid_entry(p->bdf, p->pasid);

		WANT(p->before.word[0] & ENTRY_SSADE, 0);
		WANT(entry.word[0], p->before.word[0] | (on ? ENTRY_SSADE : 0));
		WANT(entry.word[1], p->before.word[1]);
		WANT(entry.word[2], p->before.word[2]);
	}
}

/* Returns how many invalidations of an IOTLB there were for a domain ID, by domain or address (6.5.2.3). */
static uint32_t of_domain(uint64_t did)
{
	uint32_t nr = 0;

	for (uint32_t n = 0; n < seen.descriptors; n++)
		nr += TYPE_OF(seen.word[n][0]) == TYPE_IOTLB && (seen.word[n][0] >> 16 & 0xffff) == did;
	return nr;
}

static void turned_on_and_off(struct fixture *none)
{
	struct devices d;

	if (!open_devices(&d))
		return;
	WANT(ENTRY_TYPE(d.places[0].before.word[0]), NESTED);
	WANT(ENTRY_TYPE(d.places[1].before.word[0]), NESTED);
	WANT(ENTRY_TYPE(d.places[2].before.word[0]), NESTED);
	WANT(ENTRY_TYPE(d.places[3].before.word[0]), SECOND_STAGE);
	for (int n = 0; n < 3; n++) {
		for (int on = 1; on >= 0; on--) {
			begin_submissions(&seen);
			WANT(track(d.g.fd, d.g.parent, on), 0);
			end_submissions(&seen);
			check_entries(&d, on);
			/* The IOMMU has no translation cached of which it would not mark the page. */
			for (unsigned int i = 0; i < ARRAY_SIZE(d.places); i++)
				CHECK(of_domain(ENTRY_DID(d.places[i].before.word[1])));
			/* The same again has no effect. */
			WANT(track(d.g.fd, d.g.parent, on), 0);
			check_entries(&d, on);
		}
	}
	close_devices(&d);
}

/* What is attached while tracking is on is tracked, and what left is not turned off any more. */
static void attached_meanwhile(struct fixture *none)
{
	struct devices d;
	uint32_t three;

	if (!open_devices(&d))
		return;
	WANT(track(d.g.fd, d.g.parent, true), 0);
	WANT(detach(d.g.edu.dev), 0);
	WANT(detach_pasid(d.g.edu.dev, 5), 0);
	WANT(attach_pasid(d.rng, 70, d.one), 0);
	WANT(attach(d.other, d.one, NULL), 0);
	WANT(read_entry(d.places[3].bdf).word[0], d.places[0].before.word[0] | ENTRY_SSADE);
	WANT(read_pasid_entry(d.places[2].bdf, 70).word[0], d.places[0].before.word[0] | ENTRY_SSADE);
	/* All as before. */
	WANT(attach(d.other, d.g.parent, NULL), 0);
	WANT(attach_pasid(d.rng, 70, d.two), 0);
	WANT(attach_pasid(d.g.edu.dev, 5, d.two), 0);
	WANT(attach(d.g.edu.dev, d.one, NULL), 0);
	for (unsigned int n = 0; n < ARRAY_SIZE(d.places); n++)
		WANT(read_pasid_entry(d.places[n].bdf, d.places[n].pasid).word[0],
		     d.places[n].before.word[0] | ENTRY_SSADE);
	/* A first stage that is made while it is on. */
	WANT(first_stage_for_pasids(&d.g, 0, &three), 0);
	WANT(attach(d.g.edu.dev, three, NULL), 0);
	WANT(read_entry(d.places[0].bdf).word[0], d.places[0].before.word[0] | ENTRY_SSADE);
	WANT(attach(d.g.edu.dev, d.one, NULL), 0);
	WANT(destroy(d.g.fd, three), 0);
	WANT(track(d.g.fd, d.g.parent, false), 0);
	for (unsigned int n = 0; n < ARRAY_SIZE(d.places); n++)
		WANT(read_pasid_entry(d.places[n].bdf, d.places[n].pasid).word[0],
		     d.places[n].before.word[0]);
	close_devices(&d);
}

#define BIT_OF(page)	(1UL << (page))

/* What was written to is read by the parent, and the caches of nested devices are invalidated when it is forgotten. */
static void written_to_pages(struct fixture *none)
{
	struct devices d;
	unsigned int levels;
	uint64_t root;

	if (!open_devices(&d))
		return;
	root = ENTRY_SECOND(d.places[0].before.word[0]);
	levels = ENTRY_LEVELS(d.places[0].before.word[0]);
	WANT(track(d.g.fd, d.g.parent, true), 0);
	WANT(read_dirty(d.g.fd, d.g.parent, GUEST_BASE, GUEST_PAGES, true), 0);
	mark_leaf(root, levels, GUEST_BASE + A_PAGE * PAGE, VTD_DIRTY);
	mark_leaf(root, levels, GUEST_BASE + L4_PAGE * PAGE, VTD_DIRTY);
	for (int n = 0; n < 2; n++) {
		WANT(read_dirty(d.g.fd, d.g.parent, GUEST_BASE, GUEST_PAGES, false),
		     BIT_OF(A_PAGE) | BIT_OF(L4_PAGE));
		WANT(read_leaf(root, levels, GUEST_BASE + A_PAGE * PAGE) & VTD_DIRTY, VTD_DIRTY);
	}
	begin_submissions(&seen);
	WANT(read_dirty(d.g.fd, d.g.parent, GUEST_BASE, GUEST_PAGES, true), BIT_OF(A_PAGE) | BIT_OF(L4_PAGE));
	end_submissions(&seen);
	for (unsigned int i = 0; i < ARRAY_SIZE(d.places); i++)
		CHECK(of_domain(ENTRY_DID(d.places[i].before.word[1])));
	WANT(read_leaf(root, levels, GUEST_BASE + A_PAGE * PAGE) & VTD_DIRTY, 0);
	WANT(read_dirty(d.g.fd, d.g.parent, GUEST_BASE, GUEST_PAGES, true), 0);
	/* What was written to before tracking begins does not count. */
	WANT(track(d.g.fd, d.g.parent, false), 0);
	mark_leaf(root, levels, GUEST_BASE + B_PAGE * PAGE, VTD_DIRTY);
	WANT(track(d.g.fd, d.g.parent, true), 0);
	WANT(read_dirty(d.g.fd, d.g.parent, GUEST_BASE, GUEST_PAGES, true), 0);
	close_devices(&d);
}

/* Page tables that have no dirty tracking. */
static void without(struct fixture *none)
{
	struct devices d;

	if (!open_devices(&d))
		return;
	/* A first stage: the parent has the tables of the host. */
	WANT(track(d.g.fd, d.one, true), -ENOENT);
	check_entries(&d, false);
	WANT(make_parent(&d.g, 0), 0);
	WANT(track(d.g.fd, d.g.parent, true), -EOPNOTSUPP);
	check_entries(&d, false);
	close_devices(&d);
}

static const struct test tests[] = {
	{ "turned on and off under nested devices and PASIDs", turned_on_and_off, ALONE },
	{ "attached while it is on", attached_meanwhile, ALONE },
	{ "pages that were written to", written_to_pages, ALONE },
	{ "page tables without it", without, ALONE },
};

const struct suite dirty_suite = {
	.name = "dirty", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
