/* SPDX-License-Identifier: GPL-2.0-only */
/* The suites of fault. */
#ifndef FAULT_H
#define FAULT_H

#include "fault_call.h"

extern const struct suite fault_suite, fault_group_suite, fault_pasid_suite;

#endif
