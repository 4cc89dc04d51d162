// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory whose page faults others decide about, or which page faults refuse: with userfaultfd, broken memory, and memory
 * with protection keys. It is mapped by its addresses, so page faults happen, and calls wait for them.
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared.h"
#include "uffd.h"

#define SECONDS		60		/* timeout for what must not wait any more */
#define AT		HALF		/* where the memory is armed, or broken */
#define ARMED		HUGE		/* so many bytes of it */

enum kind { SHMEM, HUGETLB, SHARED, PRIVATE, NR_KINDS };

static const char *const names[] = { "shmem", "hugetlbfs", "shared", "private" };

enum mode { MISSING, MINOR, WRITE_PROTECTED };

static const struct {
	uint64_t mode;		/* UFFDIO_REGISTER_MODE_* */
	uint64_t flags;		/* UFFD_PAGEFAULT_FLAG_* */
	unsigned int kinds;
} modes[] = {
	[MISSING] = { UFFDIO_REGISTER_MODE_MISSING, 0, 1 << SHMEM | 1 << HUGETLB | 1 << SHARED | 1 << PRIVATE },
	[MINOR] = { UFFDIO_REGISTER_MODE_MINOR, UFFD_PAGEFAULT_FLAG_MINOR, 1 << SHMEM | 1 << HUGETLB | 1 << SHARED },
	[WRITE_PROTECTED] = { UFFDIO_REGISTER_MODE_WP, UFFD_PAGEFAULT_FLAG_WP, 1 << PRIVATE },
};

/* Returns memory of LENGTH bytes, aligned to huge pages, whose pages differ, or NULL. */
static char *memory(enum kind kind)
{
	int flags = kind == PRIVATE ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, file = -1;
	char *p = mapping(-1, 0, LENGTH + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);

	if (kind == SHMEM || kind == HUGETLB)
		file = memory_file(LENGTH, kind == HUGETLB ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
	else
		flags |= MAP_ANONYMOUS;
	p += -PTR(p) % HUGE;
	if (mmap(p, LENGTH, PROT_READ | PROT_WRITE, flags | MAP_FIXED, file, 0) != p) {
		fail("no memory of kind %s: %s", names[kind], errno_name(-errno));
		return NULL;
	}
	fill(p);
	if (file >= 0)
		close(file);
	return p;
}

/* Has page faults in ARMED bytes of the memory wait. Returns the file that lets them go on, or a negative errno. */
static int arm(char *p, enum mode mode)
{
	int uffd = uffd_open(0), r = uffd;

	if (r >= 0 && mode == MISSING)
		r = madvise(p + AT, ARMED, MADV_REMOVE) && madvise(p + AT, ARMED, MADV_DONTNEED) ? -errno : 0;
	if (r >= 0 && mode == MINOR)
		r = madvise(p + AT, ARMED, MADV_DONTNEED) ? -errno : 0;
	if (r >= 0)
		r = uffd_register(uffd, p, LENGTH, modes[mode].mode);
	if (r >= 0 && mode == WRITE_PROTECTED)
		r = uffd_write_protect(uffd, p + AT, ARMED, true);
	if (r < 0)
		fail("userfaultfd: %s", errno_name(r));
	return r < 0 ? r : uffd;
}

/* Lets page faults go on. Missing memory gets the content of that before it. */
static int disarm(int uffd, char *p, enum mode mode)
{
	switch (mode) {
	case MISSING:
		return uffd_copy(uffd, p + AT, p + AT - ARMED, ARMED);
	case MINOR:
		return uffd_continue(uffd, p + AT, ARMED);
	default:
		return uffd_write_protect(uffd, p + AT, ARMED, false);
	}
}

struct mapper {
	const char *p;
	pthread_t thread;
	atomic_bool returned;
	int result;
};

static void *map_it(void *arg)
{
	struct mapper *mapper = arg;

	mapper->result = map(m.fd, m.ioas, mapper->p, LENGTH, MOCK_IOVA);
	atomic_store(&mapper->returned, true);
	return NULL;
}

static bool becomes(const atomic_bool *what)
{
	int i;

	for (i = 0; i < SECONDS * 1000 && !atomic_load(what); i++)
		usleep(1000);
	return atomic_load(what);
}

/* The map waits until the page fault may go on, and then has the memory. */
static void map_waits(enum kind kind, enum mode mode)
{
	struct mapper mapper = {};
	char *p = memory(kind);
	int uffd;
	size_t i;

	CHECK(p);
	uffd = arm(p, mode);
	CHECK(uffd >= 0);
	mapper.p = p;
	CHECK(!pthread_create(&mapper.thread, NULL, map_it, &mapper));
	CHECK(uffd_wait(uffd, p + AT, ARMED, modes[mode].flags, &mapper.returned));
	/* Other calls do not wait for it. */
	WANT(map(m.fd, m.ioas, p, PAGE, MOCK_IOVA + LENGTH), 0);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA + LENGTH, PAGE), PAGE);
	CHECK(!atomic_load(&mapper.returned));
	WANT(disarm(uffd, p, mode), 0);
	CHECK(becomes(&mapper.returned));
	pthread_join(mapper.thread, NULL);
	WANT(mapper.result, 0);
	WANT(pinned(), m.idle + (long)NR_PAGES);
	WANT(mock_check(m.fd, m.hwpt, MOCK_IOVA, p, LENGTH), 0);
	for (i = AT / PAGE; mode == MISSING && i < (AT + ARMED) / PAGE; i++)
		WANT(*(size_t *)(p + i * PAGE), i - ARMED / PAGE);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA, LENGTH), LENGTH);
	WANT(pinned(), m.idle);
	close(uffd);
	munmap(p, LENGTH);
}

