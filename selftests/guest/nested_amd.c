// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's device table entries under an emulated AMD-Vi, as amd_call.h says. KTAP; the frame is that of
 * uapi.c. Its commands and events are in nested_amd_queue.c.
 *
 * Usage: BDF=... CDEV=... OTHER_BDF=... OTHER_CDEV=... nested-amd none
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "nested_amd.h"

/*
 * The entry that a device has under a guest's entry, by the one under the parent alone: the host's domain ID is
 * left out. The driver by itself does not let the guest refuse reads and writes nor suppress events, and takes PPR
 * over, although it has no page requests for guests.
 */
static struct dte expected(struct dte parent, struct dte guest)
{
	const uint64_t g0 = guest.word[0], g1 = guest.word[1];
	struct dte host = parent;

	host.word[1] &= ~0xffffUL;
	if (!(g0 & DTE_V))
		return host;
	if (!by_the_driver()) {
		host.word[0] &= ~(DTE_IR | DTE_IW) | g0;
		host.word[1] |= g1 & (DTE_SE | DTE_SA);
	}
	if (!(g0 & DTE_TV)) {
		host.word[0] &= ~(DTE_TV | DTE_IR | DTE_IW);
		return host;
	}
	if (!(g0 & DTE_GV))
		return host;
	if (by_the_driver())
		host.word[0] |= g0 & DTE_PPR;
	host.word[0] |= g0 & (DTE_GV | DTE_GIOV | DTE_GLX(3) | DTE_GCR3_0(~0UL));
	host.word[1] |= g1 & DTE_GCR3_1(~0UL);
	host.word[2] |= guest.word[2] & DTE_LEVELS(3);
	return host;
}

/* Fails the test if the entry of the device is not what the guest's says. Returns the host's domain ID. */
static uint32_t check_entry(const struct guest *g, struct dte parent, struct dte guest)
{
	const struct dte want = expected(parent, guest), got = entry_of(g);

	for (int n = 0; n < 4; n++) {
		const uint64_t word = n == 1 ? got.word[1] & ~0xffffUL : got.word[n];

		if (word != want.word[n])
			fail("entry %#lx %#lx: word %d is %#lx, not %#lx", guest.word[0], guest.word[1], n,
			     word, want.word[n]);
	}
	return ID_OF(got);
}

static void entry_of_the_parent(struct fixture *none)
{
	struct guest g;
	struct dte dte;

	if (!open_guest(&g))
		return;
	dte = parent_entry(&g);
	/* Three levels, all that a domain has at first. */
	WANT(dte.word[0] & ~DTE_ROOT, DTE_V | DTE_TV | 3 << 9 | DTE_IR | DTE_IW);
	CHECK(dte.word[0] & DTE_ROOT);
	CHECK(ID_OF(dte));
	WANT(dte.word[1] & ~0xffffUL, 0);
	WANT(dte.word[2] & DTE_LEVELS(3), 0);
	WANT(written_to(&g, gpa_of(A_PAGE)), A_PAGE);
	close_guest(&g);
}

/* All values of what a guest decides about. Of these each has a meaning, or none beside the others. */
static void flags_of_entries(struct fixture *none)
{
	static const uint64_t flags0[] = {
		DTE_V, DTE_TV, DTE_GV, DTE_GIOV, DTE_GLX(1), DTE_IR, DTE_IW, DTE_PPR,
	};
	static const uint64_t flags1[] = { DTE_I, DTE_SE, DTE_SA, DTE_CACHE };
	struct guest g;
	struct dte parent;

	if (!open_guest(&g))
		return;
	parent = parent_entry(&g);
	for (unsigned int set = 0; set < 1 << (ARRAY_SIZE(flags0) + ARRAY_SIZE(flags1)); set++) {
		struct dte dte = translating(DOMAIN, GCR3_PAGE);
		uint32_t hwpt;

		for (unsigned int n = 0; n < ARRAY_SIZE(flags0); n++)
			dte.word[0] = set >> n & 1 ? dte.word[0] | flags0[n] : dte.word[0] & ~flags0[n];
		for (unsigned int n = 0; n < ARRAY_SIZE(flags1); n++)
			if (set >> (ARRAY_SIZE(flags0) + n) & 1)
				dte.word[1] |= flags1[n];
		WANT(nested(&g, dte, &hwpt), 0);
		WANT(attach(g.edu.dev, hwpt, NULL), 0);
		CHECK(check_entry(&g, parent, dte) != ID_OF(parent));
		/* All of the entry is the parent's again. */
		WANT(attach(g.edu.dev, g.parent, NULL), 0);
		WANT(memcmp(&parent, (struct dte[]){ entry_of(&g) }, sizeof(parent)), 0);
		WANT(destroy(g.fd, hwpt), 0);
		if (has_failed())
			break;
	}
	close_guest(&g);
}

