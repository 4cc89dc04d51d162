// SPDX-License-Identifier: GPL-2.0-only
/* The card is an igb, 82576. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <libvfio.h>

#include "card.h"
#include "cdev.h"

/* How long an interrupt may take, in milliseconds. */
#define PATIENCE	60000

struct card {
	struct iommu iommu;
	struct vfio_pci_device *dev;
};

struct card *card_open(const char *bdf)
{
	struct card *card = calloc_assert(1, sizeof(*card));

	INIT_LIST_HEAD(&card->iommu.dma_regions);
	card->dev = vfio_pci_device_alloc(bdf, &card->iommu);
	card->dev->fd = open_cdev(bdf);
	VFIO_ASSERT_GE(card->dev->fd, 0);
	return card;
}

int card_fd(const struct card *card)
{
	return card->dev->fd;
}

void card_start(struct card *card, void *rings, uint64_t iova)
{
	struct vfio_region_info *config = &card->dev->config_space;
	struct vfio_pci_bar *bar = &card->dev->bars[0];
	struct dma_region *region = &card->dev->driver.region;
	size_t i;

	config->argsz = sizeof(*config);
	config->index = VFIO_PCI_CONFIG_REGION_INDEX;
	ioctl_assert(card->dev->fd, VFIO_DEVICE_GET_REGION_INFO, config);
	bar->info.argsz = sizeof(bar->info);
	ioctl_assert(card->dev->fd, VFIO_DEVICE_GET_REGION_INFO, &bar->info);
	bar->vaddr = mmap(NULL, bar->info.size, PROT_READ | PROT_WRITE, MAP_SHARED, card->dev->fd,
			  bar->info.offset);
	VFIO_ASSERT_NE(bar->vaddr, MAP_FAILED);

	for (i = 0; i < ARRAY_SIZE(card->dev->msi_eventfds); i++)
		card->dev->msi_eventfds[i] = -1;
	region->vaddr = rings;
	region->iova = iova;
	region->size = CARD_RINGS;
	list_add(&region->link, &card->iommu.dma_regions);
	vfio_pci_driver_probe(card->dev);
	VFIO_ASSERT_NOT_NULL(card->dev->driver.ops);
	vfio_pci_driver_init(card->dev);
	fcntl_set_nonblock(card->dev->msi_eventfds[card->dev->driver.msi]);
}

void card_stop(struct card *card)
{
	vfio_pci_driver_remove(card->dev);
	list_del(&card->dev->driver.region.link);
}

void card_close(struct card *card)
{
	vfio_pci_device_cleanup(card->dev);
	free(card);
}

int card_copy(struct card *card, uint64_t src, uint64_t dst, uint64_t size)
{
	return vfio_pci_driver_memcpy(card->dev, src, dst, size);
}

void card_start_copies(struct card *card, uint64_t src, uint64_t dst, uint64_t size, uint64_t count)
{
	vfio_pci_driver_memcpy_start(card->dev, src, dst, size, count);
}

int card_wait(struct card *card)
{
	return vfio_pci_driver_memcpy_wait(card->dev);
}

void card_reset(struct card *card)
{
	struct vfio_pci_driver *driver = &card->dev->driver;
	int status;

	while ((status = __vfio_pci_device_reset(card->dev)) == -EAGAIN)
		usleep(10000);
	VFIO_ASSERT_EQ(status, 0, "VFIO_DEVICE_RESET failed\n");
	driver->memcpy_in_progress = false;
	vfio_pci_driver_remove(card->dev);
	vfio_pci_driver_init(card->dev);
	fcntl_set_nonblock(card->dev->msi_eventfds[driver->msi]);
}

void card_drop(struct card *card)
{
	struct vfio_pci_bar *bar = &card->dev->bars[0];

	munmap(bar->vaddr, bar->info.size);
	close(card->dev->fd);
	vfio_pci_device_free(card->dev);
	free(card);
}

bool card_interrupts(struct card *card)
{
	struct pollfd event = {
		.fd = card->dev->msi_eventfds[card->dev->driver.msi],
		.events = POLLIN,
	};
	uint64_t count;

	vfio_pci_driver_send_msi(card->dev);
	return poll(&event, 1, PATIENCE) == 1 &&
	       read(event.fd, &count, sizeof(count)) == sizeof(count) && count == 1;
}
