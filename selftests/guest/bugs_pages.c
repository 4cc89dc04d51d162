// SPDX-License-Identifier: GPL-2.0-only
/*
 * Areas and pages: cutting, partial failures, change of owner, and structs that cannot be written
 * back.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bugs.h"

#define NR	16UL
#define IOVA	FREE_IOVA

static long long cut_out(struct fixture *f, uint64_t iova, uint64_t nr)
{
	uint64_t size = nr * PAGE;
	int r = compat_unmap(f->fd, iova, &size, 0);

	return r ? r : (long long)(size / PAGE);
}

static long long copy_pages(struct fixture *f, uint32_t dst, uint64_t from, uint64_t nr,
			    uint64_t to)
{
	return copy(f->fd, f->ioas, from, nr * PAGE, FIXED | RW, dst, &to);
}

/*
 * An area that fills page tables is cut. Copies, other page tables and unpinning go on to read the
 * addresses of its pages from what is left of it.
 */
static void cut_while_filled(struct fixture *f)
{
	uint32_t hwpt = 0, out = 0;
	long idle = pinned();

	WANT(map(f->fd, f->ioas, mem.rw, NR * PAGE, IOVA), 0);
	WANT(pinned(), idle + NR);
	WANT(cut_out(f, IOVA + 5 * PAGE, 2), 2);
	WANT(pinned(), idle + NR - 2);
	/* Copies read the pages from the remaining areas. */
	WANT(copy_pages(f, f->ioas, IOVA + 7 * PAGE, 9, 2 * IOVA), 0);
	WANT(copy_pages(f, f->ioas, IOVA, 5, 3 * IOVA), 0);
	WANT(copy_pages(f, f->ioas, IOVA, NR, 4 * IOVA), -ENOENT);
	WANT(pinned(), idle + NR - 2);
	/* Second page tables do too, and then the first ones are left. */
	WANT(hwpt_alloc(f->fd, f->dev_id, f->ioas, &hwpt), 0);
	WANT(pinned(), idle + NR - 2);
	WANT(cut_out(f, IOVA + 9 * PAGE, 1), 1);
	WANT(attach(f->dev, hwpt, &out), 0);
	WANT(pinned(), idle + NR - 2);
	WANT(cut_out(f, IOVA, 5), 5);
	WANT(cut_out(f, IOVA + 7 * PAGE, 2), 2);
	WANT(pinned(), idle + NR - 2);
	/* Only the copies are left. One of them is cut. */
	WANT(cut_out(f, IOVA + 10 * PAGE, 6), 6);
	WANT(pinned(), idle + NR - 2);
	WANT(cut_out(f, 2 * IOVA + PAGE, 3), 3);
	WANT(pinned(), idle + NR - 5);
	WANT(copy_pages(f, f->ioas, 2 * IOVA + 4 * PAGE, 5, IOVA), 0);
	WANT(cut_out(f, 2 * IOVA + 4 * PAGE, 5), 5);
	WANT(pinned(), idle + NR - 5);
	/* The rest is unpinned with the page tables. */
	WANT(detach(f->dev), 0);
	WANT(destroy(f->fd, hwpt), 0);
	WANT(pinned(), f->idle_pins);
	WANT(attach(f->dev, f->ioas, &out), 0);
	WANT(pinned(), idle + NR - 5);
	WANT(cut_out(f, IOVA, 1), 1);
	WANT(pinned(), idle + NR - 6);
}

static void cut_without_huge_pages(struct fixture *f)
{
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(compat_set(f->fd, f->ioas), 0);
	WANT(set_option(f->fd, IOMMU_OPTION_HUGE_PAGES, f->ioas, 0), 0);
	cut_while_filled(f);
}

static void cut_in_type1_v1(struct fixture *f)
{
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(compat_set(f->fd, f->ioas), 0);
	WANT(call(f->fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU), 0);
	cut_while_filled(f);
}

/* Cut while two IOASes map the pages, of which one has no page tables. */
static void cut_copied(struct fixture *f)
{
	long idle = pinned();

	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(compat_set(f->fd, f->ioas), 0);
	WANT(set_option(f->fd, IOMMU_OPTION_HUGE_PAGES, f->ioas, 0), 0);
	WANT(map(f->fd, f->ioas, mem.rw, NR * PAGE, IOVA), 0);
	WANT(copy_pages(f, f->other, IOVA, NR, IOVA), 0);
	WANT(cut_out(f, IOVA, 8), 8);
	WANT(pinned(), idle - 1 + 8);
	/*
	 * The second IOAS pins all pages, and reads half of them from what is left of the first
	 * area.
	 */
	WANT(attach(f->dev, f->other, NULL), 0);
	WANT(pinned(), idle - 1 + NR + 1);
	WANT(cut_out(f, IOVA + 12 * PAGE, 4), 4);
	WANT(unmap(f->fd, f->other, IOVA, NR * PAGE), NR * PAGE);
	WANT(pinned(), idle - 1 + 1);
	WANT(attach(f->dev, f->ioas, NULL), 0);
	WANT(pinned(), idle - 1 + 4);
}

