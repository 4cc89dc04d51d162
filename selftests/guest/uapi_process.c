// SPDX-License-Identifier: GPL-2.0-only
/* IOAS_CHANGE_PROCESS: which process or user is charged, by VmPin, VmLck and RLIMIT_MEMLOCK. */
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "uapi.h"

#define NR		4		/* pages of the file */
#define NEW_OWNER		(NOBODY + 1)	/* another user */

#define ROW(what, e, reason, ...) { .name = what, .cmd = IOMMU_IOAS_CHANGE_PROCESS, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.process = { .size = sizeof(struct iommu_ioas_change_process), ##__VA_ARGS__ } }

static void process_rows(struct fixture *f)
{
	const struct row rows[] = {
		ROW("process memory is mapped", EINVAL, "process-private"),
		ROW("reserved field", EOPNOTSUPP, "command-reserved", .__reserved = 1),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

static int take(struct fixture *f)
{
	struct iommu_ioas_change_process cmd = { .size = sizeof(cmd) };

	return call(f->fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd);
}

static int file = -1, second_file = -1;
static int to_owner[2], from_owner[2];

/* The owner maps, tells the test, and checks its charges when the test tells it to. */
static void notify(int fd)
{
	if (write(fd, "", 1) != 1)
		fail("the other process is gone");
}

static void wait_for(int fd)
{
	char c;

	if (read(fd, &c, 1) != 1)
		fail("the other process is gone");
}

static int map_all(struct fixture *f, uint64_t iova)
{
	return map_file(f->fd, f->ioas, FIXED | RW, file, 0, NR * PAGE, &iova);
}

/* The owner waits meanwhile. The test goes on whether this fails or not. */
static void as(struct fixture *f, unsigned int uid, void (*run)(struct fixture *f))
{
	if (!in_child(f, uid, run))
		fail("the process of user %u failed", uid);
}

static void owner(struct fixture *f)
{
	CHECK(limit_memlock(NR));
	WANT(map_all(f, FREE_IOVA), 0);
	WANT(own_pinned(), NR);
	notify(from_owner[1]);
	wait_for(to_owner[0]);
	/* What is charged to another process can be pinned again. */
	WANT(own_pinned(), 0);
	WANT(map(f->fd, f->ioas, mem.rw, NR * PAGE, 2 * FREE_IOVA), 0);
	WANT(own_pinned(), NR);
}

/* As owner(), but no process takes the mappings over. */
static void owner_stays(struct fixture *f)
{
	CHECK(limit_memlock(NR));
	WANT(map_all(f, FREE_IOVA), 0);
	notify(from_owner[1]);
	wait_for(to_owner[0]);
	WANT(own_pinned(), NR);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 2 * FREE_IOVA), -ENOMEM);
}

static void new_owner(struct fixture *f)
{
	CHECK(limit_memlock(NR));
	WANT(own_pinned(), 0);
	WANT(take(f), 0);
	WANT(own_pinned(), NR);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 3 * FREE_IOVA), -ENOMEM);
	/* A second call changes nothing, although the limit is reached. */
	WANT(take(f), 0);
	WANT(own_pinned(), NR);
}

static void limited_new_owner(struct fixture *f)
{
	CHECK(limit_memlock(NR - 1));
	WANT(take(f), -ENOMEM);
	WANT(own_pinned(), 0);
	CHECK(limit_memlock(0) && take(f) == -ENOMEM);
	WANT(own_pinned(), 0);
}

/* The limit allows one of two files: neither is transferred. */
static void owner_of_two(struct fixture *f)
{
	uint64_t iova = 2 * FREE_IOVA;

	CHECK(limit_memlock(2 * NR));
	WANT(map_all(f, FREE_IOVA), 0);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, second_file, 0, NR * PAGE, &iova), 0);
	notify(from_owner[1]);
	wait_for(to_owner[0]);
	WANT(own_pinned(), 2 * NR);
}

static void new_owner_of_one(struct fixture *f)
{
	CHECK(limit_memlock(NR + 1));
	WANT(take(f), -ENOMEM);
	WANT(own_pinned(), 0);
	WANT(map(f->fd, f->ioas, mem.rw, NR * PAGE, 3 * FREE_IOVA), 0);
}

