// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shared mappings of files, mapped by their addresses: page tables get the pages that the process has at
 * these addresses, whatever was done to the mapping, and no others.
 *
 * Usage: shared none [SUITE]
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared.h"

#define NR_ROUNDS	60

#ifndef MADV_GUARD_INSTALL		/* glibc 2.41 */
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif

struct mock m;

bool begin(void)
{
	return open_mock(&m);
}

void end(void)
{
	close_mock(&m);
}

char *mapping(int file, off_t start, size_t length, int prot, int flags)
{
	char *p = mmap(NULL, length, prot, flags, file, start);

	if (p == MAP_FAILED) {
		fail("mmap: %s", errno_name(-errno));
		return NULL;
	}
	return p;
}

void fill(char *p)
{
	size_t i;

	for (i = 0; i < NR_PAGES; i++)
		*(size_t *)(p + i * PAGE) = i;
}

char *filled(int *file, unsigned int flags)
{
	char *p = NULL;

	*file = memory_file(LENGTH, flags);
	if (*file >= 0)
		p = mapping(*file, 0, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED);
	if (p)
		fill(p);
	else
		fail("no file of %lu bytes", LENGTH);
	return p;
}

void check_mapped(const char *p, size_t length)
{
	WANT(map(m.fd, m.ioas, p, length, MOCK_IOVA), 0);
	WANT(pinned(), m.idle + (long)(length / PAGE));
	WANT(mock_check(m.fd, m.hwpt, MOCK_IOVA, p, length), 0);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA, length), length);
	WANT(pinned(), m.idle);
}

void check_refused(const char *p, size_t length, int errnum)
{
	WANT(map(m.fd, m.ioas, p, length, MOCK_IOVA), -errnum);
	WANT(pinned(), m.idle);
	WANT(unmap_all(m.fd, m.ioas), 0);
}

/* Returns how many pages of the memory the page tables of this process have, or -1. */
static long entered(const char *p, size_t length)
{
	size_t nr = length / PAGE, i;
	uint64_t *entries = calloc(nr, sizeof(*entries));
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t bytes = nr * sizeof(*entries);
	long found = 0;

	if (!entries || pread(fd, entries, bytes, PTR(p) / PAGE * sizeof(*entries)) != bytes)
		found = -1;
	for (i = 0; i < nr && found >= 0; i++)
		found += entries[i] >> 63;
	free(entries);
	close(fd);
	return found;
}

void check_entered(char *p, size_t length, size_t by_address)
{
	long nr = length / PAGE, nr_by_address = by_address / PAGE;

	WANT(madvise(p, length, MADV_DONTNEED), 0);
	WANT(entered(p, length), 0);
	WANT(map(m.fd, m.ioas, p, length, MOCK_IOVA), 0);
	WANT_FINDING("difference 21", entered(p, length), nr_by_address, nr);
	WANT(mock_check(m.fd, m.hwpt, MOCK_IOVA, p, length), 0);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA, length), length);
	WANT(pinned(), m.idle);
}

