/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the program bench-mock have in common. */
#ifndef BENCH_MOCK_H
#define BENCH_MOCK_H

#include "bench.h"
#include "mock_call.h"

#define DIRTY		(1UL << 30)

/* bench_mock_dirty.c: DIRTY bytes at `p` are mapped. `page` is another one. */
void dirty_rows(const char *name, const char *p, const void *page);

/* bench_mock_access.c: pinning memory through an access, reading and writing it. */
void access_rows(const char *name, char *p);

/* bench_mock_access.c: batches of a guest's invalidations of its page tables. */
void invalidation_rows(const char *name, uint32_t nr);

#endif
