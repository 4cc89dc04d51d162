/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What work takes of the thread that does it, whatever else the machine does: how often it sleeps, and CPU
 * time.
 */
#ifndef EFFORT_H
#define EFFORT_H

#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>

#include "result.h"

#define EFFORT_ATTEMPTS	10	/* of what a busy machine may hide */

struct effort {
	long sleeps;
	long long cpu_us;
};

/* The effort of the calling thread so far. */
static inline struct effort effort_now(void)
{
	struct rusage usage = {};
	struct timespec t = {};

	getrusage(RUSAGE_THREAD, &usage);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (struct effort){
		/* Being preempted is not sleeping, and is not counted here. */
		.sleeps = usage.ru_nvcsw,
		.cpu_us = t.tv_sec * 1000000LL + t.tv_nsec / 1000,
	};
}

static inline struct effort effort_since(struct effort begin)
{
	struct effort now = effort_now();

	return (struct effort){ now.sleeps - begin.sleeps, now.cpu_us - begin.cpu_us };
}

/* Returns whether one of several attempts takes little effort. Where the code is slow, none does. */
static inline bool seen_fast(bool (*is_fast)(void))
{
	int i;

	for (i = 0; i < EFFORT_ATTEMPTS && !has_failed(); i++)
		if (is_fast())
			return true;
	return false;
}

#endif
