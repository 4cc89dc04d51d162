// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test for each bug that the C implementation has had, and for each place where it does not
 * keep its contract. Tests that need the mock IOMMU are in bugs_mock.c, fault.c and viommu.c.
 *
 * Usage: known-bugs VFIO_CDEV [SUITE]; SECOND_CDEV of the environment is a device of another
 * group
 *
 * Documentation/bugs.rst says which test is about which bug, and which bugs have none.
 */
#include "bugs.h"

const struct suite *const suites[] = {
	&range_suite, &pages_suite, &file_bugs_suite, &life_bugs_suite,
	&interrupts_suite, &scale_suite, &teardown_suite, &wait_bugs_suite,
};

const unsigned int nr_suites = ARRAY_SIZE(suites);
