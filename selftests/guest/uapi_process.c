// SPDX-License-Identifier: GPL-2.0-only
/* IOAS_CHANGE_PROCESS: who pays for what is pinned, seen in VmPin, VmLck and RLIMIT_MEMLOCK. */
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "uapi.h"

#define RW		(READ | WRITE)
#define NR		4		/* pages of the file */
#define HEIR		(NOBODY + 1)	/* another user */

#define ROW(what, e, ...) { .name = what, .cmd = IOMMU_IOAS_CHANGE_PROCESS, .want = SAME(e), \
	.arg.process = { .size = sizeof(struct iommu_ioas_change_process), ##__VA_ARGS__ } }

static void process_rows(struct bench *b)
{
	const struct row rows[] = {
		ROW("process memory is mapped", EINVAL),
		ROW("reserved field", EOPNOTSUPP, .__reserved = 1),
	};

	run_rows(b, rows, ARRAY_SIZE(rows));
}

static int take(struct bench *b)
{
	struct iommu_ioas_change_process cmd = { .size = sizeof(cmd) };

	return call(b->fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd);
}

static int file = -1, second_file = -1;
static int to_owner[2], from_owner[2];

/* The owner says when it has mapped, and looks at its accounts again when it is told to. */
static void say(int fd)
{
	if (write(fd, "", 1) != 1)
		fail("the other process is gone");
}

static void hear(int fd)
{
	char c;

	if (read(fd, &c, 1) != 1)
		fail("the other process is gone");
}

static int map_all(struct bench *b, uint64_t iova)
{
	return map_file(b->fd, b->ioas, FIXED | RW, file, 0, NR * PAGE, &iova);
}

/* The owner waits meanwhile, so the scene goes on whatever comes of it. */
static void as(struct bench *b, unsigned int uid, void (*run)(struct bench *b))
{
	if (!in_child(b, uid, run))
		fail("the process of user %u failed", uid);
}

static void owner(struct bench *b)
{
	CHECK(limit_memlock(NR));
	WANT(map_all(b, FREE_IOVA), 0);
	WANT(own_pinned(), NR);
	say(from_owner[1]);
	hear(to_owner[0]);
	/* What is paid by another is free to be pinned again. */
	WANT(own_pinned(), 0);
	WANT(map(b->fd, b->ioas, mem.rw, NR * PAGE, 2 * FREE_IOVA), 0);
	WANT(own_pinned(), NR);
}

/* The same where nobody takes it. */
static void owner_stays(struct bench *b)
{
	CHECK(limit_memlock(NR));
	WANT(map_all(b, FREE_IOVA), 0);
	say(from_owner[1]);
	hear(to_owner[0]);
	WANT(own_pinned(), NR);
	WANT(map(b->fd, b->ioas, mem.rw, PAGE, 2 * FREE_IOVA), -ENOMEM);
}

static void heir(struct bench *b)
{
	CHECK(limit_memlock(NR));
	WANT(own_pinned(), 0);
	WANT(take(b), 0);
	WANT(own_pinned(), NR);
	WANT(map(b->fd, b->ioas, mem.rw, PAGE, 3 * FREE_IOVA), -ENOMEM);
	/* Once more changes nothing, although the limit is reached. */
	WANT(take(b), 0);
	WANT(own_pinned(), NR);
}

static void poor_heir(struct bench *b)
{
	CHECK(limit_memlock(NR - 1));
	WANT(take(b), -ENOMEM);
	WANT(own_pinned(), 0);
	CHECK(limit_memlock(0) && take(b) == -ENOMEM);
	WANT(own_pinned(), 0);
}

/* The limit is enough for one of two files: neither goes. */
static void owner_of_two(struct bench *b)
{
	uint64_t iova = 2 * FREE_IOVA;

	CHECK(limit_memlock(2 * NR));
	WANT(map_all(b, FREE_IOVA), 0);
	WANT(map_file(b->fd, b->ioas, FIXED | RW, second_file, 0, NR * PAGE, &iova), 0);
	say(from_owner[1]);
	hear(to_owner[0]);
	WANT(own_pinned(), 2 * NR);
}

static void heir_of_one(struct bench *b)
{
	CHECK(limit_memlock(NR + 1));
	WANT(take(b), -ENOMEM);
	WANT(own_pinned(), 0);
	WANT(map(b->fd, b->ioas, mem.rw, NR * PAGE, 3 * FREE_IOVA), 0);
}

/* Whoever unmaps, the payer has it back. */
static void heir_unmaps(struct bench *b)
{
	CHECK(limit_memlock(NR));
	WANT(map(b->fd, b->ioas, mem.rw, PAGE, 3 * FREE_IOVA), -ENOMEM);
	WANT(unmap(b->fd, b->ioas, FREE_IOVA, NR * PAGE), NR * PAGE);
	WANT(map(b->fd, b->ioas, mem.rw, NR * PAGE, 3 * FREE_IOVA), 0);
}

static int start_owner(struct bench *b, unsigned int uid, void (*run)(struct bench *b))
{
	int pid;

	if (unmap_all(b->fd, b->ioas) < 0 || unmap_all(b->fd, b->other) < 0 ||
	    pipe2(to_owner, O_CLOEXEC) || pipe2(from_owner, O_CLOEXEC))
		return -1;
	if (file < 0)
		file = memory_file(NR * PAGE, 0);
	if (second_file < 0)
		second_file = memory_file(NR * PAGE, 0);
	pid = start_child(b, uid, run);
	hear(from_owner[0]);
	return pid;
}

static void end_owner(int pid)
{
	say(to_owner[1]);
	if (!child_done(pid))
		fail("the owner's process failed");
	close(to_owner[0]);
	close(to_owner[1]);
	close(from_owner[0]);
	close(from_owner[1]);
}

static void by_user(struct bench *b)
{
	int pid = start_owner(b, NOBODY, owner);

	as(b, HEIR, heir);
	end_owner(pid);
	as(b, HEIR, heir_unmaps);
}

static void refused(struct bench *b)
{
	int pid = start_owner(b, NOBODY, owner_stays);

	as(b, HEIR, poor_heir);
	/* One page of a process is enough to refuse, in any IOAS. */
	if (map(b->fd, b->other, mem.rw, PAGE, FREE_IOVA) || take(b) != -EINVAL)
		fail("it was not refused because of a process's page");
	end_owner(pid);
}

static void refused_half_way(struct bench *b)
{
	int pid = start_owner(b, NOBODY, owner_of_two);

	as(b, HEIR, heir_of_one);
	end_owner(pid);
}

/* Memory with several mappings is paid for once. */
static void mapped_twice(struct bench *b)
{
	uint64_t iova = 4 * FREE_IOVA;
	int pid = start_owner(b, NOBODY, owner);

	if (copy(b->fd, b->ioas, FREE_IOVA, NR * PAGE, FIXED | RW, b->ioas, &iova))
		fail("it could not be copied");
	iova = FREE_IOVA;
	if (copy(b->fd, b->ioas, FREE_IOVA, PAGE, FIXED | RW, b->other, &iova))
		fail("it could not be copied to the other IOAS");
	as(b, HEIR, heir);
	if (unmap(b->fd, b->ioas, 4 * FREE_IOVA, NR * PAGE) != NR * PAGE)
		fail("the copy could not be unmapped");
	end_owner(pid);
	as(b, HEIR, heir_unmaps);
}

/* Who may lock without limit pays as well: VmPin. */
static void rich_owner(struct bench *b)
{
	WANT(map_all(b, FREE_IOVA), 0);
	WANT(own_pinned(), NR);
	say(from_owner[1]);
	hear(to_owner[0]);
	WANT_FINDING("VmPin stays where the owner was not limited", own_pinned(), 0, NR);
}

static void rich_heir(struct bench *b)
{
	CHECK(limit_memlock(0));
	WANT(take(b), 0);
	WANT_FINDING("VmPin stays where the owner was not limited", own_pinned(), NR, 0);
}

static void unlimited(struct bench *b)
{
	int pid = start_owner(b, 0, rich_owner);

	as(b, HEIR, rich_heir);
	end_owner(pid);
}

static void nothing_mapped(struct bench *b)
{
	WANT(unmap_all(b->fd, b->ioas), PAGE);
	WANT(unmap_all(b->fd, b->other), PAGE);
	WANT(take(b), 0);
}

/* In mode 1 it is the process that pays. */
static void owner_by_process(struct bench *b)
{
	CHECK(limit_memlock(NR));
	WANT(map_all(b, FREE_IOVA), 0);
	WANT(own_locked(), NR);
	say(from_owner[1]);
	hear(to_owner[0]);
	WANT(own_locked(), 0);
	WANT(own_pinned(), 0);
	WANT(map(b->fd, b->ioas, mem.rw, NR * PAGE, 2 * FREE_IOVA), 0);
	WANT(own_locked(), NR);
}

static void heir_by_process(struct bench *b)
{
	CHECK(limit_memlock(NR - 1));
	WANT(take(b), -ENOMEM);
	WANT(own_locked(), 0);
}

static void rich_heir_by_process(struct bench *b)
{
	CHECK(limit_memlock(NR));
	WANT(take(b), 0);
	WANT(own_locked(), NR);
	WANT(own_pinned(), NR);
	WANT(map(b->fd, b->ioas, mem.rw, PAGE, 3 * FREE_IOVA), -ENOMEM);
	WANT(unmap(b->fd, b->ioas, FREE_IOVA, NR * PAGE), NR * PAGE);
	WANT(own_locked(), 0);
	WANT(own_pinned(), 0);
}

static void by_process(struct bench *unused)
{
	struct bench own = { .fd = open_iommu(), .dev = open(device_path, O_RDWR | O_CLOEXEC) };
	struct bench *b = &own;
	int pid;

	WANT(set_option(b->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1), 0);
	WANT(ioas_alloc(b->fd, &b->ioas), 0);
	WANT(ioas_alloc(b->fd, &b->other), 0);
	WANT(bind_device(b->dev, b->fd, &b->dev_id), 0);
	WANT(attach(b->dev, b->ioas, NULL), 0);
	/* Both are the same user. */
	pid = start_owner(b, NOBODY, owner_by_process);
	as(b, NOBODY, heir_by_process);
	as(b, NOBODY, rich_heir_by_process);
	end_owner(pid);
}

/* Mappings come and go meanwhile: EBUSY, and nothing is lost. */
static bool stop;

static void *map_and_unmap(void *arg)
{
	struct bench *b = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		uint64_t iova = 0;

		if (map_file(b->fd, b->ioas, RW, file, 0, NR * PAGE, &iova))
			fail("mapping failed");
		else if (unmap(b->fd, b->ioas, iova, NR * PAGE) != NR * PAGE)
			fail("unmapping failed");
	}
	return NULL;
}

