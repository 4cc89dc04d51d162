// SPDX-License-Identifier: GPL-2.0-only
/*
 * Wrong input to every ioctl of iommufd: the exact errno, and nothing changed afterwards.
 *
 * Usage: uapi VFIO_CDEV [SUITE]
 */
#include "uapi.h"

const struct suite *const suites[] = {
	&format_suite, &ioas_suite, &option_suite, &map_suite, &unmap_suite, &file_suite,
	&copy_suite, &device_suite, &hwpt_suite, &limit_suite, &life_suite, &dirty_suite,
	&process_suite,
};

const unsigned int nr_suites = ARRAY_SIZE(suites);
