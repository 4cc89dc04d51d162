// SPDX-License-Identifier: GPL-2.0-only
/* VFIO's bind, attach and detach, and GET_HW_INFO. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "uapi.h"

#define INFO(what, e, reason, ...) { .name = what, .cmd = IOMMU_GET_HW_INFO, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.info = { .size = sizeof(struct iommu_hw_info), .dev_id = f->dev_id, ##__VA_ARGS__ } }
#define ATTACH(what, e, reason, ...) { .name = what, .cmd = VFIO_DEVICE_ATTACH_IOMMUFD_PT, \
	.want = SAME(e), .why = SAME(reason), .flags = ON_DEVICE, \
	.arg.attach = { .argsz = sizeof(struct vfio_device_attach_iommufd_pt), \
			.pt_id = f->ioas, ##__VA_ARGS__ } }
#define DETACH(what, e, reason, ...) { .name = what, .cmd = VFIO_DEVICE_DETACH_IOMMUFD_PT, \
	.want = SAME(e), .why = SAME(reason), .flags = ON_DEVICE, \
	.arg.detach = { .argsz = sizeof(struct vfio_device_detach_iommufd_pt), ##__VA_ARGS__ } }
#define BIND(what, e, reason, ...) { .name = what, .cmd = VFIO_DEVICE_BIND_IOMMUFD, \
	.want = SAME(e), .why = SAME(reason), .flags = ON_DEVICE, \
	.arg.bind = { .argsz = sizeof(struct vfio_device_bind_iommufd), .iommufd = f->fd, \
		      ##__VA_ARGS__ } }

#define BY_PASID VFIO_DEVICE_ATTACH_PASID

static struct iommu_hw_info_vtd vtd;

static void device_rows(struct fixture *f)
{
	const void *cut = cut_off(&vtd, sizeof(vtd));
	const struct row rows[] = {
		INFO("info: no data requested", 0, NULL),
		INFO("info: flag 1", EOPNOTSUPP, "command-flags", .flags = 2),
		INFO("info: flag 31", EOPNOTSUPP, "command-flags", .flags = 1u << 31),
		INFO("info: first reserved byte", EOPNOTSUPP, "command-reserved",
		     .__reserved = { 1 }),
		INFO("info: second reserved byte", EOPNOTSUPP, "command-reserved",
		     .__reserved = { 0, 1 }),
		INFO("info: third reserved byte", EOPNOTSUPP, "command-reserved", .__reserved = { 0,
		     0, 1 }),
		INFO("info: id 0", ENOENT, "object-none", .dev_id = 0),
		INFO("info: id 0xffffffff", ENOENT, "object-none", .dev_id = ~0u),
		INFO("info: id of an IOAS", ENOENT, "object-kind", .dev_id = f->ioas),
		INFO("info: id of a page table", ENOENT, "object-kind", .dev_id = f->hwpt),
		INFO("info: flag before id", EOPNOTSUPP, "command-flags", .flags = 2, .dev_id = 0),
		INFO("info: reserved byte before id", EOPNOTSUPP, "command-reserved",
		     .__reserved = { 1 },
		     .dev_id = 0),
		INFO("info: any type if none is requested", 0, NULL, .in_data_type = ~0u),
		INFO("info: the default type requested", 0, NULL, .flags = 1),
		INFO("info: an unknown type requested", EOPNOTSUPP, "hw-info-type", .flags = 1,
		     .in_data_type = ~0u),
		INFO("info: data at NULL", EFAULT, "user-memory", .data_len = sizeof(vtd)),
		INFO("info: data unmapped", EFAULT, "user-memory", .data_len = 1,
		     .data_uptr = PTR(mem.gone)),
		INFO("info: data read-only", EFAULT, "user-memory", .data_len = 1,
		     .data_uptr = PTR(mem.ro)),
		INFO("info: data at a kernel address", EFAULT, "user-memory", .data_len = 1,
		     .data_uptr = 0xffff888000000000),
		INFO("info: no data, a bad address", 0, NULL, .data_uptr = PTR(mem.gone)),
		INFO("info: data is cut off", EFAULT, "user-memory", .data_len = sizeof(vtd) + 1,
		     .data_uptr = PTR(cut)),
		INFO("info: data_len 0xffffffff", EFAULT, "user-memory", .data_len = ~0u,
		     .data_uptr = PTR(cut)),

		ATTACH("attach: again to what it is attached to", 0, NULL),
		ATTACH("attach: id 0", ENOENT, "object-none", .pt_id = 0),
		ATTACH("attach: id 0xffffffff", ENOENT, "object-none", .pt_id = ~0u),
		ATTACH("attach: an unused id", ENOENT, "object-none", .pt_id = NO_ID),
		ATTACH("attach: id of the device", EINVAL, "attach-kind", .pt_id = f->dev_id),
		ATTACH("attach: unknown flag", EINVAL, BY_VFIO, .flags = 2),
		ATTACH("attach: a PASID to an IOAS", EINVAL, "attach-pasid", .flags = BY_PASID,
		       .pasid = 1),
		ATTACH("attach: a PASID to page tables that are not compatible", EINVAL,
		       "attach-pasid",
		       .flags = BY_PASID, .pasid = 1, .pt_id = f->hwpt),
		ATTACH("attach: PASID 0, which is the device as a whole", EBUSY, "attach-again",
		       .flags = BY_PASID),
		ATTACH("attach: a PASID to id 0", ENOENT, "object-none", .flags = BY_PASID,
		       .pasid = 1,
		       .pt_id = 0),
		ATTACH("attach: a PASID to the device", EINVAL, "attach-kind", .flags = BY_PASID,
		       .pasid = 1,
		       .pt_id = f->dev_id),
		ATTACH("attach: no room for a PASID", EINVAL, BY_VFIO, .argsz = 15,
		       .flags = BY_PASID,
		       .pasid = 1),
		DETACH("detach: unknown flag", EINVAL, BY_VFIO, .flags = 2),
		DETACH("detach: a PASID that is not attached", 0, NULL,
		       .flags = VFIO_DEVICE_DETACH_PASID, .pasid = 1),
		BIND("bind: bound already", EINVAL, BY_VFIO),
		BIND("bind: unknown flag", EINVAL, BY_VFIO, .flags = 2),
		BIND("bind: fd -1", EINVAL, BY_VFIO, .iommufd = -1),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

static void info_lengths(struct fixture *f)
{
	struct iommu_hw_info cmd = { .size = sizeof(cmd), .dev_id = f->dev_id };
	uint8_t full[64], part[64];
	uint32_t len, i;

	memset(full, 0xee, sizeof(full));
	cmd.data_len = sizeof(full);
	cmd.data_uptr = PTR(full);
	cmd.out_capabilities = TOP;
	WANT(call(f->fd, IOMMU_GET_HW_INFO, &cmd), 0);
	len = cmd.data_len;
	CHECK(len && len < sizeof(full) - 1);
	WANT(cmd.out_data_type, IOMMU_HW_INFO_TYPE_INTEL_VTD);
	WANT(len, sizeof(struct iommu_hw_info_vtd));
	CHECK(!(cmd.out_capabilities & ~15ULL));
	for (i = len; i < sizeof(full); i++)
		WANT(full[i], 0);
	/* A buffer that is too small gets the first bytes and the full length. */
	memset(part, 0xee, sizeof(part));
	cmd.data_len = 5;
	cmd.data_uptr = PTR(part);
	WANT(call(f->fd, IOMMU_GET_HW_INFO, &cmd), 0);
	WANT(cmd.data_len, len);
	CHECK(!memcmp(part, full, 5));
	WANT(part[5], 0xee);
	/* No buffer. */
	cmd.data_len = 0;
	WANT(call(f->fd, IOMMU_GET_HW_INFO, &cmd), 0);
	WANT(cmd.data_len, len);
	WANT(part[5], 0xee);
	/* With the type of the data as input. */
	cmd.flags = IOMMU_HW_INFO_FLAG_INPUT_TYPE;
	cmd.in_data_type = IOMMU_HW_INFO_TYPE_INTEL_VTD;
	cmd.data_len = sizeof(part);
	WANT(call(f->fd, IOMMU_GET_HW_INFO, &cmd), 0);
	CHECK(!memcmp(part, full, sizeof(part)));
	cmd.in_data_type = IOMMU_HW_INFO_TYPE_AMD;
	WANT(call(f->fd, IOMMU_GET_HW_INFO, &cmd), -EOPNOTSUPP);
}

