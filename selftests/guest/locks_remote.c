// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process has mapped memory that comes late, and another process attaches a device, which pins the
 * memory. The attach holds up no call of the owner on its own memory, and can be killed. A process holds the
 * lock of its mappings, and another one unpins memory that is charged to it, which does not wait for that.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "late.h"
#include "locks.h"

#define LATE_IOVA	LONG_IOVA
#define CHARGED		2	/* pages of the owner */

static int iommu, device;
static uint32_t ioas;

/* Shared with the other processes. */
static struct {
	atomic_bool mapped;		/* the owner has mapped the memory */
	atomic_bool attached;		/* the attach, or what unpins, has returned, or its task is gone */
	atomic_ulong calls;		/* mmap() and munmap() of the owner */
	int result;			/* of the call that unpins memory */
} *shared;

/* Maps the memory, and stays until it is not needed any more. */
static int own(char *at)
{
	int r = map(iommu, ioas, at, PAGE, LATE_IOVA);

	atomic_store(&shared->mapped, !r);
	while (!r && !atomic_load(&shared->attached))
		usleep(1000);
	return r;
}

/* As own(), and uses the lock of its mappings meanwhile. */
static int own_and_mmap(char *at)
{
	int r = map(iommu, ioas, at, PAGE, LATE_IOVA);

	atomic_store(&shared->mapped, !r);
	while (!r && !atomic_load(&shared->attached)) {
		void *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (page == MAP_FAILED || munmap(page, PAGE))
			return -errno;
		atomic_fetch_add(&shared->calls, 1);
		usleep(1000);
	}
	return r;
}

static void attach_remote(struct fixture *none)
{
	int r = attach(device, ioas, NULL);

	atomic_store(&shared->attached, true);
	WANT(r, 0);
}

static bool is_mapped(void)
{
	return atomic_load(&shared->mapped);
}

/* Makes an address space, and a device that is not attached to it. What is pinned is charged by that mode. */
static bool open_all(uint64_t rlimit_mode)
{
	uint32_t dev_id;

	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	iommu = open_iommu();
	device = open(device_path, O_RDWR | O_CLOEXEC);
	if (shared != MAP_FAILED && iommu >= 0 && device >= 0 &&
	    !set_option(iommu, IOMMU_OPTION_RLIMIT_MODE, 0, rlimit_mode) &&
	    !bind_device(device, iommu, &dev_id) && !ioas_alloc(iommu, &ioas))
		return true;
	fail("no address space with a device");
	return false;
}

static bool begin(void *none)
{
	return open_all(0);
}

static void end(void *none)
{
	munmap(shared, PAGE);
	close(iommu);
	close(device);
}

/* The attach waits for a page. The owner can map and unmap memory meanwhile. */
static void attach_and_mmap(struct late *late, void *arg)
{
	const int pid = start_waiting(late, attach_remote);
	const unsigned long before = atomic_load(&shared->calls);
	bool *goes_on = arg;
	int i;

	if (pid <= 0)
		return;
	*goes_on = false;
	for (i = 0; i < LATE_SECONDS * 100 && !*goes_on && still_late(late); i++) {
		usleep(10000);
		*goes_on = atomic_load(&shared->calls) >= before + 2;
	}
	late->told = still_late(late);
	WANT(end_late(late), 0);
	CHECK(child_done(pid));
}

static void owner_goes_on(struct fixture *none)
{
	bool goes_on = false;

	/* If the attach had the lock of the owner's mappings, the owner would wait for its own memory. */
	if (test_late(&(struct late_test){
			.late = { .kind = LATE, .call = own_and_mmap, .ready = is_mapped },
			.open = begin, .run = attach_and_mmap, .close = end, .arg = &goes_on }))
		CHECK(goes_on);
}

/* The attach waits for the lock of the owner's mappings. */
static void kill_attach(struct late *late, void *arg)
{
	const int pid = start_waiting(late, attach_remote);
	bool *gone = arg;

	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	*gone = ends_while_late(late, pid);
	late->told = still_late(late);
	atomic_store(&shared->attached, true);
	WANT(end_late(late), 0);
	if (!*gone)
		waitpid(pid, NULL, 0);
	/* The memory went with its owner. */
	WANT(unmap(iommu, ioas, LATE_IOVA, PAGE), PAGE);
	WANT(attach(device, ioas, NULL), 0);
}

