// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOAS_COPY. In a fixture with a domain, the first IOAS is attached to the device and the second
 * is not.
 */
#include <string.h>
#include <sys/mman.h>

#include "uapi.h"


#define ROW(what, no_domain, domain, why_no, why_domain, ...) { .name = what, \
	.cmd = IOMMU_IOAS_COPY, \
	.want = { no_domain, domain }, .why = { why_no, why_domain }, .arg.copy = ARG(__VA_ARGS__) }
#define BOTH(what, e, why, ...) ROW(what, e, e, why, why, ##__VA_ARGS__)
#define ARG(...) { .size = sizeof(struct iommu_ioas_copy), .flags = FIXED | RW, \
	.dst_ioas_id = f->ioas, .src_ioas_id = f->other, .length = PAGE, \
	.dst_iova = FREE_IOVA, .src_iova = HELD_IOVA, ##__VA_ARGS__ }

static void copy_rows(struct fixture *f)
{
	const struct row rows[] = {
		BOTH("the call on which the others are based", 0, NULL),
		BOTH("the other way", 0, NULL, .dst_ioas_id = f->other, .src_ioas_id = f->ioas),
		BOTH("within one IOAS", 0, NULL, .src_ioas_id = f->ioas),
		BOTH("no address named", 0, NULL, .flags = RW),
		BOTH("readable", 0, NULL, .flags = FIXED | READ),
		BOTH("writeable", 0, NULL, .flags = FIXED | WRITE),
		BOTH("unknown flag 3", EOPNOTSUPP, "command-flags", .flags = FIXED | RW | 8),
		BOTH("unknown flag 31", EOPNOTSUPP, "command-flags",
		     .flags = FIXED | RW | 1u << 31),
		BOTH("neither readable nor writeable", EINVAL, "map-no-permission", .flags = FIXED),
		BOTH("source id 0", ENOENT, "object-none", .src_ioas_id = 0),
		BOTH("source id 0xffffffff", ENOENT, "object-none", .src_ioas_id = ~0u),
		ROW("source id of a device", ENOENT, ENOENT, "object-none", "object-kind",
		    .src_ioas_id = f->dev_id),
		ROW("source id of a page table", ENOENT, ENOENT, "object-none", "object-kind",
		    .src_ioas_id = f->hwpt),
		BOTH("destination id 0", ENOENT, "object-none", .dst_ioas_id = 0),
		BOTH("destination id 0xffffffff", ENOENT, "object-none", .dst_ioas_id = ~0u),
		ROW("destination id of a device", ENOENT, ENOENT, "object-none", "object-kind",
		    .dst_ioas_id = f->dev_id),
		ROW("destination id of a page table", ENOENT, ENOENT, "object-none", "object-kind",
		    .dst_ioas_id = f->hwpt),
		BOTH("length 0", EINVAL, "command-range", .length = 0),
		BOTH("length ULONG_MAX", EOVERFLOW, "command-overflow", .length = TOP),
		BOTH("source ULONG_MAX", EOVERFLOW, "command-overflow", .src_iova = TOP),
		BOTH("destination ULONG_MAX", EOVERFLOW, "command-overflow", .dst_iova = TOP),
		BOTH("destination ULONG_MAX, which is ignored", EOVERFLOW, "command-overflow",
		     .dst_iova = TOP,
		     .flags = RW),
		BOTH("source + length wraps", EOVERFLOW, "command-range", .src_iova = -PAGE,
		     .length = 2 * PAGE),
		ROW("destination + length wraps", EOVERFLOW, EINVAL, "map-overflow",
		    "map-unaligned", .dst_iova = -PAGE + 1),
		BOTH("nothing at the source", ENOENT, "map-gap", .src_iova = FREE_IOVA),
		BOTH("nothing at the source's end", ENOENT, "map-gap", .length = 2 * PAGE),
		BOTH("nothing at the source's start", ENOENT, "map-gap",
		     .src_iova = HELD_IOVA - PAGE,
		     .length = 2 * PAGE),
		BOTH("nothing around the source", ENOENT, "map-gap", .src_iova = HELD_IOVA - PAGE,
		     .length = 3 * PAGE),
		BOTH("one byte more than the source", ENOENT, "map-gap", .length = PAGE + 1),
		BOTH("nearly everything", ENOENT, "map-gap", .length = TOP - HELD_IOVA - 1),
		BOTH("over a mapping", EEXIST, "map-exists", .dst_iova = HELD_IOVA),
		BOTH("over itself", EEXIST, "map-exists", .src_ioas_id = f->ioas,
		     .dst_iova = HELD_IOVA),
		ROW("half over itself", EEXIST, EINVAL, "map-exists", "map-unaligned",
		    .src_ioas_id = f->ioas,
		    .dst_iova = HELD_IOVA + PAGE / 2),

		/* Which check comes first. */
		BOTH("flag before overflow", EOPNOTSUPP, "command-flags", .flags = 8,
		     .length = TOP),
		BOTH("overflow before protection", EOVERFLOW, "command-overflow", .flags = 0,
		     .length = TOP),
		BOTH("protection before id", EINVAL, "map-no-permission", .flags = 0,
		     .src_ioas_id = 0),
		BOTH("source id before length", ENOENT, "object-none", .src_ioas_id = 0,
		     .length = 0),
		BOTH("length before destination id", EINVAL, "command-range", .dst_ioas_id = 0,
		     .length = 0),
		BOTH("destination id before what is mapped", ENOENT, "object-none",
		     .dst_ioas_id = 0,
		     .dst_iova = HELD_IOVA),

		/* A part of a mapping can be copied, in units of the destination's alignment. */
		ROW("the first half", 0, EINVAL, NULL, "map-length", .length = PAGE / 2),
		ROW("the second half", 0, EINVAL, NULL, "map-length",
		    .src_iova = HELD_IOVA + PAGE / 2,
		    .length = PAGE / 2),
		ROW("one byte", 0, EINVAL, NULL, "map-length", .src_iova = HELD_IOVA + 5,
		    .length = 1),
		ROW("destination not a whole page", 0, EINVAL, NULL, "map-unaligned",
		    .dst_iova = FREE_IOVA + 1),
		ROW("half, no address named", 0, EINVAL, NULL, "map-length", .length = PAGE / 2,
		    .flags = RW),
		ROW("to the MSI window", 0, EINVAL, NULL, "map-reserved", .dst_iova = MSI_IOVA),
		ROW("to the last page", 0, EINVAL, NULL, "map-reserved", .dst_iova = -PAGE),
		ROW("to iova 0", 0, 0, NULL, NULL, .dst_iova = 0),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

/* A page is pinned once, however many mappings use it, and unpinned with the last of them. */
static void pinned_once(struct fixture *f)
{
	long idle = pinned(), own = own_pinned();
	uint64_t iova = FREE_IOVA;

	WANT(map(f->fd, f->other, mem.rw, 8 * PAGE, FREE_IOVA), 0);
	WANT(pinned(), idle);
	WANT(copy(f->fd, f->other, FREE_IOVA, 8 * PAGE, FIXED | RW, f->ioas, &iova), 0);
	WANT(pinned(), idle + 8);
	WANT(own_pinned(), own + 8);
	iova = 2 * FREE_IOVA;
	WANT(copy(f->fd, f->ioas, FREE_IOVA, 8 * PAGE, FIXED | READ, f->ioas, &iova), 0);
	iova = 3 * FREE_IOVA;
	WANT(copy(f->fd, f->other, FREE_IOVA + 2 * PAGE, 4 * PAGE, FIXED | RW, f->ioas, &iova), 0);
	WANT(pinned(), idle + 8);
	WANT(own_pinned(), own + 8);
	WANT(unmap(f->fd, f->other, FREE_IOVA, 8 * PAGE), 8 * PAGE);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 8 * PAGE), 8 * PAGE);
	WANT(pinned(), idle + 8);
	WANT(unmap(f->fd, f->ioas, 2 * FREE_IOVA, 8 * PAGE), 8 * PAGE);
	WANT(pinned(), idle + 4);
	WANT(own_pinned(), own + 4);
	WANT(unmap(f->fd, f->ioas, 3 * FREE_IOVA, 4 * PAGE), 4 * PAGE);
	WANT(pinned(), idle);
	WANT(own_pinned(), own);
}

