// SPDX-License-Identifier: GPL-2.0-only
/* Event queues of vIOMMUs: reading events, lost events, and lifetimes. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "late.h"
#include "viommu.h"

#define TYPE		IOMMU_VEVENTQ_TYPE_SELFTEST
#define MAX_DEPTH	(1u << 19)
#define DEEP		16
#define HEADER		sizeof(struct iommufd_vevent_header)
#define EVENT		sizeof(struct event)
#define SECONDS		4
#define READS		64
#define MAX_ROUNDS	100000

struct event {
	struct iommufd_vevent_header header;
	struct iommu_viommu_event_selftest data;
};

/* A device that is attached to page tables on the vIOMMU, and a queue of its events. */
struct queue {
	struct guest g;
	uint32_t vdev, on_viommu, id;
	int file;
};

static struct event events[DEEP + 1];

static int queue_alloc(struct queue *q, uint32_t type, uint32_t depth)
{
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = q->g.viommu, .type = type, .veventq_depth = depth,
	};
	int r = call(q->g.fd, IOMMU_VEVENTQ_ALLOC, &cmd);

	if (!r) {
		q->id = cmd.out_veventq_id;
		q->file = cmd.out_veventq_fd;
	}
	return r;
}

static int queue_free(struct queue *q)
{
	close(q->file);
	return destroy(q->g.fd, q->id);
}

/* Reports nr events. */
static int trigger(struct queue *q, uint32_t nr)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_TRIGGER_VEVENT, .trigger_vevent.dev_id = q->g.dev_id,
	};
	int r = 0;

	while (nr-- && !r)
		r = mock_op(q->g.fd, &cmd);
	return r;
}

static long long get(struct queue *q, void *to, size_t size)
{
	ssize_t r = read(q->file, to, size);

	return r < 0 ? -errno : r;
}

static int ready(struct queue *q)
{
	struct pollfd p = { .fd = q->file, .events = POLLIN | POLLRDNORM | POLLOUT };

	return poll(&p, 1, 0) < 0 ? -errno : p.revents;
}

/*
 * Returns whether `at` has an event of the device, or reports lost events, with that sequence
 * number.
 */
static bool is_event(const void *at, uint32_t number)
{
	const struct event *e = at;

	return !e->header.flags && e->header.sequence == number && e->data.virt_id == VIRT_ID;
}

static bool is_lost(const void *at, uint32_t number)
{
	const struct iommufd_vevent_header *h = at;

	return h->flags == IOMMU_VEVENTQ_FLAG_LOST_EVENTS && h->sequence == number;
}

static bool open_attached(struct queue *q)
{
	int r;

	q->file = -1;
	if (!open_guest(&q->g))
		return false;
	r = vdevice(q->g.fd, q->g.viommu, q->g.dev_id, VIRT_ID, &q->vdev);
	if (!r)
		r = nested(&q->g, q->g.viommu, 0, &q->on_viommu);
	if (!r)
		r = mock_replace(q->g.fd, q->g.device, q->on_viommu);
	if (r)
		fail("cannot attach the device: %s", errno_name(r));
	return !r;
}

static bool open_queue(struct queue *q, uint32_t depth)
{
	int r;

	if (!open_attached(q))
		return false;
	r = queue_alloc(q, TYPE, depth);
	if (r)
		fail("cannot make a queue: %s", errno_name(r));
	return !r;
}

static void close_attached(struct queue *q)
{
	WANT(mock_replace(q->g.fd, q->g.device, q->g.ioas), 0);
	WANT(destroy(q->g.fd, q->on_viommu), 0);
	WANT(destroy(q->g.fd, q->vdev), 0);
	close_guest(&q->g);
}

static void close_queue(struct queue *q)
{
	WANT(queue_free(q), 0);
	close_attached(q);
}

