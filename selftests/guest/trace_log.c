// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "memory.h"
#include "result.h"
#include "trace_log.h"

#define TRACING	"/sys/kernel/tracing"
#define GROUP	TRACING "/events/iommufd_rs"

static struct {
	int pipe;
	char text[1 << 16];	/* what was read of it and not returned */
	size_t length;
	char event[512];
} log = { .pipe = -1 };

/* Reads what there is. */
static void fill_log(void)
{
	ssize_t r;

	do {
		size_t room = sizeof(log.text) - 1 - log.length;

		r = read(log.pipe, log.text + log.length, room);
		if (r > 0)
			log.length += r;
	} while (r > 0);
	if (r < 0 && errno != EAGAIN)
		fail("cannot read the trace: %s", errno_name(-errno));
	log.text[log.length] = 0;
}

bool can_trace(void)
{
	if (access(TRACING "/events", F_OK))
		mount("tracefs", TRACING, "tracefs", 0, NULL);
	return !access(GROUP, F_OK);
}

bool trace_on(void)
{
	if (!can_trace()) {
		if (!on_c_module())
			fail("there is no %s", GROUP);
		return on_c_module();
	}
	if (on_c_module()) {
		fail("the C module has %s: this program should read it", GROUP);
		return false;
	}
	if (log.pipe < 0)
		log.pipe = open(TRACING "/trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (log.pipe < 0 || !write_to(GROUP "/enable", "1")) {
		fail("cannot trace: %s", errno_name(-errno));
		return false;
	}
	trace_pins(false);
	do {
		log.length = 0;
		fill_log();
	} while (log.length);
	return true;
}

void trace_off(void)
{
	if (log.pipe >= 0 && !write_to(GROUP "/enable", "0"))
		fail("cannot turn the tracepoints off: %s", errno_name(-errno));
}

void trace_pins(bool on)
{
	if (log.pipe < 0)
		return;
	if (!write_to(GROUP "/iommufd_pin/enable", on ? "1" : "0") ||
	    !write_to(GROUP "/iommufd_unpin/enable", on ? "1" : "0"))
		fail("cannot turn a tracepoint on or off: %s", errno_name(-errno));
}

const char *next_traced(void)
{
	char *end, *name;
	size_t length;

	if (log.pipe < 0)
		return NULL;
	if (!strchr(log.text, '\n'))
		fill_log();
	end = strchr(log.text, '\n');
	if (!end)
		return NULL;
	*end = 0;
	name = strstr(log.text, "iommufd_");
	snprintf(log.event, sizeof(log.event), "%.*s", (int)sizeof(log.event) - 1,
		 name ? name : log.text);
	length = end + 1 - log.text;
	log.length -= length;
	memmove(log.text, end + 1, log.length + 1);
	return log.event;
}

void traced(const char *fmt, ...)
{
	const char *event;
	char want[512];
	va_list args;

	if (on_c_module())
		return;
	va_start(args, fmt);
	vsnprintf(want, sizeof(want), fmt, args);
	va_end(args);
	event = next_traced();
	if (!event)
		fail("nothing was traced, expected %s", want);
	else if (strcmp(event, want))
		fail("traced %s\n#\texpected %s", event, want);
}

void nothing_traced(void)
{
	const char *event;

	while ((event = next_traced()))
		fail("traced, and should not have been: %s", event);
}

uint64_t traced_field(const char *event, const char *name)
{
	size_t length = strlen(name);
	const char *at = event;

	while ((at = strchr(at, ' '))) {
		at++;
		if (!strncmp(at, name, length) && at[length] == '=')
			return strtoull(at + length + 1, NULL, 0);
	}
	fail("no field %s in %s", name, event);
	return 0;
}

long long traced_submissions(void)
{
	const char *event = next_traced();

	if (!event || strncmp(event, "iommufd_invalidate: ", 20)) {
		fail("traced %s, expected an invalidation", event ?: "nothing");
		return -1;
	}
	return (int)traced_field(event, "submissions");
}
