/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BUGS_MOCK_H
#define BUGS_MOCK_H

#include "frame.h"
#include "mock_call.h"

/* Returns a new dma-buf or a negative errno. */
int get_dmabuf(int fd, uint32_t length);
int revoke_dmabuf(int fd, int dmabuf, bool revoked);

extern const struct suite mock_pages_suite, mock_access_suite, mock_dirty_suite, mock_life_suite;

#endif