static void vfio_sizes(struct fixture *f)
{
	struct vfio_device_attach_iommufd_pt at = { .pt_id = f->other };
	struct vfio_device_detach_iommufd_pt de = {};
	uint32_t size;

	for (size = 0; size < 12; size++) {
		at.argsz = size;
		WANT(call(f->dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &at), -EINVAL);
	}
	for (size = 0; size < 8; size++) {
		de.argsz = size;
		WANT(call(f->dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &de), -EINVAL);
	}
	WANT(call(f->dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, NULL), -EFAULT);
	WANT(call(f->dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, NULL), -EFAULT);
	/* The device is still attached to the first IOAS. */
	WANT(destroy(f->fd, f->ioas), -EBUSY);
	WANT(destroy(f->fd, f->other), 0);
	at.argsz = 12;
	at.pt_id = f->ioas;
	WANT(call(f->dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &at), 0);
}

/* The new page table is filled before the device leaves the old one. */
static void replaced(struct fixture *f)
{
	uint32_t hwpt = 0, second = 0;

	WANT(attach(f->dev, f->ioas, &hwpt), 0);
	WANT(hwpt, f->hwpt);
	WANT(attach(f->dev, f->hwpt, &hwpt), 0);
	WANT(hwpt, f->hwpt);
	WANT(attach(f->dev, f->other, &second), 0);
	CHECK(second != f->hwpt && second != f->other);
	WANT(pinned(), f->idle_pins + 1);
	WANT(destroy(f->fd, f->hwpt), -ENOENT);
	WANT(destroy(f->fd, f->other), -EBUSY);
	WANT(destroy(f->fd, f->ioas), 0);
	WANT(attach(f->dev, f->ioas, NULL), -ENOENT);
	WANT(destroy(f->fd, second), -EBUSY);
	WANT(detach(f->dev), 0);
	WANT(detach(f->dev), 0);
	WANT(pinned(), f->idle_pins);
	WANT(attach(f->dev, second, NULL), -ENOENT);
	WANT(attach(f->dev, f->dev_id, NULL), -EINVAL);
	WANT(attach(f->dev, 0, NULL), -ENOENT);
}

