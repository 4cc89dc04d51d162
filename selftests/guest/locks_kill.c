// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process is killed in the middle of a call that takes long. The call ends early, and leaves nothing.
 * No test measures time: a call that runs to its end has pinned, or allocated, all of the memory.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "locks.h"

#define FILE_SIZE	(GIB + GIB / 2)
#define MEMORY_SIZE	(8 * GIB)
#define BEGUN		(512 * MIB)	/* the call is in the middle, and has done several pieces */
#define ATTEMPTS	10

static int iommu, device, file;
static uint32_t ioas;

static bool make_ioas(bool attached)
{
	uint32_t dev_id;

	iommu = open_iommu();
	device = open(device_path, O_RDWR | O_CLOEXEC);
	return iommu >= 0 && device >= 0 && !bind_device(device, iommu, &dev_id) &&
	       !ioas_alloc(iommu, &ioas) && (!attached || !attach(device, ioas, NULL));
}

static void close_all(void)
{
	close(iommu);
	close(device);
}

static uint64_t allocated(void)
{
	struct stat st;

	return fstat(file, &st) ? 0 : st.st_blocks * 512ULL;
}

static uint64_t bytes_pinned(void)
{
	return ever_pinned() * PAGE;
}

/*
 * Kills the child once progress() has risen by BEGUN. Returns by how much it has risen when the process
 * is gone, or 0 if the child ended by itself, as on a busy machine it may before it is killed.
 */
static uint64_t kill_halfway(int pid, uint64_t (*progress)(void))
{
	uint64_t before = progress();
	long long killed;
	int status = 0;

	while (progress() < before + BEGUN)
		if (waitpid(pid, &status, WNOHANG))
			return 0;
	killed = now_ms();
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
		return 0;
	note("gone %lld ms after SIGKILL", now_ms() - killed);
	return progress() - before;
}

struct killed_call {
	void (*call)(struct fixture *none);
	uint64_t (*progress)(void);
	uint64_t all;			/* bytes of progress, when the call has come to its end */
	bool attached;			/* the device, before the call */
	uint64_t left;			/* bytes that are mapped when it has ended early */
};

/* Kills a call, and returns how far it came, see kill_halfway(). What it has made is gone when this returns. */
static uint64_t kill_call(const struct killed_call *c)
{
	const long idle = pinned();
	uint64_t reached;

	file = memory_file(FILE_SIZE, 0);
	if (!make_ioas(c->attached) || file < 0) {
		fail("no address space with a device");
		return 0;
	}
	reached = kill_halfway(start_child(NULL, 0, c->call), c->progress);
	if (!reached || reached >= c->all)
		unmap_all(iommu, ioas);
	else if (pinned() != idle || unmap_all(iommu, ioas) != (long long)c->left)
		fail("the call has left something");
	if ((!c->attached && attach(device, ioas, NULL)) || map(iommu, ioas, mem.rw, PAGE, LONG_IOVA) ||
	    pinned() != idle + 1 || unmap_all(iommu, ioas) != (long long)PAGE || pinned() != idle)
		fail("the address space is of no use any more");
	close(file);
	close_all();
	return reached;
}

/*
 * Kills the call until it has ended early. One that does not heed the signal comes to its end at each attempt; with
 * the C module, where all do, it is enough to see it once.
 */
static void ends_early(const struct killed_call *c)
{
	uint64_t reached = 0;
	int i;

	for (i = 0; i < ATTEMPTS && !has_failed() && !(reached && (reached < c->all || on_c_module())); i++)
		reached = kill_call(c);
	CHECK(reached);
	WANT_FINDING("20", reached < c->all, 1, 0);
}

static void map_the_file(struct fixture *none)
{
	uint64_t iova = LONG_IOVA;

	map_file(iommu, ioas, FIXED | RW, file, 0, FILE_SIZE, &iova);
}

/* Memory that a file does not have yet is allocated by the call. */
static void killed_map_of_file(struct fixture *none)
{
	ends_early(&(struct killed_call){ map_the_file, allocated, FILE_SIZE, true, 0 });
}

static void map_the_memory(struct fixture *none)
{
	char *p = long_memory(MEMORY_SIZE);

	if (p)
		map(iommu, ioas, p, MEMORY_SIZE, LONG_IOVA);
}

static void killed_map(struct fixture *none)
{
	ends_early(&(struct killed_call){ map_the_memory, bytes_pinned, MEMORY_SIZE, true, 0 });
}

static void attach_to_memory(struct fixture *none)
{
	char *p = long_memory(MEMORY_SIZE);

	if (p && !map(iommu, ioas, p, MEMORY_SIZE, LONG_IOVA))
		attach(device, ioas, NULL);
}

/* The first device pins what is mapped. */
static void killed_attach(struct fixture *none)
{
	ends_early(&(struct killed_call){ attach_to_memory, bytes_pinned, MEMORY_SIZE, false, MEMORY_SIZE });
}

static const struct test tests[] = {
	{ "a map of a file that is not populated is killed", killed_map_of_file, ALONE },
	{ "a map of populated memory is killed", killed_map, ALONE },
	{ "an attach is killed", killed_attach, ALONE },
};

const struct suite kill_suite = {
	.name = "kill",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
