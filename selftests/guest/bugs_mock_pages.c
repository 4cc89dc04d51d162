// SPDX-License-Identifier: GPL-2.0-only
/* Memory that the kernel accesses through an IOAS: pinned, read, written and unmapped. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bugs_mock.h"

#define NR	16UL
#define PINS	MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES

/*
 * Checks that the pages first..first + nr - 1 are pinned `refs` times, and the others once less.
 */
static void check_refs(struct mock *m, unsigned long first, unsigned long nr, uint32_t refs)
{
	unsigned long i;

	for (i = 0; i < NR; i++) {
		uint32_t want = i >= first && i < first + nr ? refs : refs - 1;
		int r = mock_refs(m->fd, mem.rw + i * PAGE, PAGE, want);

		if (r)
			fail("page %lu is not pinned %u times: %s", i, want, errno_name(r));
	}
}

/*
 * What an access has pinned stays pinned while the domain, copies and adjacent pages are removed.
 */
static void access_outlives(struct mock *m, int access, unsigned long first, unsigned long nr)
{
	uint64_t to = 2 * MOCK_IOVA;
	uint32_t id = 0;

	WANT(map(m->fd, m->other, mem.rw, NR * PAGE, MOCK_IOVA), 0);
	WANT(copy(m->fd, m->other, MOCK_IOVA, NR * PAGE, FIXED | RW, m->ioas, &to), 0);
	check_refs(m, 0, NR, 1);
	WANT(access_pin(m->fd, access, MOCK_IOVA + first * PAGE, nr * PAGE,
			mem.rw + first * PAGE, &id), 0);
	WANT(unmap(m->fd, m->ioas, to, NR * PAGE), NR * PAGE);
	check_refs(m, first, nr, 1);
	WANT(copy(m->fd, m->other, MOCK_IOVA, NR * PAGE, FIXED | RW, m->ioas, &to), 0);
	WANT(mock_check(m->fd, m->hwpt, to, mem.rw, NR * PAGE), 0);
	check_refs(m, 0, NR, 1);
	/* Unmapping makes the access unpin its pages. The copy stays. */
	WANT(unmap(m->fd, m->other, MOCK_IOVA, NR * PAGE), NR * PAGE);
	WANT(access_unpin(m->fd, access, id), -ENOENT);
	check_refs(m, 0, NR, 1);
	WANT(unmap(m->fd, m->ioas, to, NR * PAGE), NR * PAGE);
	WANT(pinned(), m->idle);
}

static void unmap_while_accessed(struct fixture *none)
{
	unsigned long first, nr;
	struct mock m;
	int access;

	CHECK(open_mock(&m));
	access = access_open(m.fd, m.other, PINS);
	CHECK(access >= 0);
	for (first = 0; first < NR; first += 3)
		for (nr = 1; first + nr <= NR && !has_failed(); nr += 4)
			access_outlives(&m, access, first, nr);
	close(access);
	close_mock(&m);
}

/* Accesses overlap, and page tables are destroyed while they have the pages pinned. */
static void page_table_goes(struct fixture *none)
{
	uint32_t one, two, device, dev_id, hwpt;
	struct mock m;
	int access;

	CHECK(open_mock(&m));
	WANT(map(m.fd, m.ioas, mem.rw, NR * PAGE, MOCK_IOVA), 0);
	access = access_open(m.fd, m.ioas, PINS);
	CHECK(access >= 0);
	WANT(access_pin(m.fd, access, MOCK_IOVA + 2 * PAGE, 6 * PAGE, mem.rw + 2 * PAGE, &one), 0);
	WANT(access_pin(m.fd, access, MOCK_IOVA + 5 * PAGE, 7 * PAGE, mem.rw + 5 * PAGE, &two), 0);
	WANT(destroy(m.fd, m.device), 0);
	check_refs(&m, 2, 10, 1);
	WANT(access_unpin(m.fd, access, one), 0);
	check_refs(&m, 5, 7, 1);
	WANT(mock_device(m.fd, m.ioas, &device, &dev_id, &hwpt), 0);
	check_refs(&m, 0, NR, 1);
	WANT(mock_check(m.fd, hwpt, MOCK_IOVA, mem.rw, NR * PAGE), 0);
	WANT(destroy(m.fd, device), 0);
	check_refs(&m, 5, 7, 1);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA, NR * PAGE), NR * PAGE);
	WANT(pinned(), m.idle);
	close(access);
	close_mock(&m);
}

