// SPDX-License-Identifier: GPL-2.0-only
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest.h"
#include "result.h"

static bool failed;
/* Why the test is skipped. Shared memory: a test may run in a process of its own. */
static const char **skipped;

void begin_results(void)
{
	/* The version line is ours: kselftest.h would print that of TAP. */
	setenv("KSFT_TAP_LEVEL", "1", 1);
	ksft_print_header();
	printf("KTAP version 1\n");
	skipped = mmap(NULL, sizeof(*skipped), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (skipped == MAP_FAILED)
		ksft_exit_fail_msg("no memory\n");
}

void plan_results(unsigned int nr)
{
	ksft_set_plan(nr);
}

void finish_results(void)
{
	ksft_finished();
}

void bail_out(const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ksft_exit_fail_msg("%s\n", text);
}

static void print(const char *fmt, va_list args)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, args);
	ksft_print_msg("%s\n", text);
}

void fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print(fmt, args);
	va_end(args);
	failed = true;
}

void note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	print(fmt, args);
	va_end(args);
}

void skip(const char *why)
{
	*skipped = why;
}

bool has_failed(void)
{
	return failed;
}

void report(const char *fmt, ...)
{
	char name[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);
	if (*skipped && !failed)
		ksft_test_result_skip("%s: %s\n", name, *skipped);
	else
		ksft_test_result(!failed, "%s\n", name);
	failed = false;
	*skipped = NULL;
}

const char *errno_name(long long r)
{
	static char text[4][32];
	static unsigned int turn;
	char *t = text[turn++ % (sizeof(text) / sizeof(text[0]))];
	const char *name = r < 0 && r > -4096 ? strerrorname_np(-r) : NULL;

	if (name)
		snprintf(t, sizeof(text[0]), "%s", name);
	else
		snprintf(t, sizeof(text[0]), "%lld", r);
	return t;
}

bool on_c_module(void)
{
	return access("/sys/module/iommufd_rs", F_OK) != 0;
}