static void alloc_wrong(struct fixture *none)
{
	struct rlimit no_files = { 0, 0 }, old;
	uint32_t filler, i;
	struct queue q;

	if (!open_attached(&q))
		return;
	/*
	 * Takes the id of the automatic page tables, which were destroyed: new ids are then behind
	 * all others.
	 */
	WANT(ioas_alloc(q.g.fd, &filler), 0);
	CHECK(filler < q.on_viommu);
	{
		const struct iommu_veventq_alloc good = {
			.size = sizeof(good), .viommu_id = q.g.viommu, .type = TYPE,
			.veventq_depth = DEEP,
		};
		struct {
			const char *name;
			struct iommu_veventq_alloc cmd;
			int want;
			const char *why;
		} table[] = {
			{ "flags", good, -EOPNOTSUPP, "command-flags" },
			{ "the reserved field", good, -EOPNOTSUPP, "command-reserved" },
			{ "no type", good, -EOPNOTSUPP, "veventq-type" },
			{ "flags, no depth, no vIOMMU", good, -EOPNOTSUPP, "command-flags" },
			{ "no depth", good, -EINVAL, "veventq-depth" },
			{ "too deep", good, -EINVAL, "veventq-depth" },
			{ "deepest of all", good, -EINVAL, "veventq-depth" },
			{ "no depth, no vIOMMU", good, -EINVAL, "veventq-depth" },
			{ "no vIOMMU", good, -ENOENT, "object-none" },
			{ "a vIOMMU that is a parent", good, -ENOENT, "object-kind" },
			{ "short", good, -EINVAL, "command-too-short" },
		};

		table[0].cmd.flags = 1;
		table[1].cmd.__reserved = 1;
		table[2].cmd.type = IOMMU_VEVENTQ_TYPE_DEFAULT;
		table[3].cmd.flags = 1u << 31;
		table[3].cmd.veventq_depth = 0;
		table[3].cmd.viommu_id = NO_ID;
		table[4].cmd.veventq_depth = 0;
		table[5].cmd.veventq_depth = MAX_DEPTH + 1;
		table[6].cmd.veventq_depth = UINT32_MAX;
		table[7].cmd.veventq_depth = 0;
		table[7].cmd.viommu_id = NO_ID;
		table[8].cmd.viommu_id = NO_ID;
		table[9].cmd.viommu_id = q.g.parent;
		table[10].cmd.size = offsetof(struct iommu_veventq_alloc, out_veventq_fd);
		for (i = 0; i < ARRAY_SIZE(table); i++) {
			struct refusal refused;
			int r;

			last_refusal(q.g.fd, &refused);
			r = call(q.g.fd, IOMMU_VEVENTQ_ALLOC, &table[i].cmd);
			check_refusal(q.g.fd, &refused, r, table[i].why, table[i].name);
			if (r != table[i].want)
				fail("%s: got %s", table[i].name, errno_name(r));
		}
		WANT_WHY(q.g.fd, call(q.g.fd, IOMMU_VEVENTQ_ALLOC, read_only(&good, sizeof(good))),
			 -EFAULT, "user-memory");
	}
	CHECK(!getrlimit(RLIMIT_NOFILE, &old) && !setrlimit(RLIMIT_NOFILE, &no_files));
	WANT(queue_alloc(&q, TYPE, DEEP), -EMFILE);
	CHECK(!setrlimit(RLIMIT_NOFILE, &old));
	/* No id is used, no queue receives events, and the type is free. */
	for (i = q.on_viommu + 1; i < q.on_viommu + 20; i++)
		WANT_WHY(q.g.fd, destroy(q.g.fd, i), -ENOENT, "object-none");
	WANT(trigger(&q, 1), -EOPNOTSUPP);
	WANT(queue_alloc(&q, TYPE, MAX_DEPTH), 0);
	WANT(trigger(&q, 1), 0);
	WANT(destroy(q.g.fd, filler), 0);
	close_queue(&q);
}

