// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel's own functions take for a map and an unmap. Pinning alone is measured by calls that pin as
 * iommufd does: io_uring's registration of memory, by pin_user_pages(), and udmabuf's of a file, by
 * memfd_pin_folios(). iommu_map() alone is measured by making further page tables for an IOAS whose memory is
 * pinned already.
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/udmabuf.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench_card.h"

static int registered(int ring, unsigned int op, const struct iovec *vec)
{
	return syscall(SYS_io_uring_register, ring, op, vec, vec ? 1 : 0) < 0 ? -errno : 0;
}

static void pin_rows(const char *name, const struct iovec *vec)
{
	struct io_uring_params params = {};
	int i, ring = syscall(SYS_io_uring_setup, 1, &params);

	if (ring < 0)
		give_up("io_uring: %s", strerror(errno));
	for (i = 0; i < nr_repeats; i++) {
		sample(TIMED(registered(ring, IORING_REGISTER_BUFFERS, vec)), unit, "%s: pin alone", name);
		sample(TIMED(registered(ring, IORING_UNREGISTER_BUFFERS, NULL)), unit, "%s: unpin alone",
		       name);
	}
	close(ring);
}

/* Returns a file that holds the pins, or a negative errno. */
static int pinned_file(int udmabuf, int file, uint64_t length)
{
	struct udmabuf_create cmd = { .memfd = file, .flags = UDMABUF_FLAGS_CLOEXEC, .size = length };
	int r = ioctl(udmabuf, UDMABUF_CREATE, &cmd);

	return r < 0 ? -errno : r;
}

static void pin_file_rows(const char *name, int file, uint64_t length)
{
	int udmabuf = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int i, pinned;

	/* A machine that is measured by tools/bench may lack it. */
	if (udmabuf < 0)
		return;
	for (i = 0; i < nr_repeats; i++) {
		sample(TIMED(pinned = pinned_file(udmabuf, file, length)), unit, "%s: pin alone", name);
		sample(TIMED(close(pinned)), unit, "%s: unpin alone", name);
	}
	close(udmabuf);
}

void floor_rows(const struct round *r, const struct memory *m, uint64_t length)
{
	const struct iovec vec = { m->p, length };
	uint32_t hwpt;
	int i;

	if (m->file < 0)
		pin_rows(m->name, &vec);
	else
		pin_file_rows(m->name, m->file, length);
	must(map_memory(r, m, length, IOVA), "map");
	for (i = 0; i < nr_repeats; i++) {
		sample(TIMED(hwpt_alloc(r->iommu, r->dev_id, r->ioas, &hwpt)), unit, "%s: iommu_map() alone",
		       m->name);
		sample(TIMED(destroy(r->iommu, hwpt)), unit, "%s: iommu_unmap() alone", m->name);
	}
	must(unmap_memory(r, IOVA, length), "unmap");
}
