// SPDX-License-Identifier: GPL-2.0-only
/* Arithmetic: alignment, sums, and ends at the limits of 64 bits. */
#include <unistd.h>

#include "bugs.h"

#define LAST_PAGE	(TOP - PAGE + 1)
#define NR_CHOSEN	16

static const unsigned long windows[] = { 1, 2, 3, 7, 8, 9, 15, 16, 17, 511, 512, 513 };

/*
 * Has the kernel choose IOVAs until none is left. Each lies in the window, and none overlaps
 * another.
 */
static void choose_all(struct fixture *f, uint32_t ioas, const void *va, uint64_t length,
		       struct iommu_iova_range window)
{
	uint64_t iovas[NR_CHOSEN];
	size_t i, nr;
	int r = 0;

	for (nr = 0; nr < NR_CHOSEN; nr++) {
		iovas[nr] = 0;
		r = map_as(f->fd, ioas, RW, va, length, &iovas[nr]);
		if (r)
			break;
		CHECK(iovas[nr] >= window.start && iovas[nr] <= window.last);
		CHECK(length - 1 <= window.last - iovas[nr]);
		for (i = 0; i < nr; i++)
			CHECK(iovas[i] + (length - 1) < iovas[nr] ||
			      iovas[nr] + (length - 1) < iovas[i]);
	}
	if (r)
		WANT(r, -ENOSPC);
	for (i = 0; i < nr; i++)
		WANT(unmap(f->fd, ioas, iovas[i], length), length);
}

static void choose_in_window(struct fixture *f, struct iommu_iova_range window)
{
	static const unsigned long lengths[] = { 1, 2, 3, 4, 8, 9, 16, 512 };
	const void *const addresses[] = {
		f->domain ? mem.shared : NULL,
		f->domain ? mem.rw : (void *)(1UL << 40),
		f->domain ? mem.rw : (void *)(3 * HUGE / 2),
	};
	size_t i, a;

	for (i = 0; i < ARRAY_SIZE(lengths); i++)
		for (a = 0; a < ARRAY_SIZE(addresses); a++)
			if (!has_failed() && (!f->domain || lengths[i] <= 16))
				choose_all(f, f->ioas, addresses[a], lengths[i] * PAGE, window);
}

static void allow_window(struct fixture *f, uint64_t last)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(windows) && !has_failed(); i++) {
		struct iommu_iova_range window = { last - windows[i] * PAGE + 1, last };

		WANT(allow(f->fd, f->ioas, &window, 1), 0);
		choose_in_window(f, window);
	}
	WANT(allow(f->fd, f->ioas, NULL, 0), 0);
}

/* Only the last addresses are free: the others are mapped or not allowed. */
static void choose_at_top(struct fixture *f)
{
	size_t i;

	WANT(unmap_all(f->fd, f->ioas), PAGE);
	allow_window(f, TOP);
	allow_window(f, TOP - 1);
	for (i = 1; i < ARRAY_SIZE(windows) && !has_failed(); i++) {
		struct iommu_iova_range window = { -(windows[i] * PAGE), TOP };

		WANT(map(f->fd, f->ioas, NULL, window.start, 0), 0);
		choose_in_window(f, window);
		WANT(unmap(f->fd, f->ioas, 0, window.start), window.start);
	}
}

/* The only free addresses lie below the MSI window, or below the end of the device's address width. */
static void choose_before_reserved(struct fixture *f)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	uint32_t nr = MAX_RANGES, i;

	WANT(iova_ranges(f->fd, f->ioas, ranges, &nr, NULL), 0);
	CHECK(nr > 1);
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	for (i = 0; i < nr && !has_failed(); i++)
		allow_window(f, ranges[i].last);
}

