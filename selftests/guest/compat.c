// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VFIO type1 container on /dev/iommu: every ioctl with good and bad input, the exact errno,
 * and what can be seen afterwards. KTAP.
 *
 * Usage: compat BDF, the address of a PCI device that vfio-pci has, with an IOMMU or without
 *
 * The same answers are expected of the C module; where a row has "c" it differs on purpose.
 */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compat.h"

bool failed;
char *buffer;
char group_path[64];
const char *bdf;
static char *edge;		/* the end of a page behind which there is nothing */

struct row {
	const char *name;
	unsigned long cmd;
	unsigned long arg;	/* a number, or */
	const void *data;	/* a struct, */
	size_t size;		/* of which there is this much before the hole in memory */
	long want;
	long c;			/* the C module's answer, if it is another one */
};

#define NUMBER(cmd, arg, want)	{ #cmd " " #arg, cmd, arg, NULL, 0, want, 0 }
#define STRUCT(name, cmd, want, ...) \
	{ #cmd ": " name, cmd, 0, &(__VA_ARGS__), sizeof(__VA_ARGS__), want, 0 }
#define PART(name, cmd, part, want, ...) { #cmd ": " name, cmd, 0, &(__VA_ARGS__), part, want, 0 }

#define MAP(...)	(const struct vfio_iommu_type1_dma_map){ \
	.argsz = sizeof(struct vfio_iommu_type1_dma_map), .flags = RW, .size = PAGE, __VA_ARGS__ }
#define UNMAP(...)	(const struct vfio_iommu_type1_dma_unmap){ \
	.argsz = sizeof(struct vfio_iommu_type1_dma_unmap), .size = PAGE, __VA_ARGS__ }
#define INFO(...)	(const struct vfio_iommu_type1_info){ \
	.argsz = sizeof(struct vfio_iommu_type1_info), __VA_ARGS__ }
#define IOAS(...)	(const struct iommu_vfio_ioas){ \
	.size = sizeof(struct iommu_vfio_ioas), __VA_ARGS__ }

/* GCC warns of a field that is set twice. */
#pragma GCC diagnostic ignored "-Woverride-init"

static const struct { struct iommu_vfio_ioas cmd; uint32_t more; } long_ioas = {
	.cmd = { .size = sizeof(long_ioas), .op = IOMMU_VFIO_IOAS_CLEAR }, .more = 1,
};

