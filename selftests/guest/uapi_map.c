// SPDX-License-Identifier: GPL-2.0-only
/* IOAS_MAP. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uapi.h"


#define ROW(what, no_domain, domain, why_no, why_domain, ...) { .name = what, \
	.cmd = IOMMU_IOAS_MAP, \
	.want = { no_domain, domain }, .why = { why_no, why_domain }, \
	.arg.map = { .size = sizeof(struct iommu_ioas_map), .flags = FIXED | RW, \
		     .ioas_id = f->ioas, .user_va = PTR(mem.rw), .length = PAGE, \
		     .iova = FREE_IOVA, ##__VA_ARGS__ } }
#define BOTH(what, e, why, ...) ROW(what, e, e, why, why, ##__VA_ARGS__)

/* Checks of the struct: the same with and without a domain. */
static void field_rows(struct fixture *f)
{
	const struct row rows[] = {
		BOTH("the call on which the others are based", 0, NULL),
		BOTH("unknown flag 3", EOPNOTSUPP, "command-flags", .flags = FIXED | RW | 8),
		BOTH("unknown flag 31", EOPNOTSUPP, "command-flags",
		     .flags = FIXED | RW | 1u << 31),
		BOTH("reserved field", EOPNOTSUPP, "command-reserved", .__reserved = 1),
		BOTH("neither readable nor writeable", EINVAL, "map-no-permission", .flags = FIXED),
		BOTH("no flags at all", EINVAL, "map-no-permission", .flags = 0),
		BOTH("id 0", ENOENT, "object-none", .ioas_id = 0),
		BOTH("id 0xffffffff", ENOENT, "object-none", .ioas_id = ~0u),
		ROW("id of a device", ENOENT, ENOENT, "object-none", "object-kind",
		    .ioas_id = f->dev_id),
		ROW("id of a page table", ENOENT, ENOENT, "object-none", "object-kind",
		    .ioas_id = f->hwpt),
		BOTH("length 0", EINVAL, "map-length", .length = 0),
		BOTH("length 0, no address named", EINVAL, "map-length", .length = 0, .flags = RW),
		BOTH("length ULONG_MAX", EOVERFLOW, "command-overflow", .length = TOP),
		BOTH("length ULONG_MAX - 1", EOVERFLOW, "map-overflow", .length = TOP - 1),
		BOTH("length ULONG_MAX - 1 from address 0", EINVAL, "map-length", .length = TOP - 1,
		     .user_va = 0),
		BOTH("iova ULONG_MAX", EOVERFLOW, "command-overflow", .iova = TOP),
		BOTH("iova ULONG_MAX, which is ignored", EOVERFLOW, "command-overflow", .iova = TOP,
		     .flags = RW),
		BOTH("iova + length wraps", EOVERFLOW, "map-overflow", .iova = -PAGE,
		     .length = 2 * PAGE),
		BOTH("iova + length wraps by one page to 0", EOVERFLOW, "map-overflow",
		     .iova = -2 * PAGE,
		     .length = 3 * PAGE),
		BOTH("user_va + length wraps", EOVERFLOW, "map-overflow", .user_va = -PAGE,
		     .length = 2 * PAGE),
		BOTH("user_va + length is 1 << 64", EOVERFLOW, "map-overflow", .user_va = -PAGE),
		BOTH("user_va ULONG_MAX", EOVERFLOW, "map-overflow", .user_va = TOP, .length = 1),
		BOTH("half the address space, no address named", EOVERFLOW, "map-overflow",
		     .length = 1ULL << 63,
		     .user_va = 0, .flags = RW),

		/* Which check comes first. */
		BOTH("flag before overflow", EOPNOTSUPP, "command-flags", .flags = 8,
		     .length = TOP),
		BOTH("overflow before protection", EOVERFLOW, "command-overflow", .flags = 0,
		     .length = TOP),
		BOTH("overflow before id", EOVERFLOW, "command-overflow", .ioas_id = 0,
		     .iova = TOP),
		BOTH("protection before id", EINVAL, "map-no-permission", .ioas_id = 0, .flags = 0),
		BOTH("id before length", ENOENT, "object-none", .ioas_id = 0, .length = 0),
		BOTH("wrapping user_va before what is mapped", EOVERFLOW, "map-overflow",
		     .user_va = TOP,
		     .length = 2, .iova = HELD_IOVA),

		/* Conflicts with what is mapped. */
		BOTH("over a mapping", EEXIST, "map-exists", .iova = HELD_IOVA),
		BOTH("ends in a mapping", EEXIST, "map-exists", .iova = HELD_IOVA - PAGE,
		     .length = 2 * PAGE),
		BOTH("begins in a mapping", EEXIST, "map-exists", .iova = HELD_IOVA,
		     .length = 2 * PAGE),
		BOTH("around a mapping", EEXIST, "map-exists", .iova = HELD_IOVA - PAGE,
		     .length = 3 * PAGE),
		BOTH("right before a mapping", 0, NULL, .iova = HELD_IOVA - PAGE),
		BOTH("right behind a mapping", 0, NULL, .iova = HELD_IOVA + PAGE),
		BOTH("over a mapping, with memory that does not exist", EEXIST, "map-exists",
		     .iova = HELD_IOVA,
		     .user_va = PTR(mem.gone)),

		BOTH("readable", 0, NULL, .flags = FIXED | READ),
		BOTH("writeable", 0, NULL, .flags = FIXED | WRITE),
		BOTH("no address named", 0, NULL, .flags = RW),
		BOTH("no address named, 16 pages", 0, NULL, .flags = RW, .length = 16 * PAGE),
		BOTH("iova 0", 0, NULL, .iova = 0),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

/* Checks of a domain: page size, reserved ranges, and the memory. */
static void device_rows(struct fixture *f)
{
	const struct row rows[] = {
		ROW("iova not a whole page", 0, EINVAL, NULL, "map-unaligned",
		    .iova = FREE_IOVA + 1),
		ROW("length not a whole page", 0, EINVAL, NULL, "map-length", .length = PAGE - 1),
		ROW("user_va not a whole page", 0, EINVAL, NULL, "map-memory-unaligned",
		    .user_va = PTR(mem.rw) + 1),
		ROW("all three alike off", 0, EINVAL, NULL, "map-length",
		    .user_va = PTR(mem.rw) + 16,
		    .length = PAGE - 16, .iova = FREE_IOVA + 16),
		ROW("one byte", 0, EINVAL, NULL, "map-length", .length = 1),
		ROW("user_va not a whole page, no address named", 0, EINVAL, NULL,
		    "map-memory-unaligned",
		    .user_va = PTR(mem.rw) + 1, .flags = RW),
		ROW("length not a whole page, no address named", 0, EINVAL, NULL, "map-length",
		    .length = PAGE + 1,
		    .flags = RW),
		ROW("misaligned over a mapping", EEXIST, EINVAL, "map-exists", "map-unaligned",
		    .iova = HELD_IOVA + 1),

		ROW("the MSI window", 0, EINVAL, NULL, "map-reserved", .iova = MSI_IOVA),
		ROW("the last page of the MSI window", 0, EINVAL, NULL, "map-reserved",
		    .iova = MSI_IOVA + 0xff000),
		ROW("up to the MSI window", 0, 0, NULL, NULL, .iova = MSI_IOVA - PAGE),
		ROW("one page into the MSI window", 0, EINVAL, NULL, "map-reserved",
		    .iova = MSI_IOVA - PAGE,
		    .length = 2 * PAGE),
		ROW("behind the MSI window", 0, 0, NULL, NULL, .iova = MSI_IOVA + 0x100000),
		ROW("a mapping and the MSI window", EEXIST, EINVAL, "map-exists", "map-reserved",
		    .iova = HELD_IOVA,
		    .length = MSI_IOVA),
		ROW("the last page of the address space", 0, EINVAL, NULL, "map-reserved",
		    .iova = -PAGE),
		ROW("the last bytes of the address space", 0, EINVAL, NULL, "map-length",
		    .iova = TOP - 1,
		    .length = 2),
		ROW("the middle of the address space", 0, EINVAL, NULL, "map-reserved",
		    .iova = 1ULL << 63),
		ROW("all of user space, no address named", 0, EFAULT, NULL, "map-pin",
		    .user_va = PAGE,
		    .length = (1ULL << 47) - 2 * PAGE, .flags = RW),

		/* Without a domain the memory is not checked yet. */
		ROW("memory that does not exist", 0, EFAULT, NULL, "map-pin",
		    .user_va = PTR(mem.gone)),
		ROW("memory at NULL", 0, EFAULT, NULL, "map-pin", .user_va = 0),
		ROW("memory of the kernel", 0, EFAULT, NULL, "map-pin",
		    .user_va = 0xffff888000000000),
		ROW("memory between user and kernel space", 0, EFAULT, NULL, "map-pin",
		    .user_va = 1ULL << 60),
		ROW("memory of PROT_NONE", 0, EFAULT, NULL, "map-pin", .user_va = PTR(mem.none),
		    .length = 2 * PAGE),
		ROW("PROT_NONE readable", 0, EFAULT, NULL, "map-pin", .user_va = PTR(mem.none),
		    .flags = FIXED | READ),
		ROW("read-only memory", 0, EFAULT, NULL, "map-pin", .user_va = PTR(mem.ro),
		    .length = 2 * PAGE),
		ROW("read-only memory writeable only", 0, EFAULT, NULL, "map-pin",
		    .user_va = PTR(mem.ro),
		    .flags = FIXED | WRITE),
		ROW("read-only memory readable", 0, 0, NULL, NULL, .user_va = PTR(mem.ro),
		    .length = 2 * PAGE,
		    .flags = FIXED | READ),
		ROW("registers of the device", 0, EFAULT, NULL, "map-pin",
		    .user_va = PTR(mem.registers)),
		ROW("a hole in the middle", 0, EFAULT, NULL, "map-pin", .user_va = PTR(mem.hole),
		    .length = 16 * PAGE),
		ROW("a hole at the end", 0, EFAULT, NULL, "map-pin", .user_va = PTR(mem.hole),
		    .length = 6 * PAGE),
		ROW("a hole at the start", 0, EFAULT, NULL, "map-pin",
		    .user_va = PTR(mem.hole) + 5 * PAGE,
		    .length = 11 * PAGE),
		ROW("a hole, no address named", 0, EFAULT, NULL, "map-pin",
		    .user_va = PTR(mem.hole),
		    .length = 16 * PAGE, .flags = RW),
		ROW("up to the hole", 0, 0, NULL, NULL, .user_va = PTR(mem.hole),
		    .length = 5 * PAGE),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

/* Lengths up to 64 bits, which only an IOAS without a domain accepts. */
static void huge_rows(struct fixture *f)
{
	const struct row rows[] = {
		ROW("2^64 - 4097 bytes at 0", EEXIST, EINVAL, "map-exists", "map-length",
		    .user_va = 0, .iova = 0,
		    .length = TOP - PAGE),
		ROW("2^64 - 4096 bytes", EINVAL, EINVAL, "map-length", "map-length", .user_va = 0,
		    .iova = 0,
		    .length = TOP - PAGE + 1),
		ROW("from a mapping's end to the top", 0, EINVAL, NULL, "map-reserved",
		    .user_va = 0,
		    .iova = HELD_IOVA + PAGE, .length = -(HELD_IOVA + PAGE)),
		ROW("to the top and one more", EOVERFLOW, EINVAL, "map-overflow", "map-length",
		    .user_va = 0,
		    .iova = HELD_IOVA + PAGE, .length = -(HELD_IOVA + PAGE) + 1),
		ROW("half the space less one, no address named", 0, EINVAL, NULL, "map-length",
		    .user_va = 0,
		    .length = TOP / 2 - 1, .flags = RW),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

static void map_rows(struct fixture *f)
{
	field_rows(f);
	device_rows(f);
	huge_rows(f);
}

/* A refused call leaves neither pinned pages nor a used range of addresses. */
static void hole(struct fixture *f)
{
	long idle = pinned(), own = own_pinned();
	uint64_t iova;
	int i;

	for (i = 0; i < 3; i++) {
		WANT(map(f->fd, f->ioas, mem.hole, 16 * PAGE, FREE_IOVA), -EFAULT);
		WANT(pinned(), idle);
		WANT(own_pinned(), own);
		WANT(unmap(f->fd, f->ioas, FREE_IOVA, 16 * PAGE), -ENOENT);
	}
	WANT(map(f->fd, f->ioas, mem.rw, 16 * PAGE, FREE_IOVA), 0);
	WANT(pinned(), idle + 16);
	WANT(own_pinned(), own + 16);
	WANT(map(f->fd, f->ioas, mem.hole, 16 * PAGE, FREE_IOVA + 16 * PAGE), -EFAULT);
	WANT(pinned(), idle + 16);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, HUGE), 16 * PAGE);
	WANT(pinned(), idle);
	/* Nor does it use up an address that the kernel chose. */
	iova = 0;
	WANT(map_as(f->fd, f->ioas, RW, mem.hole, 16 * PAGE, &iova), -EFAULT);
	WANT(iova, 0);
}

/* An error at the end of a large mapping undoes many batches. */
static void late_hole(struct fixture *f)
{
	size_t size = 40UL << 20;
	long idle = pinned();
	char *area;

	area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(area != MAP_FAILED);
	CHECK(!mprotect(area + size - PAGE, PAGE, PROT_NONE));
	WANT(map(f->fd, f->ioas, area, size, FREE_IOVA), -EFAULT);
	WANT(pinned(), idle);
	CHECK(!mprotect(area + size - PAGE, PAGE, PROT_READ | PROT_WRITE));
	WANT(map(f->fd, f->ioas, area, size, FREE_IOVA), 0);
	WANT(pinned(), idle + (long)(size / PAGE));
	/* Pinned pages stay when user space unmaps them. */
	CHECK(!munmap(area, size));
	WANT(pinned(), idle + (long)(size / PAGE));
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, size), size);
	WANT(pinned(), idle);
}

static void pins_counted(struct fixture *f)
{
	long idle = pinned(), own = own_pinned();
	int lazy = f->domain ? 0 : 1;

	WANT(map(f->fd, f->ioas, mem.rw, 4 * PAGE, FREE_IOVA), 0);
	WANT(pinned(), lazy ? idle : idle + 4);
	WANT(own_pinned(), lazy ? own : own + 4);
	/* A second MAP of the same memory pins its pages a second time. */
	WANT(map(f->fd, f->ioas, mem.rw, 4 * PAGE, FREE_IOVA + HUGE), 0);
	WANT(pinned(), lazy ? idle : idle + 8);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 4 * PAGE), 4 * PAGE);
	WANT(pinned(), lazy ? idle : idle + 4);
	WANT(unmap_all(f->fd, f->ioas), 5 * PAGE);
	WANT(unmap_all(f->fd, f->other), PAGE);
	WANT(pinned(), f->idle_pins);
	WANT(own_pinned(), 0);
}

