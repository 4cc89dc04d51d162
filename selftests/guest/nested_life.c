// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens to a device while its DMA is under way: it is attached elsewhere, its owner is killed,
 * it is removed. A DMA of edu begins 100 milliseconds after the device was told to do it.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "nested_call.h"
#include "nested_plug.h"

#define ATTEMPTS	50	/* at which the DMA may begin too early */

/* Attaches the device, or detaches it with 0. */
static int attach_to(struct nested *n, uint32_t hwpt)
{
	return hwpt ? attach(n->dev, hwpt, NULL) : detach(n->dev);
}

/*
 * Has the device, which is attached to `from`, begin to write to target, attaches it to `to`, and checks where that
 * arrives: what is wrong is wrong at each attempt.
 */
static void attach_meanwhile(struct nested *n, uint64_t source, uint64_t target, uint32_t from, uint32_t to,
			     uint32_t want)
{
	bool told = false;
	uint32_t page = 0;
	int i;

	for (i = 0; i < ATTEMPTS && !told; i++) {
		if (i)
			WANT(attach_to(n, from), 0);
		/* Without page tables it keeps what it has read, which may have arrived at an attempt before. */
		if (from)
			read_stamp(n, source);
		*(volatile uint32_t *)page_of(n, A_PAGE) = 0;
		*(volatile uint32_t *)page_of(n, B_PAGE) = 0;
		start_write(n, target);
		WANT(attach_to(n, to), 0);
		told = is_to_arrive(n);
		page = arrived_at(n);
	}
	CHECK(told);
	WANT(page, want);
}

#define ATTACHED_MEANWHILE(n, source, target, from, to, want) do {	\
	attach_meanwhile(n, source, target, from, to, want);		\
	if (has_failed()) {						\
		note("from %s to %s", #from, #to);			\
		return;							\
	}								\
} while (0)

static void attached_meanwhile(struct fixture *none)
{
	uint32_t both, second, bypass, aborting, invalid;
	struct nested n;

	if (!open_attached(&n, &both))
		return;
	WANT(second_vste(&n, &second), 0);
	WANT(vste(&n, STE_BYPASS, 0, &bypass), 0);
	WANT(vste(&n, STE_ABORT, 0, &aborting), 0);
	WANT(vste(&n, STE_INVALID, 0, &invalid), 0);
	ATTACHED_MEANWHILE(&n, SOURCE_VA, TARGET_VA, both, both, A_PAGE);
	ATTACHED_MEANWHILE(&n, SOURCE_VA, TARGET_VA, both, second, B_PAGE);
	ATTACHED_MEANWHILE(&n, SOURCE_VA, TARGET_VA, second, both, A_PAGE);
	ATTACHED_MEANWHILE(&n, SOURCE_VA, ipa_of(B_PAGE), both, bypass, B_PAGE);
	ATTACHED_MEANWHILE(&n, ipa_of(SOURCE_PAGE), TARGET_VA, bypass, both, A_PAGE);
	ATTACHED_MEANWHILE(&n, SOURCE_VA, ipa_of(B_PAGE), both, n.parent, B_PAGE);
	ATTACHED_MEANWHILE(&n, ipa_of(SOURCE_PAGE), TARGET_VA, n.parent, both, A_PAGE);
	ATTACHED_MEANWHILE(&n, SOURCE_VA, TARGET_VA, both, aborting, 0);
	WANT(attach(n.dev, both, NULL), 0);
	ATTACHED_MEANWHILE(&n, SOURCE_VA, TARGET_VA, both, invalid, 0);
	WANT(attach(n.dev, both, NULL), 0);
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	/* To no page tables at all, and from none. */
	ATTACHED_MEANWHILE(&n, SOURCE_VA, TARGET_VA, both, 0, 0);
	ATTACHED_MEANWHILE(&n, SOURCE_VA, TARGET_VA, 0, both, A_PAGE);
	close_nested(&n);
}

/* A refused attach leaves the device where it was, with the DMA that is under way. */
static void refused_meanwhile(struct fixture *none)
{
	uint32_t both, second;
	struct nested n;

	if (!open_attached(&n, &both))
		return;
	WANT(second_vste(&n, &second), 0);
	WANT(attach(n.dev, n.parent, NULL), 0);
	WANT(destroy(n.fd, n.vdevice), 0);
	read_stamp(&n, ipa_of(SOURCE_PAGE));
	start_write(&n, ipa_of(A_PAGE));
	WANT(attach(n.dev, second, NULL), -ENOENT);
	WANT(arrived_at(&n), A_PAGE);
	close_nested(&n);
}

