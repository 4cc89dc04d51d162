// SPDX-License-Identifier: GPL-2.0-only
/* What a guest's invalidation commands cost on an SMMUv3: bench-smmu UNIT ASK ANSWER, see samples.h. */
#include <stdlib.h>

#include "nested_batch.h"
#include "samples.h"

struct batch {
	struct nested *n;
	const command *commands;
	uint32_t nr;
};

static bool once(void *arg)
{
	const struct batch *b = arg;
	uint32_t done;

	return !submit(b->n, b->commands, b->nr, &done) && done == b->nr;
}

/* A call without commands, which asks whether their type is supported. The driver does not know that. */
static bool ask(void *arg)
{
	const struct batch *b = arg;
	uint32_t done;

	submit(b->n, b->commands, 0, &done);
	return true;
}

static void measure(void)
{
	static command commands[MOST_COMMANDS];
	struct nested n;
	uint32_t hwpt;

	if (!open_attached(&n, &hwpt))
		exit(1);
	sample("the call alone", 1, ask, &(struct batch){ .n = &n, .commands = commands });
	for (int kind = 0; kind < NR_BATCH_KINDS; kind++) {
		for (int size = 0; size < NR_BATCH_SIZES; size++) {
			struct batch b = { .n = &n, .commands = commands, .nr = batch_sizes[size] };

			fill_batch(commands, kind, b.nr);
			sample_batch(batch_kinds[kind], b.nr, once, &b);
		}
	}
	close_nested(&n);
}

int main(int argc, char **argv)
{
	return serve_samples(argc, argv, measure);
}
