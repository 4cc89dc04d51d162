/* SPDX-License-Identifier: GPL-2.0-only */
/* The uAPI tests: wrong input to every ioctl, the exact errno, and nothing changed afterwards. */
#ifndef UAPI_H
#define UAPI_H

#include "frame.h"

extern const struct suite format_suite, ioas_suite, option_suite, map_suite, unmap_suite;
extern const struct suite file_suite, copy_suite, device_suite, hwpt_suite, limit_suite;
extern const struct suite life_suite, dirty_suite, process_suite;

#endif