/* The sum of address and length is 2^64 or more. */
static void user_va_wraps(struct fixture *f)
{
	static const struct {
		uint64_t va, length;
	} cases[] = {
		{ LAST_PAGE, PAGE }, { LAST_PAGE, 2 * PAGE }, { LAST_PAGE - PAGE, 3 * PAGE },
		{ HUGE, TOP - HUGE + 1 }, { PAGE, -PAGE }, { 1ULL << 63, 1ULL << 63 },
		{ TOP - 15, 16 }, { TOP, 1 }, { TOP, TOP - PAGE - 1 },
	};
	uint64_t iova;
	size_t i;
	int r;

	WANT(compat_set(f->fd, f->ioas), 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		iova = FREE_IOVA;
		WANT(map(f->fd, f->ioas, (void *)cases[i].va, cases[i].length, iova), -EOVERFLOW);
		WANT(map_as(f->fd, f->ioas, RW, (void *)cases[i].va, cases[i].length, &iova),
		     -EOVERFLOW);
		r = compat_map(f->fd, FREE_IOVA, (void *)cases[i].va, cases[i].length, VFIO_DMA_MAP_FLAG_READ);
		WANT(r, -EOVERFLOW);
	}
	WANT(unmap_all(f->fd, f->ioas), PAGE);
}

/* Areas that end at the last byte: mapped, copied, looked up and unmapped. */
static void last_byte(struct fixture *f)
{
	uint64_t iova = LAST_PAGE;
	unsigned int i;

	WANT(map(f->fd, f->ioas, mem.rw, PAGE, LAST_PAGE), 0);
	WANT(map(f->fd, f->ioas, mem.rw, 1, TOP - 1), -EEXIST);
	WANT(copy(f->fd, f->ioas, LAST_PAGE, PAGE, FIXED | RW, f->other, &iova), 0);
	WANT(copy(f->fd, f->ioas, LAST_PAGE, PAGE + 1, FIXED | RW, f->other, &iova), -EOVERFLOW);
	WANT(unmap(f->fd, f->ioas, TOP - 1, 2), -ENOENT);
	WANT(unmap(f->fd, f->ioas, LAST_PAGE, PAGE + 1), -EOVERFLOW);
	WANT(unmap(f->fd, f->ioas, LAST_PAGE, PAGE), PAGE);
	WANT(unmap(f->fd, f->other, PAGE, -PAGE), 2 * PAGE);
	WANT(unmap(f->fd, f->other, PAGE, -PAGE), -ENOENT);

	for (i = 0; i < 16; i++)
		WANT(map(f->fd, f->other, mem.rw, PAGE, LAST_PAGE - i * PAGE), 0);
	WANT(unmap(f->fd, f->other, LAST_PAGE - 3 * PAGE, 4 * PAGE), 4 * PAGE);
	WANT(unmap_all(f->fd, f->other), 12 * PAGE);
	/* All pages but the last, and the last. */
	WANT(map(f->fd, f->other, NULL, TOP - PAGE, 0), 0);
	WANT(map(f->fd, f->other, mem.rw, PAGE + 1, TOP - PAGE), 0);
	WANT(unmap(f->fd, f->other, TOP - PAGE, PAGE + 1), PAGE + 1);
	WANT(unmap_all(f->fd, f->other), TOP - PAGE);
}

/*
 * The last bytes of all addresses, mapped and unmapped by the container's ioctls, which cut areas. A cut
 * at the last byte does nothing.
 */
static void last_byte_cut(struct fixture *f)
{
	uint64_t size = PAGE;

	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(compat_set(f->fd, f->ioas), 0);
	WANT(set_option(f->fd, IOMMU_OPTION_HUGE_PAGES, f->ioas, 0), 0);
	WANT(compat_map(f->fd, -8 * PAGE, mem.rw, 8 * PAGE, VFIO_DMA_MAP_FLAG_READ), 0);
	WANT(compat_unmap(f->fd, LAST_PAGE, &size, 0), 0);
	WANT(size, PAGE);
	WANT(compat_unmap(f->fd, LAST_PAGE, &size, 0), 0);
	WANT(size, 0);
	size = 2 * PAGE;
	WANT(compat_unmap(f->fd, -5 * PAGE, &size, 0), 0);
	WANT(size, 2 * PAGE);
	WANT(unmap_all(f->fd, f->ioas), 5 * PAGE);
	/* At the other end there is nothing before the first byte. */
	WANT(compat_map(f->fd, 0, mem.rw, 8 * PAGE, VFIO_DMA_MAP_FLAG_READ), 0);
	size = PAGE;
	WANT(compat_unmap(f->fd, 0, &size, 0), 0);
	WANT(size, PAGE);
	WANT(unmap_all(f->fd, f->ioas), 7 * PAGE);
}

