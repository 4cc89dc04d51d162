// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults of mock devices: fault queues, reading faults, and responses.
 *
 * Usage: fault none [SUITE]
 */
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fault.h"

static void alloc_wrong(struct fixture *f)
{
	static const struct {
		const char *name;
		struct iommu_fault_alloc cmd;
		int want;
		const char *why;
	} table[] = {
		{ "flags", { .size = sizeof(table[0].cmd), .flags = 1 }, -EOPNOTSUPP, "command-flags" },
		{ "size 0", { .size = 0 }, -EINVAL, "command-too-short" },
		{ "size 12", { .size = 12 }, -EINVAL, "command-too-short" },
	};
	struct iommu_fault_alloc good = { .size = sizeof(good) };
	struct rlimit none = { 0, 0 }, old;
	uint32_t before, after;
	int fd = open_iommu();
	size_t i;

	CHECK(fd >= 0);
	WANT(ioas_alloc(fd, &before), 0);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct iommu_fault_alloc cmd = table[i].cmd;
		struct refusal refused;
		int r;

		last_refusal(fd, &refused);
		r = call(fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd);
		check_refusal(fd, &refused, r, table[i].why, table[i].name);
		if (r != table[i].want)
			fail("%s: got %s", table[i].name, errno_name(r));
	}
	WANT_WHY(fd, call(fd, IOMMU_FAULT_QUEUE_ALLOC, read_only(&good, sizeof(good))), -EFAULT,
		 "user-memory");
	CHECK(!getrlimit(RLIMIT_NOFILE, &old) && !setrlimit(RLIMIT_NOFILE, &none));
	WANT(call(fd, IOMMU_FAULT_QUEUE_ALLOC, &good), -EMFILE);
	CHECK(!setrlimit(RLIMIT_NOFILE, &old));
	/* No id is used. */
	for (i = before + 1; i < before + 20; i++)
		WANT_WHY(fd, destroy(fd, i), -ENOENT, "object-none");
	WANT(ioas_alloc(fd, &after), 0);
	close(fd);
}

static void hwpt_wrong(struct fixture *f)
{
	struct queue q;
	uint32_t hwpt;

	if (!open_queue(&q))
		return;
	WANT_WHY(q.fd, fault_hwpt(&q, 0, NO_ID, &hwpt), -ENOENT, "object-none");
	WANT_WHY(q.fd, fault_hwpt(&q, 0, 0, &hwpt), -ENOENT, "object-none");
	WANT_WHY(q.fd, fault_hwpt(&q, 0, q.ioas, &hwpt), -ENOENT, "object-kind");
	WANT_WHY(q.fd, fault_hwpt(&q, 0, q.hwpt, &hwpt), -ENOENT, "object-kind");
	WANT_WHY(q.fd, fault_hwpt(&q, IOMMU_HWPT_ALLOC_NEST_PARENT, q.id, &hwpt), -EOPNOTSUPP,
		 "hwpt-fault-parent");
	WANT(fault_hwpt(&q, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, q.id, &hwpt), 0);
	WANT(destroy(q.fd, hwpt), 0);
	/* A device cannot be attached to a queue. */
	WANT_WHY(q.fd, replace(&q, q.id), -EINVAL, "attach-kind");
	WANT(fault_with(&q, NO_PASID, 1), 0);
	WANT(drain(&q), 1);
	close_queue(&q);
}

