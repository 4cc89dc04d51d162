/* SPDX-License-Identifier: GPL-2.0-only */
/* QEMU's edu device as a VFIO device: DMA of 4 bytes between memory and its buffer. */
#ifndef EDU_H
#define EDU_H

#include <stdbool.h>
#include <stdint.h>

struct edu {
	int dev;			/* the VFIO device */
	volatile char *registers;
};

/* Lets the device, which must be attached or bound, do DMA, and maps its registers. */
bool start_edu(struct edu *e);

/* Unmaps the registers. */
void stop_edu(struct edu *e);

/* Has the device read from source and write to target, 4 bytes. Both are addresses of the device. */
void edu_copies(struct edu *e, uint64_t source, uint64_t target);

/*
 * The parts of it. The device has read when edu_reads() returns. It writes 100 milliseconds after
 * edu_begins_to_write(), and has written when edu_ends() returns.
 */
void edu_reads(struct edu *e, uint64_t source);
void edu_begins_to_write(struct edu *e, uint64_t target);
bool edu_is_to_write(const struct edu *e);	/* it has not ended yet */
void edu_ends(struct edu *e);

#endif
