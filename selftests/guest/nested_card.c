// SPDX-License-Identifier: GPL-2.0-only
/* Nested translation of a network card, an igb: its rings, its copies and its interrupts. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "card.h"
#include "nested_call.h"
#include "nested_plug.h"

/* Bytes of a frame. */
#define FRAME	64

static const char *bdf(void)
{
	return getenv("CARD_BDF") ?: "";
}

/* Opens the card and starts it, attached to page tables of the guest's first CD. */
static struct card *open_card(struct nested *n, uint32_t *hwpt)
{
	struct card *card = card_open(bdf());

	if (!open_nested_on(n, card_fd(card)) || !attach_nested(n, hwpt))
		return NULL;
	card_start(card, page_of(n, RINGS_PAGE), RINGS_VA);
	return card;
}

static void close_card(struct nested *n, struct card *card)
{
	card_stop(card);
	card_close(card);
	n->dev = -1;
	close_nested(n);
}

/* Has the card copy a new number from source to target. Returns as written_to(), or a negative errno. */
static int copied_to(struct nested *n, struct card *card, uint64_t source, uint64_t target)
{
	volatile uint32_t *from = (volatile uint32_t *)page_of(n, SOURCE_PAGE);
	int r;

	*from = ++n->stamp;
	__sync_synchronize();
	r = card_copy(card, source, target, FRAME);
	return r ?: (int)stamped_page(n);
}

static int copied(struct nested *n, struct card *card)
{
	return copied_to(n, card, SOURCE_VA, TARGET_VA);
}

static void both_stages(struct fixture *none)
{
	struct card *card;
	struct nested n;
	uint32_t hwpt;

	card = open_card(&n, &hwpt);
	if (!card)
		return;
	WANT(copied(&n, card), A_PAGE);
	CHECK(card_interrupts(card));
	/* What only the second stage maps, and what nothing maps. */
	CHECK(copied_to(&n, card, SOURCE_VA, ipa_of(B_PAGE)) <= 0);
	CHECK(copied_to(&n, card, HOLE_VA, TARGET_VA) <= 0);
	WANT(copied(&n, card), A_PAGE);
	close_card(&n, card);
}

static void translations(struct fixture *none)
{
	static const struct {
		const char *name;
		command c;
	} table[] = {
		{ "NH_VA", { { OP_NH_VA | (uint64_t)ASID << 48, TARGET_VA } } },
		{ "NH_VAA", { { OP_NH_VAA, TARGET_VA } } },
		{ "NH_ASID", { { OP_NH_ASID | (uint64_t)ASID << 48 } } },
		{ "NH_ALL", { { OP_NH_ALL } } },
		{ "NSNH_ALL", { { OP_NSNH_ALL } } },
	};
	struct card *card;
	struct nested n;
	uint32_t hwpt, i, page = A_PAGE, next = B_PAGE;

	card = open_card(&n, &hwpt);
	if (!card)
		return;
	WANT(copied(&n, card), A_PAGE);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		map_va(&n, 0, TARGET_VA, next);
		WANT(copied(&n, card), page);
		WANT(submit_one(&n, table[i].c), 0);
		if (copied(&n, card) != (int)next)
			fail("%s: the card does not write where it has to", table[i].name);
		next = page;
		page = A_PAGE + B_PAGE - page;
	}
	close_card(&n, card);
}

#define FEW	10	/* copies */

struct turn {
	struct nested *n;
	uint32_t hwpts[4];
	unsigned int rounds;
	int result;
	volatile uint32_t copies;
	volatile bool failed;		/* to copy */
	volatile uint32_t done;
};

static void *turner(void *data)
{
	struct turn *turn = data;
	unsigned int i;

	/* Ends with the last one, and not before the card has copied beside it. */
	for (i = 0; !turn->result && (i < turn->rounds || (turn->copies <= FEW && !turn->failed) ||
				      i % ARRAY_SIZE(turn->hwpts)); i++)
		turn->result = attach(turn->n->dev, turn->hwpts[i % ARRAY_SIZE(turn->hwpts)], NULL);
	turn->done = 1;
	return NULL;
}

/* Maps for the second stage alone what a table of the guest maps, and TARGET_VA to a page. */
static int map_second_stage(struct nested *n, uint32_t target)
{
	int r;

	r = map(n->fd, n->ioas, page_of(n, SOURCE_PAGE), PAGE, SOURCE_VA);
	r = r ?: map(n->fd, n->ioas, page_of(n, target), PAGE, TARGET_VA);
	return r ?: map(n->fd, n->ioas, page_of(n, RINGS_PAGE), RING_PAGES * PAGE, RINGS_VA);
}

/*
 * The card works on while it is attached to two entries with a first stage, one without, and the second
 * stage itself, all of which map what it needs.
 */
