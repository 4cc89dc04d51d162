// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOAS_COPY of very many mappings in one call. Other calls on the address space do not wait for it, it
 * becomes visible at one moment, and a fatal signal ends it. A device may come or leave meanwhile. No
 * test measures time.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "locks.h"

#define NR		(1UL << 16)	/* mappings of a page */
#define NR_FEW		(1UL << 11)
#define SRC_IOVA	LONG_IOVA
#define DST_IOVA	LONG_IOVA
#define LAST		(DST_IOVA + (NR - 1) * PAGE)
#define OTHER_IOVA	(LONG_IOVA - HUGE)
/* Maps and unmaps that are made meanwhile, at least: others can have the lock after each 32 of the mappings. */
#define NOT_WAITED	400
#define ATTEMPTS	10

static int iommu, device;
static uint32_t src, dst;
static long idle;		/* pages that are pinned without a copy */
static struct iommu_iova_range wide[MAX_RANGES];	/* the addresses of dst without a device */
static uint32_t nr_wide;

/* Makes `nr` mappings of a page in `src`, one behind the other, by copying twice as many each time. */
static bool begin(size_t nr)
{
	uint64_t iova;
	size_t n;

	iommu = open_iommu();
	if (iommu < 0 || ioas_alloc(iommu, &src) || ioas_alloc(iommu, &dst) ||
	    map(iommu, src, mem.rw, PAGE, SRC_IOVA))
		return false;
	for (n = 1; n < nr; n *= 2) {
		iova = SRC_IOVA + n * PAGE;
		if (copy(iommu, src, SRC_IOVA, n * PAGE, FIXED | RW, src, &iova))
			return false;
	}
	return true;
}

static void end(void)
{
	WANT(unmap_all(iommu, src) > 0, 1);
	close(iommu);
}

static void copy_all(struct fixture *none)
{
	uint64_t iova = DST_IOVA;

	WANT(copy(iommu, src, SRC_IOVA, NR * PAGE, FIXED | RW, dst, &iova), 0);
}

/* The addresses are taken, and not mapped yet. Half of a page is never unmapped. */
static bool is_copying(void)
{
	return unmap(iommu, dst, LAST, PAGE / 2) == -EBUSY;
}

/* Returns a process that is in the middle of the copy, or 0 if it has been too fast. */
static int start_copy(void)
{
	int pid = start_child(NULL, 0, copy_all);

	while (!is_copying())
		if (waitpid(pid, NULL, WNOHANG))
			return 0;
	return pid;
}

/*
 * Maps and unmaps a page beside a copy until that is seen to have ended, and raises `most` to how often it
 * did. Calls that wait for the copy are made once.
 */
static void map_meanwhile(unsigned long *most)
{
	unsigned long times = 0;
	int pid = start_copy();

	while (pid && is_copying()) {
		WANT(map(iommu, dst, mem.rw, PAGE, OTHER_IOVA), 0);
		WANT(unmap(iommu, dst, OTHER_IOVA, PAGE), PAGE);
		times++;
	}
	CHECK(!pid || child_done(pid));
	WANT(unmap_all(iommu, dst), NR * PAGE);
	if (times > *most)
		*most = times;
}

static void others_go_on(struct fixture *none)
{
	unsigned long most = 0;
	int i;

	CHECK(begin(NR));
	/* Again where this process was kept from running while the copy ran. */
	for (i = 0; i < ATTEMPTS && most < NOT_WAITED && !has_failed(); i++)
		map_meanwhile(&most);
	note("a page was mapped and unmapped %lu times meanwhile, at attempt %d", most, i);
	CHECK(on_c_module() || most >= NOT_WAITED);
	end();
}

/* If the first page is mapped, so is the last one. */
static void at_one_moment(struct fixture *none)
{
	uint64_t iova = OTHER_IOVA;
	int pid, first, last, i;
	uint32_t probes;

	CHECK(begin(NR));
	WANT(ioas_alloc(iommu, &probes), 0);
	for (i = 0; i < 3; i++) {
		pid = start_child(NULL, 0, copy_all);
		do {
			first = copy(iommu, dst, DST_IOVA, PAGE, FIXED | RW, probes, &iova);
			if (first)
				WANT(first, -ENOENT);
			else
				WANT(unmap(iommu, probes, OTHER_IOVA, PAGE), PAGE);
			last = copy(iommu, dst, LAST, PAGE, FIXED | RW, probes, &iova);
			if (!first)
				WANT(last, 0);
			if (!last)
				WANT(unmap(iommu, probes, OTHER_IOVA, PAGE), PAGE);
		} while (first && !has_failed());
		CHECK(child_done(pid));
		WANT(unmap_all(iommu, dst), NR * PAGE);
	}
	end();
}

static void killed_copy(struct fixture *none)
{
	bool killed = false;
	long long left;
	int i, pid;

	CHECK(begin(NR));
	for (i = 0; i < 10 && !killed; i++) {
		pid = start_copy();
		if (pid) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
		left = unmap_all(iommu, dst);
		/* All or nothing. */
		killed = left == 0;
		if (left)
			WANT(left, NR * PAGE);
	}
	WANT_FINDING("20", killed, 1, 0);
	end();
}

static atomic_bool *stop;

static void unmap_and_map(struct fixture *none)
{
	const uint64_t middle = SRC_IOVA + NR_FEW / 2 * PAGE;

	while (!atomic_load(stop) && !has_failed()) {
		WANT(unmap(iommu, src, middle, PAGE), PAGE);
		WANT(map(iommu, src, mem.rw, PAGE, middle), 0);
	}
}

