/* SPDX-License-Identifier: GPL-2.0-only */
/* The suites of locks. */
#ifndef LOCKS_H
#define LOCKS_H

#include "frame.h"

#define MIB		(1UL << 20)
#define GIB		(1UL << 30)
#define LONG_IOVA	(4 * GIB)

extern const struct suite kill_suite, remote_suite, wait_suite, copy_suite, second_suite, exit_suite,
	charge_suite;

/* Returns the milliseconds of a clock. */
long long now_ms(void);

/*
 * Returns length bytes of memory whose page tables are filled. It is the same 64 MiB again and again, so
 * that there may be more of it than the machine has. NULL if there is none.
 */
char *long_memory(size_t length);

#endif
