// SPDX-License-Identifier: GPL-2.0-only
/*
 * First stages of a guest on PASIDs of devices, and all that a first stage can need, under an emulated VT-d of which
 * the kernel claims that it has both (patches/7.3/test/vtd-nest.patch). No device of QEMU has PASIDs, and QEMU does not
 * execute nested entries: what is tested are the entries and descriptors that the driver writes. KTAP; the frame is
 * that of uapi.c.
 *
 * Usage: BDF=... CDEV=... OTHER_BDF=... OTHER_CDEV=... RNG_BDF=... RNG_CDEV=... nested-vtd-pasid none
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nested_plug.h"
#include "nested_vtd.h"
#include "vtd_shown.h"

/* PASIDs of devices: 16 bits are claimed. */
#define MOST_PASIDS	(1u << 16)

static const char *bdf(void)
{
	return getenv("BDF") ?: "";
}

static bool same(struct shown_entry a, struct shown_entry b)
{
	return !memcmp(&a, &b, sizeof(a));
}

static bool is_absent(const char *device, uint32_t pasid)
{
	return same(read_pasid_entry(device, pasid), (struct shown_entry){ { 0 } });
}

/* Makes page tables of the host for PASIDs. */
static int paging(struct guest *g, uint32_t *hwpt)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .flags = IOMMU_HWPT_ALLOC_PASID, .dev_id = g->dev_id, .pt_id = g->ioas,
	};
	int r = call(g->fd, IOMMU_HWPT_ALLOC, &cmd);

	*hwpt = cmd.out_hwpt_id;
	return r;
}

/* Opens a device on a parent for PASIDs, and attaches it to the first of two first stages. */
static bool open_for_pasids(struct guest *g, const char *device, uint32_t hwpts[2])
{
	int r;

	if (!open_quiet(g, device))
		return false;
	r = make_parent(g, IOMMU_HWPT_ALLOC_PASID);
	r = r ?: first_stage_for_pasids(g, 0, &hwpts[0]);
	r = r ?: first_stage_for_pasids(g, 1, &hwpts[1]);
	r = r ?: attach(g->edu.dev, hwpts[0], NULL);
	if (r)
		fail("no first stages for PASIDs: %s", errno_name(r));
	return !r;
}

/* What is said of the device: as many PASIDs as are claimed, without execute permission and privileged mode. */
static void hw_info(struct fixture *none)
{
	struct iommu_hw_info cmd = { .size = sizeof(cmd) };
	struct guest g;

	if (!open_quiet(&g, getenv("CDEV")))
		return;
	cmd.dev_id = g.dev_id;
	WANT(call(g.fd, IOMMU_GET_HW_INFO, &cmd), 0);
	WANT(1u << cmd.out_max_pasid_log2, MOST_PASIDS);
	WANT(cmd.out_capabilities & (IOMMU_HW_CAP_PCI_PASID_EXEC | IOMMU_HW_CAP_PCI_PASID_PRIV), 0);
	WANT(cmd.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING, IOMMU_HW_CAP_DIRTY_TRACKING);
	close_guest(&g);
}

/* The 16 kinds of first stages, on PASIDs that are new and on one after another of the same. */
static void all_flags(struct fixture *none)
{
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = 48 };
	struct shown_entry whole;
	uint32_t hwpts[2], hwpt, pasid = 100;
	struct guest g;

	if (!open_for_pasids(&g, getenv("CDEV"), hwpts))
		return;
	whole = read_entry(bdf());
	WANT(ENTRY_TYPE(whole.word[0]), NESTED);
	s1.pgtbl_addr = phys_of(page_of(&g, OTHER_L4_PAGE));
	for (s1.flags = 0; s1.flags < 8; s1.flags++) {
		for (s1.addr_width = 48; s1.addr_width <= 57; s1.addr_width += 9) {
			const uint32_t places[] = { 99, pasid++ };

			CHECK(is_able(s1.flags, s1.addr_width));
			WANT(first_stage_of(&g, IOMMU_HWPT_ALLOC_PASID, &s1, sizeof(s1), &hwpt), 0);
			for (unsigned int n = 0; n < ARRAY_SIZE(places); n++) {
				struct shown_entry entry;

				WANT(attach_pasid(g.edu.dev, places[n], hwpt), 0);
				entry = read_pasid_entry(bdf(), places[n]);
				WANT(entry.word[2], entry_of_stage(s1));
				/* The second stage and what is the driver's, but for the domain ID. */
				WANT(entry.word[0], whole.word[0]);
				WANT(entry.word[1] & ~0xffffUL, whole.word[1] & ~0xffffUL);
				CHECK(ENTRY_DID(entry.word[1]) != ENTRY_DID(whole.word[1]));
			}
		}
	}
	CHECK(same(read_entry(bdf()), whole));
	WANT(pasid, 116);
	close_guest(&g);
}

