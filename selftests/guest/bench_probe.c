// SPDX-License-Identifier: GPL-2.0-only
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"
#include "bench_probe.h"

#define MAX_PROBES	(1UL << 18)
#define HEAD_START	20000		/* microseconds, until the thread is up to speed */

static struct {
	pthread_t thread;
	int iommu;
	uint32_t ioas;
	const void *page;	/* NULL if a page is copied */
	uint32_t source;	/* the IOAS from which it is copied, at IOVA */
	uint64_t iova;
	atomic_bool over;
	uint64_t from;		/* when the long call begins */
	size_t nr;
	/* A pair of calls begins where the one before has ended. The last element is the last one's end. */
	uint64_t begun[MAX_PROBES + 1];
} probe;

bool two_cpus(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) > 1;
}

void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must(sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

static int map_page(void)
{
	uint64_t iova = probe.iova;

	if (probe.page)
		return map(probe.iommu, probe.ioas, probe.page, PAGE, iova);
	return copy(probe.iommu, probe.source, IOVA, PAGE, FIXED | READ | WRITE, probe.ioas, &iova);
}

static void *run_probe(void *arg)
{
	(void)arg;
	pin_to(1);
	probe.begun[0] = now();
	for (probe.nr = 0; probe.nr < MAX_PROBES && !atomic_load(&probe.over); probe.nr++) {
		must(map_page(), "map");
		must(unmap(probe.iommu, probe.ioas, probe.iova, PAGE), "unmap");
		probe.begun[probe.nr + 1] = now();
	}
	return NULL;
}

static void start(int iommu, uint32_t ioas, uint64_t iova)
{
	probe.iommu = iommu;
	probe.ioas = ioas;
	probe.iova = iova;
	atomic_store(&probe.over, false);
	pin_to(0);
	if (pthread_create(&probe.thread, NULL, run_probe, NULL))
		give_up("no thread");
	usleep(HEAD_START);
	probe.from = now();
}

void start_probe(int iommu, uint32_t ioas, const void *page, uint64_t iova)
{
	probe.page = page;
	start(iommu, ioas, iova);
}

void start_copy_probe(int iommu, uint32_t source, uint32_t ioas, uint64_t iova)
{
	probe.page = NULL;
	probe.source = source;
	start(iommu, ioas, iova);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void end_probe(const char *meanwhile)
{
	static uint64_t times[MAX_PROBES];
	uint64_t to = now();
	const char *calls;
	size_t i, nr = 0;

	atomic_store(&probe.over, true);
	pthread_join(probe.thread, NULL);
	if (probe.nr == MAX_PROBES)
		give_up("%s: it takes too long", meanwhile);
	for (i = 0; i < probe.nr; i++)
		if (probe.begun[i + 1] > probe.from && probe.begun[i] < to)
			times[nr++] = probe.begun[i + 1] - probe.begun[i];
	if (!nr)
		give_up("%s: no call was made meanwhile", meanwhile);
	qsort(times, nr, sizeof(*times), compare);
	calls = probe.page ? "map + unmap" : "copy + unmap";
	sample(times[nr - 1], unit, "%s: %s, longest", meanwhile, calls);
	sample(times[nr * 99 / 100], unit, "%s: %s, 99 %%", meanwhile, calls);
}
