// SPDX-License-Identifier: GPL-2.0-only
/* What one call costs in an IOAS that has many areas. */
#include <unistd.h>

#include "bench_card.h"

/* Maps `nr` pages from the lowest address that the kernel chooses, each by a call. */
static int fill(int iommu, uint32_t ioas, const void *p, unsigned int nr)
{
	unsigned int i;
	int r = 0;

	for (i = 1; !r && i <= nr; i++)
		r = map(iommu, ioas, p, PAGE, i * PAGE);
	return r;
}

/*
 * Choosing an address for memory that wants one which is a multiple of 2 MiB, where each of `nr` gaps is long enough
 * but begins a page after such a multiple.
 */
static void gap_row(const struct round *r, const struct memory *m, const char *name, unsigned int nr)
{
	/* Each may take as long as thousands of others. */
	uint64_t took[4], at;
	uint32_t other;
	unsigned int i;

	if (!wanted(name))
		return;
	must(ioas_alloc(r->iommu, &other), "IOAS_ALLOC");
	/* From 0 on there is no other gap before the last area. */
	for (i = 0; i < nr; i++)
		must(map(r->iommu, other, m->p, PAGE, i * HUGE), "map");
	for (i = 0; i < ARRAY_SIZE(took); i++) {
		took[i] = TIMED(map_as(r->iommu, other, RW, m->p, HUGE / 2 + PAGE, &at));
		must(unmap(r->iommu, other, at, HUGE / 2 + PAGE), "unmap");
	}
	sample(median(took, ARRAY_SIZE(took)), unit, "%s: map at a chosen address", name);
	must(unmap_all(r->iommu, other), "unmap");
	must(destroy(r->iommu, other), "DESTROY");
}

void growth_rows(const struct round *r, const struct memory *m)
{
	static const struct {
		const char *name;
		unsigned int nr;
	} sizes[] = {
		{ "beside 1,000 areas", 1000 },
		{ "beside 10,000 areas", 10000 },
		{ "beside 100,000 areas", 100000 },
	};
	uint32_t other;
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		const char *name = sizes[i].name;

		if (!wanted(name))
			continue;
		must(ioas_alloc(r->iommu, &other), "IOAS_ALLOC");
		must(fill(r->iommu, other, m->p, sizes[i].nr), "map");
		call_rows(name, r->iommu, other, m->p, PAGE, IOVA);
		must(detach(r->device), "detach");
		sample(TIMED(attach(r->device, other, NULL)), unit, "%s: attach", name);
		sample(TIMED(detach(r->device)), unit, "%s: detach", name);
		must(attach(r->device, r->ioas, NULL), "attach");
		sample(TIMED(unmap_all(r->iommu, other)), unit, "%s: unmap all", name);
		must(destroy(r->iommu, other), "DESTROY");

		fd = must(open_iommu(), "/dev/iommu");
		must(ioas_alloc(fd, &other), "IOAS_ALLOC");
		must(fill(fd, other, m->p, sizes[i].nr), "map");
		sample(TIMED(close(fd)), unit, "%s: close", name);
	}
	gap_row(r, m, "past 1,000 gaps", 1000);
	gap_row(r, m, "past 100,000 gaps", 100000);
}