/* The device cannot use what the new IOAS maps: it stays attached to the old one. */
static void replace_refused(struct fixture *f)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	uint32_t nr = MAX_RANGES, out = 0;
	uint64_t alignment;

	/* Memory that does not exist. */
	WANT(map(f->fd, f->other, mem.hole, 16 * PAGE, FREE_IOVA), 0);
	WANT(attach(f->dev, f->other, NULL), -EFAULT);
	WANT(pinned(), f->idle_pins + 1);
	WANT(unmap(f->fd, f->other, FREE_IOVA, 16 * PAGE), 16 * PAGE);
	/* A mapping that is smaller than a page. */
	WANT(map(f->fd, f->other, mem.rw, PAGE, FREE_IOVA + 1), 0);
	WANT(attach(f->dev, f->other, NULL), -EADDRINUSE);
	WANT(unmap_all(f->fd, f->other), 2 * PAGE);
	WANT(map(f->fd, f->other, mem.rw + 1, PAGE, FREE_IOVA), 0);
	WANT(attach(f->dev, f->other, NULL), -EADDRINUSE);
	WANT(unmap_all(f->fd, f->other), PAGE);
	/* A mapping in the MSI window. */
	WANT(map(f->fd, f->other, mem.rw, PAGE, MSI_IOVA), 0);
	WANT(attach(f->dev, f->other, NULL), -EADDRINUSE);
	WANT(unmap_all(f->fd, f->other), PAGE);
	/* A mapping above the device's address width. */
	WANT(map(f->fd, f->other, mem.rw, PAGE, -PAGE), 0);
	WANT(attach(f->dev, f->other, NULL), -EADDRINUSE);
	WANT(unmap_all(f->fd, f->other), PAGE);

	/* Neither IOAS has changed. */
	WANT(iova_ranges(f->fd, f->other, ranges, &nr, &alignment), 0);
	WANT(nr, 1);
	WANT(alignment, 1);
	WANT(pinned(), f->idle_pins + 1);
	WANT(destroy(f->fd, f->hwpt), -EBUSY);
	WANT(attach(f->dev, f->hwpt, &out), 0);
	WANT(out, f->hwpt);
	WANT(destroy(f->fd, f->other), 0);
}

