// SPDX-License-Identifier: GPL-2.0-only
/* What GET_DIRTY_BITMAP costs, and how long other calls wait for it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench_mock.h"
#include "bench_probe.h"

#define DIRTY_IOVA	(MOCK_IOVA + 32 * HUGE)

static uint64_t bits[DIRTY / PAGE / 64];

/* Reads the dirty pages of all that is mapped, in one call. */
static int read_dirty(int fd, uint32_t hwpt)
{
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .hwpt_id = hwpt, .iova = DIRTY_IOVA, .length = DIRTY, .page_size = PAGE,
		.data = PTR(bits),
	};

	return call(fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get);
}

/* Makes one of each `of` pages dirty, which is 1 or a multiple of 64. */
static int make_dirty(int fd, uint32_t hwpt, size_t of)
{
	size_t i;

	memset(bits, of == 1 ? 0xff : 0, sizeof(bits));
	for (i = 0; of > 1 && i < ARRAY_SIZE(bits); i += of / 64)
		bits[i] = 1;
	return mock_set_dirty(fd, hwpt, DIRTY_IOVA, DIRTY, PAGE, bits);
}

void dirty_rows(const char *name, const char *p, const void *page)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
	};
	struct iommu_hwpt_set_dirty_tracking on = {
		.size = sizeof(on), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};
	uint32_t hwpt, device;
	char meanwhile[64];
	int fd, i;

	if (!wanted(name))
		return;
	fd = must(open_iommu(), "/dev/iommu");
	must(ioas_alloc(fd, &alloc.pt_id), "IOAS_ALLOC");
	must(mock_device_flags(fd, alloc.pt_id, 0, &device, &alloc.dev_id), "MOCK_DOMAIN");
	must(call(fd, IOMMU_HWPT_ALLOC, &alloc), "HWPT_ALLOC");
	hwpt = on.hwpt_id = alloc.out_hwpt_id;
	must(map(fd, alloc.pt_id, p, DIRTY, DIRTY_IOVA), "map");
	must(call(fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &on), "SET_DIRTY_TRACKING");
	for (i = 0; i < nr_repeats; i++) {
		sample(TIMED(read_dirty(fd, hwpt)), unit, "%s: read dirty pages, none", name);
		must(make_dirty(fd, hwpt, 1), "TEST_OP_DIRTY");
		sample(TIMED(read_dirty(fd, hwpt)), unit, "%s: read dirty pages, all", name);
		must(make_dirty(fd, hwpt, HUGE / PAGE), "TEST_OP_DIRTY");
		sample(TIMED(read_dirty(fd, hwpt)), unit, "%s: read dirty pages, 1 in 512", name);
		if (!two_cpus())
			continue;
		must(make_dirty(fd, hwpt, 1), "TEST_OP_DIRTY");
		start_probe(fd, alloc.pt_id, page, MOCK_IOVA);
		must(read_dirty(fd, hwpt), "GET_DIRTY_BITMAP");
		snprintf(meanwhile, sizeof(meanwhile), "dirty pages of %s are read", name);
		end_probe(meanwhile);
	}
	close(fd);
}
