/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of known bugs share. */
#ifndef BUGS_CALL_H
#define BUGS_CALL_H

#include "frame.h"

int change_process(struct fixture *f);

/* Opens SECOND_CDEV of the environment, a device of another group. Returns -1 if there is none. */
int open_second(void);

struct worker {
	void (*step)(struct fixture *f, unsigned int round);
	unsigned int rounds;
};

/*
 * Runs both workers at once. Each goes on until both have done their rounds, until a step fails the
 * test, or for five seconds.
 */
void race(struct fixture *f, const struct worker *one, const struct worker *other);

#endif
