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
#define ATTEMPTS	10	/* of what a busy machine may hide */

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/*
 * The end of a queue that somebody could have polled needs no grace period, nor much more work than making it.
 * On a busy machine only this can be told, and not by a clock on the wall, nor exactly: CPU time is also spent
 * while the host keeps the CPU waiting. A grace period for each queue would be seen at each attempt.
 */
static bool queues_go_fast(void)
{
	struct effort begin = effort_now(), made, closed;
	struct iommu_fault_alloc cmd;
	int fd = open_iommu(), i;

	for (i = 0; i < QUEUES && !has_failed(); i++) {
		cmd = (struct iommu_fault_alloc){ .size = sizeof(cmd) };
		if (call(fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd))
			fail("cannot make fault queue %d", i);
		else
			close(cmd.out_fault_fd);
	}
	made = effort_since(begin);
	begin = effort_now();
	close(fd);
	closed = effort_since(begin);
	note("%d fault queues: made in %lld us of CPU time, closed in %lld us, asleep %ld times", QUEUES,
	     made.cpu_us, closed.cpu_us, closed.sleeps);
	return closed.sleeps < QUEUES / 10 && closed.cpu_us < 4 * made.cpu_us;
}

static void many_queues(struct fixture *none)
{
	CHECK(seen_fast(queues_go_fast));
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

static bool open_shared(void *none)
{
	shared = (struct fixture){ .fd = open_iommu(), .dev = -1 };
	shared.dev = open(device_path, O_RDWR | O_CLOEXEC);
	if (shared.fd >= 0 && shared.dev >= 0 && !bind_device(shared.dev, shared.fd, &shared.dev_id))
		return true;
	fail("no device");
	return false;
}

static void unbind_and_end(struct late *late, void *want)
{
	close(shared.dev);
	shared.dev = -1;
	late->told = still_late(late);
	WANT(end_late(late), *(int *)want);
}

static void close_shared(void *none)
{
	if (shared.dev >= 0)
		close(shared.dev);
	close(shared.fd);
}

/*
 * Another process uses the device in a call whose memory does not come. It holds up neither the end of
 * the binding nor, by a lock of vfio, a process that opens the device next. If unbinding waits for the call, the
 * memory is not late any more when it returns, in each attempt.
 */
static void unbind_during(int (*use)(char *at), void (*prepare)(char *at), int want)
{
	if (on_c_module())
		skip("finding F: the C module would wait for 60 s");
	else
		test_late(&(struct late_test){
			.late = { .kind = LATE, .prepare = prepare, .call = use },
			.open = open_shared, .run = unbind_and_end, .close = close_shared, .arg = &want });
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
 * Closes a device with much memory mapped, which has the last reference to its context. Sets `mapped` to the
 * number of pages that are pinned before, and `left` to the number when vfio has released its locks. Returns whether it was seen to have them.
 */
static bool close_with_context(char *area, long *mapped, long *left)
{
	const long idle = pinned();
	long long locked = 0, began;
	uint32_t ioas, id, hwpt, i;
	int fd, dev, other, r;
	pthread_t thread;

	fd = open_iommu();
	other = open("/dev/null", O_RDWR | O_CLOEXEC);
	first_dev = open(device_path, O_RDWR | O_CLOEXEC);
	dev = open(device_path, O_RDWR | O_CLOEXEC);
	r = bind_device(first_dev, fd, &id) || ioas_alloc(fd, &ioas) || hwpt_alloc(fd, id, ioas, &hwpt);
	for (i = 0; i < TABLES_TIMES && !r; i++)
		r = map(fd, ioas, area, TABLES_SIZE, (i + 1) * (1UL << 30));
	if (r || other < 0 || dev < 0 || attach(first_dev, hwpt, NULL)) {
		fail("no device with memory");
		return false;
	}
	close(fd);
	*mapped = pinned() - idle;
	atomic_store(&first_closed, false);
	began = now_ms();
	if (pthread_create(&thread, NULL, close_first, NULL)) {
		fail("no thread");
		return false;
	}
	while (locked < RESET_MS && !atomic_load(&first_closed))
		locked = wait_for_lock(dev, other);
	*left = pinned() - idle;
	pthread_join(thread, NULL);
	note("locked for %lld ms of %lld; then %ld of %ld pages are pinned", locked, now_ms() - began, *left,
	     *mapped);
	close(dev);
	close(other);
	if (pinned() != idle)
		fail("pages stay pinned");
	return locked >= RESET_MS;
}

/*
 * The device has the last reference to the context, whose file was closed before. Memory is unmapped after
 * vfio has released its locks, under which it resets the device and unbinds it. On a busy machine this thread
 * may be late to look. If memory is unmapped under the locks, none is left at any attempt.
 */
static void context_goes_last(struct fixture *none)
{
	long mapped = 0, left = 0;
	bool locked = false;
	char *area;
	int i;

	area = mmap(NULL, TABLES_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(area != MAP_FAILED);
	for (i = 0; i < ATTEMPTS && !has_failed() && !(locked && left > mapped / 2); i++)
		locked = close_with_context(area, &mapped, &left);
	munmap(area, TABLES_SIZE);
	CHECK(locked);
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