static void read_one(struct fixture *none)
{
	struct iommu_hwpt_pgfault *fault = &faults[0];
	struct queue q;

	if (!open_queue(&q))
		return;
	WANT(get(q.file, fault, FAULT), 0);
	WANT(fault_with(&q, NO_PASID, 7), 0);
	memset(fault, 0xff, FAULT);
	WANT(get(q.file, fault, FAULT), FAULT);
	WANT(fault->flags, IOMMU_PGFAULT_FLAGS_LAST_PAGE);
	WANT(fault->dev_id, q.dev_id);
	WANT(fault->pasid, NO_PASID);
	WANT(fault->grpid, 7);
	WANT(fault->perm, IOMMU_PGFAULT_PERM_READ | IOMMU_PGFAULT_PERM_WRITE);
	WANT(fault->__reserved, 0);
	WANT(fault->addr, ADDR + 7 * PAGE);
	WANT(fault->length, 0);
	CHECK(fault->cookie);
	WANT(get(q.file, fault + 1, FAULT), 0);
	WANT(answer(&q, fault->cookie, GOOD), ANSWER);
	WANT_WHY(q.fd, answer(&q, fault->cookie, GOOD), -EINVAL, "fault-cookie");
	/* The PASID is not attached: the fault gets a response at once, and is not queued. */
	WANT(fault_with(&q, 1, 8), 0);
	WANT(get(q.file, fault, FAULT), 0);
	close_queue(&q);
}

static void read_sizes(struct fixture *f)
{
	static const struct {
		uint32_t waiting;
		size_t size;
		long long want;
		const char *why;
	} table[] = {
		{ 0, 0, 0, NULL }, { 0, 1, -ESPIPE, "fault-length" },
		{ 0, FAULT - 1, -ESPIPE, "fault-length" }, { 0, FAULT, 0, NULL },
		{ 1, 0, -EINVAL, "fault-room" }, { 1, 1, -ESPIPE, "fault-length" },
		{ 1, FAULT - 1, -ESPIPE, "fault-length" },
		{ 1, FAULT + 1, -ESPIPE, "fault-length" }, { 1, FAULT, FAULT, NULL },
		{ 1, 2 * FAULT, FAULT, NULL }, { MANY, 0, -EINVAL, "fault-room" },
		{ MANY, FAULT, FAULT, NULL }, { MANY, 3 * FAULT, 3 * FAULT, NULL },
		{ MANY, 3 * FAULT + 8, -ESPIPE, "fault-length" },
		{ MANY, (MANY - 1) * FAULT, (MANY - 1) * FAULT, NULL },
		{ MANY, MANY * FAULT, MANY * FAULT, NULL },
		{ MANY, (MANY + 1) * FAULT, MANY * FAULT, NULL },
	};
	struct queue q;
	uint32_t j, nr;
	size_t i;

	if (!open_queue(&q))
		return;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct refusal before;
		long long r;

		WANT(fault_many(&q, table[i].waiting), 0);
		last_refusal(q.fd, &before);
		r = get(q.file, faults, table[i].size);
		check_refusal(q.fd, &before, r, table[i].why, "read");
		if (r != table[i].want)
			fail("%zu bytes with %u waiting: got %s", table[i].size, table[i].waiting,
			     errno_name(r));
		nr = r > 0 ? r / FAULT : 0;
		/* The faults are in order, each has its own cookie, and the others stay queued. */
		for (j = 0; j < nr; j++) {
			WANT(faults[j].grpid, j + 1);
			WANT(answer(&q, faults[j].cookie, j % 2 ? GOOD : BAD), ANSWER);
		}
		WANT(drain(&q), table[i].waiting - nr);
	}
	CHECK(pread(q.file, faults, FAULT, 0) < 0 && errno == ESPIPE);
	CHECK(pread(q.file, faults, FAULT, FAULT) < 0 && errno == ESPIPE);
	CHECK(lseek(q.file, 0, SEEK_SET) < 0 && errno == ESPIPE);
	close_queue(&q);
}

/* A group that cannot be written to user memory stays queued, at its place. */
static void read_to_nowhere(struct fixture *f)
{
	struct iommu_hwpt_pgfault two[2] = {};
	struct queue q;
	void *at;

	if (!open_queue(&q))
		return;
	WANT(fault_many(&q, 3), 0);
	WANT_WHY(q.fd, get(q.file, mem.gone, FAULT), -EFAULT, "user-memory");
	WANT_WHY(q.fd, get(q.file, mem.gone, 3 * FAULT), -EFAULT, "user-memory");
	/* The first one fits before the end of the mapping, the second one in part. */
	at = guarded(two, FAULT + FAULT / 2);
	WANT(get(q.file, at, 2 * FAULT), FAULT);
	WANT(((struct iommu_hwpt_pgfault *)at)->grpid, 1);
	WANT_WHY(q.fd, get(q.file, mem.gone, FAULT), -EFAULT, "user-memory");
	WANT(answer(&q, ((struct iommu_hwpt_pgfault *)at)->cookie, GOOD), ANSWER);
	WANT(get(q.file, faults, 3 * FAULT), 2 * FAULT);
	WANT(faults[0].grpid, 2);
	WANT(faults[1].grpid, 3);
	WANT(answer(&q, faults[0].cookie, GOOD), ANSWER);
	close_queue(&q);
}

