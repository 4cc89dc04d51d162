// SPDX-License-Identifier: GPL-2.0-only
/* Dirty bitmaps: arithmetic, bounds in memory, and large pages at the ends of the range. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bugs_mock.h"
#include "child.h"
#include "late.h"

#define NR	200UL		/* pages, mapped one by one: each has a bit of its own */
#define GUARD	0xa5

struct tracked {
	struct mock m;
	uint32_t hwpt;
	char *va;
	size_t size;
};

static int track_huge(struct tracked *t, uint32_t type)
{
	struct iommu_hwpt_selftest data = { .pagetable_type = type };
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		.dev_id = t->m.dev_id, .pt_id = t->m.other,
		.data_type = IOMMU_HWPT_DATA_SELFTEST, .data_len = sizeof(data),
		.data_uptr = PTR(&data),
	};
	struct iommu_hwpt_set_dirty_tracking on = {
		.size = sizeof(on), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};
	int r = call(t->m.fd, IOMMU_HWPT_ALLOC, &alloc);

	t->hwpt = alloc.out_hwpt_id;
	on.hwpt_id = alloc.out_hwpt_id;
	return r ? r : call(t->m.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &on);
}

static int set_dirty(struct tracked *t, uint64_t iova, uint64_t length, uint64_t page, void *bits)
{
	return mock_set_dirty(t->m.fd, t->hwpt, iova, length, page, bits);
}

static int get_dirty(struct tracked *t, uint64_t iova, uint64_t length, uint64_t page, void *bits,
		     uint32_t flags)
{
	return get_dirty_bitmap(t->m.fd, t->hwpt, iova, length, page, bits, flags);
}

static bool bit(const unsigned char *bits, size_t i)
{
	return bits[i / 8] >> i % 8 & 1;
}

static void set_bit(unsigned char *bits, size_t i)
{
	bits[i / 8] |= 1 << i % 8;
}

static bool open_tracked(struct tracked *t)
{
	size_t i;

	memset(t, 0, sizeof(*t));
	t->size = NR * PAGE;
	t->va = mmap(NULL, t->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->va == MAP_FAILED || !open_mock(&t->m) || track_huge(t, MOCK_IOMMUPT_DEFAULT))
		return false;
	for (i = 0; i < NR; i++)
		if (map(t->m.fd, t->m.other, t->va + i * PAGE, PAGE, MOCK_IOVA + i * PAGE))
			return false;
	return true;
}

static void close_tracked(struct tracked *t)
{
	WANT(unmap_all(t->m.fd, t->m.other), t->size);
	WANT(destroy(t->m.fd, t->hwpt), 0);
	close_mock(&t->m);
	munmap(t->va, t->size);
}

/*
 * Reads the bitmap of a part of the range to `at`: the bits are right, and no byte around them
 * changes.
 */
static void check_part(struct tracked *t, const unsigned char *dirty, size_t first, size_t nr,
		       unsigned char *area, size_t at, size_t page)
{
	size_t per = page / PAGE, nr_bits = nr / per, bytes = (nr_bits + 7) / 8, i, j;

	memset(area, GUARD, 4 * PAGE);
	memset(area + at, 0, bytes);
	WANT(get_dirty(t, MOCK_IOVA + first * PAGE, nr * PAGE, page, area + at,
		       IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR), 0);
	for (i = 0; i < bytes * 8; i++) {
		bool want = false;

		for (j = 0; j < per && i < nr_bits; j++)
			want |= bit(dirty, first + i * per + j);
		if (bit(area + at, i) != want) {
			fail("bit %zu of %zu at offset %zu, from page %zu: got %d", i, nr_bits, at,
			     first, !want);
			return;
		}
	}
	for (i = 0; i < 4 * PAGE; i++)
		if ((i < at || i >= at + bytes) && area[i] != GUARD) {
			fail("byte %zd of a bitmap of %zu was written", (ssize_t)(i - at), bytes);
			return;
		}
}

