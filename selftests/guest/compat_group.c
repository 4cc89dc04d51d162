// SPDX-License-Identifier: GPL-2.0-only
/* Tests with a device, through vfio's group. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "compat.h"

static int group = -1, dev = -1;

void leave(void)
{
	if (dev >= 0)
		close(dev);
	if (group >= 0)
		close(group);
	group = dev = -1;
}

/* Opens the group and has it join the context. */
static void join(int fd)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	long r;

	group = open(group_path, O_RDWR);

	if (group < 0)
		ksft_exit_fail_msg("%s: %m\n", group_path);
	r = call(group, VFIO_GROUP_SET_CONTAINER, (unsigned long)&fd);
	if (r)
		FAIL("VFIO_GROUP_SET_CONTAINER: %ld", r);
	r = call(group, VFIO_GROUP_GET_STATUS, (unsigned long)&status);
	if (r || !(status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET))
		FAIL("the group has no container");
}

/* Opening the device attaches it. */
static void open_device(void)
{
	dev = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (dev < 0)
		FAIL("VFIO_GROUP_GET_DEVICE_FD: %s", strerror(errno));
}

void joining(int fd)
{
	long id;

	join(fd);
	id = vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0);
	CHECK(id > 0);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU), -EINVAL);
	WANT(call(group, VFIO_GROUP_SET_CONTAINER, (unsigned long)&fd), -EINVAL);
	WANT(call(group, VFIO_GROUP_UNSET_CONTAINER, 0), 0);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0), id);
	WANT(call(group, VFIO_GROUP_SET_CONTAINER, (unsigned long)&fd), 0);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0), id);
	/* It is the user's: it may go, and then the device cannot be had. */
	WANT(destroy(fd, id), 0);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), -ENODEV);
	WANT(call(group, VFIO_GROUP_GET_DEVICE_FD, (unsigned long)bdf), -ENODEV);
	leave();

	/* One that was chosen before is kept. */
	id = choose(fd);
	join(fd);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0), id);
	leave();
}

/* Whether the IOMMU can keep devices from getting round the caches. */
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

void attached(int fd)
{
	long long before;
	long id;

	join(fd);
	open_device();
	id = vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0);
	before = pinned();
	WANT(destroy(fd, id), -EBUSY);
	WANT(call(fd, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU), snoops());
	check_info(fd, true);
	WANT(map(fd, 0xfee00000, buffer, PAGE), -EINVAL);
	WANT(map(fd, IOVA, (void *)PAGE, PAGE), -EFAULT);
	WANT(map(fd, IOVA, buffer, NR_PAGES * PAGE), 0);
	WANT(pinned() - before, NR_PAGES);
	/* Page tables may have large pages by now. */
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), -EINVAL);
	WANT(unmap(fd, IOVA, PAGE), -ENOENT);
	WANT(unmap_all(fd), NR_PAGES * PAGE);
	WANT(pinned() - before, 0);
	/* Leaving the slot does not leave the device. */
	WANT(map(fd, IOVA, buffer, PAGE), 0);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_CLEAR, 0), 0);
	WANT(map(fd, IOVA + PAGE, buffer, PAGE), -ENODEV);
	WANT(pinned() - before, 1);
	leave();
	WANT(pinned() - before, 0);
}

/* Version 1 with a domain: what is cut out is unpinned, the rest is not. */
void cutting(int fd)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE,
		.src_iova = IOVA, .dst_iova = 2 * IOVA, .length = NR_PAGES * PAGE,
	};
	long long before;

	join(fd);
	copy.src_ioas_id = copy.dst_ioas_id = vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	open_device();
	before = pinned();
	WANT(map(fd, IOVA, buffer, NR_PAGES * PAGE), 0);
	WANT(unmap(fd, IOVA + 5 * PAGE, 2 * PAGE), 2 * PAGE);
	WANT(pinned() - before, NR_PAGES - 2);
	WANT(call(fd, IOMMU_IOAS_COPY, (unsigned long)&copy), -ENOENT);
	WANT(map(fd, IOVA + 5 * PAGE, buffer + 5 * PAGE, 2 * PAGE), 0);
	WANT(pinned() - before, NR_PAGES);
	/* The same pages mapped twice go with the second mapping. */
	WANT(call(fd, IOMMU_IOAS_COPY, (unsigned long)&copy), 0);
	WANT(pinned() - before, NR_PAGES);
	WANT(unmap(fd, IOVA + PAGE, 2 * PAGE), 2 * PAGE);
	WANT(pinned() - before, NR_PAGES);
	WANT(unmap(fd, 2 * IOVA + 2 * PAGE, 2 * PAGE), 2 * PAGE);
	WANT(pinned() - before, NR_PAGES - 1);
	WANT(unmap(fd, 2 * IOVA, NR_PAGES * PAGE), (NR_PAGES - 2) * PAGE);
	WANT(pinned() - before, NR_PAGES - 2);
	/* Ends that are not at a page change nothing. */
	WANT(unmap(fd, IOVA + 8 * PAGE + 1, PAGE), -EINVAL);
	WANT(unmap_all(fd), (NR_PAGES - 2) * PAGE);
	WANT(pinned() - before, 0);
}

