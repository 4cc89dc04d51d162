/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of bugs in mock devices share. */
#ifndef MOCK_H
#define MOCK_H

#include "mock_call.h"

#define RW		(READ | WRITE)
#define MOCK_IOVA	((uint64_t)MOCK_APERTURE_START)

extern const struct suite mock_pages_suite, mock_dirty_suite;

/* A context with an IOAS that has a mock device, and one that has none. */
struct mock {
	int fd;
	uint32_t ioas, other;
	uint32_t device, dev_id, hwpt;
	long idle;
};

/* bugs_mock.c */
bool open_mock(struct mock *m);
void close_mock(struct mock *m);

#endif
