/* SPDX-License-Identifier: GPL-2.0-only */
/* userfaultfd(2): what the process does about its own page faults. Each call returns 0 or a negative errno. */
#ifndef UFFD_H
#define UFFD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <linux/userfaultfd.h>

/* Returns a new file of userfaultfd with these UFFD_FEATURE_*, or a negative errno. */
int uffd_open(__u64 features);

/* Registers memory by these UFFDIO_REGISTER_MODE_*, or ends that. */
int uffd_register(int uffd, void *at, size_t length, __u64 mode);
int uffd_unregister(int uffd, void *at, size_t length);

/* Protects memory from writes. With `on` false undoes that, and goes on with faults. */
int uffd_write_protect(int uffd, void *at, size_t length, bool on);

/* Gives memory that is missing the content of `from`, and goes on with faults. */
int uffd_copy(int uffd, void *at, const void *from, size_t length);

/* Enters the pages of a file, and goes on with faults. */
int uffd_continue(int uffd, void *at, size_t length);

/* Has accesses to memory fail as if it were broken. */
int uffd_poison(int uffd, void *at, size_t length);

/*
 * Waits for a page fault in the memory, and fails the test if it is elsewhere, comes for another reason than
 * UFFD_PAGEFAULT_FLAG_* say, apart from WRITE, or does not come within some seconds or before `over` is set. `over` may
 * be NULL. Returns whether it came.
 */
bool uffd_wait(int uffd, const void *at, size_t length, __u64 flags, const atomic_bool *over);

#endif