/* An area is cut while two page tables map it. The rest is found at the right place. */
static void cut_under_two(struct fixture *none)
{
	struct iommu_vfio_ioas set = { .size = sizeof(set), .op = IOMMU_VFIO_IOAS_SET };
	struct vfio_iommu_type1_dma_unmap cut = {
		.argsz = sizeof(cut), .iova = MOCK_IOVA + 4 * PAGE, .size = 3 * PAGE,
	};
	uint32_t device, dev_id, hwpt, third[3];
	uint64_t to = 2 * MOCK_IOVA;
	struct mock m;

	CHECK(open_mock(&m));
	set.ioas_id = m.ioas;
	WANT(call(m.fd, IOMMU_VFIO_IOAS, &set), 0);
	WANT(set_option(m.fd, IOMMU_OPTION_HUGE_PAGES, m.ioas, 0), 0);
	WANT(map(m.fd, m.ioas, mem.rw, NR * PAGE, MOCK_IOVA), 0);
	WANT(hwpt_alloc(m.fd, m.dev_id, m.ioas, &hwpt), 0);
	WANT(call(m.fd, VFIO_IOMMU_UNMAP_DMA, &cut), 0);
	WANT(cut.size, 3 * PAGE);
	WANT(mock_check(m.fd, hwpt, MOCK_IOVA, mem.rw, 4 * PAGE), 0);
	WANT(mock_check(m.fd, hwpt, MOCK_IOVA + 7 * PAGE, mem.rw + 7 * PAGE, 9 * PAGE), 0);
	/* The first page tables are destroyed, so the pages are read from the second ones. */
	WANT(destroy(m.fd, m.device), 0);
	WANT(mock_device(m.fd, m.other, &device, &dev_id, &third[0]), 0);
	WANT(copy(m.fd, m.ioas, MOCK_IOVA + 7 * PAGE, 9 * PAGE, FIXED | RW, m.other, &to), 0);
	WANT(mock_check(m.fd, third[0], to, mem.rw + 7 * PAGE, 9 * PAGE), 0);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA + 7 * PAGE, 9 * PAGE), 9 * PAGE);
	WANT(mock_check(m.fd, third[0], to, mem.rw + 7 * PAGE, 9 * PAGE), 0);
	WANT(mock_refs(m.fd, mem.rw + 7 * PAGE, 9 * PAGE, 1), 0);
	WANT(mock_refs(m.fd, mem.rw + 4 * PAGE, 3 * PAGE, 0), 0);
	WANT(unmap_all(m.fd, m.ioas), 4 * PAGE);
	WANT(unmap_all(m.fd, m.other), 9 * PAGE);
	close_mock(&m);
}

