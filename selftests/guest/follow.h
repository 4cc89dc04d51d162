/* SPDX-License-Identifier: GPL-2.0-only */
/* What the program `follow` and those that it runs agree on. */
#ifndef FOLLOW_H
#define FOLLOW_H

/* Files of KCOV, open and initialised, one for each child or thread: the first descriptor, and how many. */
#define FIRST_LANE	800
#define LANES		24

/* It is set in the environment of a program that is followed. */
#define FOLLOWED	"FOLLOWED_BY_KCOV"

#endif