static const struct row rows[] = {
	NUMBER(VFIO_GET_API_VERSION, 0, VFIO_API_VERSION),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU, 1),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU, 1),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL, 1),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU, -ENODEV),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_UPDATE_VADDR, 0),
	NUMBER(VFIO_CHECK_EXTENSION, __VFIO_RESERVED_TYPE1_NESTING_IOMMU, 0),
	NUMBER(VFIO_CHECK_EXTENSION, VFIO_SPAPR_TCE_IOMMU, 0),
	NUMBER(VFIO_CHECK_EXTENSION, 0, 0),
	NUMBER(VFIO_CHECK_EXTENSION, 1UL << 32 | VFIO_TYPE1_IOMMU, 0),
	NUMBER(VFIO_SET_IOMMU, 0, -EINVAL),
	NUMBER(VFIO_SET_IOMMU, VFIO_SPAPR_TCE_IOMMU, -EINVAL),
	NUMBER(VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU, -EINVAL),
	NUMBER(VFIO_SET_IOMMU, 1UL << 32 | VFIO_TYPE1_IOMMU, -EINVAL),
	NUMBER(VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU, -ENODEV),
	NUMBER(VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU, -ENODEV),
	NUMBER(VFIO_IOMMU_GET_INFO, 0, -EFAULT),
	PART("cut off", VFIO_IOMMU_GET_INFO, 12, -EFAULT, INFO(.argsz = 1)),
	PART("too short", VFIO_IOMMU_GET_INFO, 16, -EINVAL, INFO(.argsz = 15)),
	PART("without capabilities", VFIO_IOMMU_GET_INFO, 16, -ENODEV, INFO(.argsz = 16)),
	STRUCT("whole", VFIO_IOMMU_GET_INFO, -ENODEV, INFO()),
	NUMBER(VFIO_IOMMU_MAP_DMA, 0, -EFAULT),
	PART("cut off", VFIO_IOMMU_MAP_DMA, 31, -EFAULT, MAP(.argsz = 1)),
	STRUCT("too short", VFIO_IOMMU_MAP_DMA, -EINVAL, MAP(.argsz = 31)),
	STRUCT("unknown flag", VFIO_IOMMU_MAP_DMA, -EINVAL, MAP(.flags = RW | 1u << 31)),
	STRUCT("new address", VFIO_IOMMU_MAP_DMA, -EINVAL, MAP(.flags = VFIO_DMA_MAP_FLAG_VADDR)),
	STRUCT("good", VFIO_IOMMU_MAP_DMA, -ENODEV, MAP()),
	STRUCT("longer", VFIO_IOMMU_MAP_DMA, -ENODEV, MAP(.argsz = 4096)),
	/* Findings about the C module, 12: it maps what nobody may use. */
	{ "VFIO_IOMMU_MAP_DMA: no access", VFIO_IOMMU_MAP_DMA, 0, &MAP(.flags = 0),
	  sizeof(struct vfio_iommu_type1_dma_map), -EINVAL, -ENODEV },
	NUMBER(VFIO_IOMMU_UNMAP_DMA, 0, -EFAULT),
	PART("cut off", VFIO_IOMMU_UNMAP_DMA, 23, -EFAULT, UNMAP(.argsz = 1)),
	STRUCT("too short", VFIO_IOMMU_UNMAP_DMA, -EINVAL, UNMAP(.argsz = 23)),
	STRUCT("unknown flag", VFIO_IOMMU_UNMAP_DMA, -EINVAL, UNMAP(.flags = 1u << 31)),
	STRUCT("dirty bitmap", VFIO_IOMMU_UNMAP_DMA, -EINVAL,
	       UNMAP(.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP)),
	STRUCT("address only", VFIO_IOMMU_UNMAP_DMA, -EINVAL,
	       UNMAP(.flags = VFIO_DMA_UNMAP_FLAG_VADDR)),
	STRUCT("good", VFIO_IOMMU_UNMAP_DMA, -ENODEV, UNMAP()),
	STRUCT("all, with a range", VFIO_IOMMU_UNMAP_DMA, -ENODEV,
	       UNMAP(.flags = VFIO_DMA_UNMAP_FLAG_ALL)),
	NUMBER(VFIO_IOMMU_DIRTY_PAGES, 0, -ENOTTY),
	NUMBER(VFIO_IOMMU_ENABLE, 0, -ENOTTY),
	NUMBER(VFIO_GROUP_SET_CONTAINER, 0, -ENOTTY),
	/* Only the whole number counts. */
	NUMBER(_IO('<', VFIO_BASE), 0, -ENOTTY),
	NUMBER(_IOW(VFIO_TYPE, VFIO_BASE, int), 0, -ENOTTY),
	NUMBER(_IO(VFIO_TYPE, 255), 0, -ENOTTY),
	NUMBER(IOMMU_VFIO_IOAS, 0, -EFAULT),
	STRUCT("too short", IOMMU_VFIO_IOAS, -EINVAL, IOAS(.size = 11)),
	STRUCT("reserved", IOMMU_VFIO_IOAS, -EOPNOTSUPP, IOAS(.__reserved = 1)),
	STRUCT("unknown operation", IOMMU_VFIO_IOAS, -EOPNOTSUPP, IOAS(.op = 3)),
	STRUCT("get none", IOMMU_VFIO_IOAS, -ENODEV, IOAS(.op = IOMMU_VFIO_IOAS_GET)),
	STRUCT("set none", IOMMU_VFIO_IOAS, -ENOENT, IOAS(.op = IOMMU_VFIO_IOAS_SET)),
	STRUCT("clear none", IOMMU_VFIO_IOAS, 0, IOAS(.op = IOMMU_VFIO_IOAS_CLEAR)),
	{ "IOMMU_VFIO_IOAS: longer", IOMMU_VFIO_IOAS, 0, &long_ioas, sizeof(long_ioas), -E2BIG, 0 },
};