/* A device that is not attached cannot be attached to an IOAS with such mappings, and stays detached. */
static void attach_refused(struct fixture *f)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	uint32_t nr = MAX_RANGES;

	WANT(detach(f->dev), 0);
	WANT(map(f->fd, f->ioas, mem.hole, 16 * PAGE, FREE_IOVA), 0);
	WANT(attach(f->dev, f->ioas, NULL), -EFAULT);
	WANT(pinned(), f->idle_pins);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 16 * PAGE), 16 * PAGE);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, MSI_IOVA), 0);
	WANT(attach(f->dev, f->ioas, NULL), -EADDRINUSE);
	WANT(map(f->fd, f->ioas, mem.rw, 1, FREE_IOVA), 0);
	WANT(unmap(f->fd, f->ioas, MSI_IOVA, PAGE), PAGE);
	WANT(attach(f->dev, f->ioas, NULL), -EADDRINUSE);
	WANT(unmap_all(f->fd, f->ioas), PAGE + 1);
	WANT(iova_ranges(f->fd, f->ioas, ranges, &nr, NULL), 0);
	WANT(nr, 1);
	/* No page table refers to the IOAS. */
	WANT(destroy(f->fd, f->ioas), 0);
}

/* If the struct cannot be written back, VFIO detaches the device. */
static void attach_unanswered(struct fixture *f)
{
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd), .pt_id = f->ioas };

	WANT(detach(f->dev), 0);
	WANT(call(f->dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT(pinned(), f->idle_pins);
	WANT(destroy(f->fd, f->ioas), 0);
}

/*
 * The device has no PASIDs, so no DMA uses them. An attached PASID keeps its page table from being
 * destroyed, and the device in page tables that are compatible with PASIDs.
 */
static void pasids(struct fixture *f)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .flags = IOMMU_HWPT_ALLOC_PASID, .dev_id = f->dev_id,
		.pt_id = f->other,
	};
	uint32_t one, two;

	WANT(call(f->fd, IOMMU_HWPT_ALLOC, &cmd), 0);
	one = cmd.out_hwpt_id;
	WANT(call(f->fd, IOMMU_HWPT_ALLOC, &cmd), 0);
	two = cmd.out_hwpt_id;
	WANT(attach_pasid(f->dev, 1, one), -EINVAL);
	WANT(attach(f->dev, one, NULL), 0);
	WANT(attach_pasid(f->dev, 1, two), 0);
	WANT(destroy(f->fd, two), -EBUSY);
	WANT(attach(f->dev, f->ioas, NULL), -EINVAL);
	/* A second attachment is a replacement. */
	WANT(attach_pasid(f->dev, 1, two), 0);
	WANT(attach_pasid(f->dev, 1, f->ioas), -EINVAL);
	WANT(attach_pasid(f->dev, 1, one), 0);
	WANT(destroy(f->fd, two), 0);
	WANT(detach(f->dev), 0);
	WANT(attach(f->dev, f->ioas, NULL), -EINVAL);
	WANT(destroy(f->fd, one), -EBUSY);
	WANT(detach_pasid(f->dev, 1), 0);
	WANT(attach(f->dev, f->ioas, NULL), 0);
	WANT(destroy(f->fd, one), 0);
}

static int open_device(void)
{
	return open(device_path, O_RDWR | O_CLOEXEC);
}

