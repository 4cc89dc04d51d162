// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that map, copy, unmap, attach, pin, read dirty pages, close, fork and kill on the same IOASes at
 * once, and one that reads what the module shows of that.
 *
 * Usage: SECOND_CDEV=... STRESS_SEED=... STRESS_SECONDS=... stress VFIO_CDEV
 *
 * Each kind of call has a list of the errors that it may return because another thread was faster. Any
 * other error fails the test, and so does memory that is charged or pinned at the end. The random
 * numbers of a thread depend on the seed only, the order of the threads does not.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "mock_call.h"

#define NR_THREADS	4
#define NR_IOAS		3
#define NR_SLOTS	6
#define NR_PAGES	64UL
#define SLOT(n)		(FREE_IOVA + (n) * 2 * HUGE)
#define SECONDS		20	/* unless STRESS_SECONDS says otherwise */
#define KILL_AFTER	20000	/* microseconds, at most */
#define LIMIT		1024UL	/* pages, fewer than all mappings need */
#define SHOWN		"/sys/kernel/debug/iommufd_rs"

static struct {
	int fd;
	int dev[2];
	uint32_t dev_id[2];
	uint32_t mock_id;	/* a mock device, whose IOMMU tracks dirty pages */
	_Atomic uint32_t ioas[NR_IOAS];
	int pinning[2], reading; /* in-kernel accesses of the mock */
	int file;
	char *bits;		/* a bitmap of all slots */
	char *memory;		/* NR_PAGES, and as many with a hole behind them */
	time_t deadline;
	atomic_ulong calls, done, reads;
} shared;

struct stresser {
	uint64_t random;
	unsigned int number;
};

/* xorshift64* */
static uint64_t roll(struct stresser *s, uint64_t below)
{
	s->random ^= s->random >> 12;
	s->random ^= s->random << 25;
	s->random ^= s->random >> 27;
	return (s->random * 0x2545f4914f6cdd1dULL >> 33) % below;
}

/* Checks that r is 0 or more, or one of the errors, whose list ends with 0. */
static void accept_any(const char *what, long long r, const int *errors)
{
	size_t i;

	atomic_fetch_add(&shared.calls, 1);
	if (r >= 0) {
		atomic_fetch_add(&shared.done, 1);
		return;
	}
	for (i = 0; errors[i]; i++)
		if (r == -errors[i])
			return;
	fail("%s: got %s", what, errno_name(r));
}

#define ACCEPT(expr, ...) accept_any(#expr, expr, (const int[]){ __VA_ARGS__, 0 })

static uint32_t any_ioas(struct stresser *s)
{
	return atomic_load(&shared.ioas[roll(s, NR_IOAS)]);
}

static uint64_t any_iova(struct stresser *s)
{
	return SLOT(roll(s, NR_SLOTS));
}

static uint64_t any_length(struct stresser *s)
{
	return (1 + roll(s, NR_PAGES)) * PAGE;
}

static char *any_memory(struct stresser *s, uint64_t length)
{
	return shared.memory + roll(s, NR_PAGES - length / PAGE + 1) * PAGE;
}

/*
 * IOASes are made and destroyed and devices attached meanwhile, so that a range may be mapped,
 * unmapped or in between.
 */
static void do_map(struct stresser *s)
{
	uint64_t length = any_length(s), iova = any_iova(s);

	ACCEPT(map_as(shared.fd, any_ioas(s), FIXED | RW, any_memory(s, length), length, &iova),
	       EEXIST, ENOENT, ENOMEM);
}

static void do_map_anywhere(struct stresser *s)
{
	uint64_t length = any_length(s), iova = 0;

	ACCEPT(map_as(shared.fd, any_ioas(s), RW, any_memory(s, length), length, &iova), ENOENT,
	       ENOMEM);
}

/*
 * The memory ends in a hole. If a device is attached this is detected in the middle of the
 * mapping.
 */