void cutting_huge(int fd)
{
	const size_t huge = 2UL << 20, nr = huge / PAGE;
	long long before;
	unsigned int i;
	char *p = mmap(NULL, huge, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	CHECK(p != MAP_FAILED);
	memset(p, 1, huge);
	join(fd);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	open_device();
	before = pinned();
	WANT(map(fd, IOVA, p, huge), 0);
	WANT(pinned() - before, nr);
	for (i = 1; i < 8; i += 2)
		WANT(unmap(fd, IOVA + i * (huge / 8) + PAGE, PAGE), PAGE);
	WANT(pinned() - before, nr - 4);
	/* Closing takes the rest. */
	leave();
	WANT(pinned() - before, 0);
	munmap(p, huge);
}

/* Without privilege, and back. */
static long set_iommu_as_nobody(int fd, unsigned long type)
{
	long r;

	if (seteuid(1000))
		ksft_exit_fail_msg("seteuid: %m\n");
	r = call(fd, VFIO_SET_IOMMU, type);
	if (seteuid(0))
		ksft_exit_fail_msg("seteuid: %m\n");
	return r;
}

/* A group without an IOMMU keeps those with one out, and the other way round. */
void no_iommu(int fd)
{
	uint32_t id = choose(fd);

	group = open(group_path, O_RDWR);
	CHECK(group >= 0);
	WANT(call(group, VFIO_GROUP_SET_CONTAINER, (unsigned long)&fd), -EINVAL);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU), -EINVAL);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_CLEAR, 0), 0);
	leave();

	join(fd);
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_GET, 0), -ENODEV);
	WANT(call(fd, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU), 1);
	WANT(call(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 0);
	WANT(call(fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 0);
	WANT(call(fd, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL), 0);
	WANT(call(fd, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU), -ENODEV);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), -EINVAL);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), -EINVAL);
	WANT(set_iommu_as_nobody(fd, VFIO_NOIOMMU_IOMMU), -EPERM);
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU), 0);
	WANT(map(fd, IOVA, buffer, PAGE), -ENODEV);
	open_device();
	close(dev);
	dev = -1;
	/* An IOAS may still be chosen, but not be had together with the device. */
	WANT(vfio_ioas(fd, IOMMU_VFIO_IOAS_SET, id), 0);
	WANT(map(fd, IOVA, buffer, PAGE), 0);
	CHECK(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf) < 0);
	WANT(unmap_all(fd), PAGE);
	leave();
	/* That there was such a group is not forgotten. */
	WANT(call(fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), -EINVAL);
}

/* /dev/vfio/vfio is another name, for everybody, under which pages count by process. */
void container(int fd)
{
	int file = open("/dev/vfio/vfio", O_RDWR);
	struct stat st;

	CHECK(file >= 0);
	CHECK(!fstat(file, &st));
	WANT(st.st_mode, S_IFCHR | 0666);
	WANT(major(st.st_rdev), 10);
	WANT(minor(st.st_rdev), 196);
	WANT(rlimit_mode(fd), 0);
	WANT(rlimit_mode(file), 1);
	WANT(call(file, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), -ENODEV);
	choose(file);
	WANT(call(file, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	WANT(map(file, IOVA, buffer, PAGE), 0);
	WANT(unmap_all(file), PAGE);
	close(file);
}
