/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Leaves of a second stage, read and written by /dev/mem, in place of an IOMMU that marks what was written to.
 * Tables of VT-d and AMD-Vi both have 512 entries with the address in bits 12 to 51.
 */
#ifndef LEAF_H
#define LEAF_H

#include <stdbool.h>
#include <stdint.h>

/* Bits by which an IOMMU says that a page was written to: VT-d 9.8, AMD 48882 2.2.3. */
#define VTD_DIRTY	(1UL << 9)
#define AMD_DIRTY	(1UL << 6)

/* Sets bits of the leaf of an address in a table with this root. Fails the test if there is none. */
void mark_leaf(uint64_t root, unsigned int levels, uint64_t iova, uint64_t bits);

/* Returns the leaf. */
uint64_t read_leaf(uint64_t root, unsigned int levels, uint64_t iova);

#endif
