// SPDX-License-Identifier: GPL-2.0-only
/* IOAS_ALLOC, DESTROY, IOAS_IOVA_RANGES and IOAS_ALLOW_IOVAS. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uapi.h"

#define ALLOC(what, e, reason, ...) { .name = what, .cmd = IOMMU_IOAS_ALLOC, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.alloc = { .size = sizeof(struct iommu_ioas_alloc), __VA_ARGS__ } }
#define DESTROY(what, no_domain, domain, why_no, why_domain, object) { .name = what, \
	.cmd = IOMMU_DESTROY, \
	.want = { no_domain, domain }, .why = { why_no, why_domain }, \
	.arg.destroy = { .size = sizeof(struct iommu_destroy), .id = object } }
#define RANGES(what, e, reason, ...) { .name = what, .cmd = IOMMU_IOAS_IOVA_RANGES, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.ranges = { .size = sizeof(struct iommu_ioas_iova_ranges), .ioas_id = f->ioas, \
			.num_iovas = MAX_RANGES, .allowed_iovas = PTR(room), ##__VA_ARGS__ } }
#define ALLOW(what, no_domain, domain, why_no, why_domain, ...) { .name = what, \
	.cmd = IOMMU_IOAS_ALLOW_IOVAS, \
	.want = { no_domain, domain }, .why = { why_no, why_domain }, \
	.arg.allow = { .size = sizeof(struct iommu_ioas_allow_iovas), .ioas_id = f->ioas, \
		       ##__VA_ARGS__ } }
#define LIST(list) .num_iovas = ARRAY_SIZE(list), .allowed_iovas = PTR(list)

static struct iommu_iova_range room[MAX_RANGES];

static const struct iommu_iova_range everything[] = { { 0, TOP } };
static const struct iommu_iova_range low[] = { { FREE_IOVA, FREE_IOVA + 16 * PAGE - 1 } };
static const struct iommu_iova_range neighbours[] = {
	{ FREE_IOVA, FREE_IOVA + PAGE - 1 }, { FREE_IOVA + PAGE, FREE_IOVA + 2 * PAGE - 1 },
};
static const struct iommu_iova_range single[] = { { FREE_IOVA, FREE_IOVA } };
static const struct iommu_iova_range backwards[] = { { FREE_IOVA, FREE_IOVA - 1 } };
static const struct iommu_iova_range wrapped[] = { { TOP, 0 } };
static const struct iommu_iova_range top[] = { { TOP, TOP } };
static const struct iommu_iova_range twice[] = { { FREE_IOVA, FREE_IOVA + 1 },
						 { FREE_IOVA, FREE_IOVA + 1 } };
static const struct iommu_iova_range overlapping[] = { { FREE_IOVA, FREE_IOVA + PAGE },
						       { FREE_IOVA + PAGE, TOP } };
static const struct iommu_iova_range second_bad[] = { { FREE_IOVA, FREE_IOVA + PAGE },
						      { PAGE, 0 } };
static const struct iommu_iova_range msi[] = { { MSI_IOVA - PAGE, MSI_IOVA } };
static const struct iommu_iova_range second_msi[] = { { FREE_IOVA, FREE_IOVA + PAGE },
						      { MSI_IOVA, MSI_IOVA + PAGE } };
static const struct iommu_iova_range high[] = { { 1ULL << 62, TOP } };

static void ioas_rows(struct fixture *f)
{
	/* The mapping ends after the list. */
	const void *cut = cut_off(low, sizeof(low));
	const struct row rows[] = {
		ALLOC("alloc: flag 0", EOPNOTSUPP, "command-flags", .flags = 1),
		ALLOC("alloc: flag 31", EOPNOTSUPP, "command-flags", .flags = 1u << 31),
		ALLOC("alloc: an id given is ignored", 0, NULL, .out_ioas_id = ~0u),

		DESTROY("destroy: id 0", ENOENT, ENOENT, "object-none", "object-none", 0),
		DESTROY("destroy: id 0xffffffff", ENOENT, ENOENT, "object-none", "object-none",
			~0u),
		DESTROY("destroy: id 0x80000000", ENOENT, ENOENT, "object-none", "object-none",
			1u << 31),
		DESTROY("destroy: id 0x7fffffff", ENOENT, ENOENT, "object-none", "object-none",
			~0u >> 1),
		DESTROY("destroy: an unused id", ENOENT, ENOENT, "object-none", "object-none",
			NO_ID),
		/* In a fixture without a domain these two are id 0. */
		DESTROY("destroy: a bound device", ENOENT, EBUSY, "object-none", "object-in-use",
			f->dev_id),
		DESTROY("destroy: a page table in use", ENOENT, EBUSY, "object-none",
			"object-in-use", f->hwpt),

		RANGES("ranges: reserved field", EOPNOTSUPP, "command-reserved", .__reserved = 1),
		RANGES("ranges: id 0", ENOENT, "object-none", .ioas_id = 0),
		RANGES("ranges: id 0xffffffff", ENOENT, "object-none", .ioas_id = ~0u),
		RANGES("ranges: id of a device", ENOENT, f->domain ? "object-kind" : "object-none",
		       .ioas_id = f->dev_id),
		RANGES("ranges: id of a page table", ENOENT, f->domain ? "object-kind" : "object-none",
		       .ioas_id = f->hwpt),
		RANGES("ranges: reserved field before a wrong id", EOPNOTSUPP, "command-reserved",
		       .__reserved = 1,
		       .ioas_id = 0),
		RANGES("ranges: array at NULL", EFAULT, "user-memory", .allowed_iovas = 0),
		RANGES("ranges: array unmapped", EFAULT, "user-memory",
		       .allowed_iovas = PTR(mem.gone)),
		RANGES("ranges: array at a kernel address", EFAULT, "user-memory",
		       .allowed_iovas = 0xffff888000000000),
		RANGES("ranges: array at the top of the address space", EFAULT, "user-memory",
		       .allowed_iovas = TOP),
		RANGES("ranges: array read-only", EFAULT, "user-memory",
		       .allowed_iovas = PTR(mem.ro)),
		RANGES("ranges: a count that is larger than the array", 0, NULL,
		       .num_iovas = ~0u),

		ALLOW("allow: reserved field", EOPNOTSUPP, EOPNOTSUPP, "command-reserved",
		      "command-reserved", .__reserved = 1),
		ALLOW("allow: id 0", ENOENT, ENOENT, "object-none", "object-none", .ioas_id = 0),
		ALLOW("allow: id 0xffffffff", ENOENT, ENOENT, "object-none", "object-none",
		      .ioas_id = ~0u),
		ALLOW("allow: id of a device", ENOENT, ENOENT, "object-none", "object-kind",
		      .ioas_id = f->dev_id),
		ALLOW("allow: id of a page table", ENOENT, ENOENT, "object-none", "object-kind",
		      .ioas_id = f->hwpt),
		ALLOW("allow: array at NULL", EFAULT, EFAULT, "user-memory", "user-memory",
		      .num_iovas = 1),
		ALLOW("allow: array unmapped", EFAULT, EFAULT, "user-memory", "user-memory",
		      .num_iovas = 1,
		      .allowed_iovas = PTR(mem.gone)),
		ALLOW("allow: array at a kernel address", EFAULT, EFAULT, "user-memory",
		      "user-memory", .num_iovas = 1,
		      .allowed_iovas = 0xffff888000000000),
		ALLOW("allow: none, array at NULL", 0, 0, NULL, NULL),
		ALLOW("allow: none, array at a kernel address", 0, 0, NULL, NULL,
		      .allowed_iovas = 0xffff888000000000),
		ALLOW("allow: one range", 0, 0, NULL, NULL, LIST(low)),
		ALLOW("allow: adjacent ranges", 0, 0, NULL, NULL, LIST(neighbours)),
		ALLOW("allow: a range of one address", EINVAL, EINVAL, "ioas-bad-range",
		      "ioas-bad-range", LIST(single)),
		ALLOW("allow: a range of the last address", EINVAL, EINVAL, "ioas-bad-range",
		      "ioas-bad-range", LIST(top)),
		ALLOW("allow: backwards", EINVAL, EINVAL, "ioas-bad-range", "ioas-bad-range",
		      LIST(backwards)),
		ALLOW("allow: from the last address to the first", EINVAL, EINVAL, "ioas-bad-range",
		      "ioas-bad-range", LIST(wrapped)),
		ALLOW("allow: the same range twice", EINVAL, EINVAL, "ioas-bad-range",
		      "ioas-bad-range", LIST(twice)),
		ALLOW("allow: overlapping in one address", EINVAL, EINVAL, "ioas-bad-range",
		      "ioas-bad-range", LIST(overlapping)),
		ALLOW("allow: the second is malformed", EINVAL, EINVAL, "ioas-bad-range",
		      "ioas-bad-range", LIST(second_bad)),
		ALLOW("allow: the array ends after the first", EFAULT, EFAULT, "user-memory",
		      "user-memory", .num_iovas = 2,
		      .allowed_iovas = PTR(cut)),
		ALLOW("allow: 0xffffffff ranges claimed", EFAULT, EFAULT, "user-memory",
		      "user-memory", .num_iovas = ~0u,
		      .allowed_iovas = PTR(cut)),
		ALLOW("allow: the whole address space", 0, EADDRINUSE, NULL, "ioas-allow-reserved",
		      LIST(everything)),
		ALLOW("allow: touching the MSI window", 0, EADDRINUSE, NULL, "ioas-allow-reserved",
		      LIST(msi)),
		ALLOW("allow: the second in the MSI window", 0, EADDRINUSE, NULL,
		      "ioas-allow-reserved", LIST(second_msi)),
		ALLOW("allow: above what the device can reach", 0, EADDRINUSE, NULL,
		      "ioas-allow-reserved", LIST(high)),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

static void fresh_ranges(struct fixture *f)
{
	uint64_t alignment;
	uint32_t nr = 2;

	memset(room, 0xee, sizeof(room));
	WANT(iova_ranges(f->fd, f->other, room, &nr, &alignment), 0);
	WANT(nr, 1);
	WANT(alignment, 1);
	CHECK(room[0].start == 0 && room[0].last == TOP);
	CHECK(room[1].start == 0xeeeeeeeeeeeeeeee && room[1].last == 0xeeeeeeeeeeeeeeee);
}

static void device_ranges(struct fixture *f)
{
	struct iommu_iova_range alone[MAX_RANGES];
	uint32_t nr = MAX_RANGES, again = MAX_RANGES, i;
	uint64_t alignment;

	WANT(iova_ranges(f->fd, f->ioas, room, &nr, &alignment), 0);
	WANT(alignment, PAGE);
	CHECK(nr >= 2);
	for (i = 0; i < nr; i++) {
		CHECK(room[i].start < room[i].last);
		CHECK(room[i].last < MSI_IOVA || room[i].start >= MSI_IOVA + 0x100000);
		CHECK(!i || room[i].start > room[i - 1].last + 1);
	}
	CHECK(room[nr - 1].last != TOP);
	/* Detaching removes the device's restrictions, attaching adds them again. */
	WANT(detach(f->dev), 0);
	nr = MAX_RANGES;
	WANT(iova_ranges(f->fd, f->ioas, alone, &nr, &alignment), 0);
	WANT(nr, 1);
	WANT(alignment, 1);
	CHECK(alone[0].start == 0 && alone[0].last == TOP);
	WANT(attach(f->dev, f->ioas, NULL), 0);
	WANT(iova_ranges(f->fd, f->ioas, alone, &again, NULL), 0);
	CHECK(!memcmp(alone, room, again * sizeof(*room)));
}

/* A buffer that is too small: the count is right, and no byte behind the buffer is written. */
static void short_ranges(struct fixture *f)
{
	struct iommu_iova_range full[MAX_RANGES];
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd), .ioas_id = f->ioas, .out_iova_alignment = 77,
	};
	uint32_t nr = MAX_RANGES, i;
	uint64_t alignment;

	WANT(iova_ranges(f->fd, f->ioas, full, &nr, &alignment), 0);
	for (i = 0; i < nr; i++) {
		memset(room, 0xee, sizeof(room));
		cmd.num_iovas = i;
		cmd.allowed_iovas = i ? PTR(room) : 0;
		WANT_WHY(f->fd, call(f->fd, IOMMU_IOAS_IOVA_RANGES, &cmd), -EMSGSIZE,
			 "ioas-more-ranges");
		WANT(cmd.num_iovas, nr);
		WANT(cmd.out_iova_alignment, alignment);
		CHECK(!memcmp(room, full, i * sizeof(*room)));
		CHECK(room[i].start == 0xeeeeeeeeeeeeeeee);
	}
	/* EFAULT takes precedence over EMSGSIZE. */
	cmd.num_iovas = 0;
	WANT(call(f->fd, IOMMU_IOAS_IOVA_RANGES, read_only(&cmd, sizeof(cmd))), -EFAULT);
}

