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
#define SECONDS		10	/* timeout for what must not wait */

static int iommu, device;
static uint32_t ioas;
static struct late late;
static long idle;

static int attach_with_late_memory(char *at)
{
	int r;

	/* Of an attempt at which the memory was not late. */
	detach(device);
	unmap(iommu, ioas, LATE_IOVA, PAGE);
	r = map(iommu, ioas, at, PAGE, LATE_IOVA);
	return r ? r : attach(device, ioas, NULL);
}

/*
 * Returns whether an attach waits. A page is mapped at OLD_IOVA. If the attach `fails`, there is memory
 * behind LATE_IOVA that cannot be pinned.
 */
static bool begin(bool fails)
{
	uint32_t dev_id;

	idle = pinned();
	iommu = open_iommu();
	device = open(device_path, O_RDWR | O_CLOEXEC);
	if (iommu < 0 || device < 0 || bind_device(device, iommu, &dev_id) ||
	    ioas_alloc(iommu, &ioas) || map(iommu, ioas, mem.rw, PAGE, OLD_IOVA) ||
	    (fails && map(iommu, ioas, mem.none, 2 * PAGE, HOLE_IOVA))) {
		fail("no address space with a device");
		return false;
	}
	return start_late(&late, LATE, NULL, attach_with_late_memory);
}

static void end(void)
{
	close(iommu);
	close(device);
	if (pinned() != idle)
		fail("pages stay pinned");
}

/* Returns whether the child ends before the attach does, and without a failure. */
static bool ends_meanwhile(int pid)
{
	int i, status = -1;

	for (i = 0; i < SECONDS * 100 && still_late(&late); i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) && !WEXITSTATUS(status);
		usleep(10000);
	}
	return false;
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

static void others_go_on(struct fixture *none)
{
	int pid;

	if (!begin(false))
		return;
	pid = start_child(NULL, 0, map_and_unmap);
	if (on_c_module()) {
		CHECK(!ends_meanwhile(pid) || !still_late(&late));
		WANT(end_late(&late), 0);
		waitpid(pid, NULL, 0);
	} else {
		CHECK(ends_meanwhile(pid));
		WANT(end_late(&late), 0);
	}
	end();
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
static void nothing_is_lost(struct fixture *none)
{
	int pids[2];

	if (!begin(false))
		return;
	pids[0] = start_child(NULL, 0, map_new);
	pids[1] = start_child(NULL, 0, unmap_old);
	if (!on_c_module()) {
		CHECK(ends_meanwhile(pids[0]));
		CHECK(ends_meanwhile(pids[1]));
		WANT(end_late(&late), 0);
	} else {
		WANT(end_late(&late), 0);
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
	end();
}

/* An attach that fails takes back what was mapped into the domain meanwhile, and the mapping stays. */
static void failed_attach(struct fixture *none)
{
	int pid;

	if (!begin(true))
		return;
	pid = start_child(NULL, 0, map_new);
	if (!on_c_module()) {
		CHECK(ends_meanwhile(pid));
		/* OLD_IOVA and NEW_IOVA. */
		WANT(pinned(), idle + 2);
	}
	WANT(end_late(&late), -EFAULT);
	if (on_c_module())
		CHECK(child_done(pid));
	WANT(pinned(), idle);
	WANT(unmap(iommu, ioas, HOLE_IOVA, 2 * PAGE), 2 * PAGE);
	unmap_gone();
	WANT(attach(device, ioas, NULL), 0);
	WANT(pinned(), idle + 2);
	WANT(unmap(iommu, ioas, NEW_IOVA, PAGE), PAGE);
	end();
}

/* A map of memory that cannot be pinned fails while a device is attached, too, and the attach goes on. */
static void failed_map(struct fixture *none)
{
	if (!begin(false))
		return;
	if (!on_c_module())
		WANT(map(iommu, ioas, mem.none, 2 * PAGE, HOLE_IOVA), -EFAULT);
	WANT(end_late(&late), 0);
	WANT(map(iommu, ioas, mem.none, 2 * PAGE, HOLE_IOVA), -EFAULT);
	WANT(pinned(), idle + 2);
	end();
}

static void unmap_late(struct fixture *none)
{
	WANT(unmap(iommu, ioas, LATE_IOVA, PAGE), PAGE);
}

/*
 * Has a process unmap what is being attached, and returns it: it must wait. Returns 0 on failure. The
 * memory may come in time on a fast machine, so there are several attempts.
 */
static int begin_unmap(void)
{
	int i, pid;

	for (i = 0; i < 20; i++) {
		if (!begin(false))
			return 0;
		pid = start_waiting(&late, unmap_late);
		if (pid >= 0)
			return pid;
		end();
	}
	fail("the memory is never late for long enough");
	return 0;
}

/* Unmapping what is being filled waits, as all unmapping does with the C module. */
static void unmap_waits(struct fixture *none)
{
	int pid = begin_unmap();

	if (!pid)
		return;
	WANT(end_late(&late), 0);
	CHECK(child_done(pid));
	WANT(unmap(iommu, ioas, LATE_IOVA, PAGE), -ENOENT);
	WANT(pinned(), idle + 1);
	end();
}

static void killed_unmap(struct fixture *none)
{
	const int tries = on_c_module() ? 11 : 10 * SECONDS;
	int pid = begin_unmap();
	bool gone;

	if (!pid)
		return;
	kill(pid, SIGKILL);
	gone = ends_while_late(&late, pid, tries);
	WANT_FINDING("20", gone, 1, 0);
	WANT(end_late(&late), 0);
	if (!gone)
		waitpid(pid, NULL, 0);
	else
		WANT(unmap(iommu, ioas, LATE_IOVA, PAGE), PAGE);
	end();
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