/* Each bit of the address of a GCR3 table is where it belongs. */
static void gcr3_addresses(struct fixture *none)
{
	struct guest g;
	struct dte parent;

	if (!open_guest(&g))
		return;
	parent = parent_entry(&g);
	for (unsigned int bit = 12; bit < 52; bit++) {
		const uint64_t gcr3 = 1UL << bit;
		struct dte dte = { {
			DTE_V | DTE_TV | DTE_GV | DTE_IR | DTE_IW | DTE_GCR3_0(gcr3),
			DTE_GCR3_1(gcr3) | DOMAIN,
		} };
		uint32_t hwpt;

		WANT(nested(&g, dte, &hwpt), 0);
		WANT(attach(g.edu.dev, hwpt, NULL), 0);
		check_entry(&g, parent, dte);
		WANT(attach(g.edu.dev, g.parent, NULL), 0);
		WANT(destroy(g.fd, hwpt), 0);
	}
	close_guest(&g);
}

/* What a guest may set depends on the driver's EFR: of the machine amd-nesting, see acpi.py. */
static int answer_to_bit(unsigned int word, uint64_t bit)
{
	static const uint64_t taken[4] = {
		DTE_V | DTE_TV | DTE_PPR | DTE_GPRP | DTE_GIOV | DTE_GV | DTE_GLX(1) | DTE_GCR3_0(~0UL) |
			DTE_IR | DTE_IW,
		0xffff | DTE_GCR3_1(~0UL) | DTE_I | DTE_SE | DTE_SA | DTE_CACHE,
		/* All of interrupt remapping, which the VMM does. */
		0xf7UL << 56 | ((1UL << 52) - 1),
	};

	if (word == 0 && bit & (DTE_MODE | DTE_ROOT))
		return -EINVAL;
	/* More levels of a GCR3 table, of page tables. */
	if (word == 0 && bit == DTE_GLX(2))
		return -EOPNOTSUPP;
	if (word == 2 && bit == DTE_LEVELS(1))
		return -EOPNOTSUPP;
	if (word == 2 && bit == DTE_LEVELS(2))
		return -EINVAL;
	if (by_the_driver())
		return 0;
	return bit & taken[word] ? 0 : -EINVAL;
}

static void bits_of_entries(struct fixture *none)
{
	struct guest g;

	if (!open_guest(&g))
		return;
	for (unsigned int n = 0; n < 256; n++) {
		const uint64_t bit = 1UL << n % 64;
		struct dte dte = translating(DOMAIN, GCR3_PAGE);
		uint32_t hwpt;
		int r;

		dte.word[n / 64] |= bit;
		r = nested(&g, dte, &hwpt);
		if (r != answer_to_bit(n / 64, bit))
			fail("bit %u: %s, not %s", n, errno_name(r), errno_name(answer_to_bit(n / 64, bit)));
		if (!r)
			WANT(destroy(g.fd, hwpt), 0);
		/* An entry that is not valid has no other bits. The driver looks at some. */
		dte.word[0] &= ~DTE_V;
		if (by_the_driver())
			continue;
		WANT(nested(&g, dte, &hwpt), 0);
		WANT(destroy(g.fd, hwpt), 0);
	}
	close_guest(&g);
}

