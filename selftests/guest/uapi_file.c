// SPDX-License-Identifier: GPL-2.0-only
/* IOAS_MAP_FILE. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uapi.h"

#define FILE_PAGES	16

#define ROW(what, no_domain, domain, why_no, why_domain, ...) { .name = what, \
	.cmd = IOMMU_IOAS_MAP_FILE, \
	.want = { no_domain, domain }, .why = { why_no, why_domain }, .arg.file = ARG(__VA_ARGS__) }
#define BOTH(what, e, why, ...) ROW(what, e, e, why, why, ##__VA_ARGS__)
#define ARG(...) { .size = sizeof(struct iommu_ioas_map_file), .flags = FIXED | RW, \
	.ioas_id = f->ioas, .fd = files.memory, .length = PAGE, .iova = FREE_IOVA, ##__VA_ARGS__ }

/* A file that cannot be pinned. Without a domain the C module maps it all the same. */
#define NO_MEMORY(what, reason, ...) { .name = what, .cmd = IOMMU_IOAS_MAP_FILE, \
	.want = SAME(EINVAL), .why = SAME(reason), \
	.finding = "11", .c = { 0, EINVAL }, .arg.file = ARG(__VA_ARGS__) }

static struct {
	int memory;		/* FILE_PAGES pages */
	int read_only;		/* the same file, opened read-only */
	int sealed;		/* sealed against writing */
	int shrunk;		/* had one page, truncated to 0 */
	int odd;		/* its size is not a multiple of a page */
	int null, pipe, directory, path, event, regular, closed;
} files;

static void open_files(void)
{
	char link[64];
	int pipes[2];

	if (files.memory)
		return;
	files.memory = memory_file(FILE_PAGES * PAGE, 0);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", files.memory);
	files.read_only = open(link, O_RDONLY | O_CLOEXEC);
	files.path = open(link, O_PATH | O_CLOEXEC);
	files.sealed = memory_file(FILE_PAGES * PAGE, MFD_ALLOW_SEALING);
	fcntl(files.sealed, F_ADD_SEALS, F_SEAL_WRITE);
	files.shrunk = memory_file(PAGE, 0);
	if (ftruncate(files.shrunk, 0))
		perror("ftruncate");
	files.odd = memory_file(PAGE + 100, 0);
	files.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	files.pipe = pipe(pipes) ? -1 : pipes[0];
	files.directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	files.event = eventfd(0, EFD_CLOEXEC);
	files.regular = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	files.closed = fcntl(files.memory, F_DUPFD, 500);
	close(files.closed);
}