static void each_kind(enum mode mode)
{
	enum kind kind;

	CHECK(begin());
	for (kind = 0; kind < NR_KINDS; kind++) {
		if (modes[mode].kinds & 1 << kind)
			map_waits(kind, mode);
		if (has_failed()) {
			note("memory of kind %s", names[kind]);
			return;
		}
	}
	end();
}

static void missing(struct fixture *none)
{
	each_kind(MISSING);
}

static void minor(struct fixture *none)
{
	each_kind(MINOR);
}

static void write_protected(struct fixture *none)
{
	each_kind(WRITE_PROTECTED);
}

/* With this feature, a page fault that would wait is an error. */
static void no_handler(struct fixture *none)
{
	enum kind kind;
	int uffd;
	char *p;

	CHECK(begin());
	for (kind = 0; kind < PRIVATE; kind++) {
		note("memory of kind %s", names[kind]);
		p = memory(kind);
		uffd = uffd_open(UFFD_FEATURE_SIGBUS);
		CHECK(p && uffd >= 0);
		WANT(uffd_register(uffd, p, LENGTH, UFFDIO_REGISTER_MODE_MINOR), 0);
		WANT(madvise(p + AT, ARMED, MADV_DONTNEED), 0);
		check_refused(p, LENGTH, EFAULT);
		WANT(uffd_unregister(uffd, p, LENGTH), 0);
		check_entered(p, LENGTH, 0);
		close(uffd);
		munmap(p, LENGTH);
	}
	end();
}

/* The mark stays when the memory is registered no longer; then the file decides where there is one. */
static void poisoned(struct fixture *none)
{
	enum kind kind;
	int uffd;
	char *p;

	CHECK(begin());
	for (kind = 0; kind < NR_KINDS; kind++) {
		note("memory of kind %s", names[kind]);
		p = memory(kind);
		uffd = uffd_open(UFFD_FEATURE_POISON);
		CHECK(p && uffd >= 0);
		WANT(uffd_register(uffd, p, LENGTH, UFFDIO_REGISTER_MODE_MISSING), 0);
		WANT(madvise(p + AT, ARMED, MADV_DONTNEED), 0);
		WANT(uffd_poison(uffd, p + AT, kind == HUGETLB ? HUGE : PAGE), 0);
		check_refused(p, LENGTH, EFAULT);
		WANT(uffd_unregister(uffd, p, LENGTH), 0);
		if (kind == PRIVATE)
			check_refused(p, LENGTH, EFAULT);
		else
			WANT_FINDING("difference 21", map(m.fd, m.ioas, p, LENGTH, MOCK_IOVA), 0, -EFAULT);
		unmap_all(m.fd, m.ioas);
		WANT(pinned(), m.idle);
		close(uffd);
		munmap(p, LENGTH);
	}
	end();
}

