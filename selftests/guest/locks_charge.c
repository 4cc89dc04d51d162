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
static bool begin(void *none)
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

static void end(void *none)
{
	munmap(shared, PAGE);
	close(iommu);
	close(device);
}

/*
 * Runs `call`, which must return while the memory is late, in a thread, and lets the memory come. `meanwhile` is
 * whether it did.
 */
static void returns_meanwhile(struct late *late, void *(*call)(void *none), bool *meanwhile)
{
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, call, NULL));
	*meanwhile = done_while_late(late, &shared->done);
	late->told = still_late(late);
	WANT(end_late(late), 0);
	pthread_join(thread, NULL);
}

/* The owner maps two ranges of one source. Only the first one is pinned, and charged to it. */
static void own(void)
{
	uint64_t iova = OLD_IOVA;

	close(device);
	atomic_store(&shared->ready, limit_memlock(2 * PAGES) && set_ipc_lock(false) &&
		     !map(iommu, other, mem.rw, 2 * PAGES * PAGE, OLD_IOVA) &&
		     !copy(iommu, other, OLD_IOVA, PAGES * PAGE, FIXED | RW, ioas, &iova) &&
		     own_locked() == PAGES);
}

/* Waits for the lock of the mappings, and until the owner is charged for the second range only. */
static int stay(char *at)
{
	int i;

	*(volatile char *)at = 2;
	for (i = 0; i < LATE_SECONDS * 100; i++) {
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

static void charge_and_unmap(struct late *late, void *arg)
{
	int pid;

	CHECK(atomic_load(&shared->ready));
	/* If the memory comes too early it is no longer needed. */
	atomic_store(&shared->done, true);
	pid = start_waiting(late, charge_owner);
	if (pid <= 0)
		return;
	atomic_store(&shared->done, false);
	returns_meanwhile(late, unmap_old, arg);
	WANT(shared->result, PAGES * PAGE);
	CHECK(child_done(pid));
}

static void unmap_while_charging(struct fixture *none)
{
	bool meanwhile = false;

	/* With the bug, unmapping waits for the call that charges, which waits for the memory. */
	if (test_late(&(struct late_test){
			.late = { .kind = LATE_TO_WRITE, .before = own, .call = stay },
			.open = begin, .run = charge_and_unmap, .close = end, .arg = &meanwhile }))
		WANT_FINDING("AS", meanwhile, 1, 0);
}

/* Maps a file, of which pages are pinned and charged to a process that is gone then. */
static void map_for_change(struct fixture *none)
{
	uint64_t iova = OLD_IOVA;

	close(device);
	CHECK(limit_memlock(PAGES) && set_ipc_lock(false));
	WANT(map_file(iommu, ioas, FIXED | RW, file, 0, PAGES * PAGE, &iova), 0);
}

static void prepare_change(void)
{
	close(device);
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

/* As begin(), with memory of a process that is gone. */
static bool begin_change(void *none)
{
	if (!begin(none))
		return false;
	if (!in_child(NULL, 0, map_for_change))
		fail("no memory to change the process of");
	return !has_failed();
}

static void change_and_use(struct late *late, void *arg)
{
	CHECK(atomic_load(&shared->ready));
	returns_meanwhile(late, use_others, arg);
	WANT(shared->result, PAGE);
}

static void others_while_changing(struct fixture *none)
{
	bool meanwhile = false;

	if (on_c_module()) {
		skip("finding BE: the C module has a WARN, as the owner is gone");
		return;
	}
	file = memory_file(PAGES * PAGE, 0);
	CHECK(file >= 0);
	/* With the bug, the calls wait for the one that changes the process, which waits for the memory. */
	if (test_late(&(struct late_test){
			.late = { .kind = LATE_TO_WRITE, .before = prepare_change, .call = change },
			.open = begin_change, .run = change_and_use, .close = end, .arg = &meanwhile }))
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
