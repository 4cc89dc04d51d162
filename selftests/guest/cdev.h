/* SPDX-License-Identifier: GPL-2.0-only */
/* The character devices of VFIO. */
#ifndef CDEV_H
#define CDEV_H

/*
 * Opens the file of the PCI device with this address, which is bound to vfio-pci. Returns the descriptor
 * or -1. libvfio's own does not find a device without an IOMMU, since its file has another name.
 */
int open_cdev(const char *bdf);

#endif
