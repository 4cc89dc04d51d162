// SPDX-License-Identifier: GPL-2.0-only
/*
 * Wrong input to every ioctl of iommufd: the exact errno, and nothing changed afterwards. KTAP.
 *
 * Usage: uapi VFIO_CDEV [SUITE], for instance uapi /dev/vfio/devices/vfio0
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uapi.h"
#include "kselftest.h"

static const struct suite *suite;	/* the one that runs */
static bool counting;
static unsigned int plan;
static bool failed;
/* Why a test is skipped; shared with the process of its own that it may run in. */
static const char **skipped;

void fail(const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ksft_print_msg("%s\n", text);
	failed = true;
}

void note(const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ksft_print_msg("%s\n", text);
}

bool has_failed(void)
{
	return failed;
}

/* The test that runs is not for this module or this kernel. */
void skip(const char *why)
{
	*skipped = why;
}

/* Both modules cannot be loaded at once, and ours has a name of its own. */
bool on_c_module(void)
{
	return access("/sys/module/iommufd_rs", F_OK) != 0;
}

const char *errno_name(long long r)
{
	static char text[4][32];
	static unsigned int turn;
	char *t = text[turn++ % ARRAY_SIZE(text)];
	const char *name = r < 0 && r > -4096 ? strerrorname_np(-r) : NULL;

	if (name)
		snprintf(t, sizeof(text[0]), "%s", name);
	else
		snprintf(t, sizeof(text[0]), "%lld", r);
	return t;
}

static void result(struct bench *b, const char *name)
{
	const char *domain = b && b->domain ? ", domain" : "";

	if (*skipped && !failed)
		ksft_test_result_skip("%s%s: %s: %s\n", suite->name, domain, name, *skipped);
	else
		ksft_test_result(!failed, "%s%s: %s\n", suite->name, domain, name);
	failed = false;
	*skipped = NULL;
}

/* While the plan is being counted, tables are built to be counted only. */
bool planning(size_t nr)
{
	if (counting)
		plan += nr;
	return counting;
}

/* Whether the answer is the right one. */
static bool judge(struct bench *b, const struct row *row, int got)
{
	int want = -(b->domain ? row->want.hard : row->want.soft);
	int c = -(b->domain ? row->c.hard : row->c.soft);
	bool finding = row->finding && on_c_module();

	if (got == (finding ? c : want))
		return true;
	fail("got %s, expected %s%s%s", errno_name(got), errno_name(finding ? c : want),
	     row->finding ? ", finding: " : "", row->finding ? row->finding : "");
	return false;
}

/* What a call did can be seen, and what it made can be taken away. */
static void check_effect(struct bench *b, const struct row *row, const union command *arg)
{
	long long r = 0, want = 0;

	switch (row->cmd) {
	case IOMMU_IOAS_MAP:
		want = arg->map.length;
		r = unmap(b->fd, arg->map.ioas_id, arg->map.iova, arg->map.length);
		break;
	case IOMMU_IOAS_MAP_FILE:
		want = arg->file.length;
		r = unmap(b->fd, arg->file.ioas_id, arg->file.iova, arg->file.length);
		break;
	case IOMMU_IOAS_COPY:
		want = arg->copy.length;
		r = unmap(b->fd, arg->copy.dst_ioas_id, arg->copy.dst_iova, arg->copy.length);
		break;
	case IOMMU_IOAS_ALLOC:
		want = 1;
		r = get_option(b->fd, IOMMU_OPTION_HUGE_PAGES, arg->alloc.out_ioas_id);
		break;
	case IOMMU_IOAS_UNMAP:
		/* All rows that succeed unmap the held page. */
		want = PAGE;
		r = arg->unmap.length;
		if (unmap_all(b->fd, b->ioas))
			fail("the held page is still mapped");
		break;
	case IOMMU_HWPT_ALLOC:
		r = destroy(b->fd, arg->hwpt.out_hwpt_id);
		break;
	case IOMMU_DESTROY:
		want = -ENOENT;
		r = destroy(b->fd, arg->destroy.id);
		break;
	}
	if (r != want)
		fail("what the call did is not so: got %s, expected %s", errno_name(r),
		     errno_name(want));
}

/* Tables name ids: put back what a call changed, but under the same ids. */
static void undo(struct bench *b, const struct state *before)
{
	uint32_t i;

	for (i = 1; i < MAX_IDS; i++)
		if (!before->is_ioas[i] && get_option(b->fd, IOMMU_OPTION_HUGE_PAGES, i) >= 0)
			destroy(b->fd, i);
	allow(b->fd, b->ioas, NULL, 0);
	allow(b->fd, b->other, NULL, 0);
	unmap_all(b->fd, b->ioas);
	unmap_all(b->fd, b->other);
	set_option(b->fd, IOMMU_OPTION_HUGE_PAGES, b->ioas, 1);
	set_option(b->fd, IOMMU_OPTION_HUGE_PAGES, b->other, 1);
	map(b->fd, b->ioas, mem.rw, PAGE, HELD_IOVA);
	map(b->fd, b->other, mem.rw + PAGE, PAGE, HELD_IOVA);
}