static void run_row(const struct row *row)
{
	long want = row->c && on_c_module() ? row->c : row->want;
	unsigned long arg = row->arg;
	int fd = open_iommu();
	long got;

	if (row->data) {
		arg = (unsigned long)edge - row->size;
		memcpy((void *)arg, row->data, row->size);
	}
	got = call(fd, row->cmd, arg);
	if (got != want)
		FAIL("%s: got %ld, expected %ld", row->name, got, want);
	if (row->data && got < 0 && memcmp(row->data, (void *)arg, row->size))
		FAIL("%s: the refused call wrote to its struct", row->name);
	close(fd);
	ksft_test_result(!failed, "%s\n", row->name);
	failed = false;
}

#define NO_DOMAIN	1
#define DEVICE	2
#define BARE	4	/* a device without an IOMMU */
#define CONTAINER 8	/* iommufd's own /dev/vfio/vfio */

static const struct {
	const char *name;
	void (*run)(int fd);
	unsigned int needs;
} tests[] = {
	{ "choosing, changing and losing the IOAS", slot, NO_DOMAIN },
	{ "both versions", types, NO_DOMAIN },
	{ "mapping and unmapping", mapping, NO_DOMAIN },
	{ "structs that cannot be written to", read_only, NO_DOMAIN },
	{ "holes in mappings", holes, NO_DOMAIN },
	{ "capabilities without a domain", info_soft, NO_DOMAIN },
	{ "a group joins and leaves", joining, DEVICE },
	{ "the group's device", attached, DEVICE },
	{ "holes in mapped memory", cutting, DEVICE },
	{ "holes in a huge page", cutting_huge, DEVICE },
	{ "a group without an IOMMU", no_iommu, BARE },
	{ "the container's own file", container, CONTAINER },
};

/* Whether /dev/vfio/vfio is ours, and not vfio's. */
static bool has_container(void)
{
	int fd = open("/dev/vfio/vfio", O_RDWR);
	bool ours = fd >= 0 && rlimit_mode(fd) >= 0;

	close(fd);
	return ours;
}

int main(int argc, char **argv)
{
	char link[256], target[PATH_MAX] = "";
	unsigned int has = NO_DOMAIN | DEVICE;
	size_t i, nr_tests = 0;
	char *area;

	if (argc != 2) {
		fprintf(stderr, "usage: compat BDF\n");
		return 1;
	}
	bdf = argv[1];
	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	if (readlink(link, target, sizeof(target) - 1) < 0)
		ksft_exit_fail_msg("%s: %m\n", link);
	snprintf(group_path, sizeof(group_path), "/dev/vfio/%s", basename(target));
	if (access(group_path, F_OK)) {
		snprintf(group_path, sizeof(group_path), "/dev/vfio/noiommu-%s", basename(target));
		has = NO_DOMAIN | BARE;
	}

	if (has_container())
		has |= CONTAINER;
	buffer = mmap(NULL, NR_PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	area = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED || area == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %m\n");
	memset(buffer, 1, NR_PAGES * PAGE);
	edge = area + PAGE;
	munmap(edge, PAGE);

	ksft_print_header();
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		nr_tests += !!(tests[i].needs & has);
	ksft_set_plan(ARRAY_SIZE(rows) + nr_tests);
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		run_row(&rows[i]);
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		int fd;

		if (!(tests[i].needs & has))
			continue;
		fd = open_iommu();
		tests[i].run(fd);
		leave();
		close(fd);
		ksft_test_result(!failed, "%s\n", tests[i].name);
		failed = false;
	}
	ksft_finished();
}
