// SPDX-License-Identifier: GPL-2.0-only
/* Readers of fdinfo and debugfs delay nobody. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "late.h"
#include "observe.h"

#define AREAS	500UL
#define ROUNDS	3000
#define READS	20UL

static void read_all(const char *path)
{
	char text[4096];
	int file = open(path, O_RDONLY | O_CLOEXEC);

	while (file >= 0 && read(file, text, sizeof(text)) > 0)
		;
	close(file);
}

/* Reads all that is shown of the context, again and again, and counts that. Does not return. */
static void keep_reading(int fd, volatile unsigned long *reads)
{
	static const char *const lists[] = { "objects", "areas", "extents", "tables", "latency" };
	long long context = key_number(read_fdinfo(fd), "iommufd-context");
	char path[128];

	for (;;) {
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		read_all(path);
		for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
			snprintf(path, sizeof(path), "/sys/kernel/debug/iommufd_rs/%lld/%s", context,
				 lists[i]);
			read_all(path);
		}
		++*reads;
	}
}

/* Returns how often this thread has waited for something. */
static long waits(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

/*
 * Makes four calls in each of ROUNDS rounds, each time after a short sleep. Beside a reader it makes more rounds
 * until *@reads, what the reader counts, is READS. Returns how often the calls have waited.
 */
static long make_calls(struct fixture *f, const volatile unsigned long *reads)
{
	long waited = 0, before;
	uint32_t id;

	for (unsigned int i = 0; i < ROUNDS || (reads && *reads < READS && i < 100 * ROUNDS); i++) {
		if (has_failed())
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 20000 + i % 97 * 3000 }, NULL);
		before = waits();
		if (map(f->fd, f->ioas, mem.rw, PAGE, 2 * FREE_IOVA) ||
		    unmap(f->fd, f->ioas, 2 * FREE_IOVA, PAGE) != PAGE ||
		    ioas_alloc(f->fd, &id) || destroy(f->fd, id))
			fail("a call has failed");
		waited += waits() - before;
	}
	return waited;
}

/*
 * The reader and this thread share a CPU. This thread goes before the reader: when it wakes up, the reader stops
 * where it is, which may be with a lock. If a call then wants the lock, this thread has to wait until the reader
 * has run, and the kernel counts that.
 */
static void beside_a_reader(struct fixture *f)
{
	struct sched_param first = { .sched_priority = 1 }, none = {};
	volatile unsigned long *reads;
	cpu_set_t all, one;
	long alone, beside;
	pid_t reader;

	for (unsigned long i = 0; i < AREAS; i++)
		WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA + 2 * i * PAGE), 0);
	reads = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(reads != MAP_FAILED && !sched_getaffinity(0, sizeof(all), &all));
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	CHECK(!sched_setaffinity(0, sizeof(one), &one));
	alone = make_calls(f, NULL);
	reader = fork();
	if (!reader)
		keep_reading(f->fd, reads);
	CHECK(reader > 0);
	CHECK(!sched_setscheduler(0, SCHED_FIFO, &first));
	beside = make_calls(f, reads);
	CHECK(!sched_setscheduler(0, SCHED_OTHER, &none));
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
	sched_setaffinity(0, sizeof(all), &all);
	note("at least %d times 4 calls have waited %ld times alone, %ld times beside a reader that has read all %lu times",
	     ROUNDS, alone, beside, *reads);
	if (beside > alone)
		fail("calls have waited for the reader");
	CHECK(*reads >= READS);
	munmap((void *)reads, PAGE);
	for (unsigned long i = 0; i < AREAS; i++)
		WANT(unmap(f->fd, f->ioas, FREE_IOVA + 2 * i * PAGE, PAGE), PAGE);
}

static int late_fd;

static int read_late(char *at)
{
	char path[64];
	ssize_t r;
	int file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", late_fd);
	file = open(path, O_RDONLY | O_CLOEXEC);
	r = read(file, at, PAGE);
	return r < 0 ? -errno : r;
}

static bool open_none(void *fixture)
{
	return true;
}

static void close_none(void *fixture)
{
}

static void work_meanwhile(struct late *late, void *fixture)
{
	struct fixture *f = fixture;
	uint32_t id, hwpt;

	WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, PAGE), PAGE);
	WANT(ioas_alloc(f->fd, &id), 0);
	WANT(attach(f->dev, id, &hwpt), 0);
	WANT(attach(f->dev, f->ioas, &f->hwpt), 0);
	WANT(destroy(f->fd, id), 0);
	/* If anything waits for the reader, the memory is never late now. */
	late->told = still_late(late);
	CHECK(end_late(late) > 0);
}

/* A reader that waits for its memory keeps nobody from anything. */
static void late_reader(struct fixture *f)
{
	late_fd = f->fd;
	test_late(&(struct late_test){
		.late = { .kind = LATE, .call = read_late },
		.open = open_none, .run = work_meanwhile, .close = close_none, .arg = f });
}

static const struct test tests[] = {
	{ "calls do not wait for a reader", beside_a_reader, DOMAIN },
	{ "a reader whose memory is late", late_reader, DOMAIN },
};

const struct suite readers_suite = { "readers", NULL, 0, tests, ARRAY_SIZE(tests) };