/* Has the device begin to write, and does something that changes where that arrives. Returns whether in time. */
static bool write_and_change(int (*change)(struct nested *n), uint32_t want)
{
	struct nested n;
	uint32_t hwpt;
	bool told;

	if (!open_attached(&n, &hwpt))
		return true;
	if (written_to(&n, TARGET_VA) != A_PAGE)
		fail("the device does not write where it has to");
	read_stamp(&n, SOURCE_VA);
	start_write(&n, TARGET_VA);
	if (change(&n))
		fail("it cannot be changed");
	told = is_to_arrive(&n);
	if (arrived_at(&n) != want && told)
		fail("it does not arrive where it has to");
	close_nested(&n);
	return told;
}

static void changed_meanwhile(int (*change)(struct nested *n), uint32_t want)
{
	bool told = false;
	int i;

	for (i = 0; i < ATTEMPTS && !told && !has_failed(); i++)
		told = write_and_change(change, want);
	CHECK(told);
}

static int invalidate(struct nested *n)
{
	map_va(n, 0, TARGET_VA, B_PAGE);
	return submit_one(n, by_va(OP_NH_VA, TARGET_VA, ASID));
}

static void invalidated_meanwhile(struct fixture *none)
{
	changed_meanwhile(invalidate, B_PAGE);
}

static int unmap_memory(struct nested *n)
{
	return unmap(n->fd, n->ioas, GUEST_BASE, GUEST_PAGES * PAGE) != GUEST_PAGES * PAGE;
}

/* Memory of the guest is unmapped from the second stage. */
static void unmapped_meanwhile(struct fixture *none)
{
	changed_meanwhile(unmap_memory, 0);
}

static volatile uint32_t *writes;

static void owner(struct fixture *none)
{
	struct nested n;
	uint32_t hwpt;

	if (!open_attached(&n, &hwpt))
		return;
	while (written_to(&n, TARGET_VA) == A_PAGE)
		++*writes;
}

static void owner_killed(struct fixture *none)
{
	struct nested n;
	uint32_t hwpt;
	long idle;
	int pid;

	CHECK(share_memory());
	writes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(writes != MAP_FAILED);
	idle = pinned();
	pid = start_child(NULL, 0, owner);
	CHECK(wait_for(writes, 3));
	CHECK(pinned() > idle);
	WANT(kill(pid, SIGKILL), 0);
	WANT(waitpid(pid, NULL, 0), pid);
	WANT(pinned(), idle);
	/* Nothing that was under way may arrive any more. */
	n.memory = guest_memory();
	memset(page_of(&n, A_PAGE), 0x5a, PAGE);
	usleep(500000);
	WANT(*(uint32_t *)page_of(&n, A_PAGE), 0x5a5a5a5a);
	if (!open_attached(&n, &hwpt))
		return;
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	close_nested(&n);
}

static void removed(struct fixture *none)
{
	const char *bdf = getenv("EDU_BDF");
	struct removal removal;
	struct nested n;
	uint32_t hwpt;

	if (!open_attached(&n, &hwpt))
		return;
	CHECK(begin_removal(&removal, bdf, n.dev));
	/* Until it is closed it is the VMM's. */
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	start_write(&n, TARGET_VA);
	close_device(&n);
	CHECK(end_removal(&removal));
	/* What the VMM made for the device is left, without the device. */
	WANT(submit_one(&n, by_op(OP_NSNH_ALL)), 0);
	WANT(submit_one(&n, by_vsid(OP_CFGI_CD, VSID)), -EIO);
	WANT(destroy(n.fd, hwpt), 0);
	close_nested(&n);
	CHECK(plug_in(bdf));
	if (!open_attached(&n, &hwpt))
		return;
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	close_nested(&n);
}

static const struct test tests[] = {
	{ "attached elsewhere", attached_meanwhile, ALONE },
	{ "an attach that is refused", refused_meanwhile, ALONE },
	{ "a command meanwhile", invalidated_meanwhile, ALONE },
	{ "the second stage unmapped", unmapped_meanwhile, ALONE },
	{ "SIGKILL of the owner", owner_killed, ALONE },
	{ "the device removed", removed, ALONE },
};

const struct suite during_dma_suite = {
	.name = "during DMA", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
