/* SPDX-License-Identifier: GPL-2.0-only */
/* How long a short call takes while another thread makes a long one in the same IOAS. */
#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#include <stdbool.h>
#include <stdint.h>

/* Returns whether there is a CPU for a second thread. */
bool two_cpus(void);

/* Lets the calling thread run on this CPU only. */
void pin_to(int cpu);

/*
 * Begins to map `page` at `iova`, and to unmap it, again and again, in a thread on CPU 1. The caller then makes
 * the long call, on CPU 0.
 */
void start_probe(int iommu, uint32_t ioas, const void *page, uint64_t iova);

/* The same with a page that is copied, by IOAS_COPY, from what another IOAS has at IOVA: it has the same source. */
void start_copy_probe(int iommu, uint32_t source, uint32_t ioas, uint64_t iova);

/*
 * Ends that. Rows have the longest time for map and unmap, and the 99th percentile, of those that were made
 * during the long call. `meanwhile` says what that does.
 */
void end_probe(const char *meanwhile);

#endif
