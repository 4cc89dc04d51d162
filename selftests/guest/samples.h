/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Samples of what a guest's invalidations cost. A program that measures is started once for all modules:
 * PROGRAM UNIT ASK ANSWER. For each line "LABEL CDEV" that it reads from ASK it measures and writes LABEL to
 * ANSWER. LABEL is c, rust or in_tree. The samples are in the format that bench.c describes.
 */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdbool.h>
#include <stdint.h>

/* Reads lines and has each measured with CDEV in the environment. For main() to return. */
int serve_samples(int argc, char **argv, void (*measure)(void));

/*
 * Prints a sample of a row: the cost of one of NR requests, from the median call of many. once() makes the
 * call, and returns whether it succeeded; if not, the program exits.
 */
void sample(const char *row, uint32_t nr, bool (*once)(void *arg), void *arg);

/* The same for the row "KIND: batch of NR". */
void sample_batch(const char *kind, uint32_t nr, bool (*once)(void *arg), void *arg);

#endif