static void ranges_half_written(struct fixture *f)
{
	struct iommu_iova_range full[MAX_RANGES], none = {};
	struct iommu_iova_range *cut = cut_off(&none, sizeof(none));
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd),
		.ioas_id = f->ioas,
		.num_iovas = MAX_RANGES,
		.allowed_iovas = PTR(cut),
	}, before = cmd;
	uint32_t nr = MAX_RANGES;

	WANT(iova_ranges(f->fd, f->ioas, full, &nr, NULL), 0);
	WANT(call(f->fd, IOMMU_IOAS_IOVA_RANGES, &cmd), -EFAULT);
	CHECK(!memcmp(&cmd, &before, sizeof(cmd)));
}

static int map_anywhere(struct fixture *f, uint32_t ioas, uint64_t length, uint64_t *iova)
{
	*iova = 0;
	return map_as(f->fd, ioas, READ, mem.rw, length, iova);
}

/* The list restricts addresses that the kernel chooses. FIXED_IOVA is not restricted. */
static void allowed_list(struct fixture *f)
{
	struct iommu_iova_range a[] = { { FREE_IOVA, FREE_IOVA + 2 * PAGE - 1 } };
	struct iommu_iova_range z[] = { { 2 * FREE_IOVA, 2 * FREE_IOVA + PAGE - 1 } };
	uint64_t iova;

	WANT(allow(f->fd, f->ioas, a, 1), 0);
	WANT(map_anywhere(f, f->ioas, PAGE, &iova), 0);
	WANT(iova, FREE_IOVA);
	WANT_WHY(f->fd, map_anywhere(f, f->ioas, 2 * PAGE, &iova), -ENOSPC, "map-no-room");
	WANT(map_anywhere(f, f->ioas, PAGE, &iova), 0);
	WANT(iova, FREE_IOVA + PAGE);
	WANT_WHY(f->fd, map_anywhere(f, f->ioas, PAGE, &iova), -ENOSPC, "map-no-room");
	WANT(iova, 0);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 3 * FREE_IOVA), 0);

	/* A refused list leaves the old one. */
	WANT(allow(f->fd, f->ioas, second_bad, 2), -EINVAL);
	WANT_WHY(f->fd, map_anywhere(f, f->ioas, PAGE, &iova), -ENOSPC, "map-no-room");

	/* A new list replaces the old one. Mappings outside of it stay. */
	WANT(allow(f->fd, f->ioas, z, 1), 0);
	WANT(map_anywhere(f, f->ioas, PAGE, &iova), 0);
	WANT(iova, 2 * FREE_IOVA);
	WANT_WHY(f->fd, map_anywhere(f, f->ioas, PAGE, &iova), -ENOSPC, "map-no-room");
	WANT(allow(f->fd, f->ioas, NULL, 0), 0);
	WANT(map_anywhere(f, f->ioas, PAGE, &iova), 0);
	WANT(unmap_all(f->fd, f->ioas), 6 * PAGE);
}

