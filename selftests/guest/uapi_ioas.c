// SPDX-License-Identifier: GPL-2.0-only
/* IOAS_ALLOC, DESTROY, IOAS_IOVA_RANGES and IOAS_ALLOW_IOVAS. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uapi.h"

#define ALLOC(what, e, ...) { .name = what, .cmd = IOMMU_IOAS_ALLOC, .want = SAME(e), \
	.arg.alloc = { .size = sizeof(struct iommu_ioas_alloc), __VA_ARGS__ } }
#define DESTROY(what, soft, hard, object) { .name = what, .cmd = IOMMU_DESTROY, \
	.want = { soft, hard }, \
	.arg.destroy = { .size = sizeof(struct iommu_destroy), .id = object } }
#define RANGES(what, e, ...) { .name = what, .cmd = IOMMU_IOAS_IOVA_RANGES, .want = SAME(e), \
	.arg.ranges = { .size = sizeof(struct iommu_ioas_iova_ranges), .ioas_id = b->ioas, \
			.num_iovas = MAX_RANGES, .allowed_iovas = PTR(room), ##__VA_ARGS__ } }
#define ALLOW(what, soft, hard, ...) { .name = what, .cmd = IOMMU_IOAS_ALLOW_IOVAS, \
	.want = { soft, hard }, \
	.arg.allow = { .size = sizeof(struct iommu_ioas_allow_iovas), .ioas_id = b->ioas, \
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

static void ioas_rows(struct bench *b)
{
	/* The list that the last bytes of a mapping hold, and nothing after it. */
	const void *cut = cut_off(low, sizeof(low));
	const struct row rows[] = {
		ALLOC("alloc: flag 0", EOPNOTSUPP, .flags = 1),
		ALLOC("alloc: flag 31", EOPNOTSUPP, .flags = 1u << 31),
		ALLOC("alloc: an id given is ignored", 0, .out_ioas_id = ~0u),

		DESTROY("destroy: id 0", ENOENT, ENOENT, 0),
		DESTROY("destroy: id 0xffffffff", ENOENT, ENOENT, ~0u),
		DESTROY("destroy: id 0x80000000", ENOENT, ENOENT, 1u << 31),
		DESTROY("destroy: id 0x7fffffff", ENOENT, ENOENT, ~0u >> 1),
		DESTROY("destroy: an id never given", ENOENT, ENOENT, NO_ID),
		/* Without a domain these two are id 0. */
		DESTROY("destroy: a bound device", ENOENT, EBUSY, b->dev_id),
		DESTROY("destroy: a page table in use", ENOENT, EBUSY, b->hwpt),

		RANGES("ranges: reserved field", EOPNOTSUPP, .__reserved = 1),
		RANGES("ranges: id 0", ENOENT, .ioas_id = 0),
		RANGES("ranges: id 0xffffffff", ENOENT, .ioas_id = ~0u),
		RANGES("ranges: id of a device", ENOENT, .ioas_id = b->dev_id),
		RANGES("ranges: id of a page table", ENOENT, .ioas_id = b->hwpt),
		RANGES("ranges: reserved field before a wrong id", EOPNOTSUPP, .__reserved = 1,
		       .ioas_id = 0),
		RANGES("ranges: array at NULL", EFAULT, .allowed_iovas = 0),
		RANGES("ranges: array unmapped", EFAULT, .allowed_iovas = PTR(mem.gone)),
		RANGES("ranges: array at a kernel address", EFAULT,
		       .allowed_iovas = 0xffff888000000000),
		RANGES("ranges: array at the top of the address space", EFAULT,
		       .allowed_iovas = TOP),
		RANGES("ranges: array read-only", EFAULT, .allowed_iovas = PTR(mem.ro)),
		RANGES("ranges: more room claimed than is needed or there", 0,
		       .num_iovas = ~0u),

		ALLOW("allow: reserved field", EOPNOTSUPP, EOPNOTSUPP, .__reserved = 1),
		ALLOW("allow: id 0", ENOENT, ENOENT, .ioas_id = 0),
		ALLOW("allow: id 0xffffffff", ENOENT, ENOENT, .ioas_id = ~0u),
		ALLOW("allow: id of a device", ENOENT, ENOENT, .ioas_id = b->dev_id),
		ALLOW("allow: id of a page table", ENOENT, ENOENT, .ioas_id = b->hwpt),
		ALLOW("allow: array at NULL", EFAULT, EFAULT, .num_iovas = 1),
		ALLOW("allow: array unmapped", EFAULT, EFAULT, .num_iovas = 1,
		      .allowed_iovas = PTR(mem.gone)),
		ALLOW("allow: array at a kernel address", EFAULT, EFAULT, .num_iovas = 1,
		      .allowed_iovas = 0xffff888000000000),
		ALLOW("allow: none, array at NULL", 0, 0),
		ALLOW("allow: none, array at a kernel address", 0, 0,
		      .allowed_iovas = 0xffff888000000000),
		ALLOW("allow: one range", 0, 0, LIST(low)),
		ALLOW("allow: neighbours", 0, 0, LIST(neighbours)),
		ALLOW("allow: a range of one address", EINVAL, EINVAL, LIST(single)),
		ALLOW("allow: a range of the last address", EINVAL, EINVAL, LIST(top)),
		ALLOW("allow: backwards", EINVAL, EINVAL, LIST(backwards)),
		ALLOW("allow: from the last address to the first", EINVAL, EINVAL, LIST(wrapped)),
		ALLOW("allow: the same range twice", EINVAL, EINVAL, LIST(twice)),
		ALLOW("allow: overlapping in one address", EINVAL, EINVAL, LIST(overlapping)),
		ALLOW("allow: the second is malformed", EINVAL, EINVAL, LIST(second_bad)),
		ALLOW("allow: the array ends after the first", EFAULT, EFAULT, .num_iovas = 2,
		      .allowed_iovas = PTR(cut)),
		ALLOW("allow: 0xffffffff ranges claimed", EFAULT, EFAULT, .num_iovas = ~0u,
		      .allowed_iovas = PTR(cut)),
		ALLOW("allow: the whole address space", 0, EADDRINUSE, LIST(everything)),
		ALLOW("allow: touching the MSI window", 0, EADDRINUSE, LIST(msi)),
		ALLOW("allow: the second in the MSI window", 0, EADDRINUSE, LIST(second_msi)),
		ALLOW("allow: above what the device can reach", 0, EADDRINUSE, LIST(high)),
	};

	run_rows(b, rows, ARRAY_SIZE(rows));
}

