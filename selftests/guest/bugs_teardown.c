// SPDX-License-Identifier: GPL-2.0-only
/* What takes long, or waits, when devices are unbound and contexts are closed. */
#include <time.h>
#include <unistd.h>

#include "bugs.h"

#define QUEUES		1000

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* The end of a queue that somebody could have polled needs no grace period. */
static void many_queues(struct fixture *none)
{
	struct iommu_fault_alloc cmd;
	int fd = open_iommu(), i;
	long long began;

	CHECK(fd >= 0);
	for (i = 0; i < QUEUES; i++) {
		cmd = (struct iommu_fault_alloc){ .size = sizeof(cmd) };
		WANT(call(fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd), 0);
		close(cmd.out_fault_fd);
	}
	began = now_ms();
	close(fd);
	began = now_ms() - began;
	note("%d fault queues are closed in %lld ms", QUEUES, began);
	CHECK(began < 2000);
}

static const struct test tests[] = {
	{ "many fault queues go with their context", many_queues, ALONE },
};

const struct suite teardown_suite = {
	.name = "teardown",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