static void killed_attach(struct fixture *none)
{
	bool gone = false;

	if (test_late(&(struct late_test){
			.late = { .kind = LATE_TO_WRITE, .call = own, .ready = is_mapped },
			.open = begin, .run = kill_attach, .close = end, .arg = &gone }))
		WANT_FINDING("AK", gone, 1, 0);
}

/* The owner's memory is pinned, and charged to it up to its limit. */
static void map_to_limit(void)
{
	close(device);
	atomic_store(&shared->mapped, limit_memlock(CHARGED) && set_ipc_lock(false) &&
		     !map(iommu, ioas, mem.rw, CHARGED * PAGE, LATE_IOVA) &&
		     own_locked() == CHARGED);
}

/* Waits for the lock of the mappings. Then as much as before can be charged at once. */
static int map_again(char *at)
{
	int r, i;

	*(volatile char *)at = 2;
	/* With the C module the other process waits for the lock as well. */
	for (i = 0; on_c_module() && i < LATE_SECONDS * 100 && own_locked(); i++)
		usleep(10000);
	r = map(iommu, ioas, mem.rw, CHARGED * PAGE, LATE_IOVA);
	if (!r && own_locked() != CHARGED)
		r = -EPROTO;
	return r;
}

/* Waits for the lock of the mappings. Then nothing is charged soon. */
static int be_uncharged(char *at)
{
	int i;

	*(volatile char *)at = 2;
	for (i = 0; i < LATE_SECONDS * 100 && own_locked(); i++)
		usleep(10000);
	return own_locked() ? -EBUSY : 0;
}

static void *unmap_owned(void *none)
{
	shared->result = unmap(iommu, ioas, LATE_IOVA, CHARGED * PAGE);
	atomic_store(&shared->attached, true);
	return NULL;
}

static void *close_device(void *none)
{
	shared->result = close(device);
	atomic_store(&shared->attached, true);
	return NULL;
}

/* As begin(), where processes have limits, and with the device attached. */
static bool begin_charged(void *none)
{
	if (!open_all(1))
		return false;
	if (!attach(device, ioas, NULL))
		return true;
	fail("the device cannot be attached");
	return false;
}

struct unpin {
	void *(*call)(void *none);
	int want;
	bool meanwhile;
};

static void run_unpin(struct late *late, void *arg)
{
	struct unpin *u = arg;
	pthread_t thread;

	CHECK(atomic_load(&shared->mapped));
	CHECK(!pthread_create(&thread, NULL, u->call, NULL));
	u->meanwhile = done_while_late(late, &shared->attached);
	late->told = still_late(late);
	WANT(end_late(late), 0);
	pthread_join(thread, NULL);
	WANT(shared->result, u->want);
}

/* The owner holds the lock of its mappings while `unpin` runs, and calls `then` when it has released it. */
static void unpin_meanwhile(void *(*unpin)(void *none), int (*then)(char *at), int want)
{
	struct unpin u = { unpin, want, false };

	/* With the bug, it waits for the lock. */
	if (test_late(&(struct late_test){
			.late = { .kind = LATE_TO_WRITE, .before = map_to_limit, .call = then },
			.open = begin_charged, .run = run_unpin, .close = end, .arg = &u }))
		WANT_FINDING("AS", u.meanwhile, 1, 0);
}

static void unmap_meanwhile(struct fixture *none)
{
	unpin_meanwhile(unmap_owned, map_again, CHARGED * PAGE);
}

static void close_meanwhile(struct fixture *none)
{
	unpin_meanwhile(close_device, be_uncharged, 0);
}

static const struct test tests[] = {
	{ "the owner of memory that is being pinned maps and unmaps", owner_goes_on, ALONE },
	{ "an attach that waits for another process is killed, finding AK", killed_attach, ALONE },
	{ "memory is unmapped while its owner maps memory, finding AS", unmap_meanwhile, ALONE },
	{ "a device is closed while the owner of its memory maps memory, finding AS", close_meanwhile, ALONE },
};

const struct suite remote_suite = {
	.name = "remote",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
