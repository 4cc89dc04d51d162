// SPDX-License-Identifier: GPL-2.0-only
/* Kernel memory that mappings and objects keep. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "bench_card.h"
#include "bench_memory.h"

#define GIB		(1UL << 30)
#define NR_AREAS	100000
#define NR_OBJECTS	10000

struct kept {
	uint64_t tables;
	uint64_t books;
};

static struct kept kept(void)
{
	static const char meminfo[] = "/proc/meminfo";
	int refresh = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);

	/* The write adds the counters of all CPUs up. */
	if (refresh < 0 || write(refresh, "1", 1) != 1)
		give_up("stat_refresh: %s", strerror(errno));
	close(refresh);
	return (struct kept){
		.tables = kilobytes(meminfo, "SecPageTables:") + kilobytes(meminfo, "PageTables:"),
		.books = kilobytes(meminfo, "Slab:") + kilobytes(meminfo, "VmallocUsed:") +
			 kilobytes(meminfo, "Percpu:"),
	};
}

/*
 * Maps the memory many times, each time from a source of its own, so that the slab allocator's
 * partial pages matter little. The first half of the mappings uses what is left in them.
 */
void kept_rows(struct round *r, const struct memory *m, uint64_t length, unsigned int times)
{
	double gib = (double)length * times / GIB;
	struct kept before = {}, after;
	unsigned int i;

	/* Page tables that were used before may keep tables, so that new ones are made. */
	must(ioas_alloc(r->iommu, &r->ioas), "IOAS_ALLOC");
	must(attach(r->device, r->ioas, NULL), "attach");
	for (i = 0; i < 2 * times; i++) {
		if (i == times)
			before = kept();
		must(map_memory(r, m, length, IOVA + i * length), "map");
	}
	after = kept();
	must(unmap_all(r->iommu, r->ioas), "unmap");
	sample(((double)after.tables - before.tables) * 1024 / gib, "bytes", "%s: page tables a GiB", m->name);
	sample(((double)after.books - before.books) * 1024 / gib, "bytes", "%s: bookkeeping a GiB", m->name);
}

static void kept_by(const char *name, unsigned int nr, struct kept before)
{
	sample(((double)kept().books - before.books) * 1024 / nr, "bytes", "%s: kernel memory for each", name);
}

void kept_objects_rows(const void *page)
{
	struct kept before;
	uint32_t ioas;
	unsigned int i;
	int fd;

	if (wanted("100,000 areas of a page")) {
		fd = must(open_iommu(), "/dev/iommu");
		must(ioas_alloc(fd, &ioas), "IOAS_ALLOC");
		before = kept();
		for (i = 0; i < NR_AREAS; i++)
			must(map(fd, ioas, page, PAGE, IOVA + i * PAGE), "map");
		kept_by("100,000 areas of a page", NR_AREAS, before);
		close(fd);
	}
	if (wanted("10,000 IOASes")) {
		fd = must(open_iommu(), "/dev/iommu");
		before = kept();
		for (i = 0; i < NR_OBJECTS; i++)
			must(ioas_alloc(fd, &ioas), "IOAS_ALLOC");
		kept_by("10,000 IOASes", NR_OBJECTS, before);
		close(fd);
	}
}