static void wrong_entries(struct fixture *none)
{
	static union {
		struct dte dte;
		char bytes[2 * PAGE];
	} longest;
	struct dte dte = translating(DOMAIN, GCR3_PAGE), at_0 = dte, glx = dte;
	struct {
		struct dte dte;
		uint64_t more;
	} longer = { dte, 0 };
	struct guest g;

	if (!open_guest(&g))
		return;
	at_0.word[0] &= ~DTE_GCR3_0(~0UL);
	at_0.word[1] &= ~DTE_GCR3_1(~0UL);
	WANT(nested(&g, at_0, NULL), -EINVAL);
	glx.word[0] |= DTE_GLX(3);
	WANT(nested(&g, glx, NULL), -EINVAL);
	dte.word[2] = DTE_LEVELS(3);
	WANT(nested(&g, dte, NULL), -EINVAL);
	WANT(nested_of(&g, 0, &longer, sizeof(dte) - 1, NULL), -EINVAL);
	WANT(nested_of(&g, 0, &longer, sizeof(longer), NULL), by_the_driver() ? -EINVAL : 0);
	longest.dte = longer.dte;
	WANT(nested_of(&g, 0, &longest, PAGE, NULL), by_the_driver() ? -EINVAL : 0);
	WANT(nested_of(&g, 0, &longest, PAGE + 1, NULL), by_the_driver() ? -EINVAL : -E2BIG);
	longer.more = 1;
	WANT(nested_of(&g, 0, &longer, sizeof(longer), NULL), by_the_driver() ? -EINVAL : -E2BIG);
	WANT(nested_of(&g, 0, (void *)PAGE, sizeof(dte), NULL), -EFAULT);
	WANT(nested_of(&g, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &longer, sizeof(dte), NULL), -EOPNOTSUPP);
	WANT(nested_of(&g, IOMMU_HWPT_ALLOC_NEST_PARENT, &longer, sizeof(dte), NULL), -EOPNOTSUPP);
	close_guest(&g);
}

enum { IDS = 5 };

/* One host's id for each of the guest's, as long as it is used. */
static void check_ids(const uint32_t ids[IDS])
{
	uint32_t hwpt[2][IDS], host[IDS];
	struct dte parent;
	struct guest g;

	if (!open_guest(&g))
		return;
	parent = parent_entry(&g);
	for (unsigned int n = 0; n < IDS; n++) {
		for (int twice = 0; twice < 2; twice++) {
			struct dte dte = translating(ids[n], twice ? OTHER_GCR3_PAGE : GCR3_PAGE);
			uint32_t id;

			WANT(nested(&g, dte, &hwpt[twice][n]), 0);
			WANT(attach(g.edu.dev, hwpt[twice][n], NULL), 0);
			id = check_entry(&g, parent, dte);
			if (twice)
				WANT(id, host[n]);
			host[n] = id;
		}
		CHECK(host[n] && host[n] != ID_OF(parent));
		for (unsigned int before = 0; before < n; before++)
			CHECK(host[n] != host[before]);
	}
	/* One of the two that use an id is gone. */
	WANT(destroy(g.fd, hwpt[0][2]), 0);
	WANT(attach(g.edu.dev, hwpt[1][2], NULL), 0);
	WANT(check_entry(&g, parent, translating(DOMAIN, OTHER_GCR3_PAGE)), host[2]);
	close_guest(&g);
}

static void domain_ids(struct fixture *none)
{
	check_ids((const uint32_t[]){ 0, 1, DOMAIN, OTHER_DOMAIN, 0xffff });
}

static void domain_id_0_later(struct fixture *none)
{
	check_ids((const uint32_t[]){ 1, 0, DOMAIN, OTHER_DOMAIN, 0xffff });
}

