// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first stage of a guest under an emulated VT-d, as vtd_call.h says. KTAP; the frame is that of uapi.c.
 *
 * Usage: BDF=... CDEV=... OTHER_CDEV=... nested-vtd none
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../uapi/iommufd_rs.h"
#include "nested_plug.h"
#include "nested_vtd.h"

static void first_stage_dma(struct fixture *none)
{
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, &hwpt))
		return;
	WANT(written_to(&g, TARGET_VA), A_PAGE);
	WANT(written_to(&g, HOLE_VA), 0);
	WANT(written_to(&g, TARGET_VA), A_PAGE);
	close_guest(&g);
}

/* A guest changes an entry and asks for an invalidation; takes: it must reach the entry. */
static void stale_until(const char *name, request r, bool takes)
{
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, &hwpt))
		return;
	WANT(written_to(&g, TARGET_VA), A_PAGE);
	map_va(&g, 0, TARGET_VA, B_PAGE);
	/* The old entry must be cached, or the rest would test nothing. */
	WANT(written_to(&g, TARGET_VA), A_PAGE);
	WANT(invalidate(&g, hwpt, &r, 1), 0);
	if (written_to(&g, TARGET_VA) != (takes ? B_PAGE : A_PAGE))
		fail("%s: the device does not write where it has to", name);
	close_guest(&g);
}

static void kinds(struct fixture *none)
{
	stale_until("a page", pages(TARGET_VA, 1, 0), true);
	stale_until("the leaf of a page", pages(TARGET_VA, 1, LEAF), true);
	stale_until("another page", pages(HOLE_VA, 1, LEAF), false);
	stale_until("pages around it", pages(TARGET_VA - 3 * PAGE, 5, LEAF), true);
	stale_until("pages before it", pages(TARGET_VA - 4 * PAGE, 4, LEAF), false);
	stale_until("everything", pages(0, ALL, 0), true);
	stale_until("the leaves of everything", pages(0, ALL, LEAF), true);
}

/*
 * More pages than QEMU's IOMMU has a mask for; the specification demands all masks. The driver ignores that the
 * descriptor is refused.
 */
static void beyond_the_mask(struct fixture *none)
{
	stale_until("2^30 pages", pages(0, 1UL << 30, 0), !by_the_driver());
	stale_until("2^51 pages", pages(0, 1UL << 51, 0), !by_the_driver());
}

static void lengths_of_batches(struct fixture *none)
{
	static const uint32_t lengths[] = { 1, 2, 15, 16, 17, 63, 64, 65, 300 };
	static request batch[300];

	for (unsigned int n = 0; n < ARRAY_SIZE(lengths); n++) {
		const uint32_t length = lengths[n], places[] = { 0, length / 2, length - 1 };
		struct guest g;
		uint32_t hwpt;

		if (!open_attached(&g, &hwpt))
			return;
		for (unsigned int p = 0; p < ARRAY_SIZE(places); p++) {
			const uint32_t page = p % 2 ? A_PAGE : B_PAGE;
			const uint32_t old = p % 2 ? B_PAGE : A_PAGE;

			for (uint32_t i = 0; i < length; i++)
				batch[i] = pages(HOLE_VA + 2 * i * PAGE, 1, LEAF);
			batch[places[p]] = pages(TARGET_VA, 1, LEAF);
			WANT(written_to(&g, TARGET_VA), old);
			map_va(&g, 0, TARGET_VA, page);
			WANT(written_to(&g, TARGET_VA), old);
			WANT(invalidate(&g, hwpt, batch, length), 0);
			WANT(written_to(&g, TARGET_VA), page);
		}
		close_guest(&g);
	}
}