static volatile sig_atomic_t nr_signals;

static void count_signal(int nr)
{
	nr_signals++;
}

/* Breaks a page. The kernel tells the process that asks for it by a signal. */
static int break_page(char *at)
{
	if (signal(SIGBUS, count_signal) == SIG_ERR)
		return -errno;
	return madvise(at, PAGE, MADV_HWPOISON) ? -errno : 0;
}

/* Memory that is known to be broken is refused by its address, and not by its place in a file. */
static void broken(struct fixture *none)
{
	uint64_t iova = MOCK_IOVA;
	enum kind kind;
	int file;
	char *p;

	CHECK(begin());
	for (kind = 0; kind < NR_KINDS; kind++) {
		note("memory of kind %s", names[kind]);
		p = memory(kind);
		CHECK(p);
		WANT(break_page(p + AT), 0);
		check_refused(p, LENGTH, EFAULT);
		check_mapped(p, AT);
		if (kind != PRIVATE)
			check_entered(p, AT, 0);
		munmap(p, LENGTH);
	}
	p = filled(&file, 0);
	CHECK(p);
	WANT(break_page(p + AT), 0);
	WANT(map_file(m.fd, m.ioas, FIXED | RW, file, 0, LENGTH, &iova), 0);
	WANT(unmap_all(m.fd, m.ioas), LENGTH);
	WANT(pinned(), m.idle);
	end();
}

/* The page is pinned meanwhile, which the kernel reports as EBUSY: nothing can be done but not to use it again. */
static void breaks_while_mapped(struct fixture *none)
{
	enum kind kind;
	char *p;
	int r;

	CHECK(begin());
	for (kind = 0; kind < NR_KINDS; kind++) {
		note("memory of kind %s", names[kind]);
		p = memory(kind);
		CHECK(p);
		WANT(map(m.fd, m.ioas, p, LENGTH, MOCK_IOVA), 0);
		r = break_page(p + AT);
		CHECK(r == 0 || r == -EBUSY);
		WANT(unmap(m.fd, m.ioas, MOCK_IOVA, LENGTH), LENGTH);
		WANT(pinned(), m.idle);
		check_refused(p, LENGTH, EFAULT);
		munmap(p, LENGTH);
	}
	end();
}

/*
 * PR_MCE_KILL_EARLY: the kernel sends SIGBUS for broken memory at once, to a process that has it in its page
 * tables. A shared mapping that was pinned by its file may not be in them.
 */
