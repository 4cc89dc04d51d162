// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bugs_call.h"

int change_process(struct fixture *f)
{
	struct iommu_ioas_change_process cmd = { .size = sizeof(cmd) };

	return call(f->fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd);
}

int open_second(void)
{
	const char *path = getenv("SECOND_CDEV");

	return path ? open(path, O_RDWR | O_CLOEXEC) : -1;
}

#define RACE_SECONDS	5

struct racer {
	struct fixture *f;
	const struct worker *worker;
	time_t deadline;
	atomic_int *done;
};

/* Runs the worker's rounds, and more until the other thread has done its own. */
static void *run_racer(void *arg)
{
	struct racer *r = arg;
	unsigned int i;

	for (i = 0; !has_failed() && time(NULL) < r->deadline; i++) {
		if (i == r->worker->rounds)
			atomic_fetch_add(r->done, 1);
		if (i >= r->worker->rounds && atomic_load(r->done) == 2)
			return NULL;
		r->worker->step(r->f, i);
	}
	return NULL;
}

void race(struct fixture *f, const struct worker *one, const struct worker *other)
{
	time_t deadline = time(NULL) + RACE_SECONDS;
	atomic_int done = 0;
	struct racer racers[] = { { f, one, deadline, &done }, { f, other, deadline, &done } };
	pthread_t thread;

	if (pthread_create(&thread, NULL, run_racer, &racers[0])) {
		fail("no thread");
		return;
	}
	run_racer(&racers[1]);
	pthread_join(thread, NULL);
}
