// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls on an address space while a device is being attached to it, which waits for a page of the memory
 * that is mapped. Other calls do not wait for the attach, nor does anything get lost.
 *
 * With the C module every call waits that changes the address space, or reads it, so the tests that must
 * not wait are one finding there.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "late.h"
#include "locks.h"

#define LATE_IOVA	(LONG_IOVA + HUGE)
#define HOLE_IOVA	(LATE_IOVA + HUGE)
#define NEW_IOVA	(HOLE_IOVA + HUGE)
#define OLD_IOVA	LONG_IOVA

static int iommu, device;
static uint32_t ioas;
static long idle;

static int attach_with_late_memory(char *at)
{
	int r = map(iommu, ioas, at, PAGE, LATE_IOVA);

	return r ? r : attach(device, ioas, NULL);
}

/* What is done while the attach waits. */
struct meanwhile {
	void (*run)(struct late *late);
	bool fails;		/* the attach: behind LATE_IOVA there is memory that cannot be pinned */
};

/* Makes an address space, in which a page is mapped at OLD_IOVA. */
static bool begin(void *arg)
{
	const struct meanwhile *m = arg;
	uint32_t dev_id;

	idle = pinned();
	iommu = open_iommu();
	device = open(device_path, O_RDWR | O_CLOEXEC);
	if (iommu >= 0 && device >= 0 && !bind_device(device, iommu, &dev_id) && !ioas_alloc(iommu, &ioas) &&
	    !map(iommu, ioas, mem.rw, PAGE, OLD_IOVA) &&
	    (!m->fails || !map(iommu, ioas, mem.none, 2 * PAGE, HOLE_IOVA)))
		return true;
	fail("no address space with a device");
	return false;
}

static void end(void *arg)
{
	close(iommu);
	close(device);
	if (pinned() != idle)
		fail("pages stay pinned");
}

static void run(struct late *late, void *arg)
{
	const struct meanwhile *m = arg;

	late->told = true;
	m->run(late);
}

static void while_attaching(void (*what)(struct late *late), bool fails)
{
	test_late(&(struct late_test){
		.late = { .kind = LATE, .call = attach_with_late_memory },
		.open = begin, .run = run, .close = end, .arg = &(struct meanwhile){ what, fails } });
}

/*
 * Waits for a child, which must end before the attach does, and without a failure. If it does not, it waits for the
 * attach, and does so at each attempt.
 */
static void ends_meanwhile(struct late *late, int pid)
{
	int i, gone = 0, status = -1;

	for (i = 0; i < LATE_SECONDS * 100 && !gone && still_late(late); i++) {
		usleep(10000);
		gone = waitpid(pid, &status, WNOHANG);
	}
	late->told &= still_late(late);
	if (!late->told && !gone)
		waitpid(pid, NULL, 0);
	if (late->told)
		CHECK(gone == pid && WIFEXITED(status) && !WEXITSTATUS(status));
}

static void map_and_unmap(struct fixture *none)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	uint64_t copied = HOLE_IOVA;
	uint32_t nr = MAX_RANGES;
	long before = pinned();

	WANT(map(iommu, ioas, mem.rw + PAGE, PAGE, NEW_IOVA), 0);
	/* It is in the domain that is being filled, so it is pinned. */
	WANT(pinned(), before + 1);
	WANT(copy(iommu, ioas, NEW_IOVA, PAGE, FIXED | RW, ioas, &copied), 0);
	WANT(pinned(), before + 1);
	WANT(unmap(iommu, ioas, NEW_IOVA, PAGE), PAGE);
	WANT(unmap(iommu, ioas, HOLE_IOVA, PAGE), PAGE);
	WANT(pinned(), before);
	WANT(iova_ranges(iommu, ioas, ranges, &nr, NULL), 0);
}

static void use_others(struct late *late)
{
	int pid = start_child(NULL, 0, map_and_unmap);

	if (on_c_module()) {
		CHECK(!ends_while_late(late, pid) || !still_late(late));
		WANT(end_late(late), 0);
		waitpid(pid, NULL, 0);
	} else {
		ends_meanwhile(late, pid);
		WANT(end_late(late), 0);
	}
}

static void others_go_on(struct fixture *none)
{
	while_attaching(use_others, false);
}

/* The process with late memory is gone, so its memory cannot be pinned any more. */
static void unmap_gone(void)
{
	WANT(attach(device, ioas, NULL), -EFAULT);
	WANT(pinned(), idle);
	WANT(unmap(iommu, ioas, LATE_IOVA, PAGE), PAGE);
}

/* A file, because the memory of the process that maps is gone when it is. */
static void map_new(struct fixture *none)
{
	int file = memory_file(PAGE, 0);
	uint64_t iova = NEW_IOVA;

	CHECK(file >= 0);
	WANT(map_file(iommu, ioas, FIXED | RW, file, 0, PAGE, &iova), 0);
}

