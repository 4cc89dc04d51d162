// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define NR_REPEATS	4		/* rounds, unless each gives the same number */

const char *unit;
int nr_repeats = NR_REPEATS;
char label[16];

/* Shell patterns with | between them. */
static const char *pattern;

void give_up(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("bench: ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	exit(1);
}

long long must(long long r, const char *what)
{
	if (r < 0)
		give_up("%s: %s", what, strerror(-r));
	return r;
}

void sample(double value, const char *of, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("sample %s %.0f %s ", label, value, of);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
}

uint64_t now(void)
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

uint64_t median(uint64_t *values, size_t nr)
{
	qsort(values, nr, sizeof(*values), compare);
	return values[nr / 2];
}

bool wanted(const char *rows)
{
	char patterns[256], *rest = patterns, *one;

	snprintf(patterns, sizeof(patterns), "%s", pattern);
	while ((one = strsep(&rest, "|")))
		if (!fnmatch(one, rows, 0))
			return true;
	return false;
}

int open_card(const char *cdev, int *device, uint32_t *dev_id, uint32_t *ioas)
{
	int iommu;

	*device = open(cdev, O_RDWR | O_CLOEXEC);
	if (*device < 0)
		give_up("%s: %s", cdev, strerror(errno));
	iommu = must(open_iommu(), "/dev/iommu");
	must(bind_device(*device, iommu, dev_id), "bind");
	must(ioas_alloc(iommu, ioas), "IOAS_ALLOC");
	must(attach(*device, *ioas, NULL), "attach");
	return iommu;
}

void call_rows(const char *name, int fd, uint32_t ioas, const void *p, uint64_t length,
	       uint64_t iova)
{
	uint64_t chosen[NR_CALLS], given[NR_CALLS], unmapped[NR_CALLS];
	uint64_t at;
	int i;

	for (i = 0; i < NR_CALLS; i++) {
		chosen[i] = TIMED(map_as(fd, ioas, RW, p, length, &at));
		must(unmap(fd, ioas, at, length), "unmap");
		given[i] = TIMED(map(fd, ioas, p, length, iova));
		unmapped[i] = TIMED(unmap(fd, ioas, iova, length));
	}
	sample(median(chosen, NR_CALLS), unit, "%s: map at a chosen address", name);
	sample(median(given, NR_CALLS), unit, "%s: map at a given address", name);
	sample(median(unmapped, NR_CALLS), unit, "%s: unmap one", name);
}

int fault_queue(int fd)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd) };

	must(call(fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd), "FAULT_QUEUE_ALLOC");
	return cmd.out_fault_fd;
}

static int make_queues(int fd, unsigned int nr, int (*make_queue)(int fd))
{
	unsigned int i;
	int r = 0;

	for (i = 0; !r && i < nr; i++)
		r = close(make_queue(fd));
	return r;
}

void queue_rows(const char *name, int fd, unsigned int nr, int (*make_queue)(int fd))
{
	sample(TIMED(make_queues(fd, nr, make_queue)), unit, "%s: make them", name);
	sample(TIMED(close(fd)), unit, "%s: close the context", name);
}

static void mark_label(void)
{
	if (!strcmp(label, "c"))
		MARK('c');
	else if (!strcmp(label, "rust"))
		MARK('r');
	else
		MARK('t');
}

int bench(int argc, char **argv, void (*touch)(void), void (*measure)(const char *cdev))
{
	char line[128], cdev[100];
	FILE *ask, *answer;

	if (argc != 4 && argc != 5)
		give_up("usage: %s UNIT ASK ANSWER [ROWS]", argv[0]);
	unit = argv[1];
	/* The number of instructions is the same each time. */
	if (!strcmp(unit, "instructions"))
		nr_repeats = 1;
	pattern = argc == 5 && *argv[4] ? argv[4] : "*";
	setvbuf(stdout, NULL, _IOLBF, 0);
	touch();
	ask = fopen(argv[2], "r");
	answer = fopen(argv[3], "w");
	if (!ask || !answer)
		give_up("%s, %s: %s", argv[2], argv[3], strerror(errno));
	while (fgets(line, sizeof(line), ask) && sscanf(line, "%15s %99s", label, cdev) == 2) {
		mark_label();
		measure(cdev);
		fprintf(answer, "%s\n", label);
		fflush(answer);
	}
	return 0;
}
