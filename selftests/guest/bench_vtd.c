// SPDX-License-Identifier: GPL-2.0-only
/* What a guest's invalidations of a first stage cost on a VT-d: bench-vtd UNIT ASK ANSWER, see samples.h. */
#include <stdlib.h>

#include "samples.h"
#include "vtd_call.h"

#define MOST	4096u

struct batch {
	struct guest *g;
	const request *requests;
	uint32_t hwpt, nr;
};

static bool once(void *arg)
{
	const struct batch *b = arg;
	uint32_t done;

	return !invalidate_of(b->g, b->hwpt, b->requests, sizeof(*b->requests), b->nr, &done) &&
		done == b->nr;
}

static void measure_kind(struct guest *g, uint32_t hwpt, const char *kind, uint64_t distance)
{
	static const uint32_t sizes[] = { 1, 16, 64, 256, MOST };
	static request requests[MOST];

	for (uint32_t i = 0; i < MOST; i++)
		requests[i] = pages(HOLE_VA + i * distance, 1, LEAF);
	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct batch b = { .g = g, .requests = requests, .hwpt = hwpt, .nr = sizes[s] };

		sample_batch(kind, b.nr, once, &b);
	}
}

static void measure(void)
{
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, &hwpt))
		exit(1);
	measure_kind(&g, hwpt, "adjacent", PAGE);
	measure_kind(&g, hwpt, "scattered", 2 * PAGE);
	close_guest(&g);
}

int main(int argc, char **argv)
{
	return serve_samples(argc, argv, measure);
}
