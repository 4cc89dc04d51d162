/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a VMM does for a guest with a VT-d, with QEMU's edu device: a parent, and the guest's memory with its
 * first-stage tables. The kernel writes the entries of nested page tables as those of a first stage alone
 * (patches/7.3/test/vtd-nest.patch), so the guest's tables have host physical addresses.
 */
#ifndef VTD_CALL_H
#define VTD_CALL_H

#include "edu.h"
#include "frame.h"

/* Pages of the guest's memory. */
enum guest_page {
	L4_PAGE, L3_PAGE, L2_PAGE, L1_PAGE,
	OTHER_L4_PAGE, OTHER_L3_PAGE, OTHER_L2_PAGE, OTHER_L1_PAGE,
	SOURCE_PAGE,
	A_PAGE, B_PAGE,
	GUEST_PAGES,
};

/* Addresses that the device uses, of the first 2 MiB: it has 28 address bits. */
#define SOURCE_VA	0x10000UL
#define TARGET_VA	0x20000UL
#define HOLE_VA		0x30000UL	/* maps nothing */
/* Where the guest's memory is for the second stage, which this kernel does not use for DMA. */
#define GUEST_BASE	0x1000000UL

typedef struct iommu_hwpt_vtd_s1_invalidate request;

struct guest {
	int fd;
	uint32_t dev_id, ioas, parent;
	struct edu edu;
	char *memory;
	uint32_t stamp;		/* what is written next */
};

#define LEAF	IOMMU_VTD_INV_FLAGS_LEAF
#define ALL	UINT64_MAX

/* Returns whether the IOMMU's driver serves guests by itself: on the C module, and by in_tree. */
bool by_the_driver(void);

char *page_of(struct guest *g, uint32_t page);

/* Has one of the guest's two tables (0 or 1) map an address to a page, or with page 0 to nothing. */
void map_va(struct guest *g, int table, uint64_t va, uint32_t page);

/* Has the first entry of a table refer to another one. */
void point(struct guest *g, uint32_t from, uint32_t to);

/* Makes a parent of the IOAS with more flags, g->parent from now on. Returns 0 or a negative errno. */
int make_parent(struct guest *g, uint32_t flags);

/* Makes nested page tables of the data. Returns 0 or a negative errno. */
int first_stage_of(struct guest *g, uint32_t flags, const void *data, uint32_t len, uint32_t *hwpt);

/* Makes nested page tables of one of the guest's two tables. */
int first_stage(struct guest *g, int table, uint32_t *hwpt);
/* The same, to which PASIDs can be attached if the parent is for PASIDs too. */
int first_stage_for_pasids(struct guest *g, int table, uint32_t *hwpt);

/* Opens the device and makes all but nested page tables. Fails the test and returns false if that cannot be. */
bool open_guest_of(struct guest *g, const char *device);
/* The same for a device that is no edu: it does no DMA. */
bool open_quiet(struct guest *g, const char *device);
bool open_guest(struct guest *g);

/* Makes nested page tables of table 0 and attaches the device. */
bool attach_first_stage(struct guest *g, uint32_t *hwpt);

/* Opens the device, and does that. */
bool open_attached(struct guest *g, uint32_t *hwpt);

void close_guest(struct guest *g);

/*
 * Has the device write a new number to the target, by way of SOURCE_VA, and returns the page that it
 * is at the beginning of then: A_PAGE, B_PAGE or 0 for neither.
 */
uint32_t written_to(struct guest *g, uint64_t target);

request pages(uint64_t va, uint64_t npages, uint32_t flags);

/* Has requests carried out. Returns 0 or a negative errno; *done is how many were. */
int invalidate_of(struct guest *g, uint32_t hwpt, const void *requests, uint32_t len, uint32_t nr,
		  uint32_t *done);
/* The same; fails the test if not all were. */
int invalidate(struct guest *g, uint32_t hwpt, const request *requests, uint32_t nr);

#endif
