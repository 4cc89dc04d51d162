/* SPDX-License-Identifier: GPL-2.0-only */
/* A network card that copies memory and interrupts, driven by the kernel's libvfio. */
#ifndef CARD_H
#define CARD_H

#include <stdbool.h>
#include <stdint.h>

/* What the card's driver needs for itself, in bytes. */
#define CARD_RINGS	(256UL << 10)

struct card;

/*
 * Each ends the process where it cannot do what it is for. A card is opened; bound and attached by
 * the caller, through card_fd(); started with memory for its rings that it finds at iova; used;
 * stopped before the rings are unmapped; and closed.
 */
struct card *card_open(const char *bdf);
int card_fd(const struct card *card);
void card_start(struct card *card, void *rings, uint64_t iova);
void card_stop(struct card *card);
void card_close(struct card *card);

/* Have the card read from src and write to dst: 0, or a negative errno where it noticed an error. */
int card_copy(struct card *card, uint64_t src, uint64_t dst, uint64_t size);

/* Have the card send an interrupt: whether it arrives. */
bool card_interrupts(struct card *card);

#endif
