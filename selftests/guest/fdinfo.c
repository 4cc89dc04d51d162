// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fdinfo.h"
#include "result.h"

const char *read_fdinfo(int fd)
{
	static char *text;
	static size_t room;
	size_t len = 0;
	char path[64];
	ssize_t got;
	int file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		bail_out("cannot open %s", path);
	do {
		if (room - len < 2) {
			room = room ? 2 * room : 1 << 16;
			text = realloc(text, room);
			if (!text)
				bail_out("no memory");
		}
		got = read(file, text + len, room - len - 1);
		if (got < 0)
			bail_out("cannot read %s", path);
		len += got;
	} while (got);
	close(file);
	text[len] = 0;
	return text;
}

const char *find_key(const char *at, const char *key, const char **next)
{
	size_t len = strlen(key);

	while (*at) {
		const char *end = strchrnul(at, '\n');

		if (!strncmp(at, key, len) && at[len] == ':') {
			if (next)
				*next = *end ? end + 1 : end;
			at += len + 1;
			return at + strspn(at, "\t ");
		}
		at = *end ? end + 1 : end;
	}
	return NULL;
}

long long key_number(const char *text, const char *key)
{
	const char *value = find_key(text, key, NULL);

	return value ? (long long)strtoull(value, NULL, 0) : -1;
}

bool key_text(const char *text, const char *key, char *value, size_t size)
{
	const char *found = find_key(text, key, NULL);

	if (!found)
		return false;
	snprintf(value, size, "%.*s", (int)strcspn(found, "\n"), found);
	return true;
}

bool last_refusal(int fd, struct refusal *r)
{
	const char *text = read_fdinfo(fd);

	memset(r, 0, sizeof(*r));
	if (!find_key(text, "iommufd-refused", NULL))
		return false;
	r->count = key_number(text, "iommufd-refused");
	if (!r->count)
		return true;
	r->error = key_number(text, "iommufd-refused-errno");
	r->number = key_number(text, "iommufd-refused-number");
	key_text(text, "iommufd-refused-command", r->command, sizeof(r->command));
	key_text(text, "iommufd-refused-reason", r->reason, sizeof(r->reason));
	key_text(text, "iommufd-refused-text", r->text, sizeof(r->text));
	return true;
}

void check_refusal(int fd, const struct refusal *before, long long got, const char *why, const char *name)
{
	const unsigned long long more = why ? 1 : 0;
	struct refusal r;

	if (!last_refusal(fd, &r)) {
		if (!on_c_module())
			fail("%s: the module does not tell why it refuses", name);
		return;
	}
	if (r.count != before->count + more)
		fail("%s: %lld refusals were recorded, expected %llu", name, r.count - before->count, more);
	if (more && r.error != -got)
		fail("%s: errno %d is recorded", name, r.error);
	if (more && strcmp(r.reason, why))
		fail("%s: reason: got %s, expected %s (%s: %s)", name, r.reason, why, r.command, r.text);
}
