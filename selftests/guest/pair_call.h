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
	/* Both spaces have these, but that DST is `dst` in the first one and `far` in the other. */
	char *src, *dst, *far, *rings[CARDS];
	struct card *card[CARDS];
	uint32_t dev_id[CARDS];
	/* The space that a card is in. */
	uint32_t space[CARDS];
};

const char *bdf(int i);

/* Whether no IOMMU translates for a card. */
bool bypasses(int i);

/* Opens and fills the pair; cards are bound. 0 or a negative errno, as below. */
int open_pair(struct pair *p);

/* The same, both cards attached to the first space and running; page tables go to hwpts if given. */
int start_pair(struct pair *p, uint32_t *hwpts);
void stop_pair(struct pair *p);

/* Attach a card to a space, or to page tables of a space. */
int move(struct pair *p, int i, uint32_t ioas);
int move_to_tables(struct pair *p, int i, uint32_t hwpt, uint32_t ioas);

/* The card's address of what is at iova in its space. */
int address(struct pair *p, int i, uint64_t iova, uint64_t *to);

/* Where what is mapped at iova is, by IOMMU_IOAS_NOIOMMU_GET_PA. */
int told_phys(struct pair *p, uint32_t ioas, uint64_t iova, uint64_t *phys);

/* Have a card set itself up, which it must be in a space for. */
int start_card(struct pair *p, int i);

/* Have a card write to DST: whether it arrives in the memory at `to`, and nowhere else. */
bool writes_to(struct pair *p, int i, const char *to);

/* Whether a card cannot write to DST, since nothing is mapped there. */
bool is_stopped(struct pair *p, int i);

#endif
