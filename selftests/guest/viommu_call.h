/* SPDX-License-Identifier: GPL-2.0-only */
/* A mock device with a nest parent and a vIOMMU on it. The calls return 0 or a negative errno. */
#ifndef VIOMMU_CALL_H
#define VIOMMU_CALL_H

#include <stdatomic.h>
#include <time.h>

#include "frame.h"
#include "mock_call.h"

#define IOTLB		0x1234u
#define CACHED		((uint32_t)IOMMU_TEST_DEV_CACHE_DEFAULT)
#define ALL		IOMMU_TEST_INVALIDATE_FLAG_ALL
#define VIRT_ID		0x99u
#define MAX_REQUESTS	(1u << 19)

struct guest {
	int fd;
	uint32_t ioas;
	uint32_t device, dev_id;	/* attached to automatic page tables of ioas */
	uint32_t automatic;
	uint32_t parent;
	uint32_t viommu;
};

/* A vIOMMU with pages that user space can map. */
struct pages {
	uint32_t viommu;
	uint64_t offset, length;
};

/* The errno of an invalidation, and how many requests it has carried out. */
struct outcome {
	int r;
	uint32_t done;
};

/* A guest with nested page tables on its parent and a vDEVICE. */
struct caches {
	struct guest g;
	uint32_t hwpt, vdev;
};

bool open_caches(struct caches *c);
void close_caches(struct caches *c);

bool open_guest(struct guest *g);
void close_guest(struct guest *g);
int tables(struct guest *g, uint32_t flags, uint32_t *id);
int nested(struct guest *g, uint32_t base, uint32_t flags, uint32_t *id);
int viommu(struct guest *g, uint32_t hwpt, uint32_t *id);
int viommu_with(struct guest *g, uint32_t value, struct pages *p);
int hw_queue(struct guest *g, uint32_t viommu, uint32_t index, uint64_t iova, uint64_t length,
	     uint32_t *id);
int vdevice(int fd, uint32_t viommu, uint32_t dev_id, uint64_t virt_id, uint32_t *id);
int iotlb_is(int fd, uint32_t hwpt, uint32_t id, uint32_t value);
int cache_is(int fd, uint32_t dev_id, uint32_t id, uint32_t value);
struct outcome invalidate(int fd, uint32_t target, uint32_t type, const void *array, uint32_t len,
			  uint32_t count);
struct outcome forget_iotlb(int fd, uint32_t hwpt, uint32_t flags, uint32_t id);
struct outcome forget_cache(int fd, uint32_t viommu, uint32_t virt_id, uint32_t flags, uint32_t id);

#define WANT_DONE(expr, value, count) do {			\
	struct outcome __o = (expr);				\
	WANT(__o.r, value);					\
	WANT(__o.done, count);					\
} while (0)

/* As WANT_WHY(), for an invalidation that has carried out `count` requests. */
#define WANT_DONE_WHY(fd, expr, value, count, why) do {		\
	struct outcome __o;					\
	WANT_WHY(fd, (__o = (expr)).r, value, why);		\
	WANT(__o.done, count);					\
} while (0)

/*
 * Checks what a call in a race returned: 0 or more, which is counted in `done`, or one of the
 * errors, whose list ends with 0.
 */
void accept_any(atomic_ulong *done, const char *what, long long r, const int *errors);

#define ACCEPT(who, expr, ...) accept_any(&done[who], #expr, expr, (const int[]){ __VA_ARGS__, 0 })

/*
 * Runs each function in a thread that gets its number, until the deadline that this sets. Does so again as long
 * as a thread has counted nothing, and fails the test if one never does.
 */
void run_all(void *(*const work[])(void *), size_t nr, atomic_ulong *done, time_t *deadline, int seconds);

#endif
