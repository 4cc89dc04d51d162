// SPDX-License-Identifier: GPL-2.0-only
/* See nested_plug.h. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>

#include "call.h"
#include "nested_plug.h"

/* Milliseconds within which the kernel asks for a device that is to be removed. */
#define PATIENCE	60000

#define DEVICE		"/sys/bus/pci/devices/%s/"

/* Writes text to a file whose path has a place for the device's address. */
static int write_to(const char *format, const char *bdf, const char *text)
{
	char path[PATH_MAX];
	int file, r = 0;

	snprintf(path, sizeof(path), format, bdf);
	file = open(path, O_WRONLY | O_CLOEXEC);
	if (file < 0)
		return -errno;
	if (write(file, text, strlen(text)) < 0)
		r = -errno;
	close(file);
	return r;
}

static bool is_there(const char *bdf)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DEVICE, bdf);
	return !access(path, F_OK);
}

static void *remover(void *data)
{
	struct removal *removal = data;

	removal->result = write_to(DEVICE "remove", removal->bdf, "1");
	return NULL;
}

static int be_asked(int dev, int event)
{
	char space[sizeof(struct vfio_irq_set) + sizeof(int)]
		__attribute__((aligned(__alignof__(struct vfio_irq_set))));
	struct vfio_irq_set *set = (void *)space;

	*set = (struct vfio_irq_set){
		.argsz = sizeof(space), .index = VFIO_PCI_REQ_IRQ_INDEX, .count = 1,
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
	};
	memcpy(set->data, &event, sizeof(event));
	return call(dev, VFIO_DEVICE_SET_IRQS, set);
}

bool begin_removal(struct removal *removal, const char *bdf, int dev)
{
	struct pollfd ready = { .events = POLLIN };

	*removal = (struct removal){ .bdf = bdf, .asked = eventfd(0, EFD_CLOEXEC) };
	if (removal->asked < 0 || be_asked(dev, removal->asked))
		return false;
	if (pthread_create(&removal->thread, NULL, remover, removal))
		return false;
	ready.fd = removal->asked;
	return poll(&ready, 1, PATIENCE) == 1;
}

bool end_removal(struct removal *removal)
{
	pthread_join(removal->thread, NULL);
	close(removal->asked);
	return !removal->result && !is_there(removal->bdf);
}

bool plug_in(const char *bdf)
{
	int r;

	r = write_to("/sys/bus/pci/rescan", bdf, "1");
	r = r ?: write_to(DEVICE "driver_override", bdf, "vfio-pci");
	/* A driver of the kernel's own may have taken it. */
	if (!r)
		write_to(DEVICE "driver/unbind", bdf, bdf);
	r = r ?: write_to("/sys/bus/pci/drivers/vfio-pci/bind", bdf, bdf);
	return !r;
}
