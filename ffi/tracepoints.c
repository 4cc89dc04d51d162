// SPDX-License-Identifier: GPL-2.0-only
/* Makes the tracepoints of tracepoints.h, and functions by which Rust hits them. */
#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "tracepoints.h"
