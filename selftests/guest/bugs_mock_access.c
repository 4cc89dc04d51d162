// SPDX-License-Identifier: GPL-2.0-only
/*
 * What stays of an access's pins if it pins and unpins single pages, and accesses to the memory of
 * another process.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bugs_mock.h"
#include "child.h"
#include "late.h"

#define LARGE		(32UL << 20)	/* bytes, in huge pages */
#define NR_LARGE	(LARGE / PAGE)
#define PINS		MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES
#define MOVED		64UL		/* pages */

static char *large_memory(void)
{
	char *p = mmap(NULL, LARGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/*
 * Pins each page of the memory alone. Stores the ids if there is an array for them, otherwise
 * unpins each page at once.
 */
static int pin_each(struct mock *m, int access, uint32_t *ids)
{
	unsigned long i;
	uint32_t id;
	int r = 0;

	for (i = 0; i < NR_LARGE && !r; i++) {
		/* Adjacent pages do not follow one another. */
		unsigned long page = i * 1021 % NR_LARGE;

		r = access_pin(m->fd, access, MOCK_IOVA + page * PAGE, PAGE, NULL, &id);
		if (ids)
			ids[i] = id;
		else if (!r)
			r = access_unpin(m->fd, access, id);
	}
	return r;
}

static void pages_pinned_alone(struct fixture *none)
{
	static uint32_t ids[NR_LARGE];
	char *p = large_memory();
	unsigned long i;
	struct mock m;
	int access;
	long best;

	CHECK(p && open_mock(&m));
	access = access_open(m.fd, m.ioas, PINS);
	CHECK(access >= 0);
	WANT(map(m.fd, m.ioas, p, LARGE, MOCK_IOVA), 0);
	best = tables_of_another(&m);
	CHECK(best > 0 && best < 64);
	WANT(pin_each(&m, access, NULL), 0);
	WANT(tables_of_another(&m), best);
	/* While each page is pinned alone too, and after they are unpinned. */
	WANT(pin_each(&m, access, ids), 0);
	WANT(tables_of_another(&m), best);
	for (i = 0; i < NR_LARGE; i++)
		WANT(access_unpin(m.fd, access, ids[i]), 0);
	WANT(tables_of_another(&m), best);
	WANT(mock_refs(m.fd, p, LARGE, 1), 0);
	WANT(unmap_all(m.fd, m.ioas), LARGE);
	WANT(mock_refs(m.fd, p, LARGE, 0), 0);
	close(access);
	close_mock(&m);
	munmap(p, LARGE);
}

/*
 * The pages are pinned one by one before there are page tables. These must be as small as
 * otherwise.
 */
static void page_tables_after_pins(struct fixture *none)
{
	static uint32_t ids[NR_LARGE];
	uint64_t iova = MOCK_IOVA;
	char *p = large_memory();
	unsigned long i;
	uint32_t hwpt;
	struct mock m;
	int access;
	long best;

	CHECK(p && open_mock(&m));
	WANT(map(m.fd, m.ioas, p, LARGE, MOCK_IOVA), 0);
	best = tables_of_another(&m);
	CHECK(best > 0 && best < 64);
	WANT(copy(m.fd, m.ioas, MOCK_IOVA, LARGE, FIXED | RW, m.other, &iova), 0);
	WANT(unmap_all(m.fd, m.ioas), LARGE);
	m.ioas = m.other;
	access = access_open(m.fd, m.ioas, PINS);
	CHECK(access >= 0);
	WANT(pin_each(&m, access, ids), 0);
	WANT(tables_of_another(&m), best);
	/* With a gap, and with every other page pinned. */
	for (i = 0; i < NR_LARGE; i += 2)
		WANT(access_unpin(m.fd, access, ids[i]), 0);
	WANT(tables_of_another(&m), best);
	WANT(hwpt_alloc(m.fd, m.dev_id, m.ioas, &hwpt), 0);
	WANT(mock_check(m.fd, hwpt, MOCK_IOVA, p, LARGE), 0);
	WANT(destroy(m.fd, hwpt), 0);
	WANT(unmap_all(m.fd, m.ioas), LARGE);
	WANT(mock_refs(m.fd, p, LARGE, 0), 0);
	close(access);
	close_mock(&m);
	munmap(p, LARGE);
}

/* For the child's part of a test: an access to memory of the parent. */
static struct {
	struct mock m;
	int access;
} own;

static void write_behind_hole(struct fixture *none)
{
	char data[4 * PAGE];

	memset(data, 0x77, sizeof(data));
	WANT_WHY(own.m.fd,
		 access_rw(own.m.fd, own.access, MOCK_IOVA + 3 * PAGE, data, 4 * PAGE,
			   MOCK_ACCESS_RW_WRITE),
		 -EFAULT, "access-memory");
	WANT(access_rw(own.m.fd, own.access, MOCK_IOVA + 3 * PAGE, data, 2 * PAGE,
		       MOCK_ACCESS_RW_WRITE), 0);
}

/* A write that fails has written no byte. */
static void write_fails(struct fixture *none)
{
	unsigned long i;

	CHECK(open_mock(&own.m));
	WANT(map(own.m.fd, own.m.other, mem.hole, 16 * PAGE, MOCK_IOVA), 0);
	own.access = access_open(own.m.fd, own.m.other, 0);
	CHECK(own.access >= 0);
	memset(mem.hole, 1, 5 * PAGE);
	CHECK(in_child(NULL, 0, write_behind_hole));
	CHECK(mem.hole[3 * PAGE] == 0x77 && mem.hole[5 * PAGE - 1] == 0x77);
	memset(mem.hole, 1, 5 * PAGE);
	{
		char data[4 * PAGE];

		memset(data, 0x77, sizeof(data));
		WANT_WHY(own.m.fd,
			 access_rw(own.m.fd, own.access, MOCK_IOVA + 3 * PAGE, data, 4 * PAGE,
				   MOCK_ACCESS_RW_WRITE | MOCK_ACCESS_RW_SLOW_PATH),
			 -EFAULT, "access-memory");
	}
	for (i = 0; i < 5 * PAGE; i++)
		CHECK(mem.hole[i] == 1);
	WANT(unmap_all(own.m.fd, own.m.other), 16 * PAGE);
	close(own.access);
	close_mock(&own.m);
}

static char *movable;

static void write_a_byte_to_each(struct fixture *none)
{
	unsigned long i;
	char byte = 9;

	for (i = 0; i < MOVED; i++) {
		WANT(access_rw(own.m.fd, own.access, MOCK_IOVA + i * PAGE, &byte, 1,
			       MOCK_ACCESS_RW_WRITE), 0);
		WANT(access_rw(own.m.fd, own.access, MOCK_IOVA + i * PAGE, &byte, 1, 0), 0);
	}
}

/*
 * Copying bytes pins a page for a short time only, without FOLL_LONGTERM, so the page is not
 * migrated.
 */
static void page_stays(struct fixture *none)
{
	unsigned long i, migrated = 0;
	uint64_t at[MOVED];

	CHECK(open_mock(&own.m));
	movable = mmap(NULL, MOVED * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(movable != MAP_FAILED);
	memset(movable, 1, MOVED * PAGE);
	for (i = 0; i < MOVED; i++)
		at[i] = phys_of(movable + i * PAGE);
	WANT(map(own.m.fd, own.m.other, movable, MOVED * PAGE, MOCK_IOVA), 0);
	own.access = access_open(own.m.fd, own.m.other, 0);
	CHECK(own.access >= 0);
	CHECK(in_child(NULL, 0, write_a_byte_to_each));
	for (i = 0; i < MOVED; i++) {
		CHECK(movable[i * PAGE] == 9);
		WANT(phys_of(movable + i * PAGE), at[i]);
	}
	/*
	 * Mapping with FOLL_LONGTERM migrates such pages: the test uses the right kind of memory.
	 */
	WANT(map(own.m.fd, own.m.ioas, movable, MOVED * PAGE, MOCK_IOVA), 0);
	for (i = 0; i < MOVED; i++)
		migrated += phys_of(movable + i * PAGE) != at[i];
	CHECK(migrated > 0);
	WANT(unmap_all(own.m.fd, own.m.other), MOVED * PAGE);
	WANT(unmap_all(own.m.fd, own.m.ioas), MOVED * PAGE);
	close(own.access);
	close_mock(&own.m);
	munmap(movable, MOVED * PAGE);
}

static void read_protected(struct fixture *none)
{
	char data[2 * PAGE];

	WANT(access_rw(own.m.fd, own.access, MOCK_IOVA, data, PAGE, 0), 0);
	CHECK(data[0] == 1 && data[PAGE - 1] == 1);
	/* The C module pins several pages for writing even if it reads them. */
	WANT_FINDING("N", access_rw(own.m.fd, own.access, MOCK_IOVA, data, 2 * PAGE, 0), 0, -EFAULT);
	WANT_WHY(own.m.fd,
		 access_rw(own.m.fd, own.access, MOCK_IOVA, data, PAGE, MOCK_ACCESS_RW_WRITE),
		 -EFAULT, "access-memory");
	WANT_WHY(own.m.fd,
		 access_rw(own.m.fd, own.access, MOCK_IOVA, data, 2 * PAGE, MOCK_ACCESS_RW_WRITE),
		 -EFAULT, "access-memory");
}

/*
 * Memory that is write-protected in its process and mapped for devices that may write: it can be
 * read.
 */
static void protected_memory(struct fixture *none)
{
	CHECK(open_mock(&own.m));
	WANT(map(own.m.fd, own.m.other, mem.ro, 2 * PAGE, MOCK_IOVA), 0);
	own.access = access_open(own.m.fd, own.m.other, 0);
	CHECK(own.access >= 0);
	CHECK(in_child(NULL, 0, read_protected));
	WANT(unmap_all(own.m.fd, own.m.other), 2 * PAGE);
	close(own.access);
	close_mock(&own.m);
}

/*
 * A file's memory that fallocate() has allocated, and nobody has used, reads as zeroes, and what is
 * written to it stays.
 */
static void fallocated_file(struct fixture *none)
{
	int file = memfd_create("fallocated", MFD_CLOEXEC);
	uint64_t iova = MOCK_IOVA;
	char data[PAGE], zeroes[PAGE] = "";
	char back = 0;

	CHECK(open_mock(&own.m));
	CHECK(file >= 0 && !fallocate(file, 0, 0, 2 * PAGE));
	WANT(map_file(own.m.fd, own.m.ioas, FIXED | RW, file, 0, 2 * PAGE, &iova), 0);
	own.access = access_open(own.m.fd, own.m.ioas, 0);
	CHECK(own.access >= 0);
	WANT(access_rw(own.m.fd, own.access, MOCK_IOVA + PAGE, data, PAGE, 0), 0);
	CHECK(on_c_module() || !memcmp(data, zeroes, PAGE));
	memset(data, 7, PAGE);
	WANT(access_rw(own.m.fd, own.access, MOCK_IOVA, data, PAGE, MOCK_ACCESS_RW_WRITE), 0);
	CHECK(pread(file, &back, 1, PAGE - 1) == 1);
	WANT_FINDING("AE", back, 7, 0);
	WANT(unmap_all(own.m.fd, own.m.ioas), 2 * PAGE);
	close(own.access);
	close(file);
	close_mock(&own.m);
}

/* An error of the range takes precedence over an error of permissions. */
static void errors_in_order(struct fixture *none)
{
	uint64_t iova = MOCK_IOVA;
	struct mock m;
	uint32_t id;
	int access;

	CHECK(open_mock(&m));
	WANT(map_as(m.fd, m.other, FIXED | READ, mem.rw, 2 * PAGE, &iova), 0);
	access = access_open(m.fd, m.other, PINS);
	CHECK(access >= 0);
	WANT_WHY(m.fd, access_pin(m.fd, access, MOCK_IOVA, PAGE, NULL, &id), -EPERM, "access-permission");
	WANT_WHY(m.fd, access_pin(m.fd, access, MOCK_IOVA + 1, PAGE, NULL, &id), -EINVAL, "access-part-page");
	WANT_WHY(m.fd, access_pin(m.fd, access, MOCK_IOVA + PAGE, 2 * PAGE, NULL, &id), -EPERM,
		 "access-permission");
	WANT_WHY(m.fd, access_pin(m.fd, access, MOCK_IOVA + 2 * PAGE, PAGE, NULL, &id), -ENOENT,
		 "access-gap");
	WANT(unmap_all(m.fd, m.other), 2 * PAGE);
	close(access);
	close_mock(&m);
}

/* More than fit in one allocation of 4 MiB, if each has 24 bytes. */
#define MANY_PINS	174763

/* A device may pin any number of ranges. */
static void many_pins(struct fixture *none)
{
	struct mock m;
	uint32_t id, i;
	int access;

	CHECK(open_mock(&m));
	WANT(map(m.fd, m.other, mem.rw, PAGE, MOCK_IOVA), 0);
	access = access_open(m.fd, m.other, PINS);
	CHECK(access >= 0);
	for (i = 0; i < MANY_PINS; i++)
		WANT(access_pin(m.fd, access, MOCK_IOVA, PAGE, NULL, &id), 0);
	WANT(access_unpin(m.fd, access, id), 0);
	WANT(access_unpin(m.fd, access, id), -ENOENT);
	/* The others are unpinned as the mapping goes. */
	WANT(unmap_all(m.fd, m.other), PAGE);
	close(access);
	close_mock(&m);
}

static atomic_bool unmapped;
static int bytes_unmapped;

/* Makes a device that has pinned a page. */
static bool open_with_pin(void *none)
{
	uint32_t id;

	if (!open_mock(&own.m))
		return false;
	own.access = access_open(own.m.fd, own.m.other, PINS);
	if (own.access >= 0 && !map(own.m.fd, own.m.other, mem.rw, PAGE, MOCK_IOVA) &&
	    !access_pin(own.m.fd, own.access, MOCK_IOVA, PAGE, NULL, &id))
		return true;
	fail("no device that has pinned a page");
	return false;
}

static void close_with_pin(void *none)
{
	close(own.access);
	close_mock(&own.m);
}

/* The device copies another page, and waits for it. */
static int copy_page(char *at)
{
	char data[PAGE];
	int r = map(own.m.fd, own.m.other, at, PAGE, MOCK_IOVA + HUGE);

	return r ? r : access_rw(own.m.fd, own.access, MOCK_IOVA + HUGE, data, PAGE,
				 MOCK_ACCESS_RW_SLOW_PATH);
}

static void *unmap_pinned(void *none)
{
	bytes_unmapped = unmap(own.m.fd, own.m.other, MOCK_IOVA, PAGE);
	atomic_store(&unmapped, true);
	return NULL;
}

static void unmap_during_copy(struct late *late, void *arg)
{
	bool *meanwhile = arg;
	pthread_t thread;

	atomic_store(&unmapped, false);
	CHECK(!pthread_create(&thread, NULL, unmap_pinned, NULL));
	*meanwhile = done_while_late(late, &unmapped);
	late->told = still_late(late);
	WANT(end_late(late), 0);
	pthread_join(thread, NULL);
	WANT(bytes_unmapped, PAGE);
}

/* Memory that a device has pinned is unmapped: it unpins it while another call of it waits for other memory. */
static void unpin_during_copy(struct fixture *none)
{
	bool meanwhile = false;

	if (test_late(&(struct late_test){
			.late = { .kind = LATE, .call = copy_page },
			.open = open_with_pin, .run = unmap_during_copy, .close = close_with_pin,
			.arg = &meanwhile }))
		WANT_FINDING("BA", meanwhile, 1, 0);
}

static const struct test tests[] = {
	{ "pages are pinned and unpinned one by one", pages_pinned_alone, ALONE },
	{ "page tables of memory that is pinned page by page", page_tables_after_pins, ALONE },
	{ "an access's write that fails has written nothing", write_fails, ALONE },
	{ "an access of another process's page does not move it", page_stays, ALONE },
	{ "an access reads memory that is write-protected, finding N", protected_memory, ALONE },
	{ "memory that was allocated by fallocate(), finding AE", fallocated_file, ALONE },
	{ "an access pins: which error comes first", errors_in_order, ALONE },
	{ "174,763 ranges are pinned by a device", many_pins, ALONE },
	{ "pages are unpinned while their device waits for others, finding BA", unpin_during_copy, ALONE },
};

const struct suite mock_access_suite = {
	.name = "reach",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
