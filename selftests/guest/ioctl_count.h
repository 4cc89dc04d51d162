/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What ioctl_count.so counts and ioctl_report prints: a file of this layout, in host byte order,
 * that is written while the counted program runs and so survives its being killed.
 */
#ifndef IOCTL_COUNT_H
#define IOCTL_COUNT_H

#include <stdint.h>

/* The kind of file: some numbers mean one ioctl on a device and another one on a container. */
enum target { TARGET_CONTAINER, TARGET_OTHER, TARGETS };

struct ioctl_count {
	uint64_t calls;
	uint64_t failures;
	/* nanoseconds, of all calls */
	uint64_t time;
	/* bytes that were mapped, if the ioctl maps memory */
	uint64_t bytes;
};

/* By kind of file and ioctl number. */
struct ioctl_counts {
	struct ioctl_count of[TARGETS][256];
};

#endif
