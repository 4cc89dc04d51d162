// SPDX-License-Identifier: GPL-2.0-only
/* What iommufd costs beside many mock devices and reserved ranges. See bench.h; CDEV is not used. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench_memory.h"
#include "bench_mock.h"

#define SMALL		"1 GiB of 4 KiB pages"
#define THP		"1 GiB of THP"
/* What an access uses. */
#define ACCESSED	(16UL << 20)

static const char *page;
static char *small, *huge;	/* DIRTY bytes */
static char *accessed_small, *accessed_huge;

static void touch_memory(void)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		give_up("mmap: %s", strerror(errno));
	memset(p, 1, 2 * PAGE);
	page = p;
	accessed_small = small_pages(ACCESSED);
	accessed_huge = huge_pages(ACCESSED);
	if (wanted(SMALL))
		small = scattered_pages(DIRTY);
	if (wanted(THP))
		huge = huge_pages(DIRTY);
}

static int reserve(int fd, uint32_t ioas, uint64_t start)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_ADD_RESERVED, .id = ioas, .add_reserved = { start, PAGE },
	};

	return mock_op(fd, &cmd);
}

/* Reserves every other page from the second on. */
static int reserve_pages(int fd, uint32_t ioas, unsigned int nr)
{
	unsigned int i;
	int r = 0;

	for (i = 0; !r && i < nr; i++)
		r = reserve(fd, ioas, (2 * i + 2) * PAGE);
	return r;
}

/* The gaps between the reserved pages are too small, or, if there are areas, full. */
static void reserved_rows(const char *name, unsigned int nr, bool areas)
{
	uint32_t ioas;
	unsigned int i;
	int fd;

	if (!wanted(name))
		return;
	fd = must(open_iommu(), "/dev/iommu");
	must(ioas_alloc(fd, &ioas), "IOAS_ALLOC");
	if (areas) {
		must(reserve_pages(fd, ioas, nr), "ADD_RESERVED");
		for (i = 0; i < nr; i++)
			must(map(fd, ioas, page, PAGE, (2 * i + 1) * PAGE), "map");
	} else {
		sample(TIMED(reserve_pages(fd, ioas, nr)), unit, "%s: reserve them", name);
	}
	call_rows(name, fd, ioas, page, areas ? PAGE : 2 * PAGE, IOVA);
	sample(TIMED(close(fd)), unit, "%s: close", name);
}

static int make_devices(int fd, uint32_t ioas, unsigned int nr)
{
	uint32_t device, dev_id, hwpt;
	unsigned int i;
	int r = 0;

	for (i = 0; !r && i < nr; i++)
		r = mock_device(fd, ioas, &device, &dev_id, &hwpt);
	return r;
}

static void device_rows(const char *name, unsigned int nr)
{
	uint64_t moved_in[NR_CALLS], moved_out[NR_CALLS];
	uint32_t ioas, other, device, dev_id, hwpt;
	unsigned int i;
	int fd;

	if (!wanted(name))
		return;
	fd = must(open_iommu(), "/dev/iommu");
	must(ioas_alloc(fd, &ioas), "IOAS_ALLOC");
	must(ioas_alloc(fd, &other), "IOAS_ALLOC");
	sample(TIMED(make_devices(fd, ioas, nr)), unit, "%s: make and attach them", name);
	call_rows(name, fd, ioas, page, PAGE, MOCK_IOVA + 64 * PAGE);

	/* Two, so that the page tables of this IOAS stay. */
	for (i = 0; i < 2; i++)
		must(mock_device(fd, other, &device, &dev_id, &hwpt), "MOCK_DOMAIN");
	for (i = 0; i < NR_CALLS; i++) {
		moved_in[i] = TIMED(mock_replace(fd, device, ioas));
		moved_out[i] = TIMED(mock_replace(fd, device, other));
	}
	sample(median(moved_in, NR_CALLS), unit, "%s: attach one more", name);
	sample(median(moved_out, NR_CALLS), unit, "%s: move one away", name);
	sample(TIMED(close(fd)), unit, "%s: close", name);
}

