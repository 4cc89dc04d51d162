// SPDX-License-Identifier: GPL-2.0-only
/* What takes long, or waits, when devices are unbound and contexts are closed. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bugs.h"
#include "effort.h"
#include "late.h"

#define QUEUES		1000
#define TABLES_SIZE	(256UL << 20)
#define TABLES_TIMES	32
/* A reset takes 100 ms, by the PCI Express specification. */
#define RESET_MS	50

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/*
 * The end of a queue that somebody could have polled needs no grace period, nor much more work than making it.
 * On a busy machine only this can be told, and not by a clock on the wall, nor exactly: CPU time is also spent
 * while the host keeps the CPU waiting.
 */
static void many_queues(struct fixture *none)
{
	struct effort begin = effort_now(), made, closed;
	struct iommu_fault_alloc cmd;
	int fd = open_iommu(), i;

	CHECK(fd >= 0);
	for (i = 0; i < QUEUES; i++) {
		cmd = (struct iommu_fault_alloc){ .size = sizeof(cmd) };
		WANT(call(fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd), 0);
		close(cmd.out_fault_fd);
	}
	made = effort_since(begin);
	begin = effort_now();
	close(fd);
	closed = effort_since(begin);
	note("%d fault queues: made in %lld us of CPU time, closed in %lld us, asleep %ld times", QUEUES,
	     made.cpu_us, closed.cpu_us, closed.sleeps);
	CHECK(closed.sleeps < QUEUES / 10);
	CHECK(closed.cpu_us < 4 * made.cpu_us);
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

	/* In that of an attempt at which the memory was not late it is pinned. */
	if (ioas_alloc(shared.fd, &shared.other) ||
	    map_as(shared.fd, shared.other, READ | WRITE | FIXED, at, PAGE, &iova))
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

static int first_dev;
static atomic_bool first_closed;

static void *close_first(void *none)
{
	close(first_dev);
	atomic_store(&first_closed, true);
	return NULL;
}

/* Takes vfio's lock of the device for a moment, and returns for how long another had it. */
static long long wait_for_lock(int dev, int no_iommufd)
{
	long long began = now_ms();
	uint32_t id;
	int r = bind_device(dev, no_iommufd, &id);

	if (r != -EBADFD)
		fail("binding to what is no iommufd: %s", errno_name(r));
	return now_ms() - began;
}

/*
 * The context goes with the device, since its file was closed before. What was mapped is unmapped when
 * vfio has given back its locks, under which it resets the device and unbinds it.
 */
static void context_goes_last(struct fixture *none)
{
	long idle = pinned(), mapped, left;
	uint32_t ioas, id, hwpt, i;
	long long locked = 0, began;
	int fd, dev, other;
	pthread_t thread;
	char *area;

	area = mmap(NULL, TABLES_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(area != MAP_FAILED);
	fd = open_iommu();
	other = open("/dev/null", O_RDWR | O_CLOEXEC);
	first_dev = open(device_path, O_RDWR | O_CLOEXEC);
	dev = open(device_path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0 && other >= 0 && dev >= 0 && first_dev >= 0);
	WANT(bind_device(first_dev, fd, &id), 0);
	WANT(ioas_alloc(fd, &ioas), 0);
	WANT(hwpt_alloc(fd, id, ioas, &hwpt), 0);
	for (i = 0; i < TABLES_TIMES; i++)
		WANT(map(fd, ioas, area, TABLES_SIZE, (i + 1) * (1UL << 30)), 0);
	WANT(attach(first_dev, hwpt, NULL), 0);
	close(fd);
	mapped = pinned() - idle;
	atomic_store(&first_closed, false);
	began = now_ms();
	CHECK(!pthread_create(&thread, NULL, close_first, NULL));
	while (locked < RESET_MS && !atomic_load(&first_closed))
		locked = wait_for_lock(dev, other);
	left = pinned() - idle;
	pthread_join(thread, NULL);
	note("locked for %lld ms of %lld; then %ld of %ld pages are pinned", locked, now_ms() - began, left,
	     mapped);
	close(dev);
	close(other);
	munmap(area, TABLES_SIZE);
	WANT(pinned(), idle);
	CHECK(locked >= RESET_MS);
	CHECK(left > mapped / 2);
}

static const struct test tests[] = {
	{ "many fault queues go with their context", many_queues, ALONE },
	{ "unbind while hardware is described to late memory", unbind_during_info, ALONE },
	{ "unbind while page tables are filled with late memory", unbind_during_hwpt, ALONE },
	{ "the context goes last, with a device", context_goes_last, ALONE },
};

const struct suite teardown_suite = {
	.name = "teardown",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
