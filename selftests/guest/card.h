/* SPDX-License-Identifier: GPL-2.0-only */
/* A network card that copies memory and interrupts, driven by the kernel's libvfio. */
#ifndef CARD_H
#define CARD_H

#include <stdbool.h>
#include <stdint.h>

/* The memory that the card's driver needs for its rings, in bytes. */
#define CARD_RINGS	(256UL << 10)

struct card;

/*
 * Each function exits the process if it fails. A card is opened; bound and attached by the caller,
 * by card_fd(); started with rings at iova; used; stopped before the rings are unmapped; and
 * closed.
 */
struct card *card_open(const char *bdf);
int card_fd(const struct card *card);
void card_start(struct card *card, void *rings, uint64_t iova);
void card_stop(struct card *card);
void card_close(struct card *card);

/*
 * Has the card read from src and write to dst. Returns 0, or a negative errno if it reported an
 * error.
 */
int card_copy(struct card *card, uint64_t src, uint64_t dst, uint64_t size);

/* Has the card copy the same count times, and does not wait: card_wait() does, and returns as card_copy(). */
void card_start_copies(struct card *card, uint64_t src, uint64_t dst, uint64_t size, uint64_t count);
int card_wait(struct card *card);

/*
 * Resets the function (FLR), whatever it does, and starts it again. While the kernel holds the lock of the
 * device, as from the time when it begins to unplug it until it is closed, it tries again.
 */
void card_reset(struct card *card);

/* Closes the card without stopping it. */
void card_drop(struct card *card);

/* Has the card send an interrupt. Returns whether it arrives. */
bool card_interrupts(struct card *card);

#endif