static void take_often(struct bench *b)
{
	time_t end = time(NULL) + 2;

	while (time(NULL) < end) {
		int r = take(b);

		if (r && r != -EBUSY) {
			fail("got %s", errno_name(r));
			return;
		}
	}
}

static void race(struct bench *b)
{
	pthread_t threads[2];
	unsigned int i;
	int pid;

	for (i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, map_and_unmap, b));
	pid = start_child(b, NOBODY, take_often);
	take_often(b);
	if (!child_done(pid))
		fail("the other process failed");
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	WANT(unmap_all(b->fd, b->ioas), 0);
	WANT(own_pinned(), 0);
}

static void in_flight(struct bench *b)
{
	WANT(unmap_all(b->fd, b->ioas), PAGE);
	WANT(unmap_all(b->fd, b->other), PAGE);
	if (file < 0)
		file = memory_file(NR * PAGE, 0);
	as(b, NOBODY, race);
}

static const struct scene scenes[] = {
	{ "a user takes over from another", by_user, HARD },
	{ "refused: nothing has changed", refused, HARD },
	{ "refused half-way: nothing has changed", refused_half_way, HARD },
	{ "memory that is mapped several times is charged once", mapped_twice, HARD },
	{ "an owner without limit", unlimited, HARD },
	{ "nothing is mapped", nothing_mapped, SOFT | HARD },
	{ "mode 1: a process takes over from another", by_process, ALONE },
	{ "while mappings come and go, CVE-2026-80817", in_flight, SOFT | HARD },
};

const struct suite process_suite = {
	.name = "process",
	.rows = process_rows,
	.needs = SOFT | HARD,
	.scenes = scenes,
	.nr_scenes = ARRAY_SIZE(scenes),
};
