// SPDX-License-Identifier: GPL-2.0-only
/* The container with the device's group, and iommufd's own container file. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "compat.h"
#include "compat_call.h"
#include "compat_group.h"
#include "compat_info.h"
#include "fdinfo.h"
#include "memory.h"
#include "result.h"

static void joining(int fd)
{
	long id;

	join(fd);
	id = compat_get(fd);
	CHECK(id > 0);
	WANT_WHY(fd, call_value(fd, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU), -EINVAL, "container-type");
	WANT_WHY(fd, call(group, VFIO_GROUP_SET_CONTAINER, &fd), -EINVAL, NULL);
	WANT(call_value(group, VFIO_GROUP_UNSET_CONTAINER, 0), 0);
	WANT(compat_get(fd), id);
	WANT(call(group, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	WANT(compat_get(fd), id);
	/* User space may destroy the compat IOAS. Then the device cannot be opened. */
	WANT(destroy(fd, id), 0);
	WANT_WHY(fd, call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), -ENODEV, "container-none");
	WANT_WHY(fd, call_value(group, VFIO_GROUP_GET_DEVICE_FD, (unsigned long)bdf), -ENODEV,
		 "container-none");
	leave();

	/* A compat IOAS that was set before stays set. */
	id = compat_set_new(fd);
	join(fd);
	WANT(compat_get(fd), id);
	leave();
}

/* Returns whether the IOMMU can enforce cache coherency. */
static bool snoops(void)
{
	unsigned long long ecap = 0;
	FILE *f = fopen("/sys/class/iommu/dmar0/intel-iommu/ecap", "r");

	if (f) {
		if (fscanf(f, "%llx", &ecap) != 1)
			ecap = 0;
		fclose(f);
	}
	return ecap >> 7 & 1;
}

static void attached(int fd)
{
	long long before;
	long id;

	join(fd);
	open_device();
	id = compat_get(fd);
	before = pinned();
	WANT_WHY(fd, destroy(fd, id), -EBUSY, "object-in-use");
	WANT(call_value(fd, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU), snoops());
	check_info(fd, true);
	WANT_WHY(fd, compat_map(fd, 0xfee00000, mem.rw, PAGE, VFIO_RW), -EINVAL, "map-reserved");
	WANT_WHY(fd, compat_map(fd, IOVA, (void *)PAGE, PAGE, VFIO_RW), -EFAULT, "map-pin");
	WANT(compat_map(fd, IOVA, mem.rw, NR_PAGES * PAGE, VFIO_RW), 0);
	WANT(pinned() - before, NR_PAGES);
	/* Page tables may have huge pages already. */
	WANT_WHY(fd, call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), -EINVAL, "option-has-mappings");
	WANT_WHY(fd, compat_unmap_bytes(fd, IOVA, PAGE), -ENOENT, "unmap-part");
	WANT(compat_unmap_all(fd), NR_PAGES * PAGE);
	WANT(pinned() - before, 0);
	/* Clearing the compat IOAS does not detach the device. */
	WANT(compat_map(fd, IOVA, mem.rw, PAGE, VFIO_RW), 0);
	WANT(compat_clear(fd), 0);
	WANT_WHY(fd, compat_map(fd, IOVA + PAGE, mem.rw, PAGE, VFIO_RW), -ENODEV, "container-none");
	WANT(pinned() - before, 1);
	leave();
	WANT(pinned() - before, 0);
}

/* Version 1 with a domain: what is cut out is unpinned, the rest is not. */
static void cutting(int fd)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE,
		.src_iova = IOVA, .dst_iova = 2 * IOVA, .length = NR_PAGES * PAGE,
	};
	long long before;

	join(fd);
	copy.src_ioas_id = copy.dst_ioas_id = compat_get(fd);
	WANT(call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	open_device();
	before = pinned();
	WANT(compat_map(fd, IOVA, mem.rw, NR_PAGES * PAGE, VFIO_RW), 0);
	WANT(compat_unmap_bytes(fd, IOVA + 5 * PAGE, 2 * PAGE), 2 * PAGE);
	WANT(pinned() - before, NR_PAGES - 2);
	WANT_WHY(fd, call(fd, IOMMU_IOAS_COPY, &copy), -ENOENT, "map-gap");
	WANT(compat_map(fd, IOVA + 5 * PAGE, mem.rw + 5 * PAGE, 2 * PAGE, VFIO_RW), 0);
	WANT(pinned() - before, NR_PAGES);
	/* Pages that are mapped twice are unpinned with the second mapping. */
	WANT(call(fd, IOMMU_IOAS_COPY, &copy), 0);
	WANT(pinned() - before, NR_PAGES);
	WANT(compat_unmap_bytes(fd, IOVA + PAGE, 2 * PAGE), 2 * PAGE);
	WANT(pinned() - before, NR_PAGES);
	WANT(compat_unmap_bytes(fd, 2 * IOVA + 2 * PAGE, 2 * PAGE), 2 * PAGE);
	WANT(pinned() - before, NR_PAGES - 1);
	WANT(compat_unmap_bytes(fd, 2 * IOVA, NR_PAGES * PAGE), (NR_PAGES - 2) * PAGE);
	WANT(pinned() - before, NR_PAGES - 2);
	/* Ends inside a page change nothing. */
	WANT_WHY(fd, compat_unmap_bytes(fd, IOVA + 8 * PAGE + 1, PAGE), -EINVAL, "unmap-cut-unaligned");
	WANT(compat_unmap_all(fd), (NR_PAGES - 2) * PAGE);
	WANT(pinned() - before, 0);
}

