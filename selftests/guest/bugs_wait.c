// SPDX-License-Identifier: GPL-2.0-only
/* What waits, and what does not, while memory of a process is pinned that comes late. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bugs.h"
#include "late.h"

#define CHANGES		500	/* attaches and detaches */
#define CUT_IOVA	FREE_IOVA
#define LATE_IOVA	(FREE_IOVA + 16 * PAGE)

static struct fixture shared;
static uint32_t source, late_ioas, other_ioas;
static char *late_page;

/*
 * Maps a page that comes late and two behind it. Copies these to the address space that a device is attached
 * to, for which they are pinned before they become late as well, and the last one to another.
 */
static void map_and_copy(char *at)
{
	uint64_t cut = CUT_IOVA, other = CUT_IOVA;

	if (ioas_alloc(shared.fd, &source) || map(shared.fd, source, at, 3 * PAGE, LATE_IOVA) ||
	    copy(shared.fd, source, LATE_IOVA + PAGE, 2 * PAGE, FIXED | RW, shared.ioas, &cut) ||
	    copy(shared.fd, source, LATE_IOVA + 2 * PAGE, PAGE, FIXED | RW, other_ioas, &other))
		fail("cannot map what is late");
}

/* Pins the page for page tables that no device is attached to. */
static int pin_late(char *at)
{
	uint64_t iova = LATE_IOVA;

	close(shared.dev);
	return copy(shared.fd, source, LATE_IOVA, PAGE, FIXED | RW, late_ioas, &iova);
}

/* What must not wait for other memory of the same source. */
enum { CUT, USE, PIN, CALLS };

/* Shared with the processes that make the calls. */
static atomic_bool *done, *go;

static void cut_half(struct fixture *none)
{
	WANT(compat_unmap_bytes(shared.fd, CUT_IOVA, PAGE), PAGE);
	atomic_store(&done[CUT], true);
}

static void use_ioas(struct fixture *none)
{
	WANT(map(shared.fd, shared.ioas, mem.rw, PAGE, CUT_IOVA + 8 * PAGE), 0);
	WANT(unmap(shared.fd, shared.ioas, CUT_IOVA + 8 * PAGE, PAGE), PAGE);
	atomic_store(&done[USE], true);
}

/* The page is pinned already, and gets another user. */
static void pin_others(struct fixture *none)
{
	uint32_t id;

	WANT(hwpt_alloc(shared.fd, shared.dev_id, other_ioas, &id), 0);
	WANT(destroy(shared.fd, id), 0);
	atomic_store(&done[PIN], true);
}

static bool make_shared(bool v1)
{
	uint32_t id;

	shared = (struct fixture){ .fd = open_iommu(), .dev = -1 };
	shared.dev = open(device_path, O_RDWR | O_CLOEXEC);
	if (shared.fd < 0 || shared.dev < 0 || bind_device(shared.dev, shared.fd, &shared.dev_id) ||
	    ioas_alloc(shared.fd, &shared.ioas) || ioas_alloc(shared.fd, &late_ioas) ||
	    ioas_alloc(shared.fd, &other_ioas) || hwpt_alloc(shared.fd, shared.dev_id, late_ioas, &id) ||
	    (v1 && (compat_set(shared.fd, shared.ioas) ||
		    call(shared.fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU))) ||
	    attach(shared.dev, shared.ioas, NULL)) {
		fail("no address space with a device");
		return false;
	}
	return true;
}

static void close_shared(void *arg)
{
	/* The test may have closed it. */
	if (shared.dev >= 0)
		close(shared.dev);
	close(shared.fd);
}

struct others {
	bool goes_on[CALLS], killed;
};

static bool make_v1(void *arg)
{
	return make_shared(true);
}

/* Makes the calls at once. */
static void call_meanwhile(struct late *late, void *arg)
{
	static void (*const calls[])(struct fixture *none) = { cut_half, use_ioas, pin_others };
	struct others *others = arg;
	int i, pids[CALLS];

	for (i = 0; i < CALLS; i++) {
		atomic_store(&done[i], false);
		pids[i] = start_child(NULL, 0, calls[i]);
		usleep(20000);
	}
	for (i = 0; i < CALLS; i++)
		others->goes_on[i] = done_while_late(late, &done[i]);
	kill(pids[CUT], SIGKILL);
	others->killed = ends_while_late(late, pids[CUT]);
	late->told = still_late(late);
	WANT(end_late(late), 0);
	for (i = 0; i < CALLS; i++) {
		if (i == CUT && !others->killed)
			waitpid(pids[i], NULL, 0);
		else if (i != CUT)
			CHECK(child_done(pids[i]));
	}
	/* The C module has unmapped the first page after all. */
	WANT(compat_unmap_bytes(shared.fd, CUT_IOVA, 2 * PAGE), PAGE);
}

