// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two network cards in one address space, each behind an IOMMU of its own where the machine has
 * two: DMA and interrupts of both, while they are attached, moved and detached.
 *
 * Usage: FIRST_BDF=... SECOND_BDF=... pair none, both bound to vfio-pci
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/vfio.h>

#include "pair_call.h"

static void one_space(struct fixture *f)
{
	struct pair p = {};

	WANT(start_pair(&p, NULL), 0);
	CHECK(writes_to(&p, 0, p.dst) && writes_to(&p, 1, p.dst));
	CHECK(card_interrupts(p.card[0]) && card_interrupts(p.card[1]));
	stop_pair(&p);
}

static void both_see_unmap(struct fixture *f)
{
	struct pair p = {};

	WANT(start_pair(&p, NULL), 0);
	CHECK(writes_to(&p, 0, p.dst) && writes_to(&p, 1, p.dst));
	WANT(unmap(p.fd, p.ioas, DST, PAGE), PAGE);
	CHECK(is_stopped(&p, 0) && is_stopped(&p, 1));
	WANT(map(p.fd, p.ioas, p.far, PAGE, DST), 0);
	CHECK(writes_to(&p, 0, p.far) && writes_to(&p, 1, p.far));
	stop_pair(&p);
}

/* Page tables belong to an IOMMU: a device of another IOMMU gets others, or cannot be attached. */
static void own_tables(struct fixture *f)
{
	struct pair p = {};
	uint32_t hwpts[CARDS], mine;
	bool apart = getenv("TWO_IOMMUS");

	WANT(start_pair(&p, hwpts), 0);
	CHECK((hwpts[0] != hwpts[1]) == apart);
	WANT(hwpt_alloc(p.fd, p.dev_id[0], p.ioas, &mine), 0);
	WANT_WHY(p.fd, move_to_tables(&p, 1, mine, p.ioas), apart ? -EINVAL : 0,
		 apart ? "attach-driver" : NULL);
	/* After a refused move the card is attached where it was. */
	CHECK(writes_to(&p, 1, p.dst) && card_interrupts(p.card[1]));
	WANT(move_to_tables(&p, 0, mine, p.ioas), 0);
	CHECK(writes_to(&p, 0, p.dst) && card_interrupts(p.card[0]));
	WANT(unmap(p.fd, p.ioas, DST, PAGE), PAGE);
	CHECK(is_stopped(&p, 0) && is_stopped(&p, 1));
	stop_pair(&p);
}

static void replace_across(struct fixture *f)
{
	struct pair p = {};

	WANT(start_pair(&p, NULL), 0);
	WANT(move(&p, 1, p.other), 0);
	CHECK(writes_to(&p, 0, p.dst) && writes_to(&p, 1, p.far));
	WANT(move(&p, 0, p.other), 0);
	CHECK(writes_to(&p, 0, p.far) && writes_to(&p, 1, p.far));
	WANT(move(&p, 1, p.ioas), 0);
	CHECK(writes_to(&p, 0, p.far) && writes_to(&p, 1, p.dst));
	WANT(move(&p, 0, p.ioas), 0);
	WANT(unmap(p.fd, p.other, DST, PAGE), PAGE);
	CHECK(writes_to(&p, 0, p.dst) && writes_to(&p, 1, p.dst));
	stop_pair(&p);
}

/* Interrupts that were set up arrive wherever the card is moved to. */
static void interrupts_follow(struct fixture *f)
{
	struct pair p = {};
	uint32_t mine;
	int i;

	WANT(start_pair(&p, NULL), 0);
	for (i = 0; i < CARDS; i++) {
		CHECK(card_interrupts(p.card[i]));
		WANT(move(&p, i, p.other), 0);
		CHECK(card_interrupts(p.card[0]) && card_interrupts(p.card[1]));
		WANT(hwpt_alloc(p.fd, p.dev_id[i], p.ioas, &mine), 0);
		WANT(move_to_tables(&p, i, mine, p.ioas), 0);
		CHECK(card_interrupts(p.card[0]) && card_interrupts(p.card[1]));
		WANT(detach(card_fd(p.card[i])), 0);
		CHECK(card_interrupts(p.card[!i]));
		WANT(move(&p, i, p.ioas), 0);
		CHECK(card_interrupts(p.card[0]) && card_interrupts(p.card[1]));
		CHECK(writes_to(&p, i, p.dst));
	}
	stop_pair(&p);
}

/* Interrupts are set up while the card is detached, so in no page table. */
static void interrupts_first(struct fixture *f)
{
	struct pair p = {};
	int i;

	WANT(open_pair(&p), 0);
	for (i = 0; i < CARDS; i++) {
		WANT(move(&p, i, p.ioas), 0);
		WANT(detach(card_fd(p.card[i])), 0);
		WANT(move(&p, i, p.other), 0);
		WANT(start_card(&p, i), 0);
		CHECK(card_interrupts(p.card[i]));
	}
	stop_pair(&p);
}

/* Finds the MSI window of a card. */
static bool msi_window(int i, uint64_t *start)
{
	char path[128], kind[32];
	unsigned long long first, last;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group/reserved_regions", bdf(i));
	f = fopen(path, "r");
	while (f && fscanf(f, "%llx %llx %31s", &first, &last, kind) == 3) {
		if (!strcmp(kind, "msi")) {
			*start = first;
			found = true;
		}
	}
	if (f)
		fclose(f);
	return found;
}

