// SPDX-License-Identifier: GPL-2.0-only
/*
 * HW queues of vIOMMUs. Hardware reads the queue's memory by its physical address, so the memory
 * stays pinned and mapped as long as the queue exists. The mock has two queues for each vIOMMU;
 * the second one depends on the first.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "viommu.h"

#define TYPE		IOMMU_HW_QUEUE_TYPE_SELFTEST
#define QUEUES		IOMMU_TEST_HW_QUEUE_MAX
#define IOVA		MOCK_IOVA
#define SECONDS		5

/* A guest with three areas of one page. The last two map the same memory. */
static bool open_mapped(struct guest *g)
{
	int r;

	if (!open_guest(g))
		return false;
	r = map(g->fd, g->ioas, mem.rw, PAGE, IOVA);
	if (!r)
		r = map(g->fd, g->ioas, mem.rw + PAGE, PAGE, IOVA + PAGE);
	if (!r)
		r = map(g->fd, g->ioas, mem.rw + PAGE, PAGE, IOVA + 2 * PAGE);
	if (r)
		fail("cannot map: %s", errno_name(r));
	return !r;
}

static void close_mapped(struct guest *g)
{
	WANT(unmap(g->fd, g->ioas, IOVA, 3 * PAGE), 3 * PAGE);
	close_guest(g);
}

