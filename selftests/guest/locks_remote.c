// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process has mapped memory that comes late, and another process attaches a device, which pins the
 * memory. The attach holds up no call of the owner on its own memory, and can be killed.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "late.h"
#include "locks.h"

#define LATE_IOVA	LONG_IOVA
#define NEXT_IOVA	(LATE_IOVA + PAGE)	/* of another area, which an attach would pin together with it */
#define SECONDS		10	/* timeout for what must not wait */

static int iommu, device;
static uint32_t ioas;

/* Shared with the other processes. */
static struct {
	atomic_bool mapped;		/* the owner has mapped the memory */
	atomic_bool attached;		/* the attach has returned, or its task is gone */
	atomic_ulong calls;		/* mmap() and munmap() of the owner */
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

/* As own(), without the right to lock memory without limit. Other threads keep their user. */
static int own_limited(char *at)
{
	if (syscall(SYS_setresuid, -1, NOBODY, -1))
		return -errno;
	return own(at);
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
	if (shared == MAP_FAILED || iommu < 0 || device < 0 ||
	    set_option(iommu, IOMMU_OPTION_RLIMIT_MODE, 0, call == own_limited) || bind_device(device, iommu, &dev_id) ||
	    ioas_alloc(iommu, &ioas) || map(iommu, ioas, mem.rw, PAGE, NEXT_IOVA)) {
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

static void unmap_next(struct fixture *none)
{
	WANT(unmap(iommu, ioas, NEXT_IOVA, PAGE), PAGE);
}

/*
 * The attach waits for the lock of the owner's mappings to charge a page to it. Meanwhile another area is
 * unmapped. With the C module an attach holds up all unmaps.
 */
static void attach_holds_one_area(struct fixture *none)
{
	struct late late;
	int pid, other;
	bool gone;

	pid = begin(&late, LATE_TO_WRITE, own_limited);
	if (!pid)
		return;
	other = start_child(NULL, 0, unmap_next);
	gone = ends_while_late(&late, other, on_c_module() ? 5 : 20);
	WANT(end_late(&late), 0);
	if (!gone)
		waitpid(other, NULL, 0);
	CHECK(child_done(pid));
	WANT(gone, !on_c_module());
	WANT(unmap(iommu, ioas, NEXT_IOVA, PAGE), -ENOENT);
	end();
}

static const struct test tests[] = {
	{ "the owner of memory that is being pinned maps and unmaps", owner_goes_on, ALONE },
	{ "an attach that waits for another process is killed, finding AK", killed_attach, ALONE },
	{ "an attach that waits for another process holds one area", attach_holds_one_area, ALONE },
};

const struct suite remote_suite = {
	.name = "remote",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