static void any_place(struct fixture *none)
{
	static const size_t places[] = { 0, 1, 3, 7, 8, 4080, 4087, 4088, 4090, 4095, 4096, 4097 };
	static const struct {
		size_t first, nr, page;
	} parts[] = {
		{ 0, NR, PAGE }, { 0, 1, PAGE }, { 1, 1, PAGE }, { 7, 9, PAGE }, { 63, 66, PAGE },
		{ NR - 1, 1, PAGE }, { 0, 192, 16 * PAGE }, { 16, 16, 16 * PAGE },
		{ 0, 128, 128 * PAGE }, { 64, 64, 64 * PAGE },
	};
	unsigned char dirty[NR / 8 + 1] = {}, *area = aligned_alloc(PAGE, 4 * PAGE);
	struct tracked t;
	size_t i, p;

	CHECK(area && open_tracked(&t));
	for (i = 0; i < NR; i++)
		if (i % 3 == 0 || i % 31 == 7 || i == NR - 1)
			set_bit(dirty, i);
	WANT(set_dirty(&t, MOCK_IOVA, NR * PAGE, PAGE, dirty), 0);
	for (p = 0; p < ARRAY_SIZE(parts); p++)
		for (i = 0; i < ARRAY_SIZE(places) && !has_failed(); i++)
			check_part(&t, dirty, parts[p].first, parts[p].nr, area, places[i],
				   parts[p].page);
	/* Reading clears the dirty bits of the range, and no others. */
	memset(area, 0, PAGE);
	WANT(get_dirty(&t, MOCK_IOVA, 8 * PAGE, PAGE, area, 0), 0);
	WANT(area[0], dirty[0]);
	dirty[0] = 0;
	check_part(&t, dirty, 0, NR, area, 5, PAGE);
	close_tracked(&t);
	free(area);
}

/* Any page size and range: no division by zero and no endless loop. */
static void any_page_size(struct fixture *none)
{
	unsigned char *bits = aligned_alloc(PAGE, 16 * PAGE);
	uint64_t page, length;
	struct tracked t;
	unsigned int s, l;
	int r;

	CHECK(bits && open_tracked(&t));
	for (s = 0; s < 64; s++) {
		page = 1ULL << s;
		for (l = 9; l < 64; l++) {
			length = 1ULL << l;
			/* The walk ends at the first address, since nothing is mapped there. */
			r = get_dirty(&t, 0, length, page, bits, 0);
			CHECK(r == 0 || r == -EINVAL);
			r = get_dirty(&t, -length, length, page, bits, 0);
			CHECK(r == 0 || r == -EINVAL);
		}
		r = get_dirty(&t, MOCK_IOVA, NR * PAGE, page, bits, 0);
		/* A bit for each byte makes a large bitmap, which is not an error. */
		CHECK(s < 3 || r == (NR * PAGE % page ? -EINVAL : 0));
	}
	WANT(get_dirty(&t, MOCK_IOVA, NR * PAGE, 0, bits, 0), -EINVAL);
	WANT(get_dirty(&t, MOCK_IOVA, 0, PAGE, bits, 0), -EINVAL);
	WANT(get_dirty(&t, MOCK_IOVA, TOP, PAGE, bits, 0), -EOVERFLOW);
	WANT(get_dirty(&t, -PAGE, 2 * PAGE, PAGE, bits, 0), -EOVERFLOW);
	close_tracked(&t);
	free(bits);
}

static void check_huge(struct tracked *t, uint64_t first, uint64_t length, unsigned char *bits)
{
	const size_t step = MOCK_HUGE_PAGE_SIZE;
	unsigned char dirty[4] = {};
	size_t i, wrong = 0, behind = 0;

	for (i = 0; i < t->size / step; i++)
		if (i == 0 || i == 3 || i >= 15)
			set_bit(dirty, i);
	WANT(set_dirty(t, MOCK_IOVA, t->size, step, dirty), 0);
	memset(bits, 0, t->size / 8 + PAGE);
	WANT(get_dirty(t, MOCK_IOVA + first, length, 1, bits, 0), 0);
	/* A byte of the bitmap stands for 8 bytes of memory, which are in one page. */
	for (i = 0; i < length / 8; i++)
		wrong += bits[i] != (bit(dirty, (first + i * 8) / step) ? 0xff : 0);
	for (i = length / 8; i < t->size / 8 + PAGE; i++)
		behind += bits[i] != 0;
	/*
	 * Findings about the kernel's iova_bitmap.c, which both modules use. A dirty page that
	 * begins before the range is cleared but not reported; one that ends behind the range is
	 * reported behind the end of the bitmap.
	 */
	if (first && wrong == (step - first) / 8)
		note("finding G: %zu bytes of the bitmap are missing", wrong);
	else
		WANT(wrong, 0);
	if ((first + length) % step && behind)
		note("finding H: %zu bytes are written behind the bitmap", behind);
	else
		WANT(behind, 0);
}

