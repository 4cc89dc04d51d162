// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest's invalidation commands cost on an SMMUv3: bench-smmu UNIT ASK ANSWER. It is used as
 * bench.c is, and its lines are in the format described there. A sample is the cost of one command of
 * a batch; LABEL is c, rust or in_tree.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nested_batch.h"

/* Batches whose median is a sample. */
#define NR_BATCHES	41

static const char *unit;
static char label[16];

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void measure_kind(struct nested *n, size_t kind)
{
	static command commands[MOST_COMMANDS];
	static uint64_t took[NR_BATCHES];
	uint32_t i, done;
	size_t s;

	for (s = 0; s < NR_BATCH_SIZES; s++) {
		fill_batch(commands, kind, batch_sizes[s]);
		for (i = 0; i < NR_BATCHES; i++) {
			uint64_t begin = now();
			int r = submit(n, commands, batch_sizes[s], &done);

			took[i] = now() - begin;
			if (r || done != batch_sizes[s]) {
				printf("bench-smmu: %s: %u of %u, %s\n", batch_kinds[kind], done,
				       batch_sizes[s], errno_name(r));
				exit(1);
			}
		}
		qsort(took, NR_BATCHES, sizeof(*took), compare);
		printf("sample %s %.1f %s %s: batch of %u\n", label,
		       (double)took[NR_BATCHES / 2] / batch_sizes[s], unit, batch_kinds[kind], batch_sizes[s]);
	}
}

/* A call without commands, which asks whether their type is supported. The driver does not know that. */
static void measure_call(struct nested *n)
{
	static uint64_t took[NR_BATCHES];
	uint32_t i, done;

	for (i = 0; i < NR_BATCHES; i++) {
		uint64_t begin = now();

		submit(n, (command *)took, 0, &done);
		took[i] = now() - begin;
	}
	qsort(took, NR_BATCHES, sizeof(*took), compare);
	printf("sample %s %llu %s the call alone\n", label, (unsigned long long)took[NR_BATCHES / 2],
	       unit);
}

static void measure(void)
{
	struct nested n;
	uint32_t hwpt;
	size_t kind;

	if (!open_attached(&n, &hwpt))
		exit(1);
	measure_call(&n);
	for (kind = 0; kind < NR_BATCH_KINDS; kind++)
		measure_kind(&n, kind);
	close_nested(&n);
}

int main(int argc, char **argv)
{
	char line[128], cdev[100];
	FILE *ask, *answer;

	if (argc != 4) {
		printf("usage: bench-smmu UNIT ASK ANSWER\n");
		return 1;
	}
	unit = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	ask = fopen(argv[2], "r");
	answer = fopen(argv[3], "w");
	if (!ask || !answer)
		return 1;
	while (fgets(line, sizeof(line), ask) && sscanf(line, "%15s %99s", label, cdev) == 2) {
		setenv("CDEV", cdev, 1);
		measure();
		fprintf(answer, "%s\n", label);
		fflush(answer);
	}
	return 0;
}
