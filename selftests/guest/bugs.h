/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of known bugs share. The frame is that of uapi.c. */
#ifndef BUGS_H
#define BUGS_H

#include "uapi.h"

#define RW		(READ | WRITE)

extern const struct suite range_suite, pages_suite, file_bugs_suite, life_bugs_suite;
extern const struct suite interrupts_suite;

/* bugs.c: the VFIO container's ioctls on an iommufd. */
int compat_set(struct fixture *f, uint32_t ioas);
int compat_map(struct fixture *f, uint64_t iova, const void *va, uint64_t size, uint32_t flags);
int compat_unmap(struct fixture *f, uint64_t iova, uint64_t *size);
int change_process(struct fixture *f);

/* bugs.c: two threads at once, each until the other has done its part or time is up. */
struct worker {
	void (*step)(struct fixture *f, unsigned int round);
	unsigned int rounds;
};

void race(struct fixture *f, const struct worker *one, const struct worker *other);

/* bugs.c: a second device, of another group. */
int open_second(void);

#endif
