/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tests of the VFIO container on /dev/iommu. A row is one call on a context without an IOAS; a
 * test is a few calls that belong together. Each is one KTAP result on a context of its own.
 */
#ifndef COMPAT_H
#define COMPAT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "kselftest.h"

#define PAGE		4096UL
#define IOVA		0x10000000UL
#define NR_PAGES	16UL
#define RW		(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

/* compat.c */
extern bool failed;
extern char *buffer;		/* NR_PAGES touched pages */
extern char group_path[64];
extern const char *bdf;

/* In a test: stop at the first thing that is not so. Errors are compared as negative errnos. */
#define FAIL(fmt, ...) do {						\
	ksft_print_msg("%s:%d: " fmt "\n", __FILE_NAME__, __LINE__,	\
		       ##__VA_ARGS__);					\
	failed = true;							\
} while (0)

#define CHECK(cond) do {				\
	if (!(cond)) {					\
		FAIL("not so: %s", #cond);		\
		return;					\
	}						\
} while (0)

#define WANT(expr, value) do {							\
	long long __got = (expr), __want = (value);				\
	if (__got != __want) {							\
		FAIL("%s: got %lld, expected %lld", #expr, __got, __want);	\
		return;								\
	}									\
} while (0)

/* compat_call.c */
bool on_c_module(void);
long call(int fd, unsigned long cmd, unsigned long arg);
long long pinned(void);
int open_iommu(void);
long long rlimit_mode(int fd);
uint32_t ioas_alloc(int fd);
long destroy(int fd, uint32_t id);
long vfio_ioas(int fd, uint16_t op, uint32_t id);
long map_flags(int fd, uint64_t iova, const void *va, uint64_t size, uint32_t flags);
long map(int fd, uint64_t iova, const void *va, uint64_t size);
long unmap_flags(int fd, uint64_t iova, uint64_t *size, uint32_t flags);
long long unmap(int fd, uint64_t iova, uint64_t size);
long long unmap_all(int fd);

/* compat_ioas.c */
uint32_t choose(int fd);
void check_info(int fd, bool domain);
void slot(int fd);
void types(int fd);
void mapping(int fd);
void read_only(int fd);
void holes(int fd);
void info_soft(int fd);

/* compat_group.c */
void leave(void);
void joining(int fd);
void attached(int fd);
void cutting(int fd);
void cutting_huge(int fd);
void no_iommu(int fd);
void container(int fd);

#endif
