// SPDX-License-Identifier: GPL-2.0-only
/* Forks, exits and closes while memory is mapped. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uapi.h"


static void unmap_held(struct fixture *f)
{
	WANT(unmap_all(f->fd, f->ioas), PAGE);
}

static void child_unmaps(struct fixture *f)
{
	WANT(pinned(), f->idle_pins + 1);
	CHECK(in_child(f, 0, unmap_held));
	WANT(pinned(), f->idle_pins);
	WANT(own_pinned(), 0);
	WANT(unmap(f->fd, f->ioas, HELD_IOVA, PAGE), -ENOENT);
}

static void map_private(struct fixture *f)
{
	WANT(map(f->fd, f->ioas, mem.rw, 16 * PAGE, FREE_IOVA), 0);
}

/* The memory of a process that has exited stays pinned as long as it is mapped. */
static void mapper_dies(struct fixture *f)
{
	uint64_t iova = 2 * FREE_IOVA;

	CHECK(in_child(f, 0, map_private));
	WANT(pinned(), f->idle_pins + 17);
	WANT(copy(f->fd, f->ioas, FREE_IOVA, 4 * PAGE, FIXED | RW, f->ioas, &iova), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 16 * PAGE), 16 * PAGE);
	WANT(pinned(), f->idle_pins + 5);
	WANT(unmap(f->fd, f->ioas, iova, 4 * PAGE), 4 * PAGE);
	WANT(pinned(), f->idle_pins + 1);
}

static void map_without_domain(struct fixture *f)
{
	WANT(map(f->fd, f->other, mem.shared, 4 * PAGE, FREE_IOVA), 0);
}

/* Memory that is mapped but not pinned when its process exits. */
static void mapper_dies_unpinned(struct fixture *f)
{
	uint64_t iova = FREE_IOVA;
	uint32_t id;

	CHECK(in_child(f, 0, map_without_domain));
	WANT(copy(f->fd, f->other, FREE_IOVA, 4 * PAGE, FIXED | RW, f->ioas, &iova), -EFAULT);
	WANT(attach(f->dev, f->other, NULL), -EFAULT);
	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &id), -EFAULT);
	WANT(pinned(), f->idle_pins + 1);
	WANT(copy(f->fd, f->other, FREE_IOVA, 4 * PAGE, FIXED | RW, f->other, &(uint64_t){ HUGE }), 0);
	WANT(unmap(f->fd, f->other, FREE_IOVA, 4 * PAGE), 4 * PAGE);
	WANT(unmap_all(f->fd, f->other), 5 * PAGE);
}

/* An address is one of the calling process, not of the process that opened the iommufd. */
static void map_what_is_gone(struct fixture *f)
{
	CHECK(!munmap(mem.rw, PAGE));
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA), -EFAULT);
	WANT(map(f->fd, f->ioas, mem.rw + PAGE, PAGE, FREE_IOVA), 0);
}

static void callers_memory(struct fixture *f)
{
	CHECK(in_child(f, 0, map_what_is_gone));
	WANT(own_pinned(), 1);
	WANT(unmap_all(f->fd, f->ioas), 2 * PAGE);
}

static bool open_alone(struct fixture *f)
{
	*f = (struct fixture){ .fd = open_iommu(), .dev = open(device_path, O_RDWR | O_CLOEXEC) };
	return f->fd >= 0 && f->dev >= 0 && !bind_device(f->dev, f->fd, &f->dev_id) &&
	       !ioas_alloc(f->fd, &f->ioas) && !ioas_alloc(f->fd, &f->other) &&
	       !attach(f->dev, f->ioas, NULL) &&
	       !map(f->fd, f->ioas, mem.rw, 16 * PAGE, FREE_IOVA);
}

/* Exits without unmapping, detaching or closing. */
static void open_and_leave(struct fixture *none)
{
	struct fixture f;

	CHECK(open_alone(&f));
}

static void exits_mapped(struct fixture *none)
{
	long idle = pinned();

	CHECK(in_child(NULL, 0, open_and_leave));
	WANT(pinned(), idle);
	/* The device can be bound again. */
	CHECK(in_child(NULL, 0, open_and_leave));
	WANT(pinned(), idle);
}

static int told[2];

static void map_without_end(struct fixture *none)
{
	struct fixture f;
	uint64_t i;

	CHECK(open_alone(&f));
	CHECK(write(told[1], "", 1) == 1);
	for (i = 0; ; i++) {
		map(f.fd, f.ioas, mem.rw, (1 + i % 16) * PAGE, (2 + i % 64) * FREE_IOVA);
		if (i % 3 == 2)
			unmap(f.fd, f.ioas, (2 + i / 2 % 64) * FREE_IOVA, HUGE);
		if (i % 64 == 63)
			attach(f.dev, i % 128 == 63 ? f.other : f.ioas, NULL);
	}
}

