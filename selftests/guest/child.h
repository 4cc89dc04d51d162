/* SPDX-License-Identifier: GPL-2.0-only */
/* Parts of a test that run in another process, or as another user. */
#ifndef CHILD_H
#define CHILD_H

#include <stdbool.h>

#define NOBODY		1000

struct fixture;

/* Starts run(f) in a child process as user uid, 0 for the same user. Returns its pid. */
int start_child(struct fixture *f, unsigned int uid, void (*run)(struct fixture *f));

/* Waits for the child. Returns whether it had no failure; it prints failures itself. */
bool child_done(int pid);

/* Runs run(f) in a child process and waits for it. Returns whether it had no failure. */
bool in_child(struct fixture *f, unsigned int uid, void (*run)(struct fixture *f));

/*
 * Makes an ioctl in a process that has this one's memory, and kills that process after so many microseconds. Returns
 * whether it was killed before the ioctl returned.
 */
bool killed_in(int fd, unsigned long cmd, void *arg, unsigned int us);

#endif
