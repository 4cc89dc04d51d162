// SPDX-License-Identifier: GPL-2.0-only
/* See samples.h. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "samples.h"

/* Calls whose median is a sample. */
#define NR_CALLS	41

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

void sample(const char *row, uint32_t nr, bool (*once)(void *arg), void *arg)
{
	static uint64_t took[NR_CALLS];

	for (int i = 0; i < NR_CALLS; i++) {
		uint64_t begin = now();
		bool succeeded = once(arg);

		took[i] = now() - begin;
		if (!succeeded) {
			printf("%s: not carried out\n", row);
			exit(1);
		}
	}
	qsort(took, NR_CALLS, sizeof(*took), compare);
	printf("sample %s %.1f %s %s\n", label, (double)took[NR_CALLS / 2] / nr, unit, row);
}

void sample_batch(const char *kind, uint32_t nr, bool (*once)(void *arg), void *arg)
{
	char row[64];

	snprintf(row, sizeof(row), "%s: batch of %u", kind, nr);
	sample(row, nr, once, arg);
}

int serve_samples(int argc, char **argv, void (*measure)(void))
{
	char line[128], cdev[100];
	FILE *ask, *answer;

	if (argc != 4) {
		printf("usage: %s UNIT ASK ANSWER\n", argv[0]);
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
