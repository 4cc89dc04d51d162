// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nested translation of a device that has ATS, under an SMMU that has not: resets, around which the PCI
 * core moves the device to blocked DMA and back.
 */
#include <stdlib.h>

#include "cdev.h"
#include "nested_rng.h"

/* Opens the device and attaches it to page tables of the guest's first CD, which enable ATS. */
static bool open_rng(struct nested *n, struct rng *rng, uint32_t *hwpt)
{
	const char *bdf = getenv("RNG_BDF") ?: "";
	int r;

	if (!has_ats(bdf)) {
		fail("the device has no ATS");
		return false;
	}
	if (!open_nested_on(n, open_cdev(bdf)))
		return false;
	r = vste(n, STE_TRANSLATE | ipa_of(CD_PAGE), STE_CD_CACHED | STE_ATS, hwpt);
	r = r ?: attach(n->dev, *hwpt, NULL);
	r = r ?: rng_open(n, rng);
	if (r)
		fail("not started: %s", errno_name(r));
	return !r;
}

static void close_rng(struct nested *n, struct rng *rng)
{
	rng_close(rng);
	close_nested(n);
}

static int reset(struct nested *n, struct rng *rng)
{
	int r = call(n->dev, VFIO_DEVICE_RESET, NULL);

	return r ?: rng_start(n, rng);
}

static void reset_attached(struct fixture *none)
{
	struct nested n;
	struct rng rng;
	uint32_t both, i;

	if (!open_rng(&n, &rng, &both))
		return;
	WANT(rng_writes(&n, &rng, TARGET_VA), A_PAGE);
	for (i = 0; i < 5; i++) {
		WANT(reset(&n, &rng), 0);
		WANT(rng_writes(&n, &rng, TARGET_VA), A_PAGE);
	}
	/* What the guest changes takes effect as it did before. */
	map_va(&n, 0, TARGET_VA, B_PAGE);
	WANT(submit_one(&n, by_va(OP_NH_VA, TARGET_VA, ASID)), 0);
	WANT(rng_writes(&n, &rng, TARGET_VA), B_PAGE);
	/* An address that nothing maps breaks the device, until a reset. */
	WANT(rng_writes(&n, &rng, HOLE_VA), 0);
	WANT(reset(&n, &rng), 0);
	WANT(rng_writes(&n, &rng, TARGET_VA), B_PAGE);
	close_rng(&n, &rng);
}

/* Resets of a device that was just asked to write. Its ring is empty after each. */
static void reset_asked(struct fixture *none)
{
	struct nested n;
	struct rng rng;
	uint32_t both, i;

	if (!open_rng(&n, &rng, &both))
		return;
	for (i = 0; i < 10; i++) {
		rng_begins(&n, &rng, TARGET_VA);
		WANT(reset(&n, &rng), 0);
		WANT(rng_writes(&n, &rng, TARGET_VA), A_PAGE);
	}
	close_rng(&n, &rng);
}

/* Resets of a device that is attached to other entries, and then to the first again. */
static void reset_elsewhere(struct fixture *none)
{
	uint32_t both, second, bypass, aborting;
	struct nested n;
	struct rng rng;

	if (!open_rng(&n, &rng, &both))
		return;
	WANT(second_vste(&n, &second), 0);
	WANT(vste(&n, STE_BYPASS, 0, &bypass), 0);
	WANT(vste(&n, STE_ABORT, 0, &aborting), 0);
	WANT(attach(n.dev, second, NULL), 0);
	WANT(reset(&n, &rng), 0);
	WANT(rng_writes(&n, &rng, TARGET_VA), B_PAGE);
	/* It reads its ring by the second stage alone, where nothing is mapped at RINGS_VA. */
	WANT(attach(n.dev, bypass, NULL), 0);
	WANT(reset(&n, &rng), 0);
	WANT(rng_writes(&n, &rng, ipa_of(B_PAGE)), 0);
	WANT(map(n.fd, n.ioas, page_of(&n, RINGS_PAGE), PAGE, RINGS_VA), 0);
	WANT(reset(&n, &rng), 0);
	WANT(rng_writes(&n, &rng, ipa_of(B_PAGE)), B_PAGE);
	WANT(attach(n.dev, n.parent, NULL), 0);
	WANT(reset(&n, &rng), 0);
	WANT(rng_writes(&n, &rng, ipa_of(A_PAGE)), A_PAGE);
	WANT(attach(n.dev, aborting, NULL), 0);
	WANT(reset(&n, &rng), 0);
	WANT(rng_writes(&n, &rng, TARGET_VA), 0);
	WANT(attach(n.dev, both, NULL), 0);
	WANT(reset(&n, &rng), 0);
	WANT(rng_writes(&n, &rng, TARGET_VA), A_PAGE);
	WANT(detach(n.dev), 0);
	WANT(reset(&n, &rng), 0);
	WANT(rng_writes(&n, &rng, TARGET_VA), 0);
	WANT(attach(n.dev, both, NULL), 0);
	WANT(reset(&n, &rng), 0);
	WANT(rng_writes(&n, &rng, TARGET_VA), A_PAGE);
	close_rng(&n, &rng);
}

/*
 * A reset attaches the device to the same page tables again, for which the driver must find its vDEVICE: if
 * it does not, the kernel warns, and the device's DMA stays blocked.
 */
static void reset_vdevice(struct fixture *none)
{
	uint32_t both;
	struct nested n;
	struct rng rng;

	if (on_c_module()) {
		skip("the C module destroys the vDEVICE, and the reset is a WARN");
		return;
	}
	if (!open_rng(&n, &rng, &both))
		return;
	WANT_WHY(n.fd, destroy(n.fd, n.vdevice), -EBUSY, "object-in-use");
	WANT(reset(&n, &rng), 0);
	WANT(rng_writes(&n, &rng, TARGET_VA), A_PAGE);
	WANT(attach(n.dev, n.parent, NULL), 0);
	WANT(destroy(n.fd, n.vdevice), 0);
	WANT(reset(&n, &rng), 0);
	WANT(attach(n.dev, both, NULL), -ENOENT);
	n.vsid++;
	WANT(vdevice(&n), 0);
	WANT(attach(n.dev, both, NULL), 0);
	WANT(reset(&n, &rng), 0);
	WANT(rng_writes(&n, &rng, TARGET_VA), A_PAGE);
	WANT(destroy(n.fd, n.vdevice), -EBUSY);
	WANT(detach(n.dev), 0);
	WANT(destroy(n.fd, n.vdevice), 0);
	close_rng(&n, &rng);
}

static const struct test tests[] = {
	{ "reset", reset_attached, ALONE },
	{ "reset after a request", reset_asked, ALONE },
	{ "reset with other entries", reset_elsewhere, ALONE },
	{ "reset after its vDEVICE would be destroyed", reset_vdevice, ALONE },
};

const struct suite ats_suite = {
	.name = "ATS", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
