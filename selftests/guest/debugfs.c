// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/iommufd_rs: what its files list is what this program has mapped, and readers are
 * waited for by nobody.
 *
 * Usage: debugfs VFIO_CDEV. The C module has no such folder: there each test checks that, and no more.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "late.h"

#define TOP_FOLDER	"/sys/kernel/debug/iommufd_rs"
#define BACKEND		"/sys/module/iommufd_rs/parameters/backend"
#define NR_PAGES	16UL
#define MANY_AREAS	100000UL
#define FEW_AREAS	5000UL
#define SECONDS		20	/* of mapping */
#define STEP		(2 * PAGE)
#define NR_CALLS	50
#define AT_ONCE		0.5	/* seconds that a read may take, under emulation */
#define ATTEMPTS	10
#define PATIENCE	60000	/* milliseconds, for what comes or goes after a call */

/* A context with an IOAS, and its folder. */
struct folder {
	int fd;
	uint32_t ioas;
	unsigned long long number;
	char path[64];
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Waits until a folder is there, or is not; both are done after the call that causes it. */
static bool comes(const char *path, bool is_there)
{
	int i;

	for (i = 0; (access(path, F_OK) == 0) != is_there; i++) {
		if (i == PATIENCE)
			return false;
		usleep(1000);
	}
	return true;
}

static unsigned long long number_of(int fd)
{
	unsigned long long number = 0;
	char line[128], path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "iommufd-context: %llu", &number);
	if (f)
		fclose(f);
	return number;
}

/* Fails the test and returns false if there is no context with a folder. */
static bool open_folder(struct folder *f)
{
	char last[sizeof(f->path) + 16];
	int r;

	if (on_c_module()) {
		if (!access(TOP_FOLDER, F_OK))
			fail("the C module has %s: this program should read it", TOP_FOLDER);
		return false;
	}
	f->fd = open_iommu();
	r = f->fd < 0 ? f->fd : ioas_alloc(f->fd, &f->ioas);
	if (r) {
		fail("cannot make an IOAS: %s", errno_name(r));
		return false;
	}
	f->number = number_of(f->fd);
	snprintf(f->path, sizeof(f->path), TOP_FOLDER "/%llu", f->number);
	/* The file that is made last. */
	snprintf(last, sizeof(last), "%s/latency", f->path);
	if (!f->number || !comes(last, true))
		fail("context %llu has no folder", f->number);
	return !has_failed();
}

static void close_folder(struct folder *f)
{
	close(f->fd);
	CHECK(comes(f->path, false));
}

