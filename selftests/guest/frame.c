// SPDX-License-Identifier: GPL-2.0-only
/*
 * main() of the test programs, which print KTAP.
 *
 * Usage: PROGRAM VFIO_CDEV [SUITE...], for instance uapi /dev/vfio/devices/vfio0. A program without
 * tests on fixtures needs no device: any word will do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

static const struct suite *suite;	/* the one that runs */
static bool counting;
static unsigned int plan;
static char **wanted;			/* the names of the suites that run, if not all do */

static void result(struct fixture *f, const char *name)
{
	report("%s%s: %s", suite->name, f && f->domain ? ", domain" : "", name);
}

bool planning(size_t nr)
{
	if (counting)
		plan += nr;
	return counting;
}

/* Returns whether the call returned what the row wants; fails the test if not. */
static bool judge(struct fixture *f, const struct row *row, int got)
{
	int want = -(f->domain ? row->want.domain : row->want.no_domain);
	int c = -(f->domain ? row->c.domain : row->c.no_domain);
	bool finding = row->finding && on_c_module();

	if (got == (finding ? c : want))
		return true;
	fail("got %s, expected %s%s%s", errno_name(got), errno_name(finding ? c : want),
	     row->finding ? ", finding: " : "", row->finding ? row->finding : "");
	return false;
}

/* Checks that the module has recorded why it refused the call, and nothing else. */
static void check_reason(struct fixture *f, const struct row *row, int got, const struct refusal *before)
{
	const char *why = f->domain ? row->why.domain : row->why.no_domain;

	if (why && !strcmp(why, BY_VFIO))
		why = NULL;
	else if (got < 0 && !why)
		why = "none";
	check_refusal(f->fd, before, got, got < 0 ? why : NULL, row->name);
}

/* Checks what a successful call did, by undoing it or by reading it back. */
static void check_effect(struct fixture *f, const struct row *row, const union command *arg)
{
	long long r = 0, want = 0;

	switch (row->cmd) {
	case IOMMU_IOAS_MAP:
		want = arg->map.length;
		r = unmap(f->fd, arg->map.ioas_id, arg->map.iova, arg->map.length);
		break;
	case IOMMU_IOAS_MAP_FILE:
		want = arg->file.length;
		r = unmap(f->fd, arg->file.ioas_id, arg->file.iova, arg->file.length);
		break;
	case IOMMU_IOAS_COPY:
		want = arg->copy.length;
		r = unmap(f->fd, arg->copy.dst_ioas_id, arg->copy.dst_iova, arg->copy.length);
		break;
	case IOMMU_IOAS_ALLOC:
		want = 1;
		r = get_option(f->fd, IOMMU_OPTION_HUGE_PAGES, arg->alloc.out_ioas_id);
		break;
	case IOMMU_IOAS_UNMAP:
		/* All rows that succeed unmap the held page. */
		want = PAGE;
		r = arg->unmap.length;
		if (unmap_all(f->fd, f->ioas))
			fail("the held page is still mapped");
		break;
	case IOMMU_HWPT_ALLOC:
		r = destroy(f->fd, arg->hwpt.out_hwpt_id);
		break;
	case IOMMU_DESTROY:
		want = -ENOENT;
		r = destroy(f->fd, arg->destroy.id);
		break;
	}
	if (r != want)
		fail("the call did not do what it says: got %s, expected %s", errno_name(r),
		     errno_name(want));
}

/* Undoes what a successful call changed. The ids stay the same, since the rows contain them. */
static void undo(struct fixture *f, const struct state *before)
{
	uint32_t i;

	for (i = 1; i < MAX_IDS; i++)
		if (!before->is_ioas[i] && get_option(f->fd, IOMMU_OPTION_HUGE_PAGES, i) >= 0)
			destroy(f->fd, i);
	allow(f->fd, f->ioas, NULL, 0);
	allow(f->fd, f->other, NULL, 0);
	unmap_all(f->fd, f->ioas);
	unmap_all(f->fd, f->other);
	set_option(f->fd, IOMMU_OPTION_HUGE_PAGES, f->ioas, 1);
	set_option(f->fd, IOMMU_OPTION_HUGE_PAGES, f->other, 1);
	map(f->fd, f->ioas, mem.rw, PAGE, HELD_IOVA);
	map(f->fd, f->other, mem.rw + PAGE, PAGE, HELD_IOVA);
}

