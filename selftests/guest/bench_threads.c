// SPDX-License-Identifier: GPL-2.0-only
/* Two threads that work on disjoint halves of the same IOAS. */
#include <pthread.h>
#include <string.h>

#include "bench_card.h"
#include "bench_probe.h"

enum operation { MAP, UNMAP, MEMSET };

static const char *const names[] = { [MAP] = "map", [UNMAP] = "unmap", [MEMSET] = "memset()" };

struct half {
	pthread_t thread;
	pthread_barrier_t *begin;
	enum operation op;
	int cpu, iommu;
	uint32_t ioas;
	char *p;
	uint64_t length, iova;
	uint64_t from, to;
};

static void *run_half(void *arg)
{
	struct half *h = arg;

	pin_to(h->cpu);
	pthread_barrier_wait(h->begin);
	h->from = now();
	if (h->op == MAP)
		must(map(h->iommu, h->ioas, h->p, h->length, h->iova), "map");
	else if (h->op == UNMAP)
		must(unmap(h->iommu, h->ioas, h->iova, h->length), "unmap");
	else
		memset(h->p, 1, h->length);
	h->to = now();
	return NULL;
}

/* Returns the time from the first thread's begin to the last one's end. */
static uint64_t run_halves(struct half *halves, unsigned int nr, enum operation op)
{
	uint64_t from = UINT64_MAX, to = 0;
	pthread_barrier_t begin;
	unsigned int i;

	pthread_barrier_init(&begin, NULL, nr);
	for (i = 0; i < nr; i++) {
		halves[i].begin = &begin;
		halves[i].op = op;
		if (pthread_create(&halves[i].thread, NULL, run_half, &halves[i]))
			give_up("no thread");
	}
	for (i = 0; i < nr; i++) {
		pthread_join(halves[i].thread, NULL);
		from = halves[i].from < from ? halves[i].from : from;
		to = halves[i].to > to ? halves[i].to : to;
	}
	pthread_barrier_destroy(&begin);
	return to - from;
}

void thread_rows(const char *name, int iommu, uint32_t ioas, char *p, uint64_t length)
{
	struct half halves[2];
	enum operation op;
	int i;

	if (!wanted(name) || !two_cpus())
		return;
	for (i = 0; i < 2; i++)
		halves[i] = (struct half){
			.cpu = i, .iommu = iommu, .ioas = ioas, .p = p + i * length / 2,
			.length = length / 2, .iova = IOVA + i * length / 2,
		};
	for (i = 0; i < nr_repeats; i++)
		for (op = MAP; op <= MEMSET; op++)
			sample(run_halves(halves, 1, op), unit, "two threads: %s of a half, alone",
			       names[op]);
	for (i = 0; i < nr_repeats; i++)
		for (op = MAP; op <= MEMSET; op++)
			sample(run_halves(halves, 2, op), unit, "two threads: %s of both halves",
			       names[op]);
}
