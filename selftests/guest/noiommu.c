// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device without an IOMMU: software page tables, and the physical addresses of memory.
 *
 * Usage: noiommu VFIO_CDEV, for instance noiommu /dev/vfio/devices/noiommu-vfio0
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frame.h"


#define PA(what, e, reason, ...) { .name = what, .cmd = IOMMU_IOAS_NOIOMMU_GET_PA, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.pa = { .size = sizeof(struct iommu_ioas_noiommu_get_pa), .ioas_id = f->ioas, \
		    .iova = HELD_IOVA, .length = PAGE, ##__VA_ARGS__ } }
#define HWPT(what, e, reason, ...) { .name = what, .cmd = IOMMU_HWPT_ALLOC, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.hwpt = { .size = sizeof(struct iommu_hwpt_alloc), .dev_id = f->dev_id, \
		      .pt_id = f->other, ##__VA_ARGS__ } }
#define INFO(what, e, reason, ...) { .name = what, .cmd = IOMMU_GET_HW_INFO, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.info = { .size = sizeof(struct iommu_hw_info), .dev_id = f->dev_id, ##__VA_ARGS__ } }

static uint64_t data[8];

static void noiommu_rows(struct fixture *f)
{
	const struct row rows[] = {
		PA("where: the call on which the others are based", 0, NULL),
		PA("where: the page's last byte", 0, NULL, .iova = HELD_IOVA + PAGE - 1),
		PA("where: one byte", 0, NULL, .length = 1),
		PA("where: all of the mapping", 0, NULL, .length = TOP),
		PA("where: an address given is ignored", 0, NULL, .out_phys = TOP),
		PA("where: flag 0", EOPNOTSUPP, "command-flags", .flags = 1),
		PA("where: flag 31", EOPNOTSUPP, "command-flags", .flags = 1u << 31),
		PA("where: reserved field", EOPNOTSUPP, "command-reserved", .__reserved = 1),
		PA("where: no length", EINVAL, "command-range", .length = 0),
		PA("where: the last byte of the mapping", EOVERFLOW, "command-overflow", .iova = TOP),
		PA("where: the last but one", ENOENT, "phys-gap", .iova = TOP - 1),
		PA("where: id 0", ENOENT, "object-none", .ioas_id = 0),
		PA("where: id 0xffffffff", ENOENT, "object-none", .ioas_id = ~0u),
		PA("where: id of the device", ENOENT, "object-kind", .ioas_id = f->dev_id),
		PA("where: id of page tables", ENOENT, "object-kind", .ioas_id = f->hwpt),
		PA("where: nothing is mapped", ENOENT, "phys-gap", .iova = FREE_IOVA),
		PA("where: the byte before the page", ENOENT, "phys-gap", .iova = HELD_IOVA - 1),
		PA("where: the byte behind the page", ENOENT, "phys-gap", .iova = HELD_IOVA + PAGE),
		PA("where: address 0", ENOENT, "phys-gap", .iova = 0),
		PA("where: no device uses the IOAS", EOPNOTSUPP, "phys-no-device", .ioas_id = f->other),
		PA("where: not mapped before no device", ENOENT, "phys-gap", .ioas_id = f->other,
		   .iova = FREE_IOVA),
		PA("where: flag before length", EOPNOTSUPP, "command-flags", .flags = 1, .length = 0),
		PA("where: length before address", EINVAL, "command-range", .iova = TOP, .length = 0),
		PA("where: address before id", EOVERFLOW, "command-overflow", .iova = TOP, .ioas_id = 0),

		INFO("info: no data requested", EOPNOTSUPP, "hw-info-type"),
		INFO("info: any type", EOPNOTSUPP, "hw-info-type", .flags = 1, .in_data_type = ~0u),
		INFO("info: id 0", ENOENT, "object-none", .dev_id = 0),

		HWPT("tables: the call that the others vary", 0, NULL),
		HWPT("tables: on the IOAS that the device is attached to", 0, NULL, .pt_id = f->ioas),
		HWPT("tables: nest parent", EOPNOTSUPP, "hwpt-driver", .flags = IOMMU_HWPT_ALLOC_NEST_PARENT),
		HWPT("tables: dirty tracking", EOPNOTSUPP, "hwpt-dirty", .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING),
		HWPT("tables: for PASIDs", EOPNOTSUPP, "hwpt-driver", .flags = IOMMU_HWPT_ALLOC_PASID),
		HWPT("tables: with an unknown fault queue", ENOENT, "object-none",
		     .flags = IOMMU_HWPT_FAULT_ID_VALID),
		HWPT("tables: unknown flag", EOPNOTSUPP, "command-flags", .flags = 1u << 31),
		HWPT("tables: with data", EOPNOTSUPP, "hwpt-driver", .data_type = IOMMU_HWPT_DATA_VTD_S1,
		     .data_len = sizeof(data), .data_uptr = PTR(data)),
		HWPT("tables: a type without data", EINVAL, "hwpt-data", .data_type = IOMMU_HWPT_DATA_VTD_S1),
		HWPT("tables: on page tables", EOPNOTSUPP, "hwpt-nested-flags", .pt_id = f->hwpt),
		HWPT("tables: on page tables, with data", EOPNOTSUPP, "hwpt-no-nesting", .pt_id = f->hwpt,
		     .data_type = IOMMU_HWPT_DATA_VTD_S1, .data_len = sizeof(data),
		     .data_uptr = PTR(data)),

		{ .name = "dirty tracking: on", .cmd = IOMMU_HWPT_SET_DIRTY_TRACKING,
		  .want = SAME(EOPNOTSUPP), .why = SAME("hwpt-untracked"),
		  .arg.track = { .size = sizeof(struct iommu_hwpt_set_dirty_tracking), .flags = 1,
				 .hwpt_id = f->hwpt } },
		{ .name = "dirty tracking: read", .cmd = IOMMU_HWPT_GET_DIRTY_BITMAP,
		  .want = SAME(EOPNOTSUPP), .why = SAME("hwpt-untracked"),
		  .arg.dirty = { .size = sizeof(struct iommu_hwpt_get_dirty_bitmap),
				 .hwpt_id = f->hwpt, .iova = HELD_IOVA, .length = PAGE,
				 .page_size = PAGE, .data = PTR(data) } },
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

static int where(struct fixture *f, uint32_t ioas, uint64_t iova, uint64_t *length, uint64_t *phys)
{
	struct iommu_ioas_noiommu_get_pa cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.iova = iova,
		.length = *length,
	};
	int r = call(f->fd, IOMMU_IOAS_NOIOMMU_GET_PA, &cmd);

	*length = cmd.length;
	*phys = cmd.out_phys;
	return r;
}

/*
 * Asks for the address of every place of a mapping, and compares it with the process's page
 * tables.
 */
static void check_places(struct fixture *f, uint64_t iova, const char *p, uint64_t length)
{
	static const uint64_t offsets[] = { 0, 1, 0x7f8, PAGE - 1 };
	uint64_t at, run, got, phys, most;
	unsigned int i;

	for (at = 0; at < length; at += PAGE) {
		/* How far the memory is contiguous. */
		run = PAGE;
		CHECK(phys_of(p + at));
		while (at + run < length && phys_of(p + at + run) == phys_of(p + at) + run)
			run += PAGE;
		for (i = 0; i < ARRAY_SIZE(offsets); i++) {
			got = TOP;
			WANT(where(f, f->ioas, iova + at + offsets[i], &got, &phys), 0);
			WANT(phys, phys_of(p + at) + offsets[i]);
			WANT(got, run - offsets[i]);
			/* The length is never more than was asked for. */
			for (most = 1; most < length; most = most * 3 + 1) {
				got = most;
				WANT(where(f, f->ioas, iova + at + offsets[i], &got, &phys), 0);
				WANT(got, most < run - offsets[i] ? most : run - offsets[i]);
				WANT(phys, phys_of(p + at) + offsets[i]);
			}
		}
	}
}

static void small_pages(struct fixture *f)
{
	WANT(map(f->fd, f->ioas, mem.rw, 16 * PAGE, FREE_IOVA), 0);
	check_places(f, FREE_IOVA, mem.rw, 16 * PAGE);
	/* At another address, and a part of a mapping. */
	WANT(map(f->fd, f->ioas, mem.rw + 3 * PAGE, 5 * PAGE, 2 * FREE_IOVA + PAGE), 0);
	check_places(f, 2 * FREE_IOVA + PAGE, mem.rw + 3 * PAGE, 5 * PAGE);
}

static void large_pages(struct fixture *f)
{
	char *p = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	uint64_t got = TOP, phys;

	CHECK(p != MAP_FAILED);
	WANT(map(f->fd, f->ioas, p, 2 * HUGE, FREE_IOVA), 0);
	WANT(where(f, f->ioas, FREE_IOVA, &got, &phys), 0);
	WANT(phys, phys_of(p));
	WANT(got, phys_of(p + HUGE) == phys + HUGE ? 2 * HUGE : HUGE);
	got = TOP;
	WANT(where(f, f->ioas, FREE_IOVA + HUGE - PAGE + 5, &got, &phys), 0);
	WANT(phys, phys_of(p + HUGE - PAGE) + 5);
	/* A part of a mapping, in its middle. */
	WANT(map(f->fd, f->ioas, p + PAGE, 4 * PAGE, 2 * FREE_IOVA), 0);
	got = TOP;
	WANT(where(f, f->ioas, 2 * FREE_IOVA + PAGE, &got, &phys), 0);
	WANT(got, 3 * PAGE);
	WANT(phys, phys_of(p + 2 * PAGE));
	WANT(unmap_all(f->fd, f->ioas), PAGE + 2 * HUGE + 4 * PAGE);
	munmap(p, 2 * HUGE);
}

static void file_pages(struct fixture *f)
{
	int file = memory_file(16 * PAGE, 0);
	char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
	uint64_t iova = FREE_IOVA;

	CHECK(p != MAP_FAILED);
	memset(p, 1, 16 * PAGE);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, file, 2 * PAGE, 14 * PAGE, &iova), 0);
	check_places(f, FREE_IOVA, p + 2 * PAGE, 14 * PAGE);
	munmap(p, 16 * PAGE);
	close(file);
}