static void across_mappings(struct fixture *f)
{
	uint64_t iova = 2 * FREE_IOVA;
	long idle = pinned();

	WANT(map(f->fd, f->other, mem.rw, 2 * PAGE, FREE_IOVA), 0);
	WANT(map(f->fd, f->other, mem.rw + 8 * PAGE, 2 * PAGE, FREE_IOVA + 2 * PAGE), 0);
	WANT(map(f->fd, f->other, mem.rw, PAGE, FREE_IOVA + 5 * PAGE), 0);
	/* Adjacent mappings are copied by one call and become as many mappings. */
	WANT(copy(f->fd, f->other, FREE_IOVA + PAGE, 2 * PAGE, FIXED | RW, f->ioas, &iova), 0);
	WANT(pinned(), f->domain ? idle + 2 : idle);
	WANT(unmap(f->fd, f->ioas, iova, PAGE), PAGE);
	WANT(unmap(f->fd, f->ioas, iova + PAGE, PAGE), PAGE);
	/* A gap between mappings is refused, and the mapping before the gap is not copied. */
	WANT(copy(f->fd, f->other, FREE_IOVA, 6 * PAGE, FIXED | RW, f->ioas, &iova), -ENOENT);
	WANT(unmap(f->fd, f->ioas, iova, HUGE), -ENOENT);
	iova = HELD_IOVA - PAGE;
	WANT(copy(f->fd, f->other, FREE_IOVA, 4 * PAGE, FIXED | RW, f->ioas, &iova), -EEXIST);
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(unmap_all(f->fd, f->other), 6 * PAGE);
	WANT(pinned(), f->idle_pins);
}

