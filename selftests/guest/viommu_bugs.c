// SPDX-License-Identifier: GPL-2.0-only
/* Bugs that implementations of vIOMMUs, event queues and HW queues have had. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "effort.h"
#include "viommu.h"

#define DEEP		64
#define ROUNDS		50
#define QUEUES		1000

struct event {
	struct iommufd_vevent_header header;
	struct iommu_viommu_event_selftest data;
};

/* A guest whose device is attached to page tables on the vIOMMU. */
struct attached {
	struct guest g;
	uint32_t vdev, on_viommu;
};

static bool open_attached(struct attached *a, uint64_t virt_id)
{
	int r;

	if (!open_guest(&a->g))
		return false;
	r = vdevice(a->g.fd, a->g.viommu, a->g.dev_id, virt_id, &a->vdev);
	if (!r)
		r = nested(&a->g, a->g.viommu, 0, &a->on_viommu);
	if (!r)
		r = mock_replace(a->g.fd, a->g.device, a->on_viommu);
	if (r)
		fail("cannot attach the device: %s", errno_name(r));
	return !r;
}

static void close_attached(struct attached *a)
{
	WANT(mock_replace(a->g.fd, a->g.device, a->g.ioas), 0);
	WANT(destroy(a->g.fd, a->on_viommu), 0);
	WANT(destroy(a->g.fd, a->vdev), 0);
	close_guest(&a->g);
}

static int trigger(struct guest *g)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_TRIGGER_VEVENT, .trigger_vevent.dev_id = g->dev_id,
	};

	return mock_op(g->fd, &cmd);
}

static struct iommu_veventq_alloc queue_of(struct guest *g, uint32_t depth)
{
	return (struct iommu_veventq_alloc){
		.size = sizeof(struct iommu_veventq_alloc), .viommu_id = g->viommu,
		.type = IOMMU_VEVENTQ_TYPE_SELFTEST, .veventq_depth = depth,
	};
}

