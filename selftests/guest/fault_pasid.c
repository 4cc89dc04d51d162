// SPDX-License-Identifier: GPL-2.0-only
/* Page faults with a PASID while the PASID is attached, moved and detached. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fault.h"

#define PASID		100
#define SECONDS		4
#define MIN_ROUNDS	100
#define MAX_ROUNDS	100000	/* while no fault was answered */

/* A device whose PASIDs can be attached to two page tables, whose faults go to one queue. */
struct pasid_queue {
	struct queue q;
	uint32_t hwpts[2];
	atomic_bool over;
	atomic_ulong faults;
	atomic_ulong answered;
};

static bool open_pasid_queue(struct pasid_queue *p)
{
	struct queue *q = &p->q;
	int r;

	q->file = -1;
	q->fd = open_iommu();
	r = q->fd < 0 ? q->fd : ioas_alloc(q->fd, &q->ioas);
	if (!r)
		r = mock_device_flags(q->fd, q->ioas, MOCK_FLAGS_DEVICE_PASID, &q->device,
				      &q->dev_id);
	if (!r)
		r = queue_alloc(q->fd, &q->id, &q->file);
	if (!r)
		r = fault_hwpt(q, IOMMU_HWPT_ALLOC_PASID, q->id, &p->hwpts[0]);
	if (!r)
		r = fault_hwpt(q, IOMMU_HWPT_ALLOC_PASID, q->id, &p->hwpts[1]);
	/* The device itself stays attached to the first page tables. */
	if (!r)
		r = mock_replace(q->fd, q->device, p->hwpts[0]);
	if (r)
		fail("cannot make a device with PASIDs and a fault queue: %s", errno_name(r));
	atomic_init(&p->over, false);
	atomic_init(&p->faults, 0);
	atomic_init(&p->answered, 0);
	return !r;
}

static void close_pasid_queue(struct pasid_queue *p)
{
	struct queue *q = &p->q;

	WANT(destroy(q->fd, q->device), 0);
	WANT(destroy(q->fd, p->hwpts[0]), 0);
	WANT(destroy(q->fd, p->hwpts[1]), 0);
	CHECK(!close(q->file));
	WANT(destroy(q->fd, q->id), 0);
	WANT(destroy(q->fd, q->ioas), 0);
	CHECK(!close(q->fd));
}

static void *fault_with_pasid(void *arg)
{
	struct pasid_queue *p = arg;
	uint32_t group;

	for (group = 0; !atomic_load(&p->over); group++) {
		if (fault_with(&p->q, PASID, group))
			return (void *)1;
		atomic_fetch_add(&p->faults, 1);
	}
	return NULL;
}

/* Responds to all faults. EINVAL if the PASID was detached meanwhile. */
static void *answer_all(void *arg)
{
	struct pasid_queue *p = arg;
	struct iommu_hwpt_pgfault fault;

	while (!atomic_load(&p->over)) {
		long long r = get(p->q.file, &fault, FAULT);

		if (!r) {
			sched_yield();
			continue;
		}
		if (r != FAULT)
			return (void *)1;
		r = answer(&p->q, fault.cookie, GOOD);
		if (r != ANSWER && r != -EINVAL)
			return (void *)2;
		if (r == ANSWER)
			atomic_fetch_add(&p->answered, 1);
	}
	return NULL;
}

/* Pins the calling thread to a CPU, as a real-time thread if it gets a priority. */
static bool run_on_cpu(int cpu, int priority)
{
	const struct sched_param param = { .sched_priority = priority };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set) &&
	       !sched_setscheduler(0, priority ? SCHED_FIFO : SCHED_OTHER, &param);
}

/*
 * Attaches, moves and detaches the PASID until the time is over, and a fault was answered. The calling thread preempts the one
 * that reports faults, on the same CPU and after a time that differs from round to round, so that some
 * rounds detach what a report has just looked up.
 */
static long change_pasid(struct pasid_queue *p)
{
	const time_t end = time(NULL) + SECONDS;
	const struct queue *q = &p->q;
	unsigned long round;

	for (round = 0; time(NULL) < end || round < MIN_ROUNDS ||
			(!atomic_load(&p->answered) && round < MAX_ROUNDS); round++) {
		const struct timespec wait = { .tv_nsec = 20000 + random() % 400000 };
		int r = pasid_attach(q->fd, q->device, PASID, p->hwpts[round % 2]);

		nanosleep(&wait, NULL);
		if (!r && round % 3 == 0) {
			r = pasid_replace(q->fd, q->device, PASID, p->hwpts[1 - round % 2]);
			nanosleep(&wait, NULL);
		}
		if (!r)
			r = pasid_detach(q->fd, q->device, PASID);
		if (r)
			return r;
	}
	return round;
}

static void faults_while_detached(struct fixture *none)
{
	void *(*const work[])(void *arg) = { fault_with_pasid, answer_all };
	pthread_t threads[ARRAY_SIZE(work)];
	struct pasid_queue p;
	void *bad;
	size_t i;
	long r;

	CHECK(open_pasid_queue(&p));
	CHECK(run_on_cpu(0, 0));
	for (i = 0; i < ARRAY_SIZE(work); i++)
		CHECK(!pthread_create(&threads[i], NULL, work[i], &p));
	CHECK(run_on_cpu(0, 1));
	r = change_pasid(&p);
	atomic_store(&p.over, true);
	for (i = 0; i < ARRAY_SIZE(work); i++) {
		CHECK(!pthread_join(threads[i], &bad));
		WANT((long)bad, 0);
	}
	note("%ld rounds, %lu faults, %lu of them answered", r, atomic_load(&p.faults),
	     atomic_load(&p.answered));
	CHECK(r >= MIN_ROUNDS);
	CHECK(atomic_load(&p.answered) > 0);
	close_pasid_queue(&p);
}

static const struct test tests[] = {
	{ "faults with a PASID while it is detached", faults_while_detached, ALONE },
};

const struct suite fault_pasid_suite = {
	.name = "fault-pasid",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