/* Returns whether the first nr messages are a group: one cookie, and a flag in the last one. */
static bool is_group(const struct iommu_hwpt_pgfault *f, uint32_t group, uint32_t nr)
{
	uint32_t i;

	for (i = 0; i < nr; i++)
		if (f[i].grpid != group || f[i].cookie != f[0].cookie ||
		    f[i].flags != (i == nr - 1 ? IOMMU_PGFAULT_FLAGS_LAST_PAGE : 0))
			return false;
	return true;
}

/* A group of three between groups of one: it is delivered as a whole. */
static void several_in_a_group(struct fixture *f)
{
	struct iommu_hwpt_pgfault two[2] = {};
	struct queue q;
	uint32_t first;

	if (on_c_module()) {
		skip("the C mock knows groups of one fault only");
		return;
	}
	if (!open_queue(&q))
		return;
	/* A group without its last fault is not delivered. */
	WANT(fault_group(&q, 2, 2), 0);
	WANT(events(&q), POLLOUT);
	WANT(get(q.file, faults, 3 * FAULT), 0);
	WANT(fault_with(&q, NO_PASID, 1), 0);
	WANT(fault_with(&q, NO_PASID, 2), 0);
	WANT(fault_with(&q, NO_PASID, 3), 0);
	/* A group is not delivered if there is no room for all of its faults. */
	WANT(get(q.file, faults, 3 * FAULT), FAULT);
	CHECK(is_group(faults, 1, 1));
	first = faults[0].cookie;
	WANT_WHY(q.fd, get(q.file, faults, FAULT), -EINVAL, "fault-room");
	WANT_WHY(q.fd, get(q.file, faults, 2 * FAULT), -EINVAL, "fault-room");
	/* Nor if the mapping ends before it does. */
	WANT_WHY(q.fd, get(q.file, guarded(two, 2 * FAULT), 3 * FAULT), -EFAULT, "user-memory");
	WANT(events(&q), POLLIN | POLLRDNORM | POLLOUT);
	WANT(get(q.file, faults, 4 * FAULT), 4 * FAULT);
	CHECK(is_group(faults, 2, 3) && is_group(&faults[3], 3, 1));
	CHECK(faults[0].cookie != faults[3].cookie);
	/* One response is for the whole group. */
	WANT(answer(&q, faults[0].cookie, GOOD), ANSWER);
	WANT_WHY(q.fd, answer(&q, faults[0].cookie, GOOD), -EINVAL, "fault-cookie");
	WANT(answer(&q, faults[3].cookie, BAD), ANSWER);
	WANT(answer(&q, first, GOOD), ANSWER);
	/* Detaching ends a group that is queued, and one that is not complete. */
	WANT(fault_group(&q, 4, 1), 0);
	WANT(fault_with(&q, NO_PASID, 4), 0);
	WANT(fault_group(&q, 5, 2), 0);
	WANT(replace(&q, q.ioas), 0);
	WANT(get(q.file, faults, 4 * FAULT), 0);
	WANT(replace(&q, q.hwpt), 0);
	WANT(fault_with(&q, NO_PASID, 5), 0);
	WANT(get(q.file, faults, 4 * FAULT), FAULT);
	CHECK(is_group(faults, 5, 1));
	WANT(answer(&q, faults[0].cookie, GOOD), ANSWER);
	close_queue(&q);
}

