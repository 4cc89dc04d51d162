/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * QEMU's virtio-rng, a source of random numbers, which it writes to memory. It has a capability for
 * address translation services (ATS), and so the PCI core detaches it from its page tables for the time
 * of a reset and attaches it again, without iommufd (pci_dev_reset_iommu_prepare()).
 */
#ifndef NESTED_RNG_H
#define NESTED_RNG_H

#include "nested_call.h"

struct rng {
	volatile char *bar;
	uint64_t size;
	/* The structures in it. */
	volatile char *common, *notify;
	uint16_t asked;		/* how often it was told to write */
};

/* Returns whether the PCI device has a capability for ATS. */
bool has_ats(const char *bdf);

/*
 * Maps the registers of a device whose file is n->dev, and starts it with its ring at RINGS_VA. Returns 0
 * or a negative errno.
 */
int rng_open(struct nested *n, struct rng *rng);
void rng_close(struct rng *rng);

/* Starts it, after a reset too. */
int rng_start(struct nested *n, struct rng *rng);

/* Asks the device to write random numbers to the target, and does not wait. */
void rng_begins(struct nested *n, struct rng *rng, uint64_t target);

/*
 * Has the device write random numbers to the target and returns the page that they are at the beginning
 * of then: A_PAGE, B_PAGE or 0 for neither. If it may not write there, it must be reset.
 */
uint32_t rng_writes(struct nested *n, struct rng *rng, uint64_t target);

#endif
