// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints what ioctl_count.so counted: calls, how many of them failed, their time, how much they
 * mapped. Usage: ioctl_report FILE, or LABEL FILE LABEL FILE ... for several of them side by side.
 * Files of one label are runs of one thing: of each ioctl the run is shown in which it took least.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "ioctl_count.h"

#define MAX_FILES	16
#define MAX_LABELS	4

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
	NAME(TARGET_OTHER, IOMMU_HWPT_INVALIDATE),
	NAME(TARGET_OTHER, IOMMU_FAULT_QUEUE_ALLOC),
	NAME(TARGET_OTHER, IOMMU_VIOMMU_ALLOC),
	NAME(TARGET_OTHER, IOMMU_VDEVICE_ALLOC),
	NAME(TARGET_OTHER, IOMMU_VEVENTQ_ALLOC),
};

static struct ioctl_counts counts[MAX_FILES];
static const char *labels[MAX_LABELS];
/* The label of each file. */
static int label_of[MAX_FILES];
static int files, columns;

static int load(const char *label, const char *path)
{
	FILE *file = fopen(path, "r");
	size_t read = file ? fread(&counts[files], sizeof(*counts), 1, file) : 0;
	int i;

	if (file)
		fclose(file);
	if (!read) {
		fprintf(stderr, "ioctl_report: nothing was counted in %s\n", path);
		return -1;
	}
	for (i = 0; i < columns; i++)
		if (!strcmp(labels[i], label))
			break;
	if (i == MAX_LABELS) {
		fprintf(stderr, "ioctl_report: more than %d labels\n", MAX_LABELS);
		return -1;
	}
	if (i == columns)
		labels[columns++] = label;
	label_of[files++] = i;
	return 0;
}

static void row(const char *name, const struct ioctl_count *each)
{
	int i;

	printf("%-34s", name);
	for (i = 0; i < columns; i++)
		printf("  %6" PRIu64 " %6" PRIu64 " %10.1f %7.1f", each[i].calls, each[i].failures,
		       each[i].time / 1000.0, each[i].bytes / 1048576.0);
	printf("\n");
}

/* Finds the run with the least time for each label. Returns whether any run made the call. */
static int least(int target, int nr, struct ioctl_count *each)
{
	const struct ioctl_count *count;
	int i, any = 0, seen[MAX_LABELS] = {};

	for (i = 0; i < files; i++) {
		count = &counts[i].of[target][nr];
		any |= count->calls > 0;
		if (!seen[label_of[i]]++ || count->time < each[label_of[i]].time)
			each[label_of[i]] = *count;
	}
	return any;
}

int main(int argc, char **argv)
{
	struct ioctl_count each[MAX_LABELS], sum[MAX_LABELS] = {};
	int target, nr, i;
	char other[32];

	if (argc < 2 || (argc > 2 && argc % 2 == 0) || argc / 2 > MAX_FILES) {
		fprintf(stderr, "usage: ioctl_report FILE | LABEL FILE ...\n");
		return 2;
	}
	if (argc == 2 && load("", argv[1]))
		return 1;
	for (i = 1; i + 1 < argc; i += 2)
		if (load(argv[i], argv[i + 1]))
			return 1;

	if (argc > 2) {
		printf("%34s", "");
		for (i = 0; i < columns; i++)
			printf("  %32s", labels[i]);
		printf("\n");
	}
	printf("%-34s", "ioctl of QEMU");
	for (i = 0; i < columns; i++)
		printf("  %6s %6s %10s %7s", "calls", "failed", "us in all", "MiB");
	printf("\n");
	for (target = 0; target < TARGETS; target++) {
		for (nr = 0; nr < 256; nr++) {
			if (!least(target, nr, each))
				continue;
			for (i = 0; i < columns; i++) {
				sum[i].calls += each[i].calls;
				sum[i].failures += each[i].failures;
				sum[i].time += each[i].time;
				sum[i].bytes += each[i].bytes;
			}
			snprintf(other, sizeof(other), "number %#x", nr);
			row(names[target][nr] ?: other, each);
		}
	}
	row("all", sum);
	return 0;
}