static void same_pages(struct fixture *none)
{
	int files[2];
	char *p[3];

	CHECK(begin());
	p[0] = filled(&files[0], 0);
	p[1] = filled(&files[1], MFD_HUGETLB | MFD_HUGE_2MB);
	p[2] = mapping(-1, 0, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
	CHECK(p[2]);
	memset(p[2], 1, LENGTH);
	check_mapped(p[0], LENGTH);
	check_mapped(p[1], LENGTH);
	check_mapped(p[2], LENGTH);
	/* Parts, which begin and end inside a page or a huge page. */
	check_mapped(p[0] + 3 * PAGE, LENGTH - 7 * PAGE);
	check_mapped(p[1] + 3 * PAGE, LENGTH - 7 * PAGE);
	end();
}

/* Where nothing but the file decides which pages there are, they are pinned by it. */
static void by_the_file(struct fixture *none)
{
	char *p[3];
	int files[2];

	CHECK(begin());
	p[0] = filled(&files[0], 0);
	p[1] = filled(&files[1], MFD_HUGETLB | MFD_HUGE_2MB);
	p[2] = mapping(-1, 0, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
	CHECK(p[2]);
	fill(p[2]);
	check_entered(p[0], LENGTH, 0);
	check_entered(p[1], LENGTH, 0);
	check_entered(p[2], LENGTH, 0);
	check_entered(p[0] + 3 * PAGE, HALF, 0);
	/* Little memory is pinned by its address. */
	check_entered(p[0], HUGE - PAGE, HUGE - PAGE);
	end();
}

/* A large page reaches beyond the end of its file. */
static void across_the_end(struct fixture *none)
{
	const char *shmem_enabled = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	struct stat status;
	int file;
	char *p;

	CHECK(begin());
	CHECK(write_to(shmem_enabled, "advise"));
	file = memory_file(LENGTH - PAGE, 0);
	CHECK(file >= 0);
	p = mapping(-1, 0, LENGTH + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
	CHECK(p);
	p += -PTR(p) % HUGE;
	CHECK(mmap(p, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == p);
	CHECK(!madvise(p, LENGTH, MADV_HUGEPAGE));
	memset(p, 1, LENGTH - PAGE);
	CHECK(!fstat(file, &status));
	WANT(status.st_blocks * 512, LENGTH);
	CHECK(write_to(shmem_enabled, "never"));
	check_entered(p, LENGTH - HUGE, 0);
	end();
}

/* Several mappings one behind the other, of parts in another order. */
static void other_order(struct fixture *none)
{
	int file, other;
	char *p, *at;

	CHECK(begin());
	p = filled(&file, 0);
	CHECK(filled(&other, 0));
	at = mapping(-1, 0, 3 * LENGTH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
	CHECK(at);
	CHECK(mmap(at, HALF, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file, HALF) == at);
	CHECK(mmap(at + HALF, HALF, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file,
		   0) == at + HALF);
	CHECK(mmap(at + LENGTH, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
		   other, 0) == at + LENGTH);
	check_mapped(at, 2 * LENGTH);
	/* The mapping is moved. */
	CHECK(mremap(at + LENGTH, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p);
	check_mapped(p, LENGTH);
	/* Nothing is mapped behind it any more. */
	check_refused(at, 2 * LENGTH, EFAULT);
	end();
}

/* What a file lacks is allocated. */
static void holes(struct fixture *none)
{
	int file;
	char *p;

	CHECK(begin());
	p = filled(&file, 0);
	WANT(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HALF, 16 * PAGE), 0);
	check_mapped(p, LENGTH);
	CHECK(p[HALF] == 0);
	/* There is no entry in the process's page tables, but the page is there. */
	WANT(madvise(p, LENGTH, MADV_DONTNEED), 0);
	check_mapped(p, LENGTH);
	CHECK(*(size_t *)(p + 5 * PAGE) == 5);
	end();
}

/* Memory that the mapping must supply, since the file lacks it, is pinned by its address. */
static void by_address(struct fixture *none)
{
	const int keep_size = FALLOC_FL_KEEP_SIZE, hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	const size_t few = 16 * PAGE;
	int file;
	char *p;

	CHECK(begin());
	p = filled(&file, 0);
	WANT(fallocate(file, hole, LENGTH - few, few), 0);
	check_entered(p, LENGTH, few);
	check_entered(p, LENGTH, 0);
	/* What is allocated behind the end of the file makes up for nothing. */
	WANT(fallocate(file, keep_size, LENGTH, 4 * few), 0);
	WANT(fallocate(file, hole, LENGTH - few, few), 0);
	check_entered(p, LENGTH, few);
	WANT(fallocate(file, hole, HALF, few), 0);
	check_entered(p, HALF + few, few);
	/* Less than 2 MiB that the file has, between two holes. */
	WANT(fallocate(file, hole, 0, few), 0);
	WANT(fallocate(file, hole, HUGE, few), 0);
	check_entered(p, HUGE + few, HUGE + few);
	/* Large pages of a file. */
	p = filled(&file, MFD_HUGETLB | MFD_HUGE_2MB);
	WANT(fallocate(file, hole, LENGTH - HUGE, HUGE), 0);
	check_entered(p, LENGTH, HUGE);
	WANT(fallocate(file, hole, LENGTH - HUGE, HUGE), 0);
	check_mapped(p + 3 * PAGE, LENGTH - 3 * PAGE);
	end();
}

/* A file that loses pages while they are mapped gets others. */
static void punched_while_mapped(struct fixture *none)
{
	int file;
	char *p;

	CHECK(begin());
	p = filled(&file, 0);
	WANT(map(m.fd, m.ioas, p, LENGTH, MOCK_IOVA), 0);
	WANT(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 16 * PAGE), 0);
	p[0] = 1;
	CHECK(mock_check(m.fd, m.hwpt, MOCK_IOVA, p, PAGE) < 0);
	WANT(mock_check(m.fd, m.hwpt, MOCK_IOVA + 16 * PAGE, p + 16 * PAGE, LENGTH - 16 * PAGE), 0);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA, LENGTH), LENGTH);
	WANT(pinned(), m.idle);
	check_mapped(p, LENGTH);
	end();
}

static void truncated(struct fixture *none)
{
	int file;
	char *p;

	CHECK(begin());
	p = filled(&file, 0);
	WANT(ftruncate(file, LENGTH - PAGE), 0);
	check_refused(p, LENGTH, EFAULT);
	check_mapped(p, LENGTH - PAGE);
	end();
}

/* The permissions of the mapping count, not those of the file. */
static void permissions(struct fixture *none)
{
	uint64_t iova = MOCK_IOVA;
	int file;
	char *p;

	CHECK(begin());
	p = filled(&file, 0);
	WANT(mprotect(p, LENGTH, PROT_READ), 0);
	check_refused(p, LENGTH, EFAULT);
	WANT(map_as(m.fd, m.ioas, FIXED | READ, p, LENGTH, &iova), 0);
	WANT(mock_check(m.fd, m.hwpt, MOCK_IOVA, p, LENGTH), 0);
	WANT(unmap_all(m.fd, m.ioas), LENGTH);
	WANT(mprotect(p, LENGTH, PROT_NONE), 0);
	WANT(map_as(m.fd, m.ioas, FIXED | READ, p, LENGTH, &iova), -EFAULT);
	WANT(mprotect(p, LENGTH, PROT_READ | PROT_WRITE), 0);
	WANT(mprotect(p + HALF, PAGE, PROT_READ), 0);
	check_refused(p, LENGTH, EFAULT);
	WANT(mprotect(p, LENGTH, PROT_READ | PROT_WRITE), 0);
	check_mapped(p, LENGTH);
	end();
}

/* A file that was opened for reading cannot be mapped for writing by devices either. */
static void read_only_file(struct fixture *none)
{
	uint64_t iova = MOCK_IOVA;
	int file, reader;
	char path[32], *p;

	CHECK(begin());
	CHECK(filled(&file, 0));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(reader >= 0);
	p = mapping(reader, 0, LENGTH, PROT_READ, MAP_SHARED | MAP_POPULATE);
	CHECK(p);
	check_refused(p, LENGTH, EFAULT);
	WANT(map_as(m.fd, m.ioas, FIXED | READ, p, LENGTH, &iova), 0);
	WANT(mock_check(m.fd, m.hwpt, MOCK_IOVA, p, LENGTH), 0);
	WANT(unmap_all(m.fd, m.ioas), LENGTH);
	WANT(pinned(), m.idle);
	end();
}

/* Guard pages belong to the mapping: the file has pages there. */
static void guard_pages(struct fixture *none)
{
	int file;
	char *p;

	CHECK(begin());
	p = filled(&file, 0);
	WANT(madvise(p + HALF, 4 * PAGE, MADV_GUARD_INSTALL), 0);
	check_refused(p, LENGTH, EFAULT);
	check_mapped(p, HALF);
	check_mapped(p + HALF + 4 * PAGE, HALF - 4 * PAGE);
	WANT(madvise(p + HALF, 4 * PAGE, MADV_GUARD_REMOVE), 0);
	check_mapped(p, LENGTH);
	end();
}

static int access_fd;

/* From another process an access writes to the pinned pages, as a device does. */
static void write_as_device(struct fixture *none)
{
	char data[PAGE];

	memset(data, 7, sizeof(data));
	WANT(access_rw(m.fd, access_fd, MOCK_IOVA + HALF, data, PAGE, MOCK_ACCESS_RW_WRITE), 0);
}

/* Memory that nobody has used since it was allocated is zero, and what a device writes to it stays. */
static void unused_memory(struct fixture *none)
{
	int file = memory_file(LENGTH, 0);
	size_t i;
	char *p;

	CHECK(begin());
	CHECK(file >= 0);
	WANT(fallocate(file, 0, 0, LENGTH), 0);
	p = mapping(file, 0, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(p);
	WANT(map(m.fd, m.ioas, p, LENGTH, MOCK_IOVA), 0);
	access_fd = access_open(m.fd, m.ioas, 0);
	CHECK(access_fd >= 0);
	CHECK(in_child(NULL, 0, write_as_device));
	for (i = 0; i < LENGTH; i++)
		CHECK(p[i] == (i / PAGE == HALF / PAGE ? 7 : 0));
	WANT(mock_check(m.fd, m.hwpt, MOCK_IOVA, p, LENGTH), 0);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA, LENGTH), LENGTH);
	close(access_fd);
	end();
}

/* What devices may write cannot be sealed. */
static void sealed(struct fixture *none)
{
	int file;
	char *p;

	CHECK(begin());
	p = filled(&file, MFD_ALLOW_SEALING);
	WANT(map(m.fd, m.ioas, p, LENGTH, MOCK_IOVA), 0);
	WANT(munmap(p, LENGTH), 0);
	WANT(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE) ? -errno : 0, -EBUSY);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA, LENGTH), LENGTH);
	WANT(pinned(), m.idle);
	WANT(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE) ? -errno : 0, 0);
	end();
}

