/* SPDX-License-Identifier: GPL-2.0-only */
/* What /proc/self/fdinfo/N says of a descriptor of /dev/iommu. The C module says nothing there. */
#ifndef FDINFO_H
#define FDINFO_H

#include <stdbool.h>
#include <stddef.h>

#include "result.h"

/* The number of refused calls, and what is said of the last one. */
struct refusal {
	unsigned long long count, number;
	int error;		/* the errno, positive */
	char command[64], reason[64], text[256];
};

/*
 * Reads all of the file of descriptor fd. Returns the text, which is valid until the next call. Ends
 * the program if that fails.
 */
const char *read_fdinfo(int fd);

/*
 * Returns the value of the first line from at on that begins with key and a colon, or NULL. The
 * value ends at the end of the line. With next, sets it to the line behind.
 */
const char *find_key(const char *at, const char *key, const char **next);

/* Returns the number that is the value of a key, or -1 if there is no such line. */
long long key_number(const char *text, const char *key);

/* Copies the value of a key to a buffer. Returns false if there is no such line. */
bool key_text(const char *text, const char *key, char *value, size_t size);

/* Reads the last refusal of descriptor fd. Returns false if the module does not tell. */
bool last_refusal(int fd, struct refusal *r);

/*
 * Fails the test unless the last refusal of descriptor fd is that of a call which returned `got`, with the
 * reason `why`, and the only one since `before`. If `why` is NULL, nothing may have been recorded since.
 * The C module tells nothing, so nothing is checked there.
 */
void check_refusal(int fd, const struct refusal *before, long long got, const char *why, const char *name);

/*
 * As WANT(), for a call that is refused, or not on the C module: checks the reason as well. `fd` is the
 * descriptor of /dev/iommu that records it.
 */
#define WANT_WHY(fd, expr, value, why) do {					\
	struct refusal __before;						\
	long long __r;								\
	last_refusal(fd, &__before);						\
	__r = (expr);								\
	check_refusal(fd, &__before, __r, why, __FILE_NAME__ ": " #expr);	\
	if (__r != (value)) {							\
		fail("%s:%d: %s: got %s, expected %s", __FILE_NAME__, __LINE__,	\
		     #expr, errno_name(__r), errno_name(value));		\
		return;								\
	}									\
} while (0)

#endif