void run_call(struct fixture *f, const struct row *row, void *arg)
{
	struct refusal refused;
	struct state before;
	union command made = {};
	size_t size = row->arg.size;
	bool good;
	int got;

	look(f, &before);
	last_refusal(f->fd, &refused);
	got = call(row->flags & ON_DEVICE ? f->dev : f->fd, row->cmd, arg);
	good = judge(f, row, got);
	check_reason(f, row, got, &refused);
	if (got < 0) {
		check_unchanged(f, &before);
		/* A refused call must not have written to its struct. */
		if (row->flags & COMPARE && memcmp(&row->arg, arg, size))
			fail("the refused call wrote to its struct");
	} else {
		if (good) {
			memcpy(&made, arg, size < sizeof(made) ? size : sizeof(made));
			check_effect(f, row, &made);
		}
		undo(f, &before);
		if (pinned() != before.pins)
			fail("%+ld pages after undoing the call", pinned() - before.pins);
	}
	result(f, row->name);
}

static void run_row(struct fixture *f, struct row row)
{
	if (!(row.flags & ANSWERS))
		row.flags |= COMPARE;
	run_call(f, &row, guarded(&row.arg, row.arg.size));
}

void run_rows(struct fixture *f, const struct row *rows, size_t nr)
{
	size_t i;

	if (planning(nr))
		return;
	for (i = 0; i < nr; i++)
		run_row(f, rows[i]);
}

static bool chosen(void)
{
	char **name;

	for (name = wanted; *name; name++)
		if (!strcmp(*name, suite->name))
			return true;
	return !*wanted;
}

static void count(void)
{
	struct fixture none = { .fd = -1, .dev = -1 };
	unsigned int i, mode;

	counting = true;
	for (i = 0; i < nr_suites; i++) {
		unsigned int s;

		suite = suites[i];
		if (!chosen())
			continue;
		for (mode = NO_DOMAIN; mode <= ALONE; mode <<= 1) {
			none.domain = mode == DOMAIN;
			if (suite->needs & mode)
				suite->rows(&none);
			for (s = 0; s < suite->nr_tests; s++)
				plan += !!(suite->tests[s].needs & mode);
		}
	}
	counting = false;
}

/*
 * Runs a test and restores its fixture, or replaces the fixture if that fails. Returns false if there
 * is no fixture then.
 */
static bool run_test(struct fixture *f, const struct test *test)
{
	test->run(f);
	if (!restore(f)) {
		fail("the fixture could not be restored");
		close_fixture(f);
		if (!open_fixture(f, f->domain))
			return false;
	}
	result(f, test->name);
	return true;
}

/* Returns whether any suite has rows or tests for this kind of fixture. */
static bool needed(unsigned int mode)
{
	unsigned int i, s, needs = 0;

	for (i = 0; i < nr_suites; i++) {
		needs |= suites[i]->needs;
		for (s = 0; s < suites[i]->nr_tests; s++)
			needs |= suites[i]->tests[s].needs;
	}
	return needs & mode;
}

static void run_on_fixture(unsigned int mode)
{
	struct fixture f;
	unsigned int i, s;

	if (!needed(mode))
		return;
	if (!open_fixture(&f, mode == DOMAIN))
		bail_out("no fixture");
	for (i = 0; i < nr_suites; i++) {
		suite = suites[i];
		if (!chosen())
			continue;
		if (suite->needs & mode)
			suite->rows(&f);
		for (s = 0; s < suite->nr_tests; s++)
			if (suite->tests[s].needs & mode && !run_test(&f, &suite->tests[s]))
				bail_out("no fixture after %s", suite->tests[s].name);
	}
	close_fixture(&f);
}

static void run_alone(void)
{
	unsigned int i, s;
	long idle;

	for (i = 0; i < nr_suites; i++) {
		suite = suites[i];
		if (!chosen())
			continue;
		for (s = 0; s < suite->nr_tests; s++) {
			if (!(suite->tests[s].needs & ALONE))
				continue;
			idle = pinned();
			/* The exit of the process closes what a failed test leaves open. */
			if (!in_child(NULL, 0, suite->tests[s].run))
				fail("the process of the test failed");
			if (pinned() != idle)
				fail("%+ld pages are pinned afterwards", pinned() - idle);
			result(NULL, suite->tests[s].name);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s VFIO_CDEV [SUITE...]\n", argv[0]);
		return 1;
	}
	device_path = argv[1];
	wanted = argv + 2;
	begin_results();
	/* First of all: a later mmap() could fill the hole in mem.hole. */
	make_memory();
	count();
	plan_results(plan);
	run_on_fixture(NO_DOMAIN);
	run_on_fixture(DOMAIN);
	run_alone();
	finish_results();
}