static const uint64_t limits[] = {
	0, 1, PAGE - 1, PAGE, PAGE + 1, FREE_IOVA, (1ULL << 48) - PAGE, 1ULL << 48,
	(1ULL << 63) - PAGE, (1ULL << 63) - 1, 1ULL << 63, (1ULL << 63) + 1, -HUGE,
	-2 * PAGE, -2 * PAGE + 1, -PAGE - 1, -PAGE, -PAGE + 1, TOP - 1, TOP,
};

/* A call that succeeds can be undone with the same numbers; a call that fails changes nothing. */
static void try_limits(struct fixture *f, uint64_t iova, uint64_t length)
{
	uint64_t at = iova, size = length;
	int r;

	r = map_as(f->fd, f->ioas, FIXED | RW, NULL, length, &at);
	if (!r && length == TOP - PAGE && !iova)
		WANT(unmap_all(f->fd, f->ioas), length);
	else if (!r)
		WANT(unmap(f->fd, f->ioas, iova, length), length);
	WANT(unmap_all(f->fd, f->ioas), 0);
	at = iova;
	r = map_as(f->fd, f->ioas, RW, NULL, length, &at);
	if (!r)
		WANT(unmap(f->fd, f->ioas, at, length), length);
	at = iova;
	r = copy(f->fd, f->other, HELD_IOVA, length, FIXED | RW, f->ioas, &at);
	if (!r)
		WANT(unmap(f->fd, f->ioas, iova, length), length);
	r = copy(f->fd, f->other, iova, length, RW, f->ioas, &at);
	WANT(r == 0, 0);
	r = compat_map(f->fd, iova, NULL, length, VFIO_DMA_MAP_FLAG_READ);
	if (!r) {
		WANT(compat_unmap(f->fd, iova, &size, 0), 0);
		WANT(size, length);
	} else {
		r = compat_unmap(f->fd, iova, &size, 0);
		CHECK(r || !size);
	}
	WANT(unmap_all(f->fd, f->ioas), 0);
}

static void any_limits(struct fixture *f)
{
	size_t i, l;

	WANT(compat_set(f->fd, f->ioas), 0);
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		for (l = 0; l < ARRAY_SIZE(limits); l++) {
			if (has_failed())
				return;
			try_limits(f, limits[i], limits[l]);
			if (has_failed())
				note("with iova %#llx, length %#llx", (long long)limits[i],
				     (long long)limits[l]);
		}
	}
	WANT(pinned(), f->idle_pins);
}

/* The number of pages wraps to 0: any user can make the C module reach a WARN. */
static void page_count_wraps(struct fixture *f)
{
	uint64_t iova = 0;
	int fd = memory_file(PAGE, 0), want = f->domain ? -EINVAL : -EOVERFLOW;

	if (on_c_module()) {
		skip("the C module would WARN");
		close(fd);
		return;
	}
	WANT(unmap_all(f->fd, f->ioas), PAGE);
	WANT(map(f->fd, f->ioas, (void *)(PAGE - 1), TOP - PAGE, 0), want);
	WANT(map(f->fd, f->ioas, (void *)2, TOP - PAGE, 0), want);
	WANT(map_file(f->fd, f->ioas, FIXED | READ, fd, PAGE - 1, TOP - PAGE, &iova), want);
	close(fd);
}

static const struct test tests[] = {
	{ "an IOVA chosen at the top of the space, CVE-2025-38688", choose_at_top, NO_DOMAIN },
	{ "an IOVA chosen before a reserved range, CVE-2025-38688", choose_before_reserved, DOMAIN },
	{ "user_va + length wraps, CVE-2023-54239", user_va_wraps, NO_DOMAIN | DOMAIN },
	{ "an area ends at the last byte", last_byte, NO_DOMAIN },
	{ "an area that ends at the last byte is cut", last_byte_cut, NO_DOMAIN },
	{ "any iova with any length, at their limits", any_limits, NO_DOMAIN | DOMAIN },
	{ "the page count wraps, finding A", page_count_wraps, NO_DOMAIN | DOMAIN },
};

const struct suite range_suite = {
	.name = "range",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