/* Entries of several PASIDs at once, at the ends of directories and tables, and PASIDs that the device lacks. */
static void numbers(struct fixture *none)
{
	static const uint32_t pasids[] = { 1, 2, 63, 64, 65, 4095, MOST_PASIDS - 1 };
	static const uint32_t wrong[] = { MOST_PASIDS, MOST_PASIDS + 1, 1u << 20, 1u << 30 };
	struct shown_entry entries[ARRAY_SIZE(pasids)];
	uint32_t hwpts[2];
	struct guest g;

	if (!open_for_pasids(&g, getenv("CDEV"), hwpts))
		return;
	for (unsigned int n = 0; n < ARRAY_SIZE(pasids); n++) {
		CHECK(is_absent(bdf(), pasids[n]));
		WANT(attach_pasid(g.edu.dev, pasids[n], hwpts[n % 2]), 0);
		entries[n] = read_pasid_entry(bdf(), pasids[n]);
		WANT(entries[n].word[0] & ENTRY_PRESENT, ENTRY_PRESENT);
		WANT(entries[n].word[2], phys_of(page_of(&g, n % 2 ? OTHER_L4_PAGE : L4_PAGE)));
		/* One domain ID for each first stage. */
		WANT(ENTRY_DID(entries[n].word[1]), ENTRY_DID(entries[n % 2].word[1]));
	}
	CHECK(ENTRY_DID(entries[0].word[1]) != ENTRY_DID(entries[1].word[1]));
	for (unsigned int n = 0; n < ARRAY_SIZE(wrong); n++)
		WANT(attach_pasid(g.edu.dev, wrong[n], hwpts[0]), -EINVAL);
	/* Each is detached by itself. */
	for (unsigned int n = 0; n < ARRAY_SIZE(pasids); n++) {
		WANT(detach_pasid(g.edu.dev, pasids[n]), 0);
		for (unsigned int i = 0; i < ARRAY_SIZE(pasids); i++)
			CHECK(i <= n ? is_absent(bdf(), pasids[i]) :
				       same(read_pasid_entry(bdf(), pasids[i]), entries[i]));
	}
	WANT(read_entry(bdf()).word[0] & ENTRY_PRESENT, ENTRY_PRESENT);
	close_guest(&g);
}