static void do_map_hole(struct stresser *s)
{
	uint64_t iova = any_iova(s);
	uint32_t ioas = any_ioas(s);
	int r = map_as(shared.fd, ioas, FIXED | RW, shared.memory, (NR_PAGES + 1) * PAGE, &iova);

	if (r)
		ACCEPT(r, EFAULT, EEXIST, ENOENT, ENOMEM);
	else
		ACCEPT(unmap(shared.fd, ioas, iova, (NR_PAGES + 1) * PAGE), ENOENT, EBUSY);
}

static void do_map_file(struct stresser *s)
{
	uint64_t length = any_length(s), iova = any_iova(s);

	ACCEPT(map_file(shared.fd, any_ioas(s), FIXED | RW, shared.file, 0, length, &iova),
	       EEXIST, ENOENT, ENOMEM);
}

static void do_copy(struct stresser *s)
{
	uint64_t iova = any_iova(s), length = any_length(s);

	ACCEPT(copy(shared.fd, any_ioas(s), any_iova(s), length, FIXED | RW, any_ioas(s), &iova),
	       EEXIST, ENOENT, EFAULT, EBUSY, ENOMEM);
}

/* The size is random: a part of a mapping is refused. */
static void do_unmap(struct stresser *s)
{
	ACCEPT(unmap(shared.fd, any_ioas(s), any_iova(s), HUGE), ENOENT, EBUSY);
	ACCEPT(unmap(shared.fd, any_ioas(s), any_iova(s), any_length(s)), ENOENT, EBUSY);
}

static void do_unmap_all(struct stresser *s)
{
	ACCEPT(unmap_all(shared.fd, any_ioas(s)), ENOENT, EBUSY);
}

/* A device cannot be attached to an IOAS with a mapping of the hole. */
static void do_attach(struct stresser *s)
{
	unsigned int dev = roll(s, 2);

	ACCEPT(attach(shared.dev[dev], any_ioas(s), NULL), ENOENT, EFAULT, EBUSY, EINVAL,
	       ENOMEM);
}

static void do_detach(struct stresser *s)
{
	ACCEPT(detach(shared.dev[roll(s, 2)]), EINVAL);
}

static void do_page_table(struct stresser *s)
{
	unsigned int dev = roll(s, 2);
	uint32_t hwpt = 0;
	int r = hwpt_alloc(shared.fd, shared.dev_id[dev], any_ioas(s), &hwpt);

	ACCEPT(r, ENOENT, EINVAL, EFAULT, ENOMEM);
	if (r)
		return;
	ACCEPT(attach(shared.dev[dev], hwpt, NULL), EINVAL, EBUSY);
	/* EBUSY until another thread has moved the device. */
	while (destroy(shared.fd, hwpt) == -EBUSY && !has_failed())
		detach(shared.dev[dev]);
}

/* Replaces the IOAS by a new one, unless it is in use. */
static void do_ioas(struct stresser *s)
{
	unsigned int n = roll(s, NR_IOAS);
	uint32_t old = atomic_load(&shared.ioas[n]), new;
	int r = destroy(shared.fd, old);

	ACCEPT(r, EBUSY, ENOENT);
	if (r)
		return;
	ACCEPT(ioas_alloc(shared.fd, &new), ENOMEM);
	atomic_store(&shared.ioas[n], new);
}

static void do_ranges(struct stresser *s)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	struct iommu_iova_range low = { PAGE, MSI_IOVA - HUGE - 1 };
	uint32_t nr = MAX_RANGES;

	ACCEPT(iova_ranges(shared.fd, any_ioas(s), ranges, &nr, NULL), ENOENT);
	/* EADDRINUSE: page tables of the mock cannot translate the lowest addresses. */
	ACCEPT(allow(shared.fd, any_ioas(s), &low, roll(s, 2)), ENOENT, EADDRINUSE);
}

static void do_change_process(struct stresser *s)
{
	struct iommu_ioas_change_process cmd = { .size = sizeof(cmd) };

	ACCEPT(call(shared.fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd), EINVAL, EBUSY);
}

