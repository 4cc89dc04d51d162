// SPDX-License-Identifier: GPL-2.0-only
/* fdinfo of an open of /dev/iommu, step by step. */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "observe.h"

static void empty(struct fixture *f)
{
	int fd = open_iommu(), other = open_iommu();
	long long first, second;

	CHECK(fd >= 0 && other >= 0);
	want_text(fd, "driver", "iommufd_rs");
	want_text(fd, "pinned", "0 KiB");
	want_text(fd, "accounting", "user");
	want_number(fd, "account-uid", -1);
	want_number(fd, "objects-ioas", -1);
	want_number(fd, "refused", 0);
	want_number(fd, "maps", 0);
	/* No two opens have one number. */
	first = key_number(read_fdinfo(fd), "iommufd-context");
	second = key_number(read_fdinfo(other), "iommufd-context");
	CHECK(on_c_module() || (first > 0 && second == first + 1));
	close(fd);
	close(other);
}

static void without_device(struct fixture *f)
{
	int fd = open_iommu();
	uint32_t one, two;
	uint64_t iova = FREE_IOVA;

	CHECK(fd >= 0);
	WANT(ioas_alloc(fd, &one), 0);
	want_number(fd, "objects-ioas", 1);
	want_number(fd, of("ioas", one, "areas"), 0);
	WANT(ioas_alloc(fd, &two), 0);
	want_number(fd, "objects-ioas", 2);
	WANT(map(fd, one, mem.rw, 16 * PAGE, HELD_IOVA), 0);
	want_number(fd, of("ioas", one, "areas"), 1);
	want_number(fd, of("ioas", one, "mapped"), 16 * PAGE);
	want_number(fd, of("ioas", two, "areas"), 0);
	want_number(fd, "maps", 1);
	/* Nothing is pinned before a device needs it. */
	want_text(fd, "pinned", "0 KiB");
	WANT(copy(fd, one, HELD_IOVA, 4 * PAGE, FIXED | RW, two, &iova), 0);
	want_number(fd, of("ioas", two, "areas"), 1);
	want_number(fd, of("ioas", two, "mapped"), 4 * PAGE);
	want_number(fd, "maps", 2);
	WANT(unmap_all(fd, one), 16 * PAGE);
	want_number(fd, of("ioas", one, "areas"), 0);
	want_number(fd, of("ioas", one, "mapped"), 0);
	want_number(fd, "unmaps", 1);
	WANT(destroy(fd, two), 0);
	want_number(fd, "objects-ioas", 1);
	want_number(fd, of("ioas", two, "areas"), -1);
	close(fd);
}

/* The addresses and the sizes of pages are those of which the IOMMU and the user API tell. */
static void want_tables(struct fixture *f, const char *device)
{
	struct iommu_iova_range ranges[16];
	uint32_t nr = ARRAY_SIZE(ranges);
	unsigned long long cap;
	uint64_t alignment;
	char path[300], text[64];
	FILE *file;

	WANT(iova_ranges(f->fd, f->ioas, ranges, &nr, &alignment), 0);
	snprintf(text, sizeof(text), "0x0-%#llx", (unsigned long long)ranges[nr - 1].last);
	/* Nothing is reserved below the first range or above the last one. */
	WANT(ranges[0].start, 0);
	want_text(f->fd, of("hwpt-paging", f->hwpt, "aperture"), text);

	snprintf(path, sizeof(path), "%s/iommu/intel-iommu/cap", device);
	file = fopen(path, "r");
	CHECK(file && fscanf(file, "%llx", &cap) == 1);
	fclose(file);
	/* VT-d, section 11.4.2, CAP_REG.SSLPS: 2 MiB and 1 GiB. */
	snprintf(text, sizeof(text), "%#llx", PAGE | (cap >> 34 & 1) << 21 | (cap >> 35 & 1) << 30);
	want_text(f->fd, of("hwpt-paging", f->hwpt, "page-sizes"), text);
}

