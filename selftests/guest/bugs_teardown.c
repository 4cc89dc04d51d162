// SPDX-License-Identifier: GPL-2.0-only
/* What takes long, or waits, when devices are unbound and contexts are closed. */
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "bugs.h"
#include "late.h"

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

static struct fixture shared;
static uint32_t shared_hwpt;

/* The calls with late memory, in a process which has no descriptor of the device itself. */

static int info_call(char *at)
{
	struct iommu_hw_info cmd = {
		.size = sizeof(cmd), .dev_id = shared.dev_id, .data_len = PAGE, .data_uptr = PTR(at),
	};

	close(shared.dev);
	return call(shared.fd, IOMMU_GET_HW_INFO, &cmd);
}

static int hwpt_call(char *at)
{
	close(shared.dev);
	return hwpt_alloc(shared.fd, shared.dev_id, shared.other, &shared_hwpt);
}

static void map_late(char *at)
{
	uint64_t iova = FREE_IOVA;

	if (map_as(shared.fd, shared.other, READ | WRITE | FIXED, at, PAGE, &iova))
		fail("cannot map what is late");
}

/*
 * Another process uses the device in a call whose memory does not come. It holds up neither the end of
 * the binding, nor by vfio's locks whoever opens the device next.
 */
static void unbind_during(int (*use)(char *at), void (*prepare)(char *at), int want)
{
	struct late late;
	bool waited;
	int r;

	if (on_c_module()) {
		skip("finding F: the C module would wait for 60 s");
		return;
	}
	shared = (struct fixture){ .fd = open_iommu(), .dev = -1 };
	CHECK(shared.fd >= 0);
	shared.dev = open(device_path, O_RDWR | O_CLOEXEC);
	CHECK(shared.dev >= 0);
	WANT(bind_device(shared.dev, shared.fd, &shared.dev_id), 0);
	WANT(ioas_alloc(shared.fd, &shared.other), 0);
	if (!start_late(&late, LATE, prepare, use))
		return;
	close(shared.dev);
	waited = !still_late(&late);
	r = end_late(&late);
	if (waited)
		fail("unbinding waited for memory of another process");
	WANT(r, want);
	close(shared.fd);
}

static void unbind_during_info(struct fixture *none)
{
	unbind_during(info_call, NULL, 0);
}

static void unbind_during_hwpt(struct fixture *none)
{
	unbind_during(hwpt_call, map_late, 0);
}

static const struct test tests[] = {
	{ "many fault queues go with their context", many_queues, ALONE },
	{ "unbind while hardware is described to late memory", unbind_during_info, ALONE },
	{ "unbind while page tables are filled with late memory", unbind_during_hwpt, ALONE },
};

const struct suite teardown_suite = {
	.name = "teardown",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
