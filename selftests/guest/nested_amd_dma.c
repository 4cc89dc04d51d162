// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA by a guest's table under an emulated AMD-Vi that walks it, as amd_call.h says of the kernel amd-nest. QEMU
 * caches translations, so that a missing invalidation is seen. It invalidates a domain whatever the address. KTAP;
 * the frame is that of uapi.c.
 *
 * Usage: BDF=... CDEV=... OTHER_BDF=... OTHER_CDEV=... nested-amd-dma none
 */
#include <stdlib.h>
#include <unistd.h>

#include "amd_call.h"
#include "leaf.h"
#include "tracking.h"

/* Addresses that the device uses, of the first 2 MiB. */
#define SOURCE_VA	0x10000UL
#define TARGET_VA	0x20000UL
#define HOLE_VA		0x30000UL	/* maps nothing */
#define EVERYTHING	(ALL_PAGES | CMD_S | CMD_PDE)

static uint32_t written(struct guest *g, uint64_t target)
{
	return written_by(g, SOURCE_VA, target);
}

/* Table 0 has the target be A_PAGE, table 1 B_PAGE. */
static void fill_tables(struct guest *g)
{
	for (int table = 0; table < 2; table++) {
		map_va(g, table, SOURCE_VA, SOURCE_PAGE);
		map_va(g, table, TARGET_VA, table ? B_PAGE : A_PAGE);
	}
}

static bool attach_by(struct guest *g, uint32_t domain, int table, uint32_t *hwpt)
{
	int r = nested(g, by_table(g, domain, table), hwpt);

	r = r ?: attach(g->edu.dev, *hwpt, NULL);
	if (r)
		fail("not attached: %s", errno_name(r));
	return !r;
}

/* The device translates by table 0, and there is another domain of the guest. */
static bool open_by_table(struct guest *g, uint32_t *hwpt)
{
	uint32_t other;

	if (!open_guest(g))
		return false;
	fill_tables(g);
	return !nested(g, by_table(g, OTHER_DOMAIN, 1), &other) && attach_by(g, DOMAIN, 0, hwpt);
}

static bool no_commands(void)
{
	if (by_the_driver())
		skip("the driver has no commands of guests");
	return by_the_driver();
}

static void dma(struct fixture *none)
{
	struct guest g;
	uint32_t hwpt;

	if (!open_by_table(&g, &hwpt))
		return;
	WANT(written(&g, TARGET_VA), A_PAGE);
	WANT(written(&g, HOLE_VA), 0);
	WANT(written(&g, TARGET_VA), A_PAGE);
	close_guest(&g);
}

/* A guest changes an entry and issues a command; takes: it must reach the entry. */
static void stale_until(const char *name, command c, bool takes)
{
	struct guest g;
	uint32_t hwpt;

	if (!open_by_table(&g, &hwpt))
		return;
	WANT(written(&g, TARGET_VA), A_PAGE);
	map_va(&g, 0, TARGET_VA, B_PAGE);
	/* The old entry must be cached, or the rest would test nothing. */
	WANT(written(&g, TARGET_VA), A_PAGE);
	WANT(invalidate(&g, &c, 1), 0);
	if (written(&g, TARGET_VA) != (takes ? B_PAGE : A_PAGE))
		fail("%s: the device does not write where it has to", name);
	close_guest(&g);
}

static void kinds(struct fixture *none)
{
	if (no_commands())
		return;
	stale_until("a page", pages(DOMAIN, TARGET_VA), true);
	stale_until("a page of PASID 0", pages(DOMAIN, TARGET_VA | CMD_GN), true);
	stale_until("two pages", pages(DOMAIN, TARGET_VA | CMD_S), true);
	stale_until("all pages", pages(DOMAIN, EVERYTHING), true);
	stale_until("all pages of another domain", pages(OTHER_DOMAIN, EVERYTHING), false);
	stale_until("everything", all(), true);
	stale_until("a COMPLETION_WAIT", (command){ .cmd = { CMD_WAIT << 60 } }, false);
}