/*
 * A walk pins 2 MiB of the bitmap. With a bit for each page this stands for 64 GiB; with a bit for
 * each byte it stands for 16 MiB, and it ends in the middle of a large page if the range does not
 * begin at one.
 */
static void large_page_spans_the_walk(struct fixture *none)
{
	struct tracked t = { .size = 20 * MOCK_HUGE_PAGE_SIZE };
	unsigned char *bits = malloc(t.size / 8 + PAGE);

	t.va = mmap(NULL, t.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB,
		    -1, 0);
	CHECK(bits && t.va != MAP_FAILED && open_mock(&t.m));
	WANT(track_huge(&t, MOCK_IOMMUPT_HUGE), 0);
	WANT(map(t.m.fd, t.m.other, t.va, t.size, MOCK_IOVA), 0);
	check_huge(&t, 0, t.size, bits);
	check_huge(&t, 0, t.size - 32 * PAGE, bits);
	check_huge(&t, 16 * PAGE, t.size - 32 * PAGE, bits);
	close_tracked(&t);
	free(bits);
}

/* In one HWPT, one behind the other: a page of memory, a dma-buf, and pages of memory. */
#define NR_BUF		16UL
#define BEHIND		(1 + NR_BUF)	/* the first page behind the dma-buf */
#define NR_READ		32UL
#define LAST_PAGE	(NR_READ - 1)

/* Maps them. Returns the dma-buf, or a negative error. */
static int open_around_dmabuf(struct tracked *t)
{
	uint64_t iova = MOCK_IOVA + PAGE;
	int dmabuf, r;
	size_t i;

	memset(t, 0, sizeof(*t));
	t->size = NR_READ * PAGE;
	t->va = mmap(NULL, t->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->va == MAP_FAILED || !open_mock(&t->m))
		return -ENOMEM;
	r = track_huge(t, MOCK_IOMMUPT_DEFAULT);
	if (r)
		return r;
	dmabuf = get_dmabuf(t->m.fd, NR_BUF * PAGE);
	if (dmabuf < 0)
		return dmabuf;
	r = map_file(t->m.fd, t->m.other, FIXED | RW, dmabuf, 0, NR_BUF * PAGE, &iova);
	/* Mapped one by one, each has a bit of its own. */
	for (i = 0; !r && i < NR_READ; i = i ? i + 1 : BEHIND)
		r = map(t->m.fd, t->m.other, t->va + i * PAGE, PAGE, MOCK_IOVA + i * PAGE);
	if (r)
		close(dmabuf);
	return r ? r : dmabuf;
}

/* The pages of a dma-buf are written to by a device as those of memory are. */
static void dirty_dmabuf(struct fixture *none)
{
	unsigned char dirty[NR_READ / 8], bits[NR_READ / 8];
	struct tracked t;
	int dmabuf, clear;
	size_t i;

	dmabuf = open_around_dmabuf(&t);
	CHECK(dmabuf >= 0);
	memset(dirty, 0xff, sizeof(dirty));
	WANT(set_dirty(&t, MOCK_IOVA, t.size, PAGE, dirty), 0);
	for (clear = 0; clear < 2; clear++) {
		memset(bits, 0, sizeof(bits));
		WANT(get_dirty(&t, MOCK_IOVA, t.size, PAGE, bits,
			       clear ? 0 : IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR), 0);
		/* The C module has the driver read tables that revoking the dma-buf frees. */
		for (i = 0; i < NR_READ; i++)
			CHECK(bit(bits, i) == (i == 0 || i >= BEHIND || on_c_module()));
	}
	memset(bits, 0, sizeof(bits));
	WANT(get_dirty(&t, MOCK_IOVA, t.size, PAGE, bits, 0), 0);
	for (i = 0; i < sizeof(bits); i++)
		WANT(bits[i], 0);
	close(dmabuf);
	close_tracked(&t);
}

static struct tracked read_late;

/* Runs in a process of its own. Returns EBADMSG if other pages are reported than were written to. */
static int read_to_late_memory(char *at)
{
	const unsigned char *bits = (unsigned char *)at;
	int r = get_dirty(&read_late, MOCK_IOVA, NR_READ * PAGE, PAGE, at, 0);
	size_t i;

	for (i = 0; !r && i < NR_READ; i++)
		if (bit(bits, i) != (i == 0 || i == LAST_PAGE))
			r = -EBADMSG;
	return r;
}

