// SPDX-License-Identifier: GPL-2.0-only
/* vDEVICEs: which ids they may have, and when they can be destroyed. */
#include <pthread.h>
#include <stdatomic.h>

#include "memory.h"
#include "nested_call.h"

/* Times that two threads make their calls at once. */
#define ROUNDS	400

/* Events of a device have the id that it had when it was attached, which so must not become another's. */
static void used_vdevice(struct fixture *none)
{
	const int used = on_c_module() ? 0 : -EBUSY;
	struct nested n, again;
	uint32_t hwpt[3], i;

	for (i = 0; i < ARRAY_SIZE(hwpt); i++) {
		if (!open_nested(&n))
			return;
		WANT(translate(&n, &hwpt[0]), 0);
		WANT(vste(&n, STE_BYPASS, 0, &hwpt[1]), 0);
		WANT(vste(&n, STE_ABORT, 0, &hwpt[2]), 0);
		WANT(attach(n.dev, hwpt[i], NULL), 0);
		WANT(destroy(n.fd, n.vdevice), used);
		again = n;
		WANT(vdevice(&again), used ? -EEXIST : 0);
		if (!used)
			n.vdevice = again.vdevice;
		WANT(attach(n.dev, n.parent, NULL), 0);
		WANT(destroy(n.fd, n.vdevice), 0);
		WANT(vdevice(&n), 0);
		WANT(attach(n.dev, hwpt[0], NULL), 0);
		WANT(attach(n.dev, hwpt[i], NULL), 0);
		WANT(destroy(n.fd, n.vdevice), used);
		close_nested(&n);
	}
}

/* A StreamID has 32 bits. The driver reports events with the low ones of a vDEVICE's id. */
static void wide_ids(struct fixture *none)
{
	struct nested n;

	if (!open_nested(&n))
		return;
	WANT(destroy(n.fd, n.vdevice), 0);
	n.vsid = 1ULL << 32 | VSID;
	WANT(vdevice(&n), by_the_driver() ? 0 : -EINVAL);
	n.vsid = ~0U;
	if (by_the_driver())
		WANT(destroy(n.fd, n.vdevice), 0);
	WANT(vdevice(&n), 0);
	WANT(submit_one(&n, by_vsid(OP_CFGI_CD, ~0U)), 0);
	close_nested(&n);
}

/*
 * Opens a guest without a vDEVICE. The driver attaches the device to the first of its page tables only if
 * there is one. Fails the test if that cannot be.
 */
static void open_bare(struct nested *n, uint32_t *both, uint32_t *bypass)
{
	if (!open_nested(n))
		return;
	WANT(translate(n, both), 0);
	WANT(vste(n, STE_BYPASS, 0, bypass), 0);
	WANT(destroy(n->fd, n->vdevice), 0);
}

/* One that is made when its device is attached already to an entry that needs none. */
static void later_vdevice(struct fixture *none)
{
	const int used = on_c_module() ? 0 : -EBUSY;
	uint32_t both, bypass, aborting, other;
	struct nested n;

	open_bare(&n, &both, &bypass);
	if (has_failed())
		return;
	WANT(vste(&n, STE_ABORT, 0, &aborting), 0);
	WANT(attach(n.dev, both, NULL), -ENOENT);
	for (other = bypass; other; other = other == bypass ? aborting : 0) {
		WANT(attach(n.dev, other, NULL), 0);
		WANT(vdevice(&n), 0);
		WANT(destroy(n.fd, n.vdevice), used);
		if (!used)
			WANT(vdevice(&n), 0);
		WANT(attach(n.dev, both, NULL), 0);
		WANT(attach(n.dev, other, NULL), 0);
		WANT(destroy(n.fd, n.vdevice), used);
		WANT(detach(n.dev), 0);
		if (used)
			WANT(destroy(n.fd, n.vdevice), 0);
	}
	/* The parent needs none. */
	WANT(attach(n.dev, n.parent, NULL), 0);
	WANT(vdevice(&n), 0);
	WANT(destroy(n.fd, n.vdevice), 0);
	close_nested(&n);
}

/* What two threads share. */
struct beside {
	struct nested *n;
	pthread_barrier_t both;
	atomic_bool over;
	int made;
};

static void *make_vdevices(void *arg)
{
	struct beside *b = arg;

	for (;;) {
		pthread_barrier_wait(&b->both);
		if (b->over)
			return NULL;
		b->made = vdevice(b->n);
		pthread_barrier_wait(&b->both);
	}
}

/* One that is made while its device is being attached: either comes first. */
static void vdevice_beside(struct fixture *none)
{
	const int used = on_c_module() ? 0 : -EBUSY;
	uint32_t both, bypass, i, attached = 0;
	static struct beside b;
	pthread_t thread;
	struct nested n;
	int r;

	open_bare(&n, &both, &bypass);
	if (has_failed())
		return;
	b.n = &n;
	pthread_barrier_init(&b.both, NULL, 2);
	pthread_create(&thread, NULL, make_vdevices, &b);
	for (i = 0; i < 2 * ROUNDS; i++) {
		pthread_barrier_wait(&b.both);
		r = attach(n.dev, i % 2 ? both : bypass, NULL);
		pthread_barrier_wait(&b.both);
		WANT(b.made, 0);
		if (r != -ENOENT || !(i % 2))
			WANT(r, 0);
		/* Attached by way of the vDEVICE, or before it was made: it is needed from now on. */
		WANT(destroy(n.fd, n.vdevice), r ? 0 : used);
		if (r)
			continue;
		attached += i % 2;
		WANT(detach(n.dev), 0);
		if (used)
			WANT(destroy(n.fd, n.vdevice), 0);
	}
	note("the vDEVICE was there in %u of %u attaches that need it", attached, i / 2);
	b.over = true;
	pthread_barrier_wait(&b.both);
	pthread_join(thread, NULL);
	close_nested(&n);
}

static void *make_in_vain(void *arg)
{
	struct beside *b = arg;
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = b->n->viommu, .dev_id = b->n->dev_id,
		.virt_id = b->n->vsid,
	};
	void *at = read_only(&cmd, sizeof(cmd));

	while (!b->over && b->made != -1) {
		if (call(b->n->fd, IOMMU_VDEVICE_ALLOC, at) == -EFAULT)
			b->made++;
		else
			b->made = -1;
	}
	return NULL;
}

/* One of which the caller cannot be told is none: no attach may find it meanwhile. */
static void vdevice_in_vain(struct fixture *none)
{
	static struct beside b;
	uint32_t both, bypass, i;
	pthread_t thread;
	struct nested n;

	open_bare(&n, &both, &bypass);
	if (has_failed())
		return;
	b.n = &n;
	pthread_create(&thread, NULL, make_in_vain, &b);
	/* The other thread may not run for a while. */
	for (i = 0; i < 10 * ROUNDS || !b.made; i++)
		WANT(attach(n.dev, both, NULL), -ENOENT);
	b.over = true;
	pthread_join(thread, NULL);
	CHECK(b.made > 0);
	note("%u attaches beside %d vDEVICEs", i, b.made);
	close_nested(&n);
}

static const struct test tests[] = {
	{ "a vDEVICE of an attached device", used_vdevice, ALONE },
	{ "a vDEVICE that is made for an attached device", later_vdevice, ALONE },
	{ "a vDEVICE that is made during an attach", vdevice_beside, ALONE },
	{ "a vDEVICE that cannot be answered, during an attach", vdevice_in_vain, ALONE },
	{ "the id of a vDEVICE is a StreamID", wide_ids, ALONE },
};

const struct suite vdevice_suite = {
	.name = "vDEVICE", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
