// SPDX-License-Identifier: GPL-2.0-only
/* vDEVICEs: the virtual id of a device, and what is left when the device is unbound. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "viommu.h"

static void wrong(struct fixture *none)
{
	struct iommu_vdevice_alloc cmd = { .size = sizeof(cmd), .virt_id = VIRT_ID };
	uint32_t device, dev_id, hwpt, one, two, id;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(mock_device(g.fd, g.ioas, &device, &dev_id, &hwpt), 0);
	WANT_WHY(g.fd, vdevice(g.fd, NO_ID, g.dev_id, VIRT_ID, &id), -ENOENT, "object-none");
	WANT_WHY(g.fd, vdevice(g.fd, g.parent, g.dev_id, VIRT_ID, &id), -ENOENT, "object-kind");
	WANT_WHY(g.fd, vdevice(g.fd, g.viommu, NO_ID, VIRT_ID, &id), -ENOENT, "object-none");
	WANT_WHY(g.fd, vdevice(g.fd, g.viommu, g.device, VIRT_ID, &id), -ENOENT, "object-kind");
	cmd.viommu_id = g.viommu;
	cmd.dev_id = g.dev_id;
	cmd.size = offsetof(struct iommu_vdevice_alloc, virt_id);
	WANT_WHY(g.fd, call(g.fd, IOMMU_VDEVICE_ALLOC, &cmd), -EINVAL, "command-too-short");
	cmd.size = sizeof(cmd);
	WANT_WHY(g.fd, call(g.fd, IOMMU_VDEVICE_ALLOC, read_only(&cmd, sizeof(cmd))), -EFAULT,
		 "user-memory");
	/* No object is left: neither the device nor the virtual id is in use. */
	WANT(vdevice(g.fd, g.viommu, g.dev_id, VIRT_ID, &one), 0);
	WANT_WHY(g.fd, vdevice(g.fd, g.viommu, g.dev_id, VIRT_ID, &id), -EEXIST, "vdevice-exists");
	WANT_WHY(g.fd, vdevice(g.fd, g.viommu, g.dev_id, VIRT_ID + 1, &id), -EEXIST, "vdevice-exists");
	WANT_WHY(g.fd, vdevice(g.fd, g.viommu, dev_id, VIRT_ID, &id), -EEXIST, "vdevice-driver");
	WANT(vdevice(g.fd, g.viommu, dev_id, UINT64_MAX, &two), 0);
	WANT(destroy(g.fd, two), 0);
	WANT(vdevice(g.fd, g.viommu, dev_id, 0, &two), 0);
	WANT(destroy(g.fd, one), 0);
	WANT(vdevice(g.fd, g.viommu, g.dev_id, VIRT_ID + 1, &one), 0);
	WANT(destroy(g.fd, one), 0);
	WANT(destroy(g.fd, two), 0);
	WANT(destroy(g.fd, device), 0);
	close_guest(&g);
}

/* The caller's struct is larger than the kernel's, and what the kernel does not know cannot be written to. */
static void larger(struct fixture *none)
{
	struct iommu_vdevice_alloc cmd = { .size = PAGE, .virt_id = VIRT_ID };
	int file = memory_file(2 * PAGE, 0);
	struct guest g;
	char *area, *at;

	CHECK(file >= 0);
	/* Private pages of a file have to be copied before they can be written to. */
	area = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	CHECK(area != MAP_FAILED && !mprotect(area + PAGE, PAGE, PROT_READ) && open_guest(&g));
	at = area + PAGE - sizeof(cmd);
	cmd.viommu_id = g.viommu;
	cmd.dev_id = g.dev_id;
	WANT(pwrite(file, &cmd, sizeof(cmd), at - area), sizeof(cmd));
	WANT(call(g.fd, IOMMU_VDEVICE_ALLOC, at), 0);
	memcpy(&cmd, at, sizeof(cmd));
	WANT(destroy(g.fd, cmd.out_vdevice_id), 0);
	close_guest(&g);
	munmap(area, 2 * PAGE);
	close(file);
}

/* A device has one vDEVICE, whatever the vIOMMU. Each vIOMMU has its own virtual ids. */
static void two_guests(struct fixture *none)
{
	uint32_t device, dev_id, hwpt, other, one, two, id;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(mock_device(g.fd, g.ioas, &device, &dev_id, &hwpt), 0);
	WANT(viommu(&g, g.parent, &other), 0);
	WANT(vdevice(g.fd, g.viommu, g.dev_id, VIRT_ID, &one), 0);
	WANT_WHY(g.fd, vdevice(g.fd, other, g.dev_id, VIRT_ID, &id), -EEXIST, "vdevice-exists");
	WANT(vdevice(g.fd, other, dev_id, VIRT_ID, &two), 0);
	WANT_DONE(forget_cache(g.fd, other, VIRT_ID, ALL, 0), 0, 1);
	WANT(cache_is(g.fd, g.dev_id, 0, CACHED), 0);
	WANT(cache_is(g.fd, dev_id, 0, 0), 0);
	WANT(destroy(g.fd, one), 0);
	WANT(destroy(g.fd, two), 0);
	WANT(destroy(g.fd, other), 0);
	WANT(destroy(g.fd, device), 0);
	close_guest(&g);
}