static void replaced(struct fixture *none)
{
	const struct dte dte = translating(DOMAIN, GCR3_PAGE);
	const struct dte other = translating(OTHER_DOMAIN, OTHER_GCR3_PAGE);
	struct dte parent, blocked;
	struct guest g;
	uint32_t one, two, own;

	/* Nested page tables first: the device was never attached to the parent. */
	if (!open_attached(&g, dte, &one))
		return;
	WANT(nested(&g, other, &two), 0);
	WANT(written_to(&g, gpa_of(A_PAGE)), A_PAGE);
	parent = parent_entry(&g);
	WANT(parent.word[0] & DTE_GV, 0);
	WANT(written_to(&g, gpa_of(B_PAGE)), B_PAGE);
	for (int twice = 0; twice < 2; twice++) {
		WANT(attach(g.edu.dev, one, NULL), 0);
		check_entry(&g, parent, dte);
		WANT(written_to(&g, gpa_of(A_PAGE)), A_PAGE);
		WANT(attach(g.edu.dev, two, NULL), 0);
		check_entry(&g, parent, other);
		WANT(written_to(&g, gpa_of(B_PAGE)), B_PAGE);
		/* The same again. */
		WANT(attach(g.edu.dev, two, NULL), 0);
		check_entry(&g, parent, other);
	}
	/* Page tables of its own for the device, and back. */
	own = g.ioas;
	WANT(attach(g.edu.dev, own, &own), 0);
	WANT(entry_of(&g).word[0] & DTE_GV, 0);
	WANT(written_to(&g, gpa_of(A_PAGE)), A_PAGE);
	WANT(attach(g.edu.dev, one, NULL), 0);
	check_entry(&g, parent, dte);
	WANT(destroy(g.fd, one), -EBUSY);
	WANT(destroy(g.fd, two), 0);
	/* Nothing. */
	WANT(detach(g.edu.dev), 0);
	blocked = entry_of(&g);
	WANT(blocked.word[0], DTE_V);
	WANT(blocked.word[1], 0);
	WANT(written_to(&g, gpa_of(A_PAGE)), 0);
	WANT(destroy(g.fd, one), 0);
	close_guest(&g);
}

/* A guest's entry without translation information. */
static void blocked(struct fixture *none)
{
	struct dte dte = { { DTE_V | DTE_IR | DTE_IW, DOMAIN } };
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, dte, &hwpt))
		return;
	WANT(written_to(&g, gpa_of(A_PAGE)), 0);
	dte.word[0] |= DTE_TV;
	WANT(nested(&g, dte, &hwpt), 0);
	WANT(attach(g.edu.dev, hwpt, NULL), 0);
	WANT(written_to(&g, gpa_of(A_PAGE)), A_PAGE);
	close_guest(&g);
}

/* The host unmaps and maps below a nested device, whose translations have a domain ID of their own. */
static void host_unmaps(struct fixture *none)
{
	const uint64_t target = gpa_of(A_PAGE);
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, translating(DOMAIN, GCR3_PAGE), &hwpt))
		return;
	for (int parent_too = 0; parent_too < 2; parent_too++) {
		WANT(written_to(&g, target), A_PAGE);
		WANT(unmap(g.fd, g.ioas, GUEST_BASE, GUEST_PAGES * PAGE), GUEST_PAGES * PAGE);
		WANT(map(g.fd, g.ioas, g.memory, A_PAGE * PAGE, GUEST_BASE), 0);
		WANT(written_to(&g, target), 0);
		WANT(map(g.fd, g.ioas, page_of(&g, B_PAGE), PAGE, target), 0);
		WANT(written_to(&g, target), B_PAGE);
		WANT(unmap(g.fd, g.ioas, target, PAGE), PAGE);
		WANT(map(g.fd, g.ioas, page_of(&g, A_PAGE), PAGE, target), 0);
		WANT(written_to(&g, target), A_PAGE);
		WANT(unmap_all(g.fd, g.ioas) > 0, true);
		WANT(map(g.fd, g.ioas, g.memory, GUEST_PAGES * PAGE, GUEST_BASE), 0);
		/* The same after the device was attached to the parent. */
		WANT(attach(g.edu.dev, g.parent, NULL), 0);
		WANT(attach(g.edu.dev, hwpt, NULL), 0);
	}
	close_guest(&g);
}

/* The host's page table gets more levels while the device is attached to nested page tables. */
static void new_top(struct fixture *none)
{
	const struct dte dte = translating(DOMAIN, GCR3_PAGE);
	struct dte parent, more;
	uint32_t hwpt, id;
	struct guest g;

	for (int parent_too = 0; parent_too < 2; parent_too++) {
		if (!open_guest(&g))
			return;
		WANT(nested(&g, dte, &hwpt), 0);
		parent = parent_too ? parent_entry(&g) : (struct dte){ { 0 } };
		WANT(attach(g.edu.dev, hwpt, NULL), 0);
		id = ID_OF(entry_of(&g));
		WANT(map(g.fd, g.ioas, page_of(&g, B_PAGE), PAGE, HIGH_BASE), 0);
		more = entry_of(&g);
		WANT(more.word[0] & DTE_MODE, 4 << 9);
		WANT(ID_OF(more), id);
		WANT(written_to(&g, gpa_of(A_PAGE)), A_PAGE);
		/* But for the host's table it is the same. */
		parent = parent_entry(&g);
		WANT(parent.word[0] & DTE_MODE, 4 << 9);
		WANT(parent.word[0] & DTE_ROOT, more.word[0] & DTE_ROOT);
		WANT(attach(g.edu.dev, hwpt, NULL), 0);
		WANT(memcmp(&more, (struct dte[]){ entry_of(&g) }, sizeof(more)), 0);
		check_entry(&g, parent, dte);
		close_guest(&g);
	}
}

