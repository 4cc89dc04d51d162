// SPDX-License-Identifier: GPL-2.0-only
/* vDEVICEs: which ids they may have, and when they can be destroyed. */
#include "nested_call.h"

/* Events of a device have the id that it had when it was attached, which so must not become another's. */
static void used_vdevice(struct fixture *none)
{
	const int used = on_c_module() ? 0 : -EBUSY;
	struct nested n, again;
	uint32_t hwpt[3], i;

	for (i = 0; i < ARRAY_SIZE(hwpt); i++) {
		if (!open_nested(&n))
			return;
		WANT(translate(&n, &hwpt[0]), 0);
		WANT(vste(&n, STE_BYPASS, 0, &hwpt[1]), 0);
		WANT(vste(&n, STE_ABORT, 0, &hwpt[2]), 0);
		WANT(attach(n.dev, hwpt[i], NULL), 0);
		WANT(destroy(n.fd, n.vdevice), used);
		again = n;
		WANT(vdevice(&again), used ? -EEXIST : 0);
		if (!used)
			n.vdevice = again.vdevice;
		WANT(attach(n.dev, n.parent, NULL), 0);
		WANT(destroy(n.fd, n.vdevice), 0);
		WANT(vdevice(&n), 0);
		WANT(attach(n.dev, hwpt[0], NULL), 0);
		WANT(attach(n.dev, hwpt[i], NULL), 0);
		WANT(destroy(n.fd, n.vdevice), used);
		close_nested(&n);
	}
}

/* A StreamID has 32 bits. The driver reports events with the low ones of a vDEVICE's id. */
static void wide_ids(struct fixture *none)
{
	struct nested n;

	if (!open_nested(&n))
		return;
	WANT(destroy(n.fd, n.vdevice), 0);
	n.vsid = 1ULL << 32 | VSID;
	WANT(vdevice(&n), by_the_driver() ? 0 : -EINVAL);
	n.vsid = ~0U;
	if (by_the_driver())
		WANT(destroy(n.fd, n.vdevice), 0);
	WANT(vdevice(&n), 0);
	WANT(submit_one(&n, by_vsid(OP_CFGI_CD, ~0U)), 0);
	close_nested(&n);
}

static const struct test tests[] = {
	{ "a vDEVICE of an attached device", used_vdevice, ALONE },
	{ "the id of a vDEVICE is a StreamID", wide_ids, ALONE },
};

const struct suite vdevice_suite = {
	.name = "vDEVICE", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
