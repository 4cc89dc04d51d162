// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <linux/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "bench_memory.h"

uint64_t kilobytes(const char *path, const char *name)
{
	size_t len = strlen(name);
	char line[256];
	uint64_t value = 0;
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len))
			value = strtoull(line + len, NULL, 10);
	if (f)
		fclose(f);
	return value;
}

/* Private memory that begins with a huge page. */
static char *reserve(size_t length, int advice)
{
	char *p = mmap(NULL, length + HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		give_up("no %zu bytes of address space", length);
	p = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	if (madvise(p, length, advice))
		give_up("madvise(%d): %s", advice, strerror(errno));
	return p;
}

/* Has each page allocated. A byte does, and takes less time than all of them. */
static void touch(char *p, size_t length)
{
	size_t at;

	for (at = 0; at < length; at += PAGE)
		p[at] = 1;
}

char *small_pages(size_t length)
{
	char *p = reserve(length, MADV_NOHUGEPAGE);

	touch(p, length);
	return p;
}

/*
 * Pages with adjacent addresses are not adjacent in memory: they are touched in a scattered order.
 */
char *scattered_pages(size_t length)
{
	char *p = reserve(length, MADV_NOHUGEPAGE);
	size_t nr = length / PAGE;
	size_t i;

	/* An odd stride visits each page once, since their number is a power of two. */
	for (i = 0; i < nr; i++)
		p[(i * 40503 % nr) * PAGE] = 1;
	return p;
}

char *huge_pages(size_t length)
{
	char *p = reserve(length, MADV_HUGEPAGE);
	uint64_t before = kilobytes("/proc/self/smaps_rollup", "AnonHugePages:");

	touch(p, length);
	if (kilobytes("/proc/self/smaps_rollup", "AnonHugePages:") - before < length / 1024)
		give_up("the kernel has no huge pages for %zu bytes", length);
	return p;
}

static char *hugetlb_pages(size_t length, int size)
{
	char *p = mmap(NULL, length, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | size, -1, 0);

	if (p == MAP_FAILED)
		give_up("hugetlb: %s", strerror(errno));
	touch(p, length);
	return p;
}

char *hugetlb_2m(size_t length)
{
	return hugetlb_pages(length, MAP_HUGE_2MB);
}

char *hugetlb_1g(size_t length)
{
	return hugetlb_pages(length, MAP_HUGE_1GB);
}

int file_of(size_t length, unsigned int flags)
{
	int fd = memfd_create("bench", flags | MFD_CLOEXEC | MFD_ALLOW_SEALING);

	/* udmabuf takes no others. */
	if (fd < 0 || fallocate(fd, 0, 0, length) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		give_up("memfd: %s", strerror(errno));
	return fd;
}
