/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a VMM does for a guest with an SMMUv3, with QEMU's edu device: a second stage, a vIOMMU, a
 * vDEVICE, and the guest's memory with its context descriptors and page tables. Fields are those of
 * Arm IHI 0070 and of the VMSAv8-64 with 4 KiB granules.
 */
#ifndef NESTED_CALL_H
#define NESTED_CALL_H

#include "edu.h"
#include "frame.h"

/*
 * Where the guest's memory is for the second stage: the guest's physical addresses. The device has 28
 * address bits.
 */
#define GUEST_BASE	0x1000000UL
#define GUEST_PAGES	128UL

/* What the guest calls its device. */
#define VSID		0x77u
#define ASID		5u
/* What the guest's SMMU calls the guest, which nobody may look at. */
#define ANY_VMID	0x1234u

/* Pages of the guest's memory. */
enum guest_page {
	CD_PAGE,		/* CD 0 at its beginning, CD 1 in the next 64 bytes */
	L1_PAGE, L2_PAGE, L3_PAGE,
	OTHER_L1_PAGE, OTHER_L2_PAGE, OTHER_L3_PAGE,
	SOURCE_PAGE,
	A_PAGE, B_PAGE,
	RINGS_PAGE = 32,	/* what a device's driver needs, RING_PAGES of them */
};

#define RING_PAGES	64UL

/* Addresses that the device uses, of the first 2 MiB. */
#define SOURCE_VA	0x10000UL
#define TARGET_VA	0x20000UL
#define HOLE_VA		0x30000UL	/* maps nothing */
#define RINGS_VA	0x100000UL
/* Where the kernel has its doorbell for interrupts be, which the guest maps to itself: 2 MiB. */
#define MSI_VA		0x8000000UL

#define STE_INVALID	0ULL
#define STE_ABORT	(1ULL | 0ULL << 1)
#define STE_BYPASS	(1ULL | 4ULL << 1)
#define STE_TRANSLATE	(1ULL | 5ULL << 1)
/* Write-back CDs, inner shareable. */
#define STE_CD_CACHED	(1ULL << 2 | 1ULL << 4 | 3ULL << 6)
/* Full ATS. */
#define STE_ATS		(1ULL << 28)

#define OP_CFGI_CD	0x05ULL
#define OP_CFGI_CD_ALL	0x06ULL
#define OP_NH_ALL	0x10ULL
#define OP_NH_ASID	0x11ULL
#define OP_NH_VA	0x12ULL
#define OP_NH_VAA	0x13ULL
#define OP_NSNH_ALL	0x30ULL
#define OP_ATC_INV	0x40ULL

typedef struct iommu_viommu_arm_smmuv3_invalidate command;

struct nested {
	int fd, dev;
	uint32_t dev_id, ioas, parent, viommu, vdevice;
	uint64_t vsid;		/* of its vDEVICE */
	char *memory;		/* GUEST_PAGES of it */
	struct edu edu;		/* if the device is one */
	uint32_t stamp;		/* what is written next */
};

/* Returns whether the IOMMU's driver serves guests by itself: on the C module, and by in_tree. */
bool by_the_driver(void);

/*
 * Opens edu, $CDEV, and makes all but nested page tables. Fails the test and returns false if that
 * cannot be.
 */
bool open_nested(struct nested *n);

/* As open_nested() for any device, whose file is dev. The caller drives the device. */
bool open_nested_on(struct nested *n, int dev);

/* Makes nested page tables of the guest's first CD and attaches the device. */
bool attach_nested(struct nested *n, uint32_t *hwpt);

/* Makes nested page tables of the guest's second CD, whose table 1 maps TARGET_VA to B_PAGE. */
int second_vste(struct nested *n, uint32_t *hwpt);

/* Opens edu and attaches it as attach_nested() does. */
bool open_attached(struct nested *n, uint32_t *hwpt);

/* Opens edu at a path and makes a parent with the guest's memory. Returns 0 or a negative errno. */
int open_parent(struct nested *n, const char *path);

/* Opens another edu in the context of the first, by the next virtual id, with a parent of its own in
 * the same address space. Closing the first closes all that they share. */
int open_beside(struct nested *n, const struct nested *first, const char *path);

int viommu(struct nested *n);
int vdevice(struct nested *n);

/* Closes the device; all else that the VMM made is left. */
void close_device(struct nested *n);
void close_nested(struct nested *n);

/*
 * Has all guests from now on have one memory, which is shared with child processes. Returns whether
 * there is memory for it.
 */
bool share_memory(void);
/* That memory. */
char *guest_memory(void);

/* Waits until *counter is at least value, some seconds. Returns whether it is. */
bool wait_for(const volatile uint32_t *counter, uint32_t value);

/* The guest's physical address of a page. */
uint64_t ipa_of(enum guest_page page);
char *page_of(struct nested *n, uint32_t page);

/* Has one of the guest's two tables (0 or 1) map an address to a page, or with page 0 to nothing. */
void map_va(struct nested *n, int table, uint64_t va, uint32_t page);

/* Makes CD 0 of the guest: table 0 or 1, by its ASID. */
void set_cd(struct nested *n, int table, uint32_t asid);

/* Makes nested page tables. Returns 0 or a negative errno. */
int vste(struct nested *n, uint64_t word0, uint64_t word1, uint32_t *hwpt);
int translate(struct nested *n, uint32_t *hwpt);

/* Has the device read from source and write to target, 4 bytes. Both are addresses of the device. */
void device_copies(struct nested *n, uint64_t source, uint64_t target);

/*
 * Has the device write a new number to the target, by way of SOURCE_VA, and returns the page that it
 * is at the beginning of then: A_PAGE, B_PAGE or 0 for neither.
 */
uint32_t written_to(struct nested *n, uint64_t target);

/*
 * The two halves of written_to(). The device has read a new number from source when the first returns.
 * Between start_write() and arrived_at(), which waits for the end of the DMA, are 100 milliseconds. What is done in
 * between was done in time only if is_to_arrive() after it: on a busy machine it may take longer.
 */
void read_stamp(struct nested *n, uint64_t source);
void start_write(struct nested *n, uint64_t target);
bool is_to_arrive(const struct nested *n);
uint32_t arrived_at(struct nested *n);

/* The page of A_PAGE and B_PAGE at the beginning of which the number is, or 0 for neither. */
uint32_t stamped_page(struct nested *n);

/* Commands of the guest. */
command by_va(uint64_t op, uint64_t va, uint32_t asid);
command by_range(uint64_t va, uint32_t asid, uint32_t ttl, uint32_t num, uint32_t scale);
command by_op(uint64_t op);
command by_asid(uint32_t asid);
command by_vsid(uint64_t op, uint32_t vsid);
command in_range(command c, uint32_t ttl, uint32_t num, uint32_t scale);

/* Submits commands. Returns 0 or a negative errno; *done is how many were carried out. */
int submit(struct nested *n, const command *commands, uint32_t nr, uint32_t *done);
int submit_one(struct nested *n, command c);

/* The suites of nested-smmu. */
/*
 * Has each allocation of a call fail in turn, until all succeed. After a call that succeeded though one had
 * failed, undoes it. If the device is attached to nested page tables, it must write to A_PAGE all the time.
 */
void fail_everywhere(struct nested *n, const char *name, int (*attempt)(struct nested *),
		     int (*undo)(struct nested *), bool attached);

extern const struct suite during_dma_suite, card_suite, ats_suite, bridge_suite, failure_suite;
extern const struct suite vdevice_suite;

#endif
