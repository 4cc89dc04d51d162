/* SPDX-License-Identifier: GPL-2.0-only */
/* Dirty tracking of page tables, for memory of at most 64 pages. */
#ifndef TRACKING_H
#define TRACKING_H

#include <stdbool.h>
#include <stdint.h>

/* Turns tracking on or off. Returns 0 or a negative errno. */
int track(int fd, uint32_t hwpt, bool on);

/*
 * Reads which pages from iova on were written to, as bits, and forgets it if it is told to. Fails the test if that
 * cannot be.
 */
uint64_t read_dirty(int fd, uint32_t hwpt, uint64_t iova, uint32_t pages, bool forget);

#endif