static void write_sizes(struct fixture *f)
{
	enum { A = -1, B = -2, C = -3, WRONG = 0x7fffffff };
	static const struct {
		struct { int cookie; uint32_t code; } answers[3];
		size_t size;
		long long want;
		uint32_t left;	/* a bit for each group that can still get a response */
		const char *why;
	} table[] = {
		{ { { A, GOOD } }, 0, 0, 7, NULL },
		{ { { A, GOOD } }, 1, -ESPIPE, 7, "fault-length" },
		{ { { A, GOOD } }, ANSWER - 1, -ESPIPE, 7, "fault-length" },
		{ { { A, GOOD }, { B, GOOD } }, ANSWER + 4, -ESPIPE, 7, "fault-length" },
		{ { { A, GOOD } }, ANSWER, ANSWER, 6, NULL },
		{ { { B, BAD } }, ANSWER, ANSWER, 5, NULL },
		{ { { A, GOOD }, { B, BAD }, { C, GOOD } }, 3 * ANSWER, 3 * ANSWER, 0, NULL },
		{ { { C, GOOD }, { B, GOOD }, { A, BAD } }, 3 * ANSWER, 3 * ANSWER, 0, NULL },
		{ { { A, 2 } }, ANSWER, -EINVAL, 7, "fault-answer" },
		{ { { A, UINT32_MAX } }, ANSWER, -EINVAL, 7, "fault-answer" },
		{ { { 0, GOOD } }, ANSWER, -EINVAL, 7, "fault-cookie" },
		{ { { WRONG, GOOD }, { B, GOOD } }, 2 * ANSWER, -EINVAL, 7, "fault-cookie" },
		/* Responses before a wrong one count. */
		{ { { A, GOOD }, { WRONG, GOOD }, { C, GOOD } }, 3 * ANSWER, ANSWER, 6, NULL },
		{ { { A, GOOD }, { A, GOOD }, { C, GOOD } }, 3 * ANSWER, ANSWER, 6, NULL },
		{ { { A, GOOD }, { B, BAD }, { C, 2 } }, 3 * ANSWER, 2 * ANSWER, 4, NULL },
	};
	struct queue q;
	uint32_t j;
	size_t i;

	if (!open_queue(&q))
		return;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct iommu_hwpt_page_response answers[3];
		struct refusal before;
		long long r;

		WANT(fault_many(&q, 3), 0);
		WANT(get(q.file, faults, 3 * FAULT), 3 * FAULT);
		for (j = 0; j < 3; j++) {
			int cookie = table[i].answers[j].cookie;

			answers[j].cookie = cookie < 0 ? faults[-cookie - 1].cookie : (uint32_t)cookie;
			answers[j].code = table[i].answers[j].code;
		}
		last_refusal(q.fd, &before);
		r = put(q.file, answers, table[i].size);
		check_refusal(q.fd, &before, r, table[i].why, "write");
		if (r != table[i].want)
			fail("row %zu: got %s, expected %s", i, errno_name(r),
			     errno_name(table[i].want));
		for (j = 0; j < 3; j++)
			WANT(answer(&q, faults[j].cookie, GOOD),
			     table[i].left & 1 << j ? (long long)ANSWER : -EINVAL);
	}
	CHECK(pwrite(q.file, faults, ANSWER, ANSWER) < 0 && errno == ESPIPE);
	close_queue(&q);
}

static void write_from_nowhere(struct fixture *f)
{
	struct iommu_hwpt_page_response answers[2];
	struct queue q;

	if (!open_queue(&q))
		return;
	WANT(fault_many(&q, 2), 0);
	WANT(get(q.file, faults, 2 * FAULT), 2 * FAULT);
	WANT_WHY(q.fd, put(q.file, mem.gone, ANSWER), -EFAULT, "user-memory");
	answers[0] = (struct iommu_hwpt_page_response){ faults[0].cookie, GOOD };
	answers[1] = (struct iommu_hwpt_page_response){ faults[1].cookie, GOOD };
	WANT(put(q.file, guarded(answers, ANSWER + 4), 2 * ANSWER), ANSWER);
	WANT_WHY(q.fd, answer(&q, faults[0].cookie, GOOD), -EINVAL, "fault-cookie");
	WANT(answer(&q, faults[1].cookie, GOOD), ANSWER);
	close_queue(&q);
}