/* Returns how many descriptors are open. */
static int descriptors(void)
{
	int fd, nr = 0;

	for (fd = 0; fd < 32; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

/*
 * The queue's file exists already when making the queue fails. It is freed before the queue, at
 * once, and must not free the queue. KASAN reports a later access to the queue.
 */
static void aborted(struct fixture *none)
{
	struct iommu_fault_alloc faults = { .size = sizeof(faults) };
	struct rlimit no_files = { 0, 0 }, old;
	struct attached a;
	int open, i;

	if (!open_attached(&a, VIRT_ID))
		return;
	open = descriptors();
	for (i = 0; i < ROUNDS; i++) {
		struct iommu_veventq_alloc cmd = queue_of(&a.g, DEEP);

		WANT_WHY(a.g.fd, call(a.g.fd, IOMMU_VEVENTQ_ALLOC, read_only(&cmd, sizeof(cmd))),
			 -EFAULT, "user-memory");
		WANT_WHY(a.g.fd,
			 call(a.g.fd, IOMMU_FAULT_QUEUE_ALLOC, read_only(&faults, sizeof(faults))),
			 -EFAULT, "user-memory");
		/* No descriptor is left, and there is no queue of the type. */
		WANT(descriptors(), open);
		WANT(trigger(&a.g), -EOPNOTSUPP);
	}
	CHECK(!getrlimit(RLIMIT_NOFILE, &old) && !setrlimit(RLIMIT_NOFILE, &no_files));
	for (i = 0; i < ROUNDS; i++) {
		struct iommu_veventq_alloc cmd = queue_of(&a.g, DEEP);

		WANT(call(a.g.fd, IOMMU_VEVENTQ_ALLOC, &cmd), -EMFILE);
		WANT(call(a.g.fd, IOMMU_FAULT_QUEUE_ALLOC, &faults), -EMFILE);
	}
	CHECK(!setrlimit(RLIMIT_NOFILE, &old));
	close_attached(&a);
}

/* All bytes of the events are read, however many at a time, and no byte behind them is written. */
static void whole_events(struct fixture *none)
{
	static struct event events[DEEP + 1];
	const uint32_t virt_id = 0xfedcba98;
	struct iommu_veventq_alloc cmd;
	struct attached a;
	uint32_t i, nr, at = 0;

	if (!open_attached(&a, virt_id))
		return;
	cmd = queue_of(&a.g, DEEP);
	WANT(call(a.g.fd, IOMMU_VEVENTQ_ALLOC, &cmd), 0);
	for (nr = 1; nr <= DEEP; nr *= 2) {
		memset(events, 0xa5, sizeof(events));
		for (i = 0; i < nr; i++)
			WANT(trigger(&a.g), 0);
		CHECK(read(cmd.out_veventq_fd, events, sizeof(events)) ==
		      (ssize_t)(nr * sizeof(events[0])));
		for (i = 0; i < nr; i++, at++) {
			WANT(events[i].header.flags, 0);
			WANT(events[i].header.sequence, at);
			WANT(events[i].data.virt_id, virt_id);
		}
		WANT(events[nr].header.flags, 0xa5a5a5a5u);
	}
	close(cmd.out_veventq_fd);
	WANT(destroy(a.g.fd, cmd.out_veventq_id), 0);
	close_attached(&a);
}

/*
 * If there is no memory for an event, the driver gets an error and the reader a gap: the sequence
 * number of the event is used.
 */
static void no_memory(struct fixture *none)
{
	int inject = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC), nth, r = -1, lost = 0, ok = 0;
	static struct event e[DEEP];
	struct iommu_veventq_alloc cmd;
	struct attached a;
	bool failed = true;
	int i;

	if (accesses_fail()) {
		close(inject);
		return;
	}
	CHECK(inject >= 0 && sleeping_allocations_fail());
	if (!open_attached(&a, VIRT_ID))
		return;
	cmd = queue_of(&a.g, DEEP);
	WANT(call(a.g.fd, IOMMU_VEVENTQ_ALLOC, &cmd), 0);
	/* Until no allocation is left to fail. */
	for (nth = 1; nth < 100 && failed; nth++) {
		CHECK(fail_nth(inject, nth));
		r = trigger(&a.g);
		failed = nth_failed(inject);
		/* A look-up may be made to fail too. Then no event is reported. */
		if (r && r != -ENOMEM && r != -ENOENT)
			fail("failure %d: %s", nth, errno_name(r));
		lost += r == -ENOMEM;
		ok += !r;
	}
	WANT(r, 0);
	CHECK(lost > 0);
	/* Some failures are tolerated. */
	WANT(read(cmd.out_veventq_fd, e, sizeof(e)), (long)(ok * sizeof(e[0])));
	for (i = 0; i < ok; i++) {
		WANT(e[i].header.flags, 0);
		WANT(e[i].data.virt_id, VIRT_ID);
	}
	WANT(e[ok - 1].header.sequence, lost + ok - 1);
	/* If the last event is lost, a header reports it. */
	for (i = 0, nth = 1; nth < 100; nth++) {
		CHECK(fail_nth(inject, nth));
		r = trigger(&a.g);
		CHECK(fail_nth(inject, 0));
		if (r == -ENOMEM)
			break;
		i += !r;
	}
	WANT(r, -ENOMEM);
	if (i)
		WANT(read(cmd.out_veventq_fd, e, i * sizeof(e[0])), (long)(i * sizeof(e[0])));
	WANT(read(cmd.out_veventq_fd, e, sizeof(e)), (long)sizeof(e[0].header));
	WANT(e[0].header.flags, IOMMU_VEVENTQ_FLAG_LOST_EVENTS);
	WANT(e[0].header.sequence, lost + ok + i);
	close(inject);
	close(cmd.out_veventq_fd);
	WANT(destroy(a.g.fd, cmd.out_veventq_id), 0);
	close_attached(&a);
}

struct attempt {
	const char *name;
	int (*run)(struct attached *a, uint32_t *id);
};

static int try_viommu(struct attached *a, uint32_t *id)
{
	struct pages p = {};
	int r = viommu_with(&a->g, 1, &p);

	*id = p.viommu;
	return r;
}

static int try_nested(struct attached *a, uint32_t *id)
{
	return nested(&a->g, a->g.viommu, 0, id);
}

static int try_vdevice(struct attached *a, uint32_t *id)
{
	int r = destroy(a->g.fd, a->vdev);

	/* Only the look-up of the device can fail here, not an allocation. */
	if (r && r != -ENOENT)
		return r;
	r = vdevice(a->g.fd, a->g.viommu, a->g.dev_id, VIRT_ID, id);
	return r;
}

static int try_event_queue(struct attached *a, uint32_t *id)
{
	struct iommu_veventq_alloc cmd = queue_of(&a->g, DEEP);
	int r = call(a->g.fd, IOMMU_VEVENTQ_ALLOC, &cmd);

	if (!r)
		close(cmd.out_veventq_fd);
	*id = cmd.out_veventq_id;
	return r;
}

static int try_hw_queue(struct attached *a, uint32_t *id)
{
	return hw_queue(&a->g, a->g.viommu, 0, MOCK_IOVA, PAGE, id);
}

/*
 * Any allocation in the making of an object fails: no object is left. kmemleak checks afterwards.
 */
static void making_fails(struct fixture *none)
{
	static const struct attempt attempts[] = {
		{ "a vIOMMU", try_viommu },
		{ "nested page tables", try_nested },
		{ "an event queue", try_event_queue },
		{ "a HW queue", try_hw_queue },
		{ "a vDEVICE", try_vdevice },
	};
	int inject = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	uint32_t id, before, after;
	struct attached a;
	size_t i;

	if (accesses_fail()) {
		close(inject);
		return;
	}
	CHECK(inject >= 0 && sleeping_allocations_fail());
	if (!open_attached(&a, VIRT_ID))
		return;
	WANT(map(a.g.fd, a.g.ioas, mem.rw, PAGE, MOCK_IOVA), 0);
	WANT(ioas_alloc(a.g.fd, &before), 0);
	for (i = 0; i < ARRAY_SIZE(attempts); i++) {
		bool failed = true;
		int nth, r = -1;

		/* A device has one vDEVICE at a time. */
		if (attempts[i].run == try_vdevice)
			WANT(mock_replace(a.g.fd, a.g.device, a.g.ioas), 0);
		for (nth = 1; nth < 1000 && (r || failed); nth++) {
			CHECK(fail_nth(inject, nth));
			r = attempts[i].run(&a, &id);
			failed = nth_failed(inject);
			/* A look-up or a fault injection point may fail too. */
			if (r && r != -ENOMEM && r != -ENOENT && r != -EINVAL)
				fail("%s, failure %d: %s", attempts[i].name, nth, errno_name(r));
			if (!r && attempts[i].run != try_vdevice)
				WANT(destroy(a.g.fd, id), 0);
			else if (!r)
				a.vdev = id;
		}
		note("%s: %d places to fail", attempts[i].name, nth - 2);
		CHECK(nth > 3 && !r);
	}
	close(inject);
	/* No id is used. */
	WANT(ioas_alloc(a.g.fd, &after), 0);
	WANT(destroy(a.g.fd, before), 0);
	WANT(destroy(a.g.fd, after), 0);
	WANT(unmap(a.g.fd, a.g.ioas, MOCK_IOVA, PAGE), PAGE);
	close_attached(&a);
}

/* A type without data, or data without a type, is refused and the data are not read. */
static void data_without_length(struct fixture *none)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOTLB };
	uint32_t bases[3], filler, before, after, i;
	struct attached a;

	if (!open_attached(&a, VIRT_ID))
		return;
	bases[0] = a.g.parent;
	bases[1] = a.g.viommu;
	bases[2] = a.g.ioas;
	/*
	 * Takes the id of the automatic page tables, which were destroyed: new ids are then behind
	 * all others.
	 */
	WANT(ioas_alloc(a.g.fd, &filler), 0);
	WANT(ioas_alloc(a.g.fd, &before), 0);
	for (i = 0; i < ARRAY_SIZE(bases); i++) {
		struct iommu_hwpt_alloc cmd = {
			.size = sizeof(cmd), .dev_id = a.g.dev_id, .pt_id = bases[i],
			.data_type = IOMMU_HWPT_DATA_SELFTEST, .data_uptr = PTR(mem.gone),
		};

		WANT_WHY(a.g.fd, call(a.g.fd, IOMMU_HWPT_ALLOC, &cmd), -EINVAL, "hwpt-data");
		cmd.data_type = IOMMU_HWPT_DATA_NONE;
		cmd.data_len = sizeof(data);
		WANT_WHY(a.g.fd, call(a.g.fd, IOMMU_HWPT_ALLOC, &cmd), -EINVAL, "hwpt-data");
	}
	/* A nest parent cannot have a fault queue. */
	{
		struct iommu_fault_alloc faults = { .size = sizeof(faults) };
		struct iommu_hwpt_alloc cmd = {
			.size = sizeof(cmd), .dev_id = a.g.dev_id, .pt_id = a.g.ioas,
			.flags = IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_FAULT_ID_VALID,
		};

		WANT(call(a.g.fd, IOMMU_FAULT_QUEUE_ALLOC, &faults), 0);
		cmd.fault_id = faults.out_fault_id;
		WANT_WHY(a.g.fd, call(a.g.fd, IOMMU_HWPT_ALLOC, &cmd), -EOPNOTSUPP, "hwpt-fault-parent");
		close(faults.out_fault_fd);
		WANT(destroy(a.g.fd, faults.out_fault_id), 0);
	}
	WANT(ioas_alloc(a.g.fd, &after), 0);
	WANT(after, before + 1);
	WANT(destroy(a.g.fd, filler), 0);
	WANT(destroy(a.g.fd, before), 0);
	WANT(destroy(a.g.fd, after), 0);
	close_attached(&a);
}