static void read_and_write_any_length(struct fixture *none)
{
	static const unsigned int lengths[] = { 1, 7, 8, 15, 16, 4095, 4096, 4097, 5000, 8192 };
	static const uint32_t paths[] = { 0, MOCK_ACCESS_RW_SLOW_PATH };
	char *got = malloc(4 * PAGE);
	struct mock m;
	unsigned int l, at, p, i;
	int access;

	CHECK(got && open_mock(&m));
	for (i = 0; i < NR * PAGE; i++)
		mem.rw[i] = i * 7 + i / PAGE;
	/* Two areas, so that an access can cover both. */
	WANT(map(m.fd, m.other, mem.rw, 2 * PAGE, MOCK_IOVA), 0);
	WANT(map(m.fd, m.other, mem.rw + 2 * PAGE, 2 * PAGE, MOCK_IOVA + 2 * PAGE), 0);
	access = access_open(m.fd, m.other, 0);
	CHECK(access >= 0);
	for (p = 0; p < ARRAY_SIZE(paths); p++) {
		WANT_WHY(m.fd, access_rw(m.fd, access, MOCK_IOVA, got, 0, paths[p]), -EINVAL,
			 "command-range");
		for (l = 0; l < ARRAY_SIZE(lengths); l++) {
			for (at = 0; at + lengths[l] <= 4 * PAGE; at += 1023) {
				char *here = mem.rw + at;

				memset(got, 0xee, 4 * PAGE);
				WANT(access_rw(m.fd, access, MOCK_IOVA + at, got, lengths[l],
					       paths[p]), 0);
				CHECK(!memcmp(got, here, lengths[l]));
				for (i = 0; i < lengths[l]; i++)
					got[i] = ~got[i];
				WANT(access_rw(m.fd, access, MOCK_IOVA + at, got, lengths[l],
					       paths[p] | MOCK_ACCESS_RW_WRITE), 0);
				CHECK(!memcmp(got, here, lengths[l]));
			}
		}
		/* Accesses that end behind the mappings, wrap, or begin before them. */
		WANT_WHY(m.fd, access_rw(m.fd, access, MOCK_IOVA, got, 4 * PAGE + 1, paths[p]),
			 -ENOENT, "access-gap");
		WANT_WHY(m.fd, access_rw(m.fd, access, MOCK_IOVA - 1, got, 2, paths[p]), -ENOENT,
			 "access-gap");
		WANT_WHY(m.fd, access_rw(m.fd, access, TOP, got, 2, paths[p]), -EOVERFLOW, "command-range");
	}
	WANT(unmap_all(m.fd, m.other), 4 * PAGE);
	close(access);
	close_mock(&m);
	free(got);
}

/* An access that could not be moved still receives the unmap callback of its IOAS. */
static void replace_fails(struct fixture *none)
{
	uint32_t ids[2], id, i;
	struct mock m;
	int access;

	CHECK(open_mock(&m));
	ids[0] = m.other;
	ids[1] = m.ioas;
	WANT_WHY(m.fd, access_open(m.fd, NO_ID, PINS), -ENOENT, "object-none");
	WANT_WHY(m.fd, access_open(m.fd, m.dev_id, PINS), -ENOENT, "object-kind");
	WANT(access_open(m.fd, m.other, ~0u), -EOPNOTSUPP);
	access = access_open(m.fd, m.ioas, PINS);
	CHECK(access >= 0);
	for (i = 0; i < 6; i++) {
		uint32_t here = ids[i % 2];

		WANT(access_replace(m.fd, access, here), 0);
		WANT_WHY(m.fd, access_replace(m.fd, access, NO_ID), -ENOENT, "object-none");
		WANT_WHY(m.fd, access_replace(m.fd, access, m.hwpt), -ENOENT, "object-kind");
		WANT(access_replace(m.fd, access, here), 0);
		WANT(map(m.fd, here, mem.rw, NR * PAGE, MOCK_IOVA), 0);
		WANT(access_pin(m.fd, access, MOCK_IOVA, PAGE, mem.rw, &id), 0);
		WANT_WHY(m.fd, access_replace(m.fd, access, NO_ID), -ENOENT, "object-none");
		WANT(access_unpin(m.fd, access, id), 0);
		WANT(access_pin(m.fd, access, MOCK_IOVA, PAGE, mem.rw, &id), 0);
		WANT(unmap(m.fd, here, MOCK_IOVA, NR * PAGE), NR * PAGE);
		WANT(access_unpin(m.fd, access, id), -ENOENT);
		/* Moving an access unpins its pages. */
		WANT(map(m.fd, here, mem.rw, NR * PAGE, MOCK_IOVA), 0);
		WANT(access_pin(m.fd, access, MOCK_IOVA, PAGE, mem.rw, &id), 0);
		WANT(access_replace(m.fd, access, ids[(i + 1) % 2]), 0);
		WANT(access_unpin(m.fd, access, id), -ENOENT);
		WANT(unmap_all(m.fd, here), NR * PAGE);
	}
	WANT_WHY(m.fd, destroy(m.fd, m.other), -EBUSY, "object-in-use");
	WANT(access_replace(m.fd, access, m.ioas), 0);
	WANT(destroy(m.fd, m.other), 0);
	close(access);
	close_mock(&m);
}

