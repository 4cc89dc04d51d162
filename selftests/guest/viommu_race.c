// SPDX-License-Identifier: GPL-2.0-only
/*
 * Four threads make, attach, invalidate and destroy the same objects. Each call has a list of the
 * errors that it may return because another thread was faster.
 */
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "viommu.h"

#define SECONDS		6
#define PATIENCE	60	/* seconds for the other threads to end */

static struct guest g;
static _Atomic uint32_t device, dev_id, vdev, on_viommu, on_parent;
static atomic_ulong done[4];
static time_t deadline;

/* Makes and destroys a device. Its vDEVICE is destroyed with it. */
static void *bind_unbind(void *none)
{
	while (time(NULL) < deadline && !has_failed()) {
		uint32_t d, id, hwpt;
		int r = mock_device(g.fd, g.ioas, &d, &id, &hwpt);

		ACCEPT(0, r, ENOENT);
		if (r)
			continue;
		atomic_store(&device, d);
		atomic_store(&dev_id, id);
		usleep(2000);
		/* EBUSY: it is in use. ENOENT: another thread has destroyed it. */
		while ((r = destroy(g.fd, d)) == -EBUSY && time(NULL) < deadline + PATIENCE)
			;
		ACCEPT(0, r, ENOENT);
	}
	return NULL;
}

static void *make_vdevices(void *none)
{
	while (time(NULL) < deadline && !has_failed()) {
		uint32_t id = 0;
		int r = vdevice(g.fd, g.viommu, atomic_load(&dev_id), VIRT_ID, &id);

		ACCEPT(1, r, ENOENT, EEXIST);
		if (r)
			continue;
		atomic_store(&vdev, id);
		if (time(NULL) & 1)
			continue;
		ACCEPT(1, destroy(g.fd, id), ENOENT, EBUSY);
	}
	return NULL;
}

static void *attach_nested(void *none)
{
	while (time(NULL) < deadline && !has_failed()) {
		uint32_t one = 0, two = 0;

		ACCEPT(2, nested(&g, g.viommu, 0, &one), ENOENT);
		ACCEPT(2, nested(&g, g.parent, 0, &two), ENOENT);
		atomic_store(&on_viommu, one);
		atomic_store(&on_parent, two);
		ACCEPT(2, mock_replace(g.fd, atomic_load(&device), one), ENOENT, EINVAL);
		ACCEPT(2, mock_replace(g.fd, atomic_load(&device), two), ENOENT, EINVAL);
		ACCEPT(2, mock_replace(g.fd, atomic_load(&device), g.ioas), ENOENT, EINVAL);
		while (destroy(g.fd, one) == -EBUSY && !has_failed())
			mock_replace(g.fd, atomic_load(&device), g.ioas);
		while (destroy(g.fd, two) == -EBUSY && !has_failed())
			mock_replace(g.fd, atomic_load(&device), g.ioas);
	}
	return NULL;
}

static void *invalidate_all(void *none)
{
	while (time(NULL) < deadline && !has_failed()) {
		struct outcome o = forget_cache(g.fd, g.viommu, VIRT_ID, ALL, 0);

		ACCEPT(3, o.r, EINVAL);
		if (o.done != (o.r ? 0 : 1))
			fail("%s and %u done", errno_name(o.r), o.done);
		o = forget_iotlb(g.fd, atomic_load(&on_viommu), ALL, 0);
		ACCEPT(3, o.r, EINVAL, ENOENT);
		o = forget_iotlb(g.fd, atomic_load(&on_parent), 0, 3);
		ACCEPT(3, o.r, EINVAL, ENOENT);
		ACCEPT(3, destroy(g.fd, atomic_load(&vdev)), ENOENT, EBUSY);
	}
	return NULL;
}

static void all_at_once(struct fixture *none)
{
	void *(*const work[])(void *) = {
		bind_unbind, make_vdevices, attach_nested, invalidate_all,
	};

	if (!open_guest(&g))
		return;
	run_all(work, ARRAY_SIZE(work), done, &deadline, SECONDS);
	close_guest(&g);
}

static const struct test tests[] = {
	{ "destroyed, attached and invalidated from four threads", all_at_once, ALONE },
};

const struct suite viommu_race_suite = {
	.name = "race", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