/* A fault that was not read cannot get a response. */
static void answer_unread(struct fixture *f)
{
	struct queue q;
	uint32_t cookie;

	if (!open_queue(&q))
		return;
	WANT(fault_many(&q, 2), 0);
	for (cookie = 0; cookie < 8; cookie++)
		WANT_WHY(q.fd, answer(&q, cookie, GOOD), -EINVAL, "fault-cookie");
	WANT(drain(&q), 2);
	close_queue(&q);
}

static void *wait_for_fault(void *arg)
{
	struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };

	return (void *)(long)(poll(&p, 1, 60000) == 1 && p.revents == POLLIN);
}

static void poll_queue(struct fixture *f)
{
	pthread_t thread;
	struct queue q;
	void *woken;

	if (!open_queue(&q))
		return;
	WANT(events(&q), POLLOUT);
	WANT(fault_many(&q, 2), 0);
	WANT(events(&q), POLLIN | POLLRDNORM | POLLOUT);
	WANT(get(q.file, faults, FAULT), FAULT);
	WANT(events(&q), POLLIN | POLLRDNORM | POLLOUT);
	WANT_WHY(q.fd, get(q.file, mem.gone, FAULT), -EFAULT, "user-memory");
	WANT(events(&q), POLLIN | POLLRDNORM | POLLOUT);
	WANT(drain(&q), 1);
	WANT(events(&q), POLLOUT);
	WANT_WHY(q.fd, answer(&q, faults[0].cookie, GOOD), -EINVAL, "fault-cookie");

	CHECK(!pthread_create(&thread, NULL, wait_for_fault, &q.file));
	usleep(50000);
	WANT(fault_with(&q, NO_PASID, 1), 0);
	CHECK(!pthread_join(thread, &woken) && woken);
	/* Faults that the kernel has responded to cannot be read any more. */
	WANT(replace(&q, q.ioas), 0);
	WANT(events(&q), POLLOUT);
	close_queue(&q);
}

/* Some faults are read, some are not. end() ends all of them, and no response is accepted. */
static void end_by(struct queue *q, int (*end)(struct queue *q))
{
	uint32_t i;

	WANT(fault_many(q, 4), 0);
	WANT(get(q->file, faults, 2 * FAULT), 2 * FAULT);
	WANT(end(q), 0);
	for (i = 0; i < 2; i++)
		WANT_WHY(q->fd, answer(q, faults[i].cookie, GOOD), -EINVAL, "fault-cookie");
	WANT(get(q->file, faults, 4 * FAULT), 0);
	WANT(events(q), POLLOUT);
}

static int by_destroying(struct queue *q)
{
	int r = destroy(q->fd, q->device);

	/* A new device, for close_queue(). */
	return r ? r : mock_device(q->fd, q->hwpt, &q->device, &q->dev_id, &q->automatic);
}

static int by_leaving(struct queue *q)
{
	return replace(q, q->ioas);
}

static int by_going_to_another(struct queue *q)
{
	uint32_t old = q->hwpt;
	int r = fault_hwpt(q, 0, q->id, &q->hwpt);

	if (!r)
		r = replace(q, q->hwpt);
	return r ? r : destroy(q->fd, old);
}

static void pending_at_the_end(struct fixture *f)
{
	int (*const ends[])(struct queue *q) = { by_destroying, by_leaving, by_going_to_another };
	struct queue q;
	size_t i;

	if (!open_queue(&q))
		return;
	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		end_by(&q, ends[i]);
		WANT(replace(&q, q.hwpt), 0);
		WANT(fault_many(&q, 2), 0);
		WANT(drain(&q), 2);
	}
	/* Destroying the device ends them too. */
	WANT(fault_many(&q, 2), 0);
	WANT(get(q.file, faults, FAULT), FAULT);
	close_queue(&q);
}