/* The mock must check for sums that wrap. */
static void mock_sums_wrap(struct fixture *none)
{
	struct iommu_test_cmd reserve = {
		.op = IOMMU_TEST_OP_ADD_RESERVED, .add_reserved = { -PAGE, 2 * PAGE },
	};
	struct mock m;
	uint32_t id;
	int access;

	CHECK(open_mock(&m));
	access = access_open(m.fd, m.other, PINS);
	CHECK(access >= 0);
	reserve.id = m.other;
	WANT(mock_op(m.fd, &reserve), -EOVERFLOW);
	WANT(mock_check(m.fd, m.hwpt, MOCK_IOVA, (void *)-PAGE, 2 * PAGE), -EINVAL);
	WANT(mock_refs(m.fd, (void *)-PAGE, 2 * PAGE, 0), -EINVAL);
	WANT(map(m.fd, m.other, mem.rw, PAGE, -PAGE), 0);
	WANT(access_pin(m.fd, access, -PAGE, 2 * PAGE, NULL, &id), -EOVERFLOW);
	WANT_WHY(m.fd, access_pin(m.fd, access, MOCK_IOVA, PAGE, NULL, &id), -ENOENT, "access-gap");
	WANT(access_pin(m.fd, access, -PAGE, PAGE, NULL, &id), 0);
	WANT(unmap(m.fd, m.other, -PAGE, PAGE), PAGE);
	close(access);
	close_mock(&m);
}

/* The C mock returns 0; the descriptor is the next one. */
int get_dmabuf(int fd, uint32_t length)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_DMABUF_GET,
		.dmabuf_get = { .length = length, .open_flags = O_RDWR | O_CLOEXEC },
	};
	int next = dup(fd), r;

	close(next);
	r = mock_op(fd, &cmd);
	if (r < 0)
		return r;
	if (r != (on_c_module() ? 0 : next))
		fail("finding 1: the descriptor is %d, the answer %d", next, r);
	return next;
}

int revoke_dmabuf(int fd, int dmabuf, bool revoked)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_DMABUF_REVOKE,
		.dmabuf_revoke = { .dmabuf_fd = dmabuf, .revoked = revoked },
	};

	return mock_op(fd, &cmd);
}

/* An access to device memory, which fails with any error. */
#define REFUSES_DEVICE(access) do {							\
	struct refusal __before;							\
	long long __got;								\
	last_refusal(m.fd, &__before);							\
	__got = (access);								\
	check_refusal(m.fd, &__before, __got, "access-device-memory", #access);		\
	CHECK(__got < 0);								\
} while (0)