static void fresh_ranges(struct bench *b)
{
	uint64_t alignment;
	uint32_t nr = 2;

	memset(room, 0xee, sizeof(room));
	WANT(iova_ranges(b->fd, b->other, room, &nr, &alignment), 0);
	WANT(nr, 1);
	WANT(alignment, 1);
	CHECK(room[0].start == 0 && room[0].last == TOP);
	CHECK(room[1].start == 0xeeeeeeeeeeeeeeee && room[1].last == 0xeeeeeeeeeeeeeeee);
}

static void device_ranges(struct bench *b)
{
	struct iommu_iova_range alone[MAX_RANGES];
	uint32_t nr = MAX_RANGES, again = MAX_RANGES, i;
	uint64_t alignment;

	WANT(iova_ranges(b->fd, b->ioas, room, &nr, &alignment), 0);
	WANT(alignment, PAGE);
	CHECK(nr >= 2);
	for (i = 0; i < nr; i++) {
		CHECK(room[i].start < room[i].last);
		CHECK(room[i].last < MSI_IOVA || room[i].start >= MSI_IOVA + 0x100000);
		CHECK(!i || room[i].start > room[i - 1].last + 1);
	}
	CHECK(room[nr - 1].last != TOP);
	/* The device takes its restrictions with it, and brings them again. */
	WANT(detach(b->dev), 0);
	nr = MAX_RANGES;
	WANT(iova_ranges(b->fd, b->ioas, alone, &nr, &alignment), 0);
	WANT(nr, 1);
	WANT(alignment, 1);
	CHECK(alone[0].start == 0 && alone[0].last == TOP);
	WANT(attach(b->dev, b->ioas, NULL), 0);
	WANT(iova_ranges(b->fd, b->ioas, alone, &again, NULL), 0);
	CHECK(!memcmp(alone, room, again * sizeof(*room)));
}

/* Too little room: the right count, what fits, and not a byte more. */
static void short_ranges(struct bench *b)
{
	struct iommu_iova_range full[MAX_RANGES];
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd), .ioas_id = b->ioas, .out_iova_alignment = 77,
	};
	uint32_t nr = MAX_RANGES, i;
	uint64_t alignment;

	WANT(iova_ranges(b->fd, b->ioas, full, &nr, &alignment), 0);
	for (i = 0; i < nr; i++) {
		memset(room, 0xee, sizeof(room));
		cmd.num_iovas = i;
		cmd.allowed_iovas = i ? PTR(room) : 0;
		WANT(call(b->fd, IOMMU_IOAS_IOVA_RANGES, &cmd), -EMSGSIZE);
		WANT(cmd.num_iovas, nr);
		WANT(cmd.out_iova_alignment, alignment);
		CHECK(!memcmp(room, full, i * sizeof(*room)));
		CHECK(room[i].start == 0xeeeeeeeeeeeeeeee);
	}
	/* An answer that cannot be written is EFAULT, not EMSGSIZE. */
	cmd.num_iovas = 0;
	WANT(call(b->fd, IOMMU_IOAS_IOVA_RANGES, read_only(&cmd, sizeof(cmd))), -EFAULT);
}

