// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VFIO type1 container on /dev/iommu: every ioctl with good and bad input, the exact
 * errno, and the state afterwards.
 *
 * Usage: compat BDF, the address of a PCI device that is bound to vfio-pci, with an IOMMU or
 * without
 *
 * The C module must return the same; where it does not keep its contract a row has `c`.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "compat.h"
#include "compat_call.h"
#include "compat_group.h"
#include "fdinfo.h"
#include "memory.h"
#include "result.h"

struct row {
	const char *name;
	unsigned long cmd;
	unsigned long arg;	/* a number, or */
	const void *data;	/* a struct, */
	size_t size;		/* of which so many bytes are mapped */
	long want;
	const char *why;	/* the name of the reason, or NULL */
	long c;			/* what the C module returns, if it is something else */
};

#define NUMBER(cmd, arg, want, why)	{ #cmd " " #arg, cmd, arg, NULL, 0, want, why, 0 }
#define STRUCT(name, cmd, want, why, ...) \
	{ #cmd ": " name, cmd, 0, &(__VA_ARGS__), sizeof(__VA_ARGS__), want, why, 0 }
#define PART(name, cmd, part, want, why, ...) \
	{ #cmd ": " name, cmd, 0, &(__VA_ARGS__), part, want, why, 0 }

#define MAP(...)	(const struct vfio_iommu_type1_dma_map){ \
	.argsz = sizeof(struct vfio_iommu_type1_dma_map), .flags = VFIO_RW, .size = PAGE, __VA_ARGS__ }
#define UNMAP(...)	(const struct vfio_iommu_type1_dma_unmap){ \
	.argsz = sizeof(struct vfio_iommu_type1_dma_unmap), .size = PAGE, __VA_ARGS__ }
#define INFO(...)	(const struct vfio_iommu_type1_info){ \
	.argsz = sizeof(struct vfio_iommu_type1_info), __VA_ARGS__ }
#define IOAS(...)	(const struct iommu_vfio_ioas){ \
	.size = sizeof(struct iommu_vfio_ioas), __VA_ARGS__ }

/* A field may be initialised twice. */
#pragma GCC diagnostic ignored "-Woverride-init"

static const struct { struct iommu_vfio_ioas cmd; uint32_t more; } long_ioas = {
	.cmd = { .size = sizeof(long_ioas), .op = IOMMU_VFIO_IOAS_CLEAR }, .more = 1,
};

