// SPDX-License-Identifier: GPL-2.0-only
/* What all ioctls share: sizes, pointers, and the encoding of the number. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uapi.h"

#define END_OF(type, member) (offsetof(struct type, member) + sizeof(((struct type *)0)->member))
#define FORMAT(ioctl, type, last) \
	.name = #ioctl, .cmd = IOMMU_##ioctl, .min = END_OF(type, last), .full = sizeof(struct type)

static struct iommu_iova_range ranges[MAX_RANGES];
static uint32_t victim;
static int file = -1;

static void make_destroy(struct fixture *f, union command *c)
{
	ioas_alloc(f->fd, &victim);
	c->destroy.id = victim;
}

static void destroy_victim(struct fixture *f)
{
	if (victim)
		destroy(f->fd, victim);
	victim = 0;
}

static void make_alloc(struct fixture *f, union command *c)
{
}

static void make_ranges(struct fixture *f, union command *c)
{
	c->ranges.ioas_id = f->ioas;
	c->ranges.num_iovas = MAX_RANGES;
	c->ranges.allowed_iovas = PTR(ranges);
}

static void make_allow(struct fixture *f, union command *c)
{
	c->allow.ioas_id = f->ioas;
}

static void make_map(struct fixture *f, union command *c)
{
	c->map.flags = FIXED | READ | WRITE;
	c->map.ioas_id = f->ioas;
	c->map.user_va = PTR(mem.rw);
	c->map.length = PAGE;
	c->map.iova = FREE_IOVA;
}

static void make_file(struct fixture *f, union command *c)
{
	if (file < 0)
		file = memory_file(PAGE, 0);
	c->file.flags = FIXED | READ | WRITE;
	c->file.ioas_id = f->ioas;
	c->file.fd = file;
	c->file.length = PAGE;
	c->file.iova = FREE_IOVA;
}

static void make_copy(struct fixture *f, union command *c)
{
	c->copy.flags = FIXED | READ | WRITE;
	c->copy.dst_ioas_id = f->ioas;
	c->copy.src_ioas_id = f->other;
	c->copy.length = PAGE;
	c->copy.dst_iova = FREE_IOVA;
	c->copy.src_iova = HELD_IOVA;
}

static void make_unmap(struct fixture *f, union command *c)
{
	c->unmap.ioas_id = f->ioas;
	c->unmap.iova = HELD_IOVA;
	c->unmap.length = PAGE;
}

static void make_option(struct fixture *f, union command *c)
{
	c->option.option_id = IOMMU_OPTION_HUGE_PAGES;
	c->option.op = IOMMU_OPTION_OP_GET;
	c->option.object_id = f->ioas;
}

static void make_hwpt(struct fixture *f, union command *c)
{
	c->hwpt.dev_id = f->dev_id;
	c->hwpt.pt_id = f->other;
}

static void make_info(struct fixture *f, union command *c)
{
	c->info.dev_id = f->dev_id;
}

/*
 * For each ioctl: a call that works, and what it returns if the struct cannot be written back.
 * NO_ROW if the struct is written after the effect: those ioctls have tests of their own.
 */
#define NO_ROW	-1

static const struct format {
	const char *name;
	unsigned long cmd;
	size_t min, full;
	void (*make)(struct fixture *f, union command *c);
	int read_only;
	bool domain;
} formats[] = {
	{ FORMAT(DESTROY, iommu_destroy, id), make_destroy, 0 },
	{ FORMAT(IOAS_ALLOC, iommu_ioas_alloc, out_ioas_id), make_alloc, EFAULT },
	{ FORMAT(IOAS_IOVA_RANGES, iommu_ioas_iova_ranges, out_iova_alignment), make_ranges,
	  EFAULT },
	{ FORMAT(IOAS_ALLOW_IOVAS, iommu_ioas_allow_iovas, allowed_iovas), make_allow, 0 },
	{ FORMAT(IOAS_MAP, iommu_ioas_map, iova), make_map, NO_ROW },
	{ FORMAT(IOAS_MAP_FILE, iommu_ioas_map_file, iova), make_file, NO_ROW },
	{ FORMAT(IOAS_COPY, iommu_ioas_copy, src_iova), make_copy, NO_ROW },
	{ FORMAT(IOAS_UNMAP, iommu_ioas_unmap, length), make_unmap, NO_ROW },
	{ FORMAT(OPTION, iommu_option, val64), make_option, EFAULT },
	{ FORMAT(HWPT_ALLOC, iommu_hwpt_alloc, __reserved), make_hwpt, EFAULT, .domain = true },
	{ FORMAT(GET_HW_INFO, iommu_hw_info, __reserved), make_info, EFAULT, .domain = true },
};

/* Returns the name of the reason for which a malformed call is refused. */
static const char *reason(int error)
{
	switch (error) {
	case 0:
		return NULL;
	case EFAULT:
		return "user-memory";
	case E2BIG:
		return "command-too-long";
	case ENOTTY:
		return "command-unknown";
	}
	return "command-too-short";
}

enum base { NUMBER, MIN, FULL };
enum tail { ZERO, FIRST_BYTE, LAST_BYTE };

