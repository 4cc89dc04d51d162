/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The operations of the mock IOMMU's ioctl, each of which returns 0, a file descriptor or a negative
 * errno. The structs are those of the kernel's iommufd_test.h.
 */
#ifndef MOCK_CALL_H
#define MOCK_CALL_H

#include "call.h"
#include "iommufd_test.h"

#define MOCK_IOVA	((uint64_t)MOCK_APERTURE_START)

/* A context with an IOAS to which a mock device is attached, and an IOAS without devices. */
struct mock {
	int fd;
	uint32_t ioas, other;
	uint32_t device, dev_id, hwpt;
	long idle;		/* pages that were pinned before */
};

/* Fails the test and returns false if there is no mock device. */
bool open_mock(struct mock *m);

/* Closes the context. Fails the test if more pages are pinned than before open_mock(). */
void close_mock(struct mock *m);

/*
 * Returns how many pages of page tables another HWPT needs for what is mapped, or a negative
 * errno.
 */
long tables_of_another(struct mock *m);

int mock_op(int fd, struct iommu_test_cmd *cmd);
/* Makes a mock device and attaches it to an IOAS, or to the page tables with that id. */
int mock_device(int fd, uint32_t ioas, uint32_t *device, uint32_t *dev_id, uint32_t *hwpt);
/* As mock_device(), with MOCK_FLAGS_DEVICE_*. */
int mock_device_flags(int fd, uint32_t pt, uint32_t flags, uint32_t *device, uint32_t *dev_id);

/* Attaches a device to other page tables, or to those of an IOAS. */
int mock_replace(int fd, uint32_t device, uint32_t pt);
/* Checks that the page tables map iova to the pages at va. */
int mock_check(int fd, uint32_t hwpt, uint64_t iova, const void *va, uint64_t length);
/* Checks that each page is pinned `refs` times. */
int mock_refs(int fd, const void *va, uint64_t length, uint32_t refs);
/* Makes page tables that track dirty pages, with the tracking on. */
int tracking_tables(int fd, uint32_t dev_id, uint32_t ioas, uint32_t *hwpt);
/* Sets the dirty bits of the pages, of page_size bytes each, whose bits are set in the bitmap. */
int mock_set_dirty(int fd, uint32_t hwpt, uint64_t iova, uint64_t length, uint64_t page_size, void *bits);
/* Reads dirty bits, and clears them unless the flags say otherwise. */
int get_dirty_bitmap(int fd, uint32_t hwpt, uint64_t iova, uint64_t length, uint64_t page_size, void *bits,
		     uint32_t flags);

/* Attaches a PASID of a device, moves it to other page tables, or detaches it. */
int pasid_attach(int fd, uint32_t device, uint32_t pasid, uint32_t pt);
int pasid_replace(int fd, uint32_t device, uint32_t pasid, uint32_t pt);
int pasid_detach(int fd, uint32_t device, uint32_t pasid);

/* Checks that the IOMMU core has attached the PASID to these page tables, or to none for id 0. */
int pasid_check(int fd, uint32_t device, uint32_t pasid, uint32_t hwpt);

int access_open(int fd, uint32_t ioas, uint32_t flags);
int access_replace(int fd, int access, uint32_t ioas);
/* Pins pages. If va is given, the mock compares them with the pages there. */
int access_pin(int fd, int access, uint64_t iova, uint64_t length, const void *va, uint32_t *id);
int access_unpin(int fd, int access, uint32_t id);
int access_rw(int fd, int access, uint64_t iova, void *data, uint64_t length, uint32_t flags);

#endif