/* A vIOMMU has one queue of a type, which receives the events of that type. */
static void types(struct fixture *none)
{
	struct queue q, other, elsewhere;

	if (!open_attached(&q))
		return;
	other = elsewhere = q;
	WANT(queue_alloc(&other, IOMMU_VEVENTQ_TYPE_ARM_SMMUV3, DEEP), 0);
	/* The mock's own errors have no reason. */
	WANT_WHY(q.g.fd, trigger(&q, 1), -EOPNOTSUPP, "kernel");
	WANT(viommu(&q.g, q.g.parent, &elsewhere.g.viommu), 0);
	WANT(queue_alloc(&elsewhere, TYPE, DEEP), 0);
	WANT(trigger(&q, 1), -EOPNOTSUPP);
	WANT(queue_alloc(&q, TYPE, DEEP), 0);
	WANT_WHY(q.g.fd, queue_alloc(&q, TYPE, DEEP), -EEXIST, "veventq-type");
	WANT_WHY(other.g.fd, queue_alloc(&other, IOMMU_VEVENTQ_TYPE_ARM_SMMUV3, 1), -EEXIST,
		 "veventq-type");
	WANT(trigger(&q, 2), 0);
	WANT(get(&other, events, sizeof(events)), 0);
	WANT(get(&elsewhere, events, sizeof(events)), 0);
	WANT(queue_free(&other), 0);
	WANT(queue_free(&elsewhere), 0);
	WANT(destroy(q.g.fd, elsewhere.g.viommu), 0);
	WANT(get(&q, events, sizeof(events)), 2 * EVENT);
	CHECK(is_event(&events[0], 0) && is_event(&events[1], 1));
	/* A new queue begins with sequence number 0. */
	WANT(trigger(&q, 1), 0);
	WANT(queue_free(&q), 0);
	WANT(trigger(&q, 1), -EOPNOTSUPP);
	WANT(queue_alloc(&q, TYPE, DEEP), 0);
	WANT(ready(&q), 0);
	WANT(trigger(&q, 1), 0);
	WANT(get(&q, events, sizeof(events)), EVENT);
	CHECK(is_event(&events[0], 0));
	close_queue(&q);
}

static void read_sizes(struct fixture *none)
{
	static const struct {
		uint32_t waiting;
		size_t size;
		long long want;	/* EINVAL for lack of room */
	} table[] = {
		{ 0, 0, -EINVAL }, { 0, 1, -EINVAL }, { 0, HEADER - 1, -EINVAL },
		{ 0, HEADER, 0 }, { 0, EVENT, 0 },
		{ 1, 0, -EINVAL }, { 1, HEADER - 1, -EINVAL }, { 1, HEADER, -EINVAL },
		{ 1, EVENT - 1, -EINVAL }, { 1, EVENT, EVENT }, { 1, 2 * EVENT, EVENT },
		{ DEEP, EVENT, EVENT }, { DEEP, EVENT + HEADER - 1, EVENT },
		{ DEEP, EVENT + HEADER, EVENT }, { DEEP, 2 * EVENT - 1, EVENT },
		{ DEEP, 2 * EVENT, 2 * EVENT }, { DEEP, 2 * EVENT + 1, 2 * EVENT },
		{ DEEP, DEEP * EVENT - 1, (DEEP - 1) * EVENT },
		{ DEEP, DEEP * EVENT, DEEP * EVENT }, { DEEP, (DEEP + 1) * EVENT, DEEP * EVENT },
	};
	uint32_t j, nr, next = 0;
	struct queue q;
	size_t i;

	if (!open_queue(&q, DEEP))
		return;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct refusal before;
		long long r;

		WANT(trigger(&q, table[i].waiting), 0);
		last_refusal(q.g.fd, &before);
		r = get(&q, events, table[i].size);
		check_refusal(q.g.fd, &before, r, table[i].want < 0 ? "veventq-room" : NULL, "read");
		if (r != table[i].want)
			fail("%zu bytes with %u waiting: got %s", table[i].size, table[i].waiting,
			     errno_name(r));
		nr = r > 0 ? r / EVENT : 0;
		/* The other events stay queued, in order. */
		WANT(get(&q, &events[nr], sizeof(events) - nr * EVENT),
		     (table[i].waiting - nr) * EVENT);
		for (j = 0; j < table[i].waiting; j++)
			CHECK(is_event(&events[j], next++));
		WANT(ready(&q), 0);
	}
	CHECK(pread(q.file, events, EVENT, 0) < 0 && errno == ESPIPE);
	CHECK(pread(q.file, events, EVENT, EVENT) < 0 && errno == ESPIPE);
	CHECK(lseek(q.file, 0, SEEK_SET) < 0 && errno == ESPIPE);
	CHECK(write(q.file, events, EVENT) < 0 && errno == EINVAL);
	close_queue(&q);
}