/* Make the call of a row with the given argument, judge it and report. */
void run_call(struct bench *b, const struct row *row, void *arg)
{
	struct state before;
	union command made = {};
	size_t size = row->arg.size;
	bool good;
	int got;

	look(b, &before);
	got = call(row->flags & ON_DEVICE ? b->dev : b->fd, row->cmd, arg);
	good = judge(b, row, got);
	if (got < 0) {
		check_unchanged(b, &before);
		/* Where it can be written to, a refused call has not written. */
		if (row->flags & COMPARE && memcmp(&row->arg, arg, size))
			fail("the refused call wrote to its struct");
	} else {
		if (good) {
			memcpy(&made, arg, size < sizeof(made) ? size : sizeof(made));
			check_effect(b, row, &made);
		}
		undo(b, &before);
		if (pinned() != before.pins)
			fail("%+ld pages after undoing the call", pinned() - before.pins);
	}
	result(b, row->name);
}

static void run_row(struct bench *b, struct row row)
{
	if (!(row.flags & ANSWERS))
		row.flags |= COMPARE;
	run_call(b, &row, guarded(&row.arg, row.arg.size));
}

void run_rows(struct bench *b, const struct row *rows, size_t nr)
{
	size_t i;

	if (planning(nr))
		return;
	for (i = 0; i < nr; i++)
		run_row(b, rows[i]);
}

static bool chosen(const char *name)
{
	return !name || !strcmp(name, suite->name);
}

static void count(const char *name)
{
	struct bench none = { .fd = -1, .dev = -1 };
	unsigned int i, mode;

	counting = true;
	for (i = 0; i < nr_suites; i++) {
		unsigned int s;

		suite = suites[i];
		if (!chosen(name))
			continue;
		for (mode = SOFT; mode <= ALONE; mode <<= 1) {
			none.domain = mode == HARD;
			if (suite->needs & mode)
				suite->rows(&none);
			for (s = 0; s < suite->nr_scenes; s++)
				plan += !!(suite->scenes[s].needs & mode);
		}
	}
	counting = false;
}

/* A scene leaves its bench as it likes: a new one is made if it cannot be restored. */
static bool run_scene(struct bench *b, const struct scene *scene)
{
	scene->run(b);
	if (!restore(b)) {
		fail("the bench could not be restored");
		close_bench(b);
		if (!open_bench(b, b->domain))
			return false;
	}
	result(b, scene->name);
	return true;
}

/* A program may have no test for a bench, and no device either. */
static bool needed(unsigned int mode)
{
	unsigned int i, s, needs = 0;

	for (i = 0; i < nr_suites; i++) {
		needs |= suites[i]->needs;
		for (s = 0; s < suites[i]->nr_scenes; s++)
			needs |= suites[i]->scenes[s].needs;
	}
	return needs & mode;
}

static void run_on_bench(unsigned int mode, const char *name)
{
	struct bench b;
	unsigned int i, s;

	if (!needed(mode))
		return;
	if (!open_bench(&b, mode == HARD))
		ksft_exit_fail_msg("no bench\n");
	for (i = 0; i < nr_suites; i++) {
		suite = suites[i];
		if (!chosen(name))
			continue;
		if (suite->needs & mode)
			suite->rows(&b);
		for (s = 0; s < suite->nr_scenes; s++)
			if (suite->scenes[s].needs & mode && !run_scene(&b, &suite->scenes[s]))
				ksft_exit_fail_msg("no bench after %s\n", suite->scenes[s].name);
	}
	close_bench(&b);
}

static void run_alone(const char *name)
{
	unsigned int i, s;
	long idle;

	for (i = 0; i < nr_suites; i++) {
		suite = suites[i];
		if (!chosen(name))
			continue;
		for (s = 0; s < suite->nr_scenes; s++) {
			if (!(suite->scenes[s].needs & ALONE))
				continue;
			idle = pinned();
			/* In a process of its own, which closes what a failure leaves open. */
			if (!in_child(NULL, 0, suite->scenes[s].run))
				fail("the process of the scene failed");
			if (pinned() != idle)
				fail("%+ld pages are pinned afterwards", pinned() - idle);
			result(NULL, suite->scenes[s].name);
		}
	}
}

int main(int argc, char **argv)
{
	const char *name = argc > 2 ? argv[2] : NULL;

	if (argc < 2) {
		fprintf(stderr, "usage: uapi VFIO_CDEV [SUITE]\n");
		return KSFT_FAIL;
	}
	device_path = argv[1];
	setenv("KSFT_TAP_LEVEL", "1", 1);
	ksft_print_header();
	printf("KTAP version 1\n");
	skipped = mmap(NULL, sizeof(*skipped), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (skipped == MAP_FAILED)
		ksft_exit_fail_msg("no memory\n");
	/* Nothing is mapped from here on that could fall into the hole. */
	make_memory();
	count(name);
	ksft_set_plan(plan);
	run_on_bench(SOFT, name);
	run_on_bench(HARD, name);
	run_alone(name);
	ksft_finished();
}
