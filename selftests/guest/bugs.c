// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test for each bug that the C implementation has had, and for each place where it falls short
 * of its contract. Those that need the mock IOMMU are in bugs_mock.c, fault.c and viommu.c.
 *
 * Usage: known-bugs VFIO_CDEV [SUITE]; the environment's SECOND_CDEV is a device of another group
 *
 * Documentation/bugs.rst says which test is about which bug, and what has none.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "bugs.h"

const struct suite *const suites[] = {
	&range_suite, &pages_suite, &file_bugs_suite, &life_bugs_suite,
	&interrupts_suite,
};

const unsigned int nr_suites = ARRAY_SIZE(suites);

/* Make an IOAS the one that the container's ioctls are about. */
int compat_set(struct fixture *f, uint32_t ioas)
{
	struct iommu_vfio_ioas cmd = {
		.size = sizeof(cmd), .op = IOMMU_VFIO_IOAS_SET, .ioas_id = ioas,
	};

	return call(f->fd, IOMMU_VFIO_IOAS, &cmd);
}

int compat_map(struct fixture *f, uint64_t iova, const void *va, uint64_t size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map cmd = {
		.argsz = sizeof(cmd), .flags = flags, .vaddr = PTR(va), .iova = iova, .size = size,
	};

	return call(f->fd, VFIO_IOMMU_MAP_DMA, &cmd);
}

/* How many bytes were unmapped is in *size, whatever the answer. */
int compat_unmap(struct fixture *f, uint64_t iova, uint64_t *size)
{
	struct vfio_iommu_type1_dma_unmap cmd = {
		.argsz = sizeof(cmd), .iova = iova, .size = *size,
	};
	int r = call(f->fd, VFIO_IOMMU_UNMAP_DMA, &cmd);

	*size = cmd.size;
	return r;
}

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

/* The rounds asked for, and more for as long as the other still has some to do. */
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