/* An event that cannot be written to user memory stays queued, at its place. */
static void read_to_nowhere(struct fixture *none)
{
	struct event two[2] = {};
	struct queue q;
	void *at;

	if (!open_queue(&q, 4))
		return;
	WANT(get(&q, mem.gone, EVENT), 0);
	WANT(trigger(&q, 4), 0);
	WANT_WHY(q.g.fd, get(&q, mem.gone, EVENT), -EFAULT, "user-memory");
	WANT_WHY(q.g.fd, get(&q, mem.gone, 4 * EVENT), -EFAULT, "user-memory");
	/* The header of the second event can be written, or a part of it. */
	at = guarded(two, EVENT + HEADER);
	WANT(get(&q, at, 2 * EVENT), EVENT);
	CHECK(is_event(at, 0));
	at = guarded(two, EVENT + HEADER / 2);
	WANT(get(&q, at, 2 * EVENT), EVENT);
	CHECK(is_event(at, 1));
	at = guarded(two, HEADER);
	WANT_WHY(q.g.fd, get(&q, at, EVENT), -EFAULT, "user-memory");
	/* Unread events count, so there is room for two. */
	WANT(trigger(&q, 3), 0);
	WANT_WHY(q.g.fd, get(&q, mem.gone, sizeof(events)), -EFAULT, "user-memory");
	WANT(get(&q, events, sizeof(events)), 4 * EVENT + HEADER);
	CHECK(is_event(&events[0], 2) && is_event(&events[1], 3));
	CHECK(is_event(&events[2], 4) && is_event(&events[3], 5) && is_lost(&events[4], 6));
	WANT(get(&q, mem.gone, EVENT), 0);
	close_queue(&q);
}

static void lost(struct fixture *none)
{
	struct queue q;

	if (!open_queue(&q, 2))
		return;
	/* Reporting an event succeeds although the queue is full. */
	WANT(trigger(&q, 5), 0);
	WANT(get(&q, events, sizeof(events)), 2 * EVENT + HEADER);
	CHECK(is_event(&events[0], 0) && is_event(&events[1], 1) && is_lost(&events[2], 4));
	WANT(ready(&q), 0);
	WANT(get(&q, events, sizeof(events)), 0);

	/* The loss is reported once, at its place, and needs no room of its own. */
	WANT(trigger(&q, 3), 0);
	WANT(get(&q, events, 2 * EVENT + HEADER - 1), 2 * EVENT);
	CHECK(is_event(&events[0], 5) && is_event(&events[1], 6));
	WANT(ready(&q), POLLIN | POLLRDNORM);
	WANT_WHY(q.g.fd, get(&q, events, HEADER - 1), -EINVAL, "veventq-room");
	WANT_WHY(q.g.fd, get(&q, mem.gone, HEADER), -EFAULT, "user-memory");
	WANT(ready(&q), POLLIN | POLLRDNORM);
	WANT(get(&q, events, HEADER), HEADER);
	CHECK(is_lost(&events[0], 7));
	WANT(ready(&q), 0);

	/* The sequence number of the next event shows the loss. */
	WANT(trigger(&q, 4), 0);
	WANT(get(&q, events, EVENT), EVENT);
	CHECK(is_event(&events[0], 8));
	WANT(trigger(&q, 1), 0);
	WANT(get(&q, events, sizeof(events)), 2 * EVENT);
	CHECK(is_event(&events[0], 9) && is_event(&events[1], 12));
	WANT(trigger(&q, 3), 0);
	WANT(get(&q, events, 2 * EVENT), 2 * EVENT);
	WANT(trigger(&q, 1), 0);
	WANT(get(&q, events, sizeof(events)), EVENT);
	CHECK(is_event(&events[0], 16));

	/* The report has the sequence number of the last event that was lost. */
	WANT(trigger(&q, 3), 0);
	WANT(trigger(&q, 2), 0);
	WANT(get(&q, events, EVENT), EVENT);
	WANT(trigger(&q, 2), 0);
	WANT(get(&q, events, sizeof(events)), 2 * EVENT + HEADER);
	CHECK(is_event(&events[0], 18) && is_event(&events[1], 22) && is_lost(&events[2], 23));
	close_queue(&q);
}

static void *wait_for_event(void *arg)
{
	struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };

	return (void *)(long)(poll(&p, 1, 60000) == 1 && p.revents == POLLIN);
}