static void breaks_untold(struct fixture *none)
{
	char *p = memory(SHMEM), where[32];

	CHECK(begin());
	CHECK(p);
	CHECK(signal(SIGBUS, count_signal) != SIG_ERR);
	CHECK(!prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
	snprintf(where, sizeof(where), "%#llx", (unsigned long long)phys_of(p + AT));
	WANT(madvise(p, LENGTH, MADV_DONTNEED), 0);
	WANT(map(m.fd, m.ioas, p, LENGTH, MOCK_IOVA), 0);
	/* The page is pinned, so the answer may be EBUSY. */
	write_to("/sys/devices/system/memory/hard_offline_page", where);
	WANT_FINDING("difference 21", nr_signals, 0, 1);
	WANT(unmap(m.fd, m.ioas, MOCK_IOVA, LENGTH), LENGTH);
	WANT(pinned(), m.idle);
	check_refused(p, LENGTH, EFAULT);
	end();
}

/* The processes of a test share it. */
static struct {
	atomic_bool waits;		/* there was a page fault */
	uint32_t device, hwpt;
	int read;			/* what read_other() got */
} *both;

static bool share(void)
{
	both = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return both != MAP_FAILED;
}

static void attach_other(struct fixture *none)
{
	uint32_t device, dev_id, hwpt;

	WANT(mock_device(m.fd, m.other, &device, &dev_id, &hwpt), 0);
	both->device = device;
	both->hwpt = hwpt;
}

/* Kills a process, and returns whether it is gone soon. */
static bool ends_by_kill(int pid)
{
	int i;

	kill(pid, SIGKILL);
	for (i = 0; i < SECONDS * 1000; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		usleep(1000);
	}
	fail("a killed process is still there after %d seconds", SECONDS);
	return false;
}

/* A key forbids accesses of a thread that it does not have, also to those that the kernel makes for it. */
static void protection_keys(struct fixture *none)
{
	uint64_t iova = MOCK_IOVA;
	enum kind kind;
	char *p;
	int key;

	CHECK(begin());
	CHECK(share());
	key = pkey_alloc(0, 0);
	CHECK(key > 0);
	for (kind = 0; kind < NR_KINDS; kind++) {
		note("memory of kind %s", names[kind]);
		p = memory(kind);
		CHECK(p);
		WANT(pkey_mprotect(p + AT, ARMED, PROT_READ | PROT_WRITE, key), 0);
		WANT(pkey_set(key, PKEY_DISABLE_ACCESS), 0);
		check_refused(p, LENGTH, EFAULT);
		WANT(map_as(m.fd, m.ioas, FIXED | READ, p, LENGTH, &iova), -EFAULT);
		check_mapped(p, AT);
		WANT(pkey_set(key, PKEY_DISABLE_WRITE), 0);
		check_refused(p, LENGTH, EFAULT);
		WANT(map_as(m.fd, m.ioas, FIXED | READ, p, LENGTH, &iova), 0);
		WANT(unmap_all(m.fd, m.ioas), LENGTH);
		WANT(pkey_set(key, 0), 0);
		check_mapped(p, LENGTH);
		/* Keys are a thread's, and say nothing about accesses of other processes. */
		WANT(pkey_set(key, PKEY_DISABLE_ACCESS), 0);
		WANT(map(m.fd, m.other, p, LENGTH, MOCK_IOVA), 0);
		CHECK(in_child(NULL, 0, attach_other));
		WANT(pkey_set(key, 0), 0);
		WANT(mock_check(m.fd, both->hwpt, MOCK_IOVA, p, LENGTH), 0);
		WANT(destroy(m.fd, both->device), 0);
		WANT(unmap_all(m.fd, m.other), LENGTH);
		WANT(pinned(), m.idle);
		munmap(p, LENGTH);
	}
	end();
}

/* Maps armed memory of a process of its own, and says when there is the page fault. Nobody lets it go on. */
static void map_forever(struct fixture *none)
{
	struct mapper mapper = { .p = memory(SHMEM) };
	int uffd;

	CHECK(mapper.p);
	uffd = arm((char *)mapper.p, MISSING);
	CHECK(uffd >= 0);
	CHECK(!pthread_create(&mapper.thread, NULL, map_it, &mapper));
	CHECK(uffd_wait(uffd, mapper.p + AT, ARMED, 0, &mapper.returned));
	atomic_store(&both->waits, true);
	pause();
}

static void killed(struct fixture *none)
{
	int pid;

	CHECK(begin());
	CHECK(share());
	pid = start_child(NULL, 0, map_forever);
	CHECK(becomes(&both->waits));
	CHECK(ends_by_kill(pid));
	WANT(pinned(), m.idle);
	WANT(unmap_all(m.fd, m.ioas), 0);
	end();
}

/* Another process attaches a device, and waits for memory of this one. */
static void attach_waits(enum kind kind, enum mode mode, bool is_killed)
{
	char *p = memory(kind), *more;
	int uffd, pid;

	CHECK(p);
	uffd = arm(p, mode);
	CHECK(uffd >= 0);
	WANT(map(m.fd, m.other, p, LENGTH, MOCK_IOVA), 0);
	pid = start_child(NULL, 0, attach_other);
	CHECK(uffd_wait(uffd, p + AT, ARMED, modes[mode].flags, NULL));
	/* The lock of this process's mappings is free. */
	more = mapping(-1, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
	CHECK(more);
	CHECK(!munmap(more, PAGE));
	WANT(waitpid(pid, NULL, WNOHANG), 0);
	if (is_killed)
		CHECK(ends_by_kill(pid));
	WANT(disarm(uffd, p, mode), 0);
	if (!is_killed) {
		CHECK(child_done(pid));
		WANT(pinned(), m.idle + (long)NR_PAGES);
		WANT(mock_check(m.fd, both->hwpt, MOCK_IOVA, p, LENGTH), 0);
	}
	WANT(unmap_all(m.fd, m.other), LENGTH);
	WANT(pinned(), m.idle);
	close(uffd);
	munmap(p, LENGTH);
}

static void other_process(struct fixture *none)
{
	CHECK(begin());
	CHECK(share());
	attach_waits(SHMEM, MISSING, false);
	end();
}

static void other_process_private(struct fixture *none)
{
	CHECK(begin());
	CHECK(share());
	attach_waits(PRIVATE, MISSING, false);
	end();
}

static void other_process_protected(struct fixture *none)
{
	CHECK(begin());
	CHECK(share());
	attach_waits(PRIVATE, WRITE_PROTECTED, false);
	end();
}

static void other_process_killed(struct fixture *none)
{
	CHECK(begin());
	CHECK(share());
	attach_waits(SHMEM, MISSING, true);
	end();
}

/* Reads two words of the armed page of another process. */
static void read_other(struct fixture *none)
{
	int access = access_open(m.fd, m.other, 0);
	size_t words[2] = {};

	CHECK(access >= 0);
	both->read = access_rw(m.fd, access, MOCK_IOVA + AT, words, sizeof(words), 0);
	if (!both->read)
		WANT(words[0], (AT - ARMED) / PAGE);
}

static void access_waits(struct fixture *none)
{
	char *p = memory(SHMEM);
	int uffd, pid;

	CHECK(begin());
	CHECK(share());
	CHECK(p);
	uffd = arm(p, MISSING);
	CHECK(uffd >= 0);
	WANT(map(m.fd, m.other, p, LENGTH, MOCK_IOVA), 0);
	pid = start_child(NULL, 0, read_other);
	if (!on_c_module()) {
		CHECK(uffd_wait(uffd, p + AT, ARMED, 0, NULL));
		WANT(disarm(uffd, p, MISSING), 0);
	}
	CHECK(child_done(pid));
	WANT_FINDING("AR", both->read, 0, -EFAULT);
	WANT(unmap_all(m.fd, m.other), LENGTH);
	WANT(pinned(), m.idle);
	end();
}

static const struct test tests[] = {
	{ "userfaultfd supplies missing memory", missing, ALONE },
	{ "userfaultfd enters pages of the file", minor, ALONE },
	{ "userfaultfd protects memory from writes", write_protected, ALONE },
	{ "userfaultfd has nobody to ask", no_handler, ALONE },
	{ "memory that UFFDIO_POISON has marked", poisoned, ALONE },
	{ "broken memory", broken, ALONE },
	{ "memory breaks while it is mapped", breaks_while_mapped, ALONE },
	{ "memory breaks that is not in page tables of the process", breaks_untold, ALONE },
	{ "protection keys", protection_keys, ALONE },
	{ "a map that waits for userfaultfd is killed", killed, ALONE },
	{ "another process's memory, which userfaultfd supplies", other_process, ALONE },
	{ "another process's private memory, which userfaultfd supplies", other_process_private, ALONE },
	{ "another process's memory, which userfaultfd protects", other_process_protected, ALONE },
	{ "an attach that waits for another process's userfaultfd is killed", other_process_killed, ALONE },
	{ "an access of another process's memory, which userfaultfd supplies, finding AR", access_waits, ALONE },
};

const struct suite faults_suite = {
	.name = "faults", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