static void lengths_of_batches(struct fixture *none)
{
	static const uint32_t lengths[] = { 1, 2, 15, 16, 17, 63, 64, 65, 300 };
	static command batch[300];
	struct guest g;
	uint32_t hwpt;

	if (no_commands() || !open_by_table(&g, &hwpt))
		return;
	for (unsigned int n = 0; n < ARRAY_SIZE(lengths); n++) {
		const uint32_t length = lengths[n], places[] = { 0, length / 2, length - 1 };

		for (unsigned int p = 0; p < ARRAY_SIZE(places); p++) {
			const uint32_t old = written(&g, TARGET_VA);
			const uint32_t page = old == A_PAGE ? B_PAGE : A_PAGE;

			CHECK(old);
			for (uint32_t i = 0; i < length; i++)
				batch[i] = pages(OTHER_DOMAIN, i * PAGE);
			map_va(&g, 0, TARGET_VA, page);
			/* Without the one it stays. */
			if (length > 1)
				WANT(invalidate(&g, batch + 1, length - 1), 0);
			WANT(written(&g, TARGET_VA), old);
			batch[places[p]] = pages(DOMAIN, TARGET_VA);
			WANT(invalidate(&g, batch, length), 0);
			WANT(written(&g, TARGET_VA), page);
		}
	}
	close_guest(&g);
}

/* A command that is refused: those before it are carried out, none behind it. */
static void invalid_command(struct fixture *none)
{
	struct guest g;
	uint32_t hwpt, done;

	if (no_commands() || !open_by_table(&g, &hwpt))
		return;
	for (int behind = 0; behind < 2; behind++) {
		const command batch[] = {
			pages(behind ? OTHER_DOMAIN : DOMAIN, TARGET_VA), pages(DOMAIN, 1 << 3),
			pages(behind ? DOMAIN : OTHER_DOMAIN, TARGET_VA),
		};
		const uint32_t old = written(&g, TARGET_VA);
		const uint32_t page = old == A_PAGE ? B_PAGE : A_PAGE;

		map_va(&g, 0, TARGET_VA, page);
		WANT(written(&g, TARGET_VA), old);
		WANT(invalidate_of(&g, batch, sizeof(*batch), ARRAY_SIZE(batch), &done), -EIO);
		WANT(done, 1);
		WANT(written(&g, TARGET_VA), behind ? old : page);
	}
	close_guest(&g);
}

/* Nothing of one entry stays cached under the next, with the same domain or another. */
static void replaced(struct fixture *none)
{
	uint32_t one, two, beside;
	struct guest g;

	if (!open_by_table(&g, &one))
		return;
	WANT(nested(&g, by_table(&g, OTHER_DOMAIN, 1), &two), 0);
	WANT(nested(&g, by_table(&g, DOMAIN, 1), &beside), 0);
	WANT(written(&g, TARGET_VA), A_PAGE);
	WANT(attach(g.edu.dev, two, NULL), 0);
	WANT(written(&g, TARGET_VA), B_PAGE);
	WANT(attach(g.edu.dev, one, NULL), 0);
	WANT(written(&g, TARGET_VA), A_PAGE);
	WANT(attach(g.edu.dev, beside, NULL), 0);
	WANT(written(&g, TARGET_VA), B_PAGE);
	/* By the host's table, and back. */
	WANT(attach(g.edu.dev, g.parent, NULL), 0);
	WANT(written(&g, TARGET_VA), 0);
	WANT(written_to(&g, gpa_of(A_PAGE)), A_PAGE);
	WANT(attach(g.edu.dev, one, NULL), 0);
	WANT(written(&g, TARGET_VA), A_PAGE);
	/* By none. */
	WANT(detach(g.edu.dev), 0);
	WANT(written(&g, TARGET_VA), 0);
	map_va(&g, 0, TARGET_VA, B_PAGE);
	WANT(attach(g.edu.dev, one, NULL), 0);
	WANT(written(&g, TARGET_VA), B_PAGE);
	close_guest(&g);
}