static void poll_queue(struct fixture *none)
{
	pthread_t thread;
	struct queue q;
	void *woken;

	if (!open_queue(&q, DEEP))
		return;
	WANT(ready(&q), 0);
	WANT(trigger(&q, 2), 0);
	WANT(ready(&q), POLLIN | POLLRDNORM);
	WANT_WHY(q.g.fd, get(&q, mem.gone, EVENT), -EFAULT, "user-memory");
	WANT_WHY(q.g.fd, get(&q, events, HEADER), -EINVAL, "veventq-room");
	WANT(get(&q, events, EVENT), EVENT);
	WANT(ready(&q), POLLIN | POLLRDNORM);
	WANT(get(&q, events, EVENT), EVENT);
	WANT(ready(&q), 0);
	CHECK(!pthread_create(&thread, NULL, wait_for_event, &q.file));
	usleep(50000);
	WANT(trigger(&q, 1), 0);
	CHECK(!pthread_join(thread, &woken) && woken);
	close_queue(&q);
}

static void order(struct fixture *none)
{
	struct queue q;
	int copy;

	if (!open_queue(&q, 2))
		return;
	WANT_WHY(q.g.fd, destroy(q.g.fd, q.id), -EBUSY, "object-in-use");
	WANT_WHY(q.g.fd, destroy(q.g.fd, q.g.viommu), -EBUSY, "object-in-use");
	copy = dup(q.file);
	CHECK(copy >= 0);
	WANT(trigger(&q, 3), 0);
	WANT_WHY(q.g.fd, queue_free(&q), -EBUSY, "object-in-use");
	/* The queue stays when its file is closed, but its events cannot be read. */
	CHECK(!close(copy));
	WANT(trigger(&q, 1), 0);
	WANT_WHY(q.g.fd, queue_alloc(&q, TYPE, 2), -EEXIST, "veventq-type");
	WANT(mock_replace(q.g.fd, q.g.device, q.g.ioas), 0);
	WANT(trigger(&q, 1), -ENOENT);
	WANT(destroy(q.g.fd, q.on_viommu), 0);
	WANT(destroy(q.g.fd, q.vdev), 0);
	WANT_WHY(q.g.fd, destroy(q.g.fd, q.g.viommu), -EBUSY, "object-in-use");
	WANT(destroy(q.g.fd, q.id), 0);
	WANT_WHY(q.g.fd, destroy(q.g.fd, q.id), -ENOENT, "object-none");
	close_guest(&q.g);
}

/* The queue's file keeps the context and its objects alive. */
static void close_context(struct fixture *none)
{
	struct queue q;

	if (!open_queue(&q, 2))
		return;
	WANT(trigger(&q, 4), 0);
	CHECK(!close(q.g.fd));
	WANT(ready(&q), POLLIN | POLLRDNORM);
	WANT(get(&q, events, EVENT), EVENT);
	CHECK(is_event(&events[0], 0));
	/* One event is queued, and a report of lost ones. */
	CHECK(!close(q.file));
	if (!open_queue(&q, 2))
		return;
	WANT(trigger(&q, 4), 0);
	CHECK(!close(q.file));
	CHECK(!close(q.g.fd));
}

static struct queue racing;
static atomic_bool over;
static atomic_ulong heard, unheard, came;

static void *keep_triggering(void *arg)
{
	while (!atomic_load(&over)) {
		int r = trigger(&racing, 1);

		if (!r)
			atomic_fetch_add(&heard, 1);
		else if (r == -EOPNOTSUPP)
			atomic_fetch_add(&unheard, 1);
		else
			fail("an event: %s", errno_name(r));
	}
	return NULL;
}

/* Reads events. Sequence numbers must increase. */
static void *keep_reading(void *arg)
{
	struct queue *q = arg;
	struct event e;
	int64_t last = -1;
	long long r = 0;
	int i;

	/* Bounded: events may be reported faster than they are read. */
	for (i = 0; i < READS && (r = get(q, &e, EVENT)) > 0; i++) {
		bool good = r == EVENT ? is_event(&e, e.header.sequence)
				       : r == HEADER && is_lost(&e, e.header.sequence);

		if (!good || (int64_t)e.header.sequence <= last) {
			fail("%lld bytes, number %u after %lld", r, e.header.sequence,
			     (long long)last);
			break;
		}
		last = e.header.sequence;
		atomic_fetch_add(&came, 1);
	}
	if (r < 0)
		fail("a read: %s", errno_name(r));
	return NULL;
}

