/* SPDX-License-Identifier: GPL-2.0-only */
/* The suites of nested-amd. */
#ifndef NESTED_AMD_H
#define NESTED_AMD_H

#include "amd_call.h"

extern const struct suite queue_suite, ats_suite, dirty_suite;

#endif