/* Adjacent mappings are looked up one by one. */
static void two_mappings(struct fixture *f)
{
	uint64_t got = TOP, phys;

	WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA), 0);
	WANT(map(f->fd, f->ioas, mem.rw + PAGE, PAGE, FREE_IOVA + PAGE), 0);
	WANT(where(f, f->ioas, FREE_IOVA, &got, &phys), 0);
	WANT(got, PAGE);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, PAGE), PAGE);
	got = TOP;
	WANT_WHY(f->fd, where(f, f->ioas, FREE_IOVA, &got, &phys), -ENOENT, "phys-gap");
	WANT(got, TOP);
	WANT(where(f, f->ioas, FREE_IOVA + PAGE, &got, &phys), 0);
	WANT(phys, phys_of(mem.rw + PAGE));
}

/* The device uses no IOVA: no address is reserved, and pages have the CPU's size. */
static void any_address(struct fixture *f)
{
	static const uint64_t places[] = {
		0, PAGE, 1ULL << 39, (1ULL << 39) - PAGE, 1ULL << 48, 1ULL << 57, 1ULL << 63,
		MSI_IOVA, TOP - 2 * PAGE + 1,
	};
	struct iommu_iova_range range;
	uint64_t alignment, got, phys;
	uint32_t nr = 1;
	unsigned int i;

	WANT(iova_ranges(f->fd, f->ioas, &range, &nr, &alignment), 0);
	WANT(nr, 1);
	WANT(range.start, 0);
	WANT(range.last, TOP);
	WANT(alignment, PAGE);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		WANT(map(f->fd, f->ioas, mem.rw + i * PAGE, PAGE, places[i]), 0);
		got = TOP;
		WANT(where(f, f->ioas, places[i], &got, &phys), 0);
		WANT(got, PAGE);
		WANT(phys, phys_of(mem.rw + i * PAGE));
	}
	for (i = 0; i < ARRAY_SIZE(places); i++)
		WANT(unmap(f->fd, f->ioas, places[i], PAGE), PAGE);
	WANT_WHY(f->fd, map(f->fd, f->ioas, mem.rw, 2048, FREE_IOVA), -EINVAL, "map-length");
}

