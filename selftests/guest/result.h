/* SPDX-License-Identifier: GPL-2.0-only */
/* The result of the running test: failures, the reason for a skip, and how errnos are printed. */
#ifndef RESULT_H
#define RESULT_H

#include <stdbool.h>

/* Prints the KTAP header. Called once, before all else. */
void begin_results(void);

/* Prints the plan: how many results there will be. */
void plan_results(unsigned int nr);

/* Prints the totals and exits: with status 0 if every planned test passed or was skipped. */
__attribute__((noreturn)) void finish_results(void);

/* Prints "Bail out!" and a message, and exits with a failure. */
__attribute__((noreturn, format(printf, 1, 2))) void bail_out(const char *fmt, ...);

/* Prints a message and marks the running test as failed. */
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Prints a message. The test may still pass. */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Marks the running test as skipped on this module or kernel. A failed test is not skipped. */
void skip(const char *why);

/* Returns whether the running test has failed. */
bool has_failed(void);

/* Prints the KTAP result of the running test, whose name is formatted, and begins a new one. */
void report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Returns the name of a negative errno, or the number if it is none. Valid for three more calls. */
const char *errno_name(long long r);

/* Returns whether the C module is loaded. Both cannot be: ours has a name of its own. */
bool on_c_module(void);

/* Fails the test and returns from the function if the condition is false. */
#define CHECK(cond) do {							\
	if (!(cond)) {								\
		fail("%s:%d: not so: %s", __FILE_NAME__, __LINE__, #cond);	\
		return;								\
	}									\
} while (0)

/* Fails the test and returns from the function if the values differ. Errors are negative errnos. */
#define WANT(expr, value) do {							\
	long long __got = (expr), __want = (value);				\
	if (__got != __want) {							\
		fail("%s:%d: %s: got %s, expected %s", __FILE_NAME__, __LINE__,	\
		     #expr, errno_name(__got), errno_name(__want));		\
		return;								\
	}									\
} while (0)

/* As WANT(), where the C module returns something else than the contract says. */
#define WANT_FINDING(finding, expr, contract, c_answer) \
	WANT(expr, on_c_module() ? (long long)(c_answer) : (long long)(contract))

#endif
