// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes the calls of a process that has no device, ten times a second, until it gets SIGTERM, and then says how
 * long the longest call took. Ends with 1 if that is above SECONDS, or if a call has failed. For use beside
 * others that keep the module busy. Usage: stalls SECONDS
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "call.h"

#define PAUSE	100000000	/* nanoseconds */
#define IOVA	0x10000000UL

static volatile sig_atomic_t ends;

static void end(int signal)
{
	(void)signal;
	ends = 1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static double longest;
static const char *longest_call = "no call";
static unsigned long calls;

/* Counts a call that began at @began, and what it returned. Returns the time after it. */
static double took(double began, const char *name, long long returned, long long wanted)
{
	double after = now();

	calls++;
	if (after - began > longest) {
		longest = after - began;
		longest_call = name;
	}
	if (returned != wanted) {
		printf("%s returned %lld\n", name, returned);
		exit(1);
	}
	return after;
}

static void make_calls(int fd, const void *page)
{
	uint64_t iova = IOVA;
	uint32_t first, second;
	double t = now();

	t = took(t, "IOAS_ALLOC", ioas_alloc(fd, &first), 0);
	t = took(t, "IOAS_ALLOC", ioas_alloc(fd, &second), 0);
	t = took(t, "IOAS_MAP", map(fd, first, page, PAGE, IOVA), 0);
	t = took(t, "IOAS_COPY", copy(fd, first, IOVA, PAGE, RW | FIXED, second, &iova), 0);
	t = took(t, "IOAS_UNMAP", unmap(fd, first, IOVA, PAGE), PAGE);
	t = took(t, "DESTROY", destroy(fd, first), 0);
	took(t, "DESTROY", destroy(fd, second), 0);
}

int main(int argc, char **argv)
{
	double limit = argc == 2 ? strtod(argv[1], NULL) : 0;
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open_iommu();

	if (limit <= 0 || page == MAP_FAILED || mlockall(MCL_CURRENT) || fd < 0) {
		fprintf(stderr, "usage: stalls SECONDS, as root, with /dev/iommu\n");
		return 2;
	}
	signal(SIGTERM, end);
	while (!ends) {
		make_calls(fd, page);
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE }, NULL);
	}
	printf("%lu calls, the longest, %s, took %.3f s\n", calls, longest_call, longest);
	return longest > limit;
}