static void field_rows(struct fixture *f)
{
	const struct row rows[] = {
		BOTH("the call on which the others are based", 0, NULL),
		BOTH("unknown flag 3", EOPNOTSUPP, "command-flags", .flags = FIXED | RW | 8),
		BOTH("unknown flag 31", EOPNOTSUPP, "command-flags",
		     .flags = FIXED | RW | 1u << 31),
		BOTH("neither readable nor writeable", EINVAL, "map-no-permission", .flags = FIXED),
		BOTH("id 0", ENOENT, "object-none", .ioas_id = 0),
		BOTH("id 0xffffffff", ENOENT, "object-none", .ioas_id = ~0u),
		ROW("id of a device", ENOENT, ENOENT, "object-none", "object-kind",
		    .ioas_id = f->dev_id),
		ROW("id of a page table", ENOENT, ENOENT, "object-none", "object-kind",
		    .ioas_id = f->hwpt),
		BOTH("length 0", EINVAL, "map-length", .length = 0),
		BOTH("length ULONG_MAX", EOVERFLOW, "command-overflow", .length = TOP),
		BOTH("iova ULONG_MAX", EOVERFLOW, "command-overflow", .iova = TOP),
		BOTH("iova ULONG_MAX, which is ignored", EOVERFLOW, "command-overflow", .iova = TOP,
		     .flags = RW),
		BOTH("iova + length wraps", EOVERFLOW, "map-overflow", .iova = -PAGE,
		     .length = 2 * PAGE),
		BOTH("start + length wraps", EOVERFLOW, "map-overflow", .start = -PAGE,
		     .length = 2 * PAGE),
		BOTH("start + length wraps by one byte", EOVERFLOW, "map-overflow", .start = -PAGE,
		     .length = PAGE + 1),
		BOTH("length ULONG_MAX - 1", EINVAL, "map-length", .length = TOP - 1),
		BOTH("fd -1", EBADF, "map-file", .fd = -1),
		BOTH("fd of nothing", EBADF, "map-file", .fd = 1000000),
		BOTH("fd -2147483648", EBADF, "map-file", .fd = INT32_MIN),
		BOTH("fd closed", EBADF, "map-file", .fd = files.closed),
		BOTH("fd of a path only", EBADF, "map-file", .fd = files.path),
		BOTH("flag before id", EOPNOTSUPP, "command-flags", .flags = 8, .ioas_id = 0),
		BOTH("overflow before protection", EOVERFLOW, "command-overflow", .flags = 0,
		     .length = TOP),
		BOTH("protection before id", EINVAL, "map-no-permission", .flags = 0, .ioas_id = 0),
		BOTH("id before length", ENOENT, "object-none", .ioas_id = 0, .length = 0),
		BOTH("length before fd", EINVAL, "map-length", .length = 0, .fd = -1),
		BOTH("wrapping start before fd", EOVERFLOW, "map-overflow", .start = TOP,
		     .length = 2, .fd = -1),
		BOTH("fd before what is mapped", EBADF, "map-file", .fd = -1, .iova = HELD_IOVA),
		BOTH("over a mapping", EEXIST, "map-exists", .iova = HELD_IOVA),
		BOTH("around a mapping", EEXIST, "map-exists", .iova = HELD_IOVA - PAGE,
		     .length = 3 * PAGE),
		BOTH("all of the file", 0, NULL, .length = FILE_PAGES * PAGE),
		BOTH("the last page", 0, NULL, .start = (FILE_PAGES - 1) * PAGE),
		BOTH("no address named", 0, NULL, .flags = RW),
		BOTH("readable", 0, NULL, .flags = FIXED | READ),
		BOTH("opened read-only, readable", 0, NULL, .fd = files.read_only,
		     .flags = FIXED | READ),
		BOTH("sealed against writing, readable", 0, NULL, .fd = files.sealed,
		     .flags = FIXED | READ),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

static void device_rows(struct fixture *f)
{
	const struct row rows[] = {
		ROW("iova not a whole page", 0, EINVAL, NULL, "map-unaligned",
		    .iova = FREE_IOVA + 1),
		ROW("length not a whole page", 0, EINVAL, NULL, "map-length", .length = PAGE - 1),
		ROW("start not a whole page", 0, EINVAL, NULL, "map-memory-unaligned", .start = 1),
		ROW("start not a whole page, no address named", 0, EINVAL, NULL,
		    "map-memory-unaligned", .start = 1, .flags = RW),
		ROW("the MSI window", 0, EINVAL, NULL, "map-reserved", .iova = MSI_IOVA),
		ROW("one page into the MSI window", 0, EINVAL, NULL, "map-reserved",
		    .iova = MSI_IOVA - PAGE,
		    .length = 2 * PAGE),

		/* Without a domain the size is not checked yet: the file may still grow. */
		ROW("one page more than the file", 0, EINVAL, NULL, "map-pin",
		    .length = (FILE_PAGES + 1) * PAGE),
		ROW("starts at the end of the file", 0, EINVAL, NULL, "map-pin",
		    .start = FILE_PAGES * PAGE),
		ROW("starts far behind the file", 0, EINVAL, NULL, "map-pin", .start = 1ULL << 40),
		ROW("starts at 1 << 63", 0, EINVAL, NULL, "map-pin", .start = 1ULL << 63),
		ROW("ends at 1 << 64", 0, EINVAL, NULL, "map-pin", .start = -PAGE),
		ROW("an empty file", 0, EINVAL, NULL, "map-pin", .fd = files.shrunk),
		ROW("a page of which only a part is in the file", 0, EINVAL, NULL, "map-pin",
		    .fd = files.odd,
		    .start = PAGE),
		ROW("a full page of a file that ends in a page", 0, 0, NULL, NULL, .fd = files.odd),

		NO_MEMORY("/dev/null", "map-file", .fd = files.null),
		NO_MEMORY("a pipe", "map-file", .fd = files.pipe),
		NO_MEMORY("a directory", "map-file", .fd = files.directory),
		NO_MEMORY("an event counter", "map-file", .fd = files.event),
		NO_MEMORY("the iommufd itself", "map-file", .fd = f->fd),
		NO_MEMORY("/dev/null, readable", "map-file", .fd = files.null,
			  .flags = FIXED | READ),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

static void file_rows(struct fixture *f)
{
	open_files();
	field_rows(f);
	device_rows(f);
}

/* The device's own fd is not memory, and must not keep itself open. */
static void device_fd(struct fixture *f)
{
	uint64_t iova = FREE_IOVA;

	WANT(map_file(f->fd, f->ioas, FIXED | RW, f->dev, 0, PAGE, &iova), -EINVAL);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, f->fd, 0, PAGE, &iova), -EINVAL);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, PAGE), -ENOENT);
}

