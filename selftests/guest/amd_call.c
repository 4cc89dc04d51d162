// SPDX-License-Identifier: GPL-2.0-only
/* See amd_call.h. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "amd_call.h"

#define SHOWN	"/sys/kernel/debug/iommu/amd/"

bool by_the_driver(void)
{
	return on_c_module() || getenv("IN_TREE");
}

char *page_of(struct guest *g, uint32_t page)
{
	return g->memory + page * PAGE;
}

uint64_t gpa_of(uint32_t page)
{
	return GUEST_BASE + page * PAGE;
}

int viommu_of(struct guest *g, uint32_t type, uint32_t *id)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = type, .dev_id = g->dev_id, .hwpt_id = g->parent,
	};
	int r = call(g->fd, IOMMU_VIOMMU_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_viommu_id;
	return r;
}

int vdevice_of(struct guest *g, uint64_t virt_id, uint32_t *id)
{
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = g->viommu, .dev_id = g->dev_id, .virt_id = virt_id,
	};
	int r = call(g->fd, IOMMU_VDEVICE_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_vdevice_id;
	return r;
}

static struct dte with_gcr3(uint32_t domain, uint64_t gcr3)
{
	return (struct dte){ {
		DTE_V | DTE_TV | DTE_GV | DTE_GIOV | DTE_IR | DTE_IW | DTE_GCR3_0(gcr3),
		DTE_GCR3_1(gcr3) | domain,
	} };
}

struct dte translating(uint32_t domain, uint32_t gcr3_page)
{
	return with_gcr3(domain, gpa_of(gcr3_page));
}

/* Present, the level of the next table, readable and writeable. */
#define ENTRY(page, level)	(phys_of(page) | 1 | (level) << 9 | 1UL << 61 | 1UL << 62)

void map_va(struct guest *g, int table, uint64_t va, uint32_t page)
{
	uint64_t *leaves = (uint64_t *)page_of(g, table ? OTHER_L1_PAGE : L1_PAGE);

	leaves[va / PAGE] = page ? ENTRY(page_of(g, page), 0) : 0;
	__sync_synchronize();
}

struct dte by_table(struct guest *g, uint32_t domain, int table)
{
	uint64_t *top = (uint64_t *)page_of(g, table ? OTHER_L2_PAGE : L2_PAGE);

	top[0] = ENTRY(page_of(g, table ? OTHER_L1_PAGE : L1_PAGE), 1);
	__sync_synchronize();
	return with_gcr3(domain, phys_of(top));
}

static int hwpt_of(struct guest *g, struct iommu_hwpt_alloc cmd, uint32_t *hwpt)
{
	int r;

	cmd.size = sizeof(cmd);
	cmd.dev_id = g->dev_id;
	r = call(g->fd, IOMMU_HWPT_ALLOC, &cmd);
	if (!r && hwpt)
		*hwpt = cmd.out_hwpt_id;
	return r;
}

int nested_of(struct guest *g, uint32_t flags, const void *data, uint32_t len, uint32_t *hwpt)
{
	struct iommu_hwpt_alloc cmd = {
		.flags = flags, .pt_id = g->viommu, .data_type = IOMMU_HWPT_DATA_AMD_GUEST,
		.data_len = len, .data_uptr = PTR(data),
	};

	return hwpt_of(g, cmd, hwpt);
}

int nested(struct guest *g, struct dte dte, uint32_t *hwpt)
{
	return nested_of(g, 0, &dte, sizeof(dte), hwpt);
}

static int open_device(struct guest *g, const char *device, const char *bdf)
{
	g->bdf = bdf ?: "";
	g->stamp = 0x1000;
	g->edu.dev = open(device ?: "", O_RDWR | O_CLOEXEC);
	if (g->edu.dev < 0)
		return -errno;
	return bind_device(g->edu.dev, g->fd, &g->dev_id);
}

