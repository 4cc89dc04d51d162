// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process has mapped memory that comes late, and another process attaches a device, which pins the
 * memory. The attach holds up no call of the owner on its own memory, and can be killed. A process holds the
 * lock of its mappings, and another one unpins memory that is charged to it, which does not wait for that.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "late.h"
#include "locks.h"

#define LATE_IOVA	LONG_IOVA
#define SECONDS		10	/* timeout for what must not wait */
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

static int map_own(char *at)
{
	/* Of an attempt at which the memory was not late. */
	unmap(iommu, ioas, LATE_IOVA, PAGE);
	return map(iommu, ioas, at, PAGE, LATE_IOVA);
}

/* Maps the memory, and stays until it is not needed any more. */
static int own(char *at)
{
	int r = map_own(at);

	atomic_store(&shared->mapped, !r);
	while (!r && !atomic_load(&shared->attached))
		usleep(1000);
	return r;
}

/* As own(), and uses the lock of its mappings meanwhile. */
static int own_and_mmap(char *at)
{
	int r = map_own(at);

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

static void end(void)
{
	munmap(shared, PAGE);
	close(iommu);
	close(device);
}

/* Starts the two processes. Returns the one that attaches, 0 on an error, -1 if the memory came too early. */
static int try_begin(struct late *late, enum late_kind kind, int (*call)(char *at))
{
	uint32_t dev_id;
	int pid;

	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	iommu = open_iommu();
	device = open(device_path, O_RDWR | O_CLOEXEC);
	if (shared == MAP_FAILED || iommu < 0 || device < 0 || bind_device(device, iommu, &dev_id) ||
	    ioas_alloc(iommu, &ioas)) {
		fail("no address space with a device");
		return 0;
	}
	if (!start_late(late, kind, NULL, call))
		return 0;
	if (!atomic_load(&shared->mapped)) {
		fail("the owner has not mapped its memory");
		return 0;
	}
	pid = start_waiting(late, attach_remote);
	if (pid < 0)
		end();
	return pid;
}

/* Starts a process that owns late memory, and one that attaches. Returns the latter. */
static int begin(struct late *late, enum late_kind kind, int (*call)(char *at))
{
	int i, pid = -1;

	for (i = 0; i < 10 && pid < 0; i++)
		pid = try_begin(late, kind, call);
	if (pid < 0)
		fail("the memory is not late in %d attempts", i);
	return pid < 0 ? 0 : pid;
}

/* The attach waits for a page. The owner can map and unmap memory meanwhile. */
static void owner_goes_on(struct fixture *none)
{
	unsigned long before;
	struct late late;
	int pid, i;

	pid = begin(&late, LATE, own_and_mmap);
	if (!pid)
		return;
	before = atomic_load(&shared->calls);
	for (i = 0; i < SECONDS * 10 && atomic_load(&shared->calls) < before + 2 && still_late(&late); i++)
		usleep(100000);
	CHECK(still_late(&late));
	CHECK(atomic_load(&shared->calls) >= before + 2);
	WANT(end_late(&late), 0);
	CHECK(child_done(pid));
	end();
}

/* The attach waits for the lock of the owner's mappings. */
static void killed_attach(struct fixture *none)
{
	const int tries = on_c_module() ? 11 : 10 * SECONDS;
	struct late late;
	bool gone;
	int pid;

	pid = begin(&late, LATE_TO_WRITE, own);
	if (!pid)
		return;
	kill(pid, SIGKILL);
	gone = ends_while_late(&late, pid, tries);
	WANT_FINDING("AK", gone, 1, 0);
	atomic_store(&shared->attached, true);
	WANT(end_late(&late), 0);
	if (!gone)
		waitpid(pid, NULL, 0);
	/* The memory went with its owner. */
	WANT(unmap(iommu, ioas, LATE_IOVA, PAGE), PAGE);
	WANT(attach(device, ioas, NULL), 0);
	end();
}

bool drop_ipc_lock(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data))
		return false;
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	return !syscall(SYS_capset, &header, data);
}

/* The owner's memory is pinned, and charged to it up to its limit. */
static void map_to_limit(void)
{
	close(device);
	/* Of an attempt at which the memory was not late. */
	unmap(iommu, ioas, LATE_IOVA, CHARGED * PAGE);
	atomic_store(&shared->mapped, limit_memlock(CHARGED) && drop_ipc_lock() &&
		     !map(iommu, ioas, mem.rw, CHARGED * PAGE, LATE_IOVA) &&
		     own_locked() == CHARGED);
}

/* Waits for the lock of the mappings. Then as much as before can be charged at once. */
static int map_again(char *at)
{
	int r, i;

	*(volatile char *)at = 2;
	/* With the C module the other process waits for the lock as well. */
	for (i = 0; on_c_module() && i < SECONDS * 100 && own_locked(); i++)
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
	for (i = 0; i < SECONDS * 100 && own_locked(); i++)
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

/* The owner holds the lock of its mappings while `unpin` runs, and calls `then` when it has released it. */
static void unpin_meanwhile(void *(*unpin)(void *none), int (*then)(char *at), int want)
{
	const int tries = on_c_module() ? 20 : SECONDS * 100;
	bool told = false, meanwhile = false;
	struct late late;
	uint32_t dev_id;
	pthread_t thread;
	int attempt, i;

	for (attempt = 0; attempt < 10 && !told; attempt++) {
		shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		iommu = open_iommu();
		device = open(device_path, O_RDWR | O_CLOEXEC);
		if (shared == MAP_FAILED || iommu < 0 || device < 0 ||
		    set_option(iommu, IOMMU_OPTION_RLIMIT_MODE, 0, 1) ||
		    bind_device(device, iommu, &dev_id) || ioas_alloc(iommu, &ioas) ||
		    attach(device, ioas, NULL)) {
			fail("no address space with a device");
			return;
		}
		before_late = map_to_limit;
		if (!start_late(&late, LATE_TO_WRITE, NULL, then))
			return;
		before_late = NULL;
		CHECK(atomic_load(&shared->mapped));
		CHECK(!pthread_create(&thread, NULL, unpin, NULL));
		for (i = 0; i < tries && !atomic_load(&shared->attached) && still_late(&late); i++)
			usleep(10000);
		meanwhile = atomic_load(&shared->attached);
		told = still_late(&late);
		WANT(end_late(&late), 0);
		pthread_join(thread, NULL);
		WANT(shared->result, want);
		munmap(shared, PAGE);
		close(iommu);
		close(device);
	}
	CHECK(told);
	WANT_FINDING("AS", meanwhile, 1, 0);
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