static void killed(struct fixture *none)
{
	long idle = pinned();
	int pid, i, status;
	char c;

	for (i = 0; i < 5; i++) {
		CHECK(!pipe(told));
		pid = start_child(NULL, 0, map_without_end);
		close(told[1]);
		/* End of file without a byte: the child failed at its start. */
		CHECK(read(told[0], &c, 1) == 1);
		close(told[0]);
		usleep(7000 + 13000 * i);
		CHECK(!kill(pid, SIGKILL));
		CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
		WANT(pinned(), idle);
	}
}

static int asked[2];

/* Waits with the fds open, uses them once more and closes them by exiting. */
static void keep_open(struct fixture *f)
{
	char c;

	close(asked[1]);
	CHECK(read(asked[0], &c, 1) == 1);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 2 * FREE_IOVA), 0);
	WANT(unmap(f->fd, f->ioas, 2 * FREE_IOVA, PAGE), PAGE);
}

static void parent_closes_first(struct fixture *none)
{
	long idle = pinned();
	struct fixture f;
	int pid;

	CHECK(open_alone(&f));
	CHECK(!pipe(asked));
	pid = start_child(&f, 0, keep_open);
	close(asked[0]);
	close(f.fd);
	close(f.dev);
	WANT(pinned(), idle + 16);
	CHECK(write(asked[1], "", 1) == 1);
	close(asked[1]);
	CHECK(child_done(pid));
	WANT(pinned(), idle);
}

/* The device is closed while memory is mapped: the mappings stay, and the pages are unpinned. */
static void device_closes_first(struct fixture *none)
{
	long idle = pinned();
	struct fixture f;

	CHECK(open_alone(&f));
	WANT(pinned(), idle + 16);
	close(f.dev);
	WANT(pinned(), idle);
	WANT(map(f.fd, f.ioas, mem.rw, PAGE, FREE_IOVA), -EEXIST);
	WANT(unmap_all(f.fd, f.ioas), 16 * PAGE);
	WANT(destroy(f.fd, f.ioas), 0);
	close(f.fd);
}

/* If the iommufd is closed first, the context and its objects are freed with the device. */
static void page_table_left_over(struct fixture *none)
{
	long idle = pinned();
	struct fixture f;
	uint32_t id;

	CHECK(open_alone(&f));
	WANT(hwpt_alloc(f.fd, f.dev_id, f.other, &id), 0);
	WANT(map(f.fd, f.other, mem.shared, 16 * PAGE, FREE_IOVA), 0);
	WANT(pinned(), idle + 32);
	close(f.dev);
	/* Page tables that were made by HWPT_ALLOC are not destroyed with their device. */
	WANT(pinned(), idle + 16);
	WANT(destroy(f.fd, f.other), -EBUSY);
	close(f.fd);
	WANT(pinned(), idle);
}

static void through_exec(struct fixture *none)
{
	struct fixture f;
	long idle = pinned();
	int pid, status;

	CHECK(open_alone(&f));
	fcntl(f.fd, F_SETFD, 0);
	pid = vfork();
	if (!pid) {
		close(STDERR_FILENO);
		execl("/proc/self/exe", "uapi", NULL);
		_exit(127);
	}
	/* The other program prints its usage and exits. */
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	WANT(WEXITSTATUS(status), 1);
	WANT(pinned(), idle + 16);
	WANT(unmap_all(f.fd, f.ioas), 16 * PAGE);
	close(f.dev);
	close(f.fd);
}

static const struct test tests[] = {
	{ "a child unmaps", child_unmaps, DOMAIN },
	{ "the mapping process exits", mapper_dies, DOMAIN },
	{ "the mapping process exits before pinning", mapper_dies_unpinned, DOMAIN },
	{ "an address is of the calling process", callers_memory, DOMAIN },
	{ "a process exits with everything open", exits_mapped, ALONE },
	{ "a process is killed while it maps", killed, ALONE },
	{ "the parent closes, the child does not", parent_closes_first, ALONE },
	{ "the device is closed before its iommufd", device_closes_first, ALONE },
	{ "page tables are left", page_table_left_over, ALONE },
	{ "across exec", through_exec, ALONE },
};

const struct suite life_suite = {
	"life", NULL, 0, tests, ARRAY_SIZE(tests),
};
