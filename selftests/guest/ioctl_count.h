/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What ioctl_count.so counts and ioctl_report prints: a file of this layout, in host byte order,
 * that is written while the counted program runs and so survives its being killed.
 */
#ifndef IOCTL_COUNT_H
#define IOCTL_COUNT_H

#include <stdint.h>

/* Where an ioctl went: some numbers mean one thing on a device and another on a container. */
enum target { TARGET_CONTAINER, TARGET_OTHER, TARGETS };

struct ioctl_count {
	uint64_t calls;
	uint64_t failures;
	/* In nanoseconds, all calls together. */
	uint64_t time;
	/* How much was mapped, where the ioctl maps and did. */
	uint64_t bytes;
};

/* By target and ioctl number. */
struct ioctl_counts {
	struct ioctl_count of[TARGETS][256];
};

#endif
