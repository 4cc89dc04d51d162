/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the VT-d driver shows in debugfs: PASID table entries and the invalidation queue. Sections are those of
 * the Intel Virtualization Technology for Directed I/O Architecture Specification, revision 5.0.
 */
#ifndef VTD_SHOWN_H
#define VTD_SHOWN_H

#include <stdbool.h>
#include <stdint.h>

/* Fields of a PASID table entry (9.6). */
#define ENTRY_PRESENT		1UL
#define ENTRY_LEVELS(word)	(((word) >> 2 & 7) + 2)		/* of the second stage */
#define ENTRY_TYPE(word)	((word) >> 6 & 7)
#define ENTRY_SSADE		(1UL << 9)
#define ENTRY_SECOND(word)	((word) & ~0xfffUL)		/* the second stage's root */
#define ENTRY_DID(word)		((word) & 0xffff)

/* Types of entries. */
#define FIRST_STAGE	1
#define SECOND_STAGE	2
#define NESTED		3

/* The first words of the entry of a device for requests with a PASID, 0 for those without; or all zeroes. */
struct shown_entry {
	uint64_t word[3];
};

struct shown_entry read_pasid_entry(const char *bdf, uint32_t pasid);
struct shown_entry read_entry(const char *bdf);

/* The type of a nested entry: this kernel writes a first stage in its place, or claims all of an IOMMU. */
uint32_t nested_type(void);

/* Descriptors of the queue. */
#define QUEUE	256u

/* The type of a descriptor, of its first word, and some types (6.5.2). */
#define TYPE_OF(word)		(((word) & 0xf) | ((word) >> 5 & 0x70))
#define TYPE_IOTLB		2u
#define TYPE_DEVICE_TLB		3u
#define TYPE_WAIT		5u
#define TYPE_PASID_IOTLB	6u
#define TYPE_PASID_DEVICE_TLB	8u

struct shown_queue {
	uint32_t head, tail;
	uint64_t word[QUEUE][2];
};

/* What the driver has put on it between two calls. Descriptors to wait for are counted alone. */
struct submitted {
	struct shown_queue before, after;
	uint32_t descriptors, waits;
	uint64_t word[QUEUE][2];
};

void begin_submissions(struct submitted *s);
/* Fails the test if nothing waits for the last one, or the IOMMU has not carried all out. */
void end_submissions(struct submitted *s);

/*
 * Has the n-th submission from now on fail with ETIMEDOUT without being made, or none for 0. The driver's test
 * patch (patches/7.3/test/vtd-nest.patch) does it. Returns whether it can.
 */
bool fail_submission(unsigned int nth);

/* Returns a capability register of the IOMMU of a device, "cap" or "ecap". */
uint64_t shown_register(const char *bdf, const char *name);

#endif