/* Whoever unmaps, the charge is returned to the owner. */
static void new_owner_unmaps(struct fixture *f)
{
	CHECK(limit_memlock(NR));
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 3 * FREE_IOVA), -ENOMEM);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, NR * PAGE), NR * PAGE);
	WANT(map(f->fd, f->ioas, mem.rw, NR * PAGE, 3 * FREE_IOVA), 0);
}

static int start_owner(struct fixture *f, unsigned int uid, void (*run)(struct fixture *f))
{
	int pid;

	if (unmap_all(f->fd, f->ioas) < 0 || unmap_all(f->fd, f->other) < 0 ||
	    pipe2(to_owner, O_CLOEXEC) || pipe2(from_owner, O_CLOEXEC))
		return -1;
	if (file < 0)
		file = memory_file(NR * PAGE, 0);
	if (second_file < 0)
		second_file = memory_file(NR * PAGE, 0);
	pid = start_child(f, uid, run);
	wait_for(from_owner[0]);
	return pid;
}

static void end_owner(int pid)
{
	notify(to_owner[1]);
	if (!child_done(pid))
		fail("the owner's process failed");
	close(to_owner[0]);
	close(to_owner[1]);
	close(from_owner[0]);
	close(from_owner[1]);
}

static void by_user(struct fixture *f)
{
	int pid = start_owner(f, NOBODY, owner);

	as(f, NEW_OWNER, new_owner);
	end_owner(pid);
	as(f, NEW_OWNER, new_owner_unmaps);
}

static void refused(struct fixture *f)
{
	int pid = start_owner(f, NOBODY, owner_stays);

	as(f, NEW_OWNER, limited_new_owner);
	/* One page of private memory in any IOAS is refused. */
	if (map(f->fd, f->other, mem.rw, PAGE, FREE_IOVA) || take(f) != -EINVAL)
		fail("it was not refused because of a process's page");
	end_owner(pid);
}

static void refused_half_way(struct fixture *f)
{
	int pid = start_owner(f, NOBODY, owner_of_two);

	as(f, NEW_OWNER, new_owner_of_one);
	end_owner(pid);
}

/* Memory with several mappings is charged once. */
static void mapped_twice(struct fixture *f)
{
	uint64_t iova = 4 * FREE_IOVA;
	int pid = start_owner(f, NOBODY, owner);

	if (copy(f->fd, f->ioas, FREE_IOVA, NR * PAGE, FIXED | RW, f->ioas, &iova))
		fail("it could not be copied");
	iova = FREE_IOVA;
	if (copy(f->fd, f->ioas, FREE_IOVA, PAGE, FIXED | RW, f->other, &iova))
		fail("it could not be copied to the other IOAS");
	as(f, NEW_OWNER, new_owner);
	if (unmap(f->fd, f->ioas, 4 * FREE_IOVA, NR * PAGE) != NR * PAGE)
		fail("the copy could not be unmapped");
	end_owner(pid);
	as(f, NEW_OWNER, new_owner_unmaps);
}

/* A process with CAP_IPC_LOCK is charged in VmPin too. */
static void privileged_owner(struct fixture *f)
{
	WANT(map_all(f, FREE_IOVA), 0);
	WANT(own_pinned(), NR);
	notify(from_owner[1]);
	wait_for(to_owner[0]);
	WANT_FINDING("VmPin stays where the owner was not limited", own_pinned(), 0, NR);
}

static void privileged_new_owner(struct fixture *f)
{
	CHECK(limit_memlock(0));
	WANT(take(f), 0);
	WANT_FINDING("VmPin stays where the owner was not limited", own_pinned(), NR, 0);
}

static void unlimited(struct fixture *f)
{
	int pid = start_owner(f, 0, privileged_owner);

	as(f, NEW_OWNER, privileged_new_owner);
	end_owner(pid);
}

static void nothing_mapped(struct fixture *f)
{
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(unmap_all(f->fd, f->other), PAGE);
	WANT(take(f), 0);
}

