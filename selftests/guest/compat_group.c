// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "compat_call.h"
#include "compat_group.h"
#include "result.h"

const char *bdf;
int group = -1, dev = -1;
static char group_path[64];

bool find_group(const char *address)
{
	char link[256], target[PATH_MAX] = "";

	bdf = address;
	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	if (readlink(link, target, sizeof(target) - 1) < 0)
		bail_out("%s: %m", link);
	snprintf(group_path, sizeof(group_path), "/dev/vfio/%s", basename(target));
	if (!access(group_path, F_OK))
		return true;
	snprintf(group_path, sizeof(group_path), "/dev/vfio/noiommu-%s", basename(target));
	return false;
}

int open_group(void)
{
	group = open(group_path, O_RDWR);
	if (group < 0)
		bail_out("%s: %m", group_path);
	return group;
}

void join(int fd)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	int r;

	open_group();
	r = call(group, VFIO_GROUP_SET_CONTAINER, &fd);
	if (r)
		fail("VFIO_GROUP_SET_CONTAINER: %s", errno_name(r));
	r = call(group, VFIO_GROUP_GET_STATUS, &status);
	if (r || !(status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET))
		fail("the group has no container");
}

void open_device(void)
{
	dev = call_value(group, VFIO_GROUP_GET_DEVICE_FD, (unsigned long)bdf);
	if (dev < 0)
		fail("VFIO_GROUP_GET_DEVICE_FD: %s", errno_name(dev));
}

void leave(void)
{
	if (dev >= 0)
		close(dev);
	if (group >= 0)
		close(group);
	group = dev = -1;
}
