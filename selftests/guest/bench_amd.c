// SPDX-License-Identifier: GPL-2.0-only
/* What a guest's commands cost on an AMD-Vi: bench-amd UNIT ASK ANSWER, see samples.h. */
#include <stdlib.h>

#include "amd_call.h"
#include "samples.h"

#define MOST	4096u

struct batch {
	struct guest *g;
	const command *commands;
	uint32_t nr;
};

static bool once(void *arg)
{
	const struct batch *b = arg;
	uint32_t done;

	return !invalidate_of(b->g, b->commands, sizeof(*b->commands), b->nr, &done) && done == b->nr;
}

static void measure_kind(struct guest *g, const char *kind, command (*nth)(uint32_t n))
{
	static const uint32_t sizes[] = { 1, 16, 256, MOST };
	static command commands[MOST];

	for (uint32_t n = 0; n < MOST; n++)
		commands[n] = nth(n);
	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct batch b = { .g = g, .commands = commands, .nr = sizes[s] };

		sample_batch(kind, b.nr, once, &b);
	}
}

/* Pages of an address space, of which the IOMMU is given ranges. */
static command adjacent(uint32_t n)
{
	return pages(DOMAIN, (uint64_t)n * PAGE | CMD_GN);
}

/* The same without neighbours. */
static command scattered(uint32_t n)
{
	return pages(DOMAIN, (uint64_t)n * 2 * PAGE | CMD_GN);
}

/* Of 16 the first is about an entry of the device table. */
static command mixed(uint32_t n)
{
	return n % 16 ? adjacent(n) : devtab(DEVICE);
}

/* Commands that the IOMMU is not given, as the device has no ATS: the cost of the module alone. */
static command of_device(uint32_t n)
{
	return iotlb(DEVICE, (uint64_t)n * PAGE | CMD_GN);
}

static void measure(void)
{
	struct guest g;
	uint32_t hwpt;

	if (!open_attached(&g, translating(DOMAIN, GCR3_PAGE), &hwpt))
		exit(1);
	measure_kind(&g, "adjacent", adjacent);
	measure_kind(&g, "scattered", scattered);
	measure_kind(&g, "mixed", mixed);
	measure_kind(&g, "device without ATS", of_device);
	close_guest(&g);
}

int main(int argc, char **argv)
{
	return serve_samples(argc, argv, measure);
}