/* Page tables made by HWPT_ALLOC, and a move from one to another. */
static void own_tables(struct fixture *f)
{
	uint64_t got = PAGE, phys;
	uint32_t hwpt, out;

	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &hwpt), 0);
	/* Addresses can be looked up in page tables without a device. */
	WANT(where(f, f->other, HELD_IOVA, &got, &phys), 0);
	WANT(phys, phys_of(mem.rw + PAGE));
	WANT(attach(f->dev, hwpt, &out), 0);
	WANT(out, hwpt);
	/* The automatic page tables were destroyed with their last attachment. */
	WANT_WHY(f->fd, where(f, f->ioas, HELD_IOVA, &got, &phys), -EOPNOTSUPP, "phys-no-device");
	WANT(where(f, f->other, HELD_IOVA, &got, &phys), 0);
	WANT_WHY(f->fd, destroy(f->fd, hwpt), -EBUSY, "object-in-use");
	WANT(attach(f->dev, f->ioas, &out), 0);
	CHECK(out != hwpt);
	WANT(where(f, f->ioas, HELD_IOVA, &got, &phys), 0);
	WANT(phys, phys_of(mem.rw));
	WANT(attach(f->dev, hwpt, &out), 0);
	WANT(detach(f->dev), 0);
	WANT(detach(f->dev), 0);
	WANT_WHY(f->fd, where(f, f->ioas, HELD_IOVA, &got, &phys), -EOPNOTSUPP, "phys-no-device");
	WANT(where(f, f->other, HELD_IOVA, &got, &phys), 0);
	WANT(destroy(f->fd, hwpt), 0);
	WANT_WHY(f->fd, where(f, f->other, HELD_IOVA, &got, &phys), -EOPNOTSUPP, "phys-no-device");
	WANT_WHY(f->fd, attach(f->dev, NO_ID, &out), -ENOENT, "object-none");
	WANT_WHY(f->fd, attach(f->dev, f->dev_id, &out), -EINVAL, "attach-kind");
}

