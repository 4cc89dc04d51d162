// SPDX-License-Identifier: GPL-2.0-only
/* Groups of many faults, and readers that wait while a group is read. */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "late.h"

/* The messages of so many faults are larger than any allocation of the kernel: 4 MiB. */
#define LARGE		104858
#define SOME		200
/* The most faults of a device that are not the last one of their group. */
#define MOST_PARTIAL	(1u << 17)

/* Reports a group of nr faults. */
static int report_group(struct queue *q, uint32_t group, uint32_t nr)
{
	int r = fault_group(q, group, nr - 1);

	return r ? r : fault_with(q, NO_PASID, group);
}

/* Returns whether the messages are those of report_group(), in their order, with one cookie. */
static bool is_group(const struct iommu_hwpt_pgfault *f, uint32_t group, uint32_t nr)
{
	uint32_t i;

	for (i = 0; i < nr; i++) {
		uint32_t flags = i == nr - 1 ? IOMMU_PGFAULT_FLAGS_LAST_PAGE : 0;
		uint64_t addr = ADDR + (group + nr - 1 - i) * PAGE;

		if (f[i].grpid != group || f[i].cookie != f[0].cookie || f[i].flags != flags ||
		    f[i].addr != addr) {
			note("message %u of %u is another one", i, nr);
			return false;
		}
	}
	return true;
}

static bool knows_groups(void)
{
	if (on_c_module())
		skip("the C mock knows groups of one fault only");
	return !on_c_module();
}

/* A group is read as a whole, or stays queued, whatever its size. */
static void any_size(struct fixture *none)
{
	static struct iommu_hwpt_pgfault got[SOME], zero[SOME];
	struct queue q;
	uint32_t nr;

	if (!knows_groups() || !open_queue(&q))
		return;
	for (nr = 1; nr <= SOME; nr += nr < 70 ? 1 : 13) {
		size_t size = nr * FAULT;

		WANT(report_group(&q, nr, nr), 0);
		if (nr > 1)
			WANT_WHY(q.fd, get(q.file, got, size - FAULT), -EINVAL, "fault-room");
		WANT_WHY(q.fd, get(q.file, guarded(zero, size - 8), size), -EFAULT, "user-memory");
		WANT(get(q.file, got, SOME * FAULT), size);
		CHECK(is_group(got, nr, nr));
		WANT(answer(&q, got[0].cookie, GOOD), ANSWER);
		WANT_WHY(q.fd, answer(&q, got[0].cookie, GOOD), -EINVAL, "fault-cookie");
	}
	WANT(get(q.file, got, SOME * FAULT), 0);
	close_queue(&q);
}

/* The kernel needs no memory for a group's messages, which may be more than it can allocate. */
static void large_group(struct fixture *none)
{
	size_t size = LARGE * FAULT;
	struct iommu_hwpt_pgfault *got;
	struct queue q;

	if (!knows_groups() || !open_queue(&q))
		return;
	got = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(got != MAP_FAILED);
	WANT(report_group(&q, 1, LARGE), 0);
	WANT_WHY(q.fd, get(q.file, got, size - FAULT), -EINVAL, "fault-room");
	WANT(get(q.file, got, size), size);
	CHECK(is_group(got, 1, LARGE));
	WANT(answer(&q, got[0].cookie, GOOD), ANSWER);
	munmap(got, size);
	close_queue(&q);
}

/* The kernel keeps these faults until their group ends, or the device can have none any more. */
static void endless_groups(struct fixture *none)
{
	struct queue q;

	if (!knows_groups() || !open_queue(&q))
		return;
	WANT(fault_group(&q, 1, MOST_PARTIAL - 1), 0);
	/* Groups that end do not make room: those of another one would be kept for ever. */
	WANT(fault_with(&q, NO_PASID, 2), 0);
	WANT(fault_group(&q, 3, 1), 0);
	WANT(fault_group(&q, 1, 1), -EBUSY);
	WANT(fault_with(&q, NO_PASID, 2), 0);
	WANT(replace(&q, q.ioas), 0);
	WANT(fault_group(&q, 1, 1), 0);
	WANT(replace(&q, q.hwpt), 0);
	WANT(report_group(&q, 1, MANY), 0);
	WANT(get(q.file, faults, MANY * FAULT), MANY * FAULT);
	CHECK(is_group(faults, 1, MANY));
	close_queue(&q);
}

static struct queue shared;

static void report_two(char *at)
{
	if (report_group(&shared, 1, 90) || report_group(&shared, 2, 3))
		fail("no groups to read");
}

static void report_one(char *at)
{
	if (fault_with(&shared, NO_PASID, 1))
		fail("no fault to read");
}

static bool open_shared(void *none)
{
	return open_queue(&shared);
}

static void close_shared(void *none)
{
	close_queue(&shared);
}

static int read_to_late_memory(char *at)
{
	return get(shared.file, at, PAGE / FAULT * FAULT);
}

static void leave_and_read(struct late *late, void *none)
{
	static struct iommu_hwpt_pgfault got[SOME];
	int r = replace(&shared, shared.ioas);

	/* If the device waits for the reader, the memory is never late now. */
	late->told = still_late(late);
	WANT(end_late(late), 0);
	WANT(r, 0);
	WANT(replace(&shared, shared.hwpt), 0);
	WANT(report_group(&shared, 3, 90), 0);
	WANT(get(shared.file, got, SOME * FAULT), 90 * FAULT);
	CHECK(is_group(got, 3, 90));
}

/*
 * The device leaves the page tables while the first messages of its group are being written. A group
 * that was written in part is not read.
 */
static void ends_while_read(struct fixture *none)
{
	if (knows_groups())
		test_late(&(struct late_test){
			.late = { .kind = LATE, .prepare = report_two, .call = read_to_late_memory },
			.open = open_shared, .run = leave_and_read, .close = close_shared });
}

static void read_one(struct fixture *none)
{
	WANT(get(shared.file, faults, FAULT), 0);
}

static void kill_reader(struct late *late, void *arg)
{
	int pid = start_waiting(late, read_one);
	bool *gone = arg;

	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	*gone = ends_while_late(late, pid);
	late->told = still_late(late);
	WANT(end_late(late), FAULT);
	if (!*gone)
		waitpid(pid, NULL, 0);
}

/* Reading waits for another reader, whose memory does not come, and can be killed. */
static void killed_reader(struct fixture *none)
{
	bool gone = false;

	if (test_late(&(struct late_test){
			.late = { .kind = LATE, .prepare = report_one, .call = read_to_late_memory },
			.open = open_shared, .run = kill_reader, .close = close_shared, .arg = &gone }))
		WANT_FINDING("AK", gone, 1, 0);
}

static const struct test tests[] = {
	{ "groups of any size", any_size, ALONE },
	{ "a group whose messages are more than 4 MiB", large_group, ALONE },
	{ "groups that do not end", endless_groups, ALONE },
	{ "an attachment ends while its group is read", ends_while_read, ALONE },
	{ "a reader that waits for another one is killed, finding AK", killed_reader, ALONE },
};

const struct suite fault_group_suite = {
	.name = "group",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
