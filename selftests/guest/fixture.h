/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fixture: an iommufd with two IOASes, the first of them attached to the device if the fixture
 * has a domain. One page stays mapped at HELD_IOVA in both, so that a call that disturbs a mapping
 * is detected.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "call.h"
#include "memory.h"

#define HELD_IOVA	0x10000000UL
#define FREE_IOVA	0x20000000UL
#define MSI_IOVA	0xfee00000UL
#define NO_ID		0x40000000u

#define MAX_RANGES	16
#define MAX_IDS		32	/* ids that check_unchanged() looks at */
#define LAST_ID		160	/* ids that a test may leave */

struct fixture {
	bool domain;
	int fd;
	int dev;		/* the VFIO device or -1 */
	uint32_t dev_id;
	uint32_t ioas;
	uint32_t other;
	uint32_t hwpt;		/* what attaching to ioas made, 0 without a domain */
	long idle_pins;		/* pages that are pinned with nothing mapped */
};

/* What user space can see of a fixture. */
struct state {
	struct {
		uint32_t nr;
		struct iommu_iova_range ranges[MAX_RANGES];
		uint64_t alignment;
		long long huge_pages;
	} ioas[2];
	bool is_ioas[MAX_IDS];
	long long rlimit_mode;
	long pins;
	long own_pins;
};

/* The VFIO device of fixtures with a domain. */
extern const char *device_path;

/* Opens and fills a fixture. Prints a note and returns false if that fails. */
bool open_fixture(struct fixture *f, bool domain);

/* Closes a fixture. Prints a note if pages stay pinned. */
void close_fixture(struct fixture *f);

/* Brings a fixture back to the state that open_fixture() left, except for its ids. */
bool restore(struct fixture *f);

/* Reads the state of a fixture. */
void look(struct fixture *f, struct state *s);

/* Fails the test if the state is not as before. */
void check_unchanged(struct fixture *f, const struct state *before);

#endif
