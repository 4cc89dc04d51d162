// SPDX-License-Identifier: GPL-2.0-only
/* See nested_call.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/mman.h>

#include "nested_call.h"

/* Of edu, docs/specs/edu.rst of QEMU. */
#define EDU_DMA_SOURCE	0x80
#define EDU_DMA_TARGET	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_COMMAND	0x98
#define EDU_DMA_RUN	1u
#define EDU_DMA_WRITE	2u
#define EDU_BUFFER	0x40000

/* Milliseconds that a DMA of edu may take: it is a timer's of 100. */
#define PATIENCE	20000

bool by_the_driver(void)
{
	return on_c_module() || getenv("IN_TREE");
}

uint64_t ipa_of(enum guest_page page)
{
	return GUEST_BASE + page * PAGE;
}

char *page_of(struct nested *n, uint32_t page)
{
	return n->memory + page * PAGE;
}

static uint64_t *entries(struct nested *n, uint32_t page)
{
	return (uint64_t *)page_of(n, page);
}

void map_va(struct nested *n, int table, uint64_t va, uint32_t page)
{
	/* Valid page, RW for all, inner shareable, accessed, not global. */
	uint64_t pte = ipa_of(page) | 3 | 1 << 6 | 3 << 8 | 1 << 10 | 1 << 11;

	entries(n, table ? OTHER_L3_PAGE : L3_PAGE)[va / PAGE] = page ? pte : 0;
	__sync_synchronize();
}

void set_cd(struct nested *n, int table, uint32_t asid)
{
	uint64_t *cd = entries(n, CD_PAGE);

	/* 39-bit addresses, write-back inner shareable walks, no TTB1, valid, 40-bit IPAs, AArch64,
	 * record and abort faults. */
	cd[0] = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1ULL << 30 | 1ULL << 31 | 2ULL << 32 |
		1ULL << 41 | 1ULL << 45 | 1ULL << 46 | 1ULL << 47 | (uint64_t)asid << 48;
	cd[1] = ipa_of(table ? OTHER_L1_PAGE : L1_PAGE);
	cd[2] = 0;
	cd[3] = 0xff;
	__sync_synchronize();
}

static void fill_memory(struct nested *n)
{
	entries(n, L1_PAGE)[0] = ipa_of(L2_PAGE) | 3;
	entries(n, L2_PAGE)[0] = ipa_of(L3_PAGE) | 3;
	entries(n, OTHER_L1_PAGE)[0] = ipa_of(OTHER_L2_PAGE) | 3;
	entries(n, OTHER_L2_PAGE)[0] = ipa_of(OTHER_L3_PAGE) | 3;
	map_va(n, 0, SOURCE_VA, SOURCE_PAGE);
	map_va(n, 0, TARGET_VA, A_PAGE);
	map_va(n, 1, SOURCE_VA, SOURCE_PAGE);
	map_va(n, 1, TARGET_VA, B_PAGE);
	set_cd(n, 0, ASID);
}

/* Lets the device do DMA, and maps its registers. */
static bool start_device(struct nested *n)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX };
	uint16_t command = 6;
	void *registers;

	if (call(n->dev, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    call(n->dev, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    pwrite(n->dev, &command, sizeof(command), config.offset + 4) != sizeof(command))
		return false;
	registers = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, n->dev, bar.offset);
	n->bar = registers;
	return registers != MAP_FAILED;
}

static int parent(struct nested *n, uint32_t ioas)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .flags = IOMMU_HWPT_ALLOC_NEST_PARENT, .dev_id = n->dev_id,
		.pt_id = ioas,
	};
	int r = call(n->fd, IOMMU_HWPT_ALLOC, &cmd);

	n->parent = cmd.out_hwpt_id;
	return r;
}

int viommu(struct nested *n)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = IOMMU_VIOMMU_TYPE_ARM_SMMUV3, .dev_id = n->dev_id,
		.hwpt_id = n->parent,
	};
	int r = call(n->fd, IOMMU_VIOMMU_ALLOC, &cmd);

	n->viommu = cmd.out_viommu_id;
	return r;
}

int vdevice(struct nested *n)
{
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = n->viommu, .dev_id = n->dev_id, .virt_id = n->vsid,
	};
	int r = call(n->fd, IOMMU_VDEVICE_ALLOC, &cmd);

	n->vdevice = cmd.out_vdevice_id;
	return r;
}

/* Opens a device and binds it to n->fd. */
static int open_device(struct nested *n, const char *path)
{
	int r;

	n->dev = open(path ? path : "", O_RDWR | O_CLOEXEC);
	if (n->dev < 0)
		return -errno;
	r = bind_device(n->dev, n->fd, &n->dev_id);
	return r ?: start_device(n) ? 0 : -EIO;
}