/*
 * A call waits for a page of another process. Calls that need other pages of the same source do not wait for
 * it, and hold up no call on their address space.
 */
static void others_go_on(struct fixture *none)
{
	struct others others = {};

	done = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(done != MAP_FAILED);
	/* What waits with the bugs waits until the memory comes. */
	if (!test_late(&(struct late_test){
			.late = { .kind = LATE, .prepare = map_and_copy, .call = pin_late },
			.open = make_v1, .run = call_meanwhile, .close = close_shared, .arg = &others }))
		return;
	WANT_FINDING("AL", others.goes_on[CUT], 1, 0);
	WANT_FINDING("AL", others.goes_on[USE], 1, 0);
	WANT_FINDING("AL", others.goes_on[PIN], 1, 0);
	WANT_FINDING("AK", others.killed, 1, 0);
}

static int map_late(char *at)
{
	uint64_t iova = LATE_IOVA;

	close(shared.dev);
	return map_as(shared.fd, shared.ioas, READ | WRITE | FIXED, at, PAGE, &iova);
}

static atomic_bool closed;
static uint32_t second_hwpt;		/* is destroyed before the device is closed, unless 0 */
static int destroyed;

static void *close_device(void *none)
{
	destroyed = second_hwpt ? destroy(shared.fd, second_hwpt) : 0;
	close(shared.dev);
	atomic_store(&closed, true);
	return NULL;
}

/* What another process does while the device is closed, and what is seen of that. */
struct meanwhile {
	void (*prepare)(char *at);
	int (*call)(char *at);
	uint64_t mapped;		/* bytes of the device's address space */
	bool second;			/* there are other page tables with this address space */
	long idle, left;		/* pinned pages */
	bool closed;
};

static bool make_to_unbind(void *arg)
{
	const struct meanwhile *m = arg;

	if (!make_shared(false))
		return false;
	second_hwpt = 0;
	if (m->second && hwpt_alloc(shared.fd, shared.dev_id, shared.ioas, &second_hwpt))
		fail("no second page tables");
	return !has_failed();
}

static void run_unbind(struct late *late, void *arg)
{
	struct meanwhile *m = arg;
	pthread_t thread;

	atomic_store(&closed, false);
	WANT(map(shared.fd, shared.ioas, mem.rw, PAGE, LATE_IOVA - PAGE), 0);
	WANT(map(shared.fd, shared.ioas, mem.rw, PAGE, LATE_IOVA + PAGE), 0);
	CHECK(!pthread_create(&thread, NULL, close_device, NULL));
	m->closed = done_while_late(late, &closed);
	m->left = pinned() - m->idle;
	late->told = still_late(late);
	WANT(end_late(late), 0);
	pthread_join(thread, NULL);
	shared.dev = -1;
	WANT(destroyed, 0);
	WANT(unmap_all(shared.fd, shared.ioas), 2 * PAGE + m->mapped);
	WANT(destroy(shared.fd, shared.ioas), 0);
}

static void close_unbound(void *arg)
{
	const struct meanwhile *m = arg;

	close_shared(arg);
	if (pinned() != m->idle)
		fail("%ld pages stay pinned", pinned() - m->idle);
}

/*
 * Closing the device waits neither for a call that maps memory into its page tables, nor for one that pins
 * memory of the same source. Nothing is left of the page tables then but what the call has to do with; when
 * that has returned, nothing at all.
 */
static void unbind_meanwhile(struct meanwhile m)
{
	m.idle = pinned();
	/* What waits with the bug waits until the memory comes. */
	if (!test_late(&(struct late_test){
			.late = { .kind = LATE, .prepare = m.prepare, .call = m.call },
			.open = make_to_unbind, .run = run_unbind, .close = close_unbound, .arg = &m }))
		return;
	WANT_FINDING("AM", m.closed, 1, 0);
	WANT_FINDING("AM", !m.left, 1, 0);
}

static void unbind_during_map(struct fixture *none)
{
	unbind_meanwhile((struct meanwhile){ .call = map_late, .mapped = PAGE });
}

/* Both page tables have the area that is being mapped. */
static void unbind_second_during_map(struct fixture *none)
{
	unbind_meanwhile((struct meanwhile){ .call = map_late, .mapped = PAGE, .second = true });
}

static void unbind_during_pin(struct fixture *none)
{
	unbind_meanwhile((struct meanwhile){ .prepare = map_and_copy, .call = pin_late, .mapped = 2 * PAGE });
}

static void alloc_hwpt(struct fixture *none)
{
	uint32_t id;

	/* Is killed. */
	hwpt_alloc(shared.fd, shared.dev_id, shared.ioas, &id);
}

