// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty tracking of the host's table under devices with a guest's entries, see nested_amd.c: the bits HAD of the
 * device table entries (48882 2.2.2.1). QEMU's IOMMU marks nothing; nested_amd_dma.c has a test of what is marked.
 */
#include <string.h>
#include <unistd.h>

#include "nested_amd.h"
#include "tracking.h"

static struct issued seen;

/* Two devices behind guest's entries of one parent: their entries without tracking. */
struct devices {
	struct guest g[2];
	uint32_t hwpt[2];
	struct dte before[2];
};

static bool open_devices(struct devices *d)
{
	const struct dte entries[] = {
		translating(DOMAIN, GCR3_PAGE), translating(OTHER_DOMAIN, OTHER_GCR3_PAGE),
	};

	if (!open_tracked(&d->g[0]) || !open_beside(&d->g[1], &d->g[0]))
		return false;
	for (int n = 0; n < 2; n++) {
		int r = nested(&d->g[n], entries[n], &d->hwpt[n]);

		r = r ?: attach(d->g[n].edu.dev, d->hwpt[n], NULL);
		if (r)
			fail("not attached: %s", errno_name(r));
		d->before[n] = entry_of(&d->g[n]);
	}
	return !has_failed();
}

static void close_devices(struct devices *d)
{
	stop_edu(&d->g[1].edu);
	close(d->g[1].edu.dev);
	close_guest(&d->g[0]);
}

/* The entry of a device is what it was, with tracking or without. */
static void check_entry(const struct guest *g, struct dte before, bool on)
{
	const struct dte entry = entry_of(g);

	WANT(before.word[0] & DTE_HAD, 0);
	WANT(entry.word[0], before.word[0] | (on ? DTE_HAD : 0));
	for (int n = 1; n < 4; n++)
		WANT(entry.word[n], before.word[n]);
}

/* Returns how many commands there were for a device's entry, or for translations of a domain. */
static uint32_t issued(uint64_t opcode, uint64_t id)
{
	uint32_t nr = 0;

	for (uint32_t n = 0; n < seen.commands; n++) {
		const uint64_t word = seen.word[n][0];

		nr += OPCODE_OF(word) == opcode && (word >> (opcode == CMD_PAGES ? 32 : 0) & 0xffff) == id;
	}
	return nr;
}

static void turned_on_and_off(struct fixture *none)
{
	struct devices d;

	if (!open_devices(&d))
		return;
	for (int n = 0; n < 3; n++) {
		for (int on = 1; on >= 0; on--) {
			begin_issue(&seen);
			WANT(track(d.g[0].fd, d.g[0].parent, on), 0);
			end_issue(&seen, RING);
			for (int i = 0; i < 2; i++) {
				check_entry(&d.g[i], d.before[i], on);
				CHECK(issued(CMD_DEVTAB, device_id_of(&d.g[i])));
				/* The IOMMU has no translation cached of which it would not mark the page. */
				CHECK(issued(CMD_PAGES, ID_OF(d.before[i])));
			}
			WANT(written_to(&d.g[0], gpa_of(A_PAGE)), A_PAGE);
			WANT(written_to(&d.g[1], gpa_of(B_PAGE)), B_PAGE);
			/* The same again has no effect. */
			WANT(track(d.g[0].fd, d.g[0].parent, on), 0);
			check_entry(&d.g[0], d.before[0], on);
		}
	}
	close_devices(&d);
}

/* What is attached while tracking is on is tracked. */
static void attached_meanwhile(struct fixture *none)
{
	struct devices d;
	struct dte parent;

	if (!open_devices(&d))
		return;
	parent = parent_entry(&d.g[0]);
	WANT(track(d.g[0].fd, d.g[0].parent, true), 0);
	check_entry(&d.g[0], parent, true);
	WANT(attach(d.g[0].edu.dev, d.hwpt[0], NULL), 0);
	check_entry(&d.g[0], d.before[0], true);
	WANT(attach(d.g[0].edu.dev, d.hwpt[1], NULL), 0);
	WANT(entry_of(&d.g[0]).word[0], d.before[1].word[0] | DTE_HAD);
	WANT(detach(d.g[0].edu.dev), 0);
	WANT(entry_of(&d.g[0]).word[0], DTE_V);
	WANT(track(d.g[0].fd, d.g[0].parent, false), 0);
	check_entry(&d.g[1], d.before[1], false);
	WANT(attach(d.g[0].edu.dev, d.hwpt[0], NULL), 0);
	check_entry(&d.g[0], d.before[0], false);
	close_devices(&d);
}

/* The host's table gets more levels while tracking is on: the entries are made again. */
static void new_top(struct fixture *none)
{
	struct devices d;

	if (!open_devices(&d))
		return;
	WANT(track(d.g[0].fd, d.g[0].parent, true), 0);
	WANT(map(d.g[0].fd, d.g[0].ioas, page_of(&d.g[0], B_PAGE), PAGE, HIGH_BASE), 0);
	for (int n = 0; n < 2; n++) {
		const uint64_t word = entry_of(&d.g[n]).word[0];

		WANT(DTE_LEVELS_OF(word), 4);
		WANT(word & ~(DTE_MODE | DTE_ROOT), (d.before[n].word[0] & ~(DTE_MODE | DTE_ROOT)) | DTE_HAD);
	}
	WANT(track(d.g[0].fd, d.g[0].parent, false), 0);
	for (int n = 0; n < 2; n++)
		WANT(entry_of(&d.g[n]).word[0] & DTE_HAD, 0);
	close_devices(&d);
}

/* Page tables that have no dirty tracking. */
static void without(struct fixture *none)
{
	struct devices d;
	struct guest g;

	if (!open_devices(&d))
		return;
	/* A guest's: the parent has the tables of the host. */
	WANT(track(d.g[0].fd, d.hwpt[0], true), -ENOENT);
	check_entry(&d.g[0], d.before[0], false);
	close_devices(&d);
	if (!open_guest(&g))
		return;
	WANT(track(g.fd, g.parent, true), -EOPNOTSUPP);
	close_guest(&g);
}

static const struct test tests[] = {
	{ "turned on and off under devices of a guest", turned_on_and_off, ALONE },
	{ "attached while it is on", attached_meanwhile, ALONE },
	{ "a new top of the host's table", new_top, ALONE },
	{ "page tables without it", without, ALONE },
};

const struct suite dirty_suite = {
	.name = "dirty", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
