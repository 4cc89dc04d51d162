/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a VMM does for a guest with an AMD-Vi, with QEMU's edu device: a parent, a vIOMMU, vDEVICEs and the
 * guest's memory; and what the kernel's driver shows of its device table and command buffer. Fields are
 * those of AMD 48882.
 *
 * QEMU's IOMMU translates by the host's tables alone, whatever a device table entry says of a guest's: the
 * addresses of a nested device are the guest's physical ones. With the kernel amd-nest it walks the guest's table
 * alone (patches/7.3/test/amd-nest.patch), which has entries of the host's format and host physical addresses.
 */
#ifndef AMD_CALL_H
#define AMD_CALL_H

#include "edu.h"
#include "frame.h"
#include "../../uapi/iommufd_rs.h"

/* Where the guest's memory is. The device has 28 address bits. */
#define GUEST_BASE	0x1000000UL
/* Above what the parent's first page table spans, 2^39 bytes. */
#define HIGH_BASE	(1UL << 40)

/* Pages of the guest's memory. */
enum guest_page {
	TABLE_PAGE,		/* its device table, of which the entries of DeviceIDs to 127 are here */
	RING_PAGE,		/* its command buffer, of 256 entries */
	LOG_PAGE,		/* its event log, of 256 entries */
	SEM_PAGE,		/* where its commands store */
	GCR3_PAGE, OTHER_GCR3_PAGE,
	SOURCE_PAGE,
	A_PAGE, B_PAGE,
	/* Two tables of two levels, for the kernel amd-nest. */
	L2_PAGE, L1_PAGE,
	OTHER_L2_PAGE, OTHER_L1_PAGE,
	GUEST_PAGES,
};

/* What the guest calls its devices. */
#define DEVICE		0x47u
#define OTHER_DEVICE	0x48u
#define DOMAIN		5u
#define OTHER_DOMAIN	6u

/* Words 0, 1 and 2 of a device table entry. */
#define DTE_V		(1UL << 0)
#define DTE_TV		(1UL << 1)
#define DTE_HAD		(3UL << 7)
#define DTE_MODE	(7UL << 9)
#define DTE_LEVELS_OF(word0)	((word0) >> 9 & 7)
#define DTE_ROOT	(((1UL << 40) - 1) << 12)
#define DTE_PPR		(1UL << 52)
#define DTE_GPRP	(1UL << 53)
#define DTE_GIOV	(1UL << 54)
#define DTE_GV		(1UL << 55)
#define DTE_GLX(n)	((uint64_t)(n) << 56)
#define DTE_IR		(1UL << 61)
#define DTE_IW		(1UL << 62)
#define DTE_I		(1UL << 32)
#define DTE_SE		(1UL << 33)
#define DTE_SA		(1UL << 34)
#define DTE_CACHE	(1UL << 37)
#define DTE_LEVELS(n)	((uint64_t)(n) << 54)
/* The parts of words 0 and 1 that name a GCR3 table. */
#define DTE_GCR3_0(at)	(((at) >> 12 & 7) << 58)
#define DTE_GCR3_1(at)	(((at) >> 15 & 0xffff) << 16 | ((at) >> 31 & 0x1fffff) << 43)

struct dte {
	uint64_t word[4];
};

/* Opcodes, and bits of word 1 of the commands that name pages. */
#define CMD_WAIT	1UL
#define CMD_DEVTAB	2UL
#define CMD_PAGES	3UL
#define CMD_IOTLB	4UL
#define CMD_ALL		8UL
#define CMD_S		(1UL << 0)
#define CMD_PDE		(1UL << 1)
#define CMD_GN		(1UL << 2)
/* With CMD_S the address that stands for all. */
#define ALL_PAGES	0x7ffffffffffff000UL

#define OPCODE_OF(word0)	((word0) >> 60)
#define ID_OF(dte)		((dte).word[1] & 0xffff)