/* Low ids are freed and taken again while there are many objects. */
static void object_rows(const char *name, unsigned int nr)
{
	uint64_t made[NR_CALLS];
	uint32_t ids[3], id;
	unsigned int i, j;
	int fd;

	if (!wanted(name))
		return;
	fd = must(open_iommu(), "/dev/iommu");
	for (i = 0; i < nr; i++)
		must(ioas_alloc(fd, i < ARRAY_SIZE(ids) ? &ids[i] : &id), "IOAS_ALLOC");
	for (i = 0; i < NR_CALLS; i++) {
		for (j = 0; j < ARRAY_SIZE(ids) - 1; j++)
			must(destroy(fd, ids[j]), "DESTROY");
		for (j = 0; j < ARRAY_SIZE(ids) - 1; j++)
			must(ioas_alloc(fd, &ids[j]), "IOAS_ALLOC");
		/* There is no low id left. */
		made[i] = TIMED(ioas_alloc(fd, &id));
		must(destroy(fd, id), "DESTROY");
	}
	sample(median(made, NR_CALLS), unit, "%s: IOAS_ALLOC", name);
	sample(TIMED(close(fd)), unit, "%s: close", name);
}

static void fault_queue_rows(const char *name, unsigned int nr)
{
	if (wanted(name))
		queue_rows(name, must(open_iommu(), "/dev/iommu"), nr, fault_queue);
}

/* What vIOMMUs are made from, the last one that was made, and the last type of its event queues. */
static struct iommu_viommu_alloc viommu;
static uint32_t last_type;

static void make_viommu(int fd)
{
	must(call(fd, IOMMU_VIOMMU_ALLOC, &viommu), "VIOMMU_ALLOC");
	last_type = IOMMU_VEVENTQ_TYPE_DEFAULT;
}

/* Makes an event queue. A vIOMMU has one of a type. */
static int event_queue(int fd)
{
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = viommu.out_viommu_id, .type = ++last_type,
		.veventq_depth = 1,
	};

	must(call(fd, IOMMU_VEVENTQ_ALLOC, &cmd), "VEVENTQ_ALLOC");
	return cmd.out_veventq_fd;
}

static int viommu_with_event_queue(int fd)
{
	make_viommu(fd);
	return event_queue(fd);
}

/* Opens a context in which make_viommu() can be called. */
static int open_for_viommus(void)
{
	struct iommu_hwpt_alloc parent = {
		.size = sizeof(parent), .flags = IOMMU_HWPT_ALLOC_NEST_PARENT,
	};
	int fd = must(open_iommu(), "/dev/iommu");
	uint32_t device, hwpt;

	must(ioas_alloc(fd, &parent.pt_id), "IOAS_ALLOC");
	must(mock_device(fd, parent.pt_id, &device, &parent.dev_id, &hwpt), "MOCK_DOMAIN");
	must(call(fd, IOMMU_HWPT_ALLOC, &parent), "HWPT_ALLOC");
	viommu = (struct iommu_viommu_alloc){
		.size = sizeof(viommu), .type = IOMMU_VIOMMU_TYPE_SELFTEST, .dev_id = parent.dev_id,
		.hwpt_id = parent.out_hwpt_id,
	};
	return fd;
}

static void event_queue_rows(const char *name, unsigned int nr)
{
	int fd;

	if (!wanted(name))
		return;
	fd = open_for_viommus();
	make_viommu(fd);
	queue_rows(name, fd, nr, event_queue);
}

static void viommu_rows(const char *name, unsigned int nr)
{
	if (wanted(name))
		queue_rows(name, open_for_viommus(), nr, viommu_with_event_queue);
}

static void measure(const char *cdev)
{
	static const struct {
		const char *name;
		uint32_t nr;
	} batches[] = {
		{ "1 invalidation", 1 },
		{ "16 invalidations", 16 },
		{ "256 invalidations", 256 },
		{ "4,096 invalidations", 4096 },
	};
	size_t i;

	(void)cdev;
	dirty_rows(SMALL, small, page);
	dirty_rows(THP, huge, page);
	access_rows("4 KiB pages", accessed_small);
	access_rows("THP", accessed_huge);
	for (i = 0; i < ARRAY_SIZE(batches); i++)
		invalidation_rows(batches[i].name, batches[i].nr);
	reserved_rows("beside 1,000 reserved ranges", 1000, false);
	reserved_rows("beside 16,000 reserved ranges", 16000, false);
	reserved_rows("between 4,000 reserved ranges", 4000, true);
	device_rows("beside 1 device", 1);
	device_rows("beside 100 devices", 100);
	device_rows("beside 1,000 devices", 1000);
	object_rows("beside 4,000 objects", 4000);
	object_rows("beside 20,000 objects", 20000);
	fault_queue_rows("2,000 fault queues", 2000);
	event_queue_rows("2,000 event queues", 2000);
	viommu_rows("2,000 vIOMMUs", 2000);
}

int main(int argc, char **argv)
{
	return bench(argc, argv, touch_memory, measure);
}