/* A child maps its copy of the memory and exits without unmapping it. */
static void do_fork(struct stresser *s)
{
	uint64_t iova = any_iova(s), length = any_length(s);
	uint32_t ioas = any_ioas(s);
	char *va = any_memory(s, length);
	int pid = fork(), status = 0, r;

	if (!pid) {
		r = map_as(shared.fd, ioas, FIXED | RW, va, length, &iova);
		_exit(r ? -r : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		fail("a child ended with status %#x", status);
	else
		ACCEPT(-WEXITSTATUS(status), EEXIST, ENOENT, ENOMEM);
}

/* Closes a context of its own with all its objects. */
static void do_close(struct stresser *s)
{
	int fd = open_iommu();
	uint32_t ioas;

	ACCEPT(fd, ENOMEM);
	if (fd < 0)
		return;
	if (!ioas_alloc(fd, &ioas))
		ACCEPT(map(fd, ioas, shared.memory, NR_PAGES * PAGE, SLOT(0)), ENOMEM);
	close(fd);
}

/* The pages that an access has pinned may be unmapped before they are unpinned. */
static void do_pin(struct stresser *s)
{
	int access = shared.pinning[roll(s, 2)], r;
	uint64_t length = any_length(s);
	uint32_t id = 0;

	r = access_pin(shared.fd, access, any_iova(s), length, NULL, &id);
	ACCEPT(r, ENOENT, EFAULT, ENOMEM, EINVAL);
	if (!r && roll(s, 2))
		ACCEPT(access_unpin(shared.fd, access, id), ENOENT);
}

static void do_read(struct stresser *s)
{
	char data[100];
	uint32_t slow = roll(s, 2) ? MOCK_ACCESS_RW_SLOW_PATH : 0;

	/* EINVAL: another thread unmaps the memory while its pages are pinned. */
	ACCEPT(access_rw(shared.fd, shared.reading, any_iova(s) + roll(s, PAGE), data, sizeof(data),
			 slow | (roll(s, 2) ? MOCK_ACCESS_RW_WRITE : 0)), ENOENT, EFAULT, EINVAL);
}

static void do_move(struct stresser *s)
{
	unsigned int n = roll(s, 3);

	ACCEPT(access_replace(shared.fd, n < 2 ? shared.pinning[n] : shared.reading, any_ioas(s)),
	       ENOENT, EBUSY);
}

/*
 * Makes page tables that track dirty pages, which are filled with all mappings, and reads them while
 * other threads map and unmap. EADDRINUSE: a mapping is outside of the mock's aperture.
 */
static void do_dirty(struct stresser *s)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		.dev_id = shared.mock_id, .pt_id = any_ioas(s),
	};
	struct iommu_hwpt_set_dirty_tracking on = {
		.size = sizeof(on), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .iova = SLOT(0), .length = SLOT(NR_SLOTS) - SLOT(0),
		.page_size = PAGE,
	};
	int r = call(shared.fd, IOMMU_HWPT_ALLOC, &alloc), i;

	/* EINVAL: memory of a process that has ended cannot be charged to it. */
	ACCEPT(r, ENOENT, EADDRINUSE, EFAULT, EINVAL, ENOMEM);
	if (r)
		return;
	on.hwpt_id = get.hwpt_id = alloc.out_hwpt_id;
	get.data = PTR(shared.bits);
	ACCEPT(call(shared.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &on), 0);
	for (i = 0; i < 4; i++) {
		get.flags = roll(s, 2) ? IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR : 0;
		ACCEPT(call(shared.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), 0);
	}
	ACCEPT(destroy(shared.fd, alloc.out_hwpt_id), 0);
}

