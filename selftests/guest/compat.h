/* SPDX-License-Identifier: GPL-2.0-only */
/* The tests of the VFIO container on /dev/iommu. */
#ifndef COMPAT_H
#define COMPAT_H

#include <stddef.h>
#include <stdint.h>

#define IOVA		0x10000000UL
#define NR_PAGES	16UL	/* the pages of mem.rw */

/* What a test needs. */
#define CONTEXT		1	/* a context */
#define DEVICE		2	/* the device, which has an IOMMU */
#define NO_IOMMU	4	/* the device, which has none */
#define CONTAINER	8	/* iommufd's own /dev/vfio/vfio */

/* A test runs on a context of its own and is one KTAP result. */
struct compat_test {
	const char *name;
	void (*run)(int fd);
	unsigned int needs;
};

extern const struct compat_test ioas_tests[], group_tests[];
extern const size_t nr_ioas_tests, nr_group_tests;

#endif