/* Nested by nested, the same again, by the parent, by tables of the host, and back. */
static void replaced(struct fixture *none)
{
	struct shown_entry entry, one, whole, other;
	uint32_t hwpts[2], host;
	struct guest g;

	if (!open_for_pasids(&g, getenv("CDEV"), hwpts))
		return;
	WANT(paging(&g, &host), 0);
	whole = read_entry(bdf());
	WANT(attach_pasid(g.edu.dev, 6, hwpts[0]), 0);
	other = read_pasid_entry(bdf(), 6);
	WANT(attach_pasid(g.edu.dev, 5, hwpts[0]), 0);
	one = read_pasid_entry(bdf(), 5);
	CHECK(same(one, other));
	CHECK(same(one, whole));
	for (int n = 0; n < 3; n++) {
		for (int again = 0; again < 2; again++) {
			WANT(attach_pasid(g.edu.dev, 5, hwpts[1]), 0);
			entry = read_pasid_entry(bdf(), 5);
			WANT(entry.word[0], one.word[0]);
			WANT(entry.word[2], phys_of(page_of(&g, OTHER_L4_PAGE)));
			CHECK(ENTRY_DID(entry.word[1]) != ENTRY_DID(one.word[1]));
		}
		WANT(attach_pasid(g.edu.dev, 5, g.parent), 0);
		entry = read_pasid_entry(bdf(), 5);
		WANT(ENTRY_TYPE(entry.word[0]), SECOND_STAGE);
		WANT(ENTRY_SECOND(entry.word[0]), ENTRY_SECOND(one.word[0]));
		WANT(entry.word[2], 0);
		WANT(attach_pasid(g.edu.dev, 5, hwpts[0]), 0);
		CHECK(same(read_pasid_entry(bdf(), 5), one));
		WANT(attach_pasid(g.edu.dev, 5, host), 0);
		entry = read_pasid_entry(bdf(), 5);
		WANT(ENTRY_TYPE(entry.word[0]), FIRST_STAGE);
		WANT(ENTRY_SECOND(entry.word[0]), 0);
		CHECK(entry.word[2]);
	}
	/* The device itself goes elsewhere, and leaves. */
	WANT(attach(g.edu.dev, host, NULL), 0);
	WANT(attach_pasid(g.edu.dev, 5, hwpts[0]), 0);
	CHECK(same(read_pasid_entry(bdf(), 5), one));
	WANT(detach(g.edu.dev), 0);
	CHECK(same(read_pasid_entry(bdf(), 5), one));
	CHECK(same(read_pasid_entry(bdf(), 6), other));
	WANT(destroy(g.fd, hwpts[0]), -EBUSY);
	WANT(detach_pasid(g.edu.dev, 5), 0);
	WANT(detach_pasid(g.edu.dev, 6), 0);
	WANT(destroy(g.fd, hwpts[0]), 0);
	close_guest(&g);
}

/* Attaches PASID 5 elsewhere, which fails. Its entry and that of the device stay. */
#define FAILS(g, expr, errno) do {				\
	WANT(expr, errno);					\
	CHECK(same(read_pasid_entry(bdf(), 5), entry));		\
	CHECK(same(read_entry(bdf()), whole));			\
} while (0)

static void refused(struct fixture *none)
{
	struct iommu_hwpt_vtd_s1 lacking = { .addr_width = 51 };
	int inject = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC), r = -1;
	uint32_t hwpts[2], hwpt, plain, nth = 1, failures = 0;
	struct shown_entry entry, whole;
	struct guest g;

	if (!open_for_pasids(&g, getenv("CDEV"), hwpts))
		return;
	WANT(first_stage(&g, 1, &plain), 0);
	WANT(attach_pasid(g.edu.dev, 5, hwpts[0]), 0);
	entry = read_pasid_entry(bdf(), 5);
	whole = read_entry(bdf());
	/* Page tables that are not for PASIDs, which the device cannot have beside them either. */
	FAILS(&g, attach_pasid(g.edu.dev, 5, plain), -EINVAL);
	FAILS(&g, attach(g.edu.dev, plain, NULL), -EINVAL);
	FAILS(&g, attach_pasid(g.edu.dev, 5, plain + 100), -ENOENT);
	/* The driver looks at a first stage when it is attached. */
	lacking.pgtbl_addr = phys_of(page_of(&g, OTHER_L4_PAGE));
	r = first_stage_of(&g, IOMMU_HWPT_ALLOC_PASID, &lacking, sizeof(lacking), &hwpt);
	WANT(r, by_the_driver() ? 0 : -EINVAL);
	if (!r) {
		FAILS(&g, attach_pasid(g.edu.dev, 5, hwpt), -EINVAL);
		WANT(attach_pasid(g.edu.dev, 7, hwpt), -EINVAL);
		CHECK(is_absent(bdf(), 7));
	}
	/* Where a kernel makes allocations fail: for want of memory at any place. */
	CHECK(inject < 0 || sleeping_allocations_fail());
	for (; inject >= 0 && nth < 100; nth++) {
		CHECK(fail_nth(inject, nth));
		r = attach_pasid(g.edu.dev, 5, hwpts[1]);
		if (!nth_failed(inject))
			break;
		failures += r == -ENOMEM;
		if (!r || r == -EFAULT)
			WANT(attach_pasid(g.edu.dev, 5, hwpts[0]), 0);
		CHECK(same(read_pasid_entry(bdf(), 5), entry));
	}
	if (inject >= 0) {
		note("%u of %u failures refuse it", failures, nth - 1);
		CHECK(failures && !r);
		WANT(read_pasid_entry(bdf(), 5).word[2], phys_of(page_of(&g, OTHER_L4_PAGE)));
		close(inject);
	}
	close_guest(&g);
}