static int race_file;

static void map_and_unmap_file(struct fixture *f, unsigned int round)
{
	uint64_t iova = IOVA + (round % 4) * NR * PAGE;

	WANT(map_file(f->fd, f->ioas, FIXED | RW, race_file, 0, NR * PAGE, &iova), 0);
	WANT(unmap(f->fd, f->ioas, iova, NR * PAGE), NR * PAGE);
}

/* A mapping in progress cannot change its owner: EBUSY. */
static void take_over(struct fixture *f, unsigned int round)
{
	int r = change_process(f);

	if (r)
		WANT(r, -EBUSY);
}

/*
 * The memory of a file belongs to no process before it is charged. Areas are mapped and unmapped
 * meanwhile.
 */
static void change_process_races(struct fixture *f)
{
	long own;

	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(unmap_all(f->fd, f->other), PAGE);
	own = own_pinned();
	race_file = memory_file(NR * PAGE, 0);
	CHECK(race_file >= 0);
	race(f, &(struct worker){ map_and_unmap_file, 300 }, &(struct worker){ take_over, 300 });
	close(race_file);
	WANT(unmap_all(f->fd, f->ioas), 0);
	WANT(pinned(), f->idle_pins);
	WANT(own_pinned(), own);
}

/*
 * One area is unmapped, and a second one is covered in part: the call returns how much was
 * unmapped.
 */
static void unmap_fails_half_way(struct fixture *f)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd), .ioas_id = f->ioas, .iova = IOVA, .length = 3 * PAGE,
	};
	uint64_t size = 3 * PAGE, gone;

	WANT(map(f->fd, f->ioas, mem.rw, 2 * PAGE, IOVA), 0);
	WANT(map(f->fd, f->ioas, mem.rw, 2 * PAGE, IOVA + 2 * PAGE), 0);
	WANT(compat_set(f->fd, f->ioas), 0);
	WANT(compat_unmap(f->fd, IOVA, &size, 0), -ENOENT);
	gone = size;
	if (gone) {
		WANT(gone, 2 * PAGE);
		WANT(map(f->fd, f->ioas, mem.rw, 2 * PAGE, IOVA), 0);
	}
	/* The C module does not return it from the native ioctl: finding C. */
	WANT(call(f->fd, IOMMU_IOAS_UNMAP, &cmd), -ENOENT);
	gone = map(f->fd, f->ioas, mem.rw, 2 * PAGE, IOVA) ? 0 : 2 * PAGE;
	if (on_c_module())
		WANT(gone, 2 * PAGE);
	else if (gone)
		WANT(cmd.length, gone);
	/* That the number cannot be written does not change why the call fails. */
	cmd.length = 3 * PAGE;
	WANT(call(f->fd, IOMMU_IOAS_UNMAP, read_only(&cmd, sizeof(cmd))), -ENOENT);
	WANT(map(f->fd, f->ioas, mem.rw, 2 * PAGE, IOVA), gone ? 0 : -EEXIST);
	WANT(unmap_all(f->fd, f->ioas), 5 * PAGE);
	WANT(pinned(), f->idle_pins);
}

/* No byte of the struct is uninitialised, and none behind argsz is written. */
static void info_is_zeroed(struct fixture *f)
{
	const size_t min = offsetof(struct vfio_iommu_type1_info, cap_offset);
	union {
		struct vfio_iommu_type1_info info;
		unsigned char bytes[512];
	} u;
	uint32_t argsz, needed = 0, i, at;

	WANT(compat_set(f->fd, f->ioas), 0);
	for (argsz = 0; argsz < 256; argsz++) {
		memset(&u, 0xee, sizeof(u));
		u.info.argsz = argsz;
		WANT(call(f->fd, VFIO_IOMMU_GET_INFO, &u), argsz < min ? -EINVAL : 0);
		for (i = argsz < 4 ? 4 : argsz; i < sizeof(u); i++)
			WANT(u.bytes[i], 0xee);
		if (argsz < min)
			continue;
		if (argsz >= sizeof(u.info))
			WANT(u.info.pad, 0);
		CHECK(u.info.flags == (VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS));
		needed = u.info.argsz;
		if (argsz < needed && argsz >= sizeof(u.info))
			WANT(u.info.cap_offset, 0);
		if (argsz < needed)
			continue;
		for (at = u.info.cap_offset; at;) {
			struct vfio_info_cap_header *cap = (void *)(u.bytes + at);
			struct vfio_iommu_type1_info_cap_iova_range *range = (void *)cap;

			CHECK(at + sizeof(*cap) <= needed);
			WANT(cap->version, 1);
			if (cap->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)
				WANT(range->reserved, 0);
			CHECK(!cap->next || cap->next > at);
			at = cap->next;
		}
	}
	CHECK(needed && needed < 256);
}

