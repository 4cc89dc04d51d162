// SPDX-License-Identifier: GPL-2.0-only
/* RLIMIT_MEMLOCK of users without CAP_IPC_LOCK, in both modes. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "uapi.h"

#define LIMIT		12

/* Pinned pages are charged to the user, in one mapping or several; refused mappings are not. */
static void up_to_the_limit(struct fixture *f)
{
	uint64_t iova = 3 * FREE_IOVA;

	CHECK(limit_memlock(LIMIT));
	WANT(map(f->fd, f->ioas, mem.rw, (LIMIT + 1) * PAGE, FREE_IOVA), -ENOMEM);
	WANT(own_pinned(), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, HUGE), -ENOENT);
	WANT(map(f->fd, f->ioas, mem.rw, LIMIT * PAGE, FREE_IOVA), 0);
	WANT(own_pinned(), LIMIT);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 2 * FREE_IOVA), -ENOMEM);
	WANT(own_pinned(), LIMIT);
	/* Neither a copy nor a mapping without a domain is charged. */
	WANT(copy(f->fd, f->ioas, FREE_IOVA, LIMIT * PAGE, FIXED | RW, f->ioas, &iova), 0);
	WANT(map(f->fd, f->other, mem.rw, 16 * PAGE, 2 * FREE_IOVA), 0);
	WANT(own_pinned(), LIMIT);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, LIMIT * PAGE), LIMIT * PAGE);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA), -ENOMEM);
	WANT(unmap(f->fd, f->ioas, iova, LIMIT * PAGE), LIMIT * PAGE);
	WANT(own_pinned(), 0);
	/* A mapping that is refused for another reason is not charged. */
	WANT(map(f->fd, f->ioas, mem.hole, LIMIT * PAGE, FREE_IOVA), -EFAULT);
	WANT(own_pinned(), 0);
	WANT(map(f->fd, f->ioas, mem.rw, LIMIT * PAGE, FREE_IOVA), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, LIMIT * PAGE), LIMIT * PAGE);
}

static void no_limit_left(struct fixture *f)
{
	CHECK(limit_memlock(0));
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA), -ENOMEM);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, PAGE), -ENOENT);
	WANT(map(f->fd, f->other, mem.rw, PAGE, FREE_IOVA), 0);
}

static void by_user(struct fixture *f)
{
	long idle = pinned();

	CHECK(in_child(f, NOBODY, up_to_the_limit));
	WANT(pinned(), idle);
	CHECK(in_child(f, NOBODY, no_limit_left));
	WANT(pinned(), idle);
}

/* CAP_IPC_LOCK: no limit. */
static void over_the_limit(struct fixture *f)
{
	CHECK(limit_memlock(0));
	WANT(map(f->fd, f->ioas, mem.rw, 16 * PAGE, FREE_IOVA), 0);
	WANT(own_pinned(), 16);
}

static void privileged(struct fixture *f)
{
	CHECK(in_child(f, 0, over_the_limit));
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 16 * PAGE), 16 * PAGE);
}

static void second_process_refused(struct fixture *f)
{
	WANT(map(f->fd, f->ioas, mem.rw, 4 * PAGE, 2 * FREE_IOVA), 0);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 3 * FREE_IOVA), -ENOMEM);
}

static void first_process(struct fixture *f)
{
	CHECK(limit_memlock(LIMIT));
	WANT(map(f->fd, f->ioas, mem.rw, 8 * PAGE, FREE_IOVA), 0);
	CHECK(in_child(f, 0, second_process_refused));
	/* What a process has mapped stays charged after its exit. */
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 3 * FREE_IOVA), -ENOMEM);
	WANT(unmap(f->fd, f->ioas, 2 * FREE_IOVA, 4 * PAGE), 4 * PAGE);
	WANT(map(f->fd, f->ioas, mem.rw, 4 * PAGE, 3 * FREE_IOVA), 0);
}

static void other_user(struct fixture *f)
{
	CHECK(limit_memlock(LIMIT));
	WANT(map(f->fd, f->ioas, mem.rw, LIMIT * PAGE, 5 * FREE_IOVA), 0);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 6 * FREE_IOVA), -ENOMEM);
}

static void processes_of_a_user(struct fixture *f)
{
	CHECK(in_child(f, NOBODY, first_process));
	WANT(unmap_all(f->fd, f->ioas), 13 * PAGE);
	/* Whoever unmaps, the charge is returned to the user who mapped. */
	CHECK(in_child(f, NOBODY, up_to_the_limit));
	/* Another user has another limit. */
	CHECK(in_child(f, NOBODY, first_process));
	CHECK(in_child(f, NOBODY + 1, other_user));
}

/*
 * Mapped without a domain and pinned when the device is attached: the user who mapped is charged.
 */
static void map_lazily(struct fixture *f)
{
	CHECK(limit_memlock(LIMIT));
	WANT(map(f->fd, f->ioas, mem.shared, 16 * PAGE, FREE_IOVA), 0);
	WANT(own_pinned(), 0);
	WANT(attach(f->dev, f->ioas, NULL), -ENOMEM);
	WANT(own_pinned(), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 16 * PAGE), 16 * PAGE);
	WANT(map(f->fd, f->ioas, mem.shared, LIMIT * PAGE, FREE_IOVA), 0);
	WANT(attach(f->dev, f->ioas, NULL), 0);
	WANT(own_pinned(), LIMIT);
	WANT(map(f->fd, f->ioas, mem.shared, PAGE, 2 * FREE_IOVA), -ENOMEM);
	WANT(detach(f->dev), 0);
	WANT(own_pinned(), 0);
}