static void unbound(struct fixture *none)
{
	uint32_t device, dev_id, hwpt, vdev, again, id, i, ids[64];
	uint64_t mode = 1;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(mock_device(g.fd, g.ioas, &device, &dev_id, &hwpt), 0);
	WANT(vdevice(g.fd, g.viommu, dev_id, VIRT_ID, &vdev), 0);
	WANT_WHY(g.fd, destroy(g.fd, g.viommu), -EBUSY, "object-in-use");
	WANT(destroy(g.fd, device), 0);
	/* The vDEVICE was destroyed with the device, and its virtual id is free. */
	WANT_WHY(g.fd, destroy(g.fd, vdev), -ENOENT, "object-none");
	WANT_DONE_WHY(g.fd, forget_cache(g.fd, g.viommu, VIRT_ID, ALL, 0), -EINVAL, 0, "invalidate-request");
	WANT_WHY(g.fd, vdevice(g.fd, g.viommu, dev_id, VIRT_ID, &id), -ENOENT, "object-none");
	WANT(vdevice(g.fd, g.viommu, g.dev_id, VIRT_ID, &again), 0);
	CHECK(again != vdev);
	WANT(destroy(g.fd, again), 0);
	WANT_WHY(g.fd, destroy(g.fd, vdev), -ENOENT, "object-none");
	/* Its object id is not used again. */
	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		WANT(ioas_alloc(g.fd, &ids[i]), 0);
		CHECK(ids[i] != vdev);
	}
	WANT_WHY(g.fd, destroy(g.fd, vdev), -ENOENT, "object-none");
	WANT(destroy(g.fd, g.viommu), 0);
	WANT(destroy(g.fd, g.parent), 0);
	WANT(destroy(g.fd, g.device), 0);
	while (i)
		WANT(destroy(g.fd, ids[--i]), 0);
	WANT(destroy(g.fd, g.ioas), 0);
	/* The abandoned id keeps the context from being regarded as new. */
	WANT_WHY(g.fd, option(g.fd, IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_OP_SET, 0, &mode),
		 -EBUSY, "option-has-objects");
	close(g.fd);
}

/* A vDEVICE that user space has destroyed leaves no abandoned id. */
static void destroyed(struct fixture *none)
{
	uint32_t device, dev_id, hwpt, vdev, again;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(mock_device(g.fd, g.ioas, &device, &dev_id, &hwpt), 0);
	WANT(vdevice(g.fd, g.viommu, dev_id, VIRT_ID, &vdev), 0);
	WANT(destroy(g.fd, vdev), 0);
	WANT_WHY(g.fd, destroy(g.fd, vdev), -ENOENT, "object-none");
	WANT(destroy(g.fd, device), 0);
	WANT(vdevice(g.fd, g.viommu, g.dev_id, VIRT_ID, &again), 0);
	WANT(destroy(g.fd, again), 0);
	close_guest(&g);
}

/* A vDEVICE can be destroyed while its device is attached, and is destroyed with the device. */
static void while_attached(struct fixture *none)
{
	uint32_t device, dev_id, hwpt, vdev, on_viommu;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(nested(&g, g.viommu, 0, &on_viommu), 0);
	WANT(mock_device(g.fd, g.ioas, &device, &dev_id, &hwpt), 0);
	WANT(vdevice(g.fd, g.viommu, dev_id, VIRT_ID, &vdev), 0);
	WANT(mock_replace(g.fd, device, on_viommu), 0);
	WANT(destroy(g.fd, vdev), 0);
	WANT_WHY(g.fd, destroy(g.fd, on_viommu), -EBUSY, "object-in-use");
	WANT(vdevice(g.fd, g.viommu, dev_id, VIRT_ID, &vdev), 0);
	WANT(destroy(g.fd, device), 0);
	WANT_WHY(g.fd, destroy(g.fd, vdev), -ENOENT, "object-none");
	WANT(destroy(g.fd, on_viommu), 0);
	close_guest(&g);
}

static const struct test tests[] = {
	{ "wrong calls for a vDEVICE", wrong, ALONE },
	{ "a larger struct", larger, ALONE },
	{ "two vIOMMUs", two_guests, ALONE },
	{ "destroyed with its device", unbound, ALONE },
	{ "destroyed before its device", destroyed, ALONE },
	{ "destroyed while the device is attached", while_attached, ALONE },
};

const struct suite vdevice_suite = {
	.name = "vdevice", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