/* An address that the kernel chooses is aligned as the memory is, free, allowed and not 0. */
static void chosen_iova(struct fixture *f)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	uint64_t iova[64], last;
	uint32_t nr = MAX_RANGES, i, j;

	WANT(iova_ranges(f->fd, f->ioas, ranges, &nr, NULL), 0);
	for (i = 0; i < ARRAY_SIZE(iova); i++) {
		iova[i] = 12345;
		WANT(map_as(f->fd, f->ioas, RW, mem.rw + i % 8 * PAGE, (1 + i % 4) * PAGE,
			    &iova[i]), 0);
		last = iova[i] + (1 + i % 4) * PAGE - 1;
		CHECK(iova[i] && iova[i] % PAGE == 0);
		for (j = 0; j < nr; j++)
			if (iova[i] >= ranges[j].start && last <= ranges[j].last)
				break;
		CHECK(j < nr);
	}
	for (i = 0; i < ARRAY_SIZE(iova); i++)
		WANT(unmap(f->fd, f->ioas, iova[i], (1 + i % 4) * PAGE), (1 + i % 4) * PAGE);
}

/* Rounding up near the top must not wrap to the bottom (CVE-2025-38688). */
static void chosen_near_top(struct fixture *f)
{
	struct iommu_iova_range top = { -2 * PAGE, TOP };
	uint64_t iova = 0;

	WANT(allow(f->fd, f->other, &top, 1), 0);
	WANT(map_as(f->fd, f->other, READ, (void *)HUGE, HUGE, &iova), -ENOSPC);
	WANT(map_as(f->fd, f->other, READ, (void *)HUGE, 4 * PAGE, &iova), -ENOSPC);
	WANT(map_as(f->fd, f->other, READ, (void *)HUGE, PAGE, &iova), 0);
	WANT(iova, -2 * PAGE);
	/* The last page of the address space is never chosen; FIXED_IOVA can map it. */
	WANT(map_as(f->fd, f->other, READ, (void *)HUGE, PAGE, &iova), -ENOSPC);
	WANT(map(f->fd, f->other, mem.rw, PAGE, -PAGE), 0);
	WANT(unmap(f->fd, f->other, -2 * PAGE, 2 * PAGE), 2 * PAGE);
}