static void charged_on_attach(struct fixture *f)
{
	WANT(detach(f->dev), 0);
	CHECK(in_child(f, NOBODY, map_lazily));
	WANT(pinned(), f->idle_pins);
}

static void file_limited(struct fixture *f)
{
	uint64_t iova = FREE_IOVA;
	int fd = memory_file(16 * PAGE, 0);

	CHECK(fd >= 0 && limit_memlock(LIMIT));
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 0, 16 * PAGE, &iova), -ENOMEM);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, HUGE), -ENOENT);
	WANT(own_pinned(), 0);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, PAGE, LIMIT * PAGE, &iova), 0);
	WANT(own_pinned(), LIMIT);
	iova = 2 * FREE_IOVA;
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 0, PAGE, &iova), -ENOMEM);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, LIMIT * PAGE), LIMIT * PAGE);
	WANT(own_pinned(), 0);
}

static void files(struct fixture *f)
{
	CHECK(in_child(f, NOBODY, file_limited));
}

static void mode_refused(struct fixture *f)
{
	int fd = open_iommu();

	WANT(set_option(f->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1), -EPERM);
	WANT(set_option(f->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 2), -EPERM);
	WANT(get_option(f->fd, IOMMU_OPTION_RLIMIT_MODE, 0), 0);
	/* The device node has no permissions for other users. */
	WANT(fd, -EACCES);
}

static void unprivileged_mode(struct fixture *f)
{
	int fd = open_iommu();
	struct fixture empty = { .fd = fd, .dev = -1 };
	struct refusal r;

	CHECK(fd >= 0);
	CHECK(in_child(f, NOBODY, mode_refused));
	CHECK(last_refusal(f->fd, &r) || on_c_module());
	CHECK(on_c_module() || !strcmp(r.reason, "option-privilege"));
	CHECK(in_child(&empty, NOBODY, mode_refused));
	WANT(get_option(fd, IOMMU_OPTION_RLIMIT_MODE, 0), 0);
	close(fd);
}

/* Mode 1: locked_vm of the process that maps. Other processes of the user do not count. */
static void second_process_allowed(struct fixture *f)
{
	WANT(own_locked(), 0);
	WANT(map(f->fd, f->ioas, mem.rw, LIMIT * PAGE, 2 * FREE_IOVA), 0);
	WANT(own_locked(), LIMIT);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 3 * FREE_IOVA), -ENOMEM);
	WANT(own_locked(), LIMIT);
	WANT(unmap(f->fd, f->ioas, 2 * FREE_IOVA, LIMIT * PAGE), LIMIT * PAGE);
	WANT(own_locked(), 0);
	WANT(own_pinned(), 0);
}

static void first_process_of_two(struct fixture *f)
{
	CHECK(limit_memlock(LIMIT));
	WANT(map(f->fd, f->ioas, mem.rw, (LIMIT + 1) * PAGE, FREE_IOVA), -ENOMEM);
	WANT(own_locked(), 0);
	WANT(map(f->fd, f->ioas, mem.rw, LIMIT * PAGE, FREE_IOVA), 0);
	WANT(own_locked(), LIMIT);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, 3 * FREE_IOVA), -ENOMEM);
	CHECK(in_child(f, 0, second_process_allowed));
	WANT(own_locked(), LIMIT);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, LIMIT * PAGE), LIMIT * PAGE);
	WANT(own_locked(), 0);
	/* The rest is unmapped after this process has exited. */
	WANT(map(f->fd, f->ioas, mem.rw, LIMIT * PAGE, FREE_IOVA), 0);
}

static void by_process(struct fixture *none)
{
	struct fixture f = { .fd = open_iommu(), .dev = open(device_path, O_RDWR | O_CLOEXEC) };
	long idle = pinned();

	CHECK(f.fd >= 0 && f.dev >= 0);
	WANT(set_option(f.fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1), 0);
	WANT(bind_device(f.dev, f.fd, &f.dev_id), 0);
	WANT(ioas_alloc(f.fd, &f.ioas), 0);
	WANT(attach(f.dev, f.ioas, NULL), 0);
	CHECK(in_child(&f, NOBODY, first_process_of_two));
	WANT(pinned(), idle + LIMIT);
	WANT(unmap_all(f.fd, f.ioas), LIMIT * PAGE);
	WANT(pinned(), idle);
	close(f.dev);
	close(f.fd);
}

static const struct test tests[] = {
	{ "by user", by_user, DOMAIN },
	{ "by user, several processes", processes_of_a_user, DOMAIN },
	{ "by user, charged when a device is attached", charged_on_attach, DOMAIN },
	{ "files", files, DOMAIN },
	{ "no limit with CAP_IPC_LOCK", privileged, DOMAIN },
	{ "the mode needs a privilege", unprivileged_mode, NO_DOMAIN },
	{ "by process", by_process, ALONE },
};

const struct suite limit_suite = {
	"limit", NULL, 0, tests, ARRAY_SIZE(tests),
};
