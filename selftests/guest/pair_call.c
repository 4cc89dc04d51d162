// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pair_call.h"

/* A card without an IOMMU needs contiguous rings, and the pool of huge pages may be small. */
static char *memory(size_t size, bool in_one_piece)
{
	int flags = MAP_SHARED | MAP_ANONYMOUS | (in_one_piece ? MAP_HUGETLB | MAP_POPULATE : 0);
	char *p = mmap(NULL, in_one_piece ? HUGE : size, PROT_READ | PROT_WRITE, flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

const char *bdf(int i)
{
	const char *name = getenv(i ? "SECOND_BDF" : "FIRST_BDF");

	return name ? name : "";
}

bool bypasses(int i)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu", bdf(i));
	return access(path, F_OK);
}

int told_phys(struct pair *p, uint32_t ioas, uint64_t iova, uint64_t *phys)
{
	struct iommu_ioas_noiommu_get_pa cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.iova = iova,
		.length = PAGE,
	};
	int r = call(p->fd, IOMMU_IOAS_NOIOMMU_GET_PA, &cmd);

	*phys = cmd.out_phys;
	return r;
}

/* The memory that is mapped at an IOVA. */
static const char *held(struct pair *p, uint32_t ioas, uint64_t iova)
{
	switch (iova) {
	case SRC: return p->src;
	case DST: return ioas == p->ioas ? p->dst : p->far;
	case RINGS(0): return p->rings[0];
	default: return p->rings[1];
	}
}

int address(struct pair *p, int i, uint64_t iova, uint64_t *to)
{
	int r;

	*to = iova;
	if (!bypasses(i))
		return 0;
	r = told_phys(p, p->space[i], iova, to);
	/*
	 * The C module returns no addresses if its first page tables are those of a translated
	 * card.
	 */
	if (r == -EOPNOTSUPP && on_c_module()) {
		*to = phys_of(held(p, p->space[i], iova));
		return 0;
	}
	return r;
}

/*
 * Maps the source and the rings in both spaces; DST is `dst` in the first and `far` in the other.
 */
static int fill(struct pair *p)
{
	uint32_t spaces[] = { p->ioas, p->other };
	size_t s;
	int r = 0, i;

	for (s = 0; s < ARRAY_SIZE(spaces); s++) {
		r = r ?: map(p->fd, spaces[s], p->src, PAGE, SRC);
		r = r ?: map(p->fd, spaces[s], s ? p->far : p->dst, PAGE, DST);
		for (i = 0; i < CARDS; i++)
			r = r ?: map(p->fd, spaces[s], p->rings[i], CARD_RINGS, RINGS(i));
	}
	return r;
}

int open_pair(struct pair *p)
{
	int r, i;

	p->src = memory(PAGE, false);
	p->dst = memory(PAGE, false);
	p->far = memory(PAGE, false);
	p->fd = open_iommu();
	if (p->fd < 0)
		return p->fd;
	r = ioas_alloc(p->fd, &p->ioas);
	r = r ?: ioas_alloc(p->fd, &p->other);
	for (i = 0; i < CARDS; i++) {
		p->rings[i] = memory(CARD_RINGS, bypasses(i));
		p->card[i] = card_open(bdf(i));
		r = r ?: bind_device(card_fd(p->card[i]), p->fd, &p->dev_id[i]);
	}
	return r ?: fill(p);
}

int start_card(struct pair *p, int i)
{
	uint64_t rings;
	int r = address(p, i, RINGS(i), &rings);

	if (!r)
		card_start(p->card[i], p->rings[i], rings);
	return r;
}

int start_pair(struct pair *p, uint32_t *hwpts)
{
	int r = open_pair(p), i;

	for (i = 0; i < CARDS; i++) {
		p->space[i] = p->ioas;
		r = r ?: attach(card_fd(p->card[i]), p->ioas, hwpts ? &hwpts[i] : NULL);
	}
	for (i = 0; i < CARDS; i++)
		r = r ?: start_card(p, i);
	return r;
}

void stop_pair(struct pair *p)
{
	int i;

	for (i = 0; i < CARDS; i++) {
		card_stop(p->card[i]);
		card_close(p->card[i]);
	}
	close(p->fd);
}

int move_to_tables(struct pair *p, int i, uint32_t hwpt, uint32_t ioas)
{
	int r = attach(card_fd(p->card[i]), hwpt, NULL);

	if (!r)
		p->space[i] = ioas;
	return r;
}

int move(struct pair *p, int i, uint32_t ioas)
{
	return move_to_tables(p, i, ioas, ioas);
}

bool writes_to(struct pair *p, int i, const char *to)
{
	static char seed;
	bool there, elsewhere;
	uint64_t src, dst;
	int r;

	memset(p->src, ++seed, FRAME);
	memset(p->dst, 0, FRAME);
	memset(p->far, 0, FRAME);
	r = address(p, i, SRC, &src);
	r = r ?: address(p, i, DST, &dst);
	r = r ?: card_copy(p->card[i], src, dst, FRAME);
	there = !memcmp(p->src, to, FRAME);
	elsewhere = to != p->dst && p->dst[0];
	elsewhere = elsewhere || (to != p->far && p->far[0]);
	if (r || !there || elsewhere)
		note("card %d: copy %s, %sarrived, %sarrived elsewhere", i, errno_name(r),
		     there ? "" : "not ", elsewhere ? "" : "not ");
	return !r && there && !elsewhere;
}

bool is_stopped(struct pair *p, int i)
{
	uint64_t src, dst;
	bool touched;
	int r;

	/*
	 * Nothing stops a card without an IOMMU. But there is no address that could be given to
	 * it.
	 */
	if (bypasses(i)) {
		r = told_phys(p, p->space[i], DST, &dst);
		if (r != -ENOENT)
			note("card %d is told where nothing is mapped: %s", i, errno_name(r));
		return r == -ENOENT;
	}
	memset(p->src, 0x5a, FRAME);
	memset(p->dst, 0, FRAME);
	memset(p->far, 0, FRAME);
	/* A posted write has no completion: the card may not report an error. */
	if (!address(p, i, SRC, &src) && !address(p, i, DST, &dst))
		card_copy(p->card[i], src, dst, FRAME);
	touched = p->dst[0] || p->far[0];
	if (touched)
		note("card %d wrote to memory that is not mapped", i);
	return !touched;
}
