// SPDX-License-Identifier: GPL-2.0-only
/*
 * Known bugs whose test needs the mock IOMMU: in-kernel access to memory, and dirty bitmaps.
 * Page faults are in fault.c; vIOMMUs, event queues and invalidation in viommu.c.
 *
 * Usage: known-bugs-mock none [SUITE]
 */
#include "bugs_mock.h"

const struct suite *const suites[] = {
	&mock_pages_suite, &mock_access_suite, &mock_dirty_suite, &mock_life_suite,
};
const unsigned int nr_suites = ARRAY_SIZE(suites);
