// SPDX-License-Identifier: GPL-2.0-only
/*
 * Delays page faults without userfaultfd. A fault on a missing page of a memfd waits while a hole is
 * punched around it. A write to a page that fork() has made read-only waits for the lock of its
 * mapping, which mprotect() holds. Either call covers many pages, and is made by a thread of the policy SCHED_IDLE.
 * Another thread on the same CPU preempts it, and leaves it 3 parts in 1,027 of the CPU, or in 3,124 of the second kind,
 * which is short: then the memory is late for half a minute or more, as far as a test is concerned until it lets it come.
 * It is not kept from running altogether, because it may be where it delays the end of an RCU grace period. The kernel's
 * own threads of that CPU are delayed by milliseconds.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "child.h"
#include "late.h"
#include "memory.h"
#include "result.h"

#define CPU		1		/* of the thread that is preempted */
#define NICE		-5		/* of the thread that preempts mprotect() */
#define HEAD_START	2000		/* microseconds, to be inside the long call */
#define ATTEMPTS	10
#define LOOKS		5		/* at a task that sleeps, LOOK_US apart */
#define LOOK_US		10000
#define C_SECONDS	2		/* instead of LATE_SECONDS */
#define RETURN_US	200000		/* for a call to return that has got its memory */

/* Bytes of the long call. Memory is late for about as long as it takes, times 340 or 1,040. */
static size_t late_bytes;

struct late_state {
	atomic_bool ready;		/* the thread that preempts is ready */
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
	unsigned int head_start;	/* microseconds */
};

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
	const struct sched_param none = {};
	struct late_state *s = arg;
	int r;

	pin_to(CPU);
	if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &none))
		s->failed = true;
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
	struct late_state *s = arg;

	pin_to(CPU);
	/* Of this thread alone. */
	if (s->kind == LATE_TO_WRITE && setpriority(PRIO_PROCESS, gettid(), NICE))
		s->failed = true;
	atomic_store(&s->ready, true);
	while (!atomic_load(&s->begun))
		usleep(100);
	usleep(s->head_start);
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
static void run_child(struct late_state *s, const struct late_call *c)
{
	pthread_t threads[2];

	pin_to(0);
	/* Sets the accessed flag: on some CPUs, a read faults without it. */
	if (s->kind == LATE_TO_WRITE)
		(void)*(volatile char *)s->area;
	if (c->before)
		c->before();
	if (pthread_create(&threads[0], NULL, stopper, s) ||
	    pthread_create(&threads[1], NULL, long_call, s))
		_exit(1);
	while (!atomic_load(&s->stopped))
		sched_yield();
	atomic_store(&s->calling, true);
	s->result = c->call(s->area);
	atomic_store(&s->returned, true);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	_exit(s->failed);
}

static bool wait_for(atomic_bool *what)
{
	int i;

	for (i = 0; i < LATE_SECONDS * 1000 && !atomic_load(what); i++)
		usleep(1000);
	return atomic_load(what);
}

/* Returns whether the first thread of a process sleeps, and how often it has gone to sleep until now. */
static bool sleeps(int pid, unsigned long *times)
{
	char path[64], line[256], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "State: %c", &state);
		sscanf(line, "voluntary_ctxt_switches: %lu", times);
	}
	if (f)
		fclose(f);
	return state == 'D' || state == 'S';
}

/*
 * Waits until a process does nothing but sleep, which it comes to sooner or later. Returns false if `over` is so
 * before.
 */
static bool wait_until_asleep(int pid, bool (*over)(const void *arg), const void *arg)
{
	unsigned long before = 0, times = 0;
	int looks = 0, i;

	for (i = 0; looks < LOOKS; i++) {
		if (over(arg) || i == LATE_SECONDS * 1000000 / LOOK_US)
			return false;
		if (!sleeps(pid, &times) || times != before)
			looks = 0;
		else
			looks++;
		before = times;
		usleep(LOOK_US);
	}
	return true;
}

static void free_late(struct late *l)
{
	struct late_state *s = l->state;

	sched_setaffinity(0, sizeof(l->cpus), &l->cpus);
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
	free_late(l);
}

static bool not_late(const void *late)
{
	return !still_late(late);
}

/* Returns whether the call is where the test needs it, and the memory is late still. */
static bool comes_to(struct late *l, const struct late_call *c)
{
	if (!c->ready)
		return wait_until_asleep(l->pid, not_late, l);
	while (!c->ready() && still_late(l))
		usleep(1000);
	return still_late(l);
}

enum start { IS_LATE, IS_EARLY, IS_NOT };