static void cutting_huge(int fd)
{
	const size_t huge = 2UL << 20, nr = huge / PAGE;
	long long before;
	unsigned int i;
	char *p = mmap(NULL, huge, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	CHECK(p != MAP_FAILED);
	memset(p, 1, huge);
	join(fd);
	WANT(call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	open_device();
	before = pinned();
	WANT(compat_map(fd, IOVA, p, huge, VFIO_RW), 0);
	WANT(pinned() - before, nr);
	for (i = 1; i < 8; i += 2)
		WANT(compat_unmap_bytes(fd, IOVA + i * (huge / 8) + PAGE, PAGE), PAGE);
	WANT(pinned() - before, nr - 4);
	/* Closing unmaps the rest. */
	leave();
	WANT(pinned() - before, 0);
	munmap(p, huge);
}

/* Calls VFIO_SET_IOMMU without privileges. */
static long set_iommu_as_nobody(int fd, unsigned long type)
{
	long r;

	if (seteuid(1000))
		bail_out("seteuid: %m");
	r = call_value(fd, VFIO_SET_IOMMU, type);
	if (seteuid(0))
		bail_out("seteuid: %m");
	return r;
}

/* A container accepts either groups without an IOMMU or groups with one. */
static void no_iommu(int fd)
{
	uint32_t id = compat_set_new(fd);

	open_group();
	WANT_WHY(fd, call(group, VFIO_GROUP_SET_CONTAINER, &fd), -EINVAL, "container-no-iommu");
	WANT_WHY(fd, call_value(fd, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU), -EINVAL, "container-type");
	WANT(compat_clear(fd), 0);
	leave();

	join(fd);
	WANT_WHY(fd, compat_get(fd), -ENODEV, "container-none");
	WANT(call_value(fd, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU), 1);
	WANT(call_value(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 0);
	WANT(call_value(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 0);
	WANT(call_value(fd, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL), 0);
	WANT_WHY(fd, call_value(fd, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU), -ENODEV, "container-none");
	WANT_WHY(fd, call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), -EINVAL, "container-type");
	WANT_WHY(fd, call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), -EINVAL, "container-type");
	WANT_WHY(fd, set_iommu_as_nobody(fd, VFIO_NOIOMMU_IOMMU), -EPERM, "container-privilege");
	WANT(call_value(fd, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU), 0);
	WANT_WHY(fd, compat_map(fd, IOVA, mem.rw, PAGE, VFIO_RW), -ENODEV, "container-none");
	open_device();
	close(dev);
	dev = -1;
	/* A compat IOAS can be set, but the device cannot be opened then. */
	WANT(compat_set(fd, id), 0);
	WANT(compat_map(fd, IOVA, mem.rw, PAGE, VFIO_RW), 0);
	CHECK(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf) < 0);
	WANT(compat_unmap_all(fd), PAGE);
	leave();
	/* The container stays one of groups without an IOMMU. */
	WANT_WHY(fd, call_value(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), -EINVAL, "container-type");
}

/* /dev/vfio/vfio is open to all users, and its pages are charged to the process. */
static void container(int fd)
{
	int file = open("/dev/vfio/vfio", O_RDWR);
	struct stat st;

	CHECK(file >= 0);
	CHECK(!fstat(file, &st));
	WANT(st.st_mode, S_IFCHR | 0666);
	WANT(major(st.st_rdev), 10);
	WANT(minor(st.st_rdev), 196);
	WANT(get_option(fd, IOMMU_OPTION_RLIMIT_MODE, 0), 0);
	WANT(get_option(file, IOMMU_OPTION_RLIMIT_MODE, 0), 1);
	WANT_WHY(file, call_value(file, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), -ENODEV, "container-none");
	compat_set_new(file);
	WANT(call_value(file, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	WANT(compat_map(file, IOVA, mem.rw, PAGE, VFIO_RW), 0);
	WANT(compat_unmap_all(file), PAGE);
	close(file);
}

const struct compat_test group_tests[] = {
	{ "a group joins and leaves the container", joining, DEVICE },
	{ "the group's device", attached, DEVICE },
	{ "holes in mapped memory", cutting, DEVICE },
	{ "holes in a huge page", cutting_huge, DEVICE },
	{ "a group without an IOMMU", no_iommu, NO_IOMMU },
	{ "the container's own file", container, CONTAINER },
};
const size_t nr_group_tests = ARRAY_SIZE(group_tests);