/* A process is killed in the middle of a call, which leaves nothing half done. */
static void do_kill(struct stresser *s)
{
	static void (*const calls[])(struct stresser *s) = {
		do_map, do_map_file, do_copy, do_unmap, do_attach, do_detach, do_read, do_attach,
	};
	int pid = fork(), status = 0;

	if (!pid) {
		while (!has_failed())
			calls[roll(s, ARRAY_SIZE(calls))](s);
		_exit(1);
	}
	usleep(roll(s, KILL_AFTER));
	if (pid < 0 || kill(pid, SIGKILL) || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
		fail("a child that was killed ended with status %#x", status);
}

/* Writes to mapped memory, and discards it. */
static void do_memory(struct stresser *s)
{
	uint64_t length = any_length(s);

	memset(any_memory(s, length), s->number, length);
	madvise(shared.memory, length, MADV_DONTNEED);
}

static const struct {
	void (*run)(struct stresser *s);
	unsigned int weight;
} actions[] = {
	{ do_map, 12 }, { do_map_anywhere, 4 }, { do_map_hole, 3 }, { do_map_file, 8 },
	{ do_copy, 12 }, { do_unmap, 16 }, { do_unmap_all, 3 }, { do_attach, 8 },
	{ do_detach, 4 }, { do_page_table, 2 }, { do_ioas, 4 }, { do_ranges, 2 },
	{ do_change_process, 2 }, { do_fork, 1 }, { do_close, 2 }, { do_memory, 4 },
	{ do_pin, 12 }, { do_read, 4 }, { do_move, 2 }, { do_dirty, 6 }, { do_kill, 1 },
};

static void *run_stresser(void *arg)
{
	struct stresser *s = arg;
	unsigned int total = 0, at, i;

	for (i = 0; i < ARRAY_SIZE(actions); i++)
		total += actions[i].weight;
	while (!has_failed() && time(NULL) < shared.deadline) {
		at = roll(s, total);
		for (i = 0; at >= actions[i].weight; i++)
			at -= actions[i].weight;
		actions[i].run(s);
	}
	return NULL;
}

/* Reads a file to its end. It may be gone meanwhile. */
static void read_all(const char *path)
{
	char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && read(fd, text, sizeof(text)) > 0)
		atomic_fetch_add(&shared.reads, 1);
	if (fd >= 0)
		close(fd);
}

/* Reads what the module shows of itself, if it does. */
static void *run_reader(void *arg)
{
	static const char *const lists[] = { "areas", "extents", "tables", "latency", "objects" };
	char path[320];
	struct dirent *entry;
	unsigned int i;
	DIR *dir;

	while (!has_failed() && time(NULL) < shared.deadline) {
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", shared.fd);
		read_all(path);
		dir = opendir(SHOWN);
		while (dir && (entry = readdir(dir))) {
			for (i = 0; i < ARRAY_SIZE(lists); i++) {
				snprintf(path, sizeof(path), SHOWN "/%s/%s", entry->d_name, lists[i]);
				read_all(path);
			}
		}
		if (dir)
			closedir(dir);
	}
	return NULL;
}

static unsigned int seconds(void)
{
	const char *given = getenv("STRESS_SECONDS");

	return given ? strtoul(given, NULL, 0) : SECONDS;
}