/* Pages of a private mapping are the process's own once they are written to, and devices get those. */
static void private_mapping(struct fixture *none)
{
	char *p, *own;
	int file;

	CHECK(begin());
	p = filled(&file, 0);
	own = mapping(file, 0, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	CHECK(own);
	WANT(map(m.fd, m.ioas, own, LENGTH, MOCK_IOVA), 0);
	WANT(mock_check(m.fd, m.hwpt, MOCK_IOVA, own, LENGTH), 0);
	CHECK(mock_check(m.fd, m.hwpt, MOCK_IOVA, p, PAGE) < 0);
	WANT(unmap_all(m.fd, m.ioas), LENGTH);
	WANT(pinned(), m.idle);
	/* Private memory between two shared mappings. */
	CHECK(mmap(p + HALF, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, HALF) ==
	      p + HALF);
	check_mapped(p, LENGTH);
	end();
}

/* The pages of another process: the IOAS of one is attached by the other. */
static void attach_a_device(struct fixture *none)
{
	uint32_t device, dev_id;

	WANT(mock_device(m.fd, m.other, &device, &dev_id, &m.hwpt), 0);
	WANT(pinned(), m.idle + (long)NR_PAGES);
}

static void other_process(struct fixture *none)
{
	int file;
	char *p;

	CHECK(begin());
	p = filled(&file, 0);
	WANT(map(m.fd, m.other, p, LENGTH, MOCK_IOVA), 0);
	CHECK(in_child(NULL, 0, attach_a_device));
	WANT(pinned(), m.idle + (long)NR_PAGES);
	WANT(unmap_all(m.fd, m.other), LENGTH);
	WANT(pinned(), m.idle);
	end();
}

struct changer {
	char *at;
	int files[2];
	atomic_bool over;
};

/* Replaces, protects and removes the mappings at the addresses until changed_meanwhile() sets `over`. */
static void *change_mappings(void *arg)
{
	struct changer *c = arg;
	unsigned int i;

	for (i = 0; !atomic_load(&c->over); i++) {
		mmap(c->at + (i & 1 ? HALF : 0), HALF, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		     c->files[i >> 1 & 1], 0);
		mprotect(c->at + HALF / 2, HALF, PROT_READ);
		fallocate(c->files[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i % NR_PAGES * PAGE, PAGE);
		mprotect(c->at + HALF / 2, HALF, PROT_READ | PROT_WRITE);
		munmap(c->at, PAGE);
	}
	return NULL;
}

/* A map sees the memory before a change or after it, and keeps nothing where it fails. */
static void changed_meanwhile(struct fixture *none)
{
	struct changer c = {};
	pthread_t thread;
	int i, r, mapped = 0;

	CHECK(begin());
	c.at = filled(&c.files[0], 0);
	CHECK(filled(&c.files[1], 0));
	CHECK(!pthread_create(&thread, NULL, change_mappings, &c));
	for (i = 0; i < NR_ROUNDS; i++) {
		r = map(m.fd, m.ioas, c.at, LENGTH, MOCK_IOVA);
		CHECK(r == 0 || r == -EFAULT);
		mapped += !r;
		if (!r)
			WANT(unmap(m.fd, m.ioas, MOCK_IOVA, LENGTH), LENGTH);
	}
	atomic_store(&c.over, true);
	pthread_join(thread, NULL);
	WANT(pinned(), m.idle);
	note("%d of %d maps succeeded", mapped, NR_ROUNDS);
	CHECK(mmap(c.at, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, c.files[1], 0) == c.at);
	check_mapped(c.at, LENGTH);
	end();
}

static const struct test tests[] = {
	{ "the pages of shared mappings", same_pages, ALONE },
	{ "they are pinned by the file", by_the_file, ALONE },
	{ "a large page across the end of the file", across_the_end, ALONE },
	{ "parts of files in another order", other_order, ALONE },
	{ "a file with a hole", holes, ALONE },
	{ "a file that lacks pages is pinned by address", by_address, ALONE },
	{ "a hole is punched while it is mapped", punched_while_mapped, ALONE },
	{ "a file that is too short", truncated, ALONE },
	{ "the permissions of the mapping", permissions, ALONE },
	{ "a file that was opened for reading", read_only_file, ALONE },
	{ "guard pages", guard_pages, ALONE },
	{ "memory that nobody has used", unused_memory, ALONE },
	{ "a seal against writing", sealed, ALONE },
	{ "a private mapping", private_mapping, ALONE },
	{ "the memory of another process", other_process, ALONE },
	{ "mappings change meanwhile", changed_meanwhile, ALONE },
};

static const struct suite shared_suite = {
	.name = "shared", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &shared_suite, &faults_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
