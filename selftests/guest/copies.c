// SPDX-License-Identifier: GPL-2.0-only
/*
 * A network card copies memory, round after round, until the program is killed. In each round the content of
 * a copy is checked, memory is mapped and unmapped while the card works, and the card is moved between two
 * address spaces; in every fourth it is reset while it works. The limit of locked memory is reached while the card
 * works. No emulated IOMMU tracks dirty pages. So a mock device, whose IOMMU does, is attached to the card's
 * address spaces too, and its bitmap is read while the card works.
 *
 * Prints a line after each round: "N copies, N moves, N resets, N dirty pages, N limits, N late, longest N ms";
 * the latter is how long a call has taken. Ends by itself only after a failure, with 1 and a message, as a call is that
 * takes more than 5 seconds; or by SIGALRM if one does not end. For use beside others that keep the module busy.
 * Usage: copies BDF, of an igb that is bound to vfio-pci; the module must have mock devices
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <time.h>

#include "card.h"
#include "memory.h"
#include "mock_call.h"
#include "result.h"

#define SPACES		2
#define FRAME		1024UL
#define PAGES		64UL		/* of each target; the card writes to the first one */
#define IN_FLIGHT	200
#define RESET_EVERY	4
#define SRC		0x10000000UL
#define DST		0x20000000UL
#define RINGS		0x30000000UL
#define BESIDE		0x40000000UL
#define LIMITED		0x50000000UL
#define LOCKED		16UL		/* the limit of locked memory, in pages */
/* A copy is late if it takes two seconds, as it may on a busy machine. It is repeated this often. */
#define PATIENCE	3
/* The longest that a call may take, and when one that has not ended is ended by SIGALRM, in seconds. */
#define LIMIT		5
#define ENDLESS		7

static struct {
	int fd;
	uint32_t space[SPACES];
	uint32_t tables[SPACES];	/* which track dirty pages, for the mock device */
	uint32_t mock, mock_id;
	unsigned int at;		/* the space that the card is attached to */
	struct card *card;
	char *src, *rings, *dst[SPACES];
} all;

/* What was done in this round. */
static unsigned int copies, moves, resets, dirty, limits, late;
static double longest;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Fails if a call that began at @began has taken too long. */
static void took(const char *what, double began)
{
	double seconds = now() - began;

	if (seconds > longest)
		longest = seconds;
	if (seconds <= LIMIT)
		return;
	fprintf(stderr, "%s took %.1f s\n", what, seconds);
	exit(1);
}

static void must(const char *what, long long r, long long wanted)
{
	if (r == wanted)
		return;
	fprintf(stderr, "%s: got %s, expected %s\n", what, errno_name(r), errno_name(wanted));
	exit(1);
}

#define MUST(expr, wanted) do {						\
	double began = now();						\
	long long result;						\
									\
	alarm(ENDLESS);							\
	result = expr;							\
	alarm(0);							\
	took(#expr, began);						\
	must(#expr, result, wanted);					\
} while (0)

static char *memory(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(p != MAP_FAILED, true);
	return p;
}

/* Maps the pages of a target one by one, so that each has a dirty bit of its own. */
static void map_target(unsigned int space)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		MUST(map(all.fd, all.space[space], all.dst[space] + i * PAGE, PAGE, DST + i * PAGE), 0);
}

static void open_all(const char *bdf)
{
	uint32_t dev_id;
	unsigned int i;

	all.fd = open_iommu();
	MUST(all.fd >= 0, true);
	all.src = memory(PAGE);
	all.rings = memory(CARD_RINGS);
	all.card = card_open(bdf);
	MUST(bind_device(card_fd(all.card), all.fd, &dev_id), 0);
	for (i = 0; i < SPACES; i++) {
		all.dst[i] = memory(PAGES * PAGE);
		MUST(ioas_alloc(all.fd, &all.space[i]), 0);
		MUST(map(all.fd, all.space[i], all.src, PAGE, SRC), 0);
		MUST(map(all.fd, all.space[i], all.rings, CARD_RINGS, RINGS), 0);
		map_target(i);
	}
	MUST(mock_device_flags(all.fd, all.space[0], 0, &all.mock, &all.mock_id), 0);
	for (i = 0; i < SPACES; i++)
		MUST(tracking_tables(all.fd, all.mock_id, all.space[i], &all.tables[i]), 0);
	MUST(attach(card_fd(all.card), all.space[0], NULL), 0);
	card_start(all.card, all.rings, RINGS);
}

/* Fails, and says what is in the targets, now and a second later, where a late copy would have arrived. */
static void wrong(void)
{
	unsigned int i, again;
	size_t k;

	fprintf(stderr, "a copy of %02x by the card in space %u, %u late, %u copies; the targets begin with",
		(unsigned char)*all.src, all.at, late, copies);
	for (again = 0; again < 2; again++) {
		for (i = 0; i < SPACES; i++) {
			fprintf(stderr, " %u:", i);
			for (k = 0; k < 16; k++)
				fprintf(stderr, "%02x", (unsigned char)all.dst[i][k]);
		}
		if (!again)
			fprintf(stderr, ", and a second later");
		sleep(1);
	}
	fprintf(stderr, "\n");
	exit(1);
}