/* A request that is refused, at each place: those before it are carried out, none behind it. */
static void invalid_at_each_place(struct fixture *none)
{
	static request batch[70];
	struct guest g;
	uint32_t hwpt, done;

	if (!open_attached(&g, &hwpt))
		return;
	for (uint32_t bad = 0; bad < ARRAY_SIZE(batch); bad++) {
		for (uint32_t i = 0; i < ARRAY_SIZE(batch); i++)
			batch[i] = pages(HOLE_VA + 2 * i * PAGE, 1, LEAF);
		batch[bad].flags = 1U << 31;
		WANT(invalidate_of(&g, hwpt, batch, sizeof(*batch), ARRAY_SIZE(batch), &done),
		     -EOPNOTSUPP);
		WANT(done, bad);
	}
	/* The request before it has an effect, the one behind it has none. */
	for (unsigned int behind = 0; behind < 2; behind++) {
		batch[0] = batch[2] = pages(HOLE_VA, 1, LEAF);
		batch[behind ? 2 : 0] = pages(TARGET_VA, 1, LEAF);
		batch[1] = pages(HOLE_VA, 1, 2);
		map_va(&g, 0, TARGET_VA, A_PAGE);
		request all = pages(0, ALL, 0);

		WANT(invalidate(&g, hwpt, &all, 1), 0);
		WANT(written_to(&g, TARGET_VA), A_PAGE);
		map_va(&g, 0, TARGET_VA, B_PAGE);
		WANT(invalidate_of(&g, hwpt, batch, sizeof(*batch), 3, &done), -EOPNOTSUPP);
		WANT(done, 1);
		WANT(written_to(&g, TARGET_VA), behind ? A_PAGE : B_PAGE);
	}
	close_guest(&g);
}

static void wrong_requests(struct fixture *none)
{
	struct guest g;
	uint32_t hwpt, done;
	request r;

	if (!open_attached(&g, &hwpt))
		return;
	for (unsigned int bit = 1; bit < 32; bit++) {
		r = pages(TARGET_VA, 1, 1U << bit);
		WANT(invalidate_of(&g, hwpt, &r, sizeof(r), 1, &done), -EOPNOTSUPP);
	}
	for (unsigned int bit = 0; bit < 32; bit++) {
		r = pages(TARGET_VA, 1, 0);
		r.__reserved = 1U << bit;
		WANT(invalidate_of(&g, hwpt, &r, sizeof(r), 1, &done), -EOPNOTSUPP);
	}
	for (unsigned int bit = 0; bit < 12; bit++) {
		r = pages(TARGET_VA | 1UL << bit, 1, 0);
		WANT(invalidate_of(&g, hwpt, &r, sizeof(r), 1, &done), -EINVAL);
	}
	r = pages(TARGET_VA, ALL, 0);
	WANT(invalidate_of(&g, hwpt, &r, sizeof(r), 1, &done), -EINVAL);
	WANT(done, 0);
	WANT(invalidate_of(&g, hwpt, &r, sizeof(r) - 1, 1, &done), -EINVAL);
	WANT(invalidate_of(&g, hwpt, NULL, sizeof(r), 0, &done), 0);
	WANT(done, 0);
	WANT(invalidate_of(&g, hwpt, (void *)PAGE, sizeof(r), 1, &done), -EFAULT);
	close_guest(&g);
}

/* A request with bytes that a later kernel may give a meaning. */
static void long_requests(struct fixture *none)
{
	struct {
		request r;
		uint64_t more;
	} batch[2] = { { pages(TARGET_VA, 1, 0), 0 }, { pages(TARGET_VA, 1, 0), 0 } };
	struct guest g;
	uint32_t hwpt, done;

	if (!open_attached(&g, &hwpt))
		return;
	WANT(written_to(&g, TARGET_VA), A_PAGE);
	map_va(&g, 0, TARGET_VA, B_PAGE);
	if (by_the_driver()) {
		WANT(invalidate_of(&g, hwpt, batch, sizeof(*batch), 2, &done), -EINVAL);
		WANT(done, 0);
	} else {
		WANT(invalidate_of(&g, hwpt, batch, sizeof(*batch), 2, &done), 0);
		WANT(done, 2);
		WANT(written_to(&g, TARGET_VA), B_PAGE);
		batch[1].more = 1;
		WANT(invalidate_of(&g, hwpt, batch, sizeof(*batch), 2, &done), -E2BIG);
		WANT(done, 1);
	}
	close_guest(&g);
}

/* Each entry of a table of directories is cached until an invalidation of more than leaves. */
static void directories(struct fixture *none)
{
	struct guest g;
	uint32_t hwpt;
	request r = pages(0, 512, 0);

	if (!open_attached(&g, &hwpt))
		return;
	WANT(written_to(&g, TARGET_VA), A_PAGE);
	point(&g, L2_PAGE, OTHER_L1_PAGE);
	WANT(written_to(&g, TARGET_VA), A_PAGE);
	WANT(invalidate(&g, hwpt, &r, 1), 0);
	WANT(written_to(&g, TARGET_VA), B_PAGE);
	close_guest(&g);
}