static const struct size_case {
	const char *name;
	enum base base;
	long delta;
	enum tail tail;
	int want;
} sizes[] = {
	{ "size 0", NUMBER, 0, ZERO, EINVAL },
	{ "size less than the size field", NUMBER, 3, ZERO, EINVAL },
	{ "size of the size field alone", NUMBER, 4, ZERO, EINVAL },
	{ "one byte too short", MIN, -1, ZERO, EINVAL },
	{ "the shortest size", MIN, 0, ZERO, 0 },
	{ "the full size", FULL, 0, ZERO, 0 },
	{ "one byte more, zero", FULL, 1, ZERO, 0 },
	{ "one byte more, not zero", FULL, 1, LAST_BYTE, E2BIG },
	{ "8 bytes more, zero", FULL, 8, ZERO, 0 },
	{ "8 bytes more, the first not zero", FULL, 8, FIRST_BYTE, E2BIG },
	{ "8 bytes more, the last not zero", FULL, 8, LAST_BYTE, E2BIG },
	{ "more than a page, zero", NUMBER, PAGE + 16, ZERO, 0 },
	{ "more than a page, the last not zero", NUMBER, PAGE + 16, LAST_BYTE, E2BIG },
	{ "size 0x7fffffff", NUMBER, 0x7fffffff, ZERO, EFAULT },
	{ "size 0xffffffff", NUMBER, 0xffffffff, ZERO, EFAULT },
};

enum place { NOWHERE, UNMAPPED, KERNEL, TOP_OF_SPACE, FORBIDDEN, CUT, CUT_SIZE, ODD, READ_ONLY };

static const struct place_case {
	const char *name;
	enum place place;
	int want;
} places[] = {
	{ "struct at NULL", NOWHERE, EFAULT },
	{ "struct at an unmapped address", UNMAPPED, EFAULT },
	{ "struct at a kernel address", KERNEL, EFAULT },
	{ "struct at the last bytes of the address space", TOP_OF_SPACE, EFAULT },
	{ "struct in PROT_NONE memory", FORBIDDEN, EFAULT },
	{ "struct cut off by the end of the mapping", CUT, EFAULT },
	{ "size field cut off by the end of the mapping", CUT_SIZE, EFAULT },
	{ "struct at an odd address", ODD, 0 },
	{ "struct in read-only memory", READ_ONLY, NO_ROW },
};

static const struct code_case {
	const char *name;
	unsigned int dir, type, sized;
	bool null;
	int want;
} codes[] = {
	{ "number encoded as _IOR", _IOC_READ, IOMMUFD_TYPE, true, false, ENOTTY },
	{ "number encoded as _IOW", _IOC_WRITE, IOMMUFD_TYPE, true, false, ENOTTY },
	{ "number encoded as _IOWR", _IOC_READ | _IOC_WRITE, IOMMUFD_TYPE, true, false, ENOTTY },
	{ "number encoded with a size", _IOC_NONE, IOMMUFD_TYPE, true, false, ENOTTY },
	{ "number of another type", _IOC_NONE, ':', false, false, ENOTTY },
	/* The size is read before the type is checked. */
	{ "number of another type, struct at NULL", _IOC_NONE, ':', false, true, EFAULT },
};

static size_t tail_at(const struct format *fmt, const struct size_case *s, size_t size)
{
	return s->tail == FIRST_BYTE ? fmt->full : size - 1;
}

static void run_sizes(struct fixture *f, const struct format *fmt)
{
	static char buf[2 * PAGE], name[128];
	const struct size_case *s;
	struct row row;
	size_t size, room;
	char *arg;

	for (s = sizes; s < sizes + ARRAY_SIZE(sizes); s++) {
		size = (s->base == MIN ? fmt->min : s->base == FULL ? fmt->full : 0) + s->delta;
		row = (struct row){ .name = name, .cmd = fmt->cmd, .want = SAME(s->want),
				.why = SAME(reason(s->want)) };
		fmt->make(f, &row.arg);
		row.arg.size = size;
		snprintf(name, sizeof(name), "%s: %s", fmt->name, s->name);

		/*
		 * The mapping ends after as many bytes as `size` says, or after two pages for
		 * larger ones.
		 */
		room = size < sizeof(buf) ? size : sizeof(buf);
		memset(buf, 0, sizeof(buf));
		memcpy(buf, &row.arg, sizeof(row.arg));
		if (s->tail != ZERO)
			buf[tail_at(fmt, s, size)] = 1;
		arg = guarded(buf, room < fmt->min ? fmt->min : room);
		run_call(f, &row, arg);
		destroy_victim(f);
	}
}

static void *place(const union command *c, const struct format *fmt, enum place where)
{
	static char *area;

	if (!area) {
		area = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
		munmap(area + PAGE, PAGE);
	}
	switch (where) {
	case NOWHERE:
		return NULL;
	case UNMAPPED:
		return mem.gone;
	case KERNEL:
		return (void *)0xffff888000000000UL;
	case TOP_OF_SPACE:
		return (void *)-8UL;
	case FORBIDDEN:
		return mem.none;
	case CUT:
		return memcpy(area + PAGE - fmt->min + 1, c, fmt->min - 1);
	case CUT_SIZE:
		return memcpy(area + PAGE - 2, c, 2);
	case ODD:
		return memcpy(area + 1, c, fmt->full);
	case READ_ONLY:
		return read_only(c, fmt->full);
	}
	return NULL;
}

