/* SPDX-License-Identifier: GPL-2.0-only */
/* The suites of nested-vtd. */
#ifndef NESTED_VTD_H
#define NESTED_VTD_H

#include "vtd_call.h"

extern const struct suite table_suite, queue_suite, ats_suite;

#endif