/* A call that fails because its struct cannot be written back changes nothing. */
static void unanswered_map(struct fixture *f)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd), .flags = FIXED | RW, .ioas_id = f->ioas,
		.user_va = PTR(mem.rw), .length = PAGE, .iova = IOVA,
	};

	WANT(call(f->fd, IOMMU_IOAS_MAP, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT_FINDING("B", unmap(f->fd, f->ioas, IOVA, PAGE), -ENOENT, PAGE);
}

static void unanswered_file(struct fixture *f)
{
	int fd = memory_file(PAGE, 0);
	struct iommu_ioas_map_file cmd = {
		.size = sizeof(cmd), .flags = FIXED | RW, .ioas_id = f->ioas, .fd = fd,
		.length = PAGE, .iova = IOVA,
	};

	WANT(call(f->fd, IOMMU_IOAS_MAP_FILE, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT_FINDING("B", unmap(f->fd, f->ioas, IOVA, PAGE), -ENOENT, PAGE);
	close(fd);
}

static void unanswered_copy(struct fixture *f)
{
	struct iommu_ioas_copy cmd = {
		.size = sizeof(cmd), .flags = FIXED | RW, .dst_ioas_id = f->ioas,
		.src_ioas_id = f->other, .length = PAGE, .dst_iova = IOVA, .src_iova = HELD_IOVA,
	};

	WANT(call(f->fd, IOMMU_IOAS_COPY, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT_FINDING("B", unmap(f->fd, f->ioas, IOVA, PAGE), -ENOENT, PAGE);
}

static void unanswered_option(struct fixture *f)
{
	struct iommu_option cmd = {
		.size = sizeof(cmd), .option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET, .object_id = f->ioas,
	};

	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(call(f->fd, IOMMU_OPTION, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT_FINDING("B", get_option(f->fd, IOMMU_OPTION_HUGE_PAGES, f->ioas), 1, 0);
}

/* The page table code of the C module reaches a WARN. */
static void no_permission(struct fixture *f)
{
	WANT(compat_set(f->fd, f->ioas), 0);
	if (on_c_module() && f->domain) {
		skip("the C module would WARN");
		return;
	}
	if (f->domain)
		WANT(compat_map(f->fd, IOVA, mem.rw, PAGE, 0), -EINVAL);
	else if (!compat_map(f->fd, IOVA, mem.rw, PAGE, 0))
		WANT(unmap(f->fd, f->ioas, IOVA, PAGE), PAGE);
	WANT(compat_map(f->fd, IOVA, mem.rw, PAGE, VFIO_RW), 0);
}

/* A mapping without permission that was made without page tables, and then gets some. */
static void no_permission_attached(struct fixture *f)
{
	WANT(detach(f->dev), 0);
	WANT(compat_set(f->fd, f->ioas), 0);
	if (on_c_module()) {
		skip("the C module would WARN");
		return;
	}
	if (!compat_map(f->fd, IOVA, mem.rw, PAGE, 0))
		WANT(attach(f->dev, f->ioas, NULL), -EINVAL);
	WANT(pinned(), f->idle_pins);
}

static const struct test tests[] = {
	{ "an area is cut while filled, CVE-2023-52801", cut_without_huge_pages, DOMAIN },
	{ "an area is cut in a type1 v1 container, CVE-2023-52801", cut_in_type1_v1, DOMAIN },
	{ "an area whose pages are copied is cut, CVE-2023-52801", cut_copied, DOMAIN },
	{ "change process while files are mapped, CVE-2026-80817", change_process_races,
	  NO_DOMAIN | DOMAIN },
	{ "unmap fails half way, finding C", unmap_fails_half_way, NO_DOMAIN | DOMAIN },
	{ "type1 info is zeroed, CVE-2023-54034", info_is_zeroed, NO_DOMAIN | DOMAIN },
	{ "map: the struct cannot be written back, finding B", unanswered_map, NO_DOMAIN | DOMAIN },
	{ "map file: the struct cannot be written back, finding B", unanswered_file, NO_DOMAIN | DOMAIN },
	{ "copy: the struct cannot be written back, finding B", unanswered_copy, NO_DOMAIN | DOMAIN },
	{ "option: the struct cannot be written back, finding B", unanswered_option, NO_DOMAIN | DOMAIN },
	{ "map DMA without permission, finding 12", no_permission, NO_DOMAIN | DOMAIN },
	{ "attach with a mapping without permission, finding 12", no_permission_attached, DOMAIN },
};

const struct suite pages_suite = {
	.name = "pages",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
