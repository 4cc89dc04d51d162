// SPDX-License-Identifier: GPL-2.0-only
/*
 * The case of Documentation/observing.rst: a program with a limit of locked memory gives the same memory to
 * two devices, which have an address space each.
 */
#include <stdio.h>
#include <string.h>

#include "observe.h"

#define NR	8UL
#define LIMIT	12

/* Prints the lines of fdinfo about memory and the last refusal. */
static void print(int fd, const char *when)
{
	static const char *const keys[] = {
		"iommufd-pinned", "iommufd-account", "iommufd-account-uid", "iommufd-account-charged",
		"iommufd-account-limit", "iommufd-refused", "iommufd-refused-command",
		"iommufd-refused-errno", "iommufd-refused-reason", "iommufd-refused-text",
	};
	char value[256];
	size_t i;

	note("%s:", when);
	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (key_text(read_fdinfo(fd), keys[i], value, sizeof(value)))
			note("%s:\t%s", keys[i], value);
}

static void as_a_user(struct fixture *f)
{
	unsigned long long before = refusals(f->fd);
	uint64_t iova = FREE_IOVA;

	CHECK(limit_memlock(LIMIT));
	WANT(map(f->fd, f->ioas, mem.rw, NR * PAGE, FREE_IOVA), 0);
	print(f->fd, "mapped for the first device");
	WANT(map(f->fd, f->other, mem.rw, NR * PAGE, FREE_IOVA), -ENOMEM);
	print(f->fd, "mapped for the second device too");
	want_refusal(f->fd, before + 1, "IOMMU_IOAS_MAP", ENOMEM, "map-limit", 2 * NR - LIMIT);
	/* A copy uses the memory that is pinned already. */
	WANT(copy(f->fd, f->ioas, FREE_IOVA, NR * PAGE, FIXED | RW, f->other, &iova), 0);
	print(f->fd, "copied for the second device instead");
	want_text(f->fd, "account-charged", "32 KiB");
	WANT(unmap(f->fd, f->other, FREE_IOVA, NR * PAGE), NR * PAGE);
	want_text(f->fd, "account-charged", "32 KiB");
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, NR * PAGE), NR * PAGE);
	want_text(f->fd, "account-charged", "0 KiB");
}

static void two_devices(struct fixture *f)
{
	uint32_t second;

	/* Page tables of the second address space, so that its memory is pinned as well. */
	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &second), 0);
	CHECK(in_child(f, NOBODY, as_a_user));
	WANT(destroy(f->fd, second), 0);
}

static const struct test tests[] = {
	{ "a limit of locked memory, and two devices", two_devices, DOMAIN },
};

const struct suite cases_suite = { "cases", NULL, 0, tests, ARRAY_SIZE(tests) };