typedef struct iommufd_rs_viommu_amd_invalidate command;

/* The driver's command buffer. */
#define RING		512u
struct ring {
	uint32_t head, tail;
	uint64_t word[RING][2];
};

struct guest {
	int fd;
	uint32_t dev_id, ioas, parent, viommu, vdevice;
	const char *bdf;
	struct edu edu;
	char *memory;
	uint32_t stamp;		/* what is written next */
};

/* Returns whether the IOMMU's driver serves guests by itself: on the C module, and by in_tree. */
bool by_the_driver(void);

char *page_of(struct guest *g, uint32_t page);
/* The guest's physical address of a page. */
uint64_t gpa_of(uint32_t page);

int viommu_of(struct guest *g, uint32_t type, uint32_t *id);
int vdevice_of(struct guest *g, uint64_t virt_id, uint32_t *id);

/* The entry of a device that the guest translates for, with page tables of 4 levels. */
struct dte translating(uint32_t domain, uint32_t gcr3_page);

/* Makes nested page tables of data. Returns 0 or a negative errno. */
int nested_of(struct guest *g, uint32_t flags, const void *data, uint32_t len, uint32_t *hwpt);
int nested(struct guest *g, struct dte dte, uint32_t *hwpt);

/* For the kernel amd-nest: has one of the two tables map an address to a page, or with page 0 to nothing. */
void map_va(struct guest *g, int table, uint64_t va, uint32_t page);
/* The entry of a device for which one of the two tables translates. */
struct dte by_table(struct guest *g, uint32_t domain, int table);

/* Opens any device and makes all but nested page tables. Fails the test and returns false if that cannot be. */
bool open_guest_of(struct guest *g, const char *device, const char *bdf);
/* Opens $CDEV, which is edu, in this way. */
bool open_guest(struct guest *g);
/* The same with a parent that has dirty tracking. */
bool open_tracked(struct guest *g);
/* Opens $OTHER_CDEV in the context of the first. Closing the first closes what they share. */
bool open_beside(struct guest *g, const struct guest *first);
/* Opens $CDEV, makes nested page tables and attaches the device. */
bool open_attached(struct guest *g, struct dte dte, uint32_t *hwpt);

void close_guest(struct guest *g);

/*
 * Has the device write a new number to the target, by way of SOURCE_PAGE, and returns the page that it is at
 * the beginning of then: A_PAGE, B_PAGE or 0 for neither.
 */
uint32_t written_to(struct guest *g, uint64_t target);
/* The same with an address for SOURCE_PAGE. */
uint32_t written_by(struct guest *g, uint64_t source, uint64_t target);

/* Attaches the device to the parent, and returns the entry that it has then. */
struct dte parent_entry(struct guest *g);

/* The entry of a device in the driver's table. Fails the test if the driver does not show it. */
struct dte entry_of(const struct guest *g);

/* The driver's command buffer. */
void read_ring(struct ring *r);

/* What the driver has put on it between two calls. COMPLETION_WAITs are counted alone. */
struct issued {
	struct ring before, after;
	uint32_t commands, waits;
	uint64_t word[RING][2];
};

void begin_issue(struct issued *seen);
/*
 * Fails the test if the last was no COMPLETION_WAIT, or there were more than most other commands between two, or
 * the IOMMU has not carried them out.
 */
void end_issue(struct issued *seen, uint32_t most);

/* The DeviceID of a device on the host. */
uint32_t device_id_of(const struct guest *g);

command devtab(uint32_t device);
command pages(uint32_t domain, uint64_t range);
command iotlb(uint32_t device, uint64_t range);
command all(void);

/* Has commands carried out. Returns 0 or a negative errno; *done is how many were. */
int invalidate_of(struct guest *g, const void *commands, uint32_t len, uint32_t nr, uint32_t *done);
/* The same; fails the test if not all were. */
int invalidate(struct guest *g, const command *commands, uint32_t nr);

#endif