static void allowed_conflict(struct fixture *f)
{
	uint32_t nr = MAX_RANGES;
	uint64_t iova;

	/* A list that conflicts with a reserved range is refused, and the old one stays. */
	WANT(allow(f->fd, f->ioas, low, 1), 0);
	WANT(allow(f->fd, f->ioas, msi, 1), -EADDRINUSE);
	WANT(map_anywhere(f, f->ioas, PAGE, &iova), 0);
	CHECK(iova >= low[0].start && iova <= low[0].last);

	/* A list that conflicts with the device's reserved ranges prevents attaching. */
	WANT(allow(f->fd, f->other, msi, 1), 0);
	WANT(attach(f->dev, f->other, NULL), -EADDRINUSE);
	WANT(iova_ranges(f->fd, f->other, room, &nr, NULL), 0);
	WANT(nr, 1);
	CHECK(room[0].start == 0 && room[0].last == TOP);
	WANT(destroy(f->fd, f->hwpt), -EBUSY);
	WANT(allow(f->fd, f->other, NULL, 0), 0);
	WANT(attach(f->dev, f->other, NULL), 0);
}

static void destroyed_twice(struct fixture *f)
{
	uint32_t id;

	WANT(ioas_alloc(f->fd, &id), 0);
	WANT(map(f->fd, id, mem.rw, PAGE, 0), 0);
	WANT(destroy(f->fd, id), 0);
	WANT(destroy(f->fd, id), -ENOENT);
	WANT(unmap(f->fd, id, 0, PAGE), -ENOENT);
	WANT(map(f->fd, id, mem.rw, PAGE, 0), -ENOENT);
	WANT(allow(f->fd, id, NULL, 0), -ENOENT);
}

