// SPDX-License-Identifier: GPL-2.0-only
/* OPTION: huge pages of an IOAS, and the rlimit mode of the context. */
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uapi.h"

#define HUGE_PAGES	IOMMU_OPTION_HUGE_PAGES
#define RLIMIT		IOMMU_OPTION_RLIMIT_MODE
#define SET		IOMMU_OPTION_OP_SET
#define GET		IOMMU_OPTION_OP_GET

#define OPTION(what, e, reason, ...) { .name = what, .cmd = IOMMU_OPTION, \
	.want = SAME(e), .why = SAME(reason), \
	.arg.option = { .size = sizeof(struct iommu_option), .option_id = HUGE_PAGES, \
			.op = SET, .object_id = f->ioas, .val64 = 1, ##__VA_ARGS__ } }

static void option_rows(struct fixture *f)
{
	const struct row rows[] = {
		OPTION("reserved field", EOPNOTSUPP, "command-reserved", .__reserved = 1),
		OPTION("unknown option", EOPNOTSUPP, "option-unknown", .option_id = 2),
		OPTION("unknown option 0xffffffff", EOPNOTSUPP, "option-unknown", .option_id = ~0u),
		OPTION("huge pages: unknown op", EOPNOTSUPP, "option-operation", .op = 2),
		OPTION("huge pages: unknown op 0xffff", EOPNOTSUPP, "option-operation",
		       .op = 0xffff),
		OPTION("huge pages: value 2", EINVAL, "option-value", .val64 = 2),
		OPTION("huge pages: value 1 << 32", EINVAL, "option-value", .val64 = 1ULL << 32),
		OPTION("huge pages: value ULONG_MAX", EINVAL, "option-value", .val64 = TOP),
		OPTION("huge pages: id 0", ENOENT, "object-none", .object_id = 0),
		OPTION("huge pages: id 0xffffffff", ENOENT, "object-none", .object_id = ~0u),
		OPTION("huge pages: id of a device", ENOENT, f->domain ? "object-kind" : "object-none",
		       .object_id = f->dev_id),
		OPTION("huge pages: id of a page table", ENOENT, f->domain ? "object-kind" : "object-none",
		       .object_id = f->hwpt),
		OPTION("huge pages: wrong id before unknown op", ENOENT, "object-none",
		       .object_id = 0, .op = 2),
		OPTION("huge pages: wrong id before wrong value", ENOENT, "object-none",
		       .object_id = 0,
		       .val64 = 2),
		OPTION("huge pages: get ignores the value", 0, NULL, .op = GET, .val64 = 2),
		OPTION("huge pages: set what is set", 0, NULL),
		OPTION("rlimit mode: with an object", EOPNOTSUPP, "option-object",
		       .option_id = RLIMIT),
		OPTION("rlimit mode: get with an object", EOPNOTSUPP, "option-object",
		       .option_id = RLIMIT,
		       .op = GET),
		OPTION("rlimit mode: unknown op", EOPNOTSUPP, "option-operation",
		       .option_id = RLIMIT, .op = 2,
		       .object_id = 0),
		OPTION("rlimit mode: objects exist", EBUSY, "option-has-objects",
		       .option_id = RLIMIT, .object_id = 0),
		OPTION("rlimit mode: objects exist, before a wrong value", EBUSY,
		       "option-has-objects",
		       .option_id = RLIMIT, .object_id = 0, .val64 = 2),
		OPTION("rlimit mode: set what is set, objects exist", EBUSY, "option-has-objects",
		       .option_id = RLIMIT,
		       .object_id = 0, .val64 = 0),
		OPTION("rlimit mode: get with objects", 0, NULL, .option_id = RLIMIT,
		       .object_id = 0,
		       .op = GET),
	};

	run_rows(f, rows, ARRAY_SIZE(rows));
}

static void huge_pages(struct fixture *f)
{
	uint32_t nr = MAX_RANGES;
	uint64_t alignment;
	struct iommu_iova_range ranges[MAX_RANGES];

	WANT(get_option(f->fd, HUGE_PAGES, f->ioas), 1);
	if (f->domain) {
		/* The page tables may have huge pages already. */
		WANT(set_option(f->fd, HUGE_PAGES, f->ioas, 0), -EINVAL);
		WANT(get_option(f->fd, HUGE_PAGES, f->ioas), 1);
		WANT(unmap_all(f->fd, f->ioas), PAGE);
	}
	WANT(set_option(f->fd, HUGE_PAGES, f->ioas, 0), 0);
	WANT(get_option(f->fd, HUGE_PAGES, f->ioas), 0);
	WANT(get_option(f->fd, HUGE_PAGES, f->other), 1);
	WANT(iova_ranges(f->fd, f->ioas, ranges, &nr, &alignment), 0);
	WANT(alignment, PAGE);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE - 1, FREE_IOVA), -EINVAL);
	WANT(map(f->fd, f->ioas, mem.rw + 1, PAGE, FREE_IOVA), -EINVAL);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA + 1), -EINVAL);
	WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA), 0);
	/* Setting it to 0 again succeeds, and so does setting it to 1 at any time. */
	WANT(set_option(f->fd, HUGE_PAGES, f->ioas, 0), 0);
	WANT(set_option(f->fd, HUGE_PAGES, f->ioas, 1), 0);
	WANT(get_option(f->fd, HUGE_PAGES, f->ioas), 1);
	nr = MAX_RANGES;
	WANT(iova_ranges(f->fd, f->ioas, ranges, &nr, &alignment), 0);
	WANT(alignment, f->domain ? PAGE : 1);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, PAGE), PAGE);
}

