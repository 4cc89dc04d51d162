// SPDX-License-Identifier: GPL-2.0-only
/*
 * Delays page faults without userfaultfd. A fault on a missing page of a memfd waits while a hole is
 * punched around it. A write to a page that fork() has made read-only waits for the lock of its
 * mapping, which mprotect() holds. Either call covers many pages. A real-time thread on the same CPU
 * preempts it; the kernel leaves it a twentieth of the CPU.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "call.h"
#include "child.h"
#include "late.h"
#include "memory.h"
#include "result.h"

#define CPU		1		/* of the thread that is preempted */
#define FIFO		10
#define HEAD_START	2000		/* microseconds, to be inside the long call */
#define SECONDS		10		/* timeout for calls that must not wait */

/* Bytes of the long call. Memory is late for about as long as it takes, times twenty. */
static size_t late_bytes;

struct late_state {
	atomic_bool ready;		/* the real-time thread is ready */
	atomic_bool begun;		/* the long call is being made */
	atomic_bool stopped;		/* ... and is preempted */
	atomic_bool over;		/* ... and has returned */
	atomic_bool calling;
	atomic_bool returned;
	atomic_bool let_come;
	bool failed;
	int result;
	int file;
	char *area;
	enum late_kind kind;
};

void (*before_late)(void);

static void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		bail_out("sched_setaffinity: %s", errno_name(-errno));
}

static void *long_call(void *arg)
{
	struct late_state *s = arg;
	int r;

	pin_to(CPU);
	while (!atomic_load(&s->ready))
		usleep(100);
	atomic_store(&s->begun, true);
	if (s->kind == LATE)
		r = fallocate(s->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, late_bytes);
	else
		r = mprotect(s->area, late_bytes, PROT_READ | PROT_WRITE | PROT_EXEC);
	atomic_store(&s->over, true);
	if (r)
		s->failed = true;
	return NULL;
}

/* Once the long call runs, nothing may take the lock of the process's mappings, as making a thread does. */
static void *stopper(void *arg)
{
	const struct sched_param fifo = { .sched_priority = FIFO };
	struct late_state *s = arg;

	pin_to(CPU);
	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &fifo))
		s->failed = true;
	atomic_store(&s->ready, true);
	while (!atomic_load(&s->begun))
		usleep(100);
	usleep(HEAD_START);
	atomic_store(&s->stopped, true);
	while (!atomic_load(&s->let_come) && !atomic_load(&s->over))
		;
	return NULL;
}

static bool make_area(struct late_state *s)
{
	int flags = s->kind == LATE ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;

	s->file = -1;
	if (s->kind == LATE) {
		s->file = memfd_create("late", MFD_CLOEXEC);
		if (s->file < 0 || ftruncate(s->file, late_bytes))
			return false;
	}
	s->area = mmap(NULL, late_bytes, PROT_READ | PROT_WRITE, flags, s->file, 0);
	if (s->area == MAP_FAILED)
		return false;
	/* Leaves out the first page: a fault on a page that the file has does not wait. */
	memset(s->area + PAGE, 1, late_bytes - PAGE);
	if (s->kind == LATE_TO_WRITE)
		s->area[0] = 1;
	return true;
}

/* Runs in the process with the late memory. The long call begins at the first page, which is used. */
static void run_child(struct late_state *s, int (*call)(char *at))
{
	pthread_t threads[2];

	pin_to(0);
	/* Sets the accessed flag: on some CPUs, a read faults without it. */
	if (s->kind == LATE_TO_WRITE)
		(void)*(volatile char *)s->area;
	if (before_late)
		before_late();
	if (pthread_create(&threads[0], NULL, stopper, s) ||
	    pthread_create(&threads[1], NULL, long_call, s))
		_exit(1);
	while (!atomic_load(&s->stopped))
		sched_yield();
	atomic_store(&s->calling, true);
	s->result = call(s->area);
	atomic_store(&s->returned, true);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	_exit(s->failed);
}

static bool wait_for(atomic_bool *what)
{
	time_t deadline = time(NULL) + SECONDS;

	while (!atomic_load(what)) {
		if (time(NULL) > deadline)
			return false;
		usleep(1000);
	}
	return true;
}

static void free_late(struct late_state *s)
{
	munmap(s->area, late_bytes);
	if (s->file >= 0)
		close(s->file);
	munmap(s, sizeof(*s));
}

/* The call may have returned, or wait for what comes later in the test. */
static void end_early(struct late *l)
{
	kill(l->pid, SIGKILL);
	waitpid(l->pid, NULL, 0);
	free_late(l->state);
}

/* Like start_late(). Sets *early, and does not fail the test, if the memory was there in time. */
static bool try_late(struct late *l, enum late_kind kind, void (*prepare)(char *at),
		     int (*call)(char *at), bool *early)
{
	struct late_state *s;

	*early = false;
	/* On a debug kernel a page takes so much longer that the test must not wait for more. */
	late_bytes = (slow_kernel() ? 128UL : 384UL) << 20;

	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED) {
		fail("no shared memory: %s", errno_name(-errno));
		return false;
	}
	l->state = s;
	s->kind = kind;
	if (!make_area(s)) {
		fail("cannot make late memory: %s", errno_name(-errno));
		return false;
	}
	if (prepare)
		prepare(s->area);
	l->pid = fork();
	if (!l->pid)
		run_child(s, call);
	if (l->pid < 0 || !wait_for(&s->calling)) {
		fail("no process with late memory");
		return false;
	}
	/* Gives the call time to reach the late memory. */
	usleep(200000);
	if (atomic_load(&s->returned) || atomic_load(&s->over)) {
		*early = true;
		end_early(l);
		return false;
	}
	return true;
}

bool start_late(struct late *l, enum late_kind kind, void (*prepare)(char *at),
		int (*call)(char *at))
{
	bool early = true;
	int i;

	/* A busy machine may not preempt the thread in time. */
	for (i = 0; i < 5 && early; i++) {
		if (try_late(l, kind, prepare, call, &early))
			return true;
	}
	if (early)
		fail("the memory is not late in %d attempts", i);
	return false;
}

bool still_late(const struct late *l)
{
	return !atomic_load(&l->state->over) && !atomic_load(&l->state->returned);
}

int start_waiting(struct late *l, void (*what)(struct fixture *none))
{
	int gone, pid = start_child(NULL, 0, what);

	usleep(50000);
	gone = waitpid(pid, NULL, WNOHANG);
	if (still_late(l)) {
		if (gone)
			fail("the child does not wait");
		return gone ? 0 : pid;
	}
	end_late(l);
	if (!gone)
		waitpid(pid, NULL, 0);
	return -1;
}

bool ends_while_late(const struct late *l, int pid, int tenths)
{
	int i, gone = 0;

	for (i = 0; i < tenths && !gone && still_late(l); i++) {
		usleep(100000);
		gone = waitpid(pid, NULL, WNOHANG);
	}
	return gone == pid;
}

void kill_late(struct late *l)
{
	int status = 0;

	if (!still_late(l))
		fail("the memory is not late any more");
	kill(l->pid, SIGKILL);
	if (waitpid(l->pid, &status, 0) != l->pid || !WIFSIGNALED(status))
		fail("the process with late memory was not killed");
	free_late(l->state);
}

int end_late(struct late *l)
{
	struct late_state *s = l->state;
	int r;

	atomic_store(&s->let_come, true);
	r = wait_for(&s->returned) ? s->result : -ETIME;
	if (!child_done(l->pid))
		fail("the process with late memory failed");
	free_late(s);
	return r;
}
