// SPDX-License-Identifier: GPL-2.0-only
/* What one call costs in an IOAS that has many areas. */
#include "bench.h"

/* Maps `nr` pages from the lowest address that the kernel chooses, each by a call. */
static int fill(int iommu, uint32_t ioas, const void *p, unsigned int nr)
{
	unsigned int i;
	int r = 0;

	for (i = 1; !r && i <= nr; i++)
		r = map(iommu, ioas, p, PAGE, i * PAGE);
	return r;
}

void growth_rows(int iommu, int device, uint32_t ioas, const void *p)
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

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		const char *name = sizes[i].name;

		if (!wanted(name))
			continue;
		must(ioas_alloc(iommu, &other), "IOAS_ALLOC");
		must(fill(iommu, other, p, sizes[i].nr), "map");
		call_rows(name, iommu, other, p, PAGE, IOVA);
		must(detach(device), "detach");
		sample(TIMED(attach(device, other, NULL)), unit, "%s: attach", name);
		sample(TIMED(detach(device)), unit, "%s: detach", name);
		must(attach(device, ioas, NULL), "attach");
		sample(TIMED(unmap_all(iommu, other)), unit, "%s: unmap all", name);
		must(destroy(iommu, other), "DESTROY");
	}
}
