// SPDX-License-Identifier: GPL-2.0-only
/* The kernel frees page tables that it made when their last device detaches, even if calls use them. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "bugs_mock.h"
#include "late.h"

#define SECONDS		5
#define DEVICES		2
#define PATIENCE	300000	/* looks, of a fifth of a millisecond: a minute */

static struct mock m;
static uint32_t devices[DEVICES];
static pthread_barrier_t edge;
static atomic_bool over;
static int results[DEVICES];

/* Detaches a thread's device from the page tables; both threads do so at the same time. */
static void *leave(void *arg)
{
	const size_t which = (uintptr_t)arg;

	while (pthread_barrier_wait(&edge), !atomic_load(&over)) {
		results[which] = mock_replace(m.fd, devices[which], m.other);
		pthread_barrier_wait(&edge);
	}
	return NULL;
}

/* Attaches a device to the IOAS and returns the ID of its page tables in hwpt. */
static int come(uint32_t device, uint32_t *hwpt)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, .id = device,
		.mock_domain_replace.pt_id = m.ioas,
	};
	int r = mock_op(m.fd, &cmd);

	*hwpt = cmd.mock_domain_replace.pt_id;
	return r;
}

static void leave_together(unsigned int *left)
{
	uint32_t hwpt, same;
	int r;

	WANT(come(devices[0], &hwpt), 0);
	WANT(come(devices[1], &same), 0);
	WANT(same, hwpt);
	pthread_barrier_wait(&edge);
	pthread_barrier_wait(&edge);
	WANT(results[0], 0);
	WANT(results[1], 0);
	r = destroy(m.fd, hwpt);
	*left += !r;
	if (r)
		WANT(r, -ENOENT);
}

/* Two devices detach from the page tables of an IOAS at the same time: one of them is the last. */
static void last_of_two(struct fixture *none)
{
	unsigned int rounds, left = 0;
	time_t deadline = time(NULL) + SECONDS;
	pthread_t threads[DEVICES];
	uint32_t dev_id, hwpt;
	size_t i;

	if (!open_mock(&m))
		return;
	devices[0] = m.device;
	WANT(mock_device(m.fd, m.ioas, &devices[1], &dev_id, &hwpt), 0);
	atomic_store(&over, false);
	CHECK(!pthread_barrier_init(&edge, NULL, DEVICES + 1));
	for (i = 0; i < DEVICES; i++)
		CHECK(!pthread_create(&threads[i], NULL, leave, (void *)i));
	for (rounds = 0; time(NULL) < deadline && !has_failed(); rounds++)
		leave_together(&left);
	atomic_store(&over, true);
	pthread_barrier_wait(&edge);
	for (i = 0; i < DEVICES; i++)
		pthread_join(threads[i], NULL);
	note("%u rounds, the page tables were left behind in %u", rounds, left);
	WANT(left, 0);
	close_mock(&m);
}

static _Atomic uint32_t looked_at;

/* Makes calls that hold a reference to the page tables while they run. */
static void *look_at(void *none)
{
	struct iommu_hwpt_set_dirty_tracking cmd = { .size = sizeof(cmd) };

	while (!atomic_load(&over)) {
		cmd.hwpt_id = atomic_load(&looked_at);
		call(m.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &cmd);
	}
	return NULL;
}

/*
 * The last device detaches while a call of another thread uses the page tables. The C module then never
 * frees them: it does not retry after it has found them in use (finding U).
 */
static void last_while_looked_at(struct fixture *none)
{
	unsigned int rounds, tries, left = 0;
	time_t deadline = time(NULL) + SECONDS;
	pthread_t thread;
	uint32_t hwpt;

	if (!open_mock(&m))
		return;
	atomic_store(&over, false);
	WANT(mock_replace(m.fd, m.device, m.other), 0);
	CHECK(!pthread_create(&thread, NULL, look_at, NULL));
	for (rounds = 0; (!rounds || time(NULL) < deadline) && !has_failed(); rounds++) {
		int r = come(m.device, &hwpt);

		if (r)
			break;
		atomic_store(&looked_at, hwpt);
		r = mock_replace(m.fd, m.device, m.other);
		if (r)
			break;
		atomic_store(&looked_at, NO_ID);
		/* EBUSY while a call holds a reference to the page tables, which is long if its thread is preempted. */
		for (tries = 0; tries < PATIENCE && (r = destroy(m.fd, hwpt)) == -EBUSY; tries++)
			usleep(200);
		left += r != -ENOENT;
		if (r && r != -ENOENT)
			break;
	}
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	note("%u rounds, the page tables were left behind in %u", rounds, left);
	CHECK(rounds > 0 && time(NULL) >= deadline);
	if (!on_c_module())
		WANT(left, 0);
	close_mock(&m);
}

static int compare_with_late_memory(char *at)
{
	mock_check(m.fd, m.hwpt, MOCK_IOVA, at, PAGE);
	return 0;
}

static bool open_m(void *none)
{
	return open_mock(&m);
}

static void close_m(void *none)
{
	close_mock(&m);
}

static void detach_meanwhile(struct late *late, void *none)
{
	int r = mock_replace(m.fd, m.device, m.other);

	/* If detaching waits for the call, the memory is never late now. */
	late->told = still_late(late);
	WANT(end_late(late), 0);
	WANT(r, 0);
	if (late->told)
		WANT_FINDING("U", destroy(m.fd, m.hwpt), -ENOENT, 0);
	WANT(destroy(m.fd, m.ioas), 0);
}

/* The last device detaches while a call that uses the page tables waits for its user's memory. */
static void last_while_call_waits(struct fixture *none)
{
	test_late(&(struct late_test){
		.late = { .kind = LATE, .call = compare_with_late_memory },
		.open = open_m, .run = detach_meanwhile, .close = close_m });
}

static const struct test tests[] = {
	{ "two devices leave page tables at once", last_of_two, ALONE },
	{ "the last device leaves page tables that are in use, finding U", last_while_looked_at, ALONE },
	{ "the last device leaves page tables of a call that waits, finding U", last_while_call_waits, ALONE },
};

const struct suite mock_life_suite = {
	.name = "life", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