/* The first mapping of memory determines whether copies may be writeable. */
static void permissions(struct fixture *f)
{
	uint64_t iova = FREE_IOVA, to = 2 * FREE_IOVA;

	WANT(map_as(f->fd, f->other, FIXED | READ, mem.rw, PAGE, &iova), 0);
	WANT_WHY(f->fd, copy(f->fd, f->other, iova, PAGE, FIXED | RW, f->ioas, &to), -EPERM,
		 "map-read-only");
	WANT_WHY(f->fd, copy(f->fd, f->other, iova, PAGE, FIXED | WRITE, f->ioas, &to), -EPERM,
		 "map-read-only");
	WANT_WHY(f->fd, copy(f->fd, f->other, iova, PAGE, RW, f->ioas, &to), -EPERM,
		 "map-read-only");
	WANT(unmap(f->fd, f->ioas, to, PAGE), -ENOENT);
	/* The destination is checked before the permissions. */
	to = HELD_IOVA;
	WANT(copy(f->fd, f->other, iova, PAGE, FIXED | RW, f->ioas, &to), -EEXIST);
	to = 2 * FREE_IOVA;
	WANT(copy(f->fd, f->other, iova, PAGE, FIXED | READ, f->ioas, &to), 0);
	WANT(unmap(f->fd, f->ioas, to, PAGE), PAGE);

	/* A read-only copy leaves the memory writeable for later copies. */
	WANT(copy(f->fd, f->other, HELD_IOVA, PAGE, FIXED | READ, f->ioas, &to), 0);
	iova = 3 * FREE_IOVA;
	WANT(copy(f->fd, f->ioas, to, PAGE, FIXED | RW, f->ioas, &iova), 0);
	WANT(unmap_all(f->fd, f->ioas), 3 * PAGE);
}

/* The second of two mappings is not writeable: the call must not copy the first. */
static void permissions_half_way(struct fixture *f)
{
	uint64_t iova = FREE_IOVA + PAGE, to = 2 * FREE_IOVA;
	long idle = pinned();

	WANT(map(f->fd, f->other, mem.rw, PAGE, FREE_IOVA), 0);
	WANT(map_as(f->fd, f->other, FIXED | READ, mem.rw, PAGE, &iova), 0);
	WANT_WHY(f->fd, copy(f->fd, f->other, FREE_IOVA, 2 * PAGE, FIXED | RW, f->ioas, &to), -EPERM,
		 "map-read-only");
	WANT(pinned(), idle);
	WANT(unmap(f->fd, f->ioas, to, 2 * PAGE), -ENOENT);
	WANT(copy(f->fd, f->other, FREE_IOVA, 2 * PAGE, FIXED | READ, f->ioas, &to), 0);
	WANT(unmap(f->fd, f->ioas, to, 2 * PAGE), 2 * PAGE);
	WANT(pinned(), idle);
}

/* Memory that does not exist is detected when a domain maps it. */
static void bad_memory(struct fixture *f)
{
	uint64_t iova = 2 * FREE_IOVA;
	long idle = pinned();

	WANT(map(f->fd, f->other, mem.rw, PAGE, FREE_IOVA), 0);
	WANT(map(f->fd, f->other, mem.hole, 16 * PAGE, FREE_IOVA + PAGE), 0);
	WANT(copy(f->fd, f->other, FREE_IOVA, 17 * PAGE, FIXED | RW, f->ioas, &iova), -EFAULT);
	WANT(pinned(), idle);
	WANT(unmap(f->fd, f->ioas, iova, HUGE), -ENOENT);
	/* The mapping before the hole is valid. */
	WANT(copy(f->fd, f->other, FREE_IOVA, 6 * PAGE, FIXED | RW, f->ioas, &iova), 0);
	WANT(pinned(), idle + 6);
	WANT(unmap(f->fd, f->ioas, iova, HUGE), 6 * PAGE);
	WANT(pinned(), idle);
}

