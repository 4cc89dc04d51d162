// SPDX-License-Identifier: GPL-2.0-only
/* What calls of a few microseconds cost. A sample is the median of many. */
#include <unistd.h>

#include "bench_card.h"

#define NR_SHORT	200
#define NR_AREAS	4000
#define RANGE		(256UL << 20)

/* Of the group that runs. */
static const struct round *now_in;
static const struct memory *small, *huge;

/* A row of one call. */
static void call_row(const char *name, int (*once)(void))
{
	static uint64_t took[NR_SHORT];
	int repeat, i;

	for (repeat = 0; repeat < nr_repeats; repeat++) {
		for (i = 0; i < NR_SHORT; i++)
			took[i] = TIMED(once());
		sample(median(took, NR_SHORT), unit, "%s", name);
	}
}

static void page_rows(const char *name, const struct round *r)
{
	static uint64_t mapped[NR_SHORT], unmapped[NR_SHORT];
	int repeat, i;

	for (repeat = 0; repeat < nr_repeats; repeat++) {
		for (i = 0; i < NR_SHORT; i++) {
			mapped[i] = TIMED(map_memory(r, small, PAGE, IOVA));
			unmapped[i] = TIMED(unmap_memory(r, IOVA, PAGE));
		}
		sample(median(mapped, NR_SHORT), unit, "%s: map", name);
		sample(median(unmapped, NR_SHORT), unit, "%s: unmap", name);
	}
}

static int map_areas(const struct round *r)
{
	int i, err = 0;

	for (i = 0; !err && i < NR_AREAS; i++) {
		const struct memory page = { .p = small->p + i * PAGE, .file = -1 };

		err = map_memory(r, &page, PAGE, IOVA + i * PAGE);
	}
	return err;
}

static int unmap_areas(const struct round *r)
{
	long long err = 0;
	int i;

	for (i = 0; err >= 0 && i < NR_AREAS; i++)
		err = unmap_memory(r, IOVA + i * PAGE, PAGE);
	return err < 0 ? err : 0;
}

static void area_rows(const char *name, const struct round *r)
{
	int i;

	for (i = 0; i < (nr_repeats + 1) / 2; i++) {
		sample(TIMED(map_areas(r)), unit, "%s: map", name);
		sample(TIMED(unmap_areas(r)), unit, "%s: unmap one by one", name);
		must(map_areas(r), "map");
		sample(TIMED(unmap_memory(r, IOVA, NR_AREAS * PAGE)), unit, "%s: unmap in one call", name);
	}
}

/* Runs a group of rows in an IOAS without page tables. */
static void without_domain(const char *name, void (*rows)(const char *name, const struct round *r))
{
	struct round other = *now_in;

	must(ioas_alloc(other.iommu, &other.ioas), "IOAS_ALLOC");
	rows(name, &other);
	must(destroy(other.iommu, other.ioas), "DESTROY");
}

static void one_page(const char *name)
{
	page_rows(name, now_in);
}

static void one_page_without_domain(const char *name)
{
	without_domain(name, page_rows);
}

static void areas(const char *name)
{
	area_rows(name, now_in);
}

static void areas_without_domain(const char *name)
{
	without_domain(name, area_rows);
}

static void copy_without_domain(const char *name)
{
	static uint64_t copied[NR_SHORT];
	int iommu = now_in->iommu, repeat, i;
	uint64_t iova = IOVA;
	uint32_t other;

	must(map_memory(now_in, huge, RANGE, IOVA), "map");
	must(ioas_alloc(iommu, &other), "IOAS_ALLOC");
	for (repeat = 0; repeat < nr_repeats; repeat++) {
		for (i = 0; i < NR_SHORT; i++) {
			copied[i] = TIMED(copy(iommu, now_in->ioas, IOVA, RANGE, FIXED | READ | WRITE, other,
					       &iova));
			must(unmap(iommu, other, IOVA, RANGE), "unmap");
		}
		sample(median(copied, NR_SHORT), unit, "%s", name);
	}
	must(destroy(iommu, other), "DESTROY");
	must(unmap_memory(now_in, IOVA, RANGE), "unmap");
}