static const struct row rows[] = {
	NUMBER(VFIO_GET_API_VERSION, 0, VFIO_API_VERSION, NULL),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU, 1, NULL),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU, 1, NULL),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL, 1, NULL),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU, -ENODEV, "container-none"),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_UPDATE_VADDR, 0, NULL),
	NUMBER(VFIO_CHECK_EXTENSION, __VFIO_RESERVED_TYPE1_NESTING_IOMMU, 0, NULL),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_SPAPR_TCE_IOMMU, 0, NULL),
	NUMBER(VFIO_CHECK_EXTENSION, 0, 0, NULL),
	NUMBER(VFIO_CHECK_EXTENSION, 1UL << 32 | VFIO_TYPE1_IOMMU, 0, NULL),
	NUMBER(VFIO_SET_IOMMU, 0, -EINVAL, "container-type"),
	NUMBER(VFIO_SET_IOMMU, VFIO_SPAPR_TCE_IOMMU, -EINVAL, "container-type"),
	NUMBER(VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU, -EINVAL, "container-type"),
	NUMBER(VFIO_SET_IOMMU, 1UL << 32 | VFIO_TYPE1_IOMMU, -EINVAL, "container-type"),
	NUMBER(VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU, -ENODEV, "container-none"),
	NUMBER(VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU, -ENODEV, "container-none"),
	NUMBER(VFIO_IOMMU_GET_INFO, 0, -EFAULT, "user-memory"),
	PART("cut off", VFIO_IOMMU_GET_INFO, 12, -EFAULT, "user-memory", INFO(.argsz = 1)),
	PART("too short", VFIO_IOMMU_GET_INFO, 16, -EINVAL, "container-too-short", INFO(.argsz = 15)),
	PART("without capabilities", VFIO_IOMMU_GET_INFO, 16, -ENODEV, "container-none", INFO(.argsz = 16)),
	STRUCT("whole", VFIO_IOMMU_GET_INFO, -ENODEV, "container-none", INFO()),
	NUMBER(VFIO_IOMMU_MAP_DMA, 0, -EFAULT, "user-memory"),
	PART("cut off", VFIO_IOMMU_MAP_DMA, 31, -EFAULT, "user-memory", MAP(.argsz = 1)),
	STRUCT("too short", VFIO_IOMMU_MAP_DMA, -EINVAL, "container-too-short", MAP(.argsz = 31)),
	STRUCT("unknown flag", VFIO_IOMMU_MAP_DMA, -EINVAL, "command-flags", MAP(.flags = VFIO_RW | 1u << 31)),
	STRUCT("new address", VFIO_IOMMU_MAP_DMA, -EINVAL, "command-flags", MAP(.flags = VFIO_DMA_MAP_FLAG_VADDR)),
	STRUCT("good", VFIO_IOMMU_MAP_DMA, -ENODEV, "container-none", MAP()),
	STRUCT("longer", VFIO_IOMMU_MAP_DMA, -ENODEV, "container-none", MAP(.argsz = 4096)),
	/* Finding 12: the C module maps memory without any permission. */
	{ "VFIO_IOMMU_MAP_DMA: no access", VFIO_IOMMU_MAP_DMA, 0, &MAP(.flags = 0),
	  sizeof(struct vfio_iommu_type1_dma_map), -EINVAL, "map-no-permission", -ENODEV },
	NUMBER(VFIO_IOMMU_UNMAP_DMA, 0, -EFAULT, "user-memory"),
	PART("cut off", VFIO_IOMMU_UNMAP_DMA, 23, -EFAULT, "user-memory", UNMAP(.argsz = 1)),
	STRUCT("too short", VFIO_IOMMU_UNMAP_DMA, -EINVAL, "container-too-short", UNMAP(.argsz = 23)),
	STRUCT("unknown flag", VFIO_IOMMU_UNMAP_DMA, -EINVAL, "command-flags", UNMAP(.flags = 1u << 31)),
	STRUCT("dirty bitmap", VFIO_IOMMU_UNMAP_DMA, -EINVAL, "command-flags",
	       UNMAP(.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP)),
	STRUCT("address only", VFIO_IOMMU_UNMAP_DMA, -EINVAL, "command-flags",
	       UNMAP(.flags = VFIO_DMA_UNMAP_FLAG_VADDR)),
	STRUCT("good", VFIO_IOMMU_UNMAP_DMA, -ENODEV, "container-none", UNMAP()),
	STRUCT("all, with a range", VFIO_IOMMU_UNMAP_DMA, -ENODEV, "container-none",
	       UNMAP(.flags = VFIO_DMA_UNMAP_FLAG_ALL)),
	NUMBER(VFIO_IOMMU_DIRTY_PAGES, 0, -ENOTTY, "command-unknown"),
	NUMBER(VFIO_IOMMU_ENABLE, 0, -ENOTTY, "command-unknown"),
	NUMBER(VFIO_GROUP_SET_CONTAINER, 0, -ENOTTY, "command-unknown"),
	/* The type and the size of the number count too. */
	NUMBER(_IO('<', VFIO_BASE), 0, -ENOTTY, "command-unknown"),
	NUMBER(_IOW(VFIO_TYPE, VFIO_BASE, int), 0, -ENOTTY, "command-unknown"),
	NUMBER(_IO(VFIO_TYPE, 255), 0, -ENOTTY, "command-unknown"),
	NUMBER(IOMMU_VFIO_IOAS, 0, -EFAULT, "user-memory"),
	STRUCT("too short", IOMMU_VFIO_IOAS, -EINVAL, "command-too-short", IOAS(.size = 11)),
	STRUCT("reserved", IOMMU_VFIO_IOAS, -EOPNOTSUPP, "command-reserved", IOAS(.__reserved = 1)),
	STRUCT("unknown operation", IOMMU_VFIO_IOAS, -EOPNOTSUPP, "container-operation", IOAS(.op = 3)),
	STRUCT("get none", IOMMU_VFIO_IOAS, -ENODEV, "container-none", IOAS(.op = IOMMU_VFIO_IOAS_GET)),
	STRUCT("set none", IOMMU_VFIO_IOAS, -ENOENT, "object-none", IOAS(.op = IOMMU_VFIO_IOAS_SET)),
	STRUCT("clear none", IOMMU_VFIO_IOAS, 0, NULL, IOAS(.op = IOMMU_VFIO_IOAS_CLEAR)),
	{ "IOMMU_VFIO_IOAS: longer", IOMMU_VFIO_IOAS, 0, &long_ioas, sizeof(long_ioas), -E2BIG, "command-too-long", 0 },
};

static void run_row(const struct row *row)
{
	long want = row->c && on_c_module() ? row->c : row->want;
	unsigned long arg = row->arg;
	int fd = open_iommu();
	struct refusal before;
	long got;

	if (row->data) {
		arg = (unsigned long)guarded(row->data, row->size);
	}
	last_refusal(fd, &before);
	got = call_value(fd, row->cmd, arg);
	check_refusal(fd, &before, got, row->why, row->name);
	if (got != want)
		fail("%s: got %ld, expected %ld", row->name, got, want);
	if (row->data && got < 0 && memcmp(row->data, (void *)arg, row->size))
		fail("%s: the refused call wrote to its struct", row->name);
	close(fd);
	report("%s", row->name);
}

/* Returns whether /dev/vfio/vfio is iommufd's, and not vfio's. */
static bool has_container(void)
{
	int fd = open("/dev/vfio/vfio", O_RDWR);
	bool ours = fd >= 0 && get_option(fd, IOMMU_OPTION_RLIMIT_MODE, 0) >= 0;

	close(fd);
	return ours;
}

static size_t count(const struct compat_test *tests, size_t nr, unsigned int has)
{
	size_t i, needed = 0;

	for (i = 0; i < nr; i++)
		needed += !!(tests[i].needs & has);
	return needed;
}

static void run_tests(const struct compat_test *tests, size_t nr, unsigned int has)
{
	size_t i;
	int fd;

	for (i = 0; i < nr; i++) {
		if (!(tests[i].needs & has))
			continue;
		fd = open_iommu();
		tests[i].run(fd);
		leave();
		close(fd);
		report("%s", tests[i].name);
	}
}

int main(int argc, char **argv)
{
	unsigned int has = CONTEXT;
	size_t i;

	if (argc != 2) {
		fprintf(stderr, "usage: compat BDF\n");
		return 1;
	}
	begin_results();
	make_memory();
	has |= find_group(argv[1]) ? DEVICE : NO_IOMMU;
	if (has_container())
		has |= CONTAINER;

	plan_results(ARRAY_SIZE(rows) + count(ioas_tests, nr_ioas_tests, has) +
		     count(group_tests, nr_group_tests, has));
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		run_row(&rows[i]);
	run_tests(ioas_tests, nr_ioas_tests, has);
	run_tests(group_tests, nr_group_tests, has);
	finish_results();
}
