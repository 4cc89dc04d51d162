// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver-specific data of HWPT_ALLOC, VIOMMU_ALLOC and HWPT_INVALIDATE: how long they may be,
 * and in which order an array of requests is read and carried out.
 */
#include <string.h>
#include <sys/mman.h>

#include "viommu.h"

#define HWPT_TYPE	IOMMU_HWPT_INVALIDATE_DATA_SELFTEST
#define VIOMMU_TYPE	IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST
#define NR		4u

/*
 * A flag of our mock only: the request is carried out, and the driver returns without reading the
 * next.
 */
#define STOP_HERE	(1u << 31)

static int hwpt_with(struct guest *g, uint32_t base, const void *data, uint32_t len)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .dev_id = g->dev_id, .pt_id = base,
		.data_type = IOMMU_HWPT_DATA_SELFTEST, .data_len = len, .data_uptr = PTR(data),
	};
	int r = call(g->fd, IOMMU_HWPT_ALLOC, &cmd);

	return r ? r : destroy(g->fd, cmd.out_hwpt_id);
}

static void hwpt_data(struct fixture *none)
{
	static const struct {
		uint32_t len;
		int want;
	} cases[] = {
		{ 1, -EINVAL }, { 3, -EINVAL }, { 4, 0 }, { 5, 0 }, { 8, 0 }, { 9, -EINVAL },
		{ 12, -EINVAL }, { 4096, -EINVAL }, { ~0u, -EINVAL },
	};
	uint32_t bases[3], b, i;
	struct guest g;

	if (!open_guest(&g))
		return;
	memset(mem.rw, 0, PAGE);
	bases[0] = g.ioas;
	bases[1] = g.parent;
	bases[2] = g.viommu;
	for (b = 0; b < ARRAY_SIZE(bases); b++)
		for (i = 0; i < ARRAY_SIZE(cases); i++) {
			struct refusal before;
			int r;

			last_refusal(g.fd, &before);
			r = hwpt_with(&g, bases[b], mem.rw, cases[i].len);
			check_refusal(g.fd, &before, r, !r ? NULL : b ? "hwpt-nested-driver" : "hwpt-driver",
				      "HWPT_ALLOC");
			if (r != cases[i].want)
				fail("base %u, %u bytes: got %s", b, cases[i].len, errno_name(r));
		}
	/* Nor may the bytes behind the struct be other than zero. */
	mem.rw[8] = 1;
	for (b = 0; b < ARRAY_SIZE(bases); b++)
		WANT_WHY(g.fd, hwpt_with(&g, bases[b], mem.rw, 12), -EINVAL,
			 b ? "hwpt-nested-driver" : "hwpt-driver");
	mem.rw[8] = 0;
	close_guest(&g);
}

static void viommu_data(struct fixture *none)
{
	static const struct {
		uint32_t len;
		int want;
	} cases[] = {
		{ 1, -EINVAL }, { 7, -EINVAL }, { 8, 0 }, { 16, 0 }, { 24, 0 }, { 25, -EINVAL },
		{ 32, -EINVAL }, { 4096, -EINVAL }, { ~0u, -EINVAL },
	};
	struct iommu_viommu_selftest *data = (void *)mem.rw;
	struct guest g;
	uint32_t i;

	if (!open_guest(&g))
		return;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct iommu_viommu_alloc cmd = {
			.size = sizeof(cmd), .type = IOMMU_VIOMMU_TYPE_SELFTEST,
			.dev_id = g.dev_id, .hwpt_id = g.parent, .data_len = cases[i].len,
			.data_uptr = PTR(data),
		};
		struct refusal before;
		int r;

		memset(mem.rw, 0, PAGE);
		data->in_data = 7;
		last_refusal(g.fd, &before);
		r = call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd);
		check_refusal(g.fd, &before, r, cases[i].want ? "viommu-driver" : NULL, "VIOMMU_ALLOC");
		if (r != cases[i].want)
			fail("%u bytes: got %s", cases[i].len, errno_name(r));
		if (r)
			continue;
		WANT(destroy(g.fd, cmd.out_viommu_id), 0);
		/* As many bytes are written back as were given. */
		WANT(data->out_data, 7);
		WANT(!!data->out_mmap_length, cases[i].len == sizeof(*data));
	}
	memset(mem.rw, 1, PAGE);
	close_guest(&g);
}

/* Checks that the entries below `gone` were invalidated, and the others were not. */
static void check_iotlb(struct caches *c, uint32_t gone)
{
	uint32_t i;

	for (i = 0; i < NR; i++)
		WANT(iotlb_is(c->g.fd, c->hwpt, i, i < gone ? 0 : IOTLB), 0);
}

static void check_cache(struct caches *c, uint32_t gone)
{
	uint32_t i;

	for (i = 0; i < NR; i++)
		WANT(cache_is(c->g.fd, c->g.dev_id, i, i < gone ? 0 : CACHED), 0);
}

