/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User memory that comes late: an access to it waits in the page fault until another thread, which is
 * kept from running, has done its part. A call with such memory is made in a process of its own.
 *
 * While memory is late the caller, and what it starts, runs on another CPU than that thread. Processes that are started
 * then do not have the memory.
 */
#ifndef LATE_H
#define LATE_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#define LATE_SECONDS	60	/* timeout for what must not wait, on a machine that has other work */

enum late_kind {
	LATE,			/* reads and writes wait; what was there is gone then */
	LATE_TO_WRITE,		/* writes wait, reads do not */
};

struct fixture;
struct late_state;

struct late {
	pid_t pid;
	struct late_state *state;	/* shared with that process */
	bool told;			/* see struct late_test */
	cpu_set_t cpus;			/* of the caller, before */
};

/* A call with a page of late memory. */
struct late_call {
	enum late_kind kind;
	/* May write to the page before it is late, and start a process that is to have it. Or NULL. */
	void (*prepare)(char *at);
	/*
	 * Called in the process with late memory before anything is late, or NULL: what has to be done by that
	 * process, and uses the lock of its mappings.
	 */
	void (*before)(void);
	int (*call)(char *at);
	/* Returns whether the call has come to where the test needs it. NULL: it waits for the memory. */
	bool (*ready)(void);
};

/* A test with late memory, which may come too early to tell anything: on a busy machine its thread runs too long. */
struct late_test {
	struct late_call late;
	/* Makes what an attempt needs. Returns false, with the failure printed, if it cannot. */
	bool (*open)(void *arg);
	/*
	 * Does the test, and ends the late memory. Before that it sets `told` to whether the memory is still late.
	 * Unless `told` is set it asserts nothing that depends on that.
	 */
	void (*run)(struct late *l, void *arg);
	/* Follows each run(), and each attempt at which the memory was not late at all. */
	void (*close)(void *arg);
	void *arg;
};

/*
 * Makes attempts until one tells, or one fails. Returns false, with the reason printed, if none tells. What is
 * asserted of an attempt that tells must be false each time if it is false at all. What waits for the memory although
 * it must not either does so for LATE_SECONDS, or until it comes, and then no attempt tells.
 */
bool test_late(const struct late_test *t);

/* The call waits still. */
bool still_late(const struct late *l);

/*
 * Starts a child that runs `what` and must wait for the memory, and returns it once it waits. Returns 0, with the
 * failure printed, if it ends; -1 if the memory came too early to tell. Then both have ended.
 */
int start_waiting(struct late *l, void (*what)(struct fixture *none));

/* Waits until a child waits. Returns false if it ends, which is a failure, or the memory comes too early to tell. */
bool comes_to_wait(const struct late *l, int pid);

/*
 * Return whether a child ends, in whatever way, or something is done, before the memory comes. Both wait for
 * LATE_SECONDS; with the C module, where most of that waits for the memory, for less.
 */
bool ends_while_late(const struct late *l, int pid);
bool done_while_late(const struct late *l, const atomic_bool *what);

/* Lets the memory come, and returns what the call answered; -ETIME where it does not return. */
int end_late(struct late *l);

/* Kills the process while its call waits, and sets `told` to whether it did. Returns when the process is gone. */
void kill_late(struct late *l);

#endif
