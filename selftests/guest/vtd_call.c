// SPDX-License-Identifier: GPL-2.0-only
/* See vtd_call.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vtd_call.h"

bool by_the_driver(void)
{
	return on_c_module() || getenv("IN_TREE");
}

char *page_of(struct guest *g, uint32_t page)
{
	return g->memory + page * PAGE;
}

static uint64_t *entries(struct guest *g, uint32_t page)
{
	return (uint64_t *)page_of(g, page);
}

void map_va(struct guest *g, int table, uint64_t va, uint32_t page)
{
	/* Present, writeable, for users, accessed, dirty. */
	uint64_t entry = phys_of(page_of(g, page)) | 0x67;

	entries(g, table ? OTHER_L1_PAGE : L1_PAGE)[va / PAGE] = page ? entry : 0;
	__sync_synchronize();
}

void point(struct guest *g, uint32_t from, uint32_t to)
{
	entries(g, from)[0] = phys_of(page_of(g, to)) | 0x67;
	__sync_synchronize();
}

int make_parent(struct guest *g, uint32_t flags)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .flags = IOMMU_HWPT_ALLOC_NEST_PARENT | flags, .dev_id = g->dev_id,
		.pt_id = g->ioas,
	};
	int r = call(g->fd, IOMMU_HWPT_ALLOC, &cmd);

	g->parent = cmd.out_hwpt_id;
	return r;
}

int first_stage_of(struct guest *g, uint32_t flags, const void *data, uint32_t len,
			  uint32_t *hwpt)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .flags = flags, .dev_id = g->dev_id, .pt_id = g->parent,
		.data_type = IOMMU_HWPT_DATA_VTD_S1, .data_len = len, .data_uptr = PTR(data),
	};
	int r = call(g->fd, IOMMU_HWPT_ALLOC, &cmd);

	if (!r && hwpt)
		*hwpt = cmd.out_hwpt_id;
	return r;
}

static int stage_of_table(struct guest *g, uint32_t flags, int table, uint32_t *hwpt)
{
	struct iommu_hwpt_vtd_s1 s1 = {
		.pgtbl_addr = phys_of(page_of(g, table ? OTHER_L4_PAGE : L4_PAGE)), .addr_width = 48,
	};

	return first_stage_of(g, flags, &s1, sizeof(s1), hwpt);
}

int first_stage(struct guest *g, int table, uint32_t *hwpt)
{
	return stage_of_table(g, 0, table, hwpt);
}

int first_stage_for_pasids(struct guest *g, int table, uint32_t *hwpt)
{
	return stage_of_table(g, IOMMU_HWPT_ALLOC_PASID, table, hwpt);
}

static int open_all(struct guest *g, const char *device)
{
	int r;

	*g = (struct guest){ .stamp = 0x1000 };
	g->fd = open_iommu();
	g->edu.dev = open(device ? device : "", O_RDWR | O_CLOEXEC);
	if (g->fd < 0 || g->edu.dev < 0)
		return -errno;
	g->memory = mmap(NULL, GUEST_PAGES * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (g->memory == MAP_FAILED || mlock(g->memory, GUEST_PAGES * PAGE))
		return -ENOMEM;
	for (int n = 0; n < 3; n++) {
		point(g, L4_PAGE + n, L4_PAGE + n + 1);
		point(g, OTHER_L4_PAGE + n, OTHER_L4_PAGE + n + 1);
	}
	map_va(g, 0, SOURCE_VA, SOURCE_PAGE);
	map_va(g, 0, TARGET_VA, A_PAGE);
	map_va(g, 1, SOURCE_VA, SOURCE_PAGE);
	map_va(g, 1, TARGET_VA, B_PAGE);
	r = bind_device(g->edu.dev, g->fd, &g->dev_id);
	r = r ?: ioas_alloc(g->fd, &g->ioas);
	r = r ?: make_parent(g, 0);
	/* Pins the pages: their physical addresses stay. */
	return r ?: map(g->fd, g->ioas, g->memory, GUEST_PAGES * PAGE, GUEST_BASE);
}

bool open_quiet(struct guest *g, const char *device)
{
	int r = open_all(g, device);

	if (r)
		fail("no device with nested page tables: %s", errno_name(r));
	return !r;
}

bool open_guest_of(struct guest *g, const char *device)
{
	if (!open_quiet(g, device))
		return false;
	if (!start_edu(&g->edu)) {
		fail("the device has no registers of edu");
		return false;
	}
	return true;
}

bool open_guest(struct guest *g)
{
	return open_guest_of(g, getenv("CDEV"));
}

bool attach_first_stage(struct guest *g, uint32_t *hwpt)
{
	int r = first_stage(g, 0, hwpt);

	r = r ?: attach(g->edu.dev, *hwpt, NULL);
	if (r)
		fail("not attached: %s", errno_name(r));
	return !r;
}

bool open_attached(struct guest *g, uint32_t *hwpt)
{
	return open_guest(g) && attach_first_stage(g, hwpt);
}

void close_guest(struct guest *g)
{
	if (g->edu.registers)
		stop_edu(&g->edu);
	close(g->edu.dev);
	close(g->fd);
	munmap(g->memory, GUEST_PAGES * PAGE);
}

uint32_t written_to(struct guest *g, uint64_t target)
{
	uint32_t stamp = ++g->stamp;

	*(volatile uint32_t *)page_of(g, SOURCE_PAGE) = stamp;
	edu_copies(&g->edu, SOURCE_VA, target);
	if (*(volatile uint32_t *)page_of(g, A_PAGE) == stamp)
		return A_PAGE;
	return *(volatile uint32_t *)page_of(g, B_PAGE) == stamp ? B_PAGE : 0;
}

int invalidate_of(struct guest *g, uint32_t hwpt, const void *requests, uint32_t len,
			 uint32_t nr, uint32_t *done)
{
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd), .hwpt_id = hwpt, .data_uptr = PTR(requests),
		.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1, .entry_len = len, .entry_num = nr,
	};
	int r = call(g->fd, IOMMU_HWPT_INVALIDATE, &cmd);

	*done = cmd.entry_num;
	return r;
}

int invalidate(struct guest *g, uint32_t hwpt, const request *requests, uint32_t nr)
{
	uint32_t done;
	int r = invalidate_of(g, hwpt, requests, sizeof(*requests), nr, &done);

	if (!r && done != nr)
		fail("%u requests of %u were carried out", done, nr);
	return r;
}

request pages(uint64_t va, uint64_t npages, uint32_t flags)
{
	return (request){ .addr = va, .npages = npages, .flags = flags };
}