/* As a device that writes to the first page, and to the last one that is read. */
static void write_to_pages(char *at)
{
	unsigned char dirty[NR_READ / 8] = {};

	set_bit(dirty, 0);
	set_bit(dirty, LAST_PAGE);
	WANT(set_dirty(&read_late, MOCK_IOVA, NR_READ * PAGE, PAGE, dirty), 0);
}

static int late_dmabuf;

static bool open_late_dmabuf(void *none)
{
	late_dmabuf = open_around_dmabuf(&read_late);
	if (late_dmabuf < 0)
		fail("no dma-buf: %s", errno_name(late_dmabuf));
	return late_dmabuf >= 0;
}

static void revoke_and_read(struct late *late, void *none)
{
	struct tracked *t = &read_late;
	unsigned char bits[NR_READ / 8] = {};

	WANT(revoke_dmabuf(t->m.fd, late_dmabuf, true), 0);
	late->told = still_late(late);
	WANT(end_late(late), 0);

	/* The first reading has made all pages clean. */
	WANT(get_dirty(t, MOCK_IOVA, t->size, PAGE, bits, 0), 0);
	CHECK(!bits[0] && !bits[LAST_PAGE / 8]);
}

static void close_late_dmabuf(void *none)
{
	close(late_dmabuf);
	close_tracked(&read_late);
}

/*
 * A dma-buf is revoked while the dirty pages of its HWPT are read: the reader waits for the bitmap's
 * memory, in the page before the dma-buf. The rest of the range is read when the tables have no
 * entries for the dma-buf any more. If revoking waits for the reader, the memory is never late then.
 */
static void revoked_while_read(struct fixture *none)
{
	test_late(&(struct late_test){
		.late = { .kind = LATE, .prepare = write_to_pages, .call = read_to_late_memory },
		.open = open_late_dmabuf, .run = revoke_and_read, .close = close_late_dmabuf });
}

static bool open_read_late(void *none)
{
	if (!open_tracked(&read_late))
		fail("no dirty tracking");
	return !has_failed();
}

static void close_read_late(void *none)
{
	close_tracked(&read_late);
}

static void kill_and_read(struct late *late, void *none)
{
	unsigned char bits[NR_READ / 8] = {};

	kill_late(late);
	if (!late->told)
		return;
	WANT(get_dirty(&read_late, MOCK_IOVA, NR_READ * PAGE, PAGE, bits, 0), 0);
	WANT_FINDING("20", bit(bits, LAST_PAGE), 1, 0);
}

/* A process is killed while it reads the first page. It does not come to the last one, which stays dirty. */
static void killed_read(struct fixture *none)
{
	test_late(&(struct late_test){
		.late = { .kind = LATE, .prepare = write_to_pages, .call = read_to_late_memory },
		.open = open_read_late, .run = kill_and_read, .close = close_read_late });
}

static uint32_t untracked;

static void unmap_first(struct fixture *none)
{
	WANT(unmap(read_late.m.fd, read_late.m.other, MOCK_IOVA, PAGE), PAGE);
}

static void begin_tracking(struct fixture *none)
{
	struct iommu_hwpt_set_dirty_tracking on = {
		.size = sizeof(on), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE, .hwpt_id = untracked,
	};

	call(read_late.m.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &on);
}

static bool open_untracked(void *none)
{
	struct iommu_hwpt_alloc alloc = { .size = sizeof(alloc), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING };
	struct tracked *t = &read_late;

	if (open_tracked(t)) {
		alloc.dev_id = t->m.dev_id;
		alloc.pt_id = t->m.other;
		if (!call(t->m.fd, IOMMU_HWPT_ALLOC, &alloc)) {
			untracked = alloc.out_hwpt_id;
			return true;
		}
	}
	fail("no page tables to track");
	return false;
}

static void kill_begin(struct late *late, void *arg)
{
	unsigned char dirty = 1;
	int unmapper, pid;
	bool *gone = arg;

	unmapper = start_waiting(late, unmap_first);
	if (unmapper <= 0)
		return;
	pid = start_waiting(late, begin_tracking);
	if (pid > 0) {
		kill(pid, SIGKILL);
		*gone = ends_while_late(late, pid);
		late->told = still_late(late);
		WANT(end_late(late), 0);
		if (!*gone)
			waitpid(pid, NULL, 0);
	}
	CHECK(child_done(unmapper));
	/* The mock has no device write to pages that are not tracked. */
	if (late->told)
		WANT_FINDING("20", mock_set_dirty(read_late.m.fd, untracked, MOCK_IOVA + PAGE, PAGE, PAGE, &dirty),
			     -EINVAL, 0);
}

