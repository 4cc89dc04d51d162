// SPDX-License-Identifier: GPL-2.0-only
#include <pthread.h>
#include <unistd.h>

#include "viommu_call.h"

/* Page tables of the IOAS. */
int tables(struct guest *g, uint32_t flags, uint32_t *id)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .flags = flags, .dev_id = g->dev_id, .pt_id = g->ioas,
	};
	int r = call(g->fd, IOMMU_HWPT_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_hwpt_id;
	return r;
}

/* Nested page tables on a parent or a vIOMMU. */
int nested(struct guest *g, uint32_t base, uint32_t flags, uint32_t *id)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOTLB };
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .flags = flags, .dev_id = g->dev_id, .pt_id = base,
		.data_type = IOMMU_HWPT_DATA_SELFTEST, .data_len = sizeof(data),
		.data_uptr = PTR(&data),
	};
	int r = call(g->fd, IOMMU_HWPT_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_hwpt_id;
	return r;
}

int viommu(struct guest *g, uint32_t hwpt, uint32_t *id)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = IOMMU_VIOMMU_TYPE_SELFTEST, .dev_id = g->dev_id,
		.hwpt_id = hwpt,
	};
	int r = call(g->fd, IOMMU_VIOMMU_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_viommu_id;
	return r;
}

/* A vIOMMU with two pages that user space can map. They begin with the value. */
int viommu_with(struct guest *g, uint32_t value, struct pages *p)
{
	struct iommu_viommu_selftest data = { .in_data = value };
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = IOMMU_VIOMMU_TYPE_SELFTEST, .dev_id = g->dev_id,
		.hwpt_id = g->parent, .data_len = sizeof(data), .data_uptr = PTR(&data),
	};
	int r = call(g->fd, IOMMU_VIOMMU_ALLOC, &cmd);

	if (!r) {
		p->viommu = cmd.out_viommu_id;
		p->offset = data.out_mmap_offset;
		p->length = data.out_mmap_length;
	}
	return r;
}

/* A HW queue of a vIOMMU, in the memory at iova. */
int hw_queue(struct guest *g, uint32_t viommu, uint32_t index, uint64_t iova, uint64_t length,
	     uint32_t *id)
{
	struct iommu_hw_queue_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = viommu, .type = IOMMU_HW_QUEUE_TYPE_SELFTEST,
		.index = index, .nesting_parent_iova = iova, .length = length,
	};
	int r = call(g->fd, IOMMU_HW_QUEUE_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_hw_queue_id;
	return r;
}

int vdevice(int fd, uint32_t viommu, uint32_t dev_id, uint64_t virt_id, uint32_t *id)
{
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = viommu, .dev_id = dev_id, .virt_id = virt_id,
	};
	int r = call(fd, IOMMU_VDEVICE_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_vdevice_id;
	return r;
}

/* Returns 0 if the entry of the IOTLB has that value, and -EINVAL if not. */
int iotlb_is(int fd, uint32_t hwpt, uint32_t id, uint32_t value)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_MD_CHECK_IOTLB, .id = hwpt,
		.check_iotlb = { .id = id, .iotlb = value },
	};

	return mock_op(fd, &cmd);
}

/* As iotlb_is(), for the cache of a device. */
int cache_is(int fd, uint32_t dev_id, uint32_t id, uint32_t value)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_DEV_CHECK_CACHE, .id = dev_id,
		.check_dev_cache = { .id = id, .cache = value },
	};

	return mock_op(fd, &cmd);
}

struct outcome invalidate(int fd, uint32_t target, uint32_t type, const void *array, uint32_t len,
			  uint32_t count)
{
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd), .hwpt_id = target, .data_uptr = PTR(array), .data_type = type,
		.entry_len = len, .entry_num = count,
	};
	int r = call(fd, IOMMU_HWPT_INVALIDATE, &cmd);

	return (struct outcome){ r, cmd.entry_num };
}

struct outcome forget_iotlb(int fd, uint32_t hwpt, uint32_t flags, uint32_t id)
{
	struct iommu_hwpt_invalidate_selftest request = { .flags = flags, .iotlb_id = id };

	return invalidate(fd, hwpt, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST, &request, sizeof(request),
			  1);
}

struct outcome forget_cache(int fd, uint32_t viommu, uint32_t virt_id, uint32_t flags, uint32_t id)
{
	struct iommu_viommu_invalidate_selftest request = {
		.flags = flags, .vdev_id = virt_id, .cache_id = id,
	};

	return invalidate(fd, viommu, IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST, &request,
			  sizeof(request), 1);
}

bool open_guest(struct guest *g)
{
	int r = open_iommu();

	g->fd = r;
	if (r >= 0)
		r = ioas_alloc(g->fd, &g->ioas);
	if (!r)
		r = mock_device(g->fd, g->ioas, &g->device, &g->dev_id, &g->automatic);
	if (!r)
		r = tables(g, IOMMU_HWPT_ALLOC_NEST_PARENT, &g->parent);
	if (!r)
		r = viommu(g, g->parent, &g->viommu);
	if (r)
		fail("cannot make a vIOMMU: %s", errno_name(r));
	return !r;
}

/* Destroys all objects, which must succeed: what was made on them must be destroyed already. */
void close_guest(struct guest *g)
{
	WANT(destroy(g->fd, g->viommu), 0);
	WANT(destroy(g->fd, g->parent), 0);
	WANT(destroy(g->fd, g->device), 0);
	WANT(destroy(g->fd, g->ioas), 0);
	close(g->fd);
}

bool open_caches(struct caches *c)
{
	int r;

	if (!open_guest(&c->g))
		return false;
	r = nested(&c->g, c->g.parent, 0, &c->hwpt);
	if (!r)
		r = vdevice(c->g.fd, c->g.viommu, c->g.dev_id, VIRT_ID, &c->vdev);
	if (r)
		fail("cannot make page tables and a vDEVICE: %s", errno_name(r));
	return !r;
}

void close_caches(struct caches *c)
{
	WANT(destroy(c->g.fd, c->vdev), 0);
	WANT(destroy(c->g.fd, c->hwpt), 0);
	close_guest(&c->g);
}

void accept_any(atomic_ulong *done, const char *what, long long r, const int *errors)
{
	size_t i;

	if (r >= 0) {
		atomic_fetch_add(done, 1);
		return;
	}
	for (i = 0; errors[i]; i++)
		if (r == -errors[i])
			return;
	fail("%s: got %s", what, errno_name(r));
}

#define MAX_THREADS	4
#define ROUNDS		10

static bool all_did_something(atomic_ulong *done, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (!atomic_load(&done[i]))
			return false;
	return true;
}

void run_all(void *(*const work[])(void *), size_t nr, atomic_ulong *done, time_t *deadline, int seconds)
{
	pthread_t threads[MAX_THREADS];
	int round;
	size_t i;

	if (nr > MAX_THREADS) {
		fail("%zu threads, and there may be %d", nr, MAX_THREADS);
		return;
	}
	/* A call that never succeeds does not do so in any round; on a busy machine a thread may not run in one. */
	for (round = 0; round < ROUNDS && !has_failed() && !all_did_something(done, nr); round++) {
		*deadline = time(NULL) + seconds;
		for (i = 0; i < nr; i++)
			CHECK(!pthread_create(&threads[i], NULL, work[i], (void *)i));
		for (i = 0; i < nr; i++)
			pthread_join(threads[i], NULL);
	}
	for (i = 0; i < nr; i++)
		note("thread %zu: %lu calls did something", i, atomic_load(&done[i]));
	CHECK(all_did_something(done, nr));
}
