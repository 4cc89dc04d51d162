// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two network cards in one context. An IOMMU translates for the first one. The bus of the second one
 * bypasses the IOMMU, so vfio offers it in its unsafe no-IOMMU mode only; the program asks for the
 * physical addresses of its memory.
 *
 * Usage: FIRST_BDF=... SECOND_BDF=... bypass none, both bound to vfio-pci
 */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pair_call.h"

enum { TRANSLATED, BYPASSING };

#define OTHER_IOVA	0x40000000UL
#define NR_PAGES	16

static bool as_meant(void)
{
	return !bypasses(TRANSLATED) && bypasses(BYPASSING);
}

static void one_space(struct fixture *f)
{
	uint32_t hwpts[CARDS];
	struct pair p = {};

	CHECK(as_meant());
	WANT(start_pair(&p, hwpts), 0);
	WANT_FINDING("10", hwpts[0] == hwpts[1], false, true);
	CHECK(writes_to(&p, 0, p.dst) && writes_to(&p, 1, p.dst));
	CHECK(card_interrupts(p.card[0]) && card_interrupts(p.card[1]));
	stop_pair(&p);
}

static void pinned_once(struct fixture *f)
{
	char *pages = mmap(NULL, NR_PAGES * PAGE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct pair p = {};
	long before;

	CHECK(pages != MAP_FAILED);
	WANT(start_pair(&p, NULL), 0);
	before = pinned();
	WANT(map(p.fd, p.ioas, pages, NR_PAGES * PAGE, OTHER_IOVA), 0);
	WANT(pinned(), before + NR_PAGES);
	/* One card is detached and the pages stay pinned. */
	WANT(detach(card_fd(p.card[TRANSLATED])), 0);
	WANT(pinned(), before + NR_PAGES);
	WANT(move(&p, TRANSLATED, p.ioas), 0);
	WANT(detach(card_fd(p.card[BYPASSING])), 0);
	WANT(pinned(), before + NR_PAGES);
	WANT(unmap(p.fd, p.ioas, OTHER_IOVA, NR_PAGES * PAGE), NR_PAGES * PAGE);
	WANT(pinned(), before);
	WANT(move(&p, BYPASSING, p.ioas), 0);
	stop_pair(&p);
}

/*
 * Addresses are returned whichever card was attached first, as long as a card without an IOMMU is
 * attached.
 */
static void where_memory_is(struct fixture *f)
{
	struct pair p = {};
	uint64_t phys;
	int i;

	WANT(open_pair(&p), 0);
	WANT_WHY(p.fd, told_phys(&p, p.ioas, DST, &phys), -EOPNOTSUPP, "phys-no-device");
	WANT(move(&p, TRANSLATED, p.ioas), 0);
	WANT_WHY(p.fd, told_phys(&p, p.ioas, DST, &phys), -EOPNOTSUPP, "phys-no-device");
	WANT(move(&p, BYPASSING, p.ioas), 0);
	for (i = 0; i < 3; i++) {
		phys = 0;
		WANT_FINDING("10", told_phys(&p, p.ioas, DST, &phys), 0, -EOPNOTSUPP);
		CHECK(on_c_module() || phys == phys_of(p.dst));
		/* The other card is detached, and attached again. */
		if (i == 0)
			WANT(detach(card_fd(p.card[TRANSLATED])), 0);
		else if (i == 1)
			WANT(move(&p, TRANSLATED, p.ioas), 0);
	}
	WANT_WHY(p.fd, told_phys(&p, p.other, DST, &phys), -EOPNOTSUPP, "phys-no-device");
	WANT(detach(card_fd(p.card[BYPASSING])), 0);
	WANT_WHY(p.fd, told_phys(&p, p.ioas, DST, &phys), -EOPNOTSUPP, "phys-no-device");
}

static void both_see_unmap(struct fixture *f)
{
	struct pair p = {};

	WANT(start_pair(&p, NULL), 0);
	CHECK(writes_to(&p, 0, p.dst) && writes_to(&p, 1, p.dst));
	WANT(unmap(p.fd, p.ioas, DST, PAGE), PAGE);
	CHECK(is_stopped(&p, 0) && is_stopped(&p, 1));
	WANT(map(p.fd, p.ioas, p.far, PAGE, DST), 0);
	CHECK(writes_to(&p, 0, p.far));
	/*
	 * address() falls back to something else on the C module, which does not know this
	 * mapping.
	 */
	CHECK(on_c_module() || writes_to(&p, 1, p.far));
	stop_pair(&p);
}

static void own_tables(struct fixture *f)
{
	uint32_t tables[CARDS];
	struct pair p = {};
	int i;

	WANT(start_pair(&p, NULL), 0);
	for (i = 0; i < CARDS; i++)
		WANT(hwpt_alloc(p.fd, p.dev_id[i], p.other, &tables[i]), 0);
	WANT_WHY(p.fd, move_to_tables(&p, TRANSLATED, tables[BYPASSING], p.other), -ENODEV, "attach-iommu");
	CHECK(writes_to(&p, TRANSLATED, p.dst) && card_interrupts(p.card[TRANSLATED]));
	/* Finding 10: the C module does not refuse. */
	WANT_WHY(p.fd, move_to_tables(&p, BYPASSING, tables[TRANSLATED], p.other),
		 on_c_module() ? 0 : -EINVAL, "attach-iommu");
	for (i = 0; i < CARDS; i++) {
		WANT(move_to_tables(&p, i, tables[i], p.other), 0);
		CHECK(writes_to(&p, i, p.far) && card_interrupts(p.card[i]));
	}
	stop_pair(&p);
}

static void replace_across(struct fixture *f)
{
	struct pair p = {};

	WANT(start_pair(&p, NULL), 0);
	WANT(move(&p, BYPASSING, p.other), 0);
	CHECK(writes_to(&p, 0, p.dst) && writes_to(&p, 1, p.far));
	WANT_FINDING("10", move(&p, TRANSLATED, p.other), 0, -ENODEV);
	CHECK(on_c_module() || (writes_to(&p, 0, p.far) && writes_to(&p, 1, p.far)));
	WANT(move(&p, BYPASSING, p.ioas), 0);
	CHECK(writes_to(&p, 0, on_c_module() ? p.dst : p.far) && writes_to(&p, 1, p.dst));
	WANT(move(&p, TRANSLATED, p.ioas), 0);
	WANT(unmap(p.fd, p.other, DST, PAGE), PAGE);
	CHECK(writes_to(&p, 0, p.dst) && writes_to(&p, 1, p.dst));
	stop_pair(&p);
}

/*
 * The IOVA ranges of a space are limited by its narrowest card; only a translated card has an MSI
 * window.
 */
static void addresses(struct fixture *f)
{
	struct pair p = {};

	WANT(open_pair(&p), 0);
	WANT(move(&p, BYPASSING, p.ioas), 0);
	WANT(map(p.fd, p.ioas, p.far, PAGE, MSI_IOVA), 0);
	WANT(map(p.fd, p.ioas, p.far, PAGE, 1ULL << 60), 0);
	WANT_WHY(p.fd, move(&p, TRANSLATED, p.ioas), -EADDRINUSE, "ioas-in-use");
	WANT(unmap(p.fd, p.ioas, MSI_IOVA, PAGE), PAGE);
	WANT_WHY(p.fd, move(&p, TRANSLATED, p.ioas), -EADDRINUSE, "ioas-in-use");
	WANT(unmap(p.fd, p.ioas, 1ULL << 60, PAGE), PAGE);
	WANT(move(&p, TRANSLATED, p.ioas), 0);
	WANT_WHY(p.fd, map(p.fd, p.ioas, p.far, PAGE, MSI_IOVA), -EINVAL, "map-reserved");
	WANT_WHY(p.fd, map(p.fd, p.ioas, p.far, PAGE, 1ULL << 60), -EINVAL, "map-reserved");
	WANT(detach(card_fd(p.card[TRANSLATED])), 0);
	WANT(map(p.fd, p.ioas, p.far, PAGE, MSI_IOVA), 0);
	WANT(map(p.fd, p.ioas, p.far, PAGE, 1ULL << 60), 0);
}

static void hardware(struct fixture *f)
{
	struct pair p = {};
	int i;

	WANT(open_pair(&p), 0);
	for (i = 0; i < CARDS; i++) {
		struct iommu_hw_info info = { .size = sizeof(info), .dev_id = p.dev_id[i] };

		WANT_WHY(p.fd, call(p.fd, IOMMU_GET_HW_INFO, &info), i == BYPASSING ? -EOPNOTSUPP : 0,
			 i == BYPASSING ? "hw-info-type" : NULL);
	}
}

static int open_device(const char *bdf)
{
	char pattern[128], path[128] = "";
	glob_t found;

	snprintf(pattern, sizeof(pattern), "/sys/bus/pci/devices/%s/vfio-dev/vfio*", bdf);
	if (!glob(pattern, 0, NULL, &found) && found.gl_pathc)
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	return open(path, O_RDWR | O_CLOEXEC);
}

static bool allow_unsafe(const char *value)
{
	return write_to(on_c_module() ? "/sys/module/iommufd/parameters/allow_unsafe_interrupts" :
			"/sys/module/iommufd_rs/parameters/allow_unsafe_interrupts", value);
}

/* Returns how often a text is in another one. */
static int times_in(const char *text, const char *part)
{
	int times = 0;

	while ((text = strstr(text, part))) {
		text++;
		times++;
	}
	return times;
}

/*
 * The card could forge interrupts here. Where binding is refused, the log names the parameter that permits it.
 * Where it is permitted, our module warns once, however often the device is bound.
 */
static void unsafe_interrupts(struct fixture *f)
{
	static char log[1 << 20];
	int fd = open_iommu(), dev = open_device(bdf(TRANSLATED)), r, len;
	struct refusal before;
	uint32_t id;

	CHECK(fd >= 0 && dev >= 0);
	CHECK(allow_unsafe("0"));
	last_refusal(fd, &before);
	r = bind_device(dev, fd, &id);
	check_refusal(fd, &before, r, "bind-interrupts", "BIND_IOMMUFD");
	CHECK(allow_unsafe("1"));
	WANT(r, -EPERM);
	len = klogctl(3, log, sizeof(log) - 1);
	CHECK(len > 0);
	log[len] = 0;
	CHECK(on_c_module() || strstr(log, "options iommufd_rs allow_unsafe_interrupts=1"));
	WANT(bind_device(dev, fd, &id), 0);
	len = klogctl(3, log, sizeof(log) - 1);
	CHECK(len > 0);
	log[len] = 0;
	CHECK(on_c_module() || times_in(log, "because allow_unsafe_interrupts is set") == 1);
	close(dev);
	close(fd);
}

static const struct test tests[] = {
	{ "both copy and interrupt in one space", one_space, ALONE },
	{ "memory is pinned once", pinned_once, ALONE },
	{ "physical addresses", where_memory_is, ALONE },
	{ "memory is unmapped for both", both_see_unmap, ALONE },
	{ "page tables are a card's own", own_tables, ALONE },
	{ "moved across two spaces", replace_across, ALONE },
	{ "IOVA ranges", addresses, ALONE },
	{ "hardware information", hardware, ALONE },
	{ "interrupts that are not isolated", unsafe_interrupts, ALONE },
};

static const struct suite bypass_suite = {
	.name = "bypass",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &bypass_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