static void with_device(struct fixture *f)
{
	char path[256] = "", real[256], *name;
	uint32_t made;

	want_number(f->fd, "objects-device", 1);
	want_number(f->fd, "objects-hwpt-paging", 1);
	want_number(f->fd, of("device", f->dev_id, "hwpt"), f->hwpt);
	/* A kernel with the door of VT-d has a native backend for it. */
	key_text(read_fdinfo(f->fd), of("iommufd-device", f->dev_id, "backend"), path, sizeof(path));
	CHECK(on_c_module() || !strcmp(path, "in_tree") || !strcmp(path, "vtd"));
	want_number(f->fd, of("hwpt-paging", f->hwpt, "ioas"), f->ioas);
	want_text(f->fd, of("hwpt-paging", f->hwpt, "automatic"), "yes");
	want_text(f->fd, of("hwpt-paging", f->hwpt, "dirty-tracking"), "none");
	want_number(f->fd, of("ioas", f->ioas, "domains"), 1);
	want_number(f->fd, of("ioas", f->ioas, "attachments"), 1);
	want_number(f->fd, of("ioas", f->other, "domains"), 0);
	want_text(f->fd, "pinned", "4 KiB");

	/* The path is that of the device in sysfs. */
	snprintf(path, sizeof(path), "/sys/class/vfio-dev/%s/device", basename(strdupa(device_path)));
	CHECK(realpath(path, real));
	want_text(f->fd, of("device", f->dev_id, "path"), real + strlen("/sys"));
	want_tables(f, real);
	strcat(real, "/iommu_group");
	CHECK(realpath(real, path));
	name = basename(path);
	want_number(f->fd, of("device", f->dev_id, "group"), atoi(name));

	WANT(map(f->fd, f->ioas, mem.rw, 16 * PAGE, FREE_IOVA), 0);
	/* The page that is mapped at HELD_IOVA is another memory source, and pinned again. */
	want_text(f->fd, "pinned", "68 KiB");
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 16 * PAGE), 16 * PAGE);
	want_text(f->fd, "pinned", "4 KiB");

	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &made), 0);
	want_text(f->fd, of("hwpt-paging", made, "automatic"), "no");
	want_number(f->fd, of("ioas", f->other, "domains"), 1);
	want_number(f->fd, of("ioas", f->other, "attachments"), 0);
	want_text(f->fd, "pinned", "8 KiB");
	WANT(destroy(f->fd, made), 0);
	want_number(f->fd, of("ioas", f->other, "domains"), 0);
	want_text(f->fd, "pinned", "4 KiB");

	WANT(detach(f->dev), 0);
	want_number(f->fd, of("device", f->dev_id, "hwpt"), -1);
	want_number(f->fd, of("ioas", f->ioas, "attachments"), 0);
	want_number(f->fd, "objects-hwpt-paging", 0);
	want_text(f->fd, "pinned", "0 KiB");
	WANT(attach(f->dev, f->ioas, &f->hwpt), 0);
}

/* In the process of another user, with a limit of 32 pages. */
static void limited(struct fixture *f)
{
	unsigned long long before = refusals(f->fd);
	char text[32];

	CHECK(limit_memlock(32));
	WANT(map(f->fd, f->ioas, mem.rw, 8 * PAGE, FREE_IOVA), 0);
	want_text(f->fd, "account", "user");
	want_number(f->fd, "account-uid", NOBODY);
	want_number(f->fd, "account-pid", getpid());
	want_text(f->fd, "account-limit", "128 KiB");
	snprintf(text, sizeof(text), "%lu KiB", 8 * PAGE / 1024);
	want_text(f->fd, "account-charged", text);
	WANT(map(f->fd, f->ioas, mem.rw, 16 * PAGE, 2 * FREE_IOVA), 0);
	/* 24 of 32 are charged, and 16 more are asked for. */
	WANT(map(f->fd, f->ioas, mem.rw, 16 * PAGE, 3 * FREE_IOVA), -ENOMEM);
	want_refusal(f->fd, before + 1, "IOMMU_IOAS_MAP", ENOMEM, "map-limit", 8);
	want_text(f->fd, "refused-text", "limit of locked memory: 8 pages over");
	WANT(unmap(f->fd, f->ioas, 2 * FREE_IOVA, 16 * PAGE), 16 * PAGE);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 8 * PAGE), 8 * PAGE);
	want_text(f->fd, "account-charged", "0 KiB");
}

static void accounts(struct fixture *f)
{
	CHECK(in_child(f, NOBODY, limited));
	/* This process may lock what it wants. */
	WANT(map(f->fd, f->ioas, mem.rw, 8 * PAGE, FREE_IOVA), 0);
	want_text(f->fd, "account", "none");
	want_text(f->fd, "account-limit", "unlimited");
	want_number(f->fd, "account-uid", 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, 8 * PAGE), 8 * PAGE);
}

static void look_at_parent(struct fixture *f)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", getppid(), f->fd);
	fd = open(path, O_RDONLY);
	if (fd >= 0)
		fail("another user may read %s", path);
	else if (errno != EACCES && errno != EPERM)
		fail("%s: errno %d", path, errno);
}

static void other_user(struct fixture *f)
{
	CHECK(in_child(f, NOBODY, look_at_parent));
}

static void event_file(struct fixture *f)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd) };
	char name[64];

	WANT(call(f->fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd), 0);
	want_number(f->fd, "objects-fault-queue", 1);
	want_text(cmd.out_fault_fd, "driver", "iommufd_rs");
	want_number(cmd.out_fault_fd, "context", key_number(read_fdinfo(f->fd), "iommufd-context"));
	snprintf(name, sizeof(name), "fault-queue-%u-waiting", cmd.out_fault_id);
	want_number(cmd.out_fault_fd, name, 0);
	want_number(f->fd, name, 0);
	close(cmd.out_fault_fd);
	WANT(destroy(f->fd, cmd.out_fault_id), 0);
	want_number(f->fd, "objects-fault-queue", 0);
}

static const struct test tests[] = {
	{ "nothing is there after open()", empty, ALONE },
	{ "address spaces without a device", without_device, ALONE },
	{ "a device, its page tables and what is pinned", with_device, DOMAIN },
	{ "who is charged, and the limit", accounts, DOMAIN },
	{ "another user may not read it", other_user, NO_DOMAIN },
	{ "the file of a fault queue", event_file, NO_DOMAIN },
};

const struct suite fdinfo_suite = { "fdinfo", NULL, 0, tests, ARRAY_SIZE(tests) };