static void alloc_wrong(struct fixture *none)
{
	uint32_t before, after, id, i;
	struct guest g;

	if (!open_mapped(&g))
		return;
	{
		const struct iommu_hw_queue_alloc good = {
			.size = sizeof(good), .viommu_id = g.viommu, .type = TYPE,
			.nesting_parent_iova = IOVA, .length = PAGE,
		};
		struct {
			const char *name;
			struct iommu_hw_queue_alloc cmd;
			int want;
			const char *why;
		} table[] = {
			{ "flags", good, -EOPNOTSUPP, "command-flags" },
			{ "no type", good, -EOPNOTSUPP, "hw-queue-type" },
			{ "no type, no length", good, -EOPNOTSUPP, "hw-queue-type" },
			{ "unknown type", good, -EOPNOTSUPP, "hw-queue-type" },
			{ "unknown type, no vIOMMU", good, -ENOENT, "object-none" },
			{ "no length", good, -EINVAL, "command-range" },
			{ "no length, no vIOMMU", good, -EINVAL, "command-range" },
			{ "the end wraps", good, -EOVERFLOW, "command-overflow" },
			{ "the end wraps, no vIOMMU", good, -EOVERFLOW, "command-overflow" },
			{ "as many bytes as there are", good, -ERANGE, "hw-queue-memory" },
			{ "as many pages as there are", good, -ERANGE, "hw-queue-memory" },
			{ "no vIOMMU", good, -ENOENT, "object-none" },
			{ "a vIOMMU that is a parent", good, -ENOENT, "object-kind" },
			{ "nothing mapped", good, -ENOENT, "access-gap" },
			{ "the last page is not mapped", good, -ENOENT, "access-gap" },
			{ "the first page is not mapped", good, -ENOENT, "access-gap" },
			{ "the last byte is not mapped", good, -ENOENT, "access-gap" },
			{ "the last byte of all", good, -ENOENT, "access-gap" },
			/* Finding M: the C module allocates a list of the pages first. */
			{ "more than could be mapped", good, on_c_module() ? -ENOMEM : -ENOENT, "access-gap" },
			{ "not contiguous", good, -EFAULT, "hw-queue-memory" },
			{ "not contiguous by a byte", good, -EFAULT, "hw-queue-memory" },
			{ "no such index", good, -EINVAL, "hw-queue-driver" },
			{ "the last index", good, -EINVAL, "hw-queue-driver" },
			{ "the queue before is missing", good, -EIO, "hw-queue-driver" },
			{ "short", good, -EINVAL, "command-too-short" },
		};

		table[0].cmd.flags = 1;
		table[1].cmd.type = IOMMU_HW_QUEUE_TYPE_DEFAULT;
		table[2].cmd.type = IOMMU_HW_QUEUE_TYPE_DEFAULT;
		table[2].cmd.length = 0;
		table[3].cmd.type = TYPE + 1;
		table[4].cmd.type = TYPE + 1;
		table[4].cmd.viommu_id = NO_ID;
		table[5].cmd.length = 0;
		table[6].cmd.length = 0;
		table[6].cmd.viommu_id = NO_ID;
		table[7].cmd.nesting_parent_iova = UINT64_MAX;
		table[8].cmd.nesting_parent_iova = UINT64_MAX - PAGE + 2;
		table[8].cmd.viommu_id = NO_ID;
		table[9].cmd.nesting_parent_iova = 1;
		table[9].cmd.length = UINT64_MAX;
		table[10].cmd.nesting_parent_iova = 0;
		table[10].cmd.length = UINT64_MAX - PAGE + 2;
		table[11].cmd.viommu_id = NO_ID;
		table[12].cmd.viommu_id = g.parent;
		table[13].cmd.nesting_parent_iova = IOVA + (1UL << 30);
		table[14].cmd.nesting_parent_iova = IOVA + 2 * PAGE;
		table[14].cmd.length = 2 * PAGE;
		table[15].cmd.nesting_parent_iova = IOVA - PAGE;
		table[15].cmd.length = 2 * PAGE;
		table[16].cmd.nesting_parent_iova = IOVA + 2 * PAGE + 1;
		table[17].cmd.nesting_parent_iova = UINT64_MAX;
		table[17].cmd.length = 1;
		table[18].cmd.nesting_parent_iova = 0;
		table[18].cmd.length = 1UL << 60;
		table[19].cmd.nesting_parent_iova = IOVA + PAGE;
		table[19].cmd.length = 2 * PAGE;
		table[20].cmd.nesting_parent_iova = IOVA + PAGE + 1;
		table[21].cmd.index = QUEUES;
		table[22].cmd.index = UINT32_MAX;
		table[23].cmd.index = 1;
		table[24].cmd.size = offsetof(struct iommu_hw_queue_alloc, length);
		WANT(ioas_alloc(g.fd, &before), 0);
		for (i = 0; i < ARRAY_SIZE(table); i++) {
			struct refusal refused;
			int r;

			last_refusal(g.fd, &refused);
			r = call(g.fd, IOMMU_HW_QUEUE_ALLOC, &table[i].cmd);
			check_refusal(g.fd, &refused, r, table[i].why, table[i].name);
			if (r != table[i].want)
				fail("%s: got %s", table[i].name, errno_name(r));
		}
		WANT_WHY(g.fd, call(g.fd, IOMMU_HW_QUEUE_ALLOC, read_only(&good, sizeof(good))),
			 -EFAULT, "user-memory");
	}
	/*
	 * No object is left: the next id and the index are free, and the memory can be unmapped.
	 */
	WANT(ioas_alloc(g.fd, &after), 0);
	WANT(after, before + 1);
	WANT(hw_queue(&g, g.viommu, 0, IOVA, PAGE, &id), 0);
	WANT_WHY(g.fd, hw_queue(&g, g.viommu, 0, IOVA, PAGE, &i), -EEXIST, "hw-queue-driver");
	WANT(destroy(g.fd, id), 0);
	WANT(destroy(g.fd, before), 0);
	WANT(destroy(g.fd, after), 0);
	close_mapped(&g);
}

/*
 * The area of a queue cannot be unmapped, neither alone nor with other areas. Adjacent areas can.
 */
