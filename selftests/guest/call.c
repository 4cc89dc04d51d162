// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>

#include "call.h"

int call(int fd, unsigned long cmd, void *arg)
{
	int r = ioctl(fd, cmd, arg);

	return r < 0 ? -errno : r;
}

int open_iommu(void)
{
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int ioas_alloc(int fd, uint32_t *id)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };
	int r = call(fd, IOMMU_IOAS_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_ioas_id;
	return r;
}

int destroy(int fd, uint32_t id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return call(fd, IOMMU_DESTROY, &cmd);
}

int map_as(int fd, uint32_t ioas, uint32_t flags, const void *va, uint64_t length, uint64_t *iova)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.ioas_id = ioas,
		.user_va = PTR(va),
		.length = length,
		.iova = *iova,
	};
	int r = call(fd, IOMMU_IOAS_MAP, &cmd);

	*iova = cmd.iova;
	return r;
}

int map(int fd, uint32_t ioas, const void *va, uint64_t length, uint64_t iova)
{
	return map_as(fd, ioas, FIXED | READ | WRITE, va, length, &iova);
}

int map_file(int fd, uint32_t ioas, uint32_t flags, int file, uint64_t start, uint64_t length,
	     uint64_t *iova)
{
	struct iommu_ioas_map_file cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.ioas_id = ioas,
		.fd = file,
		.start = start,
		.length = length,
		.iova = *iova,
	};
	int r = call(fd, IOMMU_IOAS_MAP_FILE, &cmd);

	*iova = cmd.iova;
	return r;
}

int copy(int fd, uint32_t src, uint64_t src_iova, uint64_t length, uint32_t flags, uint32_t dst,
	 uint64_t *dst_iova)
{
	struct iommu_ioas_copy cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.dst_ioas_id = dst,
		.src_ioas_id = src,
		.length = length,
		.dst_iova = *dst_iova,
		.src_iova = src_iova,
	};
	int r = call(fd, IOMMU_IOAS_COPY, &cmd);

	*dst_iova = cmd.dst_iova;
	return r;
}

long long unmap(int fd, uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.iova = iova,
		.length = length,
	};
	int r = call(fd, IOMMU_IOAS_UNMAP, &cmd);

	return r ? r : (long long)cmd.length;
}

long long unmap_all(int fd, uint32_t ioas)
{
	return unmap(fd, ioas, 0, TOP);
}

int allow(int fd, uint32_t ioas, const struct iommu_iova_range *ranges, uint32_t nr)
{
	struct iommu_ioas_allow_iovas cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.num_iovas = nr,
		.allowed_iovas = PTR(ranges),
	};

	return call(fd, IOMMU_IOAS_ALLOW_IOVAS, &cmd);
}

int iova_ranges(int fd, uint32_t ioas, struct iommu_iova_range *ranges, uint32_t *nr,
		uint64_t *alignment)
{
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.num_iovas = *nr,
		.allowed_iovas = PTR(ranges),
	};
	int r = call(fd, IOMMU_IOAS_IOVA_RANGES, &cmd);

	*nr = cmd.num_iovas;
	if (alignment)
		*alignment = cmd.out_iova_alignment;
	return r;
}

int option(int fd, uint32_t id, uint16_t op, uint32_t object, uint64_t *value)
{
	struct iommu_option cmd = {
		.size = sizeof(cmd),
		.option_id = id,
		.op = op,
		.object_id = object,
		.val64 = *value,
	};
	int r = call(fd, IOMMU_OPTION, &cmd);

	*value = cmd.val64;
	return r;
}

int set_option(int fd, uint32_t id, uint32_t object, uint64_t value)
{
	return option(fd, id, IOMMU_OPTION_OP_SET, object, &value);
}

long long get_option(int fd, uint32_t id, uint32_t object)
{
	uint64_t value = 0;
	int r = option(fd, id, IOMMU_OPTION_OP_GET, object, &value);

	return r ? r : (long long)value;
}

int hwpt_alloc(int fd, uint32_t dev_id, uint32_t pt_id, uint32_t *id)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.dev_id = dev_id,
		.pt_id = pt_id,
	};
	int r = call(fd, IOMMU_HWPT_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_hwpt_id;
	return r;
}

int bind_device(int dev, int fd, uint32_t *dev_id)
{
	struct vfio_device_bind_iommufd cmd = { .argsz = sizeof(cmd), .iommufd = fd };
	int r = call(dev, VFIO_DEVICE_BIND_IOMMUFD, &cmd);

	if (!r)
		*dev_id = cmd.out_devid;
	return r;
}

int attach(int dev, uint32_t pt_id, uint32_t *out)
{
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd), .pt_id = pt_id };
	int r = call(dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd);

	if (!r && out)
		*out = cmd.pt_id;
	return r;
}

int detach(int dev)
{
	struct vfio_device_detach_iommufd_pt cmd = { .argsz = sizeof(cmd) };

	return call(dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd);
}

int attach_pasid(int dev, uint32_t pasid, uint32_t pt_id)
{
	struct vfio_device_attach_iommufd_pt cmd = {
		.argsz = sizeof(cmd), .flags = VFIO_DEVICE_ATTACH_PASID, .pt_id = pt_id, .pasid = pasid,
	};

	return call(dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd);
}

int detach_pasid(int dev, uint32_t pasid)
{
	struct vfio_device_detach_iommufd_pt cmd = {
		.argsz = sizeof(cmd), .flags = VFIO_DEVICE_DETACH_PASID, .pasid = pasid,
	};

	return call(dev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd);
}