/* Files that this process cannot write to. The C module lets the device write to them. */
static void write_protected(struct fixture *f)
{
	const int fds[] = { files.read_only, files.sealed };
	uint64_t iova = FREE_IOVA;
	size_t i;

	CHECK(write(files.read_only, "", 1) < 0 && errno == EBADF);
	CHECK(write(files.sealed, "", 1) < 0 && errno == EPERM);
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		WANT(map_file(f->fd, f->ioas, FIXED | READ, fds[i], 0, PAGE, &iova), 0);
		WANT(unmap(f->fd, f->ioas, FREE_IOVA, PAGE), PAGE);
		/* The uAPI leaves this open, and programs rely on its success. */
		WANT(map_file(f->fd, f->ioas, FIXED | RW, fds[i], 0, PAGE, &iova), 0);
		WANT(unmap(f->fd, f->ioas, FREE_IOVA, PAGE), PAGE);
	}
}

static void shared_content(struct fixture *f)
{
	uint64_t iova = FREE_IOVA;
	long idle = pinned();
	int fd = memory_file(8 * PAGE, 0);

	CHECK(fd >= 0);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 0, 8 * PAGE, &iova), 0);
	/* The mapping keeps the file open, not the descriptor. */
	CHECK(!close(fd));
	WANT(pinned(), f->domain ? idle + 8 : idle);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 8 * PAGE), 8 * PAGE);
	WANT(pinned(), idle);
}

/* The file's size is checked whenever a device is attached. */
static void grows_and_shrinks(struct fixture *f)
{
	uint64_t iova = FREE_IOVA;
	int fd = memory_file(PAGE, 0);

	CHECK(fd >= 0);
	WANT(detach(f->dev), 0);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 0, 4 * PAGE, &iova), 0);
	WANT(pinned(), f->idle_pins);
	WANT(attach(f->dev, f->ioas, NULL), -EINVAL);
	WANT(pinned(), f->idle_pins);
	CHECK(!ftruncate(fd, 4 * PAGE));
	WANT(attach(f->dev, f->ioas, NULL), 0);
	WANT(pinned(), f->idle_pins + 5);
	/* Pinned pages stay mapped when the file is truncated. */
	CHECK(!ftruncate(fd, 0));
	WANT(pinned(), f->idle_pins + 5);
	iova = 2 * FREE_IOVA;
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 0, 4 * PAGE, &iova), -EINVAL);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 4 * PAGE), 4 * PAGE);
	WANT(pinned(), f->idle_pins + 1);
	CHECK(!close(fd));
}

/* The file ends after many batches of pages. */
static void late_end(struct fixture *f)
{
	size_t size = 40UL << 20;
	uint64_t iova = FREE_IOVA;
	long idle = pinned();
	int fd = memory_file(size, 0);

	CHECK(fd >= 0);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 0, size + PAGE, &iova), -EINVAL);
	WANT(pinned(), idle);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 2 * size), -ENOENT);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 0, size, &iova), 0);
	WANT(pinned(), idle + (long)(size / PAGE));
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 2 * size), size);
	WANT(pinned(), idle);
	CHECK(!close(fd));
}

static long huge_pool_was = -1;

