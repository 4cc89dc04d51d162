// SPDX-License-Identifier: GPL-2.0-only
/* The PASID table entry of a device under a guest's first stage, see nested_vtd.c. */
#include <stdlib.h>
#include <string.h>

#include "nested_vtd.h"
#include "vtd_shown.h"

/* Fields of the third word of an entry (9.6). */
#define ENTRY_SRE		(1UL << 0)
#define ENTRY_FIVE_LEVELS	(1UL << 2)
#define ENTRY_WPE		(1UL << 4)
#define ENTRY_EAFE		(1UL << 7)

/* Abilities of an IOMMU (11.4.2, 11.4.3). */
#define CAP_FS5LP		(1UL << 60)
#define ECAP_SRS		(1UL << 31)
#define ECAP_EAFS		(1UL << 34)

static struct shown_entry entry_of_device(void)
{
	return read_entry(getenv("BDF") ?: "");
}

static void first_stages(struct fixture *none)
{
	struct shown_entry one, two;
	uint32_t hwpts[2];
	struct guest g;

	if (!open_attached(&g, &hwpts[0]))
		return;
	WANT(first_stage(&g, 1, &hwpts[1]), 0);
	one = entry_of_device();
	WANT(one.word[0] & ENTRY_PRESENT, ENTRY_PRESENT);
	WANT(ENTRY_TYPE(one.word[0]), nested_type());
	WANT(one.word[2], phys_of(page_of(&g, L4_PAGE)));
	WANT(attach(g.edu.dev, hwpts[1], NULL), 0);
	two = entry_of_device();
	WANT(two.word[2], phys_of(page_of(&g, OTHER_L4_PAGE)));
	WANT(ENTRY_DID(two.word[1]) != ENTRY_DID(one.word[1]), true);
	/* The second stage is the same. */
	WANT(two.word[0], one.word[0]);
	WANT(detach(g.edu.dev), 0);
	two = entry_of_device();
	WANT(two.word[0] & ENTRY_PRESENT, 0);
	close_guest(&g);
}

bool is_able(uint64_t flags, uint32_t width)
{
	const char *bdf = getenv("BDF") ?: "";
	const uint64_t cap = shown_register(bdf, "cap"), ecap = shown_register(bdf, "ecap");

	return (width != 57 || cap & CAP_FS5LP) && (!(flags & IOMMU_VTD_S1_SRE) || ecap & ECAP_SRS) &&
	       (!(flags & IOMMU_VTD_S1_EAFE) || ecap & ECAP_EAFS);
}

uint64_t entry_of_stage(struct iommu_hwpt_vtd_s1 s1)
{
	uint64_t word = s1.pgtbl_addr;

	if (s1.addr_width == 57)
		word |= ENTRY_FIVE_LEVELS;
	if (s1.flags & IOMMU_VTD_S1_SRE)
		word |= ENTRY_SRE | (s1.flags & IOMMU_VTD_S1_WPE ? ENTRY_WPE : 0);
	if (s1.flags & IOMMU_VTD_S1_EAFE)
		word |= ENTRY_EAFE;
	return word;
}

/* Attaches the device to a first stage, and checks the entry. One that the IOMMU lacks leaves the old entry. */
static void check_first_stage(struct guest *g, struct iommu_hwpt_vtd_s1 s1)
{
	const struct shown_entry before = entry_of_device();
	const bool able = is_able(s1.flags, s1.addr_width);
	struct shown_entry entry;
	uint32_t hwpt;
	int r;

	r = first_stage_of(g, 0, &s1, sizeof(s1), &hwpt);
	/* The driver looks at it when a device is attached. */
	if (r != (able || by_the_driver() ? 0 : -EINVAL))
		fail("flags %#llx, %u bits: %s", s1.flags, s1.addr_width, errno_name(r));
	if (r)
		return;
	WANT(attach(g->edu.dev, hwpt, NULL), able ? 0 : -EINVAL);
	entry = entry_of_device();
	if (able) {
		WANT(entry.word[2], entry_of_stage(s1));
		/* The second stage and what is the driver's stay, but for the domain ID. */
		WANT(entry.word[0], before.word[0]);
		WANT(entry.word[1] & ~0xffffUL, before.word[1] & ~0xffffUL);
	} else {
		WANT(memcmp(&entry, &before, sizeof(entry)), 0);
	}
}

static void all_flags(struct fixture *none)
{
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = 48 };
	unsigned int able = 0;
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, &hwpt))
		return;
	s1.pgtbl_addr = phys_of(page_of(&g, OTHER_L4_PAGE));
	for (s1.flags = 0; s1.flags < 8; s1.flags++) {
		for (s1.addr_width = 48; s1.addr_width <= 57; s1.addr_width += 9) {
			able += is_able(s1.flags, s1.addr_width);
			check_first_stage(&g, s1);
		}
	}
	note("the IOMMU is able to walk %u of 16 kinds of first stages", able);
	if (nested_type() == NESTED)
		WANT(able, 16);
	else
		WANT(able, 2);
	close_guest(&g);
}

/* Finds the last address that the second stage can map. The test has failed if there is none. */
static void find_last_address(struct guest *g, uint64_t *last)
{
	struct iommu_iova_range ranges[16];
	uint32_t nr = ARRAY_SIZE(ranges);
	uint64_t align;

	WANT(iova_ranges(g->fd, g->ioas, ranges, &nr, &align), 0);
	CHECK(nr && nr <= ARRAY_SIZE(ranges));
	*last = ranges[nr - 1].last;
}

/*
 * Each bit of the address of the table is where it belongs. The driver takes tables that the second stage cannot reach,
 * too, by which each DMA faults.
 */
static void addresses(struct fixture *none)
{
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = 48 };
	unsigned int reached = 0;
	struct guest g;
	uint64_t last = 0;
	uint32_t hwpt;

	if (!open_attached(&g, &hwpt))
		return;
	find_last_address(&g, &last);
	for (unsigned int bit = 12; bit < 64; bit++) {
		s1.pgtbl_addr = 1ULL << bit;
		reached += s1.pgtbl_addr <= last;
		if (s1.pgtbl_addr <= last || by_the_driver())
			check_first_stage(&g, s1);
		else
			WANT(first_stage_of(&g, 0, &s1, sizeof(s1), &hwpt), -EINVAL);
	}
	note("%u of 52 bits are of addresses that the second stage can map", reached);
	CHECK(reached >= 39 - 12 && reached < 52);
	close_guest(&g);
}

static const struct test tests[] = {
	{ "first stages of a device", first_stages, ALONE },
	{ "all flags and address widths", all_flags, ALONE },
	{ "addresses of tables", addresses, ALONE },
};

const struct suite table_suite = {
	.name = "table", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
