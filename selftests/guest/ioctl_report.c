// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints what ioctl_count.so counted. Usage: ioctl_report FILE, or LABEL FILE LABEL FILE ... for
 * several of them side by side.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "ioctl_count.h"

#define MAX_FILES	4

#define NAME(target, ioctl)	[target][_IOC_NR(ioctl)] = #ioctl

static const char *const names[TARGETS][256] = {
	NAME(TARGET_CONTAINER, VFIO_GET_API_VERSION),
	NAME(TARGET_CONTAINER, VFIO_CHECK_EXTENSION),
	NAME(TARGET_CONTAINER, VFIO_SET_IOMMU),
	NAME(TARGET_CONTAINER, VFIO_IOMMU_GET_INFO),
	NAME(TARGET_CONTAINER, VFIO_IOMMU_MAP_DMA),
	NAME(TARGET_CONTAINER, VFIO_IOMMU_UNMAP_DMA),
	NAME(TARGET_CONTAINER, VFIO_IOMMU_DIRTY_PAGES),
	NAME(TARGET_OTHER, VFIO_GROUP_GET_STATUS),
	NAME(TARGET_OTHER, VFIO_GROUP_SET_CONTAINER),
	NAME(TARGET_OTHER, VFIO_GROUP_UNSET_CONTAINER),
	NAME(TARGET_OTHER, VFIO_GROUP_GET_DEVICE_FD),
	NAME(TARGET_OTHER, VFIO_DEVICE_GET_INFO),
	NAME(TARGET_OTHER, VFIO_DEVICE_GET_REGION_INFO),
	NAME(TARGET_OTHER, VFIO_DEVICE_GET_IRQ_INFO),
	NAME(TARGET_OTHER, VFIO_DEVICE_SET_IRQS),
	NAME(TARGET_OTHER, VFIO_DEVICE_RESET),
	NAME(TARGET_OTHER, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO),
	NAME(TARGET_OTHER, VFIO_DEVICE_PCI_HOT_RESET),
	NAME(TARGET_OTHER, VFIO_DEVICE_FEATURE),
	NAME(TARGET_OTHER, VFIO_DEVICE_BIND_IOMMUFD),
	NAME(TARGET_OTHER, VFIO_DEVICE_ATTACH_IOMMUFD_PT),
	NAME(TARGET_OTHER, VFIO_DEVICE_DETACH_IOMMUFD_PT),
	NAME(TARGET_OTHER, IOMMU_DESTROY),
	NAME(TARGET_OTHER, IOMMU_IOAS_ALLOC),
	NAME(TARGET_OTHER, IOMMU_IOAS_ALLOW_IOVAS),
	NAME(TARGET_OTHER, IOMMU_IOAS_COPY),
	NAME(TARGET_OTHER, IOMMU_IOAS_IOVA_RANGES),
	NAME(TARGET_OTHER, IOMMU_IOAS_MAP),
	NAME(TARGET_OTHER, IOMMU_IOAS_UNMAP),
	NAME(TARGET_OTHER, IOMMU_IOAS_MAP_FILE),
	NAME(TARGET_OTHER, IOMMU_OPTION),
	NAME(TARGET_OTHER, IOMMU_HWPT_ALLOC),
	NAME(TARGET_OTHER, IOMMU_GET_HW_INFO),
	NAME(TARGET_OTHER, IOMMU_IOAS_CHANGE_PROCESS),
};

static struct ioctl_counts counts[MAX_FILES];

static int load(struct ioctl_counts *into, const char *path)
{
	FILE *file = fopen(path, "r");
	size_t read = file ? fread(into, sizeof(*into), 1, file) : 0;

	if (file)
		fclose(file);
	if (!read)
		fprintf(stderr, "ioctl_report: nothing was counted in %s\n", path);
	return read ? 0 : -1;
}

static void row(const char *name, const struct ioctl_count *each, int files)
{
	int i;

	printf("%-34s", name);
	for (i = 0; i < files; i++)
		printf("  %6" PRIu64 " %6" PRIu64 " %10.1f", each[i].calls, each[i].failures,
		       each[i].time / 1000.0);
	printf("\n");
}

int main(int argc, char **argv)
{
	struct ioctl_count each[MAX_FILES], sum[MAX_FILES] = {};
	int files = argc == 2 ? 1 : (argc - 1) / 2;
	int target, nr, i;
	char other[32];
	uint64_t calls;

	if (files < 1 || files > MAX_FILES || (argc > 2 && argc % 2 == 0)) {
		fprintf(stderr, "usage: ioctl_report FILE | LABEL FILE ...\n");
		return 2;
	}
	for (i = 0; i < files; i++)
		if (load(&counts[i], argv[argc == 2 ? 1 : 2 * i + 2]))
			return 1;

	if (argc > 2) {
		printf("%34s", "");
		for (i = 0; i < files; i++)
			printf("  %24s", argv[2 * i + 1]);
		printf("\n");
	}
	printf("%-34s", "ioctl of QEMU");
	for (i = 0; i < files; i++)
		printf("  %6s %6s %10s", "calls", "failed", "us in all");
	printf("\n");
	for (target = 0; target < TARGETS; target++) {
		for (nr = 0; nr < 256; nr++) {
			calls = 0;
			for (i = 0; i < files; i++) {
				each[i] = counts[i].of[target][nr];
				calls += each[i].calls;
				sum[i].calls += each[i].calls;
				sum[i].failures += each[i].failures;
				sum[i].time += each[i].time;
			}
			snprintf(other, sizeof(other), "number %#x", nr);
			if (calls)
				row(names[target][nr] ?: other, each, files);
		}
	}
	row("all", sum, files);
	return 0;
}
