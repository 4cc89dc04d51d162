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
#define BEGUN		(32 * MIB)	/* the call is in the middle */

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
 * is gone, or 0 if the child ended by itself.
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

static void map_the_file(struct fixture *none)
{
	uint64_t iova = LONG_IOVA;

	map_file(iommu, ioas, FIXED | RW, file, 0, FILE_SIZE, &iova);
}

/* Memory that a file does not have yet is allocated by the call. */
static void killed_map_of_file(struct fixture *none)
{
	uint64_t iova = LONG_IOVA, reached;
	long idle = pinned();

	CHECK(make_ioas(true));
	file = memory_file(FILE_SIZE, 0);
	CHECK(file >= 0);
	reached = kill_halfway(start_child(NULL, 0, map_the_file), allocated);
	CHECK(reached);
	WANT_FINDING("20", reached < FILE_SIZE, 1, 0);
	if (on_c_module())
		WANT(unmap_all(iommu, ioas), FILE_SIZE);
	WANT(pinned(), idle);
	WANT(map_file(iommu, ioas, FIXED | RW, file, 0, PAGE, &iova), 0);
	WANT(unmap_all(iommu, ioas), PAGE);
	close(file);
	close_all();
}

static void map_the_memory(struct fixture *none)
{
	char *p = long_memory(MEMORY_SIZE);

	if (p)
		map(iommu, ioas, p, MEMORY_SIZE, LONG_IOVA);
}

static void killed_map(struct fixture *none)
{
	long idle = pinned();
	uint64_t reached;

	CHECK(make_ioas(true));
	reached = kill_halfway(start_child(NULL, 0, map_the_memory), bytes_pinned);
	CHECK(reached);
	WANT_FINDING("20", reached < MEMORY_SIZE, 1, 0);
	if (on_c_module())
		WANT(unmap_all(iommu, ioas), MEMORY_SIZE);
	WANT(pinned(), idle);
	WANT(map(iommu, ioas, mem.rw, PAGE, LONG_IOVA), 0);
	WANT(unmap_all(iommu, ioas), PAGE);
	close_all();
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
	long idle = pinned();
	uint64_t reached;

	CHECK(make_ioas(false));
	reached = kill_halfway(start_child(NULL, 0, attach_to_memory), bytes_pinned);
	CHECK(reached);
	WANT_FINDING("20", reached < MEMORY_SIZE, 1, 0);
	/* With the C module the device is attached, and the memory pinned. */
	if (on_c_module())
		WANT(detach(device), 0);
	WANT(pinned(), idle);
	WANT(unmap_all(iommu, ioas), MEMORY_SIZE);
	WANT(attach(device, ioas, NULL), 0);
	close_all();
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
