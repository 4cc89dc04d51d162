/* SPDX-License-Identifier: GPL-2.0-only */
/* Two network cards in one context with two address spaces. */
#ifndef PAIR_CALL_H
#define PAIR_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "card.h"
#include "frame.h"

#define CARDS		2
#define FRAME		1024UL
#define SRC		0x10000000UL
#define DST		0x20000000UL
#define RINGS(i)	(0x30000000UL + (i) * CARD_RINGS)

/* The cards are FIRST_BDF and SECOND_BDF of the environment, bound to vfio-pci. */
struct pair {
	int fd;
	uint32_t ioas, other;
	/*
	 * Both spaces map these, except that DST is `dst` in the first one and `far` in the other.
	 */
	char *src, *dst, *far, *rings[CARDS];
	struct card *card[CARDS];
	uint32_t dev_id[CARDS];
	/* The space that a card is attached to. */
	uint32_t space[CARDS];
};

const char *bdf(int i);

/* Returns whether no IOMMU translates for a card. */
bool bypasses(int i);

/* Opens and fills the pair, and binds the cards. Returns 0 or a negative errno, as all below. */
int open_pair(struct pair *p);

/*
 * As open_pair(); attaches both cards to the first space and starts them. Stores the page tables
 * in hwpts if it is given.
 */
int start_pair(struct pair *p, uint32_t *hwpts);
void stop_pair(struct pair *p);

/* Attaches a card to a space, or to page tables of a space. */
int move(struct pair *p, int i, uint32_t ioas);
int move_to_tables(struct pair *p, int i, uint32_t hwpt, uint32_t ioas);

/* Stores the address by which the card reaches iova of its space. */
int address(struct pair *p, int i, uint64_t iova, uint64_t *to);

/* Stores what IOMMU_IOAS_NOIOMMU_GET_PA returns for iova. */
int told_phys(struct pair *p, uint32_t ioas, uint64_t iova, uint64_t *phys);

/* Starts a card, which must be attached to a space. */
int start_card(struct pair *p, int i);

/*
 * Has a card write to DST. Returns whether the data arrive in the memory at `to`, and nowhere
 * else.
 */
bool writes_to(struct pair *p, int i, const char *to);

/* Returns whether a card cannot write to DST, where nothing is mapped. */
bool is_stopped(struct pair *p, int i);

#endif
