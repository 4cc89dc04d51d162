/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What work takes of the thread that does it, whatever else the machine does: how often it sleeps, and CPU
 * time.
 */
#ifndef EFFORT_H
#define EFFORT_H

#include <sys/resource.h>
#include <time.h>

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

#endif