/* Starts a process with late memory. The test has failed only if there is none. */
static enum start try_late(struct late *l, const struct late_call *c, unsigned int attempt)
{
	struct late_state *s;

	/* On a debug kernel a page takes so much longer that the test must not wait for more. */
	late_bytes = (slow_kernel() ? 128UL : 384UL) << 20;

	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED) {
		fail("no shared memory: %s", errno_name(-errno));
		return IS_NOT;
	}
	l->state = s;
	s->kind = c->kind;
	/* The longer, the surer it is inside the long call, and the surer it is out again. */
	s->head_start = HEAD_START << attempt % 4;
	if (!make_area(s) || sched_getaffinity(0, sizeof(l->cpus), &l->cpus)) {
		fail("cannot make late memory: %s", errno_name(-errno));
		return IS_NOT;
	}
	if (c->prepare)
		c->prepare(s->area);
	/* On the other CPU it would get less. */
	pin_to(0);
	l->pid = fork();
	if (!l->pid)
		run_child(s, c);
	/* The long call has locks of the memory. What is forked now does not need it. */
	madvise(s->area, late_bytes, MADV_DONTFORK);
	if (l->pid < 0 || !wait_for(&s->calling)) {
		fail("no process with late memory");
		return IS_NOT;
	}
	if (comes_to(l, c))
		return IS_LATE;
	end_early(l);
	return IS_EARLY;
}

bool test_late(const struct late_test *t)
{
	enum start start;
	struct late l;
	unsigned int i;

	for (i = 0; i < ATTEMPTS; i++) {
		if (!t->open(t->arg))
			return false;
		start = try_late(&l, &t->late, i);
		if (start == IS_NOT)
			return false;
		l.told = false;
		if (start == IS_LATE)
			t->run(&l, t->arg);
		t->close(t->arg);
		if (l.told || has_failed())
			return !has_failed();
	}
	fail("the memory is not late for long enough in %d attempts", ATTEMPTS);
	return false;
}

bool still_late(const struct late *l)
{
	return !atomic_load(&l->state->over) && !atomic_load(&l->state->returned);
}

/* A child, which is reaped when it has ended. */
struct child {
	const struct late *late;
	int pid;
	bool *gone;
};

static bool gone_or_not_late(const void *arg)
{
	const struct child *child = arg;

	*child->gone = waitpid(child->pid, NULL, WNOHANG) == child->pid;
	return *child->gone || !still_late(child->late);
}

bool comes_to_wait(const struct late *l, int pid)
{
	bool gone = false;
	struct child child = { l, pid, &gone };

	wait_until_asleep(pid, gone_or_not_late, &child);
	if (gone && still_late(l))
		fail("the child does not wait");
	return !gone && still_late(l);
}

int start_waiting(struct late *l, void (*what)(struct fixture *none))
{
	int pid = start_child(NULL, 0, what);

	if (comes_to_wait(l, pid))
		return pid;
	if (still_late(l))
		return 0;
	end_late(l);
	waitpid(pid, NULL, 0);
	return -1;
}

static int hundredths(void)
{
	return 100 * (on_c_module() ? C_SECONDS : LATE_SECONDS);
}

/*
 * These two let the call with the memory return, if that has come in the end: with a bug, what waited for the call
 * goes on then, and may be done before the memory is seen not to be late any more.
 */
bool ends_while_late(const struct late *l, int pid)
{
	const int tries = hundredths();
	bool gone;
	int i;

	for (i = 0; !(gone = waitpid(pid, NULL, WNOHANG) == pid) && i < tries && still_late(l); i++)
		usleep(10000);
	usleep(RETURN_US);
	return gone;
}

bool done_while_late(const struct late *l, const atomic_bool *what)
{
	const int tries = hundredths();
	int i;

	for (i = 0; i < tries && !atomic_load(what) && still_late(l); i++)
		usleep(10000);
	usleep(RETURN_US);
	return atomic_load(what);
}

void kill_late(struct late *l)
{
	int status = 0;

	kill(l->pid, SIGKILL);
	if (waitpid(l->pid, &status, 0) != l->pid)
		fail("the process with late memory cannot be killed");
	/* The long call is cut short by the signal, and does not come to its end. */
	l->told = still_late(l);
	if (l->told && !WIFSIGNALED(status))
		fail("the process with late memory has ended by itself");
	free_late(l);
}

int end_late(struct late *l)
{
	struct late_state *s = l->state;
	int r;

	atomic_store(&s->let_come, true);
	r = wait_for(&s->returned) ? s->result : -ETIME;
	if (!child_done(l->pid))
		fail("the process with late memory failed");
	free_late(l);
	return r;
}
