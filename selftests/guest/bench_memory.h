/* SPDX-License-Identifier: GPL-2.0-only */
/* The memory that is mapped. All of it is touched before anything is timed, and is what its name says. */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Returns a number of kilobytes from a file in /proc: that behind `name`. */
uint64_t kilobytes(const char *path, const char *name);

/* Anonymous memory of `length` bytes, in pages of 4 KiB or in huge ones. */
char *small_pages(size_t length);
char *huge_pages(size_t length);
char *hugetlb_2m(size_t length);
char *hugetlb_1g(size_t length);

/* Pages of 4 KiB with adjacent addresses that are not adjacent in memory. Their number is a power of two. */
char *scattered_pages(size_t length);

/*
 * Returns a new file of `length` bytes that cannot shrink and whose memory is allocated, with flags of
 * memfd_create().
 */
int file_of(size_t length, unsigned int flags);

#endif
