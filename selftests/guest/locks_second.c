// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page tables are made for an address space while others are being made. The second call waits for the end
 * of the first one, and not for each step of it: it is counted how often it sleeps.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "locks.h"

#define NR	16384L		/* mappings of a page, 16 of which are a step at most */
#define BEGUN	256		/* pages: the first call is in the middle */
#define FEW	5
#define ATTEMPTS 30

static int iommu, first, second;
static uint32_t first_id, second_id, ioas;
static long before;

/* Shared with the process that makes the second page tables. */
static struct {
	atomic_bool ready;
	bool meanwhile;		/* the first call was not over */
	int result;
	uint32_t hwpt;
	long sleeps;
} *shared;

static long sleeps(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? -1 : usage.ru_nvcsw;
}

static void make_second(struct fixture *none)
{
	long slept;

	atomic_store(&shared->ready, true);
	while (pinned() < before + BEGUN)
		;
	shared->meanwhile = pinned() < before + NR / 2;
	slept = sleeps();
	shared->result = hwpt_alloc(iommu, second_id, ioas, &shared->hwpt);
	shared->sleeps = sleeps() - slept;
}

static bool begin(char *p)
{
	const char *path = getenv("SECOND_CDEV");
	long i;

	iommu = open_iommu();
	first = open(device_path, O_RDWR | O_CLOEXEC);
	second = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (iommu < 0 || first < 0 || second < 0 || bind_device(first, iommu, &first_id) ||
	    bind_device(second, iommu, &second_id) || ioas_alloc(iommu, &ioas))
		return false;
	for (i = 0; i < NR; i++)
		if (map(iommu, ioas, p + i * PAGE, PAGE, LONG_IOVA + i * PAGE))
			return false;
	return true;
}

static void sleeps_seldom(struct fixture *none)
{
	/* Shared, so that fork() does not make it read-only. */
	char *p = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE,
		       -1, 0);
	bool waited = false;
	uint32_t hwpt;
	int pid, i;

	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED && shared != MAP_FAILED && begin(p));
	before = pinned();
	/*
	 * A busy machine may not run the second process in time, and may have a call sleep for another reason. If it waits
	 * for each step it sleeps hundreds of times, each time.
	 */
	for (i = 0; i < ATTEMPTS && !(waited && shared->sleeps < FEW); i++) {
		atomic_store(&shared->ready, false);
		pid = start_child(NULL, 0, make_second);
		while (!atomic_load(&shared->ready))
			usleep(100);
		WANT(hwpt_alloc(iommu, first_id, ioas, &hwpt), 0);
		CHECK(child_done(pid));
		WANT(shared->result, 0);
		waited = shared->meanwhile;
		WANT(destroy(iommu, shared->hwpt), 0);
		WANT(destroy(iommu, hwpt), 0);
		WANT(pinned(), before);
	}
	CHECK(waited);
	note("the second call slept %ld times", shared->sleeps);
	CHECK(shared->sleeps < FEW);
	WANT(unmap_all(iommu, ioas), NR * PAGE);
	munmap(shared, PAGE);
	munmap(p, NR * PAGE);
	close(first);
	close(second);
	close(iommu);
}

static const struct test tests[] = {
	{ "page tables that wait for others to be filled sleep seldom", sleeps_seldom, ALONE },
};

const struct suite second_suite = {
	.name = "second",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