static void memory_stays(struct fixture *none)
{
	const long idle = pinned();
	uint32_t id, part;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(map(g.fd, g.ioas, mem.rw, 4 * PAGE, IOVA), 0);
	WANT(map(g.fd, g.ioas, mem.rw + 4 * PAGE, 4 * PAGE, IOVA + 4 * PAGE), 0);
	/* The last byte of a page. */
	WANT(hw_queue(&g, g.viommu, 0, IOVA + 3 * PAGE - 1, 1, &id), 0);
	WANT_WHY(g.fd, unmap(g.fd, g.ioas, IOVA, 4 * PAGE), -EBUSY, "unmap-hw-queue");
	WANT(mock_check(g.fd, g.parent, IOVA, mem.rw, 4 * PAGE), 0);
	WANT_WHY(g.fd, unmap_all(g.fd, g.ioas), -EBUSY, "unmap-hw-queue");
	WANT(mock_check(g.fd, g.parent, IOVA, mem.rw, 4 * PAGE), 0);
	/* It stays in its pages, whatever the device is attached to. */
	WANT(mock_replace(g.fd, g.device, g.parent), 0);
	WANT(mock_replace(g.fd, g.device, g.ioas), 0);
	WANT_WHY(g.fd, unmap(g.fd, g.ioas, IOVA, 4 * PAGE), -EBUSY, "unmap-hw-queue");
	/* A second queue in the same page: the page can be unmapped when both are destroyed. */
	WANT(hw_queue(&g, g.viommu, 1, IOVA + 2 * PAGE, 16, &part), 0);
	WANT(destroy(g.fd, part), 0);
	WANT_WHY(g.fd, unmap(g.fd, g.ioas, IOVA, 4 * PAGE), -EBUSY, "unmap-hw-queue");
	WANT(destroy(g.fd, id), 0);
	WANT(unmap(g.fd, g.ioas, IOVA, 4 * PAGE), 4 * PAGE);
	unmap_all(g.fd, g.ioas);
	close_guest(&g);
	WANT(pinned(), idle);
}

/*
 * A part of a queue's area cannot be unmapped. No page table restricts the IOAS to whole pages
 * here; the queue does.
 */
static void area_is_cut(struct fixture *none)
{
	struct guest g;
	uint32_t id;

	if (!open_guest(&g))
		return;
	WANT(map(g.fd, g.ioas, mem.rw, 4 * PAGE, IOVA), 0);
	WANT_WHY(g.fd, unmap(g.fd, g.ioas, IOVA, PAGE), -ENOENT, "unmap-part");
	WANT(hw_queue(&g, g.viommu, 0, IOVA + PAGE, PAGE, &id), 0);
	WANT_WHY(g.fd, unmap(g.fd, g.ioas, IOVA, PAGE), -EBUSY, "unmap-hw-queue");
	WANT_WHY(g.fd, unmap(g.fd, g.ioas, IOVA + PAGE, PAGE), -EBUSY, "unmap-hw-queue");
	WANT_WHY(g.fd, unmap(g.fd, g.ioas, IOVA + 3 * PAGE, 8 * PAGE), -EBUSY, "unmap-hw-queue");
	WANT(destroy(g.fd, id), 0);
	WANT_WHY(g.fd, unmap(g.fd, g.ioas, IOVA, PAGE), -ENOENT, "unmap-part");
	WANT(unmap(g.fd, g.ioas, IOVA, 4 * PAGE), 4 * PAGE);
	close_guest(&g);
}

static long long alignment(struct guest *g)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	uint32_t nr = MAX_RANGES;
	uint64_t bytes;
	int r = iova_ranges(g->fd, g->ioas, ranges, &nr, &bytes);

	return r ? r : (long long)bytes;
}

/* An IOAS with a HW queue maps whole pages only. */
static void whole_pages(struct fixture *none)
{
	uint32_t id, other;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(alignment(&g), PAGE / 2);
	WANT(map(g.fd, g.ioas, mem.rw, 2 * PAGE, IOVA), 0);
	WANT(map(g.fd, g.ioas, mem.rw + 2 * PAGE, PAGE / 2, IOVA + 2 * PAGE), 0);
	WANT_WHY(g.fd, hw_queue(&g, g.viommu, 0, IOVA, PAGE, &id), -EADDRINUSE, "ioas-unaligned");
	WANT(unmap(g.fd, g.ioas, IOVA + 2 * PAGE, PAGE / 2), PAGE / 2);
	WANT(hw_queue(&g, g.viommu, 0, IOVA, PAGE, &id), 0);
	WANT(alignment(&g), PAGE);
	WANT_WHY(g.fd, map(g.fd, g.ioas, mem.rw + 2 * PAGE, PAGE / 2, IOVA + 2 * PAGE), -EINVAL,
		 "map-length");
	WANT(hw_queue(&g, g.viommu, 1, IOVA + PAGE, PAGE, &other), 0);
	WANT(destroy(g.fd, other), 0);
	WANT(alignment(&g), PAGE);
	WANT_WHY(g.fd, hw_queue(&g, g.viommu, 1, IOVA + 8 * PAGE, PAGE, &other), -ENOENT, "access-gap");
	WANT(destroy(g.fd, id), 0);
	WANT(alignment(&g), PAGE / 2);
	/* The user address is in the middle of a page. */
	WANT(map(g.fd, g.ioas, mem.rw + PAGE / 2, 2 * PAGE, IOVA + 4 * PAGE), 0);
	WANT_WHY(g.fd, hw_queue(&g, g.viommu, 0, IOVA + 4 * PAGE, PAGE, &id), -EADDRINUSE, "ioas-unaligned");
	WANT(unmap_all(g.fd, g.ioas), 4 * PAGE);
	close_guest(&g);
}

