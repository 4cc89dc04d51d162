// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many submissions, commands and CMD_SYNCs a batch of a guest's commands becomes. KTAP; the frame is
 * that of uapi.c. The runner counts them in QEMU's trace: before and behind each batch is a command whose
 * ASID is a number, and the program prints what must be between two of them,
 *
 *	# between FIRST and NEXT: SUBMISSIONS COMMANDS SYNCS
 *
 * A fourth number says how many StreamIDs, of those that QEMU has devices for, are in commands. On a kernel with
 * tracepoints the module's tracepoint must have counted as many submissions.
 *
 * Usage: CDEV=... smmu-batches none
 */
#include <stdlib.h>

#include "nested_batch.h"
#include "trace_log.h"

/* The ASID of the first marker. */
#define MARKER		0x4d00u
/* The most commands that are issued at once. */
#define BLOCK		63
/* The most that our module passes to the driver at once. */
#define IN_TREE_BLOCK	1024

static uint32_t blocks_of(uint32_t nr)
{
	return (nr + BLOCK - 1) / BLOCK;
}

/* How many blocks the driver makes of a batch, with a CMD_SYNC each. */
static uint32_t driver_blocks(uint32_t nr)
{
	if (on_c_module())
		return blocks_of(nr);
	return nr / IN_TREE_BLOCK * blocks_of(IN_TREE_BLOCK) + blocks_of(nr % IN_TREE_BLOCK);
}

struct counts {
	uint32_t submissions, commands, syncs;
};

/*
 * What the native backend makes of commands of which none are merged. Those about address spaces wait in a queue,
 * those about context descriptors in another, which does not get full here. When another command finds no room, the
 * queue is submitted. If it has commands that came behind some about descriptors, these are submitted before, and
 * waited for. So they are at the end, where all others go together.
 */
static struct counts natively(const command *commands, uint32_t nr)
{
	struct counts counts = { .commands = nr, .syncs = 1 };
	uint32_t translations = 0, descriptors = 0, i;
	bool behind = false;

	for (i = 0; i < nr; i++) {
		if ((commands[i].cmd[0] & 0xff) == OP_CFGI_CD) {
			descriptors++;
			continue;
		}
		behind |= descriptors;
		if (translations == BLOCK) {
			if (behind) {
				counts.submissions++;
				counts.syncs++;
				descriptors = 0;
				behind = false;
			}
			counts.submissions++;
			translations = 0;
		}
		translations++;
	}
	if (behind) {
		counts.submissions++;
		counts.syncs++;
		descriptors = 0;
	}
	counts.submissions += blocks_of(translations + descriptors);
	return counts;
}

static struct counts expected(const command *commands, enum batch_kind kind, uint32_t nr)
{
	if (by_the_driver())
		return (struct counts){ driver_blocks(nr), nr, driver_blocks(nr) };
	if (kind == ADJACENT)
		return (struct counts){ 1, 1, 1 };
	return natively(commands, nr);
}

static void check_batch(struct nested *n, enum batch_kind kind, uint32_t nr, uint32_t marker)
{
	static command commands[MOST_COMMANDS];
	bool traces = can_trace();
	struct counts counts;
	uint32_t done;

	fill_batch(commands, kind, nr);
	counts = expected(commands, kind, nr);
	CHECK(!traces || trace_on());
	WANT(submit_one(n, by_asid(marker)), 0);
	WANT(submit(n, commands, nr, &done), 0);
	WANT(done, nr);
	WANT(submit_one(n, by_asid(marker + 1)), 0);
	if (traces) {
		WANT(traced_submissions(), by_the_driver() ? -1 : 1);
		WANT(traced_submissions(), by_the_driver() ? -1 : (long long)counts.submissions);
		WANT(traced_submissions(), by_the_driver() ? -1 : 1);
		trace_off();
	}
	note("between %u and %u: %u %u %u", marker, marker + 1, counts.submissions, counts.commands,
	     counts.syncs);
}

static void check_kind(enum batch_kind kind)
{
	struct nested n;
	uint32_t hwpt, i;

	if (!open_attached(&n, &hwpt))
		return;
	for (i = 0; i < NR_BATCH_SIZES; i++)
		check_batch(&n, kind, batch_sizes[i],
			    MARKER + (by_the_driver() ? 64 : 0) + 16 * kind + 2 * i);
	close_nested(&n);
}

static void check_adjacent(struct fixture *none)
{
	check_kind(ADJACENT);
}

static void check_scattered(struct fixture *none)
{
	check_kind(SCATTERED);
}

static void check_plain(struct fixture *none)
{
	check_kind(PLAIN);
}

static void check_mixed(struct fixture *none)
{
	check_kind(MIXED);
}

static const struct test tests[] = {
	{ "adjacent pages", check_adjacent, ALONE },
	{ "scattered pages", check_scattered, ALONE },
	{ "scattered pages without a granule", check_plain, ALONE },
	{ "pages, address spaces and descriptors", check_mixed, ALONE },
};

static const struct suite batches_suite = {
	.name = "batches", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &batches_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
