// SPDX-License-Identifier: GPL-2.0-only
/* What the operations on memory cost, by the kind of memory. */
#include <fcntl.h>
#include <stdio.h>

#include "bench_card.h"

int map_memory(const struct round *r, const struct memory *m, uint64_t length, uint64_t iova)
{
	if (r->type1)
		return type1_map(r->iommu, m->p, length, iova);
	if (m->file >= 0)
		return map_file(r->iommu, r->ioas, FIXED | READ | WRITE, m->file, 0, length, &iova);
	return map(r->iommu, r->ioas, m->p, length, iova);
}

long long unmap_memory(const struct round *r, uint64_t iova, uint64_t length)
{
	return r->type1 ? type1_unmap(r->iommu, iova, length) : unmap(r->iommu, r->ioas, iova, length);
}

void range_rows(const struct round *r, const struct memory *m, const char *name, uint64_t length, uint64_t iova)
{
	int i;

	if (!wanted(name))
		return;
	/* The first round allocates the memory of the page tables, and is not a sample. */
	for (i = -1; i < nr_repeats; i++) {
		uint64_t mapped = TIMED(map_memory(r, m, length, iova));
		uint64_t unmapped = TIMED(unmap_memory(r, iova, length));

		if (i < 0)
			continue;
		sample(mapped, unit, "%s: map", name);
		sample(unmapped, unit, "%s: unmap", name);
	}
}

void copy_rows(const struct round *r, const struct memory *m, uint64_t length)
{
	uint64_t iova = IOVA;
	uint32_t other, hwpt;
	int i;

	must(map_memory(r, m, length, IOVA), "map");
	must(ioas_alloc(r->iommu, &other), "IOAS_ALLOC");
	for (i = -1; i < nr_repeats; i++) {
		uint64_t copied = TIMED(copy(r->iommu, r->ioas, IOVA, length, FIXED | READ | WRITE, other, &iova));

		must(unmap(r->iommu, other, IOVA, length), "unmap");
		if (i >= 0)
			sample(copied, unit, "%s: IOAS_COPY without a domain", m->name);
	}
	must(hwpt_alloc(r->iommu, r->dev_id, other, &hwpt), "HWPT_ALLOC");
	for (i = -1; i < nr_repeats; i++) {
		uint64_t copied, unmapped;

		copied = TIMED(copy(r->iommu, r->ioas, IOVA, length, FIXED | READ | WRITE, other, &iova));
		unmapped = TIMED(unmap(r->iommu, other, IOVA, length));
		if (i < 0)
			continue;
		sample(copied, unit, "%s: IOAS_COPY", m->name);
		sample(unmapped, unit, "%s: unmap the copy", m->name);
	}
	must(destroy(r->iommu, hwpt), "DESTROY");
	must(destroy(r->iommu, other), "DESTROY");
	must(unmap_memory(r, IOVA, length), "unmap");
}

void attach_rows(const struct round *r, const struct memory *m)
{
	struct round to = *r;
	int i;

	must(ioas_alloc(r->iommu, &to.ioas), "IOAS_ALLOC");
	must(map_memory(&to, m, m->length, IOVA), "map");
	for (i = 0; i < nr_repeats; i++) {
		must(detach(r->device), "detach");
		sample(TIMED(attach(r->device, to.ioas, NULL)), unit, "%s: attach 1 GiB", m->name);
		sample(TIMED(detach(r->device)), unit, "%s: detach 1 GiB", m->name);
		must(attach(r->device, r->ioas, NULL), "attach");
	}
	must(unmap_all(r->iommu, to.ioas), "unmap");
	must(destroy(r->iommu, to.ioas), "DESTROY");
}

void hole_rows(const struct round *r, const struct memory *m, const char *name, uint64_t length, uint64_t page)
{
	int i;

	if (!wanted(name))
		return;
	for (i = 0; i < nr_repeats; i++) {
		if (fallocate(m->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, length / 2, page))
			give_up("%s: fallocate", name);
		/* The call makes the page. */
		sample(TIMED(map(r->iommu, r->ioas, m->p, length, IOVA)), unit, "%s: map", name);
		must(unmap(r->iommu, r->ioas, IOVA, length), "unmap");
	}
}