static void replaced(struct fixture *none)
{
	uint32_t one, two, dev_hwpt;
	struct guest g;

	if (!open_attached(&g, &one))
		return;
	WANT(first_stage(&g, 1, &two), 0);
	WANT(written_to(&g, TARGET_VA), A_PAGE);
	/* Nested by nested, the same again, and back: nothing of the first stays cached. */
	WANT(attach(g.edu.dev, two, NULL), 0);
	WANT(written_to(&g, TARGET_VA), B_PAGE);
	WANT(attach(g.edu.dev, two, NULL), 0);
	WANT(written_to(&g, TARGET_VA), B_PAGE);
	WANT(attach(g.edu.dev, one, NULL), 0);
	WANT(written_to(&g, TARGET_VA), A_PAGE);
	/* By the host's tables, and back. */
	dev_hwpt = g.ioas;
	WANT(attach(g.edu.dev, dev_hwpt, &dev_hwpt), 0);
	WANT(written_to(&g, TARGET_VA), 0);
	WANT(attach(g.edu.dev, two, NULL), 0);
	WANT(written_to(&g, TARGET_VA), B_PAGE);
	/* By none. */
	WANT(detach(g.edu.dev), 0);
	WANT(written_to(&g, TARGET_VA), 0);
	WANT(destroy(g.fd, one), 0);
	WANT(attach(g.edu.dev, two, NULL), 0);
	WANT(written_to(&g, TARGET_VA), B_PAGE);
	WANT(destroy(g.fd, two), -EBUSY);
	close_guest(&g);
}

/* Two devices, each with a first stage of its own: an invalidation concerns one of them. */
static void two_devices(struct fixture *none)
{
	struct guest g[2];
	uint32_t hwpt[2];
	request r = pages(TARGET_VA, 1, LEAF);

	if (!open_attached(&g[0], &hwpt[0]) || !open_guest_of(&g[1], getenv("OTHER_CDEV")))
		return;
	WANT(first_stage(&g[1], 0, &hwpt[1]), 0);
	WANT(attach(g[1].edu.dev, hwpt[1], NULL), 0);
	for (int n = 0; n < 2; n++) {
		WANT(written_to(&g[n], TARGET_VA), A_PAGE);
		map_va(&g[n], 0, TARGET_VA, B_PAGE);
		WANT(written_to(&g[n], TARGET_VA), A_PAGE);
	}
	WANT(invalidate(&g[1], hwpt[1], &r, 1), 0);
	WANT(written_to(&g[0], TARGET_VA), A_PAGE);
	WANT(written_to(&g[1], TARGET_VA), B_PAGE);
	WANT(invalidate(&g[0], hwpt[0], &r, 1), 0);
	WANT(written_to(&g[0], TARGET_VA), B_PAGE);
	close_guest(&g[0]);
	close_guest(&g[1]);
}

/* A first stage that this IOMMU lacks: refused when it is made, by the driver when it is attached. */
static void check_lacking(struct guest *g, uint32_t one, struct iommu_hwpt_vtd_s1 s1)
{
	uint32_t hwpt;

	if (!by_the_driver()) {
		WANT(first_stage_of(g, 0, &s1, sizeof(s1), NULL), -EINVAL);
		return;
	}
	WANT(first_stage_of(g, 0, &s1, sizeof(s1), &hwpt), 0);
	WANT(attach(g->edu.dev, hwpt, NULL), -EINVAL);
	/* The device stays where it was. */
	WANT(written_to(g, TARGET_VA), A_PAGE);
	WANT(destroy(g->fd, hwpt), 0);
	WANT(destroy(g->fd, one), -EBUSY);
}

static void lacking(struct fixture *none)
{
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = 48 };
	struct guest g;
	uint32_t one;

	if (!open_attached(&g, &one))
		return;
	s1.pgtbl_addr = phys_of(page_of(&g, OTHER_L4_PAGE));
	for (uint32_t width = 0; width < 64; width += 3) {
		s1.addr_width = width;
		if (width != 48 && width != 57)
			check_lacking(&g, one, s1);
	}
	s1.addr_width = 48;
	s1.flags = IOMMU_VTD_S1_SRE;
	check_lacking(&g, one, s1);
	s1.flags = IOMMU_VTD_S1_EAFE;
	check_lacking(&g, one, s1);
	close_guest(&g);
}