static void ranges_half_written(struct bench *b)
{
	struct iommu_iova_range full[MAX_RANGES], none = {};
	struct iommu_iova_range *cut = cut_off(&none, sizeof(none));
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd),
		.ioas_id = b->ioas,
		.num_iovas = MAX_RANGES,
		.allowed_iovas = PTR(cut),
	}, before = cmd;
	uint32_t nr = MAX_RANGES;

	WANT(iova_ranges(b->fd, b->ioas, full, &nr, NULL), 0);
	WANT(call(b->fd, IOMMU_IOAS_IOVA_RANGES, &cmd), -EFAULT);
	CHECK(!memcmp(&cmd, &before, sizeof(cmd)));
}

static int map_anywhere(struct bench *b, uint32_t ioas, uint64_t length, uint64_t *iova)
{
	*iova = 0;
	return map_as(b->fd, ioas, READ, mem.rw, length, iova);
}

/* The list says where addresses are chosen; who names an address is not bound by it. */
static void allowed_list(struct bench *b)
{
	struct iommu_iova_range a[] = { { FREE_IOVA, FREE_IOVA + 2 * PAGE - 1 } };
	struct iommu_iova_range z[] = { { 2 * FREE_IOVA, 2 * FREE_IOVA + PAGE - 1 } };
	uint64_t iova;

	WANT(allow(b->fd, b->ioas, a, 1), 0);
	WANT(map_anywhere(b, b->ioas, PAGE, &iova), 0);
	WANT(iova, FREE_IOVA);
	WANT(map_anywhere(b, b->ioas, 2 * PAGE, &iova), -ENOSPC);
	WANT(map_anywhere(b, b->ioas, PAGE, &iova), 0);
	WANT(iova, FREE_IOVA + PAGE);
	WANT(map_anywhere(b, b->ioas, PAGE, &iova), -ENOSPC);
	WANT(iova, 0);
	WANT(map(b->fd, b->ioas, mem.rw, PAGE, 3 * FREE_IOVA), 0);

	/* A refused list leaves the old one. */
	WANT(allow(b->fd, b->ioas, second_bad, 2), -EINVAL);
	WANT(map_anywhere(b, b->ioas, PAGE, &iova), -ENOSPC);

	/* A new list replaces the old one; what is mapped outside stays. */
	WANT(allow(b->fd, b->ioas, z, 1), 0);
	WANT(map_anywhere(b, b->ioas, PAGE, &iova), 0);
	WANT(iova, 2 * FREE_IOVA);
	WANT(map_anywhere(b, b->ioas, PAGE, &iova), -ENOSPC);
	WANT(allow(b->fd, b->ioas, NULL, 0), 0);
	WANT(map_anywhere(b, b->ioas, PAGE, &iova), 0);
	WANT(unmap_all(b->fd, b->ioas), 6 * PAGE);
}

static void allowed_conflict(struct bench *b)
{
	uint32_t nr = MAX_RANGES;
	uint64_t iova;

	/* Refused over a reserved range: the list of before counts. */
	WANT(allow(b->fd, b->ioas, low, 1), 0);
	WANT(allow(b->fd, b->ioas, msi, 1), -EADDRINUSE);
	WANT(map_anywhere(b, b->ioas, PAGE, &iova), 0);
	CHECK(iova >= low[0].start && iova <= low[0].last);

	/* A list that the device cannot keep stops the device from being attached. */
	WANT(allow(b->fd, b->other, msi, 1), 0);
	WANT(attach(b->dev, b->other, NULL), -EADDRINUSE);
	WANT(iova_ranges(b->fd, b->other, room, &nr, NULL), 0);
	WANT(nr, 1);
	CHECK(room[0].start == 0 && room[0].last == TOP);
	WANT(destroy(b->fd, b->hwpt), -EBUSY);
	WANT(allow(b->fd, b->other, NULL, 0), 0);
	WANT(attach(b->dev, b->other, NULL), 0);
}

static void destroyed_twice(struct bench *b)
{
	uint32_t id;

	WANT(ioas_alloc(b->fd, &id), 0);
	WANT(map(b->fd, id, mem.rw, PAGE, 0), 0);
	WANT(destroy(b->fd, id), 0);
	WANT(destroy(b->fd, id), -ENOENT);
	WANT(unmap(b->fd, id, 0, PAGE), -ENOENT);
	WANT(map(b->fd, id, mem.rw, PAGE, 0), -ENOENT);
	WANT(allow(b->fd, id, NULL, 0), -ENOENT);
}