static void attached_meanwhile(struct fixture *none)
{
	struct turn turn = { .rounds = 400 };
	uint32_t one, two, bypass;
	struct card *card;
	struct nested n;
	pthread_t thread;
	int r = A_PAGE;

	card = open_card(&n, &one);
	if (!card)
		return;
	WANT(second_vste(&n, &two), 0);
	WANT(vste(&n, STE_BYPASS, 0, &bypass), 0);
	WANT(map_second_stage(&n, B_PAGE), 0);
	turn.n = &n;
	memcpy(turn.hwpts, (uint32_t[]){ two, bypass, n.parent, one }, sizeof(turn.hwpts));
	WANT(pthread_create(&thread, NULL, turner, &turn), 0);
	while (!turn.done && (r == A_PAGE || r == B_PAGE)) {
		r = copied(&n, card);
		turn.copies++;
	}
	turn.failed = true;
	WANT(pthread_join(thread, NULL), 0);
	WANT(turn.result, 0);
	CHECK(r == A_PAGE || r == B_PAGE);
	note("%u copies while the card was attached %u times or more", turn.copies, turn.rounds);
	WANT(copied(&n, card), A_PAGE);
	WANT(attach(n.dev, two, NULL), 0);
	WANT(copied(&n, card), B_PAGE);
	CHECK(card_interrupts(card));
	close_card(&n, card);
}

/* A function-level reset while the card copies: it is attached as before. */
static void reset_meanwhile(struct fixture *none)
{
	struct card *card;
	struct nested n;
	uint32_t hwpt, i;

	card = open_card(&n, &hwpt);
	if (!card)
		return;
	for (i = 0; i < 3; i++) {
		card_start_copies(card, SOURCE_VA, TARGET_VA, FRAME, 1000);
		card_reset(card);
		WANT(copied(&n, card), A_PAGE);
		CHECK(card_interrupts(card));
	}
	/* The guest's caches are its own to invalidate, with or without a reset. */
	map_va(&n, 0, TARGET_VA, B_PAGE);
	WANT(submit_one(&n, by_va(OP_NH_VA, TARGET_VA, ASID)), 0);
	WANT(copied(&n, card), B_PAGE);
	close_card(&n, card);
}

static volatile uint32_t *copies_done;

static void owner(struct fixture *none)
{
	struct card *card;
	struct nested n;
	uint32_t hwpt;

	card = open_card(&n, &hwpt);
	if (!card)
		return;
	while (copied(&n, card) == A_PAGE) {
		card_start_copies(card, SOURCE_VA, TARGET_VA, FRAME, 100);
		++*copies_done;
		if (card_wait(card))
			return;
	}
}

static void owner_killed(struct fixture *none)
{
	struct card *card;
	struct nested n;
	uint32_t hwpt;
	long idle;
	int pid;

	CHECK(share_memory());
	copies_done = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(copies_done != MAP_FAILED);
	idle = pinned();
	pid = start_child(NULL, 0, owner);
	CHECK(wait_for(copies_done, 5));
	WANT(kill(pid, SIGKILL), 0);
	WANT(waitpid(pid, NULL, 0), pid);
	WANT(pinned(), idle);
	n.memory = guest_memory();
	memset(page_of(&n, A_PAGE), 0x5a, PAGE);
	memset(page_of(&n, RINGS_PAGE), 0x5a, PAGE);
	usleep(500000);
	WANT(*(uint32_t *)page_of(&n, A_PAGE), 0x5a5a5a5a);
	WANT(*(uint32_t *)page_of(&n, RINGS_PAGE), 0x5a5a5a5a);
	card = open_card(&n, &hwpt);
	if (!card)
		return;
	WANT(copied(&n, card), A_PAGE);
	close_card(&n, card);
}

static void removed(struct fixture *none)
{
	struct removal removal;
	struct card *card;
	struct nested n;
	uint32_t hwpt;

	card = open_card(&n, &hwpt);
	if (!card)
		return;
	CHECK(begin_removal(&removal, bdf(), n.dev));
	WANT(copied(&n, card), A_PAGE);
	card_start_copies(card, SOURCE_VA, TARGET_VA, FRAME, 1000);
	card_drop(card);
	n.dev = -1;
	CHECK(end_removal(&removal));
	WANT(submit_one(&n, by_op(OP_NSNH_ALL)), 0);
	WANT(submit_one(&n, by_vsid(OP_CFGI_CD, VSID)), -EIO);
	close_nested(&n);
	CHECK(plug_in(bdf()));
	card = open_card(&n, &hwpt);
	if (!card)
		return;
	WANT(copied(&n, card), A_PAGE);
	CHECK(card_interrupts(card));
	close_card(&n, card);
}

static const struct test tests[] = {
	{ "DMA and interrupts through both stages", both_stages, ALONE },
	{ "translations are cached until a command", translations, ALONE },
	{ "attached elsewhere while it copies", attached_meanwhile, ALONE },
	{ "reset while it copies", reset_meanwhile, ALONE },
	{ "SIGKILL of the owner while it copies", owner_killed, ALONE },
	{ "removed while it copies", removed, ALONE },
};

const struct suite card_suite = {
	.name = "card", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