static void misaligned_areas(struct fixture *f)
{
	WANT(map(f->fd, f->ioas, mem.rw + 1, 10, FREE_IOVA + 1), 0);
	WANT(set_option(f->fd, HUGE_PAGES, f->ioas, 0), -EADDRINUSE);
	WANT(get_option(f->fd, HUGE_PAGES, f->ioas), 1);
	WANT(map(f->fd, f->ioas, mem.rw + 1, 10, FREE_IOVA + PAGE + 1), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, HUGE), 20);
	WANT(set_option(f->fd, HUGE_PAGES, f->ioas, 0), 0);
}

static void rlimit_mode(struct fixture *f)
{
	int fd = open_iommu();
	uint32_t id;

	CHECK(fd >= 0);
	WANT(get_option(fd, RLIMIT, 0), 0);
	WANT(set_option(fd, RLIMIT, 0, 1), 0);
	WANT(get_option(fd, RLIMIT, 0), 1);
	WANT(set_option(fd, RLIMIT, 0, 2), -EINVAL);
	WANT(set_option(fd, RLIMIT, 0, TOP), -EINVAL);
	WANT(get_option(fd, RLIMIT, 0), 1);
	WANT(ioas_alloc(fd, &id), 0);
	WANT(set_option(fd, RLIMIT, 0, 0), -EBUSY);
	WANT(get_option(fd, RLIMIT, 0), 1);
	WANT(destroy(fd, id), 0);
	WANT(set_option(fd, RLIMIT, 0, 0), 0);
	WANT(get_option(fd, RLIMIT, 0), 0);
	/* Each context has its own mode. */
	WANT(set_option(fd, RLIMIT, 0, 1), 0);
	WANT(get_option(f->fd, RLIMIT, 0), 0);
	WANT(close(fd), 0);
}

/* If the struct cannot be written back, the option is not set. */
static void unanswered(struct fixture *f)
{
	struct iommu_option cmd = {
		.size = sizeof(cmd),
		.option_id = HUGE_PAGES,
		.op = SET,
		.object_id = f->ioas,
		.val64 = 0,
	};

	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(call(f->fd, IOMMU_OPTION, read_only(&cmd, sizeof(cmd))), -EFAULT);
	WANT_FINDING("effect before answer", get_option(f->fd, HUGE_PAGES, f->ioas), 1, 0);
}

/* The value is all that is written back: the rest of the struct may be in memory that can only be read. */
static void only_the_value(struct fixture *f)
{
	char *area = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iommu_option *cmd = (void *)(area + PAGE - offsetof(struct iommu_option, val64));
	const int ops[] = { GET, SET };

	CHECK(area != MAP_FAILED);
	for (unsigned int n = 0; n < ARRAY_SIZE(ops); n++) {
		CHECK(!mprotect(area, PAGE, PROT_READ | PROT_WRITE));
		*cmd = (struct iommu_option){
			.size = sizeof(*cmd), .option_id = HUGE_PAGES, .op = ops[n],
			.object_id = f->ioas, .val64 = ops[n] == SET,
		};
		CHECK(!mprotect(area, PAGE, PROT_READ));
		WANT(call(f->fd, IOMMU_OPTION, cmd), 0);
		WANT(cmd->val64, 1);
	}
	munmap(area, 2 * PAGE);
}

static const struct test tests[] = {
	{ "huge pages off and on", huge_pages, NO_DOMAIN | DOMAIN },
	{ "huge pages off with misaligned areas", misaligned_areas, NO_DOMAIN },
	{ "rlimit mode set and refused", rlimit_mode, NO_DOMAIN },
	{ "huge pages: the struct cannot be written back", unanswered, NO_DOMAIN | DOMAIN },
	{ "huge pages: only the value can be written back", only_the_value, NO_DOMAIN | DOMAIN },
};

const struct suite option_suite = {
	"option", option_rows, NO_DOMAIN | DOMAIN, tests, ARRAY_SIZE(tests),
};