/* A guest with more domain IDs than the driver queues commands for at once: what the host unmaps goes from each. */
static void host_unmaps_of_many(struct fixture *none)
{
	static const uint32_t numbers[] = { 1, 14, 15, 16, 17, 31, 32, 33, 70 };
	static struct issued seen;
	uint32_t hwpt, have = 1;
	struct guest g;

	if (!open_attached(&g, translating(DOMAIN, GCR3_PAGE), &hwpt))
		return;
	for (unsigned int n = 0; n < ARRAY_SIZE(numbers); n++) {
		static uint8_t times[1 << 16];
		uint32_t domains = 0;

		for (; have < numbers[n]; have++)
			WANT(nested(&g, translating(OTHER_DOMAIN + have, GCR3_PAGE), &hwpt), 0);
		WANT(map(g.fd, g.ioas, g.memory, PAGE, GUEST_BASE + GUEST_PAGES * PAGE), 0);
		begin_issue(&seen);
		WANT(unmap(g.fd, g.ioas, GUEST_BASE + GUEST_PAGES * PAGE, PAGE), PAGE);
		end_issue(&seen, RING);
		memset(times, 0, sizeof(times));
		for (uint32_t i = 0; i < seen.commands; i++)
			if (OPCODE_OF(seen.word[i][0]) == CMD_PAGES)
				domains += !times[seen.word[i][0] >> 32 & 0xffff]++;
		/* Those of the guest's, and the parent's own. */
		WANT(domains, numbers[n] + 1);
		CHECK(times[ID_OF(entry_of(&g))]);
	}
	close_guest(&g);
}

/* Two devices of a guest: entries of their own, and one domain ID or two. */
static void two_devices(struct fixture *none)
{
	const struct dte dte = translating(DOMAIN, GCR3_PAGE);
	const struct dte other = translating(OTHER_DOMAIN, GCR3_PAGE);
	uint32_t hwpt, hwpt_other;
	struct guest g[2];
	struct dte parent[2];

	if (!open_guest(&g[0]) || !open_beside(&g[1], &g[0]))
		return;
	for (int n = 0; n < 2; n++)
		parent[n] = parent_entry(&g[n]);
	WANT(ID_OF(parent[0]), ID_OF(parent[1]));
	WANT(nested(&g[0], dte, &hwpt), 0);
	WANT(nested(&g[1], other, &hwpt_other), 0);
	WANT(attach(g[0].edu.dev, hwpt, NULL), 0);
	WANT(attach(g[1].edu.dev, hwpt, NULL), 0);
	WANT(check_entry(&g[0], parent[0], dte), check_entry(&g[1], parent[1], dte));
	WANT(attach(g[1].edu.dev, hwpt_other, NULL), 0);
	CHECK(check_entry(&g[0], parent[0], dte) != check_entry(&g[1], parent[1], other));
	WANT(written_to(&g[0], gpa_of(A_PAGE)), A_PAGE);
	WANT(written_to(&g[1], gpa_of(B_PAGE)), B_PAGE);
	/* One of them leaves. */
	WANT(detach(g[1].edu.dev), 0);
	WANT(written_to(&g[0], gpa_of(A_PAGE)), A_PAGE);
	WANT(written_to(&g[1], gpa_of(B_PAGE)), 0);
	stop_edu(&g[1].edu);
	close_guest(&g[0]);
}

/*
 * An attach that is refused, and on a kernel that makes allocations fail, one for want of memory at any place, leave
 * the entry and the DMA of the device as they are.
 */
