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

#define SECONDS		10	/* timeout for what must not wait */
#define ATTEMPTS	10	/* while the memory comes too early */
#define CUT_IOVA	FREE_IOVA
#define LATE_IOVA	(FREE_IOVA + 16 * PAGE)

static struct fixture shared;
static uint32_t late_ioas, hwpt;
static char *mapped;

/*
 * Maps a page that comes late and two that are there, and copies the two to the address space that a
 * device is attached to, and the late one to another.
 */
static void map_and_copy(char *at)
{
	uint64_t iova = LATE_IOVA, cut = CUT_IOVA;
	uint32_t source;

	/* Of an attempt at which the memory was not late. */
	unmap(shared.fd, shared.ioas, CUT_IOVA, 2 * PAGE);
	unmap(shared.fd, late_ioas, LATE_IOVA, PAGE);
	mapped = at;
	if (ioas_alloc(shared.fd, &source) || map(shared.fd, source, at, 3 * PAGE, LATE_IOVA) ||
	    copy(shared.fd, source, LATE_IOVA, PAGE, FIXED | RW, late_ioas, &iova) ||
	    copy(shared.fd, source, LATE_IOVA + PAGE, 2 * PAGE, FIXED | RW, shared.ioas, &cut))
		fail("cannot map what is late");
}

static int pin_late(char *at)
{
	close(shared.dev);
	return hwpt_alloc(shared.fd, shared.dev_id, late_ioas, &hwpt);
}

static void cut_half(struct fixture *none)
{
	WANT(compat_unmap_bytes(shared.fd, CUT_IOVA, PAGE), PAGE);
}

static void use_ioas(struct fixture *none)
{
	WANT(map(shared.fd, shared.ioas, mem.rw, PAGE, CUT_IOVA + 8 * PAGE), 0);
	WANT(unmap(shared.fd, shared.ioas, CUT_IOVA + 8 * PAGE, PAGE), PAGE);
}

static bool make_shared(bool v1)
{
	shared = (struct fixture){ .fd = open_iommu(), .dev = -1 };
	shared.dev = open(device_path, O_RDWR | O_CLOEXEC);
	if (shared.fd < 0 || shared.dev < 0 || bind_device(shared.dev, shared.fd, &shared.dev_id) ||
	    ioas_alloc(shared.fd, &shared.ioas) || ioas_alloc(shared.fd, &late_ioas) ||
	    (v1 && (compat_set(shared.fd, shared.ioas) ||
		    call(shared.fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU))) ||
	    attach(shared.dev, shared.ioas, NULL)) {
		fail("no address space with a device");
		return false;
	}
	return true;
}

/* What was seen while memory was late. */
struct cut {
	bool waits, use_goes_on, is_killed;
};

/* Sets *cut. Returns false if the memory came too early to tell. */
static bool cut_meanwhile(struct cut *cut, const struct late *late, int *cutter, int *user)
{
	const int tries = on_c_module() ? 10 : 10 * SECONDS;

	*cut = (struct cut){ };
	*cutter = start_child(NULL, 0, cut_half);
	usleep(20000);
	*user = start_child(NULL, 0, use_ioas);
	cut->use_goes_on = ends_while_late(late, *user, tries);
	cut->waits = !waitpid(*cutter, NULL, WNOHANG);
	if (!cut->waits)
		return still_late(late);
	kill(*cutter, SIGKILL);
	cut->is_killed = ends_while_late(late, *cutter, tries);
	/* With the C module both wait until the memory comes. */
	return (cut->use_goes_on && cut->is_killed) || on_c_module() || still_late(late);
}

/*
 * To cut an area waits for the memory that is being pinned elsewhere. It holds up no other call on the
 * address space, and can be killed.
 */
static void cut_waits(struct fixture *none)
{
	int cutter, user, i;
	struct late late;
	struct cut cut;
	bool told;

	for (i = 0; i < ATTEMPTS; i++) {
		if (!make_shared(true) || !start_late(&late, LATE, map_and_copy, pin_late))
			return;
		told = cut_meanwhile(&cut, &late, &cutter, &user);
		WANT(end_late(&late), 0);
		if (!cut.use_goes_on)
			waitpid(user, NULL, 0);
		if (cut.waits && !cut.is_killed)
			waitpid(cutter, NULL, 0);
		if (told)
			break;
		close(shared.dev);
		close(shared.fd);
	}
	CHECK(told);
	CHECK(cut.waits);
	WANT_FINDING("AL", cut.use_goes_on, 1, 0);
	WANT_FINDING("AK", cut.is_killed, 1, 0);
	/* The C module has unmapped the first page after all. */
	WANT(compat_unmap_bytes(shared.fd, CUT_IOVA, 2 * PAGE), on_c_module() ? PAGE : 2 * PAGE);
	close(shared.dev);
	close(shared.fd);
}

static int map_late(char *at)
{
	uint64_t iova = LATE_IOVA;

	close(shared.dev);
	return map_as(shared.fd, shared.ioas, READ | WRITE | FIXED, at, PAGE, &iova);
}

static atomic_bool closed;

static void *close_device(void *none)
{
	close(shared.dev);
	atomic_store(&closed, true);
	return NULL;
}

/*
 * The page tables that go with the device are being filled by a map. Closing the device does not wait for
 * that; when the map has returned nothing is left of the page tables.
 */
static void unbind_during_map(struct fixture *none)
{
	const int tries = on_c_module() ? 5 : 10 * SECONDS;
	bool told = false, meanwhile = false;
	long idle = pinned();
	pthread_t thread;
	struct late late;
	int attempt, i;

	for (attempt = 0; attempt < ATTEMPTS && !told; attempt++) {
		if (!make_shared(false) || !start_late(&late, LATE, NULL, map_late))
			return;
		WANT(map(shared.fd, shared.ioas, mem.rw, PAGE, CUT_IOVA), 0);
		WANT(map(shared.fd, shared.ioas, mem.rw, PAGE, LATE_IOVA + PAGE), 0);
		atomic_store(&closed, false);
		CHECK(!pthread_create(&thread, NULL, close_device, NULL));
		for (i = 0; i < tries && !atomic_load(&closed) && still_late(&late); i++)
			usleep(20000);
		meanwhile = atomic_load(&closed);
		told = still_late(&late);
		WANT(end_late(&late), 0);
		pthread_join(thread, NULL);
		WANT(pinned(), idle);
		WANT(unmap_all(shared.fd, shared.ioas), 3 * PAGE);
		WANT(destroy(shared.fd, shared.ioas), 0);
		close(shared.fd);
	}
	CHECK(told);
	WANT_FINDING("AM", meanwhile, 1, 0);
}

static const struct test tests[] = {
	{ "an area is cut while other memory of its source is pinned, findings AK and AL", cut_waits, ALONE },
	{ "unbind during a map of another process, finding AM", unbind_during_map, ALONE },
};

const struct suite wait_bugs_suite = {
	.name = "waits",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
