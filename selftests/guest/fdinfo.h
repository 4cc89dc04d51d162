/* SPDX-License-Identifier: GPL-2.0-only */
/* What /proc/self/fdinfo/N says of a descriptor of /dev/iommu. The C module says nothing there. */
#ifndef FDINFO_H
#define FDINFO_H

#include <stdbool.h>
#include <stddef.h>

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

#endif