/* In mode 1 the process is charged. */
static void owner_by_process(struct fixture *f)
{
	CHECK(limit_memlock(NR));
	WANT(map_all(f, FREE_IOVA), 0);
	WANT(own_locked(), NR);
	notify(from_owner[1]);
	wait_for(to_owner[0]);
	WANT(own_locked(), 0);
	WANT(own_pinned(), 0);
	WANT(map(f->fd, f->ioas, mem.rw, NR * PAGE, 2 * FREE_IOVA), 0);
	WANT(own_locked(), NR);
}

static void new_owner_by_process(struct fixture *f)
{
	CHECK(limit_memlock(NR - 1));
	WANT(take(f), -ENOMEM);
	WANT(own_locked(), 0);
}

static void privileged_new_owner_by_process(struct fixture *f)
{
	CHECK(limit_memlock(NR));
	WANT(take(f), 0);
	WANT(own_locked(), NR);
	WANT(own_pinned(), NR);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 3 * FREE_IOVA), -ENOMEM);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, NR * PAGE), NR * PAGE);
	WANT(own_locked(), 0);
	WANT(own_pinned(), 0);
}

static void by_process(struct fixture *unused)
{
	struct fixture own = { .fd = open_iommu(), .dev = open(device_path, O_RDWR | O_CLOEXEC) };
	struct fixture *f = &own;
	int pid;

	WANT(set_option(f->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1), 0);
	WANT(ioas_alloc(f->fd, &f->ioas), 0);
	WANT(ioas_alloc(f->fd, &f->other), 0);
	WANT(bind_device(f->dev, f->fd, &f->dev_id), 0);
	WANT(attach(f->dev, f->ioas, NULL), 0);
	/* Both are the same user. */
	pid = start_owner(f, NOBODY, owner_by_process);
	as(f, NOBODY, new_owner_by_process);
	as(f, NOBODY, privileged_new_owner_by_process);
	end_owner(pid);
}

/* Mappings are made and removed meanwhile: EBUSY, and no charge is lost. */
static bool stop;

static void *map_and_unmap(void *arg)
{
	struct fixture *f = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t iova = 0;

		if (map_file(f->fd, f->ioas, RW, file, 0, NR * PAGE, &iova))
			fail("mapping failed");
		else if (unmap(f->fd, f->ioas, iova, NR * PAGE) != NR * PAGE)
			fail("unmapping failed");
	}
	return NULL;
}

static void take_often(struct fixture *f)
{
	time_t end = time(NULL) + 2;

	while (time(NULL) < end) {
		int r = take(f);

		if (r && r != -EBUSY) {
			fail("got %s", errno_name(r));
			return;
		}
	}
}

static void race(struct fixture *f)
{
	pthread_t threads[2];
	unsigned int i;
	int pid;

	for (i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, map_and_unmap, f));
	pid = start_child(f, NOBODY, take_often);
	take_often(f);
	if (!child_done(pid))
		fail("the other process failed");
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	WANT(unmap_all(f->fd, f->ioas), 0);
	WANT(own_pinned(), 0);
}

static void in_flight(struct fixture *f)
{
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(unmap_all(f->fd, f->other), PAGE);
	if (file < 0)
		file = memory_file(NR * PAGE, 0);
	as(f, NOBODY, race);
}

static const struct test tests[] = {
	{ "one user takes over from another", by_user, DOMAIN },
	{ "refused: nothing changes", refused, DOMAIN },
	{ "refused after the first file: nothing changes", refused_half_way, DOMAIN },
	{ "memory that is mapped several times is charged once", mapped_twice, DOMAIN },
	{ "an owner without limit", unlimited, DOMAIN },
	{ "nothing is mapped", nothing_mapped, NO_DOMAIN | DOMAIN },
	{ "mode 1: one process takes over from another", by_process, ALONE },
	{ "while memory is mapped and unmapped, CVE-2026-80817", in_flight, NO_DOMAIN | DOMAIN },
};

const struct suite process_suite = {
	.name = "process",
	.rows = process_rows,
	.needs = NO_DOMAIN | DOMAIN,
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