static int make_ioas(void)
{
	uint32_t id;
	int r = ioas_alloc(now_in->iommu, &id);

	return r ? r : destroy(now_in->iommu, id);
}

static int make_hwpt(void)
{
	uint32_t id;
	int r = hwpt_alloc(now_in->iommu, now_in->dev_id, now_in->ioas, &id);

	return r ? r : destroy(now_in->iommu, id);
}

static int make_fault_queue(void)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd) };
	int r = call(now_in->iommu, IOMMU_FAULT_QUEUE_ALLOC, &cmd);

	if (r)
		return r;
	close(cmd.out_fault_fd);
	return destroy(now_in->iommu, cmd.out_fault_id);
}

static int hw_info(void)
{
	char data[64];
	struct iommu_hw_info cmd = {
		.size = sizeof(cmd), .dev_id = now_in->dev_id, .data_len = sizeof(data), .data_uptr = PTR(data),
	};

	return call(now_in->iommu, IOMMU_GET_HW_INFO, &cmd);
}

/* Returns 0 if the call fails as it should. */
static int refused(int r, int errnum)
{
	return r == -errnum ? 0 : -EINVAL;
}

static int unknown_command(void)
{
	uint32_t size = sizeof(size);

	return refused(call(now_in->iommu, _IO(IOMMUFD_TYPE, 0xf0), &size), ENOTTY);
}

static int unknown_flag(void)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd), .flags = 1U << 31, .ioas_id = now_in->ioas, .user_va = PTR(small->p),
		.length = PAGE, .iova = IOVA,
	};

	return refused(call(now_in->iommu, IOMMU_IOAS_MAP, &cmd), EOPNOTSUPP);
}

static int unknown_ioas(void)
{
	return refused(unmap(now_in->iommu, UINT32_MAX, IOVA, PAGE), ENOENT);
}

static void fault_queues(const char *name)
{
	queue_rows(name, must(open_iommu(), "/dev/iommu"), 2000, fault_queue);
}

/* By the beginning of the names of their rows. */
static const struct {
	const char *name;
	/* One of these. */
	void (*rows)(const char *name);
	int (*once)(void);
	bool type1;
} groups[] = {
	{ "one page", one_page, NULL, true },
	{ "one page without a domain", one_page_without_domain, NULL, false },
	{ "4,000 areas", areas, NULL, true },
	{ "4,000 areas without a domain", areas_without_domain, NULL, false },
	{ "IOAS_COPY without a domain", copy_without_domain, NULL, false },
	{ "IOAS_ALLOC and DESTROY", NULL, make_ioas, false },
	{ "HWPT_ALLOC and DESTROY", NULL, make_hwpt, false },
	{ "FAULT_QUEUE_ALLOC, close and DESTROY", NULL, make_fault_queue, false },
	{ "GET_HW_INFO", NULL, hw_info, false },
	{ "the ioctl alone: unknown command", NULL, unknown_command, false },
	{ "the ioctl alone: IOAS_MAP, unknown flag", NULL, unknown_flag, false },
	{ "the ioctl alone: IOAS_UNMAP, unknown IOAS", NULL, unknown_ioas, false },
	{ "2,000 fault queues", fault_queues, NULL, false },
};

void small_call_rows(const struct round *r, const struct memory *in_small, const struct memory *in_huge)
{
	size_t i;

	now_in = r;
	small = in_small;
	huge = in_huge;
	for (i = 0; i < ARRAY_SIZE(groups); i++) {
		if (!wanted(groups[i].name) || (r->type1 && !groups[i].type1))
			continue;
		if (groups[i].once)
			call_row(groups[i].name, groups[i].once);
		else
			groups[i].rows(groups[i].name);
	}
}