/* Is started before the memory is late, and maps it when `go` is set. */
static void map_late_again(struct fixture *none)
{
	while (!atomic_load(go))
		usleep(1000);
	WANT(map(shared.fd, shared.ioas, late_page, PAGE, LATE_IOVA + 2 * PAGE), 0);
}

static int mapping;

static void start_mapping(char *at)
{
	late_page = at;
	mapping = start_child(NULL, 0, map_late_again);
}

struct killed_alloc {
	long idle;
	bool killed;
};

static bool make_v2(void *arg)
{
	atomic_store(go, false);
	mapping = 0;
	return make_shared(false);
}

static void kill_alloc(struct late *late, void *arg)
{
	struct killed_alloc *k = arg;
	int alloc;

	alloc = start_waiting(late, alloc_hwpt);
	if (alloc <= 0)
		return;
	atomic_store(go, true);
	if (!comes_to_wait(late, mapping)) {
		end_late(late);
		waitpid(alloc, NULL, 0);
		return;
	}
	kill(alloc, SIGKILL);
	k->killed = ends_while_late(late, alloc);
	late->told = still_late(late);
	WANT(end_late(late), 0);
	if (!k->killed)
		waitpid(alloc, NULL, 0);
	CHECK(child_done(mapping));
	mapping = 0;
	WANT(unmap_all(shared.fd, shared.ioas), 2 * PAGE);
}

static void close_killed(void *arg)
{
	const struct killed_alloc *k = arg;

	/* Of an attempt that tells nothing. */
	if (mapping > 0) {
		kill(mapping, SIGKILL);
		waitpid(mapping, NULL, 0);
	}
	close_shared(arg);
	if (pinned() != k->idle)
		fail("%ld pages stay pinned", pinned() - k->idle);
}

/*
 * HWPT_ALLOC waits for a map that was begun before, and maps that were begun later wait for their memory. If
 * HWPT_ALLOC is killed it waits for neither.
 */
static void killed_hwpt_alloc(struct fixture *none)
{
	struct killed_alloc k = { .idle = pinned() };

	go = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(go != MAP_FAILED);
	/* What waits with the bug waits until the memory comes. */
	if (test_late(&(struct late_test){
			.late = { .kind = LATE, .prepare = start_mapping, .call = map_late },
			.open = make_v2, .run = kill_alloc, .close = close_killed, .arg = &k }))
		WANT_FINDING("AK", k.killed, 1, 0);
}

/* Maps two pages and unmaps them one after the other, which cuts the mapping, until CUT is done. */
static void cut_again(struct fixture *none)
{
	while (!atomic_load(&done[CUT])) {
		WANT(map(shared.fd, shared.ioas, mem.rw, 2 * PAGE, CUT_IOVA), 0);
		WANT(compat_unmap_bytes(shared.fd, CUT_IOVA, PAGE), PAGE);
		WANT(compat_unmap_bytes(shared.fd, CUT_IOVA + PAGE, PAGE), PAGE);
		if (has_failed())
			return;
	}
}

static void cut_meanwhile(struct fixture *none)
{
	long idle = pinned();
	int pid, i;

	done = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(done != MAP_FAILED);
	if (!make_shared(true))
		return;
	atomic_store(&done[CUT], false);
	pid = start_child(NULL, 0, cut_again);
	for (i = 0; i < CHANGES; i++) {
		WANT(detach(shared.dev), 0);
		WANT(attach(shared.dev, shared.ioas, NULL), 0);
	}
	WANT(detach(shared.dev), 0);
	atomic_store(&done[CUT], true);
	CHECK(child_done(pid));
	WANT(pinned(), idle);
	WANT(attach(shared.dev, shared.ioas, NULL), 0);
	WANT(map(shared.fd, shared.ioas, mem.rw, 2 * PAGE, CUT_IOVA), 0);
	WANT(pinned(), idle + 2);
	close(shared.dev);
	close(shared.fd);
	WANT(pinned(), idle);
}

static const struct test tests[] = {
	{ "other memory of a source is used while some is pinned, findings AK and AL", others_go_on, ALONE },
	{ "unbind during a map of another process, finding AM", unbind_during_map, ALONE },
	{ "unbind after other page tables during a map of another process, finding AM",
	  unbind_second_during_map, ALONE },
	{ "unbind while other memory of a source is pinned, finding AM", unbind_during_pin, ALONE },
	{ "HWPT_ALLOC that waits for a map is killed, finding AK", killed_hwpt_alloc, ALONE },
	{ "mappings are cut while a device is attached and detached", cut_meanwhile, ALONE },
};

const struct suite wait_bugs_suite = {
	.name = "waits",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
