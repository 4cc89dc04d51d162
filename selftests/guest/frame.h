/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The frame of the test programs: it runs rows and tests and prints KTAP.
 *
 * A row is one call. A test is several calls that belong together. Each is one KTAP result, and
 * each runs on a fixture.
 */
#ifndef FRAME_H
#define FRAME_H

#include "child.h"
#include "fdinfo.h"
#include "fixture.h"
#include "result.h"

/* Rows start from a call that works and override a field of it. Not every test uses its fixture. */
#pragma GCC diagnostic ignored "-Woverride-init"
#pragma GCC diagnostic ignored "-Wunused-parameter"

/* The errno that a row returns. */
struct answer {
	int no_domain;		/* in a fixture without a domain */
	int domain;		/* in one with a domain */
};

#define SAME(e)		{ (e), (e) }

/* The names of the reasons that our module gives, see Documentation/reasons.rst. NULL for success. */
struct reasons {
	const char *no_domain, *domain;
};

/* In place of a reason: the call fails before it reaches the module. */
#define BY_VFIO		"refused by vfio"

union command {
	__u32 size;
	struct iommu_destroy destroy;
	struct iommu_ioas_alloc alloc;
	struct iommu_ioas_iova_ranges ranges;
	struct iommu_ioas_allow_iovas allow;
	struct iommu_ioas_map map;
	struct iommu_ioas_map_file file;
	struct iommu_ioas_copy copy;
	struct iommu_ioas_unmap unmap;
	struct iommu_option option;
	struct iommu_hwpt_alloc hwpt;
	struct iommu_hw_info info;
	struct iommu_hwpt_set_dirty_tracking track;
	struct iommu_hwpt_get_dirty_bitmap dirty;
	struct iommu_ioas_change_process process;
	struct iommu_ioas_noiommu_get_pa pa;
	struct vfio_device_bind_iommufd bind;
	struct vfio_device_attach_iommufd_pt attach;
	struct vfio_device_detach_iommufd_pt detach;
};

enum row_flags {
	ANSWERS = 1,		/* writes to its struct although it fails */
	ON_DEVICE = 2,		/* a VFIO ioctl, on the device's fd */
	COMPARE = 4,		/* its struct is compared; set for every row without ANSWERS */
};

/*
 * `want` and `why` are what the contract says. Where the C module does not keep it, `finding` names the line
 * of the table of differences, and `c` is what the C module returns.
 */
struct row {
	const char *name;
	unsigned long cmd;
	union command arg;
	struct answer want;
	struct reasons why;
	const char *finding;
	struct answer c;
	unsigned int flags;
};

enum needs {
	NO_DOMAIN = 1,		/* runs on a fixture without a domain */
	DOMAIN = 2,		/* runs on a fixture with a domain */
	ALONE = 4,		/* runs without a fixture in a process of its own; the device is closed */
};

struct test {
	const char *name;
	void (*run)(struct fixture *f);
	unsigned int needs;
};

/* A group of tests. rows(f) builds a table for a fixture and passes it to run_rows(). */
struct suite {
	const char *name;
	void (*rows)(struct fixture *f);
	unsigned int needs;	/* of the rows; 0 if there are none */
	const struct test *tests;
	unsigned int nr_tests;
};

/* The suites of the program, which defines both. */
extern const struct suite *const suites[];
extern const unsigned int nr_suites;

/* Runs rows on a fixture. While the plan is counted, it counts them. */
void run_rows(struct fixture *f, const struct row *rows, size_t nr);

/* Makes the call of a row with the argument at arg, checks the result and prints it. */
void run_call(struct fixture *f, const struct row *row, void *arg);

/* Returns whether the plan is being counted; if so, adds nr results to it. */
bool planning(size_t nr);

#endif