static void bind_refused(struct fixture *f)
{
	struct vfio_device_bind_iommufd cmd = { .argsz = 16 };
	int dev = open_device(), fd = open_iommu(), other = memory_file(PAGE, 0), closed;
	uint32_t id = 0, ioas, size;

	CHECK(dev >= 0 && fd >= 0 && other >= 0);
	WANT(attach(dev, 1, NULL), -EINVAL);
	WANT(detach(dev), -EINVAL);
	for (size = 0; size < 16; size++) {
		cmd.argsz = size;
		WANT(call(dev, VFIO_DEVICE_BIND_IOMMUFD, &cmd), -EINVAL);
	}
	WANT(call(dev, VFIO_DEVICE_BIND_IOMMUFD, NULL), -EFAULT);
	closed = dup(fd);
	close(closed);
	WANT(bind_device(dev, -1, &id), -EINVAL);
	WANT(bind_device(dev, INT32_MIN, &id), -EINVAL);
	WANT(bind_device(dev, closed, &id), -EBADF);
	WANT(bind_device(dev, other, &id), -EBADFD);
	WANT(bind_device(dev, dev, &id), -EBADFD);
	cmd = (struct vfio_device_bind_iommufd){ .argsz = sizeof(cmd), .flags = 2, .iommufd = fd };
	WANT(call(dev, VFIO_DEVICE_BIND_IOMMUFD, &cmd), -EINVAL);
	cmd.flags = 0;
	/* If the struct cannot be written back, the device is unbound and its id is free. */
	WANT(call(dev, VFIO_DEVICE_BIND_IOMMUFD, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT(attach(dev, 1, NULL), -EINVAL);
	WANT(set_option(fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1), 0);

	WANT(bind_device(dev, fd, &id), 0);
	CHECK(id);
	WANT(bind_device(dev, fd, &id), -EINVAL);
	WANT(set_option(fd, IOMMU_OPTION_RLIMIT_MODE, 0, 0), -EBUSY);
	WANT(destroy(fd, id), -EBUSY);
	WANT(ioas_alloc(fd, &ioas), 0);
	WANT(attach(dev, ioas, NULL), 0);
	close(dev);
	WANT(destroy(fd, id), -ENOENT);
	WANT(destroy(fd, ioas), 0);
	WANT(set_option(fd, IOMMU_OPTION_RLIMIT_MODE, 0, 0), 0);
	close(fd);
	close(other);
}

/* A second open of the device, and a second iommufd. */
static void bound_elsewhere(struct fixture *f)
{
	int dev = open_device(), second = open_device(), fd = open_iommu(), other = open_iommu();
	uint32_t id, again, ioas = 0, i;

	CHECK(dev >= 0 && second >= 0 && fd >= 0 && other >= 0);
	WANT(bind_device(dev, fd, &id), 0);
	WANT(bind_device(second, fd, &again), -EINVAL);
	WANT(bind_device(second, other, &again), -EINVAL);
	for (i = 0; i < 8; i++)
		WANT(ioas_alloc(other, &ioas), 0);
	WANT(attach(dev, ioas, NULL), -ENOENT);
	WANT(destroy(other, ioas), 0);
	close(dev);
	WANT(bind_device(second, other, &again), 0);
	WANT(destroy(fd, id), -ENOENT);
	close(fd);
	close(other);
	close(second);
}

/*
 * The device keeps the context alive: it can be attached and detached after the iommufd is closed.
 */
static void fd_closed_first(struct fixture *f)
{
	int dev = open_device(), fd = open_iommu();
	uint32_t id, ioas;
	long idle = pinned();

	CHECK(dev >= 0 && fd >= 0);
	WANT(bind_device(dev, fd, &id), 0);
	WANT(ioas_alloc(fd, &ioas), 0);
	WANT(map(fd, ioas, mem.rw, 4 * PAGE, FREE_IOVA), 0);
	WANT(attach(dev, ioas, NULL), 0);
	WANT(pinned(), idle + 4);
	close(fd);
	WANT(pinned(), idle + 4);
	WANT(detach(dev), 0);
	WANT(pinned(), idle);
	WANT(attach(dev, ioas, NULL), 0);
	WANT(pinned(), idle + 4);
	WANT(attach(dev, 0, NULL), -ENOENT);
	close(dev);
	WANT(pinned(), idle);
}

/* Closing the device detaches its PASIDs. */
static void closed_with_pasid(struct fixture *f)
{
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd), .flags = IOMMU_HWPT_ALLOC_PASID };
	int dev = open_device(), fd = open_iommu();

	CHECK(dev >= 0 && fd >= 0);
	WANT(bind_device(dev, fd, &cmd.dev_id), 0);
	WANT(ioas_alloc(fd, &cmd.pt_id), 0);
	WANT(call(fd, IOMMU_HWPT_ALLOC, &cmd), 0);
	WANT(attach(dev, cmd.out_hwpt_id, NULL), 0);
	WANT(attach_pasid(dev, 7, cmd.out_hwpt_id), 0);
	WANT(detach(dev), 0);
	WANT(destroy(fd, cmd.out_hwpt_id), -EBUSY);
	close(dev);
	WANT(destroy(fd, cmd.out_hwpt_id), 0);
	WANT(destroy(fd, cmd.pt_id), 0);
	close(fd);
}

static const struct test tests[] = {
	{ "info: lengths", info_lengths, DOMAIN },
	{ "attach: sizes", vfio_sizes, DOMAIN },
	{ "attach: replaced", replaced, DOMAIN },
	{ "attach: replacement refused", replace_refused, DOMAIN },
	{ "attach: refused", attach_refused, DOMAIN },
	{ "attach: the struct cannot be written back", attach_unanswered, DOMAIN },
	{ "attach: PASIDs", pasids, DOMAIN },
	{ "bind: refused", bind_refused, ALONE },
	{ "bind: to one iommufd at a time", bound_elsewhere, ALONE },
	{ "bind: the iommufd is closed first", fd_closed_first, ALONE },
	{ "bind: closed with a PASID attached", closed_with_pasid, ALONE },
};

const struct suite device_suite = {
	"device", device_rows, DOMAIN, tests, ARRAY_SIZE(tests),
};