static void destroyed_in_use(struct fixture *f)
{
	uint32_t hwpt;

	WANT(destroy(f->fd, f->ioas), -EBUSY);
	WANT(destroy(f->fd, f->hwpt), -EBUSY);
	WANT(destroy(f->fd, f->dev_id), -EBUSY);
	/* Automatic page tables are destroyed with the attachment. */
	WANT(detach(f->dev), 0);
	WANT(destroy(f->fd, f->hwpt), -ENOENT);
	WANT(hwpt_alloc(f->fd, f->dev_id, f->ioas, &hwpt), 0);
	WANT(destroy(f->fd, f->ioas), -EBUSY);
	WANT(unmap(f->fd, f->ioas, HELD_IOVA, PAGE), PAGE);
	WANT(destroy(f->fd, hwpt), 0);
	WANT(destroy(f->fd, hwpt), -ENOENT);
	WANT(destroy(f->fd, f->ioas), 0);
	WANT(destroy(f->fd, f->ioas), -ENOENT);
	WANT(attach(f->dev, f->ioas, NULL), -ENOENT);
}

static void foreign_ids(struct fixture *f)
{
	uint32_t id, i, last = 0;
	uint64_t iova = FREE_IOVA;
	int fd = open_iommu();

	/* So many that the first fixture has no object with the last id. */
	CHECK(fd >= 0);
	for (i = 0; i < 32; i++)
		WANT(ioas_alloc(fd, &last), 0);
	id = last;
	WANT(get_option(f->fd, IOMMU_OPTION_HUGE_PAGES, id), -ENOENT);
	WANT(destroy(f->fd, id), -ENOENT);
	WANT(map(f->fd, id, mem.rw, PAGE, FREE_IOVA), -ENOENT);
	WANT(copy(f->fd, f->ioas, HELD_IOVA, PAGE, FIXED | READ, id, &iova), -ENOENT);
	WANT(copy(f->fd, id, HELD_IOVA, PAGE, FIXED | READ, f->ioas, &iova), -ENOENT);
	if (f->domain) {
		WANT(attach(f->dev, id, NULL), -ENOENT);
		WANT(hwpt_alloc(f->fd, f->dev_id, id, &i), -EINVAL);
	}
	/* The same id of another iommufd is another object. */
	WANT(map(fd, id, mem.rw, PAGE, FREE_IOVA), 0);
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(unmap_all(fd, id), PAGE);
	WANT(close(fd), 0);
}

