// SPDX-License-Identifier: GPL-2.0-only
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>
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

struct victim {
	int fd;
	unsigned long cmd;
	void *arg;
	atomic_bool begun, returned;
};

static int run_victim(void *arg)
{
	struct victim *v = arg;

	atomic_store(&v->begun, true);
	ioctl(v->fd, v->cmd, v->arg);
	atomic_store(&v->returned, true);
	return pause();
}

bool killed_in(int fd, unsigned long cmd, void *arg, unsigned int us)
{
	static char stack[1 << 16] __attribute__((aligned(16)));
	struct victim v = { .fd = fd, .cmd = cmd, .arg = arg };
	int pid = clone(run_victim, stack + sizeof(stack), CLONE_VM | SIGCHLD, &v);

	if (pid < 0) {
		fail("no process");
		return false;
	}
	while (!atomic_load(&v.begun))
		usleep(10);
	usleep(us);
	kill(pid, SIGKILL);
	if (waitpid(pid, NULL, 0) != pid)
		fail("process %d is not a child", pid);
	return !atomic_load(&v.returned);
}