static int open_all(struct guest *g, const char *device, const char *bdf, uint32_t flags)
{
	struct iommu_hwpt_alloc cmd = { .flags = IOMMU_HWPT_ALLOC_NEST_PARENT | flags };
	int r;

	*g = (struct guest){ .fd = open_iommu() };
	if (g->fd < 0)
		return -errno;
	g->memory = mmap(NULL, GUEST_PAGES * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (g->memory == MAP_FAILED)
		return -ENOMEM;
	r = open_device(g, device, bdf);
	r = r ?: ioas_alloc(g->fd, &g->ioas);
	cmd.pt_id = g->ioas;
	r = r ?: hwpt_of(g, cmd, &g->parent);
	r = r ?: map(g->fd, g->ioas, g->memory, GUEST_PAGES * PAGE, GUEST_BASE);
	r = r ?: viommu_of(g, IOMMUFD_RS_VIOMMU_TYPE_AMD, &g->viommu);
	r = r ?: vdevice_of(g, DEVICE, &g->vdevice);
	return r;
}

static bool open_with(struct guest *g, const char *device, const char *bdf, uint32_t flags)
{
	int r = open_all(g, device, bdf, flags);

	if (r)
		fail("no device and vIOMMU: %s", errno_name(r));
	return !r;
}

bool open_guest_of(struct guest *g, const char *device, const char *bdf)
{
	return open_with(g, device, bdf, 0);
}

static bool open_edu(struct guest *g, uint32_t flags)
{
	if (!open_with(g, getenv("CDEV"), getenv("BDF"), flags))
		return false;
	if (!start_edu(&g->edu)) {
		fail("the device has no registers of edu");
		return false;
	}
	return true;
}

bool open_guest(struct guest *g)
{
	return open_edu(g, 0);
}

bool open_tracked(struct guest *g)
{
	return open_edu(g, IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
}

bool open_beside(struct guest *g, const struct guest *first)
{
	int r;

	*g = *first;
	r = open_device(g, getenv("OTHER_CDEV"), getenv("OTHER_BDF"));
	/* Numbers that the first device does not write. */
	g->stamp += 1U << 31;
	r = r ?: vdevice_of(g, OTHER_DEVICE, &g->vdevice);
	r = r ?: start_edu(&g->edu) ? 0 : -EIO;
	if (r)
		fail("no second device: %s", errno_name(r));
	return !r;
}

bool open_attached(struct guest *g, struct dte dte, uint32_t *hwpt)
{
	int r;

	if (!open_guest(g))
		return false;
	r = nested(g, dte, hwpt);
	r = r ?: attach(g->edu.dev, *hwpt, NULL);
	if (r)
		fail("not attached: %s", errno_name(r));
	return !r;
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
	return written_by(g, gpa_of(SOURCE_PAGE), target);
}

uint32_t written_by(struct guest *g, uint64_t source, uint64_t target)
{
	uint32_t stamp = ++g->stamp;

	*(volatile uint32_t *)page_of(g, SOURCE_PAGE) = stamp;
	edu_copies(&g->edu, source, target);
	if (*(volatile uint32_t *)page_of(g, A_PAGE) == stamp)
		return A_PAGE;
	return *(volatile uint32_t *)page_of(g, B_PAGE) == stamp ? B_PAGE : 0;
}

struct dte parent_entry(struct guest *g)
{
	if (attach(g->edu.dev, g->parent, NULL))
		fail("not attached to the parent");
	return entry_of(g);
}

struct dte entry_of(const struct guest *g)
{
	struct dte dte = { { 0 } };
	char line[256];
	FILE *file;
	int found = 0;

	if (!write_to(SHOWN "devid", g->bdf) || !(file = fopen(SHOWN "devtbl", "r"))) {
		fail("the driver does not show its tables: %s", errno_name(-errno));
		return dte;
	}
	/* A line of names, and the entry, whose first word is the last. */
	while (fgets(line, sizeof(line), file))
		found = sscanf(line, "%*s %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64, &dte.word[3],
			       &dte.word[2], &dte.word[1], &dte.word[0]);
	fclose(file);
	if (found != 4)
		fail("the driver shows no entry of %s", g->bdf);
	return dte;
}

void read_ring(struct ring *r)
{
	FILE *file = fopen(SHOWN "iommu00/cmdbuf", "r");
	uint32_t w[4];

	if (!file || fscanf(file, "CMD Buffer Head Offset:%u Tail Offset:%u", &r->head, &r->tail) != 2) {
		fail("the driver does not show its command buffer: %s", errno_name(-errno));
		return;
	}
	for (uint32_t n = 0; n < RING; n++) {
		if (fscanf(file, "%*u: %x %x %x %x", &w[0], &w[1], &w[2], &w[3]) != 4) {
			fail("the driver shows %u commands", n);
			break;
		}
		r->word[n][0] = w[0] | (uint64_t)w[1] << 32;
		r->word[n][1] = w[2] | (uint64_t)w[3] << 32;
	}
	fclose(file);
}

void begin_issue(struct issued *seen)
{
	read_ring(&seen->before);
}

void end_issue(struct issued *seen, uint32_t most)
{
	uint32_t since = 0;

	read_ring(&seen->after);
	seen->commands = seen->waits = 0;
	for (uint32_t at = seen->before.tail; at != seen->after.tail; at = (at + 1) % RING) {
		if (OPCODE_OF(seen->after.word[at][0]) == CMD_WAIT) {
			seen->waits++;
			since = 0;
			continue;
		}
		memcpy(seen->word[seen->commands++], seen->after.word[at], sizeof(seen->word[0]));
		if (++since > most)
			fail("%u commands without a COMPLETION_WAIT", since);
	}
	if (since)
		fail("%u commands that nothing waits for", since);
	if (seen->after.head != seen->after.tail)
		fail("the command buffer is not empty");
}

uint32_t device_id_of(const struct guest *g)
{
	unsigned int bus, slot, function;

	if (sscanf(g->bdf, "%*x:%x:%x.%x", &bus, &slot, &function) != 3)
		fail("%s is no address of a device", g->bdf);
	return bus << 8 | slot << 3 | function;
}

command devtab(uint32_t device)
{
	return (command){ .cmd = { CMD_DEVTAB << 60 | device } };
}

command pages(uint32_t domain, uint64_t range)
{
	return (command){ .cmd = { CMD_PAGES << 60 | (uint64_t)domain << 32, range } };
}

command iotlb(uint32_t device, uint64_t range)
{
	return (command){ .cmd = { CMD_IOTLB << 60 | device | (uint64_t)device << 32, range } };
}

command all(void)
{
	return (command){ .cmd = { CMD_ALL << 60 } };
}

int invalidate_of(struct guest *g, const void *commands, uint32_t len, uint32_t nr, uint32_t *done)
{
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd), .hwpt_id = g->viommu, .data_uptr = PTR(commands),
		.data_type = IOMMUFD_RS_VIOMMU_INVALIDATE_DATA_AMD, .entry_len = len, .entry_num = nr,
	};
	int r = call(g->fd, IOMMU_HWPT_INVALIDATE, &cmd);

	*done = cmd.entry_num;
	return r;
}

int invalidate(struct guest *g, const command *commands, uint32_t nr)
{
	uint32_t done;
	int r = invalidate_of(g, commands, sizeof(*commands), nr, &done);

	if (!r && done != nr)
		fail("%u commands of %u were carried out", done, nr);
	return r;
}