/* Has the card copy new content. It must arrive in the target of the card's space, and in no other. */
static void copy_once(void)
{
	static unsigned char content;
	unsigned int tries = 0, i;
	int r;

	memset(all.src, ++content, FRAME);
	for (i = 0; i < SPACES; i++)
		memset(all.dst[i], ~content, FRAME);
	while ((r = card_copy(all.card, SRC, DST, FRAME)) == -ETIMEDOUT && ++tries < PATIENCE)
		late++;
	MUST(r, 0);
	for (i = 0; i < SPACES; i++)
		if (!memcmp(all.src, all.dst[i], FRAME) != (i == all.at))
			wrong();
	copies++;
}

/* Makes pages dirty in the page tables of a space; the bitmap must say these, and then none. */
static void track(unsigned int space)
{
	static unsigned int round;
	unsigned char want[PAGES / 8], got[PAGES / 8];
	static const unsigned char none[PAGES / 8];
	uint32_t tables = all.tables[space];
	size_t i;

	MUST(mock_replace(all.fd, all.mock, tables), 0);
	round++;
	for (i = 0; i < sizeof(want); i++) {
		want[i] = round * (i + 1);
		dirty += __builtin_popcount(want[i]);
	}
	MUST(mock_set_dirty(all.fd, tables, DST, PAGES * PAGE, PAGE, want), 0);
	memset(got, 0, sizeof(got));
	MUST(get_dirty_bitmap(all.fd, tables, DST, PAGES * PAGE, PAGE, got, 0), 0);
	MUST(memcmp(got, want, sizeof(got)), 0);
	memset(got, 0, sizeof(got));
	MUST(get_dirty_bitmap(all.fd, tables, DST, PAGES * PAGE, PAGE, got, 0), 0);
	MUST(memcmp(got, none, sizeof(got)), 0);
}

/*
 * Maps for the card as many pages as the program may lock. One more is refused, and too many at once are. In the
 * next round there is room for as many again.
 */
static void reach_limit(void)
{
	uint32_t space = all.space[all.at];
	char *p = all.dst[!all.at];

	MUST(limit_memlock(LOCKED), true);
	MUST(set_ipc_lock(false), true);
	MUST(map(all.fd, space, p, (LOCKED + 1) * PAGE, LIMITED), -ENOMEM);
	MUST(map(all.fd, space, p, LOCKED * PAGE, LIMITED), 0);
	MUST(map(all.fd, space, p, PAGE, LIMITED + LOCKED * PAGE), -ENOMEM);
	MUST(unmap(all.fd, space, LIMITED, LOCKED * PAGE), LOCKED * PAGE);
	MUST(set_ipc_lock(true), true);
	limits++;
}

/* What is done while the card works. */
static void work_beside(void)
{
	unsigned int other = !all.at;

	MUST(map(all.fd, all.space[all.at], all.dst[other], PAGES * PAGE, BESIDE), 0);
	reach_limit();
	track(all.at);
	MUST(unmap(all.fd, all.space[other], DST, PAGES * PAGE), PAGES * PAGE);
	map_target(other);
	MUST(unmap(all.fd, all.space[all.at], BESIDE, PAGES * PAGE), PAGES * PAGE);
}

static void copy_many(void)
{
	int r;

	card_start_copies(all.card, SRC, DST, FRAME, IN_FLIGHT);
	work_beside();
	r = card_wait(all.card);
	if (r == -ETIMEDOUT)
		late++;
	else
		MUST(r, 0);
	copies += IN_FLIGHT;
}

/* It has nothing to do meanwhile: VT-d's driver blocks a device's DMA while it is moved. */
static void move_card(void)
{
	all.at = !all.at;
	MUST(attach(card_fd(all.card), all.space[all.at], NULL), 0);
	moves++;
}

static void reset_at_work(void)
{
	card_start_copies(all.card, SRC, DST, FRAME, IN_FLIGHT);
	card_reset(all.card);
	resets++;
}

int main(int argc, char **argv)
{
	unsigned int round = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: copies BDF\n");
		return 2;
	}
	open_all(argv[1]);
	while (true) {
		copies = moves = resets = dirty = limits = late = 0;
		longest = 0;
		copy_once();
		copy_many();
		move_card();
		copy_once();
		if (++round % RESET_EVERY == 0)
			reset_at_work();
		printf("%u copies, %u moves, %u resets, %u dirty pages, %u limits, %u late, longest %.0f ms\n",
		       copies, moves, resets, dirty, limits, late, longest * 1000);
		fflush(stdout);
	}
}