/* What the driver takes without a look at it. */
static void wrong_first_stages(struct fixture *none)
{
	static union {
		struct iommu_hwpt_vtd_s1 s1;
		char bytes[2 * PAGE];
	} longer;
	const int unknown = by_the_driver() ? 0 : -EOPNOTSUPP;
	struct iommu_hwpt_vtd_s1 right = { .addr_width = 48 }, s1;
	struct guest g;

	if (!open_guest(&g))
		return;
	right.pgtbl_addr = phys_of(page_of(&g, L4_PAGE));
	for (unsigned int bit = 3; bit < 64; bit++) {
		s1 = right;
		s1.flags = 1UL << bit;
		WANT(first_stage_of(&g, 0, &s1, sizeof(s1), NULL), unknown);
	}
	for (unsigned int bit = 0; bit < 32; bit++) {
		s1 = right;
		s1.__reserved = 1U << bit;
		WANT(first_stage_of(&g, 0, &s1, sizeof(s1), NULL), unknown);
	}
	for (unsigned int bit = 0; bit < 12; bit++) {
		s1 = right;
		s1.pgtbl_addr |= 1UL << bit;
		WANT(first_stage_of(&g, 0, &s1, sizeof(s1), NULL), by_the_driver() ? 0 : -EINVAL);
	}
	WANT(first_stage_of(&g, 0, &right, sizeof(right) - 1, NULL), -EINVAL);
	longer.s1 = right;
	WANT(first_stage_of(&g, 0, &longer, PAGE, NULL), by_the_driver() ? -EINVAL : 0);
	WANT(first_stage_of(&g, 0, &longer, PAGE + 1, NULL), by_the_driver() ? -EINVAL : -E2BIG);
	WANT(first_stage_of(&g, 0, (void *)PAGE, sizeof(right), NULL), -EFAULT);
	WANT(first_stage_of(&g, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &right, sizeof(right), NULL),
	     -EOPNOTSUPP);
	WANT(first_stage_of(&g, IOMMU_HWPT_ALLOC_PASID, &right, sizeof(right), NULL), 0);
	/* Not on tables that are no parent. */
	WANT(attach(g.edu.dev, g.ioas, &g.parent), 0);
	WANT(first_stage(&g, 0, NULL), -EINVAL);
	close_guest(&g);
}

/* Attaches the device elsewhere, which fails. Its DMA stays where it was. */
#define FAILS(g, expr, errno) do {			\
	WANT(expr, errno);				\
	WANT(written_to(g, TARGET_VA), A_PAGE);		\
} while (0)

/* Has each allocation of an attach to other page tables fail in turn, and comes back if it does not fail. */
static void attach_without_memory(struct guest *g, int inject, uint32_t from, uint32_t to)
{
	uint32_t nth = 1, refused = 0;
	int r = -1;

	for (; nth < 100; nth++) {
		CHECK(fail_nth(inject, nth));
		r = attach(g->edu.dev, to, NULL);
		if (!nth_failed(inject))
			break;
		refused += r == -ENOMEM;
		/* Some failures are tolerated, and if only the struct could not be written back, the device was moved. */
		if (!r || r == -EFAULT)
			WANT(attach(g->edu.dev, from, NULL), 0);
		WANT(written_to(g, TARGET_VA), A_PAGE);
	}
	note("%u of %u failures refuse it", refused, nth - 1);
	CHECK(refused && !r);
}

/*
 * An attach that is refused, and on a kernel that makes allocations fail, one for want of memory at any place: to
 * another first stage, to the parent and to page tables of the host. The device has no PASIDs.
 */
