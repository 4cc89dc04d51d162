// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory is charged to a process while that process has the lock of its mappings: the call that charges waits.
 * It does not hold up other calls on the memory, on the address spaces, or on the context.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "late.h"
#include "locks.h"

#define OLD_IOVA	LONG_IOVA
#define NEW_IOVA	(OLD_IOVA + HUGE)
#define PAGES		2UL		/* of each range */
#define SECONDS		10		/* timeout for what must not wait */
#define ATTEMPTS	10

static int iommu, device, file;
static uint32_t ioas, other;

/* Shared with the other processes. */
static struct {
	atomic_bool ready;		/* what has to be there before is there */
	atomic_bool charged;		/* the call that charges has returned */
	atomic_bool done;		/* the call that must not wait has returned */
	int result;
} *shared;

/* Makes an address space with a device, and one without, where processes have limits. */
static bool begin(void)
{
	uint32_t dev_id;

	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	iommu = open_iommu();
	device = open(device_path, O_RDWR | O_CLOEXEC);
	if (shared != MAP_FAILED && iommu >= 0 && device >= 0 &&
	    !set_option(iommu, IOMMU_OPTION_RLIMIT_MODE, 0, 1) && !bind_device(device, iommu, &dev_id) &&
	    !ioas_alloc(iommu, &ioas) && !ioas_alloc(iommu, &other) && !attach(device, ioas, NULL))
		return true;
	fail("no address space with a device");
	return false;
}

static void end(void)
{
	munmap(shared, PAGE);
	close(iommu);
	close(device);
}

/* Runs `call`, which must return while the memory is late, in a thread. Returns whether it does. */
static bool returns_meanwhile(struct late *late, void *(*call)(void *none), pthread_t *thread)
{
	const int tries = on_c_module() ? 20 : SECONDS * 100;
	int i;

	if (pthread_create(thread, NULL, call, NULL)) {
		fail("no thread");
		return false;
	}
	for (i = 0; i < tries && !atomic_load(&shared->done) && still_late(late); i++)
		usleep(10000);
	return atomic_load(&shared->done) && still_late(late);
}

/* The owner maps two ranges of one source. Only the first one is pinned, and charged to it. */
static void own(void)
{
	uint64_t iova = OLD_IOVA;

	close(device);
	/* Of an attempt at which the memory was not late. */
	unmap(iommu, ioas, OLD_IOVA, PAGES * PAGE);
	unmap(iommu, ioas, NEW_IOVA, PAGES * PAGE);
	unmap(iommu, other, OLD_IOVA, 2 * PAGES * PAGE);
	atomic_store(&shared->charged, false);
	atomic_store(&shared->done, false);
	atomic_store(&shared->ready, limit_memlock(2 * PAGES) && drop_ipc_lock() &&
		     !map(iommu, other, mem.rw, 2 * PAGES * PAGE, OLD_IOVA) &&
		     !copy(iommu, other, OLD_IOVA, PAGES * PAGE, FIXED | RW, ioas, &iova) &&
		     own_locked() == PAGES);
}

/* Waits for the lock of the mappings, and until the owner is charged for the second range only. */
static int stay(char *at)
{
	int i;

	*(volatile char *)at = 2;
	for (i = 0; i < SECONDS * 50; i++) {
		if (atomic_load(&shared->charged) && atomic_load(&shared->done) && own_locked() == PAGES)
			return 0;
		usleep(10000);
	}
	return -EBUSY;
}

static void charge_owner(struct fixture *none)
{
	uint64_t iova = NEW_IOVA;
	int r = copy(iommu, other, OLD_IOVA + PAGES * PAGE, PAGES * PAGE, FIXED | RW, ioas, &iova);

	atomic_store(&shared->charged, true);
	WANT(r, 0);
}

static void *unmap_old(void *none)
{
	shared->result = unmap(iommu, ioas, OLD_IOVA, PAGES * PAGE);
	atomic_store(&shared->done, true);
	return NULL;
}

static void unmap_while_charging(struct fixture *none)
{
	bool told = false, meanwhile = false;
	struct late late;
	pthread_t thread;
	int i, pid;

	for (i = 0; i < ATTEMPTS && !told; i++) {
		if (!begin())
			return;
		before_late = own;
		told = start_late(&late, LATE_TO_WRITE, NULL, stay);
		before_late = NULL;
		if (!told)
			return;
		CHECK(atomic_load(&shared->ready));
		/* The memory that came too early is no longer needed. */
		atomic_store(&shared->done, true);
		pid = start_waiting(&late, charge_owner);
		told = pid > 0;
		if (told) {
			atomic_store(&shared->done, false);
			meanwhile = returns_meanwhile(&late, unmap_old, &thread);
			told = meanwhile || still_late(&late);
			WANT(end_late(&late), 0);
			pthread_join(thread, NULL);
			WANT(shared->result, PAGES * PAGE);
			CHECK(child_done(pid));
		}
		end();
	}
	CHECK(told);
	WANT_FINDING("AS", meanwhile, 1, 0);
}

/* Maps a file, of which pages are pinned and charged to a process that is gone then. */
static void map_for_change(struct fixture *none)
{
	uint64_t iova = OLD_IOVA;

	close(device);
	CHECK(limit_memlock(PAGES) && drop_ipc_lock());
	WANT(map_file(iommu, ioas, FIXED | RW, file, 0, PAGES * PAGE, &iova), 0);
}

static void prepare_change(void)
{
	close(device);
	atomic_store(&shared->done, false);
	atomic_store(&shared->ready, limit_memlock(PAGES));
}

/* Waits for the lock of the mappings, and charges the caller. */
static int change(char *at)
{
	struct iommu_ioas_change_process cmd = { .size = sizeof(cmd) };
	int r = call(iommu, IOMMU_IOAS_CHANGE_PROCESS, &cmd);

	return !r && own_locked() != PAGES ? -EPROTO : r;
}

static void *use_others(void *none)
{
	uint64_t iova = NEW_IOVA;
	uint32_t id;
	int r;

	r = map_file(iommu, other, FIXED | RW, file, 0, PAGE, &iova);
	if (!r)
		r = ioas_alloc(iommu, &id);
	if (!r)
		r = unmap(iommu, other, NEW_IOVA, PAGE);
	shared->result = r;
	atomic_store(&shared->done, true);
	return NULL;
}

static void others_while_changing(struct fixture *none)
{
	bool told = false, meanwhile = false;
	struct late late;
	pthread_t thread;
	int i;

	file = memory_file(PAGES * PAGE, 0);
	CHECK(file >= 0);
	for (i = 0; i < ATTEMPTS && !told; i++) {
		if (!begin())
			return;
		CHECK(in_child(NULL, 0, map_for_change));
		before_late = prepare_change;
		told = start_late(&late, LATE_TO_WRITE, NULL, change);
		before_late = NULL;
		if (!told)
			return;
		CHECK(atomic_load(&shared->ready));
		meanwhile = returns_meanwhile(&late, use_others, &thread);
		told = meanwhile || still_late(&late);
		WANT(end_late(&late), 0);
		pthread_join(thread, NULL);
		WANT(shared->result, PAGE);
		end();
	}
	CHECK(told);
	WANT_FINDING("AV", meanwhile, 1, 0);
	close(file);
}

static const struct test tests[] = {
	{ "memory is unmapped while a call waits to charge its owner, finding AS", unmap_while_charging, ALONE },
	{ "others go on while the process of all memory is changed, finding AV", others_while_changing, ALONE },
};

const struct suite charge_suite = {
	.name = "charge",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