int open_parent(struct nested *n, const char *path)
{
	int r;

	*n = (struct nested){ .stamp = 0x1000, .vsid = VSID };
	n->fd = open_iommu();
	if (n->fd < 0)
		return -errno;
	n->memory = mmap(NULL, GUEST_PAGES * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (n->memory == MAP_FAILED)
		return -ENOMEM;
	fill_memory(n);
	r = open_device(n, path);
	r = r ?: ioas_alloc(n->fd, &n->ioas);
	r = r ?: parent(n, n->ioas);
	return r ?: map(n->fd, n->ioas, n->memory, GUEST_PAGES * PAGE, GUEST_BASE);
}

int open_beside(struct nested *n, const struct nested *first, const char *path)
{
	int r;

	*n = *first;
	n->stamp = 0x2000;
	n->vsid = VSID + 1;
	r = open_device(n, path);
	return r ?: parent(n, n->ioas);
}

static int open_all(struct nested *n)
{
	int r = open_parent(n, getenv("CDEV"));

	r = r ?: viommu(n);
	return r ?: vdevice(n);
}

bool open_nested(struct nested *n)
{
	int r = open_all(n);

	if (r)
		fail("no vIOMMU: %s", errno_name(r));
	return !r;
}

bool open_attached(struct nested *n, uint32_t *hwpt)
{
	int r;

	if (!open_nested(n))
		return false;
	r = translate(n, hwpt);
	r = r ?: attach(n->dev, *hwpt, NULL);
	if (r)
		fail("not attached: %s", errno_name(r));
	return !r;
}

void close_nested(struct nested *n)
{
	munmap((void *)n->bar, 1 << 20);
	close(n->dev);
	close(n->fd);
	munmap(n->memory, GUEST_PAGES * PAGE);
}

int vste(struct nested *n, uint64_t word0, uint64_t word1, uint32_t *hwpt)
{
	struct iommu_hwpt_arm_smmuv3 data = { .ste = { word0, word1 } };
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .dev_id = n->dev_id, .pt_id = n->viommu,
		.data_type = IOMMU_HWPT_DATA_ARM_SMMUV3, .data_len = sizeof(data),
		.data_uptr = PTR(&data),
	};
	int r = call(n->fd, IOMMU_HWPT_ALLOC, &cmd);

	if (!r)
		*hwpt = cmd.out_hwpt_id;
	return r;
}

int translate(struct nested *n, uint32_t *hwpt)
{
	return vste(n, STE_TRANSLATE | ipa_of(CD_PAGE), STE_CD_CACHED, hwpt);
}

static void set_register(struct nested *n, uint32_t place, uint64_t value)
{
	*(volatile uint64_t *)(n->bar + place) = value;
}

static void dma(struct nested *n, uint64_t source, uint64_t target, uint32_t command)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };
	int left = PATIENCE;

	set_register(n, EDU_DMA_SOURCE, source);
	set_register(n, EDU_DMA_TARGET, target);
	set_register(n, EDU_DMA_COUNT, 4);
	set_register(n, EDU_DMA_COMMAND, command | EDU_DMA_RUN);
	while (*(volatile uint64_t *)(n->bar + EDU_DMA_COMMAND) & EDU_DMA_RUN) {
		if (!left--) {
			fail("a DMA does not end");
			return;
		}
		nanosleep(&millisecond, NULL);
	}
}

void device_copies(struct nested *n, uint64_t source, uint64_t target)
{
	dma(n, source, EDU_BUFFER, 0);
	dma(n, EDU_BUFFER, target, EDU_DMA_WRITE);
}

uint32_t written_to(struct nested *n, uint64_t target)
{
	uint32_t stamp = ++n->stamp;

	*(volatile uint32_t *)page_of(n, SOURCE_PAGE) = stamp;
	device_copies(n, SOURCE_VA, target);
	if (*(volatile uint32_t *)page_of(n, A_PAGE) == stamp)
		return A_PAGE;
	return *(volatile uint32_t *)page_of(n, B_PAGE) == stamp ? B_PAGE : 0;
}

command by_op(uint64_t op)
{
	return (command){ .cmd = { op } };
}

command by_asid(uint32_t asid)
{
	return (command){ .cmd = { OP_NH_ASID | (uint64_t)ANY_VMID << 32 | (uint64_t)asid << 48 } };
}

command by_va(uint64_t op, uint64_t va, uint32_t asid)
{
	return (command){ .cmd = { op | (uint64_t)ANY_VMID << 32 | (uint64_t)asid << 48, va } };
}

command by_range(uint64_t va, uint32_t asid, uint32_t ttl, uint32_t num, uint32_t scale)
{
	command c = by_va(OP_NH_VA, va, asid);

	c.cmd[0] |= (uint64_t)num << 12 | (uint64_t)scale << 20;
	c.cmd[1] |= 1 << 10 | ttl << 8;
	return c;
}

command by_vsid(uint64_t op, uint32_t vsid)
{
	return (command){ .cmd = { op | (uint64_t)vsid << 32 } };
}

int submit(struct nested *n, const command *commands, uint32_t nr, uint32_t *done)
{
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd), .hwpt_id = n->viommu, .data_uptr = PTR(commands),
		.data_type = IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3,
		.entry_len = sizeof(*commands), .entry_num = nr,
	};
	int r = call(n->fd, IOMMU_HWPT_INVALIDATE, &cmd);

	*done = cmd.entry_num;
	return r;
}

int submit_one(struct nested *n, command c)
{
	uint32_t done;
	int r = submit(n, &c, 1, &done);

	if (!r && done != 1)
		fail("%u commands of 1 were carried out", done);
	return r;
}
