// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls that fail for want of memory, at any place where they allocate some. The device stays attached where
 * it was, and what the call has made is gone: the next one succeeds.
 */
#include <fcntl.h>
#include <unistd.h>

#include "memory.h"
#include "nested_call.h"

/* What a call has made, or what it attaches the device to. */
static uint32_t id;

static int destroy_it(struct nested *n)
{
	return destroy(n->fd, id);
}

static int make_vste(struct nested *n)
{
	return translate(n, &id);
}

static void entry_fails(struct fixture *none)
{
	struct nested n;
	uint32_t hwpt;

	if (!open_attached(&n, &hwpt))
		return;
	fail_everywhere(&n, "a nested HWPT", make_vste, destroy_it, true);
	WANT(attach(n.dev, id, NULL), 0);
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	close_nested(&n);
}

static uint32_t first;

static int attach_it(struct nested *n)
{
	return attach(n->dev, id, NULL);
}

static int attach_first(struct nested *n)
{
	return attach(n->dev, first, NULL);
}

static void attach_fails(struct fixture *none)
{
	struct nested n;

	if (!open_attached(&n, &first))
		return;
	WANT(second_vste(&n, &id), 0);
	fail_everywhere(&n, "an attach", attach_it, attach_first, true);
	WANT(written_to(&n, TARGET_VA), B_PAGE);
	close_nested(&n);
}

static int make_viommu(struct nested *n)
{
	struct nested other = *n;
	int r = viommu(&other);

	id = other.viommu;
	return r;
}

static void viommu_fails(struct fixture *none)
{
	struct nested n;
	uint32_t hwpt;

	if (!open_attached(&n, &hwpt))
		return;
	fail_everywhere(&n, "a vIOMMU", make_viommu, destroy_it, true);
	WANT(destroy(n.fd, id), 0);
	close_nested(&n);
}

static int destroy_vdevice(struct nested *n)
{
	return destroy(n->fd, n->vdevice);
}

/* To have another vDEVICE, the device is attached to the parent. */
static void vdevice_fails(struct fixture *none)
{
	struct nested n;
	uint32_t hwpt;

	if (!open_attached(&n, &hwpt))
		return;
	WANT(attach(n.dev, n.parent, NULL), 0);
	WANT(destroy(n.fd, n.vdevice), 0);
	fail_everywhere(&n, "a vDEVICE", vdevice, destroy_vdevice, false);
	WANT(attach(n.dev, hwpt, NULL), 0);
	WANT(written_to(&n, TARGET_VA), A_PAGE);
	close_nested(&n);
}

/* Without memory for a batch none of it is carried out. The native backend needs none. */
static void batch_fails(struct fixture *none)
{
	int inject = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC), r = -1;
	uint32_t hwpt, nth, done = 0, refused = 0;
	command commands[4];
	struct nested n;

	CHECK(inject >= 0 && sleeping_allocations_fail());
	if (!open_attached(&n, &hwpt))
		return;
	for (nth = 0; nth < ARRAY_SIZE(commands); nth++)
		commands[nth] = by_asid(ASID);
	for (nth = 1; nth < 100; nth++) {
		CHECK(fail_nth(inject, nth));
		r = submit(&n, commands, ARRAY_SIZE(commands), &done);
		if (!nth_failed(inject))
			break;
		if (r != -ENOMEM)
			continue;
		refused++;
		WANT_FINDING("AX", done, 0, ARRAY_SIZE(commands));
	}
	close(inject);
	WANT(r, 0);
	WANT(done, ARRAY_SIZE(commands));
	WANT(refused != 0, by_the_driver());
	close_nested(&n);
}

static const struct test tests[] = {
	{ "a nested HWPT cannot be made", entry_fails, ALONE },
	{ "an attach that fails", attach_fails, ALONE },
	{ "a vIOMMU cannot be made", viommu_fails, ALONE },
	{ "a vDEVICE cannot be made", vdevice_fails, ALONE },
	{ "a batch without memory, finding AX", batch_fails, ALONE },
};

const struct suite failure_suite = {
	.name = "failures", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
