// SPDX-License-Identifier: GPL-2.0-only
/* Interrupts that the IOMMU translates: two groups set up theirs at the same time. */
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bugs.h"

#define VECTORS		3

static int second_dev;

/* Enables so many of a device's interrupts, or disables all with 0. */
static int set_interrupts(int dev, uint32_t nr)
{
	uint64_t buf[8] = {};
	struct vfio_irq_set *set = (void *)buf;
	int32_t fds[VECTORS];
	uint32_t i;
	int r;

	set->argsz = sizeof(*set) + nr * sizeof(*fds);
	set->flags = VFIO_IRQ_SET_ACTION_TRIGGER;
	set->flags |= nr ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE;
	set->index = VFIO_PCI_MSIX_IRQ_INDEX;
	set->count = nr;
	for (i = 0; i < nr; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	memcpy(set->data, fds, nr * sizeof(*fds));
	r = call(dev, VFIO_DEVICE_SET_IRQS, set);
	for (i = 0; i < nr; i++)
		close(fds[i]);
	return r;
}

/* Sets up interrupts in page tables to which both devices are attached, or one. */
static void set_up(struct fixture *f, int dev, unsigned int round)
{
	WANT(set_interrupts(dev, 1 + round % VECTORS), 0);
	if (round % 3 == 0)
		WANT(attach(dev, round % 2 ? f->ioas : f->other, NULL), 0);
	WANT(set_interrupts(dev, 0), 0);
}

static void set_up_first(struct fixture *f, unsigned int round)
{
	set_up(f, f->dev, round);
}

static void set_up_second(struct fixture *f, unsigned int round)
{
	set_up(f, second_dev, round);
}

static void two_groups(struct fixture *f)
{
	uint32_t id;

	second_dev = open_second();
	CHECK(second_dev >= 0);
	WANT(bind_device(second_dev, f->fd, &id), 0);
	WANT(attach(second_dev, f->ioas, NULL), 0);
	race(f, &(struct worker){ set_up_first, 100 }, &(struct worker){ set_up_second, 100 });
	/*
	 * Both are attached to the same page tables again. Closing one device leaves the other's
	 * interrupts.
	 */
	WANT(attach(f->dev, f->ioas, NULL), 0);
	WANT(attach(second_dev, f->ioas, NULL), 0);
	WANT(set_interrupts(second_dev, VECTORS), 0);
	close(second_dev);
	WANT(set_interrupts(f->dev, VECTORS), 0);
	WANT(set_interrupts(f->dev, 0), 0);
}

static const struct test tests[] = {
	{ "two groups set up interrupts at once, CVE-2026-90244", two_groups, DOMAIN },
};

const struct suite interrupts_suite = {
	.name = "interrupts",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