/* Requests for page tables are read one by one. Each must be as long as its struct. */
static void hwpt_requests(struct fixture *none)
{
	struct { struct iommu_hwpt_invalidate_selftest r; uint32_t more; } longer[NR] = {};
	struct iommu_hwpt_invalidate_selftest requests[NR] = {};
	struct caches c;
	uint32_t i;

	if (!open_caches(&c))
		return;
	for (i = 0; i < NR; i++)
		requests[i].iotlb_id = longer[i].r.iotlb_id = i;
	WANT_DONE_WHY(c.g.fd, invalidate(c.g.fd, c.hwpt, HWPT_TYPE, longer, sizeof(longer[0]), NR),
		      -EINVAL, 0, "invalidate-request");
	WANT_DONE_WHY(c.g.fd, invalidate(c.g.fd, c.hwpt, HWPT_TYPE, requests, 4, NR), -EINVAL, 0,
		      "invalidate-request");
	longer[0].more = 1;
	WANT_DONE_WHY(c.g.fd, invalidate(c.g.fd, c.hwpt, HWPT_TYPE, longer, sizeof(longer[0]), NR),
		      -EINVAL, 0, "invalidate-request");
	check_iotlb(&c, 0);
	/* Requests before the end of the mapping are carried out. */
	WANT_DONE_WHY(c.g.fd,
		      invalidate(c.g.fd, c.hwpt, HWPT_TYPE,
				 guarded(requests, 2 * sizeof(requests[0])), sizeof(requests[0]),
				 NR),
		      -EFAULT, 2, "invalidate-request");
	check_iotlb(&c, 2);
	close_caches(&c);
}

/* Requests for a vIOMMU may have any length. All are read before the first is carried out. */
static void viommu_requests(struct fixture *none)
{
	struct { struct iommu_viommu_invalidate_selftest r; uint32_t more; } longer[NR] = {};
	struct iommu_viommu_invalidate_selftest requests[NR] = {};
	struct caches c;
	uint32_t i, fd, v;

	if (!open_caches(&c))
		return;
	fd = c.g.fd;
	v = c.g.viommu;
	for (i = 0; i < NR; i++) {
		requests[i].vdev_id = longer[i].r.vdev_id = VIRT_ID;
		requests[i].cache_id = longer[i].r.cache_id = i;
	}
	longer[2].more = 1;
	WANT_DONE_WHY(fd, invalidate(fd, v, VIOMMU_TYPE, longer, sizeof(longer[0]), NR), -E2BIG, 0,
		      "invalidate-request");
	/* An error of reading takes precedence over an error of an earlier request. */
	longer[0].r.cache_id = NR;
	WANT_DONE_WHY(fd, invalidate(fd, v, VIOMMU_TYPE, longer, sizeof(longer[0]), NR), -E2BIG, 0,
		      "invalidate-request");
	WANT_DONE_WHY(fd,
		      invalidate(fd, v, VIOMMU_TYPE, guarded(requests, 2 * sizeof(requests[0])),
				 sizeof(requests[0]), NR),
		      -EFAULT, 0, "invalidate-request");
	check_cache(&c, 0);
	longer[2].more = 0;
	WANT_DONE_WHY(fd, invalidate(fd, v, VIOMMU_TYPE, longer, sizeof(longer[0]), NR), -EINVAL, 0,
		      "invalidate-request");
	longer[0].r.cache_id = 0;
	longer[2].r.cache_id = NR;
	WANT_DONE_WHY(fd, invalidate(fd, v, VIOMMU_TYPE, longer, sizeof(longer[0]), NR), -EINVAL, 2,
		      "invalidate-request");
	check_cache(&c, 2);
	longer[2].r.cache_id = 2;
	WANT_DONE(invalidate(fd, v, VIOMMU_TYPE, longer, sizeof(longer[0]), NR), 0, NR);
	check_cache(&c, NR);
	close_caches(&c);
}

/*
 * A driver may carry out a part of the requests and return 0. It is called again with the rest: the
 * call takes effect as a whole, and the count says so.
 */
static void answered_in_parts(struct fixture *none)
{
	struct iommu_viommu_invalidate_selftest of_device[NR] = {};
	struct iommu_hwpt_invalidate_selftest requests[NR] = {};
	struct caches c;
	uint32_t i, fd;

	if (on_c_module()) {
		skip("the C mock carries out all requests at once");
		return;
	}
	if (!open_caches(&c))
		return;
	fd = c.g.fd;
	for (i = 0; i < NR; i++) {
		requests[i].iotlb_id = i;
		of_device[i].vdev_id = VIRT_ID;
		of_device[i].cache_id = i;
	}
	requests[0].flags = requests[2].flags = STOP_HERE;
	of_device[0].flags = of_device[1].flags = STOP_HERE;
	WANT_DONE(invalidate(fd, c.hwpt, HWPT_TYPE, requests, sizeof(requests[0]), NR), 0, NR);
	check_iotlb(&c, NR);
	WANT_DONE(invalidate(fd, c.g.viommu, VIOMMU_TYPE, of_device, sizeof(of_device[0]), NR), 0,
		  NR);
	check_cache(&c, NR);
	/* A wrong request behind such a part is counted from the beginning. */
	requests[3].iotlb_id = NR;
	WANT_DONE_WHY(fd, invalidate(fd, c.hwpt, HWPT_TYPE, requests, sizeof(requests[0]), NR),
		      -EINVAL, 3, "invalidate-request");
	close_caches(&c);
}

static const struct test tests[] = {
	{ "length of HWPT_ALLOC's data", hwpt_data, ALONE },
	{ "length of VIOMMU_ALLOC's data", viommu_data, ALONE },
	{ "requests for page tables: length and order", hwpt_requests, ALONE },
	{ "requests for a vIOMMU: length and order", viommu_requests, ALONE },
	{ "a driver answers requests in parts", answered_in_parts, ALONE },
};

const struct suite viommu_data_suite = {
	.name = "data", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