/* Closing a context waits for no RCU grace period for the queues that are left. Returns whether it does not. */
static bool queues_go_fast(void)
{
	struct effort begin, made, closed;
	struct guest g, other;
	int i, r = 0;

	if (!open_guest(&g))
		return false;
	/* A vIOMMU has one queue of a type. */
	other = g;
	begin = effort_now();
	for (i = 0; i < QUEUES && !r; i++) {
		struct iommu_veventq_alloc cmd;

		r = viommu(&g, g.parent, &other.viommu);
		cmd = queue_of(&other, 1);
		r = r ?: call(g.fd, IOMMU_VEVENTQ_ALLOC, &cmd);
		if (!r)
			close(cmd.out_veventq_fd);
	}
	if (r)
		fail("event queue %d: %s", i, errno_name(r));
	made = effort_since(begin);
	begin = effort_now();
	close(g.fd);
	closed = effort_since(begin);
	note("%d event queues: made in %lld us of CPU time, closed in %lld us, asleep %ld times", QUEUES,
	     made.cpu_us, closed.cpu_us, closed.sleeps);
	return closed.sleeps < QUEUES / 10 && closed.cpu_us < made.cpu_us;
}

/* CPU time goes on while the host keeps the CPU waiting. A grace period for each queue would be seen each time. */
static void many_queues(struct fixture *none)
{
	CHECK(seen_fast(queues_go_fast));
}

static const struct test tests[] = {
	{ "making a queue fails after its file is made, CVE-2025-39966", aborted, ALONE },
	{ "events are read as a whole, CVE-2026-64293", whole_events, ALONE },
	{ "no memory for an event", no_memory, ALONE },
	{ "any allocation for an object fails", making_fails, ALONE },
	{ "a type of data without data", data_without_length, ALONE },
	{ "many event queues go with their context", many_queues, ALONE },
};

const struct suite viommu_bugs_suite = {
	.name = "bugs", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