/* A replacement by the same page tables, or one that fails, ends no fault. */
static void replace_in_vain(struct fixture *f)
{
	struct queue q;

	if (!open_queue(&q))
		return;
	WANT(fault_many(&q, 2), 0);
	WANT(get(q.file, faults, FAULT), FAULT);
	WANT(replace(&q, q.hwpt), 0);
	WANT_WHY(q.fd, replace(&q, NO_ID), -ENOENT, "object-none");
	WANT_WHY(q.fd, replace(&q, q.dev_id), -EINVAL, "attach-kind");
	WANT(answer(&q, faults[0].cookie, GOOD), ANSWER);
	WANT(drain(&q), 1);
	close_queue(&q);
}

/* Two devices with one queue: what ends the faults of one does not end those of the other. */
static void two_devices(struct fixture *f)
{
	struct queue q, other;
	int i;

	if (!open_queue(&q))
		return;
	other = q;
	WANT(mock_device(q.fd, q.hwpt, &other.device, &other.dev_id, &other.automatic), 0);
	WANT(other.automatic, q.hwpt);
	for (i = 0; i < 2; i++) {
		WANT(fault_with(&q, NO_PASID, 1), 0);
		WANT(fault_with(&other, NO_PASID, 1), 0);
		if (!i)
			WANT(get(q.file, faults, 2 * FAULT), 2 * FAULT);
	}
	WANT(faults[0].dev_id, q.dev_id);
	WANT(faults[1].dev_id, other.dev_id);
	CHECK(faults[0].cookie != faults[1].cookie);
	WANT(destroy(q.fd, other.device), 0);
	WANT_WHY(q.fd, answer(&q, faults[1].cookie, GOOD), -EINVAL, "fault-cookie");
	WANT(answer(&q, faults[0].cookie, GOOD), ANSWER);
	WANT(get(q.file, faults, 2 * FAULT), FAULT);
	WANT(faults[0].dev_id, q.dev_id);
	WANT(answer(&q, faults[0].cookie, GOOD), ANSWER);
	close_queue(&q);
}

static void destroy_in_use(struct fixture *f)
{
	struct queue q;

	if (!open_queue(&q))
		return;
	WANT_WHY(q.fd, destroy(q.fd, q.id), -EBUSY, "object-in-use");
	WANT_WHY(q.fd, destroy(q.fd, q.hwpt), -EBUSY, "object-in-use");
	WANT(fault_many(&q, 3), 0);
	WANT(get(q.file, faults, FAULT), FAULT);
	/* With its file closed no fault can get a response. The queue stays. */
	CHECK(!close(q.file));
	WANT_WHY(q.fd, destroy(q.fd, q.id), -EBUSY, "object-in-use");
	WANT(fault_with(&q, NO_PASID, 9), 0);
	WANT(replace(&q, q.ioas), 0);
	WANT_WHY(q.fd, destroy(q.fd, q.id), -EBUSY, "object-in-use");
	WANT(destroy(q.fd, q.hwpt), 0);
	WANT(destroy(q.fd, q.id), 0);
	WANT(destroy(q.fd, q.device), 0);
	CHECK(!close(q.fd));
}

/* The queue's file keeps the context and its objects alive. */
static void close_context(struct fixture *f)
{
	struct queue q;

	if (!open_queue(&q))
		return;
	WANT(fault_many(&q, 3), 0);
	CHECK(!close(q.fd));
	WANT(get(q.file, faults, FAULT), FAULT);
	WANT(faults[0].dev_id, q.dev_id);
	WANT(answer(&q, faults[0].cookie, GOOD), ANSWER);
	WANT(get(q.file, faults, FAULT), FAULT);
	/* One fault is read and one is not. */
	CHECK(!close(q.file));
}

static void close_while_pending(struct fixture *f)
{
	struct queue q;

	if (!open_queue(&q))
		return;
	WANT(fault_many(&q, 3), 0);
	WANT(get(q.file, faults, FAULT), FAULT);
	CHECK(!close(q.file));
	CHECK(!close(q.fd));
}

static struct queue shared;

static void answer_in_child(struct fixture *f)
{
	WANT(drain(&shared), 2);
	WANT(fault_with(&shared, NO_PASID, 5), 0);
}