/* Around a reset of a device with ATS the PCI core moves it and its PASIDs to blocked DMA and back. */
static void resets(struct fixture *none)
{
	const char *rng = getenv("RNG_BDF") ?: "";
	struct shown_entry whole, one, two;
	uint32_t hwpts[2];
	struct guest g;

	if (!open_for_pasids(&g, getenv("RNG_CDEV"), hwpts))
		return;
	WANT(attach_pasid(g.edu.dev, 5, hwpts[0]), 0);
	WANT(attach_pasid(g.edu.dev, 70, hwpts[1]), 0);
	whole = read_entry(rng);
	one = read_pasid_entry(rng, 5);
	two = read_pasid_entry(rng, 70);
	WANT(one.word[0] & two.word[0] & ENTRY_PRESENT, ENTRY_PRESENT);
	for (int n = 0; n < 3; n++) {
		WANT(call(g.edu.dev, VFIO_DEVICE_RESET, NULL), 0);
		CHECK(same(read_entry(rng), whole));
		CHECK(same(read_pasid_entry(rng, 5), one));
		CHECK(same(read_pasid_entry(rng, 70), two));
	}
	WANT(detach_pasid(g.edu.dev, 5), 0);
	WANT(call(g.edu.dev, VFIO_DEVICE_RESET, NULL), 0);
	CHECK(is_absent(rng, 5));
	CHECK(same(read_pasid_entry(rng, 70), two));
	close_guest(&g);
}

/* A device is closed with PASIDs attached, and removed with them. */
static void gone(struct fixture *none)
{
	struct removal removal;
	uint32_t hwpts[2];
	struct guest g;

	for (int removed = 0; removed < 2; removed++) {
		if (!open_for_pasids(&g, getenv("CDEV"), hwpts))
			return;
		WANT(attach_pasid(g.edu.dev, 5, hwpts[0]), 0);
		WANT(attach_pasid(g.edu.dev, 70, hwpts[1]), 0);
		WANT(read_pasid_entry(bdf(), 70).word[0] & ENTRY_PRESENT, ENTRY_PRESENT);
		CHECK(!removed || begin_removal(&removal, bdf(), g.edu.dev));
		WANT(close(g.edu.dev), 0);
		g.edu.dev = -1;
		CHECK(!removed || end_removal(&removal));
		CHECK(is_absent(bdf(), 5));
		CHECK(is_absent(bdf(), 70));
		/* What the VMM made for the device is left, without the device. */
		WANT(destroy(g.fd, hwpts[0]), 0);
		WANT(destroy(g.fd, hwpts[1]), 0);
		close_guest(&g);
		CHECK(!removed || plug_in(bdf()));
	}
}

static const struct test tests[] = {
	{ "what is said of a device", hw_info, ALONE },
	{ "all flags and address widths", all_flags, ALONE },
	{ "PASIDs at the ends of tables", numbers, ALONE },
	{ "one after another", replaced, ALONE },
	{ "an attach that fails", refused, ALONE },
	{ "resets of a device with ATS", resets, ALONE },
	{ "the device closed and removed", gone, ALONE },
};

static const struct suite pasid_suite = {
	.name = "pasid", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = {
	&table_suite, &queue_suite, &ats_suite, &pasid_suite, &caches_suite, &dirty_suite,
};
const unsigned int nr_suites = ARRAY_SIZE(suites);
