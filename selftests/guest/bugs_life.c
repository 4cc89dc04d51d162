// SPDX-License-Identifier: GPL-2.0-only
/* Lifetimes of objects, and locks that stay held. The runner kills a test that hangs. */
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "bugs.h"

static uint32_t asked;
static int other_fd;
static time_t longest;

/*
 * An attach looks up the page tables that the last one has made, which are gone. Among so many there are some that have
 * their id now.
 */
#define TABLES	4

/* Takes short references to the device, bound or not. */
static void hold_shortly(struct fixture *f, unsigned int round)
{
	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = asked };
	uint32_t hwpts[TABLES], nr = 0;
	int r;

	r = call(f->fd, IOMMU_GET_HW_INFO, &info);
	if (r)
		WANT(r, -ENOENT);
	while (nr < TABLES && !(r = hwpt_alloc(f->fd, asked, f->ioas, &hwpts[nr])))
		nr++;
	if (r)
		WANT(r, -ENOENT);
	while (nr)
		WANT(destroy(f->fd, hwpts[--nr]), 0);
	r = destroy(f->fd, asked);
	CHECK(r == -EBUSY || r == -ENOENT);
}

#define FULL_WAIT	60	/* seconds */

static void bind_and_unbind(struct fixture *f, unsigned int round)
{
	int dev = open(device_path, O_RDWR | O_CLOEXEC);
	uint32_t id;
	time_t began;

	CHECK(dev >= 0);
	WANT(bind_device(dev, f->fd, &id), 0);
	asked = id;
	if (round & 1)
		WANT(attach(dev, f->ioas, NULL), 0);
	began = time(NULL);
	close(dev);
	if (time(NULL) - began > longest)
		longest = time(NULL) - began;
}

/*
 * The thread that unbinds must be woken by the last reference. The C module sleeps uninterruptibly
 * and wakes interruptible sleepers, so it waits the full 60 s: finding F.
 */
static void unbind_waits(struct fixture *none)
{
	struct fixture f = { .fd = open_iommu(), .dev = -1 };
	long idle = pinned();

	CHECK(f.fd >= 0);
	WANT(ioas_alloc(f.fd, &f.ioas), 0);
	WANT(map(f.fd, f.ioas, mem.rw, PAGE, HELD_IOVA), 0);
	asked = 0;
	race(&f, &(struct worker){ hold_shortly, 100 }, &(struct worker){ bind_and_unbind, 30 });
	WANT(destroy(f.fd, f.ioas), 0);
	WANT(pinned(), idle);
	close(f.fd);
	if (on_c_module())
		note("finding F: the longest close took %lld s", (long long)longest);
	else
		CHECK(longest < FULL_WAIT - 10);
}

/* Each error of an attach, each followed by an attach that succeeds. */
static void attach_fails(struct fixture *f)
{
	uint32_t hwpt, bad[4], i;
	int r;

	WANT(ioas_alloc(f->fd, &bad[0]), 0);
	WANT(map(f->fd, bad[0], mem.gone, PAGE, FREE_IOVA), 0);
	WANT(ioas_alloc(f->fd, &bad[1]), 0);
	WANT(map(f->fd, bad[1], mem.rw, PAGE, MSI_IOVA), 0);
	bad[2] = NO_ID;
	bad[3] = f->dev_id;
	for (i = 0; i < 2 * ARRAY_SIZE(bad); i++) {
		CHECK(attach(f->dev, bad[i / 2], NULL) < 0);
		r = hwpt_alloc(f->fd, f->dev_id, bad[i / 2], &hwpt);
		/* The MSI window conflicts with a device, not with page tables. */
		if (bad[i / 2] == bad[1])
			WANT(r ? r : destroy(f->fd, hwpt), 0);
		else
			CHECK(r < 0);
		/* Odd rounds start detached. */
		if (i & 1)
			WANT(attach(f->dev, f->ioas, NULL), 0);
		else
			WANT(detach(f->dev), 0);
	}
	WANT(pinned(), f->idle_pins + 1);
}

static int second_dev;

static void attach_first(struct fixture *f, unsigned int round)
{
	WANT(attach(f->dev, round & 1 ? f->ioas : f->other, NULL), 0);
	if (round % 3 == 0)
		WANT(detach(f->dev), 0);
}

static void attach_second(struct fixture *f, unsigned int round)
{
	WANT(attach(second_dev, round & 1 ? f->ioas : f->other, NULL), 0);
	if (round % 5 == 0)
		WANT(detach(second_dev), 0);
}

/* Two groups are attached to the same page tables and detached, at the same time. */
static void two_groups(struct fixture *f)
{
	uint32_t id;

	second_dev = open_second();
	CHECK(second_dev >= 0);
	WANT(bind_device(second_dev, f->fd, &id), 0);
	race(f, &(struct worker){ attach_first, 50 }, &(struct worker){ attach_second, 50 });
	close(second_dev);
}

/* The iommufd is closed before its device. Then another iommufd binds the device. */
static void closed_while_used(struct fixture *none)
{
	struct fixture f;
	uint32_t id;

	CHECK(open_fixture(&f, true));
	close(f.fd);
	f.fd = -1;
	close_fixture(&f);
	f.dev = open(device_path, O_RDWR | O_CLOEXEC);
	other_fd = open_iommu();
	WANT(bind_device(f.dev, other_fd, &id), 0);
	close(f.dev);
	close(other_fd);
}

/* A field that must be 0 by the header and is not checked: as the C module. */
static void reserved_field(struct fixture *f)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .dev_id = f->dev_id, .pt_id = f->ioas, .__reserved2 = 1,
	};
	int r = call(f->fd, IOMMU_HWPT_ALLOC, &cmd);

	if (r)
		WANT_FINDING("E", r, -EOPNOTSUPP, 0);
	else
		WANT(destroy(f->fd, cmd.out_hwpt_id), 0);
}

static const struct test tests[] = {
	{ "unbind is woken by the last holder, finding F", unbind_waits, ALONE },
	{ "no lock stays held when attach fails", attach_fails, DOMAIN },
	{ "two groups at one page table", two_groups, DOMAIN },
	{ "the iommufd is closed before the device", closed_while_used, ALONE },
	{ "a reserved field is not checked, finding E", reserved_field, DOMAIN },
};

const struct suite life_bugs_suite = {
	.name = "life",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