static void across_fork(struct fixture *f)
{
	if (!open_queue(&shared))
		return;
	WANT(fault_many(&shared, 3), 0);
	WANT(get(shared.file, faults, FAULT), FAULT);
	CHECK(in_child(NULL, 0, answer_in_child));
	WANT(answer(&shared, faults[0].cookie, GOOD), ANSWER);
	WANT(get(shared.file, faults, FAULT), FAULT);
	WANT(faults[0].grpid, 5);
	/* The exit of the child closes no file of the parent. */
	CHECK(!close(shared.fd));
	WANT(answer(&shared, faults[0].cookie, GOOD), ANSWER);
	CHECK(!close(shared.file));
}

static volatile bool over;

static void *keep_faulting(void *arg)
{
	struct queue *q = arg;
	uint32_t group = 0;
	long bad = 0;

	while (!over)
		bad += fault_with(q, NO_PASID, group++) != 0;
	return (void *)bad;
}

/* Responds to faults. EINVAL if the kernel has responded meanwhile; any other error is counted. */
static void *keep_answering(void *arg)
{
	struct iommu_hwpt_pgfault some[4];
	struct queue *q = arg;
	long bad = 0;

	while (!over) {
		long long i, r = get(q->file, some, sizeof(some));

		bad += r < 0 || r % FAULT;
		for (i = 0; i < r / (long long)FAULT; i++) {
			long long a = answer(q, some[i].cookie, i % 2 ? GOOD : BAD);

			bad += a != ANSWER && a != -EINVAL;
		}
	}
	return (void *)bad;
}

static void all_at_once(struct fixture *f)
{
	void *(*const work[])(void *arg) = {
		keep_faulting, keep_faulting, keep_answering, keep_answering,
	};
	pthread_t threads[ARRAY_SIZE(work)];
	struct queue q;
	uint32_t other;
	void *bad;
	size_t i;

	if (!open_queue(&q))
		return;
	WANT(fault_hwpt(&q, 0, q.id, &other), 0);
	for (i = 0; i < ARRAY_SIZE(work); i++)
		CHECK(!pthread_create(&threads[i], NULL, work[i], &q));
	for (i = 0; i < 300; i++) {
		const uint32_t places[] = { other, q.ioas, q.hwpt };

		WANT(replace(&q, places[i % 3]), 0);
	}
	over = true;
	for (i = 0; i < ARRAY_SIZE(work); i++) {
		CHECK(!pthread_join(threads[i], &bad));
		WANT((long)bad, 0);
	}
	WANT(destroy(q.fd, other), 0);
	close_queue(&q);
}

static const struct test tests[] = {
	{ "a queue cannot be made", alloc_wrong, ALONE },
	{ "page tables cannot have a queue", hwpt_wrong, ALONE },
	{ "a fault is read and gets its response", read_one, ALONE },
	{ "reads of every size", read_sizes, ALONE },
	{ "a fault that cannot be written stays queued", read_to_nowhere, ALONE },
	{ "a group of several faults is delivered as a whole", several_in_a_group, ALONE },
	{ "writes of every size, and wrong responses", write_sizes, ALONE },
	{ "responses that cannot be read", write_from_nowhere, ALONE },
	{ "no response before a fault is read", answer_unread, ALONE },
	{ "poll", poll_queue, ALONE },
	{ "destroy, detach and replace while faults are pending, CVE-2026-74520", pending_at_the_end, ALONE },
	{ "a replacement that changes nothing", replace_in_vain, ALONE },
	{ "two devices with one queue", two_devices, ALONE },
	{ "a queue in use cannot be destroyed, CVE-2025-39966", destroy_in_use, ALONE },
	{ "the context is closed before the queue", close_context, ALONE },
	{ "everything is closed while faults are pending", close_while_pending, ALONE },
	{ "across fork", across_fork, ALONE },
	{ "faults, responses and replacements at once", all_at_once, ALONE },
};

const struct suite fault_suite = {
	.name = "fault",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &fault_suite, &fault_group_suite, &fault_pasid_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
