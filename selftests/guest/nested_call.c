// SPDX-License-Identifier: GPL-2.0-only
/* See nested_call.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/mman.h>

#include "memory.h"
#include "nested_call.h"

/* Milliseconds that another process may take to begin. */
#define PATIENCE	20000

/* No call allocates as often. */
#define MOST_FAILURES	400

/* The memory that guests share, if they do. */
static char *shared;

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

/* One of the guest's two tables: where the device reads and writes, its rings, and interrupts. */
static void fill_table(struct nested *n, int table, uint32_t l1, uint32_t target)
{
	uint32_t l2 = l1 + 1, i;

	entries(n, l1)[0] = ipa_of(l2) | 3;
	entries(n, l2)[0] = ipa_of(l2 + 1) | 3;
	/* A valid block, RW for all, inner shareable, accessed, not global. */
	entries(n, l2)[MSI_VA / HUGE] = MSI_VA | 1 | 1 << 6 | 3 << 8 | 1 << 10 | 1 << 11;
	map_va(n, table, SOURCE_VA, SOURCE_PAGE);
	map_va(n, table, TARGET_VA, target);
	for (i = 0; i < RING_PAGES; i++)
		map_va(n, table, RINGS_VA + i * PAGE, RINGS_PAGE + i);
}

static void fill_memory(struct nested *n)
{
	memset(n->memory, 0, GUEST_PAGES * PAGE);
	fill_table(n, 0, L1_PAGE, A_PAGE);
	fill_table(n, 1, OTHER_L1_PAGE, B_PAGE);
	set_cd(n, 0, ASID);
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

static char *new_memory(void)
{
	char *p = mmap(NULL, GUEST_PAGES * PAGE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

bool share_memory(void)
{
	shared = shared ?: new_memory();
	return shared;
}

static int open_path(const char *path)
{
	return open(path ? path : "", O_RDWR | O_CLOEXEC);
}

static int start_device(struct nested *n)
{
	n->edu.dev = n->dev;
	return start_edu(&n->edu) ? 0 : -EIO;
}

/* As open_parent() for any device, whose file is dev. */
static int open_parent_on(struct nested *n, int dev)
{
	int r;

	*n = (struct nested){ .dev = dev, .stamp = 0x1000, .vsid = VSID };
	n->fd = open_iommu();
	if (n->fd < 0 || n->dev < 0)
		return -errno;
	n->memory = shared ?: new_memory();
	if (!n->memory)
		return -ENOMEM;
	fill_memory(n);
	r = bind_device(n->dev, n->fd, &n->dev_id);
	r = r ?: ioas_alloc(n->fd, &n->ioas);
	r = r ?: parent(n, n->ioas);
	return r ?: map(n->fd, n->ioas, n->memory, GUEST_PAGES * PAGE, GUEST_BASE);
}

int open_parent(struct nested *n, const char *path)
{
	int r = open_parent_on(n, open_path(path));

	return r ?: start_device(n);
}

int open_beside(struct nested *n, const struct nested *first, const char *path)
{
	int r;

	*n = *first;
	n->stamp = 0x2000;
	n->vsid = VSID + 1;
	n->dev = open_path(path);
	if (n->dev < 0)
		return -errno;
	r = bind_device(n->dev, n->fd, &n->dev_id);
	r = r ?: start_device(n);
	return r ?: parent(n, n->ioas);
}

bool open_nested_on(struct nested *n, int dev)
{
	int r = open_parent_on(n, dev);

	r = r ?: viommu(n);
	r = r ?: vdevice(n);
	if (r)
		fail("no vIOMMU: %s", errno_name(r));
	return !r;
}

bool open_nested(struct nested *n)
{
	int r;

	if (!open_nested_on(n, open_path(getenv("CDEV"))))
		return false;
	r = start_device(n);
	if (r)
		fail("the device cannot be driven: %s", errno_name(r));
	return !r;
}

bool attach_nested(struct nested *n, uint32_t *hwpt)
{
	int r = translate(n, hwpt);

	r = r ?: attach(n->dev, *hwpt, NULL);
	if (r)
		fail("not attached: %s", errno_name(r));
	return !r;
}

bool open_attached(struct nested *n, uint32_t *hwpt)
{
	return open_nested(n) && attach_nested(n, hwpt);
}

char *guest_memory(void)
{
	return shared;
}

void close_device(struct nested *n)
{
	if (n->edu.registers)
		stop_edu(&n->edu);
	if (n->dev >= 0)
		close(n->dev);
	n->dev = -1;
}

void close_nested(struct nested *n)
{
	close_device(n);
	close(n->fd);
	if (!shared)
		munmap(n->memory, GUEST_PAGES * PAGE);
}

bool wait_for(const volatile uint32_t *counter, uint32_t value)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };
	int left = PATIENCE;

	while (*counter < value && left--)
		nanosleep(&millisecond, NULL);
	return *counter >= value;
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

int second_vste(struct nested *n, uint32_t *hwpt)
{
	uint64_t *first = entries(n, CD_PAGE), *second = first + 8;

	memcpy(second, first, 64);
	second[0] += 1ULL << 48;
	second[1] = ipa_of(OTHER_L1_PAGE);
	__sync_synchronize();
	return vste(n, STE_TRANSLATE | (ipa_of(CD_PAGE) + 64), STE_CD_CACHED, hwpt);
}

void device_copies(struct nested *n, uint64_t source, uint64_t target)
{
	edu_copies(&n->edu, source, target);
}

void read_stamp(struct nested *n, uint64_t source)
{
	*(volatile uint32_t *)page_of(n, SOURCE_PAGE) = ++n->stamp;
	edu_reads(&n->edu, source);
}

void start_write(struct nested *n, uint64_t target)
{
	edu_begins_to_write(&n->edu, target);
}

bool is_to_arrive(const struct nested *n)
{
	return edu_is_to_write(&n->edu);
}

uint32_t stamped_page(struct nested *n)
{
	if (*(volatile uint32_t *)page_of(n, A_PAGE) == n->stamp)
		return A_PAGE;
	return *(volatile uint32_t *)page_of(n, B_PAGE) == n->stamp ? B_PAGE : 0;
}

uint32_t arrived_at(struct nested *n)
{
	edu_ends(&n->edu);
	return stamped_page(n);
}

uint32_t written_to(struct nested *n, uint64_t target)
{
	read_stamp(n, SOURCE_VA);
	start_write(n, target);
	return arrived_at(n);
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

command in_range(command c, uint32_t ttl, uint32_t num, uint32_t scale)
{
	c.cmd[0] |= (uint64_t)num << 12 | (uint64_t)scale << 20;
	c.cmd[1] |= 1 << 10 | ttl << 8;
	return c;
}

command by_range(uint64_t va, uint32_t asid, uint32_t ttl, uint32_t num, uint32_t scale)
{
	return in_range(by_va(OP_NH_VA, va, asid), ttl, num, scale);
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

void fail_everywhere(struct nested *n, const char *name, int (*attempt)(struct nested *),
			    int (*undo)(struct nested *), bool attached)
{
	int inject = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC), r = -1;
	uint32_t nth, refused = 0;

	CHECK(inject >= 0 && sleeping_allocations_fail());
	for (nth = 1; nth < MOST_FAILURES; nth++) {
		CHECK(fail_nth(inject, nth));
		r = attempt(n);
		if (!nth_failed(inject))
			break;
		refused += r == -ENOMEM;
		if (!r)
			WANT(undo(n), 0);
		if (attached)
			WANT(written_to(n, TARGET_VA), A_PAGE);
	}
	close(inject);
	note("%s: %u of %u failures refuse it", name, refused, nth - 1);
	WANT(r, 0);
	CHECK(refused);
}
