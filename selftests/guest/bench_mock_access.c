// SPDX-License-Identifier: GPL-2.0-only
/* What a driver in the kernel pays that uses memory through an access, and a guest that invalidates. */
#include <stdio.h>
#include <unistd.h>

#include "bench_mock.h"

/* The most that the mock pins in a call. */
#define MOST		(16UL << 20)
#define MAX_BATCH	4096

static void pin_rows(const char *name, int fd, uint32_t ioas)
{
	static const struct {
		const char *name;
		uint64_t length;
	} sizes[] = { { "4 KiB", PAGE }, { "2 MiB", HUGE }, { "16 MiB", MOST } };
	int access = must(access_open(fd, ioas, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES), "CREATE_ACCESS");
	uint64_t pinned[NR_CALLS], unpinned[NR_CALLS];
	uint32_t id;
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (j = 0; j < NR_CALLS; j++) {
			pinned[j] = TIMED(access_pin(fd, access, MOCK_IOVA, sizes[i].length, NULL, &id));
			unpinned[j] = TIMED(access_unpin(fd, access, id));
		}
		sample(median(pinned, NR_CALLS), unit, "%s: access pins %s", name, sizes[i].name);
		sample(median(unpinned, NR_CALLS), unit, "%s: access unpins %s", name, sizes[i].name);
	}
	close(access);
}

static void rw_rows(const char *name, int fd, uint32_t ioas)
{
	static const struct {
		const char *name;
		uint64_t length;
	} sizes[] = { { "1 byte", 1 }, { "4 KiB", PAGE }, { "2 MiB", HUGE } };
	int access = must(access_open(fd, ioas, 0), "CREATE_ACCESS");
	uint64_t read[NR_CALLS], written[NR_CALLS];
	static char data[HUGE];
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (j = 0; j < NR_CALLS; j++) {
			read[j] = TIMED(access_rw(fd, access, MOCK_IOVA, data, sizes[i].length, 0));
			written[j] = TIMED(access_rw(fd, access, MOCK_IOVA, data, sizes[i].length,
						     MOCK_ACCESS_RW_WRITE));
		}
		sample(median(read, NR_CALLS), unit, "%s: access reads %s", name, sizes[i].name);
		sample(median(written, NR_CALLS), unit, "%s: access writes %s", name, sizes[i].name);
	}
	close(access);
}

void access_rows(const char *name, char *p)
{
	uint32_t ioas;
	int fd;

	if (!wanted(name))
		return;
	fd = must(open_iommu(), "/dev/iommu");
	must(ioas_alloc(fd, &ioas), "IOAS_ALLOC");
	must(map(fd, ioas, p, MOST, MOCK_IOVA), "map");
	pin_rows(name, fd, ioas);
	rw_rows(name, fd, ioas);
	close(fd);
}

/* Makes a guest's page tables on a mock device. Returns the context's file. */
static int open_guest_tables(uint32_t *hwpt)
{
	struct iommu_hwpt_selftest data = {};
	struct iommu_hwpt_alloc parent = {
		.size = sizeof(parent), .flags = IOMMU_HWPT_ALLOC_NEST_PARENT,
	};
	struct iommu_hwpt_alloc nested = {
		.size = sizeof(nested), .data_type = IOMMU_HWPT_DATA_SELFTEST, .data_len = sizeof(data),
		.data_uptr = PTR(&data),
	};
	int fd = must(open_iommu(), "/dev/iommu");
	uint32_t device, automatic;

	must(ioas_alloc(fd, &parent.pt_id), "IOAS_ALLOC");
	must(mock_device(fd, parent.pt_id, &device, &parent.dev_id, &automatic), "MOCK_DOMAIN");
	must(call(fd, IOMMU_HWPT_ALLOC, &parent), "HWPT_ALLOC");
	nested.dev_id = parent.dev_id;
	nested.pt_id = parent.out_hwpt_id;
	must(call(fd, IOMMU_HWPT_ALLOC, &nested), "HWPT_ALLOC");
	*hwpt = nested.out_hwpt_id;
	return fd;
}

void invalidation_rows(const char *name, uint32_t nr)
{
	static struct iommu_hwpt_invalidate_selftest requests[MAX_BATCH];
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd), .data_uptr = PTR(requests), .entry_len = sizeof(requests[0]),
		.data_type = IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
	};
	uint64_t took[NR_CALLS];
	int i, fd;

	if (!wanted(name))
		return;
	fd = open_guest_tables(&cmd.hwpt_id);
	for (i = 0; i < NR_CALLS; i++) {
		cmd.entry_num = nr;
		took[i] = TIMED(call(fd, IOMMU_HWPT_INVALIDATE, &cmd));
		if (cmd.entry_num != nr)
			give_up("%s: %u were carried out", name, cmd.entry_num);
	}
	sample((double)median(took, NR_CALLS) / nr, unit, "%s: a request", name);
	close(fd);
}
