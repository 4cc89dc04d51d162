/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the program bench have in common, which measures with a card of VFIO. */
#ifndef BENCH_CARD_H
#define BENCH_CARD_H

#include "bench.h"

/* What a round measures. */
struct round {
	int iommu;		/* the file of /dev/iommu, or VFIO's container */
	int device;		/* that of the device of VFIO, or of its group */
	uint32_t dev_id;
	uint32_t ioas;		/* to which the device is attached; nothing is mapped there between groups of rows */
	bool type1;
};

/* Memory that is mapped by address, or by file if that is not -1. */
struct memory {
	const char *name;
	char *p;
	int file;
	uint64_t length;
};

/* Maps and unmaps by iommufd or, in rounds of type1, by VFIO's container. */
int map_memory(const struct round *r, const struct memory *m, uint64_t length, uint64_t iova);
long long unmap_memory(const struct round *r, uint64_t iova, uint64_t length);

/* bench_type1.c: VFIO's own container, and its operations. */
int type1_open(const char *path, int *group);
int type1_map(int container, const void *p, uint64_t length, uint64_t iova);
long long type1_unmap(int container, uint64_t iova, uint64_t length);

/*
 * bench_range.c: rows of a kind of memory. Each maps the first `length` bytes.
 */
void range_rows(const struct round *r, const struct memory *m, const char *name, uint64_t length, uint64_t iova);
/* Copying into an IOAS that has page tables. */
void copy_rows(const struct round *r, const struct memory *m, uint64_t length);
/* Attaching the device to an IOAS that has all of the memory, and detaching it. */
void attach_rows(const struct round *r, const struct memory *m);
/* Mapping a shared mapping of a file in which a page, of `page` bytes, is a hole before each call. */
void hole_rows(const struct round *r, const struct memory *m, const char *name, uint64_t length, uint64_t page);

/* bench_calls.c: rows of small calls. `small` and `huge` are memory in small and in huge pages. */
void small_call_rows(const struct round *r, const struct memory *small, const struct memory *huge);

/* bench_growth.c: what one call costs beside many areas. `p` is a page. */
void growth_rows(const struct round *r, const struct memory *m);

/*
 * bench_floor.c: what pinning `length` bytes takes without iommufd, and what mapping them takes that are pinned
 * already.
 */
void floor_rows(const struct round *r, const struct memory *m, uint64_t length);

/*
 * bench_threads.c: what a thread that maps half of `length` bytes from `p` takes alone, and what two threads
 * take that each map a half. The same for memset(), which shows what the machine gives a second thread.
 */
void thread_rows(const char *name, int iommu, uint32_t ioas, char *p, uint64_t length);

/*
 * bench_kept.c: kernel memory that `times` mappings of the first `length` bytes keep, and that many areas and
 * many objects keep. The first attaches the device to a new IOAS, which the round has afterwards.
 */
void kept_rows(struct round *r, const struct memory *m, uint64_t length, unsigned int times);
void kept_objects_rows(const void *page);

#endif
