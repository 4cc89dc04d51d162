// SPDX-License-Identifier: GPL-2.0-only
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "result.h"

int start_child(struct fixture *f, unsigned int uid, void (*run)(struct fixture *f))
{
	int parent = getpid(), pid;

	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	if (uid && (setresgid(uid, uid, uid) || setresuid(uid, uid, uid))) {
		fail("cannot become user %u", uid);
		_exit(1);
	}
	/* Becoming another user clears this. The parent may have ended before it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		run(f);
	fflush(stdout);
	_exit(has_failed());
}

bool child_done(int pid)
{
	int status = -1;

	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}

bool in_child(struct fixture *f, unsigned int uid, void (*run)(struct fixture *f))
{
	return child_done(start_child(f, uid, run));
}
