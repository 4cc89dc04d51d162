/* SPDX-License-Identifier: GPL-2.0-only */
/* Takes a PCI device that vfio-pci has out of the machine, and puts it back. */
#ifndef NESTED_PLUG_H
#define NESTED_PLUG_H

#include <pthread.h>
#include <stdbool.h>

struct removal {
	const char *bdf;
	int asked;		/* an eventfd, by which the kernel asks for the device */
	pthread_t thread;
	int result;		/* of the removal, 0 or a negative errno */
};

/*
 * Begins to remove a device whose file is dev. Returns whether the kernel asks for the file to be closed,
 * without which the removal does not end.
 */
bool begin_removal(struct removal *removal, const char *bdf, int dev);

/* Waits for the end of the removal. Returns whether the device is gone. The file must be closed. */
bool end_removal(struct removal *removal);

/* Finds the device again and binds it to vfio-pci. Returns whether that worked. */
bool plug_in(const char *bdf);

#endif