/* User space cannot map the MSI window while a card needs it, and can as soon as none does. */
static void window_is_lent(struct fixture *f)
{
	struct pair p = {};
	uint64_t window = 0;
	uint32_t mine;

	CHECK(msi_window(0, &window));
	WANT(start_pair(&p, NULL), 0);
	WANT(hwpt_alloc(p.fd, p.dev_id[0], p.ioas, &mine), 0);
	WANT(move_to_tables(&p, 0, mine, p.ioas), 0);
	CHECK(card_interrupts(p.card[0]));
	WANT_WHY(p.fd, map(p.fd, p.ioas, p.far, PAGE, window), -EINVAL, "map-reserved");
	WANT(move(&p, 0, p.other), 0);
	WANT_WHY(p.fd, map(p.fd, p.ioas, p.far, PAGE, window), -EINVAL, "map-reserved");
	WANT(move(&p, 1, p.other), 0);
	/*
	 * These page tables had a doorbell for a card that was moved away. The C module leaves the
	 * doorbell in them, and reaches a WARN.
	 */
	if (!on_c_module() || !getenv("TWO_IOMMUS")) {
		WANT(map(p.fd, p.ioas, p.far, PAGE, window), 0);
		WANT_WHY(p.fd, move_to_tables(&p, 0, mine, p.ioas), -EADDRINUSE, "ioas-in-use");
		WANT(unmap(p.fd, p.ioas, window, PAGE), PAGE);
	}
	WANT(move_to_tables(&p, 0, mine, p.ioas), 0);
	CHECK(card_interrupts(p.card[0]) && card_interrupts(p.card[1]));
	CHECK(writes_to(&p, 0, p.dst) && writes_to(&p, 1, p.far));
	stop_pair(&p);
}

/*
 * Dirty pages are tracked if the IOMMU can do that, and refused if GET_HW_INFO says that it
 * cannot.
 */
static void dirty_pages(struct fixture *f)
{
	struct pair p = {};
	int i;

	WANT(start_pair(&p, NULL), 0);
	for (i = 0; i < CARDS; i++) {
		struct iommu_hw_info info = { .size = sizeof(info), .dev_id = p.dev_id[i] };
		struct iommu_hwpt_alloc alloc = {
			.size = sizeof(alloc),
			.flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
			.dev_id = p.dev_id[i],
			.pt_id = p.ioas,
		};
		struct iommu_hwpt_set_dirty_tracking track = {
			.size = sizeof(track),
			.flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
		};
		uint64_t bits = 0;
		struct iommu_hwpt_get_dirty_bitmap read = {
			.size = sizeof(read),
			.iova = DST,
			.length = PAGE,
			.page_size = PAGE,
			.data = PTR(&bits),
		};

		WANT(call(p.fd, IOMMU_GET_HW_INFO, &info), 0);
		if (!(info.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING)) {
			WANT_WHY(p.fd, call(p.fd, IOMMU_HWPT_ALLOC, &alloc), -EOPNOTSUPP, "hwpt-dirty");
			continue;
		}
		WANT(call(p.fd, IOMMU_HWPT_ALLOC, &alloc), 0);
		WANT(move_to_tables(&p, i, alloc.out_hwpt_id, p.ioas), 0);
		track.hwpt_id = read.hwpt_id = alloc.out_hwpt_id;
		WANT(call(p.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &track), 0);
		WANT(call(p.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &read), 0);
		CHECK(!bits);
		CHECK(writes_to(&p, i, p.dst));
		WANT(call(p.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &read), 0);
		CHECK(bits == 1);
	}
	stop_pair(&p);
}

/* VFIO asks which devices a reset of a card's bus concerns, and what they are called here. */
static void bus_is_known(struct fixture *f)
{
	union {
		struct vfio_pci_hot_reset_info info;
		char room[256];
	} told;
	struct pair p = {};
	int i, known = 0;

	WANT(start_pair(&p, NULL), 0);
	for (i = 0; i < CARDS; i++) {
		int r;

		memset(&told, 0, sizeof(told));
		told.info.argsz = sizeof(told);
		r = call(card_fd(p.card[i]), VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &told);
		/* Only the bus of a port can be reset. */
		if (r == -ENODEV)
			continue;
		WANT(r, 0);
		WANT(told.info.flags, VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED);
		WANT(told.info.count, 1);
		WANT(told.info.devices[0].devid, p.dev_id[i]);
		known++;
	}
	CHECK(known);
	stop_pair(&p);
}

static const struct test tests[] = {
	{ "both copy and interrupt in one space", one_space, ALONE },
	{ "memory is unmapped for both", both_see_unmap, ALONE },
	{ "page tables are an IOMMU's own", own_tables, ALONE },
	{ "moved across two spaces", replace_across, ALONE },
	{ "interrupts after a move", interrupts_follow, ALONE },
	{ "interrupts set up while detached", interrupts_first, ALONE },
	{ "the MSI window is free again", window_is_lent, ALONE },
	{ "dirty pages", dirty_pages, ALONE },
	{ "whose bus is reset", bus_is_known, ALONE },
};

static const struct suite pair_suite = {
	.name = "pair",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &pair_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
