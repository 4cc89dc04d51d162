// SPDX-License-Identifier: GPL-2.0-only
/* The last refusal: a program whose calls are refused one after the other. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "observe.h"

static unsigned long long count;

#define REFUSED(fd, call, command, error, reason, number) do {		\
	WANT(call, -(error));						\
	want_refusal(fd, ++count, command, error, reason, number);	\
} while (0)

static void of_ioctls(struct fixture *f)
{
	struct iommu_iova_range taken = { 0, TOP };
	int fd = open_iommu();
	uint32_t ioas, id;
	uint64_t value = 2;

	CHECK(fd >= 0);
	count = 0;
	REFUSED(fd, call(fd, _IO(IOMMUFD_TYPE, 0xf0), NULL), "ioctl", ENOTTY, "command-unknown",
		_IO(IOMMUFD_TYPE, 0xf0));
	REFUSED(fd, call(fd, IOMMU_DESTROY, NULL), "IOMMU_DESTROY", EFAULT, "user-memory", 0);
	REFUSED(fd, destroy(fd, 77), "IOMMU_DESTROY", ENOENT, "object-none", 77);
	REFUSED(fd, map(fd, 77, mem.rw, PAGE, FREE_IOVA), "IOMMU_IOAS_MAP", ENOENT, "object-none", 77);
	WANT(ioas_alloc(fd, &ioas), 0);
	/* A call that succeeds leaves the last refusal as it is. */
	want_refusal(fd, count, "IOMMU_IOAS_MAP", ENOENT, "object-none", 77);

	REFUSED(fd, map(fd, ioas, mem.rw, 0, FREE_IOVA), "IOMMU_IOAS_MAP", EINVAL, "map-length", 0);
	REFUSED(fd, map(fd, ioas, mem.rw, 2 * PAGE, -PAGE), "IOMMU_IOAS_MAP", EOVERFLOW,
		"map-overflow", -PAGE);
	WANT(map(fd, ioas, mem.rw, 4 * PAGE, FREE_IOVA), 0);
	REFUSED(fd, map(fd, ioas, mem.rw, 4 * PAGE, FREE_IOVA - PAGE), "IOMMU_IOAS_MAP", EEXIST,
		"map-exists", FREE_IOVA);
	REFUSED(fd, unmap(fd, ioas, FREE_IOVA, PAGE), "IOMMU_IOAS_UNMAP", ENOENT, "unmap-part",
		FREE_IOVA);
	REFUSED(fd, unmap(fd, ioas, HELD_IOVA, PAGE), "IOMMU_IOAS_UNMAP", ENOENT, "unmap-nothing",
		HELD_IOVA);
	REFUSED(fd, allow(fd, ioas, (struct iommu_iova_range[]){ { 5, 5 } }, 1),
		"IOMMU_IOAS_ALLOW_IOVAS", EINVAL, "ioas-bad-range", 0);
	WANT(allow(fd, ioas, &taken, 1), 0);
	REFUSED(fd, option(fd, IOMMU_OPTION_HUGE_PAGES, IOMMU_OPTION_OP_SET, ioas, &value),
		"IOMMU_OPTION", EINVAL, "option-value", 2);
	value = 1;
	REFUSED(fd, option(fd, IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_OP_SET, 0, &value),
		"IOMMU_OPTION", EBUSY, "option-has-objects", 0);
	REFUSED(fd, copy(fd, ioas, HELD_IOVA, PAGE, RW, ioas, &value), "IOMMU_IOAS_COPY", ENOENT,
		"map-gap", HELD_IOVA);
	id = ioas;
	WANT(destroy(fd, id), 0);
	want_refusal(fd, count, "IOMMU_IOAS_COPY", ENOENT, "map-gap", HELD_IOVA);
	close(fd);
}

static void of_a_device(struct fixture *f)
{
	struct iommu_iova_range *ranges = (struct iommu_iova_range[MAX_RANGES]){};
	uint32_t id, nr = MAX_RANGES;
	uint64_t alignment;

	count = refusals(f->fd);
	REFUSED(f->fd, map(f->fd, f->ioas, mem.gone, PAGE, FREE_IOVA), "IOMMU_IOAS_MAP", EFAULT,
		"map-pin", PTR(mem.gone));
	/* Page 5 of 16 is not there. */
	REFUSED(f->fd, map(f->fd, f->ioas, mem.hole, 16 * PAGE, FREE_IOVA), "IOMMU_IOAS_MAP", EFAULT,
		"map-pin", PTR(mem.hole) + 5 * PAGE);
	WANT(iova_ranges(f->fd, f->ioas, ranges, &nr, &alignment), 0);
	REFUSED(f->fd, map(f->fd, f->ioas, mem.rw, PAGE, MSI_IOVA), "IOMMU_IOAS_MAP", EINVAL,
		"map-reserved", MSI_IOVA);
	REFUSED(f->fd, map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA + 1), "IOMMU_IOAS_MAP", EINVAL,
		"map-unaligned", FREE_IOVA + 1);
	REFUSED(f->fd, attach(f->dev, 77, &id), "replace", ENOENT, "object-none", 77);
	REFUSED(f->fd, attach(f->dev, f->dev_id, &id), "replace", EINVAL, "attach-kind", f->dev_id);
	REFUSED(f->fd, destroy(f->fd, f->hwpt), "IOMMU_DESTROY", EBUSY, "object-in-use", f->hwpt);
	REFUSED(f->fd, destroy(f->fd, f->ioas), "IOMMU_DESTROY", EBUSY, "object-in-use", f->ioas);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, f->fd, PAGE) == MAP_FAILED);
	want_refusal(f->fd, ++count, "mmap", errno, "mmap-offset", PAGE);
}

static void of_event_files(struct fixture *f)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd) };
	struct iommu_hwpt_page_response answer = { .cookie = 9 };

	count = refusals(f->fd);
	WANT(call(f->fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd), 0);
	CHECK(write(cmd.out_fault_fd, &answer, sizeof(answer)) < 0);
	/* A refusal of a queue's file is one of the context's. */
	want_refusal(f->fd, ++count, "answer faults", EINVAL, "fault-cookie", 9);
	CHECK(read(cmd.out_fault_fd, &answer, 1) < 0);
	want_refusal(f->fd, ++count, "read faults", ESPIPE, "fault-length", 1);
	close(cmd.out_fault_fd);
	WANT(destroy(f->fd, cmd.out_fault_id), 0);
}

static const struct test tests[] = {
	{ "ioctls", of_ioctls, ALONE },
	{ "with a device", of_a_device, DOMAIN },
	{ "files of queues", of_event_files, NO_DOMAIN },
};

const struct suite refused_suite = { "refused", NULL, 0, tests, ARRAY_SIZE(tests) };