static void run_places(struct fixture *f, const struct format *fmt)
{
	const struct place_case *p;
	static char name[128];
	struct row row;
	int want;

	for (p = places; p < places + ARRAY_SIZE(places); p++) {
		want = p->want == NO_ROW ? fmt->read_only : p->want;
		if (want == NO_ROW)
			continue;
		row = (struct row){ .name = name, .cmd = fmt->cmd, .want = SAME(want),
				.why = SAME(reason(want)) };
		fmt->make(f, &row.arg);
		row.arg.size = fmt->full;
		snprintf(name, sizeof(name), "%s: %s", fmt->name, p->name);
		run_call(f, &row, place(&row.arg, fmt, p->place));
		destroy_victim(f);
	}
}

static void run_codes(struct fixture *f, const struct format *fmt)
{
	const struct code_case *c;
	static char name[128];
	struct row row;

	for (c = codes; c < codes + ARRAY_SIZE(codes); c++) {
		row = (struct row){ .name = name, .want = SAME(c->want),
		    .why = SAME(reason(c->want)) };
		row.cmd = _IOC(c->dir, c->type, _IOC_NR(fmt->cmd), c->sized ? fmt->full : 0);
		fmt->make(f, &row.arg);
		row.arg.size = fmt->full;
		snprintf(name, sizeof(name), "%s: %s", fmt->name, c->name);
		run_call(f, &row, c->null ? NULL : guarded(&row.arg, fmt->full));
		destroy_victim(f);
	}
}

/* Unassigned numbers, and those of other drivers. */
static void run_unknown(struct fixture *f)
{
#define UNKNOWN(what, number) { .name = what, .cmd = number, .arg.size = 8, \
	.want = SAME(ENOTTY), .why = SAME("command-unknown") }
	const struct row rows[] = {
		UNKNOWN("number 0", _IO(IOMMUFD_TYPE, 0)),
		UNKNOWN("number below VFIO's", _IO(IOMMUFD_TYPE, 99)),
		UNKNOWN("number below the first", _IO(IOMMUFD_TYPE, IOMMUFD_CMD_BASE - 1)),
		UNKNOWN("number far behind the last", _IO(IOMMUFD_TYPE, 0xf0)),
		UNKNOWN("number 255", _IO(IOMMUFD_TYPE, 0xff)),
		UNKNOWN("a number of the terminal driver", 0x5401),
		UNKNOWN("all ones", 0xffffffff),
		UNKNOWN("VFIO_DEVICE_GET_INFO", VFIO_DEVICE_GET_INFO),
		UNKNOWN("VFIO_DEVICE_BIND_IOMMUFD", VFIO_DEVICE_BIND_IOMMUFD),
		UNKNOWN("VFIO_GROUP_GET_STATUS", VFIO_GROUP_GET_STATUS),
	};
	size_t i;

	if (planning(ARRAY_SIZE(rows) + 1))
		return;
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		run_call(f, &rows[i], guarded(&rows[i].arg, rows[i].arg.size));
	/* The argument of an unassigned number is not read. */
	run_call(f, &(struct row){ .name = "number 255, struct at NULL",
				   .cmd = _IO(IOMMUFD_TYPE, 0xff), .want = SAME(ENOTTY),
				   .why = SAME("command-unknown") }, NULL);
}

static void format_rows(struct fixture *f)
{
	const struct format *fmt;
	size_t nr;

	for (fmt = formats; fmt < formats + ARRAY_SIZE(formats); fmt++) {
		if (fmt->domain != f->domain)
			continue;
		nr = ARRAY_SIZE(sizes) + ARRAY_SIZE(places) + ARRAY_SIZE(codes) -
		     (fmt->read_only == NO_ROW);
		if (planning(nr))
			continue;
		run_sizes(f, fmt);
		run_places(f, fmt);
		run_codes(f, fmt);
	}
	if (!f->domain)
		run_unknown(f);
}

static void open_modes(struct fixture *f)
{
	uint32_t id;
	int fd;

	/* The open mode of the file does not matter. */
	fd = call(f->fd, IOMMU_DESTROY, NULL);
	WANT(fd, -EFAULT);
	fd = open_iommu();
	CHECK(fd >= 0);
	WANT(ioas_alloc(fd, &id), 0);
	CHECK(read(fd, &id, sizeof(id)) < 0 && errno == EINVAL);
	CHECK(write(fd, &id, sizeof(id)) < 0 && errno == EINVAL);
	WANT(destroy(fd, id), 0);
	WANT(close(fd), 0);
}

static const struct test tests[] = {
	{ "read and write are refused", open_modes, NO_DOMAIN },
};

const struct suite format_suite = {
	"format", format_rows, NO_DOMAIN | DOMAIN, tests, ARRAY_SIZE(tests),
};