static void make_shared(void)
{
	const char *second = getenv("SECOND_CDEV");
	unsigned int i;
	uint32_t id, own, device;

	shared.fd = open_iommu();
	shared.dev[0] = open(device_path, O_RDWR | O_CLOEXEC);
	shared.dev[1] = second ? open(second, O_RDWR | O_CLOEXEC) : -1;
	shared.file = memory_file(NR_PAGES * PAGE, 0);
	shared.memory = mmap(NULL, (NR_PAGES + 1) * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(shared.fd >= 0 && shared.dev[0] >= 0 && shared.dev[1] >= 0 && shared.file >= 0);
	CHECK(shared.memory != MAP_FAILED);
	mprotect(shared.memory + NR_PAGES * PAGE, PAGE, PROT_NONE);
	for (i = 0; i < NR_IOAS; i++) {
		WANT(ioas_alloc(shared.fd, &id), 0);
		atomic_store(&shared.ioas[i], id);
	}
	shared.bits = mmap(NULL, (SLOT(NR_SLOTS) - SLOT(0)) / PAGE / 8 + 2 * PAGE,
			   PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(shared.bits != MAP_FAILED);
	/* It stays attached to an IOAS of its own. */
	WANT(ioas_alloc(shared.fd, &own), 0);
	WANT(mock_device_flags(shared.fd, own, 0, &device, &shared.mock_id), 0);
	for (i = 0; i < 2; i++)
		WANT(bind_device(shared.dev[i], shared.fd, &shared.dev_id[i]), 0);
	for (i = 0; i < 2; i++)
		shared.pinning[i] = access_open(shared.fd, shared.ioas[i],
						MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);
	shared.reading = access_open(shared.fd, shared.ioas[0], 0);
	CHECK(shared.pinning[0] >= 0 && shared.pinning[1] >= 0 && shared.reading >= 0);
	shared.deadline = time(NULL) + seconds();
}

static void close_shared(void)
{
	close(shared.fd);
	close(shared.pinning[0]);
	close(shared.dev[0]);
	close(shared.pinning[1]);
	close(shared.dev[1]);
	close(shared.reading);
}

static void run_threads(uint64_t seed)
{
	struct stresser s[NR_THREADS];
	pthread_t threads[NR_THREADS + 1];
	unsigned int i;

	for (i = 0; i < NR_THREADS; i++) {
		s[i] = (struct stresser){ (seed + i) * 0x9e3779b97f4a7c15ULL | 1, i };
		if (pthread_create(&threads[i], NULL, run_stresser, &s[i])) {
			fail("no thread");
			shared.deadline = 0;
			break;
		}
	}
	if (pthread_create(&threads[i], NULL, run_reader, NULL)) {
		fail("no thread that reads");
		shared.deadline = 0;
	} else {
		i++;
	}
	while (i--)
		pthread_join(threads[i], NULL);
	note("%lu calls, %lu of them succeeded; %lu reads", shared.calls, shared.done,
	     shared.reads);
}

/*
 * After everything is unmapped nothing is charged, and the user can pin as many pages as the limit
 * allows.
 */
static void check_accounts(void)
{
	unsigned int i;

	for (i = 0; i < NR_IOAS; i++)
		CHECK(unmap_all(shared.fd, shared.ioas[i]) >= 0);
	WANT(own_pinned(), 0);
	WANT(attach(shared.dev[0], shared.ioas[0], NULL), 0);
	CHECK(limit_memlock(16));
	WANT(map(shared.fd, shared.ioas[0], mem.rw, 16 * PAGE, SLOT(0)), 0);
	WANT(map(shared.fd, shared.ioas[0], mem.rw, PAGE, SLOT(1)), -ENOMEM);
	WANT(unmap_all(shared.fd, shared.ioas[0]), 16 * PAGE);
	WANT(own_pinned(), 0);
}

/* Runs as a user with a limit, in a new process. */
static void run_limited(struct fixture *none)
{
	const char *given = getenv("STRESS_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

	note("STRESS_SEED=%llu", (unsigned long long)seed);
	run_threads(seed);
	if (!has_failed())
		check_accounts();
}

static void all_at_once(struct fixture *none)
{
	long idle = pinned();
	pthread_t reader;
	unsigned int i;

	make_shared();
	if (has_failed())
		return;
	CHECK(!chmod("/dev/iommu", 0666));
	CHECK(limit_memlock(LIMIT));
	/* Only root may read all of it. */
	CHECK(!pthread_create(&reader, NULL, run_reader, NULL));
	CHECK(in_child(NULL, NOBODY, run_limited));
	pthread_join(reader, NULL);
	note("%lu reads by root", shared.reads);
	CHECK(!chmod("/dev/iommu", 0600));
	WANT(pinned(), idle);
	for (i = 0; i < 2; i++)
		WANT(detach(shared.dev[i]), 0);
	close_shared();
}

/*
 * The same calls at once, without a limit of locked memory. At the end everything is closed while in
 * use, the iommufd first.
 */
static void closed_in_use(struct fixture *none)
{
	long idle = pinned(), own = own_pinned();

	make_shared();
	if (has_failed())
		return;
	shared.deadline = time(NULL) + seconds() / 4;
	run_threads(1);
	close_shared();
	WANT(pinned(), idle);
	WANT(own_pinned(), own);
}

static const struct test tests[] = {
	{ "everything at once", all_at_once, ALONE },
	{ "everything at once, closed in use", closed_in_use, ALONE },
};

static const struct suite stress_suite = {
	.name = "stress",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &stress_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