static void attach_fails(struct fixture *none)
{
	struct vfio_device_attach_iommufd_pt pasid = {
		.argsz = sizeof(pasid), .flags = VFIO_DEVICE_ATTACH_PASID, .pasid = 1,
	};
	struct iommu_hwpt_alloc host = { .size = sizeof(host) };
	int inject = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	uint32_t one, two, elsewhere;
	struct guest g;

	if (!open_attached(&g, &one))
		return;
	WANT(first_stage(&g, 1, &two), 0);
	host.dev_id = g.dev_id;
	host.pt_id = g.ioas;
	WANT(call(g.fd, IOMMU_HWPT_ALLOC, &host), 0);
	pasid.pt_id = two;
	FAILS(&g, call(g.edu.dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &pasid), -EINVAL);
	WANT(ioas_alloc(g.fd, &elsewhere), 0);
	WANT(destroy(g.fd, elsewhere), 0);
	FAILS(&g, attach(g.edu.dev, elsewhere, NULL), -ENOENT);
	/* Allocations that may sleep fail too. */
	CHECK(inject < 0 || sleeping_allocations_fail());
	if (inject >= 0) {
		attach_without_memory(&g, inject, one, g.parent);
		WANT(attach(g.edu.dev, one, NULL), 0);
		attach_without_memory(&g, inject, one, host.out_hwpt_id);
		WANT(attach(g.edu.dev, one, NULL), 0);
		attach_without_memory(&g, inject, one, two);
		WANT(written_to(&g, TARGET_VA), B_PAGE);
		close(inject);
	}
	close_guest(&g);
}

/* The device is removed while its DMA is under way, and is there again. */
static void removed(struct fixture *none)
{
	const char *bdf = getenv("BDF") ?: "";
	const request r = pages(TARGET_VA, 1, LEAF);
	struct removal removal;
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, &hwpt))
		return;
	CHECK(begin_removal(&removal, bdf, g.edu.dev));
	/* Until it is closed it is the VMM's. */
	WANT(written_to(&g, TARGET_VA), A_PAGE);
	edu_reads(&g.edu, SOURCE_VA);
	edu_begins_to_write(&g.edu, TARGET_VA);
	stop_edu(&g.edu);
	WANT(close(g.edu.dev), 0);
	g.edu.dev = -1;
	CHECK(end_removal(&removal));
	/* What the VMM made for the device is left, without the device. */
	WANT(invalidate(&g, hwpt, &r, 1), 0);
	WANT(destroy(g.fd, hwpt), 0);
	close_guest(&g);
	CHECK(plug_in(bdf));
	if (!open_attached(&g, &hwpt))
		return;
	WANT(written_to(&g, TARGET_VA), A_PAGE);
	close_guest(&g);
}

/* VT-d has no vIOMMUs: a guest's first stage needs none. */
static void viommus(struct fixture *none)
{
	static const uint32_t ours[] = {
		IOMMUFD_RS_VIOMMU_TYPE_ARM_SMMUV3_MANY, IOMMUFD_RS_VIOMMU_TYPE_AMD,
	};
	struct iommu_viommu_alloc cmd = { .size = sizeof(cmd) };
	struct guest g;

	if (!open_guest(&g))
		return;
	cmd.dev_id = g.dev_id;
	cmd.hwpt_id = g.parent;
	for (cmd.type = 0; cmd.type < 16; cmd.type++)
		WANT(call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd), -EOPNOTSUPP);
	for (unsigned int n = 0; n < ARRAY_SIZE(ours); n++) {
		cmd.type = ours[n];
		WANT(call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd), -EOPNOTSUPP);
	}
	close_guest(&g);
}

static const struct test tests[] = {
	{ "DMA through a first stage", first_stage_dma, ALONE },
	{ "translations are cached until a request", kinds, ALONE },
	{ "more pages than QEMU's IOMMU has a mask for", beyond_the_mask, ALONE },
	{ "directories", directories, ALONE },
	{ "lengths of batches", lengths_of_batches, ALONE },
	{ "an invalid request at each place", invalid_at_each_place, ALONE },
	{ "wrong requests", wrong_requests, ALONE },
	{ "long requests", long_requests, ALONE },
	{ "one first stage after another", replaced, ALONE },
	{ "two devices", two_devices, ALONE },
	{ "a first stage that the IOMMU lacks", lacking, ALONE },
	{ "wrong first stages", wrong_first_stages, ALONE },
	{ "an attach that fails", attach_fails, ALONE },
	{ "the device removed", removed, ALONE },
	{ "no vIOMMUs", viommus, ALONE },
};

static const struct suite nested_suite = {
	.name = "nested", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &nested_suite, &table_suite, &queue_suite, &ats_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
