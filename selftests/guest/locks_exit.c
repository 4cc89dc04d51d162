// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process with much memory has mapped a page that comes late, and another process attaches a device, which
 * pins the page. The owner is killed meanwhile. The attach then has the last reference to the owner's address
 * space, and holds locks for which others wait. To tear the address space down takes long.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "late.h"
#include "locks.h"

#define LATE_IOVA	LONG_IOVA
#define ATTEMPTS	10
#define PART		8	/* of the time that tearing down takes, which the attach must not need */

static int iommu, device, owner;
static uint32_t ioas;
static char *late_page;

/* Shared with the other processes. */
static struct {
	atomic_bool mapped;		/* the owner has mapped the page */
	atomic_bool over;		/* nothing need be late any more */
	long long spent;		/* microseconds of a CPU in the attach */
} *shared;

/* Returns the microseconds that this thread has had a CPU, in the kernel or not. */
static long long spent_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static size_t much(void)
{
	return slow_kernel() ? 128 * MIB : GIB;
}

/* Returns memory of many small pages. */
static char *much_memory(void)
{
	char *p = mmap(NULL, much(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, much(), MADV_NOHUGEPAGE);
	memset(p, 1, much());
	return p;
}

/* Returns the microseconds that tearing down that much memory takes. */
static long long teardown_us(void)
{
	char *p = much_memory();
	long long before = spent_us();

	if (!p || munmap(p, much()))
		return 0;
	return spent_us() - before;
}

static void own(struct fixture *none)
{
	atomic_store(&shared->mapped, much_memory() && !map(iommu, ioas, late_page, PAGE, LATE_IOVA));
	while (atomic_load(&shared->mapped))
		pause();
}

static void end_owner(void)
{
	if (!owner)
		return;
	kill(owner, SIGKILL);
	waitpid(owner, NULL, 0);
	owner = 0;
}

/* Starts the owner, whose page is late later. */
static void start_owner(char *at)
{
	int i;

	atomic_store(&shared->mapped, false);
	late_page = at;
	owner = start_child(NULL, 0, own);
	for (i = 0; i < LATE_SECONDS * 1000 && !atomic_load(&shared->mapped); i++)
		usleep(1000);
	CHECK(atomic_load(&shared->mapped));
}

/* The process that keeps the page from coming, and does not use it. */
static int stay(char *at)
{
	while (!atomic_load(&shared->over))
		usleep(1000);
	return 0;
}

static bool is_begun(void)
{
	return true;
}

static void attach_and_count(struct fixture *none)
{
	long long before = spent_us();
	int r = attach(device, ioas, NULL);

	shared->spent = spent_us() - before;
	atomic_store(&shared->over, true);
	WANT(r, 0);
}

static bool begin(void *none)
{
	uint32_t dev_id;

	atomic_store(&shared->over, false);
	iommu = open_iommu();
	device = open(device_path, O_RDWR | O_CLOEXEC);
	if (iommu >= 0 && device >= 0 && !bind_device(device, iommu, &dev_id) && !ioas_alloc(iommu, &ioas))
		return true;
	fail("no address space with a device");
	return false;
}

static void end(void *none)
{
	end_owner();
	close(iommu);
	close(device);
}

/* Sets `told` if the owner was gone before the page came. Then the attach has the last reference. */
static void owner_goes_first(struct late *late, void *none)
{
	const int pid = start_waiting(late, attach_and_count);

	end_owner();
	late->told = pid > 0 && still_late(late);
	atomic_store(&shared->over, true);
	if (pid >= 0) {
		WANT(end_late(late), 0);
		CHECK(child_done(pid));
	}
}

static void owner_goes(struct fixture *none)
{
	long long teardown = teardown_us();
	int i;

	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(teardown && shared != MAP_FAILED);
	/*
	 * CPU time is also spent while the host keeps the CPU waiting, by up to four times as much. An attach that tears
	 * the owner down does so at each attempt.
	 */
	for (i = 0; i < ATTEMPTS; i++) {
		if (!test_late(&(struct late_test){
				.late = { .kind = LATE, .prepare = start_owner, .call = stay, .ready = is_begun },
				.open = begin, .run = owner_goes_first, .close = end }))
			return;
		note("the attach took %lld us of a CPU, and to tear down the owner takes %lld", shared->spent,
		     teardown);
		if (on_c_module() || shared->spent < teardown / PART)
			break;
	}
	WANT_FINDING("AT", shared->spent < teardown / PART, 1, 0);
	munmap(shared, PAGE);
}

static const struct test tests[] = {
	{ "the owner of memory that is being pinned goes, finding AT", owner_goes, ALONE },
};

const struct suite exit_suite = {
	.name = "exit",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