/* Sets the size of the huge page pool; -1 for the size at the start. */
static bool huge_pool(long nr)
{
	char text[32] = "";
	int fd = open("/proc/sys/vm/nr_hugepages", O_RDWR | O_CLOEXEC);
	bool done;

	if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return false;
	if (huge_pool_was < 0)
		huge_pool_was = strtol(text, NULL, 10);
	if (nr < 0)
		nr = huge_pool_was;
	dprintf(fd, "%ld\n", nr);
	done = pread(fd, text, sizeof(text) - 1, 0) > 0 && strtol(text, NULL, 10) == nr;
	close(fd);
	return done;
}

/*
 * Any part of a huge page can be mapped, no more pages than exist, and all are unpinned at last.
 */
static void huge_file(struct fixture *f)
{
	uint64_t iova = FREE_IOVA;
	long idle = pinned();
	int fd;

	CHECK(huge_pool(4));
	fd = memory_file(2 * HUGE, MFD_HUGETLB);
	CHECK(fd >= 0);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 0, 2 * HUGE, &iova), 0);
	if (f->domain)
		CHECK(pinned() > idle);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 2 * HUGE), 2 * HUGE);
	WANT(pinned(), idle);

	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 3 * PAGE, HUGE, &iova), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, HUGE), HUGE);
	WANT(pinned(), idle);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 2 * HUGE - PAGE, PAGE, &iova), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, PAGE), PAGE);

	if (f->domain) {
		WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, HUGE, HUGE + PAGE, &iova), -EINVAL);
		WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 2 * HUGE, PAGE, &iova), -EINVAL);
	}
	WANT(pinned(), idle);
	CHECK(!close(fd));
	CHECK(huge_pool(-1));
}

/* The pool is exhausted in the middle of the mapping. */
static void huge_file_too_big(struct fixture *f)
{
	uint64_t iova = FREE_IOVA;
	long idle = pinned();
	int fd;

	CHECK(huge_pool(2));
	fd = memory_file(4 * HUGE, MFD_HUGETLB);
	CHECK(fd >= 0);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 0, 4 * HUGE, &iova), -ENOMEM);
	WANT(pinned(), idle);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 4 * HUGE), -ENOENT);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 0, 2 * HUGE, &iova), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 2 * HUGE), 2 * HUGE);
	CHECK(!close(fd));
	CHECK(huge_pool(-1));
}

/* If the struct cannot be written back, nothing may be mapped. */
static void unanswered(struct fixture *f)
{
	struct iommu_ioas_map_file cmd = ARG();
	long idle = pinned();

	WANT(call(f->fd, IOMMU_IOAS_MAP_FILE, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT_FINDING("effect before answer", unmap(f->fd, f->ioas, FREE_IOVA, PAGE), -ENOENT, PAGE);
	WANT(pinned(), idle);
}

/* The page count wraps as for MAP. The C module reaches a WARN. */
static void page_count_wraps(struct fixture *f)
{
	uint64_t iova = 0;

	if (on_c_module()) {
		skip("the C module reaches a WARN in iopt_insert_area()");
		return;
	}
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(map_file(f->fd, f->ioas, FIXED | READ, files.memory, PAGE - 1, TOP - PAGE, &iova),
	     f->domain ? -EINVAL : -EOVERFLOW);
}

static const struct test tests[] = {
	{ "the fds of the device and of the iommufd", device_fd, DOMAIN },
	{ "a file that cannot be written", write_protected, NO_DOMAIN | DOMAIN },
	{ "the mapping keeps the file open", shared_content, NO_DOMAIN | DOMAIN },
	{ "the file grows and shrinks", grows_and_shrinks, DOMAIN },
	{ "the file ends after many batches", late_end, DOMAIN },
	{ "huge pages", huge_file, NO_DOMAIN | DOMAIN },
	{ "more huge pages than exist", huge_file_too_big, DOMAIN },
	{ "the struct cannot be written back", unanswered, NO_DOMAIN | DOMAIN },
	{ "the page count wraps", page_count_wraps, NO_DOMAIN | DOMAIN },
};

const struct suite file_suite = {
	"map file", file_rows, NO_DOMAIN | DOMAIN, tests, ARRAY_SIZE(tests),
};
