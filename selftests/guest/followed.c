// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program that `follow` runs: its children and threads note what code of the module they reach. KCOV follows one
 * task for each of its files. The linker has pthread_create() call this file's (--wrap).
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <linux/kcov.h>

#include "follow.h"

struct start {
	void *(*run)(void *);
	void *arg;
};

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

/* Takes the first lane that no other task has. It is free again when this task ends. */
static void note(void)
{
	int old = errno, i = 0;

	while (i < LANES && ioctl(FIRST_LANE + i, KCOV_ENABLE, KCOV_TRACE_PC))
		i++;
	errno = old;
}

static void *run_noted(void *arg)
{
	struct start start = *(struct start *)arg;

	free(arg);
	note();
	return start.run(start.arg);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	struct start *start;
	int r;

	if (!getenv(FOLLOWED))
		return __real_pthread_create(thread, attr, run, arg);
	start = malloc(sizeof(*start));
	if (!start)
		return ENOMEM;
	*start = (struct start){ run, arg };
	r = __real_pthread_create(thread, attr, run_noted, start);
	if (r)
		free(start);
	return r;
}

__attribute__((constructor)) static void follow_children(void)
{
	if (getenv(FOLLOWED))
		pthread_atfork(NULL, NULL, note);
}
