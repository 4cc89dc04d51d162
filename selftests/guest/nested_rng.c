// SPDX-License-Identifier: GPL-2.0-only
/* See nested_rng.h. Virtual I/O Device (VIRTIO) Version 1.2, sections 2.7, 4.1 and 5.4. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/mman.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "nested_rng.h"

#define FEATURES	(1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_ACCESS_PLATFORM)

/* The ring: how many descriptors, and where its parts are in a page. */
#define DEPTH		8
#define AVAIL		0x400
#define USED		0x800

/* How much the device writes at once. */
#define BYTES		16

/* How long that may take, in milliseconds. */
#define PATIENCE	2000

bool has_ats(const char *bdf)
{
	uint32_t head, place = PCI_CFG_SPACE_SIZE;
	char path[PATH_MAX];
	bool found = false;
	int file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	file = open(path, O_RDONLY | O_CLOEXEC);
	while (!found && place && pread(file, &head, sizeof(head), place) == sizeof(head)) {
		found = PCI_EXT_CAP_ID(head) == PCI_EXT_CAP_ID_ATS;
		place = PCI_EXT_CAP_NEXT(head);
	}
	close(file);
	return found;
}

/* Finds the structures of the device by its configuration space, all of which are in one BAR. */
static int find_structures(struct nested *n, struct rng *rng)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	struct vfio_region_info bar = { .argsz = sizeof(bar) };
	uint32_t common = 0, notify = 0;
	struct virtio_pci_cap cap;
	uint16_t command = 6;
	uint8_t place = 0;
	int r;

	r = call(n->dev, VFIO_DEVICE_GET_REGION_INFO, &config);
	if (r)
		return r;
	if (pwrite(n->dev, &command, sizeof(command), config.offset + PCI_COMMAND) < 0)
		return -errno;
	if (pread(n->dev, &place, 1, config.offset + PCI_CAPABILITY_LIST) != 1)
		return -EIO;
	while (place && pread(n->dev, &cap, sizeof(cap), config.offset + place) == sizeof(cap)) {
		if (cap.cap_vndr == PCI_CAP_ID_VNDR && cap.cfg_type == VIRTIO_PCI_CAP_COMMON_CFG) {
			common = cap.offset;
			bar.index = cap.bar;
		}
		if (cap.cap_vndr == PCI_CAP_ID_VNDR && cap.cfg_type == VIRTIO_PCI_CAP_NOTIFY_CFG)
			notify = cap.offset;
		place = cap.cap_next;
	}
	r = call(n->dev, VFIO_DEVICE_GET_REGION_INFO, &bar);
	if (r || !bar.size)
		return r ?: -ENODEV;
	rng->size = bar.size;
	rng->bar = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, n->dev, bar.offset);
	if (rng->bar == MAP_FAILED)
		return -errno;
	rng->common = rng->bar + common;
	rng->notify = rng->bar + notify;
	return 0;
}

static void write8(struct rng *rng, int place, uint8_t value)
{
	*(volatile uint8_t *)(rng->common + place) = value;
}

static void write16(struct rng *rng, int place, uint16_t value)
{
	*(volatile uint16_t *)(rng->common + place) = value;
}

static void write32(struct rng *rng, int place, uint32_t value)
{
	*(volatile uint32_t *)(rng->common + place) = value;
}

static void write64(struct rng *rng, int place, uint64_t value)
{
	write32(rng, place, value);
	write32(rng, place + 4, value >> 32);
}

static void accept_features(struct rng *rng)
{
	uint32_t i;

	for (i = 0; i < 2; i++) {
		write32(rng, VIRTIO_PCI_COMMON_GFSELECT, i);
		write32(rng, VIRTIO_PCI_COMMON_GF, FEATURES >> (32 * i));
	}
}

int rng_start(struct nested *n, struct rng *rng)
{
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	memset(page_of(n, RINGS_PAGE), 0, PAGE);
	rng->asked = 0;
	write8(rng, VIRTIO_PCI_COMMON_STATUS, 0);
	write8(rng, VIRTIO_PCI_COMMON_STATUS, status);
	accept_features(rng);
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	write8(rng, VIRTIO_PCI_COMMON_STATUS, status);
	if (*(volatile uint8_t *)(rng->common + VIRTIO_PCI_COMMON_STATUS) != status)
		return -EPROTO;
	write16(rng, VIRTIO_PCI_COMMON_Q_SELECT, 0);
	write16(rng, VIRTIO_PCI_COMMON_Q_SIZE, DEPTH);
	write64(rng, VIRTIO_PCI_COMMON_Q_DESCLO, RINGS_VA);
	write64(rng, VIRTIO_PCI_COMMON_Q_AVAILLO, RINGS_VA + AVAIL);
	write64(rng, VIRTIO_PCI_COMMON_Q_USEDLO, RINGS_VA + USED);
	write16(rng, VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	write8(rng, VIRTIO_PCI_COMMON_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
	return 0;
}

int rng_open(struct nested *n, struct rng *rng)
{
	int r = find_structures(n, rng);

	return r ?: rng_start(n, rng);
}

void rng_close(struct rng *rng)
{
	munmap((void *)rng->bar, rng->size);
}

static bool is_zero(const char *page)
{
	static const char zero[BYTES];

	return !memcmp(page, zero, BYTES);
}

void rng_begins(struct nested *n, struct rng *rng, uint64_t target)
{
	struct vring_desc *desc = (void *)page_of(n, RINGS_PAGE);
	struct vring_avail *avail = (void *)(page_of(n, RINGS_PAGE) + AVAIL);

	desc[0] = (struct vring_desc){ .addr = target, .len = BYTES, .flags = VRING_DESC_F_WRITE };
	avail->ring[rng->asked % DEPTH] = 0;
	__sync_synchronize();
	avail->idx = ++rng->asked;
	__sync_synchronize();
	*(volatile uint16_t *)rng->notify = 0;
}

uint32_t rng_writes(struct nested *n, struct rng *rng, uint64_t target)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };
	volatile struct vring_used *used = (void *)(page_of(n, RINGS_PAGE) + USED);
	int left = PATIENCE;

	memset(page_of(n, A_PAGE), 0, BYTES);
	memset(page_of(n, B_PAGE), 0, BYTES);
	rng_begins(n, rng, target);
	while (used->idx != rng->asked && left--)
		nanosleep(&millisecond, NULL);
	__sync_synchronize();
	if (!is_zero(page_of(n, A_PAGE)))
		return A_PAGE;
	return is_zero(page_of(n, B_PAGE)) ? 0 : B_PAGE;
}