static int open_list(const struct folder *f, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->path, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Returns the text of a file of the folder, which the next call overwrites. */
static const char *list(const struct folder *f, const char *name)
{
	static char text[1 << 16];
	size_t length = 0;
	ssize_t r = 0;
	int fd = open_list(f, name);

	if (fd < 0)
		fail("cannot open %s: %s", name, errno_name(-errno));
	while (fd >= 0 && (r = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += r;
	if (r < 0)
		fail("cannot read %s: %s", name, errno_name(-errno));
	close(fd);
	text[length] = 0;
	return text;
}

/* Fails the test unless the file is this text. */
static void lists(const struct folder *f, const char *name, const char *want)
{
	const char *got = list(f, name);

	if (strcmp(got, want))
		fail("%s is\n%sexpected\n%s", name, got, want);
}

static void folders(struct fixture *none)
{
	struct folder one, two;
	struct stat s;
	char path[128];
	size_t i;

	if (!open_folder(&one) || !open_folder(&two))
		return;
	WANT(two.number, one.number + 1);
	lists(&one, "areas", "");
	lists(&one, "extents", "");
	for (i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "%s/%s", one.path,
			 (const char *[]){ "objects", "areas", "extents", "tables", "latency" }[i]);
		CHECK(!stat(path, &s));
		WANT(s.st_mode & 07777, 0400);
		WANT(s.st_uid, 0);
	}
	close_folder(&one);
	CHECK(!access(two.path, F_OK));
	close_folder(&two);
}

static void areas(struct fixture *none)
{
	uint64_t iova = FREE_IOVA, to = HELD_IOVA;
	char want[1024];
	struct folder f;
	uint32_t second;
	int file;

	if (!open_folder(&f))
		return;
	file = memory_file(4 * PAGE, 0);
	CHECK(file >= 0);
	WANT(map(f.fd, f.ioas, mem.rw, 2 * PAGE, HELD_IOVA), 0);
	WANT(map_file(f.fd, f.ioas, FIXED | READ, file, PAGE, 3 * PAGE, &iova), 0);
	WANT(ioas_alloc(f.fd, &second), 0);
	WANT(copy(f.fd, f.ioas, HELD_IOVA + PAGE, PAGE, FIXED | WRITE, second, &to), 0);
	snprintf(want, sizeof(want),
		 "ioas=%u iova=0x%lx length=0x%lx prot=rw memory=0x%lx state=ready accesses=0\n"
		 "ioas=%u iova=0x%lx length=0x%lx prot=r- file=0x%lx state=ready accesses=0\n"
		 "ioas=%u iova=0x%lx length=0x%lx prot=-w memory=0x%lx state=ready accesses=0\n",
		 f.ioas, HELD_IOVA, 2 * PAGE, PTR(mem.rw),
		 f.ioas, FREE_IOVA, 3 * PAGE, PAGE,
		 second, HELD_IOVA, PAGE, PTR(mem.rw) + PAGE);
	lists(&f, "areas", want);
	/* Without a device nothing is pinned. */
	lists(&f, "extents", "");
	WANT(unmap_all(f.fd, f.ioas), 5 * PAGE);
	WANT(destroy(f.fd, second), 0);
	lists(&f, "areas", "");
	close(file);
	close_folder(&f);
}

/* Each run of pages is where the memory is. */
static void extents(struct fixture *none)
{
	uint64_t iova, phys, length, next = HELD_IOVA, at;
	uint32_t dev_id, hwpt, ioas;
	const char *line;
	struct folder f;
	char *memory;
	int dev;

	if (!open_folder(&f))
		return;
	memory = mmap(NULL, NR_PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(memory != MAP_FAILED);
	dev = open(device_path, O_RDWR | O_CLOEXEC);
	CHECK(dev >= 0);
	WANT(bind_device(dev, f.fd, &dev_id), 0);
	WANT(attach(dev, f.ioas, &hwpt), 0);
	WANT(map(f.fd, f.ioas, memory, NR_PAGES * PAGE, HELD_IOVA), 0);
	for (line = list(&f, "extents"); *line; line = strchr(line, '\n') + 1) {
		if (sscanf(line, "ioas=%u iova=%lx phys=%lx length=%lx\n", &ioas, &iova, &phys,
			   &length) != 4) {
			fail("not a line of a run: %s", line);
			break;
		}
		WANT(ioas, f.ioas);
		WANT(iova, next);
		next = iova + length;
		for (at = iova; at < next; at += PAGE)
			WANT(phys + (at - iova), phys_of(memory + (at - HELD_IOVA)));
	}
	WANT(next, HELD_IOVA + NR_PAGES * PAGE);
	WANT(detach(dev), 0);
	lists(&f, "extents", "");
	close(dev);
	munmap(memory, NR_PAGES * PAGE);
	close_folder(&f);
}

/* Returns how many entries the IOMMU's driver finds in the page tables of the device, or -1. */
static long entries_of_the_driver(void)
{
	char path[256], real[256], line[512];
	long entries = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/vfio-dev/%s/device", basename(device_path));
	if (!realpath(path, real))
		return -1;
	snprintf(path, sizeof(path), "/sys/kernel/debug/iommu/intel/%s/domain_translation_struct",
		 basename(real));
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		entries += !strncmp(line, "0x", 2);
	if (!f)
		return -1;
	fclose(f);
	return entries;
}

/* Adds up the entries of all lines. Each line must be as long as its entries. */
static unsigned long entries_of(const char *line, uint32_t hwpt, unsigned long *large)
{
	unsigned long entries = 0, size, count, iova, length, sum;
	uint32_t id;
	int at, used;

	for (*large = 0; *line; line = strchr(line, '\n') + 1) {
		if (sscanf(line, "hwpt=%u iova=%lx length=%lx%n", &id, &iova, &length, &at) != 3 ||
		    id != hwpt) {
			fail("not a line of entries: %s", line);
			break;
		}
		for (sum = 0; sscanf(line + at, " %lx=%lu%n", &size, &count, &used) == 2; at += used) {
			sum += size * count;
			entries += count;
			*large += size > PAGE ? count : 0;
		}
		if (sum != length || line[at] != '\n')
			fail("entries for %lu bytes in %s", sum, line);
	}
	return entries;
}

/* There are as many entries as the IOMMU's driver finds in its page tables. */
static void tables(struct fixture *none)
{
	uint32_t dev_id, hwpt;
	unsigned long entries, large;
	struct folder f;
	char *memory;
	int dev;

	if (!open_folder(&f))
		return;
	memory = mmap(NULL, 4 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	memory = (char *)((PTR(memory) + HUGE - 1) & ~(HUGE - 1));
	CHECK(!madvise(memory, 3 * HUGE, MADV_HUGEPAGE));
	memset(memory, 1, 3 * HUGE);
	dev = open(device_path, O_RDWR | O_CLOEXEC);
	CHECK(dev >= 0);
	WANT(bind_device(dev, f.fd, &dev_id), 0);
	WANT(attach(dev, f.ioas, &hwpt), 0);
	lists(&f, "tables", "");
	/* Large pages; such that do not fit; and the memory of other tests. */
	WANT(map(f.fd, f.ioas, memory, 2 * HUGE, FREE_IOVA), 0);
	WANT(map(f.fd, f.ioas, memory + PAGE, 2 * HUGE, FREE_IOVA + 4 * HUGE + 3 * PAGE), 0);
	WANT(map(f.fd, f.ioas, mem.rw, NR_PAGES * PAGE, HELD_IOVA), 0);
	entries = entries_of(list(&f, "tables"), hwpt, &large);
	note("%lu entries, %lu of them large; the IOMMU's driver has %ld", entries, large,
	     entries_of_the_driver());
	WANT(entries, entries_of_the_driver());
	CHECK(entries >= 512 + NR_PAGES);
	WANT(unmap_all(f.fd, f.ioas), 4 * HUGE + NR_PAGES * PAGE);
	lists(&f, "tables", "");
	/* Without large pages. */
	WANT(detach(dev), 0);
	WANT(set_option(f.fd, IOMMU_OPTION_HUGE_PAGES, f.ioas, 0), 0);
	WANT(attach(dev, f.ioas, &hwpt), 0);
	WANT(map(f.fd, f.ioas, memory, 2 * HUGE, FREE_IOVA), 0);
	entries = entries_of(list(&f, "tables"), hwpt, &large);
	WANT(entries, 2 * HUGE / PAGE);
	WANT(entries_of_the_driver(), 2 * HUGE / PAGE);
	close(dev);
	close_folder(&f);
}

/* The lines of each object are there as long as the object is. */
static void objects(struct fixture *none)
{
	uint32_t dev_id, hwpt;
	char line[64];
	struct folder f;
	int dev;

	if (!open_folder(&f))
		return;
	dev = open(device_path, O_RDWR | O_CLOEXEC);
	CHECK(dev >= 0);
	CHECK(write_to(BACKEND, "in_tree"));
	WANT(bind_device(dev, f.fd, &dev_id), 0);
	CHECK(write_to(BACKEND, "native"));
	WANT(attach(dev, f.ioas, &hwpt), 0);
	snprintf(line, sizeof(line), "iommufd-device-%u-backend:\tin_tree\n", dev_id);
	CHECK(strstr(list(&f, "objects"), line));
	snprintf(line, sizeof(line), "iommufd-hwpt-paging-%u-ioas:\t%u\n", hwpt, f.ioas);
	CHECK(strstr(list(&f, "objects"), line));
	snprintf(line, sizeof(line), "iommufd-hwpt-paging-%u-", hwpt);
	WANT(detach(dev), 0);
	CHECK(!strstr(list(&f, "objects"), line));
	close(dev);
	snprintf(line, sizeof(line), "iommufd-device-%u-", dev_id);
	CHECK(!strstr(list(&f, "objects"), line));
	close_folder(&f);
}

/* Returns how many calls of a kind the histogram has. */
static unsigned long counted(const struct folder *f, const char *kind)
{
	unsigned long sum = 0, calls, least;
	const char *line;
	char name[32];

	for (line = list(f, "latency"); *line; line = strchr(line, '\n') + 1) {
		if (sscanf(line, "%31s ns=%lu calls=%lu\n", name, &least, &calls) != 3 ||
		    !least || (least & (least - 1)) || !calls)
			fail("not a line of a histogram: %s", line);
		else if (!strcmp(name, kind))
			sum += calls;
	}
	return sum;
}

static void map_and_unmap(struct folder *f)
{
	unsigned int i;

	for (i = 0; i < NR_CALLS; i++) {
		WANT(map(f->fd, f->ioas, mem.rw, PAGE, HELD_IOVA), 0);
		WANT(unmap(f->fd, f->ioas, HELD_IOVA, PAGE), PAGE);
	}
}

static void latencies(struct fixture *none)
{
	struct folder f;

	if (!open_folder(&f))
		return;
	map_and_unmap(&f);
	lists(&f, "latency", "");
	CHECK(write_to(TOP_FOLDER "/timing", "1"));
	map_and_unmap(&f);
	CHECK(write_to(TOP_FOLDER "/timing", "0"));
	map_and_unmap(&f);
	WANT(counted(&f, "map"), NR_CALLS);
	WANT(counted(&f, "unmap"), NR_CALLS);
	WANT(counted(&f, "attach"), 0);
	CHECK(!write_to(TOP_FOLDER "/timing", "2"));
	close_folder(&f);
}

/* Reads the list of areas to its end. Returns the seconds that the longest read took, or -1. */
static double longest_read(const struct folder *f, unsigned long *lines)
{
	double start, took, most = 0;
	char text[4096];
	ssize_t r, j;
	int fd = open_list(f, "areas");

	*lines = 0;
	do {
		start = now();
		r = read(fd, text, sizeof(text));
		took = now() - start;
		if (took > most)
			most = took;
		for (j = 0; j < r; j++)
			*lines += text[j] == '\n';
	} while (r > 0);
	/* A place in the list is known to the open file only. */
	if (r < 0 || lseek(fd, 0, SEEK_SET) >= 0 || errno != ESPIPE || pread(fd, text, 1, 0) >= 0 ||
	    errno != ESPIPE)
		most = -1;
	close(fd);
	return most;
}

/*
 * The list is long, and each read of it is short. A kernel that looks for mistakes is slow: there the
 * list is shorter. On a busy machine any read may take long, but one that walks the list does so each time.
 */
static void many(struct fixture *none)
{
	double most = 2 * AT_ONCE, end = now() + SECONDS;
	unsigned long lines = 0, i;
	struct folder f;
	int attempt;

	if (!open_folder(&f))
		return;
	for (i = 0; i < MANY_AREAS && (i < FEW_AREAS || now() < end); i++)
		WANT(map(f.fd, f.ioas, mem.rw, PAGE, FREE_IOVA + i * STEP), 0);
	for (attempt = 0; attempt < ATTEMPTS && most >= AT_ONCE; attempt++) {
		most = longest_read(&f, &lines);
		CHECK(most >= 0);
		WANT(lines, i);
		note("%lu areas; the longest read took %.0f us", lines, most * 1e6);
	}
	CHECK(most < AT_ONCE);
	close_folder(&f);
}

static struct folder late_folder;

/* Reads into memory that comes late, in a process that has closed the context. */
static int read_late(char *at)
{
	int fd = open_list(&late_folder, "areas");
	ssize_t r;

	close(late_folder.fd);
	r = read(fd, at, PAGE);
	return r < 0 ? -errno : r;
}

static bool open_late(void *none)
{
	int r;

	if (!open_folder(&late_folder))
		return false;
	r = map(late_folder.fd, late_folder.ioas, mem.rw, PAGE, HELD_IOVA);
	if (r)
		fail("nothing to list: %s", errno_name(r));
	return !r;
}

static void work_meanwhile(struct late *late, void *none)
{
	struct folder *f = &late_folder, other;
	int fd;

	WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, PAGE), PAGE);
	close(f->fd);
	f->fd = -1;
	fd = open_iommu();
	CHECK(fd >= 0);
	WANT(ioas_alloc(fd, &other.ioas), 0);
	close(fd);
	if (open_folder(&other))
		close_folder(&other);
	/* If anything waits for the reader, the memory is never late now. */
	late->told = still_late(late);
	if (late->told)
		CHECK(!access(f->path, F_OK));
	CHECK(end_late(late) > 0);
}

static void close_late(void *none)
{
	if (late_folder.fd >= 0)
		close(late_folder.fd);
	CHECK(comes(late_folder.path, false));
}

/*
 * A reader that waits for its memory keeps nobody from mapping, closing and opening, and no other folder from
 * coming and going.
 */
static void late_reader(struct fixture *none)
{
	test_late(&(struct late_test){
		.late = { .kind = LATE, .call = read_late },
		.open = open_late, .run = work_meanwhile, .close = close_late });
}

static void kept_open(struct fixture *none)
{
	char text[64];
	struct folder f;
	int fd;

	if (!open_folder(&f))
		return;
	WANT(map(f.fd, f.ioas, mem.rw, PAGE, HELD_IOVA), 0);
	fd = open_list(&f, "areas");
	CHECK(fd >= 0);
	CHECK(read(fd, text, 8) == 8);
	close_folder(&f);
	/* debugfs answers for files that it has removed. */
	CHECK(read(fd, text, sizeof(text)) < 0 && errno == EIO);
	close(fd);
}

static long module_users(void)
{
	FILE *f = fopen("/sys/module/iommufd_rs/refcnt", "r");
	long users = -1;

	if (f && fscanf(f, "%ld", &users) != 1)
		users = -1;
	if (f)
		fclose(f);
	return users;
}

/* The operations of an open file are code of the module. */
static void open_files_hold(struct fixture *none)
{
	struct folder f;
	long before;
	int fd;

	if (!open_folder(&f))
		return;
	before = module_users();
	CHECK(before > 0);
	fd = open(TOP_FOLDER "/timing", O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	WANT(module_users(), before + 1);
	close(fd);
	fd = open_list(&f, "areas");
	CHECK(fd >= 0);
	WANT(module_users(), before + 1);
	close(fd);
	WANT(module_users(), before);
	close_folder(&f);
}

static const struct test tests[] = {
	{ "a context has a folder, which goes with it", folders, ALONE },
	{ "areas", areas, ALONE },
	{ "extents", extents, ALONE },
	{ "entries of page tables", tables, ALONE },
	{ "objects", objects, ALONE },
	{ "latencies", latencies, ALONE },
	{ "up to 100,000 areas", many, ALONE },
	{ "a reader whose memory is late", late_reader, ALONE },
	{ "a file that is kept open", kept_open, ALONE },
	{ "open files keep the module loaded", open_files_hold, ALONE },
};

static const struct suite debugfs = { "debugfs", NULL, 0, tests, ARRAY_SIZE(tests) };

const struct suite *const suites[] = { &debugfs };
const unsigned int nr_suites = ARRAY_SIZE(suites);
