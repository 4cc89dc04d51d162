/* SPDX-License-Identifier: GPL-2.0-only */
/* The VFIO group of the device under test, and how it joins a container. */
#ifndef COMPAT_GROUP_H
#define COMPAT_GROUP_H

#include <stdbool.h>

/* The device's address, and the open files or -1. */
extern const char *bdf;
extern int group, dev;

/* Finds the group of the device. Returns false if it is one of VFIO's no-IOMMU groups. */
bool find_group(const char *address);

/* Opens the group and puts it into the container. */
void join(int fd);

/* Opens the group and returns its descriptor. */
int open_group(void);

/* Opens the device, which attaches it. */
void open_device(void);

/* Closes the device and the group if they are open. */
void leave(void);

#endif