/* Misaligned mappings can be copied one by one, into an IOAS without a device only. */
static void misaligned(struct fixture *f)
{
	uint64_t iova = 2 * FREE_IOVA;

	WANT(map(f->fd, f->other, mem.rw + 100, PAGE, FREE_IOVA), 0);
	WANT(map(f->fd, f->other, mem.rw, 100, FREE_IOVA + PAGE), 0);
	WANT(copy(f->fd, f->other, FREE_IOVA, PAGE + 100, FIXED | RW, f->other, &iova), 0);
	if (f->domain) {
		WANT(copy(f->fd, f->other, FREE_IOVA, PAGE, FIXED | RW, f->ioas, &iova), -EINVAL);
		WANT(copy(f->fd, f->other, FREE_IOVA, PAGE, RW, f->ioas, &iova), -EINVAL);
	}
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(unmap_all(f->fd, f->other), 3 * PAGE + 200);
}

/* Each mapping that is copied must consist of whole pages of the destination's, not only all of them together. */
static void parts_of_pages(struct fixture *f)
{
	uint64_t iova = 2 * FREE_IOVA;

	if (f->domain && on_c_module()) {
		skip("finding BI: the C module has the IOMMU map a part of a page");
		return;
	}
	WANT(map(f->fd, f->other, mem.rw, PAGE + PAGE / 2, FREE_IOVA), 0);
	WANT(map(f->fd, f->other, mem.rw + 8 * PAGE, PAGE / 2, FREE_IOVA + PAGE + PAGE / 2), 0);
	if (f->domain)
		WANT_WHY(f->fd, copy(f->fd, f->other, FREE_IOVA, 2 * PAGE, FIXED | RW, f->ioas, &iova),
			 -EINVAL, "map-unaligned");
	else
		WANT(copy(f->fd, f->other, FREE_IOVA, 2 * PAGE, FIXED | RW, f->ioas, &iova), 0);
	WANT(unmap_all(f->fd, f->ioas), f->domain ? PAGE : 3 * PAGE);
	WANT(unmap_all(f->fd, f->other), 3 * PAGE);
	WANT(pinned(), f->idle_pins);
}

/* If the struct cannot be written back, nothing may be mapped. */
static void unanswered(struct fixture *f)
{
	struct iommu_ioas_copy cmd = ARG();
	long idle = pinned();

	WANT(call(f->fd, IOMMU_IOAS_COPY, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT_FINDING("effect before answer", unmap(f->fd, f->ioas, FREE_IOVA, PAGE), -ENOENT, PAGE);
	WANT(pinned(), idle);
}

/* The source mapping and its IOAS can be destroyed while the copy exists. */
static void source_gone(struct fixture *f)
{
	uint64_t iova = FREE_IOVA;

	WANT(copy(f->fd, f->other, HELD_IOVA, PAGE, FIXED | RW, f->ioas, &iova), 0);
	WANT(destroy(f->fd, f->other), 0);
	WANT(copy(f->fd, f->other, HELD_IOVA, PAGE, FIXED | RW, f->ioas, &iova), -ENOENT);
	WANT(pinned(), f->domain ? f->idle_pins + 2 : f->idle_pins);
	WANT(unmap_all(f->fd, f->ioas), 2 * PAGE);
	WANT(pinned(), f->idle_pins);
}

static const struct test tests[] = {
	{ "pages are pinned once", pinned_once, DOMAIN },
	{ "across several mappings", across_mappings, NO_DOMAIN | DOMAIN },
	{ "permissions", permissions, NO_DOMAIN | DOMAIN },
	{ "permissions of the second mapping", permissions_half_way, NO_DOMAIN | DOMAIN },
	{ "memory that does not exist", bad_memory, DOMAIN },
	{ "misaligned mappings", misaligned, NO_DOMAIN | DOMAIN },
	{ "parts of pages, finding BI", parts_of_pages, NO_DOMAIN | DOMAIN },
	{ "the struct cannot be written back", unanswered, NO_DOMAIN | DOMAIN },
	{ "the source is destroyed", source_gone, NO_DOMAIN | DOMAIN },
};

const struct suite copy_suite = {
	"copy", copy_rows, NO_DOMAIN | DOMAIN, tests, ARRAY_SIZE(tests),
};