static void close_untracked(void *none)
{
	struct tracked *t = &read_late;

	WANT(destroy(t->m.fd, untracked), 0);
	/* If nothing was unmapped, it is there. */
	map(t->m.fd, t->m.other, t->va, PAGE, MOCK_IOVA);
	close_tracked(t);
}

/*
 * A process is killed that is to make all pages clean and then begin to track them. It waits for the first
 * one, which is to be unmapped, and is read until then.
 */
static void killed_begin(struct fixture *none)
{
	bool gone = false;

	if (test_late(&(struct late_test){
			.late = { .kind = LATE, .prepare = write_to_pages, .call = read_to_late_memory },
			.open = open_untracked, .run = kill_begin, .close = close_untracked, .arg = &gone }))
		WANT_FINDING("20", gone, 1, 0);
}

/* Memory whose page tables are walked. The tables of each 2 MiB are freed when all of these are unmapped. */
#define WALKED		(4 * HUGE)
#define WALK_SECONDS	3

static atomic_bool walked_enough;

static void *write_all(void *arg)
{
	static unsigned char all[WALKED / PAGE / 8];
	struct tracked *t = arg;
	int r = 0;

	memset(all, 0xff, sizeof(all));
	while (!r && !atomic_load(&walked_enough))
		r = set_dirty(t, MOCK_IOVA, WALKED, PAGE, all);
	return (void *)(intptr_t)r;
}

static void *check_all(void *arg)
{
	struct tracked *t = arg;
	int r = 0;

	/* Not all of it may be mapped. */
	while ((!r || r == -EINVAL) && !atomic_load(&walked_enough))
		r = mock_check(t->m.fd, t->hwpt, MOCK_IOVA, t->va, WALKED);
	return (void *)(intptr_t)(r == -EINVAL ? 0 : r);
}

/*
 * The mock walks page tables to look up an address, and to set a dirty bit, while another thread unmaps what they map.
 * KASAN reports a walk through a freed table.
 */
static void walked_while_unmapped(struct fixture *none)
{
	struct tracked t = { .size = WALKED };
	time_t end = time(NULL) + WALK_SECONDS;
	pthread_t writer, checker;
	void *r;

	if (on_c_module()) {
		skip("the C module's mock may walk freed tables, finding BG");
		return;
	}
	t.va = mmap(NULL, t.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(t.va != MAP_FAILED && open_mock(&t.m));
	WANT(track_huge(&t, MOCK_IOMMUPT_DEFAULT), 0);
	WANT(map(t.m.fd, t.m.other, t.va, t.size, MOCK_IOVA), 0);
	atomic_store(&walked_enough, false);
	CHECK(!pthread_create(&writer, NULL, write_all, &t));
	CHECK(!pthread_create(&checker, NULL, check_all, &t));
	while (time(NULL) < end && !has_failed()) {
		WANT(unmap(t.m.fd, t.m.other, MOCK_IOVA, t.size), t.size);
		WANT(map(t.m.fd, t.m.other, t.va, t.size, MOCK_IOVA), 0);
	}
	atomic_store(&walked_enough, true);
	pthread_join(writer, &r);
	WANT((intptr_t)r, 0);
	pthread_join(checker, &r);
	WANT((intptr_t)r, 0);
	close_tracked(&t);
}

static const struct test tests[] = {
	{ "a bitmap at any offset", any_place, ALONE },
	{ "any page size and range", any_page_size, ALONE },
	{ "a large page at the end of the range, findings G and H", large_page_spans_the_walk, ALONE },
	{ "dirty pages of a dma-buf", dirty_dmabuf, ALONE },
	{ "a dma-buf is revoked while dirty pages are read", revoked_while_read, ALONE },
	{ "a process is killed while it reads dirty pages", killed_read, ALONE },
	{ "a process is killed before it tracks dirty pages", killed_begin, ALONE },
	{ "page tables are walked while they are freed, finding BG", walked_while_unmapped, ALONE },
};

const struct suite mock_dirty_suite = {
	.name = "dirty",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