static void destroyed_in_use(struct bench *b)
{
	uint32_t hwpt;

	WANT(destroy(b->fd, b->ioas), -EBUSY);
	WANT(destroy(b->fd, b->hwpt), -EBUSY);
	WANT(destroy(b->fd, b->dev_id), -EBUSY);
	/* The page table that the kernel made goes with the attachment. */
	WANT(detach(b->dev), 0);
	WANT(destroy(b->fd, b->hwpt), -ENOENT);
	WANT(hwpt_alloc(b->fd, b->dev_id, b->ioas, &hwpt), 0);
	WANT(destroy(b->fd, b->ioas), -EBUSY);
	WANT(unmap(b->fd, b->ioas, HELD_IOVA, PAGE), PAGE);
	WANT(destroy(b->fd, hwpt), 0);
	WANT(destroy(b->fd, hwpt), -ENOENT);
	WANT(destroy(b->fd, b->ioas), 0);
	WANT(destroy(b->fd, b->ioas), -ENOENT);
	WANT(attach(b->dev, b->ioas, NULL), -ENOENT);
}

static void foreign_ids(struct bench *b)
{
	uint32_t id, i, last = 0;
	uint64_t iova = FREE_IOVA;
	int fd = open_iommu();

	/* So many that the last has an id which the bench does not know. */
	CHECK(fd >= 0);
	for (i = 0; i < 32; i++)
		WANT(ioas_alloc(fd, &last), 0);
	id = last;
	WANT(get_option(b->fd, IOMMU_OPTION_HUGE_PAGES, id), -ENOENT);
	WANT(destroy(b->fd, id), -ENOENT);
	WANT(map(b->fd, id, mem.rw, PAGE, FREE_IOVA), -ENOENT);
	WANT(copy(b->fd, b->ioas, HELD_IOVA, PAGE, FIXED | READ, id, &iova), -ENOENT);
	WANT(copy(b->fd, id, HELD_IOVA, PAGE, FIXED | READ, b->ioas, &iova), -ENOENT);
	if (b->domain) {
		WANT(attach(b->dev, id, NULL), -ENOENT);
		WANT(hwpt_alloc(b->fd, b->dev_id, id, &i), -EINVAL);
	}
	/* And what one fd does under an id is not seen under the same id of another. */
	WANT(map(fd, id, mem.rw, PAGE, FREE_IOVA), 0);
	WANT(unmap_all(b->fd, b->ioas), PAGE);
	WANT(unmap_all(fd, id), PAGE);
	WANT(close(fd), 0);
}

/* The answer cannot be written: the object must not be there. */
static void alloc_unanswered(struct bench *b)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };
	uint32_t before, after, id;

	WANT(ioas_alloc(b->fd, &before), 0);
	WANT(destroy(b->fd, before), 0);
	WANT(call(b->fd, IOMMU_IOAS_ALLOC, read_only(&cmd, sizeof(cmd))), -EFAULT);
	for (id = 0; id < MAX_IDS; id++)
		if (id != b->ioas && id != b->other)
			WANT(get_option(b->fd, IOMMU_OPTION_HUGE_PAGES, id), -ENOENT);
	WANT(ioas_alloc(b->fd, &after), 0);
}

static void many(struct bench *b)
{
	uint32_t ids[100], i, j;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		WANT(ioas_alloc(b->fd, &ids[i]), 0);
		CHECK(ids[i] && ids[i] != b->ioas && ids[i] != b->other && ids[i] != b->dev_id);
		for (j = 0; j < i; j++)
			CHECK(ids[j] != ids[i]);
	}
	for (i = 0; i < ARRAY_SIZE(ids); i += 2)
		WANT(destroy(b->fd, ids[i]), 0);
	for (i = 0; i < ARRAY_SIZE(ids); i++)
		WANT(destroy(b->fd, ids[i]), i % 2 ? 0 : -ENOENT);
}

static const struct scene scenes[] = {
	{ "ranges: a fresh IOAS has everything", fresh_ranges, SOFT },
	{ "ranges: the device narrows and widens them", device_ranges, HARD },
	{ "ranges: too little room", short_ranges, SOFT | HARD },
	{ "ranges: the array is cut off", ranges_half_written, HARD },
	{ "allow: where addresses are chosen", allowed_list, SOFT | HARD },
	{ "allow: conflicts with the device", allowed_conflict, HARD },
	{ "alloc: the answer cannot be written", alloc_unanswered, SOFT },
	{ "alloc: a hundred different ids", many, SOFT },
	{ "destroy: twice", destroyed_twice, SOFT | HARD },
	{ "destroy: in use", destroyed_in_use, HARD },
	{ "ids of another fd", foreign_ids, SOFT | HARD },
};

const struct suite ioas_suite = {
	"ioas", ioas_rows, SOFT | HARD, scenes, ARRAY_SIZE(scenes),
};