/* A mapping of the source is unmapped and mapped again meanwhile: all is copied, or nothing. */
static void source_changes(struct fixture *none)
{
	unsigned long whole = 0;
	uint64_t iova = DST_IOVA;
	int pid, i, r;

	CHECK(begin(NR_FEW));
	stop = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(stop != MAP_FAILED);
	pid = start_child(NULL, 0, unmap_and_map);
	for (i = 0; i < 300 && !has_failed(); i++) {
		r = copy(iommu, src, SRC_IOVA, NR_FEW * PAGE, FIXED | RW, dst, &iova);
		if (r)
			WANT(r, -ENOENT);
		WANT(unmap_all(iommu, dst), r ? 0 : NR_FEW * PAGE);
		whole += !r;
	}
	atomic_store(stop, true);
	CHECK(child_done(pid));
	note("%lu of %d copies met no gap", whole, i);
	munmap(stop, PAGE);
	end();
}

/* As begin(NR), with a device that is bound. */
static bool begin_with_device(void)
{
	uint32_t dev_id;

	device = open(device_path, O_RDWR | O_CLOEXEC);
	nr_wide = MAX_RANGES;
	if (!begin(NR) || device < 0 || bind_device(device, iommu, &dev_id) ||
	    iova_ranges(iommu, dst, wide, &nr_wide, NULL))
		return false;
	idle = pinned();
	return true;
}

static void end_with_device(void)
{
	end();
	close(device);
}

/* Whether a device may use all of the addresses that it could use without any. */
static bool is_wide(void)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	uint32_t nr = MAX_RANGES;

	return !iova_ranges(iommu, dst, ranges, &nr, NULL) && nr == nr_wide &&
	       !memcmp(ranges, wide, nr * sizeof(ranges[0]));
}

/* Whether page tables have been added to dst, or are being: they do not reach the last address. */
static bool has_page_tables(void)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	uint32_t nr = MAX_RANGES;

	return !iova_ranges(iommu, dst, ranges, &nr, NULL) && nr &&
	       ranges[nr - 1].last < wide[nr_wide - 1].last;
}

/* A device comes or leaves during a copy. */
struct meeting {
	bool killed;		/* the copy is killed after that */
	bool late;		/* some of the copy is in the page tables before that */
	bool amid;		/* the result: it was in the middle of the copy, which ended as was wanted */
};

static void end_copy(struct meeting *m, int pid)
{
	int status = 0;

	m->amid = pid && is_copying();
	if (!pid)
		return;
	if (m->killed)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (!m->killed)
		CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* All has been copied, or nothing if the copy was killed. */
static void unmap_copy(struct meeting *m)
{
	long long left = unmap_all(iommu, dst);

	if (left || !m->killed)
		WANT(left, NR * PAGE);
	WANT(pinned(), idle);
	m->amid &= m->killed == !left;
}

/* The page tables stay in what is being copied, until the copy has ended. Nothing is left of them then. */
static void leaves_meanwhile(struct meeting *m)
{
	int pid;

	WANT(attach(device, dst, NULL), 0);
	CHECK(has_page_tables());
	pid = start_copy();
	while (m->late && is_copying() && pinned() == idle)
		;
	WANT(detach(device), 0);
	end_copy(m, pid);
	CHECK(is_wide());
	unmap_copy(m);
}

static void attach_dst(struct fixture *none)
{
	WANT(attach(device, dst, NULL), 0);
}

/* The page tables wait for what is being copied. */
static void joins_meanwhile(struct meeting *m)
{
	int pid = start_copy(), other = start_child(NULL, 0, attach_dst);

	while (is_copying() && !has_page_tables())
		;
	end_copy(m, pid);
	CHECK(child_done(other));
	/* All of the mappings are of one page. */
	if (!m->killed)
		WANT(pinned(), idle + 1);
	unmap_copy(m);
	WANT(detach(device), 0);
	CHECK(is_wide());
}

/* Tries until it was in the middle. With the C module the device waits for the copy. */
static void repeat(void (*meet)(struct meeting *m), bool killed, bool late)
{
	struct meeting m = { .killed = killed, .late = late };
	int i;

	CHECK(begin_with_device());
	for (i = 0; i < (on_c_module() ? 1 : ATTEMPTS) && !m.amid && !has_failed(); i++)
		meet(&m);
	note("%d attempts", i);
	CHECK(m.amid || on_c_module());
	end_with_device();
}

static void device_leaves(struct fixture *none)
{
	repeat(leaves_meanwhile, false, false);
	repeat(leaves_meanwhile, false, true);
}

static void device_leaves_killed_copy(struct fixture *none)
{
	repeat(leaves_meanwhile, true, false);
	repeat(leaves_meanwhile, true, true);
}

static void device_joins(struct fixture *none)
{
	repeat(joins_meanwhile, false, false);
}

static void device_joins_killed_copy(struct fixture *none)
{
	repeat(joins_meanwhile, true, false);
}

static const struct test tests[] = {
	{ "others map and unmap during a copy of 65,536 mappings", others_go_on, ALONE },
	{ "65,536 mappings are copied at one moment", at_one_moment, ALONE },
	{ "a copy of 65,536 mappings is killed", killed_copy, ALONE },
	{ "a mapping is unmapped and mapped again during copies", source_changes, ALONE },
	{ "a device leaves during a copy of 65,536 mappings", device_leaves, ALONE },
	{ "a device leaves during a copy that is killed", device_leaves_killed_copy, ALONE },
	{ "a device joins during a copy of 65,536 mappings", device_joins, ALONE },
	{ "a device joins during a copy that is killed", device_joins_killed_copy, ALONE },
};

const struct suite copy_suite = {
	.name = "copy",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