/* The user memory may be read-only. */
static void readable(struct fixture *none)
{
	uint64_t iova = IOVA;
	struct guest g;
	uint32_t id;

	if (!open_guest(&g))
		return;
	WANT(map_as(g.fd, g.ioas, READ | FIXED, mem.ro, PAGE, &iova), 0);
	WANT(hw_queue(&g, g.viommu, 0, IOVA, PAGE, &id), 0);
	WANT_WHY(g.fd, unmap(g.fd, g.ioas, IOVA, PAGE), -EBUSY, "unmap-hw-queue");
	WANT(destroy(g.fd, id), 0);
	WANT(unmap(g.fd, g.ioas, IOVA, PAGE), PAGE);
	close_guest(&g);
}

/* What can be destroyed in which order. */
static void order(struct fixture *none)
{
	uint32_t one, two, other, its;
	struct guest g;

	if (!open_mapped(&g))
		return;
	WANT(hw_queue(&g, g.viommu, 0, IOVA, PAGE, &one), 0);
	WANT_WHY(g.fd, destroy(g.fd, g.viommu), -EBUSY, "object-in-use");
	WANT_WHY(g.fd, destroy(g.fd, g.parent), -EBUSY, "object-in-use");
	WANT_WHY(g.fd, destroy(g.fd, g.ioas), -EBUSY, "object-in-use");
	WANT(hw_queue(&g, g.viommu, 1, IOVA + PAGE, PAGE / 2, &two), 0);
	WANT_WHY(g.fd, hw_queue(&g, g.viommu, 1, IOVA + PAGE, PAGE, &its), -EEXIST, "hw-queue-driver");
	WANT_WHY(g.fd, destroy(g.fd, one), -EBUSY, "object-in-use");
	/* Each vIOMMU has its own indexes. */
	WANT(viommu(&g, g.parent, &other), 0);
	WANT_WHY(g.fd, hw_queue(&g, other, 1, IOVA, PAGE, &its), -EIO, "hw-queue-driver");
	WANT(hw_queue(&g, other, 0, IOVA, PAGE, &its), 0);
	WANT_WHY(g.fd, destroy(g.fd, other), -EBUSY, "object-in-use");
	WANT(destroy(g.fd, its), 0);
	WANT(destroy(g.fd, other), 0);
	WANT(destroy(g.fd, two), 0);
	WANT_WHY(g.fd, destroy(g.fd, two), -ENOENT, "object-none");
	WANT(destroy(g.fd, one), 0);
	WANT(hw_queue(&g, g.viommu, 0, IOVA, PAGE, &one), 0);
	/* A queue that could not be made does not depend on the one before it. */
	WANT_WHY(g.fd, hw_queue(&g, g.viommu, 1, IOVA - PAGE, PAGE, &two), -ENOENT, "access-gap");
	WANT(destroy(g.fd, one), 0);
	WANT(destroy(g.fd, g.viommu), 0);
	WANT_WHY(g.fd, hw_queue(&g, g.viommu, 0, IOVA, PAGE, &one), -ENOENT, "object-none");
	WANT(viommu(&g, g.parent, &g.viommu), 0);
	close_mapped(&g);
}

/*
 * Destroying a queue frees its index and no other. The C mock does not store the index of a queue,
 * and frees the first one.
 */