static void ask_without_right(struct fixture *f)
{
	uint64_t got = PAGE, phys;

	WANT(where(f, f->ioas, HELD_IOVA, &got, &phys), -EPERM);
	/* EPERM takes precedence over all other errors. */
	got = 0;
	WANT(where(f, 0, TOP, &got, &phys), -EPERM);
}

static void without_right(struct fixture *f)
{
	struct refusal before, after;

	last_refusal(f->fd, &before);
	CHECK(in_child(f, NOBODY, ask_without_right));
	CHECK(last_refusal(f->fd, &after) || on_c_module());
	CHECK(on_c_module() || (after.count == before.count + 2 && !strcmp(after.reason, "phys-privilege")));
}

/* The device is closed while memory is mapped, and bound again. */
static void closed_while_mapped(struct fixture *f)
{
	uint64_t got = PAGE, phys;

	close(f->dev);
	munmap(mem.registers, PAGE);
	WANT_WHY(f->fd, where(f, f->ioas, HELD_IOVA, &got, &phys), -EOPNOTSUPP, "phys-no-device");
	f->dev = open(device_path, O_RDWR | O_CLOEXEC);
	WANT(bind_device(f->dev, f->fd, &f->dev_id), 0);
	WANT_WHY(f->fd, bind_device(f->dev, f->fd, &f->dev_id), -EINVAL, NULL);
	mem.registers = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	WANT_WHY(f->fd, where(f, f->ioas, HELD_IOVA, &got, &phys), -EOPNOTSUPP, "phys-no-device");
	WANT(attach(f->dev, f->ioas, NULL), 0);
	WANT(where(f, f->ioas, HELD_IOVA, &got, &phys), 0);
	WANT(phys, phys_of(mem.rw));
}

static const struct test tests[] = {
	{ "small pages", small_pages, DOMAIN },
	{ "large pages", large_pages, DOMAIN },
	{ "pages of a file", file_pages, DOMAIN },
	{ "two mappings side by side", two_mappings, DOMAIN },
	{ "any address", any_address, DOMAIN },
	{ "page tables of its own", own_tables, DOMAIN },
	{ "without CAP_SYS_RAWIO", without_right, DOMAIN },
	{ "closed while mapped", closed_while_mapped, DOMAIN },
};

static const struct suite noiommu_suite = {
	.name = "noiommu",
	.rows = noiommu_rows,
	.needs = DOMAIN,
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &noiommu_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