static void attach_fails(struct fixture *none)
{
	int inject = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC), r = -1;
	uint32_t one, two, gone, nth = 1, refused = 0;
	struct dte before, after;
	struct guest g;

	if (!open_attached(&g, translating(DOMAIN, GCR3_PAGE), &one))
		return;
	WANT(nested(&g, translating(OTHER_DOMAIN, OTHER_GCR3_PAGE), &two), 0);
	WANT(nested(&g, translating(DOMAIN, OTHER_GCR3_PAGE), &gone), 0);
	WANT(destroy(g.fd, gone), 0);
	before = entry_of(&g);
	WANT(attach(g.edu.dev, gone, NULL), -ENOENT);
	after = entry_of(&g);
	WANT(memcmp(&before, &after, sizeof(before)), 0);
	WANT(written_to(&g, gpa_of(A_PAGE)), A_PAGE);
	/* Allocations that may sleep fail too. */
	CHECK(inject < 0 || sleeping_allocations_fail());
	for (; inject >= 0 && nth < 100; nth++) {
		CHECK(fail_nth(inject, nth));
		r = attach(g.edu.dev, two, NULL);
		if (!nth_failed(inject))
			break;
		refused += r == -ENOMEM;
		/* Some failures are tolerated, and if only the struct could not be written back, the device was moved. */
		if (!r || r == -EFAULT)
			WANT(attach(g.edu.dev, one, NULL), 0);
		after = entry_of(&g);
		WANT(memcmp(&before, &after, sizeof(before)), 0);
		WANT(written_to(&g, gpa_of(A_PAGE)), A_PAGE);
	}
	if (inject >= 0) {
		note("%u of %u failures refuse it", refused, nth - 1);
		CHECK(refused && !r);
		after = entry_of(&g);
		CHECK(memcmp(&before, &after, sizeof(before)));
		close(inject);
	}
	close_guest(&g);
}

static void viommus(struct fixture *none)
{
	struct iommufd_rs_viommu_iommu further;
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = IOMMUFD_RS_VIOMMU_TYPE_AMD,
		.data_len = sizeof(further), .data_uptr = PTR(&further),
	};
	uint32_t id;
	struct guest g;

	if (!open_guest(&g))
		return;
	/* The types of the kernel, and what may become one. */
	for (uint32_t type = 0; type < 16; type++)
		WANT(viommu_of(&g, type, &id), -EOPNOTSUPP);
	WANT(viommu_of(&g, IOMMUFD_RS_VIOMMU_TYPE_AMD + 0x10000, &id), -EOPNOTSUPP);
	WANT(viommu_of(&g, IOMMUFD_RS_VIOMMU_TYPE_AMD, &id), 0);
	WANT(destroy(g.fd, id), 0);
	WANT(destroy(g.fd, g.viommu), -EBUSY);
	WANT(vdevice_of(&g, OTHER_DEVICE, &id), -EEXIST);
	/* A further IOMMU, which is the same: the driver makes vIOMMUs on one only. */
	further.dev_id = cmd.dev_id = g.dev_id;
	further.hwpt_id = cmd.hwpt_id = g.parent;
	WANT(call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd), by_the_driver() ? -EOPNOTSUPP : -EINVAL);
	close_guest(&g);
}

static const struct test tests[] = {
	{ "the entry of a device under the parent", entry_of_the_parent, ALONE },
	{ "entries with all flags", flags_of_entries, ALONE },
	{ "addresses of GCR3 tables", gcr3_addresses, ALONE },
	{ "each bit of an entry", bits_of_entries, ALONE },
	{ "wrong entries", wrong_entries, ALONE },
	{ "domain IDs", domain_ids, ALONE },
	{ "domain ID 0 after another one", domain_id_0_later, ALONE },
	{ "one entry after another", replaced, ALONE },
	{ "an entry that blocks", blocked, ALONE },
	{ "the host unmaps", host_unmaps, ALONE },
	{ "the host unmaps what many domains have", host_unmaps_of_many, ALONE },
	{ "a new top of the host's table", new_top, ALONE },
	{ "two devices", two_devices, ALONE },
	{ "an attach that fails", attach_fails, ALONE },
	{ "types of vIOMMUs", viommus, ALONE },
};

static const struct suite nested_suite = {
	.name = "nested", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &nested_suite, &queue_suite, &ats_suite, &dirty_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
