// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel's own functions take for a map and an unmap. Pinning alone is measured by registering the
 * memory with io_uring, which calls pin_user_pages() too. iommu_map() alone is measured by making further page
 * tables for an IOAS whose memory is pinned already.
 */
#include <linux/io_uring.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"

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

void floor_rows(const char *name, int iommu, uint32_t dev_id, uint32_t ioas, void *p, uint64_t length)
{
	const struct iovec vec = { p, length };
	uint32_t hwpt;
	int i;

	pin_rows(name, &vec);
	must(map(iommu, ioas, p, length, IOVA), "map");
	for (i = 0; i < nr_repeats; i++) {
		sample(TIMED(hwpt_alloc(iommu, dev_id, ioas, &hwpt)), unit, "%s: iommu_map() alone", name);
		sample(TIMED(destroy(iommu, hwpt)), unit, "%s: iommu_unmap() alone", name);
	}
	must(unmap(iommu, ioas, IOVA, length), "unmap");
}
