/* SPDX-License-Identifier: GPL-2.0-only */
/* Batches of a guest's invalidation commands, to be measured and counted. */
#ifndef NESTED_BATCH_H
#define NESTED_BATCH_H

#include "nested_call.h"

#define MOST_COMMANDS	4096u
#define NR_BATCH_SIZES	4

enum batch_kind { ADJACENT, SCATTERED, PLAIN, MIXED, NR_BATCH_KINDS };

extern const char *const batch_kinds[NR_BATCH_KINDS];
extern const uint32_t batch_sizes[NR_BATCH_SIZES];

void fill_batch(command *commands, enum batch_kind kind, uint32_t nr);

#endif
