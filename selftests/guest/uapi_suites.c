// SPDX-License-Identifier: GPL-2.0-only
/* What the program uapi runs. */
#include "uapi.h"

const struct suite *const suites[] = {
	&format_suite, &ioas_suite, &option_suite, &map_suite, &unmap_suite, &file_suite,
	&copy_suite, &device_suite, &hwpt_suite, &limit_suite, &life_suite, &dirty_suite,
	&process_suite,
};

const unsigned int nr_suites = ARRAY_SIZE(suites);
