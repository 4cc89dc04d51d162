/* SPDX-License-Identifier: GPL-2.0-only */
/* The suites of known-bugs. */
#ifndef BUGS_H
#define BUGS_H

#include "bugs_call.h"
#include "compat_call.h"

extern const struct suite range_suite, pages_suite, file_bugs_suite, life_bugs_suite;
extern const struct suite interrupts_suite, scale_suite, teardown_suite, wait_bugs_suite;

/* bugs_scale.c: copies the page at FREE_IOVA behind itself until there are nr areas of a page. */
int map_areas(int fd, uint32_t ioas, unsigned long nr);

#endif