/* The registers of a device cannot be accessed as memory. */
static void access_refuses_dmabuf(struct fixture *none)
{
	/* The second range goes across a multiple of 1 GiB, where a piece ends that is mapped at once. */
	uint64_t iova = MOCK_IOVA, other = (1UL << 30) - PAGE;
	int dmabuf, pinning, reading;
	char data[16];
	struct mock m;
	uint32_t id;

	CHECK(open_mock(&m));
	dmabuf = get_dmabuf(m.fd, 4 * PAGE);
	CHECK(dmabuf >= 0);
	pinning = access_open(m.fd, m.ioas, PINS);
	reading = access_open(m.fd, m.ioas, 0);
	CHECK(pinning >= 0 && reading >= 0);
	WANT(map_file(m.fd, m.ioas, FIXED | RW, dmabuf, 0, 4 * PAGE, &iova), 0);
	REFUSES_DEVICE(access_pin(m.fd, pinning, iova, PAGE, NULL, &id));
	REFUSES_DEVICE(access_pin(m.fd, pinning, iova + PAGE, 2 * PAGE, NULL, &id));
	REFUSES_DEVICE(access_rw(m.fd, reading, iova, data, sizeof(data), 0));
	REFUSES_DEVICE(access_rw(m.fd, reading, iova, data, sizeof(data), MOCK_ACCESS_RW_SLOW_PATH));
	WANT_WHY(m.fd, map_file(m.fd, m.ioas, FIXED | RW, dmabuf, PAGE, 4 * PAGE, &other), -EINVAL,
		 "map-file-end");
	/* Revoked while mapped, then unmapped. While it is revoked nothing can be mapped. */
	WANT(revoke_dmabuf(m.fd, dmabuf, true), 0);
	WANT_WHY(m.fd, map_file(m.fd, m.ioas, FIXED | RW, dmabuf, 0, 4 * PAGE, &other), -ENODEV,
		 "map-dma-buf");
	WANT(revoke_dmabuf(m.fd, dmabuf, true), 0);
	WANT(revoke_dmabuf(m.fd, dmabuf, false), 0);
	WANT(map_file(m.fd, m.ioas, FIXED | RW, dmabuf, 0, 4 * PAGE, &other), 0);
	WANT(unmap(m.fd, m.ioas, iova, 4 * PAGE), 4 * PAGE);
	WANT(revoke_dmabuf(m.fd, dmabuf, true), 0);
	close(dmabuf);
	WANT(destroy(m.fd, m.device), 0);
	WANT(unmap_all(m.fd, m.ioas), 4 * PAGE);
	close(pinning);
	close(reading);
	close_mock(&m);
}

/* Makes each allocation in the making of a device fail once. kmemleak checks afterwards. */
static void device_fails(struct fixture *none)
{
	int fd = open_iommu(), inject = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC), r = -1;
	uint32_t ioas, device, dev_id, hwpt;
	bool failed = true;
	unsigned int nth;

	if (on_c_module())
		skip("the C module would leak a fwspec");
	if (on_c_module() || accesses_fail()) {
		close(fd);
		close(inject);
		return;
	}
	CHECK(fd >= 0 && inject >= 0);
	/* Allocations that may sleep fail too. */
	CHECK(sleeping_allocations_fail());
	WANT(ioas_alloc(fd, &ioas), 0);
	WANT(map(fd, ioas, mem.rw, NR * PAGE, MOCK_IOVA), 0);
	/* Ends when no allocation is left to fail. Some failures are tolerated. */
	for (nth = 1; nth < 1000 && (r || failed); nth++) {
		CHECK(fail_nth(inject, nth));
		r = mock_device(fd, ioas, &device, &dev_id, &hwpt);
		failed = nth_failed(inject);
		if (r && r != -ENOMEM)
			note("allocation %u: %s", nth, errno_name(r));
		if (!r)
			WANT(destroy(fd, device), 0);
	}
	note("%u places to fail", nth - 2);
	CHECK(nth > 10 && !r);
	WANT(destroy(fd, ioas), 0);
	close(fd);
	close(inject);
}

static const struct test tests[] = {
	{ "unmap while an access has pages pinned, CVE-2023-53630", unmap_while_accessed, ALONE },
	{ "page tables are destroyed while pages are pinned, CVE-2023-53630", page_table_goes, ALONE },
	{ "an area is cut under two page tables, CVE-2023-52801", cut_under_two, ALONE },
	{ "an access reads and writes any length", read_and_write_any_length, ALONE },
	{ "an access cannot be moved, CVE-2024-26785, CVE-2024-26786", replace_fails, ALONE },
	{ "sums that wrap in the mock, CVE-2023-53327", mock_sums_wrap, ALONE },
	{ "an access refuses dma-buf memory, finding 1", access_refuses_dmabuf, ALONE },
	{ "any allocation for a device fails, finding 5", device_fails, ALONE },
};

const struct suite mock_pages_suite = {
	.name = "access",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
