// SPDX-License-Identifier: GPL-2.0-only
/* See nested_batch.h. */
#include "nested_batch.h"

/* Pages that follow each other, by granule and level: they can be invalidated by one command. */
static command adjacent(uint32_t nth)
{
	return by_range(HOLE_VA + nth * PAGE, ASID, 3, 0, 0);
}

/* Pages with gaps between them, by granule and level. */
static command scattered(uint32_t nth)
{
	return by_range(HOLE_VA + 2 * nth * PAGE, ASID, 3, 0, 0);
}

/* The same without granule and level, as from a guest whose SMMU has no range invalidation. */
static command plain(uint32_t nth)
{
	return by_va(OP_NH_VA, HOLE_VA + 2 * nth * PAGE, ASID);
}

/* Pages of several address spaces, whole address spaces, and context descriptors. */
static command mixed(uint32_t nth)
{
	if (nth % 16 == 15)
		return by_vsid(OP_CFGI_CD, VSID);
	if (nth % 16 == 7)
		return by_asid(ASID + nth);
	return by_va(OP_NH_VA, HOLE_VA + 2 * nth * PAGE, ASID + nth % 2);
}

const char *const batch_kinds[NR_BATCH_KINDS] = {
	[ADJACENT] = "adjacent",
	[SCATTERED] = "scattered",
	[PLAIN] = "scattered, no granule",
	[MIXED] = "mixed",
};

const uint32_t batch_sizes[NR_BATCH_SIZES] = { 1, 16, 256, MOST_COMMANDS };

void fill_batch(command *commands, enum batch_kind kind, uint32_t nr)
{
	static command (*const make[NR_BATCH_KINDS])(uint32_t nth) = {
		[ADJACENT] = adjacent,
		[SCATTERED] = scattered,
		[PLAIN] = plain,
		[MIXED] = mixed,
	};
	uint32_t i;

	for (i = 0; i < nr; i++)
		commands[i] = make[kind](i);
}
