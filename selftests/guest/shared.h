/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the program `shared` use of each other. */
#ifndef SHARED_H
#define SHARED_H

#include <sys/types.h>

#include "frame.h"
#include "mock_call.h"

#define LENGTH		(8UL << 20)
#define NR_PAGES	(LENGTH / PAGE)
#define HALF		(LENGTH / 2)

extern struct mock m;
extern const struct suite faults_suite;

bool begin(void);
void end(void);

/* Returns a mapping of `length` bytes of a file from byte `start`, or NULL. */
char *mapping(int file, off_t start, size_t length, int prot, int flags);

/* Gives each of NR_PAGES pages a content of its own. */
void fill(char *p);

/* Returns a mapping of a new file whose pages differ, or NULL. */
char *filled(int *file, unsigned int flags);

/* Maps the memory, and sees that page tables have the pages that the process has at these addresses. */
void check_mapped(const char *p, size_t length);

/* Maps the memory, which must fail, and sees that nothing stays. */
void check_refused(const char *p, size_t length, int errnum);

/*
 * As check_mapped(), after the process's page tables have lost the memory, and sees whether mapping it enters it there:
 * pinning by address does, and this module does not where it pins by the file, which is all but the last `by_address`
 * bytes.
 */
void check_entered(char *p, size_t length, size_t by_address);

#endif
