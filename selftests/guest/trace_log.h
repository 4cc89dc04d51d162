/* SPDX-License-Identifier: GPL-2.0-only */
/* What the module's tracepoints have recorded, event by event. */
#ifndef TRACE_LOG_H
#define TRACE_LOG_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Turns the module's tracepoints on, but not those for pinned pages, and forgets what was recorded.
 * Fails the test and returns false if the module should have tracepoints and has none. The C module
 * has none: there nothing below does anything.
 */
bool trace_on(void);

/* Returns whether the module has tracepoints. The kernels for measuring have none. */
bool can_trace(void);

/* Turns the tracepoints off. */
void trace_off(void);

/* Turns the tracepoints for pinned pages on or off. */
void trace_pins(bool on);

/* Returns the next event, without the task and the time: "iommufd_map: context=1 ...", or NULL. */
const char *next_traced(void);

/* Fails the test unless the next event is this one. */
void traced(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Fails the test if there is another event. */
void nothing_traced(void);

/* Returns a field of an event, as a number. Fails the test if it has none of that name. */
uint64_t traced_field(const char *event, const char *name);

/*
 * Returns how many times the IOMMU was given commands in the invalidation that is the next event, or -1 if its
 * driver does not tell. Fails the test if the next event is not an invalidation.
 */
long long traced_submissions(void);

#endif
