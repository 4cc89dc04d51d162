// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the tracepoint iommufd_invalidate says of a guest's invalidations under an emulated VT-d. It needs our module, and
 * a kernel with tracepoints. KTAP; the frame is that of uapi.c.
 *
 * Usage: CDEV=... nested-vtd-trace none
 */
#include "trace_log.h"
#include "vtd_call.h"

/* How often the IOMMU was given descriptors of scattered pages. A batch has up to 64 ranges, and a descriptor for each. */
static void submissions(struct fixture *none)
{
	static const uint32_t lengths[] = { 1, 2, 63, 64, 65, 128, 129, 300 };
	static request batch[300];
	struct guest g;
	uint32_t hwpt;

	CHECK(can_trace());
	if (!open_attached(&g, &hwpt))
		return;
	for (uint32_t i = 0; i < ARRAY_SIZE(batch); i++)
		batch[i] = pages(HOLE_VA + 2 * i * PAGE, 1, LEAF);
	for (unsigned int n = 0; n < ARRAY_SIZE(lengths); n++) {
		CHECK(trace_on());
		WANT(invalidate(&g, hwpt, batch, lengths[n]), 0);
		WANT(traced_submissions(), by_the_driver() ? -1LL : (lengths[n] + 63) / 64);
	}
	trace_off();
	close_guest(&g);
}

static const struct test tests[] = {
	{ "submissions", submissions, ALONE },
};

static const struct suite trace_suite = {
	.name = "trace", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &trace_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
