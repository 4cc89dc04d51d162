/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the module shows of itself, compared with what a program did. The C module shows nothing: the
 * calls are made all the same, with the same results, and what is read is not compared.
 */
#ifndef OBSERVE_H
#define OBSERVE_H

#include "frame.h"

extern const struct suite fdinfo_suite, refused_suite, bounds_suite, cases_suite, readers_suite,
	mock_suite;

/* Returns the key of an object. The next call overwrites it. */
const char *of(const char *kind, uint32_t id, const char *what);

/* Fails the test unless fdinfo of fd has the key with this number, or lacks it if value is -1. */
void want_number(int fd, const char *key, long long value);

/* As want_number(), for a text. */
void want_text(int fd, const char *key, const char *value);

/* Returns how many calls have been refused. */
unsigned long long refusals(int fd);

/* Fails the test unless the last refusal is this one and there were `count` of them. */
void want_refusal(int fd, unsigned long long count, const char *command, int error,
		  const char *reason, unsigned long long number);

#endif