/* A host's domain ID that was another domain's has nothing cached. */
static void ids_used_again(struct fixture *none)
{
	uint32_t one, two;
	struct guest g;

	if (!open_by_table(&g, &one))
		return;
	for (int n = 0; n < 20; n++) {
		WANT(written(&g, TARGET_VA), n % 2 ? B_PAGE : A_PAGE);
		WANT(detach(g.edu.dev), 0);
		WANT(destroy(g.fd, one), 0);
		if (!attach_by(&g, 100 + n, n % 2 ? 0 : 1, &two))
			return;
		one = two;
	}
	close_guest(&g);
}

/* Two devices of a guest, in one domain or in two. */
static void two_devices(struct fixture *none)
{
	struct guest g[2];
	uint32_t hwpt;

	if (no_commands())
		return;
	for (int apart = 0; apart < 2; apart++) {
		const command c = pages(apart ? OTHER_DOMAIN : DOMAIN, TARGET_VA), first = pages(DOMAIN, TARGET_VA);

		if (!open_by_table(&g[0], &hwpt) || !open_beside(&g[1], &g[0]) ||
		    !attach_by(&g[1], apart ? OTHER_DOMAIN : DOMAIN, 0, &hwpt))
			return;
		for (int n = 0; n < 2; n++)
			WANT(written(&g[n], TARGET_VA), A_PAGE);
		map_va(&g[0], 0, TARGET_VA, B_PAGE);
		for (int n = 0; n < 2; n++)
			WANT(written(&g[n], TARGET_VA), A_PAGE);
		WANT(invalidate(&g[0], &c, 1), 0);
		WANT(written(&g[1], TARGET_VA), B_PAGE);
		WANT(written(&g[0], TARGET_VA), apart ? A_PAGE : B_PAGE);
		WANT(invalidate(&g[0], &first, 1), 0);
		WANT(written(&g[0], TARGET_VA), B_PAGE);
		stop_edu(&g[1].edu);
		close(g[1].edu.dev);
		close_guest(&g[0]);
	}
}

/* Two guests that have a domain ID in common: commands of one do not concern the other. */
static void two_guests(struct fixture *none)
{
	const command commands[] = { pages(DOMAIN, EVERYTHING), all() };
	struct guest g[2];
	uint32_t hwpt;

	if (no_commands() || !open_by_table(&g[0], &hwpt) ||
	    !open_guest_of(&g[1], getenv("OTHER_CDEV"), getenv("OTHER_BDF")))
		return;
	CHECK(start_edu(&g[1].edu));
	fill_tables(&g[1]);
	if (!attach_by(&g[1], DOMAIN, 0, &hwpt))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
		for (int n = 0; n < 2; n++) {
			map_va(&g[n], 0, TARGET_VA, A_PAGE);
			WANT(invalidate(&g[n], &commands[0], 1), 0);
			WANT(written(&g[n], TARGET_VA), A_PAGE);
			map_va(&g[n], 0, TARGET_VA, B_PAGE);
			WANT(written(&g[n], TARGET_VA), A_PAGE);
		}
		WANT(invalidate(&g[0], &commands[i], 1), 0);
		WANT(written(&g[0], TARGET_VA), B_PAGE);
		WANT(written(&g[1], TARGET_VA), A_PAGE);
		WANT(invalidate(&g[1], &commands[i], 1), 0);
		WANT(written(&g[1], TARGET_VA), B_PAGE);
	}
	close_guest(&g[0]);
	close_guest(&g[1]);
}

#define BIT_OF(page)	(1UL << (page))

