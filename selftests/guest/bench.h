/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs that measure have in common: PROGRAM UNIT ASK ANSWER [ROWS]. UNIT is what the guest's
 * clock counts, "ns" or "instructions". A program measures whenever a line comes from the FIFO ASK,
 *
 *	LABEL CDEV
 *
 * and then writes one to the FIFO ANSWER, so that the module can be changed in between: what is mapped
 * is the same memory for all. Every line it prints is a sample,
 *
 *	sample LABEL VALUE UNIT ROW
 *
 * with ROW being the rest of the line. selftests/runner/bench.py makes a table of them. ROWS is a shell
 * pattern: only groups of rows whose name matches are measured.
 */
#ifndef BENCH_H
#define BENCH_H

#include "call.h"

#define IOVA		(4UL << 30)

extern const char *unit;
/* How often a row is measured each time. */
extern int nr_repeats;

void give_up(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
long long must(long long r, const char *what);

/* Prints a sample of the row whose name is given as to printf(). */
void sample(double value, const char *of, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

uint64_t now(void);
uint64_t median(uint64_t *values, size_t nr);

/*
 * An instruction that does nothing, by which selftests/runner/functions.c knows what is measured: 1 before it, 2
 * after it, or the first letter of the label of the module that is measured next.
 */
#ifdef __x86_64__
#define MARK(n) asm volatile(".byte 0x0f, 0x1f, 0x80; .long %c0" : : "i"(0x1b0a0000 + (n)) : "memory")
#else
#define MARK(n) do { } while (0)
#endif

/* Returns the nanoseconds, or instructions, that an expression takes. */
#define TIMED(expr) ({					\
	uint64_t __t = now();				\
							\
	MARK(1);					\
	must(expr, #expr);				\
	MARK(2);					\
	now() - __t;					\
})

/* The calls whose median is a sample of a row of a single call. */
#define NR_CALLS	20

/*
 * Rows of single calls: mapping `length` bytes from `p` at a chosen address and at `iova`, and unmapping
 * them.
 */
void call_rows(const char *name, int fd, uint32_t ioas, const void *p, uint64_t length,
	       uint64_t iova);

/*
 * Closing a context with `nr` queues, each of which `make_queue` makes with its file, and returns the
 * descriptor of that. The files are closed before.
 */
void queue_rows(const char *name, int fd, unsigned int nr, int (*make_queue)(int fd));

/* Makes a fault queue, for queue_rows(). */
int fault_queue(int fd);

/*
 * Opens /dev/iommu and the card `cdev`, and attaches it to a new IOAS. Returns the file of /dev/iommu. Gives up
 * if any of that fails.
 */
int open_card(const char *cdev, int *device, uint32_t *dev_id, uint32_t *ioas);

/* The name of what is measured. */
extern char label[16];

/* Returns whether the rows of this group are wanted. */
bool wanted(const char *rows);

/* Runs a program: touch() before the first module is used, measure() for each line. */
int bench(int argc, char **argv, void (*touch)(void), void (*measure)(const char *cdev));

#endif