/* If the struct cannot be written back, there is no object. */
static void alloc_unanswered(struct fixture *f)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };
	uint32_t before, after, id;

	WANT(ioas_alloc(f->fd, &before), 0);
	WANT(destroy(f->fd, before), 0);
	WANT(call(f->fd, IOMMU_IOAS_ALLOC, read_only(&cmd, sizeof(cmd))), -EFAULT);
	for (id = 0; id < MAX_IDS; id++)
		if (id != f->ioas && id != f->other)
			WANT(get_option(f->fd, IOMMU_OPTION_HUGE_PAGES, id), -ENOENT);
	WANT(ioas_alloc(f->fd, &after), 0);
}

static void many(struct fixture *f)
{
	uint32_t ids[100], i, j;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		WANT(ioas_alloc(f->fd, &ids[i]), 0);
		CHECK(ids[i] && ids[i] != f->ioas && ids[i] != f->other && ids[i] != f->dev_id);
		for (j = 0; j < i; j++)
			CHECK(ids[j] != ids[i]);
	}
	for (i = 0; i < ARRAY_SIZE(ids); i += 2)
		WANT(destroy(f->fd, ids[i]), 0);
	for (i = 0; i < ARRAY_SIZE(ids); i++)
		WANT(destroy(f->fd, ids[i]), i % 2 ? 0 : -ENOENT);
}

static const struct test tests[] = {
	{ "ranges: a new IOAS allows all addresses", fresh_ranges, NO_DOMAIN },
	{ "ranges: restricted while a device is attached", device_ranges, DOMAIN },
	{ "ranges: a buffer that is too small", short_ranges, NO_DOMAIN | DOMAIN },
	{ "ranges: the end of the array is unmapped", ranges_half_written, DOMAIN },
	{ "allow: where addresses are chosen", allowed_list, NO_DOMAIN | DOMAIN },
	{ "allow: conflicts with the device", allowed_conflict, DOMAIN },
	{ "alloc: the struct cannot be written back", alloc_unanswered, NO_DOMAIN },
	{ "alloc: a hundred different ids", many, NO_DOMAIN },
	{ "destroy: twice", destroyed_twice, NO_DOMAIN | DOMAIN },
	{ "destroy: in use", destroyed_in_use, DOMAIN },
	{ "ids of another fd", foreign_ids, NO_DOMAIN | DOMAIN },
};

const struct suite ioas_suite = {
	"ioas", ioas_rows, NO_DOMAIN | DOMAIN, tests, ARRAY_SIZE(tests),
};