static void index_again(struct fixture *none)
{
	uint32_t one, two, id;
	struct guest g;

	if (!open_mapped(&g))
		return;
	WANT(hw_queue(&g, g.viommu, 0, IOVA, PAGE, &one), 0);
	WANT(hw_queue(&g, g.viommu, 1, IOVA + PAGE, PAGE, &two), 0);
	WANT(destroy(g.fd, two), 0);
	if (on_c_module()) {
		note("finding L: the second index is not free any more, and the first one is");
		WANT_WHY(g.fd, hw_queue(&g, g.viommu, 1, IOVA, PAGE, &two), -EEXIST, "hw-queue-driver");
		WANT(destroy(g.fd, one), 0);
		close_mapped(&g);
		return;
	}
	WANT_WHY(g.fd, hw_queue(&g, g.viommu, 0, IOVA, PAGE, &id), -EEXIST, "hw-queue-driver");
	WANT(hw_queue(&g, g.viommu, 1, IOVA, PAGE, &two), 0);
	WANT_WHY(g.fd, destroy(g.fd, one), -EBUSY, "object-in-use");
	WANT(destroy(g.fd, two), 0);
	WANT(destroy(g.fd, one), 0);
	WANT_WHY(g.fd, hw_queue(&g, g.viommu, 1, IOVA, PAGE, &two), -EIO, "hw-queue-driver");
	WANT(hw_queue(&g, g.viommu, 0, IOVA, PAGE, &one), 0);
	WANT(hw_queue(&g, g.viommu, 1, IOVA, PAGE, &two), 0);
	WANT(destroy(g.fd, two), 0);
	WANT(destroy(g.fd, one), 0);
	close_mapped(&g);
}

/* Closing the file destroys all queues, whatever depends on what. */
static void closed(struct fixture *none)
{
	const long idle = pinned();
	uint32_t one, two;
	struct guest g;

	if (!open_mapped(&g))
		return;
	WANT(hw_queue(&g, g.viommu, 0, IOVA, PAGE, &one), 0);
	WANT(hw_queue(&g, g.viommu, 1, IOVA + PAGE, PAGE, &two), 0);
	close(g.fd);
	WANT(pinned(), idle);
}

static struct guest g;
static atomic_ulong done[4];
static time_t deadline;

/* Two threads make and destroy a queue each: the first one and the second one. */
static void *make_queues(void *arg)
{
	const unsigned int index = (uintptr_t)arg;

	while (time(NULL) < deadline && !has_failed()) {
		uint32_t id = 0;
		int r = hw_queue(&g, g.viommu, index, IOVA + index * PAGE, PAGE, &id);

		/* ENOENT: the memory is not mapped. EIO: the first queue does not exist. */
		ACCEPT(index, r, ENOENT, EIO, EEXIST);
		usleep(300);
		while (!r && destroy(g.fd, id) == -EBUSY && !has_failed())
			;
	}
	return NULL;
}

static void *map_unmap(void *none)
{
	while (time(NULL) < deadline && !has_failed()) {
		ACCEPT(2, unmap(g.fd, g.ioas, IOVA, PAGE), EBUSY, ENOENT);
		ACCEPT(2, map(g.fd, g.ioas, mem.rw, PAGE, IOVA), EEXIST);
	}
	return NULL;
}

/* Makes a vIOMMU with queues of its own in the same memory. */
static void *make_viommus(void *none)
{
	while (time(NULL) < deadline && !has_failed()) {
		uint32_t other = 0, id = 0;
		int r;

		ACCEPT(3, viommu(&g, g.parent, &other), 0);
		r = hw_queue(&g, other, 0, IOVA, PAGE, &id);
		ACCEPT(3, r, ENOENT);
		if (!r) {
			if (destroy(g.fd, other) != -EBUSY)
				fail("a vIOMMU with a queue can be destroyed");
			ACCEPT(3, destroy(g.fd, id), 0);
		}
		ACCEPT(3, destroy(g.fd, other), 0);
	}
	return NULL;
}

static void all_at_once(struct fixture *none)
{
	void *(*const work[])(void *) = { make_queues, make_queues, map_unmap, make_viommus };
	const long idle = pinned();

	if (!open_mapped(&g))
		return;
	run_all(work, ARRAY_SIZE(work), done, &deadline, SECONDS);
	CHECK(unmap_all(g.fd, g.ioas) > 0);
	close_guest(&g);
	WANT(pinned(), idle);
}

