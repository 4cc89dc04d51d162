/* SPDX-License-Identifier: GPL-2.0-only */
/* The suites of known-bugs. */
#ifndef BUGS_H
#define BUGS_H

#include "bugs_call.h"
#include "compat_call.h"

extern const struct suite range_suite, pages_suite, file_bugs_suite, life_bugs_suite;
extern const struct suite interrupts_suite;

#endif