/* Queues are made and destroyed while the driver reports events. */
static void all_at_once(struct fixture *none)
{
	/*
	 * In the C module, a reader without room for an event hides it from other readers for a
	 * moment.
	 */
	const size_t nr_readers = on_c_module() ? 1 : 2;
	pthread_t drivers[2], readers[2];
	unsigned int rounds;
	time_t deadline;
	struct queue q;
	size_t i;

	if (!open_attached(&racing))
		return;
	q = racing;
	deadline = time(NULL) + SECONDS;
	atomic_store(&over, false);
	for (i = 0; i < ARRAY_SIZE(drivers); i++)
		CHECK(!pthread_create(&drivers[i], NULL, keep_triggering, NULL));
	/* Until each of it has happened: on a busy machine a thread may not run for a while. */
	for (rounds = 0; !has_failed() && rounds < MAX_ROUNDS; rounds++) {
		if (time(NULL) >= deadline && atomic_load(&heard) && atomic_load(&unheard) && atomic_load(&came))
			break;
		WANT(queue_alloc(&q, TYPE, 4), 0);
		usleep(3000);
		for (i = 0; i < nr_readers; i++)
			CHECK(!pthread_create(&readers[i], NULL, keep_reading, &q));
		for (i = 0; i < nr_readers; i++)
			pthread_join(readers[i], NULL);
		WANT(queue_free(&q), 0);
	}
	atomic_store(&over, true);
	for (i = 0; i < ARRAY_SIZE(drivers); i++)
		pthread_join(drivers[i], NULL);
	note("%lu events heard, %lu not, %lu read", atomic_load(&heard), atomic_load(&unheard),
	     atomic_load(&came));
	CHECK(atomic_load(&heard) && atomic_load(&unheard) && atomic_load(&came));
	close_attached(&racing);
}

/*
 * The device is still attached to page tables on the vIOMMU, so its events have the virtual id
 * that it had when it was attached.
 */
static void vdevice_gone(struct fixture *none)
{
	struct queue q;

	if (!open_queue(&q, DEEP))
		return;
	WANT(destroy(q.g.fd, q.vdev), 0);
	WANT(trigger(&q, 2), 0);
	WANT(get(&q, events, sizeof(events)), 2 * EVENT);
	CHECK(is_event(&events[0], 0) && is_event(&events[1], 1));
	WANT(mock_replace(q.g.fd, q.g.device, q.g.ioas), 0);
	WANT(trigger(&q, 1), -ENOENT);
	WANT(destroy(q.g.fd, q.on_viommu), 0);
	WANT(queue_free(&q), 0);
	close_guest(&q.g);
}

static struct queue shared;

static void report_two(char *at)
{
	if (trigger(&shared, 2))
		fail("no events to read");
}

static int read_to_late_memory(char *at)
{
	return get(&shared, at, EVENT);
}

static void read_another(struct fixture *none)
{
	WANT(get(&shared, events, EVENT), EVENT);
}

static bool open_shared(void *none)
{
	return open_queue(&shared, DEEP);
}

/* Reading waits for another reader, whose memory does not come, and can be killed; the C module does not wait. */
static void kill_reader(struct late *late, void *none)
{
	int pid = on_c_module() ? start_child(NULL, 0, read_another) : start_waiting(late, read_another);
	bool gone;

	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	gone = ends_while_late(late, pid);
	late->told = still_late(late);
	WANT(end_late(late), EVENT);
	CHECK(gone || !late->told);
	if (!gone)
		waitpid(pid, NULL, 0);
}

static void close_shared(void *none)
{
	close(shared.file);
	close(shared.g.fd);
}

static void killed_reader(struct fixture *none)
{
	test_late(&(struct late_test){
		.late = { .kind = LATE, .prepare = report_two, .call = read_to_late_memory },
		.open = open_shared, .run = kill_reader, .close = close_shared });
}

static const struct test tests[] = {
	{ "an event queue cannot be made", alloc_wrong, ALONE },
	{ "one queue of each type", types, ALONE },
	{ "reads of events, of every size", read_sizes, ALONE },
	{ "an event that cannot be written stays queued", read_to_nowhere, ALONE },
	{ "events are lost", lost, ALONE },
	{ "poll for events", poll_queue, ALONE },
	{ "an event queue in use cannot be destroyed", order, ALONE },
	{ "closed while events are queued", close_context, ALONE },
	{ "events, reads and queues destroyed at once", all_at_once, ALONE },
	{ "events after the vDEVICE is gone", vdevice_gone, ALONE },
	{ "a reader of events that waits for another one is killed", killed_reader, ALONE },
};

const struct suite event_suite = {
	.name = "event", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
