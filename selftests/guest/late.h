/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User memory that comes late: an access to it waits in the page fault until another thread, which is
 * kept from running, has done its part. A call with such memory is made in a process of its own.
 */
#ifndef LATE_H
#define LATE_H

#include <stdbool.h>
#include <sys/types.h>

enum late_kind {
	LATE,			/* reads and writes wait; what was there is gone then */
	LATE_TO_WRITE,		/* writes wait, reads do not */
};

struct fixture;
struct late_state;

struct late {
	pid_t pid;
	struct late_state *state;	/* shared with that process */
};

/*
 * Starts a process that calls `call` with late memory, one page of it. Before, `prepare` may write to
 * the page. Returns once the call waits; false, with the reason printed, where it does not. If the memory
 * comes too early both are called again, and find what the call has done or has begun to do.
 */
bool start_late(struct late *l, enum late_kind kind, void (*prepare)(char *at),
		int (*call)(char *at));

/*
 * Called in the process with late memory before anything is late, if it is not NULL: what has to be done by that
 * process, and uses the lock of its mappings.
 */
extern void (*before_late)(void);

/* The call waits still. */
bool still_late(const struct late *l);

/*
 * Starts a child that runs `what` and must wait for the memory, and returns it. Returns 0, with the failure
 * printed, if it does not wait; -1 if the memory came too early to tell. Then both have ended.
 */
int start_waiting(struct late *l, void (*what)(struct fixture *none));

/* Returns whether a child ends, in whatever way, before the memory comes, within so many tenths of a second. */
bool ends_while_late(const struct late *l, int pid, int tenths);

/* Lets the memory come, and returns what the call answered; -ETIME where it does not return. */
int end_late(struct late *l);

/* Kills the process while its call waits. Returns when the process is gone. */
void kill_late(struct late *l);

#endif