#define BOTH_SECONDS	4

static pthread_barrier_t edge;
static bool first_fails, over;
static atomic_bool first_done;
static int second_result;
/* Each round has its own vIOMMU, because the C mock does not free the second index, finding L. */
static uint32_t round_viommu, second_id;

/* Allocates the second queue as soon as the driver has the first one. */
static void *make_second(void *none)
{
	while (pthread_barrier_wait(&edge), !over) {
		do
			second_result = hw_queue(&g, round_viommu, 1, IOVA + PAGE, PAGE, &second_id);
		while (second_result == -EIO && !atomic_load(&first_done));
		pthread_barrier_wait(&edge);
	}
	return NULL;
}

static void make_both(unsigned int *both)
{
	struct iommu_hw_queue_alloc cmd = {
		.size = sizeof(cmd), .type = TYPE, .nesting_parent_iova = IOVA, .length = PAGE,
	};
	int r;

	WANT(viommu(&g, g.parent, &round_viommu), 0);
	cmd.viommu_id = round_viommu;
	atomic_store(&first_done, false);
	pthread_barrier_wait(&edge);
	r = call(g.fd, IOMMU_HW_QUEUE_ALLOC, first_fails ? read_only(&cmd, sizeof(cmd)) : &cmd);
	atomic_store(&first_done, true);
	pthread_barrier_wait(&edge);
	WANT(r, first_fails ? -EFAULT : 0);
	/* ENOENT: the first queue is being destroyed. */
	if (second_result != -EIO && !(first_fails && second_result == -ENOENT)) {
		WANT(second_result, 0);
		*both += 1;
		if (!first_fails)
			WANT_WHY(g.fd, destroy(g.fd, cmd.out_hw_queue_id), -EBUSY, "object-in-use");
		WANT(destroy(g.fd, second_id), 0);
	}
	if (!first_fails)
		WANT(destroy(g.fd, cmd.out_hw_queue_id), 0);
	WANT(destroy(g.fd, round_viommu), 0);
}

/*
 * The driver knows the first queue before its object is published. A second thread allocates the second
 * queue at that time, which needs the first one. If the answer for the first queue cannot be written, the
 * queue is destroyed, or stays as long as the second one needs it.
 */
static void two_at_once(bool fails)
{
	unsigned int rounds, both = 0;
	pthread_t thread;

	if (!open_mapped(&g))
		return;
	first_fails = fails;
	over = false;
	CHECK(!pthread_barrier_init(&edge, NULL, 2));
	CHECK(!pthread_create(&thread, NULL, make_second, NULL));
	deadline = time(NULL) + BOTH_SECONDS;
	for (rounds = 0; time(NULL) < deadline && !has_failed(); rounds++)
		make_both(&both);
	over = true;
	pthread_barrier_wait(&edge);
	pthread_join(thread, NULL);
	note("%u rounds, in %u of them the second was made meanwhile", rounds, both);
	close_mapped(&g);
}

static void needed_at_once(struct fixture *none)
{
	two_at_once(false);
}

static void needed_and_fails(struct fixture *none)
{
	if (on_c_module())
		skip("finding R: the C module has a WARN and leaks the queue");
	else
		two_at_once(true);
}

static const struct test tests[] = {
	{ "a HW queue cannot be made, finding M", alloc_wrong, ALONE },
	{ "the memory of a HW queue stays", memory_stays, ALONE },
	{ "a part of a HW queue's area is unmapped", area_is_cut, ALONE },
	{ "a HW queue needs whole pages", whole_pages, ALONE },
	{ "a HW queue in memory that is only read", readable, ALONE },
	{ "HW queues depend on each other and their vIOMMU", order, ALONE },
	{ "the index of a HW queue is free again, finding L", index_again, ALONE },
	{ "closed with HW queues", closed, ALONE },
	{ "HW queues, their memory and vIOMMUs, at once", all_at_once, ALONE },
	{ "a HW queue is depended on before it is published", needed_at_once, ALONE },
	{ "a HW queue is needed and its answer cannot be written", needed_and_fails, ALONE },
};

const struct suite hw_queue_suite = {
	.name = "hw-queue", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
