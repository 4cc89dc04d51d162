// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fixture.h"
#include "result.h"

const char *device_path;

static int open_device(struct fixture *f)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX };
	int r;

	f->dev = open(device_path, O_RDWR | O_CLOEXEC);
	if (f->dev < 0)
		return -errno;
	r = bind_device(f->dev, f->fd, &f->dev_id);
	if (r)
		return r;
	r = call(f->dev, VFIO_DEVICE_GET_REGION_INFO, &bar);
	if (r)
		return r;
	mem.registers = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f->dev, bar.offset);
	if (mem.registers == MAP_FAILED)
		return -errno;
	return 0;
}

static int fill_fixture(struct fixture *f)
{
	int r;

	r = ioas_alloc(f->fd, &f->ioas);
	if (!r)
		r = ioas_alloc(f->fd, &f->other);
	if (!r && f->domain)
		r = attach(f->dev, f->ioas, &f->hwpt);
	if (!r)
		r = map(f->fd, f->ioas, mem.rw, PAGE, HELD_IOVA);
	if (!r)
		r = map(f->fd, f->other, mem.rw + PAGE, PAGE, HELD_IOVA);
	return r;
}

bool open_fixture(struct fixture *f, bool domain)
{
	int r;

	memset(f, 0, sizeof(*f));
	f->domain = domain;
	f->dev = -1;
	f->idle_pins = pinned();
	f->fd = open_iommu();
	r = f->fd;
	if (r >= 0)
		r = domain ? open_device(f) : 0;
	if (!r)
		r = fill_fixture(f);
	if (r)
		note("cannot make a fixture: %s", errno_name(r));
	return !r;
}

void close_fixture(struct fixture *f)
{
	long left;

	if (mem.registers)
		munmap(mem.registers, PAGE);
	mem.registers = NULL;
	if (f->dev >= 0)
		close(f->dev);
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	f->dev = -1;
	left = pinned() - f->idle_pins;
	if (left)
		note("%ld pages stay pinned after everything was closed", left);
}

bool restore(struct fixture *f)
{
	long long r = 0;
	uint32_t id;

	if (f->fd < 0)
		return false;
	if (f->domain)
		r = detach(f->dev);
	for (id = 1; !r && id < LAST_ID; id++)
		if (get_option(f->fd, IOMMU_OPTION_HUGE_PAGES, id) >= 0)
			r = destroy(f->fd, id);
	if (r) {
		note("cannot destroy what is left: %s", errno_name(r));
		return false;
	}
	if (pinned() != f->idle_pins) {
		note("%ld pages stay pinned after all was destroyed", pinned() - f->idle_pins);
		return false;
	}
	r = fill_fixture(f);
	if (r)
		note("cannot fill the fixture again: %s", errno_name(r));
	return !r;
}

void look(struct fixture *f, struct state *s)
{
	uint32_t ids[2] = { f->ioas, f->other };
	uint32_t i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < 2; i++) {
		s->ioas[i].nr = MAX_RANGES;
		iova_ranges(f->fd, ids[i], s->ioas[i].ranges, &s->ioas[i].nr,
			    &s->ioas[i].alignment);
	}
	for (i = 1; i < MAX_IDS; i++) {
		long long v = get_option(f->fd, IOMMU_OPTION_HUGE_PAGES, i);

		s->is_ioas[i] = v >= 0;
		if (i == ids[0])
			s->ioas[0].huge_pages = v;
		if (i == ids[1])
			s->ioas[1].huge_pages = v;
	}
	s->rlimit_mode = get_option(f->fd, IOMMU_OPTION_RLIMIT_MODE, 0);
	s->pins = pinned();
	s->own_pins = own_pinned();
}

/* There is no call that lists mappings: unmaps everything, counts it, and maps the held page again. */
static void check_held(struct fixture *f, uint32_t ioas, const char *which, const void *page)
{
	long long r = unmap_all(f->fd, ioas);

	if (r != (long long)PAGE)
		fail("the %s had %s bytes mapped instead of one page", which, errno_name(r));
	r = map(f->fd, ioas, page, PAGE, HELD_IOVA);
	if (r)
		fail("the %s cannot take its page again: %s", which, errno_name(r));
}

void check_unchanged(struct fixture *f, const struct state *before)
{
	struct state now;
	size_t i;

	look(f, &now);
	for (i = 0; i < 2; i++)
		if (memcmp(&now.ioas[i], &before->ioas[i], sizeof(now.ioas[i])))
			fail("the refused call changed the ranges or options of IOAS %zu", i);
	for (i = 1; i < MAX_IDS; i++)
		if (now.is_ioas[i] != before->is_ioas[i])
			fail("the refused call %s id %zu", now.is_ioas[i] ? "made" : "took away", i);
	if (now.rlimit_mode != before->rlimit_mode)
		fail("the refused call changed the rlimit mode");
	if (now.pins != before->pins)
		fail("the refused call left %+ld pages pinned", now.pins - before->pins);
	if (now.own_pins != before->own_pins)
		fail("the refused call left %+ld pages in VmPin", now.own_pins - before->own_pins);
	check_held(f, f->ioas, "first IOAS", mem.rw);
	check_held(f, f->other, "second IOAS", mem.rw + PAGE);
	if (pinned() != before->pins)
		fail("%+ld pages after mapping the held pages again", pinned() - before->pins);
}