static void unmap_old(struct fixture *none)
{
	WANT(unmap(iommu, ioas, OLD_IOVA, PAGE), PAGE);
}

/* What was mapped meanwhile is in the domain, and what was unmapped is not. */
static void map_and_unmap_others(struct late *late)
{
	int pids[2];

	pids[0] = start_child(NULL, 0, map_new);
	pids[1] = start_child(NULL, 0, unmap_old);
	if (!on_c_module()) {
		ends_meanwhile(late, pids[0]);
		ends_meanwhile(late, pids[1]);
		WANT(end_late(late), 0);
	} else {
		WANT(end_late(late), 0);
		CHECK(child_done(pids[0]));
		CHECK(child_done(pids[1]));
	}
	/* LATE_IOVA and NEW_IOVA. */
	WANT(pinned(), idle + 2);
	WANT(detach(device), 0);
	WANT(pinned(), idle);
	unmap_gone();
	WANT(attach(device, ioas, NULL), 0);
	WANT(pinned(), idle + 1);
	WANT(unmap(iommu, ioas, NEW_IOVA, PAGE), PAGE);
	WANT(unmap(iommu, ioas, OLD_IOVA, PAGE), -ENOENT);
}

static void nothing_is_lost(struct fixture *none)
{
	while_attaching(map_and_unmap_others, false);
}

/* An attach that fails takes back what was mapped into the domain meanwhile, and the mapping stays. */
static void map_to_be_taken_back(struct late *late)
{
	int pid = start_child(NULL, 0, map_new);

	if (!on_c_module()) {
		ends_meanwhile(late, pid);
		/* OLD_IOVA and NEW_IOVA. */
		if (late->told)
			WANT(pinned(), idle + 2);
	}
	WANT(end_late(late), -EFAULT);
	if (on_c_module())
		CHECK(child_done(pid));
	WANT(pinned(), idle);
	WANT(unmap(iommu, ioas, HOLE_IOVA, 2 * PAGE), 2 * PAGE);
	unmap_gone();
	WANT(attach(device, ioas, NULL), 0);
	WANT(pinned(), idle + 2);
	WANT(unmap(iommu, ioas, NEW_IOVA, PAGE), PAGE);
}

static void failed_attach(struct fixture *none)
{
	while_attaching(map_to_be_taken_back, true);
}

/* A map of memory that cannot be pinned fails while a device is attached, too, and the attach goes on. */
static void map_in_vain(struct late *late)
{
	if (!on_c_module()) {
		WANT(map(iommu, ioas, mem.none, 2 * PAGE, HOLE_IOVA), -EFAULT);
		late->told = still_late(late);
	}
	WANT(end_late(late), 0);
	WANT(map(iommu, ioas, mem.none, 2 * PAGE, HOLE_IOVA), -EFAULT);
	WANT(pinned(), idle + 2);
}

static void failed_map(struct fixture *none)
{
	while_attaching(map_in_vain, false);
}

static void unmap_late(struct fixture *none)
{
	WANT(unmap(iommu, ioas, LATE_IOVA, PAGE), PAGE);
}

/* Unmapping what is being filled waits, as all unmapping does with the C module. */
static void unmap_and_wait(struct late *late)
{
	int pid = start_waiting(late, unmap_late);

	late->told = pid > 0;
	if (pid <= 0)
		return;
	WANT(end_late(late), 0);
	CHECK(child_done(pid));
	WANT(unmap(iommu, ioas, LATE_IOVA, PAGE), -ENOENT);
	WANT(pinned(), idle + 1);
}

static void unmap_waits(struct fixture *none)
{
	while_attaching(unmap_and_wait, false);
}

static void unmap_and_kill(struct late *late)
{
	int pid = start_waiting(late, unmap_late);
	bool gone;

	late->told = pid > 0;
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	gone = ends_while_late(late, pid);
	late->told = still_late(late);
	WANT(end_late(late), 0);
	if (!gone)
		waitpid(pid, NULL, 0);
	/* If it is not gone it waits until the attach is over, at each attempt. */
	if (late->told)
		WANT_FINDING("20", gone, 1, 0);
	if (late->told && gone)
		WANT(unmap(iommu, ioas, LATE_IOVA, PAGE), PAGE);
}

static void killed_unmap(struct fixture *none)
{
	while_attaching(unmap_and_kill, false);
}

static const struct test tests[] = {
	{ "others map and unmap during an attach", others_go_on, ALONE },
	{ "nothing is lost that is mapped or unmapped during an attach", nothing_is_lost, ALONE },
	{ "an attach that fails takes back what was mapped meanwhile", failed_attach, ALONE },
	{ "a map fails during an attach, which goes on", failed_map, ALONE },
	{ "unmapping what is being attached waits", unmap_waits, ALONE },
	{ "unmapping that waits is killed", killed_unmap, ALONE },
};

const struct suite wait_suite = {
	.name = "wait",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