/* If the struct cannot be written back, nothing may be mapped. */
static void unanswered(struct fixture *f)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = FIXED | RW,
		.ioas_id = f->ioas,
		.user_va = PTR(mem.rw),
		.length = PAGE,
		.iova = FREE_IOVA,
	};

	WANT(call(f->fd, IOMMU_IOAS_MAP, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT_FINDING("effect before answer", unmap(f->fd, f->ioas, FREE_IOVA, PAGE), -ENOENT, PAGE);
	cmd.flags = RW;
	WANT(call(f->fd, IOMMU_IOAS_MAP, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT_FINDING("effect before answer", unmap_all(f->fd, f->ioas), PAGE, 2 * PAGE);
}

/* The page count wraps when the length is rounded up. The C module reaches a WARN. */
static void page_count_wraps(struct fixture *f)
{
	uint64_t iova = 0;

	if (on_c_module()) {
		skip("the C module reaches a WARN in iopt_insert_area()");
		return;
	}
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(map_as(f->fd, f->ioas, FIXED | READ, (void *)(PAGE - 1), TOP - PAGE, &iova),
	     f->domain ? -EINVAL : -EOVERFLOW);
	WANT(map_as(f->fd, f->ioas, FIXED | READ, (void *)2, TOP - PAGE, &iova),
	     f->domain ? -EINVAL : -EOVERFLOW);
}

static const struct test tests[] = {
	{ "a hole in the memory", hole, DOMAIN },
	{ "a hole at the end of 40 MiB", late_hole, DOMAIN },
	{ "pins are counted", pins_counted, NO_DOMAIN | DOMAIN },
	{ "a chosen iova is free and aligned", chosen_iova, NO_DOMAIN | DOMAIN },
	{ "a chosen iova does not wrap at the top", chosen_near_top, NO_DOMAIN },
	{ "the struct cannot be written back", unanswered, NO_DOMAIN | DOMAIN },
	{ "the page count wraps", page_count_wraps, NO_DOMAIN | DOMAIN },
};

const struct suite map_suite = {
	"map", map_rows, NO_DOMAIN | DOMAIN, tests, ARRAY_SIZE(tests),
};
