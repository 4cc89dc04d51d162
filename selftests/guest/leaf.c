// SPDX-License-Identifier: GPL-2.0-only
/* See leaf.h. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "call.h"
#include "leaf.h"
#include "result.h"

#define ADDRESS(entry)	((entry) & ((1UL << 52) - PAGE))

/* Returns where the leaf is, and sets *leaf to it, or returns 0. */
static uint64_t place_of(int mem, uint64_t root, unsigned int levels, uint64_t iova, uint64_t *leaf)
{
	uint64_t place = 0;

	*leaf = root;
	while (levels--) {
		place = ADDRESS(*leaf) + (iova >> (12 + 9 * levels) & 511) * sizeof(*leaf);
		if (pread(mem, leaf, sizeof(*leaf), place) != sizeof(*leaf)) {
			fail("no memory at %#lx: %s", place, errno_name(-errno));
			return 0;
		}
		if (!*leaf) {
			fail("no entry of %#lx at %#lx", iova, place);
			return 0;
		}
	}
	return place;
}

static int open_memory(void)
{
	int mem = open("/dev/mem", O_RDWR | O_CLOEXEC);

	if (mem < 0)
		fail("/dev/mem: %s", errno_name(-errno));
	return mem;
}

void mark_leaf(uint64_t root, unsigned int levels, uint64_t iova, uint64_t bits)
{
	int mem = open_memory();
	uint64_t leaf, place = place_of(mem, root, levels, iova, &leaf);

	leaf |= bits;
	if (place && pwrite(mem, &leaf, sizeof(leaf), place) != sizeof(leaf))
		fail("cannot write to %#lx: %s", place, errno_name(-errno));
	close(mem);
}

uint64_t read_leaf(uint64_t root, unsigned int levels, uint64_t iova)
{
	int mem = open_memory();
	uint64_t leaf;

	place_of(mem, root, levels, iova, &leaf);
	close(mem);
	return leaf;
}
