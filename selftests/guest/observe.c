// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <string.h>

#include "observe.h"

const struct suite *const suites[] = {
	&fdinfo_suite, &refused_suite, &readers_suite, &bounds_suite, &cases_suite, &mock_suite,
};
const unsigned int nr_suites = ARRAY_SIZE(suites);

/* Returns whether there is nothing to compare, because this is the C module. It must be silent. */
static bool silent(const char *text)
{
	static bool noted;

	if (!on_c_module())
		return false;
	if (!noted)
		note("the C module has no lines in fdinfo: that part of the tests is not its");
	noted = true;
	if (strstr(text, "iommufd-"))
		fail("the C module has lines in fdinfo");
	return true;
}

const char *of(const char *kind, uint32_t id, const char *what)
{
	static char key[64];

	snprintf(key, sizeof(key), "%s-%u-%s", kind, id, what);
	return key;
}

void want_number(int fd, const char *key, long long value)
{
	char name[128];
	const char *text = read_fdinfo(fd);
	long long got;

	if (silent(text))
		return;
	snprintf(name, sizeof(name), "iommufd-%s", key);
	got = key_number(text, name);
	if (got != value)
		fail("%s is %lld, expected %lld", name, got, value);
}

void want_text(int fd, const char *key, const char *value)
{
	char name[128], got[256] = "";
	const char *text = read_fdinfo(fd);

	if (silent(text))
		return;
	snprintf(name, sizeof(name), "iommufd-%s", key);
	if (!key_text(text, name, got, sizeof(got)) || strcmp(got, value))
		fail("%s is \"%s\", expected \"%s\"", name, got, value);
}

unsigned long long refusals(int fd)
{
	struct refusal r;

	return last_refusal(fd, &r) ? r.count : 0;
}

void want_refusal(int fd, unsigned long long count, const char *command, int error,
		  const char *reason, unsigned long long number)
{
	struct refusal r;

	if (silent(read_fdinfo(fd)) || !last_refusal(fd, &r))
		return;
	if (r.count != count)
		fail("%llu calls were refused, expected %llu", r.count, count);
	if (strcmp(r.command, command) || r.error != error || strcmp(r.reason, reason) ||
	    r.number != number)
		fail("%s: errno %d, %s, %#llx (%s); expected %s: errno %d, %s, %#llx", r.command,
		     r.error, r.reason, r.number, r.text, command, error, reason, number);
}
