/* SPDX-License-Identifier: GPL-2.0-only */
/* User memory of every kind for the tests, and how many pages of it are pinned. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Allocated once by make_memory(). */
struct memory {
	char *rw;	/* 16 touched pages */
	char *ro;	/* 2 pages without PROT_WRITE, touched before */
	char *none;	/* 2 pages of PROT_NONE */
	char *hole;	/* 16 pages, of which page 5 is unmapped */
	char *shared;	/* 16 shared pages, which child processes have too */
	char *gone;	/* an address at which nothing is mapped */
	char *registers; /* a page of the device's registers, in a fixture with a domain */
};

extern struct memory mem;

/* Allocates `mem`. Exits if there is no memory. */
void make_memory(void);

/* Returns a copy of arg that ends where the mapping ends. The next call overwrites it. */
void *guarded(const void *arg, size_t size);

/* As guarded(), but the copy stays. */
void *cut_off(const void *arg, size_t size);

/* Returns a copy of arg in memory without PROT_WRITE. The next call overwrites it. */
void *read_only(const void *arg, size_t size);

/* Returns a new memfd of so many bytes, or -1 if the kernel has no such memory. */
int memory_file(size_t size, unsigned int flags);

/* Returns the physical address of a byte of this process, or 0. */
uint64_t phys_of(const void *p);

/* Returns how many pages are pinned in the whole system. */
long pinned(void);

/* Returns how many pages have been pinned in the whole system since boot. */
long ever_pinned(void);

/* Returns how many pages IOMMU page tables have in the whole system. */
long table_pages(void);

/* Returns how many pages VmPin and VmLck of this process say. */
long own_pinned(void);
long own_locked(void);

/* Sets RLIMIT_MEMLOCK of this process. */
bool limit_memlock(unsigned long nr_pages);

/*
 * Gives up CAP_IPC_LOCK, with which nothing counts against that limit, or takes it again. Returns whether that
 * succeeded.
 */
bool set_ipc_lock(bool on);

/* Writes text to a file of procfs, sysfs or debugfs. Returns whether that succeeded. */
bool write_to(const char *path, const char *text);

/* Makes the nth allocation of this task fail, or none with 0. inject is its fail-nth in procfs. */
bool fail_nth(int inject, unsigned int nth);

/* Makes none fail any more. Returns whether there were as many as fail_nth() was told. */
bool nth_failed(int inject);

/* Returns whether the kernel has kmemleak, as the debug flavour has. */
bool slow_kernel(void);

/* Lets fail_nth() count allocations that may sleep as well. Returns whether that succeeded. */
bool sleeping_allocations_fail(void);

/*
 * Skips the test, and returns true, if the kernel counts accesses of user memory as well: then the test's own calls
 * fail that read and write its fail-nth.
 */
bool accesses_fail(void);

#endif