/*
 * Dirty tracking of the host's table, which QEMU's IOMMU does not use here: the bits by which an IOMMU says that it
 * wrote are set by the test. What was written to is read by the parent, and when it is forgotten, the guest's
 * translations are invalidated.
 */
static void written_to_pages(struct fixture *none)
{
	static struct issued seen;
	struct dte parent;
	uint64_t root, id;
	unsigned int levels;
	struct guest g;
	uint32_t hwpt, forgotten = 0;

	if (!open_tracked(&g))
		return;
	/* One by one: contiguous pages would have one entry, which is marked as a whole. */
	WANT(unmap(g.fd, g.ioas, GUEST_BASE, GUEST_PAGES * PAGE), GUEST_PAGES * PAGE);
	for (uint32_t page = 0; page < GUEST_PAGES; page++)
		WANT(map(g.fd, g.ioas, page_of(&g, page), PAGE, gpa_of(page)), 0);
	fill_tables(&g);
	parent = parent_entry(&g);
	root = parent.word[0] & DTE_ROOT;
	levels = DTE_LEVELS_OF(parent.word[0]);
	if (!attach_by(&g, DOMAIN, 0, &hwpt))
		return;
	id = ID_OF(entry_of(&g));
	CHECK(id != ID_OF(parent));
	WANT(track(g.fd, g.parent, true), 0);
	WANT(entry_of(&g).word[0] & DTE_HAD, DTE_HAD);
	WANT(written(&g, TARGET_VA), A_PAGE);
	WANT(read_dirty(g.fd, g.parent, GUEST_BASE, GUEST_PAGES, true), 0);
	mark_leaf(root, levels, gpa_of(A_PAGE), AMD_DIRTY);
	mark_leaf(root, levels, gpa_of(TABLE_PAGE), AMD_DIRTY);
	for (int n = 0; n < 2; n++) {
		WANT(read_dirty(g.fd, g.parent, GUEST_BASE, GUEST_PAGES, false),
		     BIT_OF(A_PAGE) | BIT_OF(TABLE_PAGE));
		WANT(read_leaf(root, levels, gpa_of(A_PAGE)) & AMD_DIRTY, AMD_DIRTY);
	}
	begin_issue(&seen);
	WANT(read_dirty(g.fd, g.parent, GUEST_BASE, GUEST_PAGES, true), BIT_OF(A_PAGE) | BIT_OF(TABLE_PAGE));
	end_issue(&seen, RING);
	for (uint32_t n = 0; n < seen.commands; n++)
		forgotten += OPCODE_OF(seen.word[n][0]) == CMD_PAGES && (seen.word[n][0] >> 32 & 0xffff) == id;
	CHECK(forgotten);
	WANT(read_leaf(root, levels, gpa_of(A_PAGE)) & AMD_DIRTY, 0);
	WANT(read_dirty(g.fd, g.parent, GUEST_BASE, GUEST_PAGES, true), 0);
	/* What was written to before tracking begins does not count. */
	WANT(track(g.fd, g.parent, false), 0);
	mark_leaf(root, levels, gpa_of(B_PAGE), AMD_DIRTY);
	WANT(track(g.fd, g.parent, true), 0);
	WANT(read_dirty(g.fd, g.parent, GUEST_BASE, GUEST_PAGES, true), 0);
	close_guest(&g);
}

static const struct test tests[] = {
	{ "DMA by a guest's table", dma, ALONE },
	{ "translations are cached until a command", kinds, ALONE },
	{ "lengths of batches", lengths_of_batches, ALONE },
	{ "an invalid command", invalid_command, ALONE },
	{ "one table after another", replaced, ALONE },
	{ "domain IDs that are used again", ids_used_again, ALONE },
	{ "two devices", two_devices, ALONE },
	{ "two guests", two_guests, ALONE },
	{ "pages that were written to", written_to_pages, ALONE },
};

static const struct suite dma_suite = {
	.name = "dma", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &dma_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
