// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pages of a vIOMMU's driver that user space can map. The mock has two, which begin with a
 * number that the caller chooses. The vIOMMU cannot be destroyed while a part of them is mapped.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "viommu.h"

#define VALUE		0xbeefu
#define RW_PROT		(PROT_READ | PROT_WRITE)
#define SECONDS		5
#define MANY		100	/* attempts of each thread, at least */

/* Maps pages of the context. Returns the address or a negative errno. */
static long long map_file_as(int fd, uint64_t length, uint64_t offset, int prot, int flags)
{
	void *at = mmap(NULL, length, prot, flags, fd, (off_t)offset);

	return at == MAP_FAILED ? -errno : (long long)(uintptr_t)at;
}

static uint32_t *map_pages(struct guest *g, const struct pages *p)
{
	long long r = map_file_as(g->fd, p->length, p->offset, RW_PROT, MAP_SHARED);

	if (r < 0) {
		fail("cannot map the pages: %s", errno_name(r));
		return NULL;
	}
	return (uint32_t *)(uintptr_t)r;
}

static bool open_pages(struct guest *g, struct pages *p)
{
	int r;

	if (!open_guest(g))
		return false;
	r = viommu_with(g, VALUE, p);
	if (r)
		fail("cannot make a vIOMMU with pages: %s", errno_name(r));
	return !r;
}

/* Destroys the vIOMMU and the guest. Nothing may be mapped. */
static void close_pages(struct guest *g, struct pages *p)
{
	WANT(destroy(g->fd, p->viommu), 0);
	WANT_WHY(g->fd, map_file_as(g->fd, p->length, p->offset, RW_PROT, MAP_SHARED), -ENXIO,
		 "mmap-offset");
	close_guest(g);
}

static void alloc_wrong(struct fixture *none)
{
	struct {
		struct iommu_viommu_selftest data;
		uint32_t after;
	} room = { .data = { .in_data = VALUE }, .after = 1 };
	const size_t first = offsetof(struct iommu_viommu_selftest, out_mmap_offset);
	uint32_t before, after;
	struct guest g;

	if (!open_guest(&g))
		return;
	{
		struct iommu_viommu_alloc cmd = {
			.size = sizeof(cmd), .type = IOMMU_VIOMMU_TYPE_SELFTEST,
			.dev_id = g.dev_id, .hwpt_id = g.parent,
		};

		WANT(ioas_alloc(g.fd, &before), 0);
		cmd.data_uptr = PTR(&room);
		cmd.data_len = first - 1;
		WANT_WHY(g.fd, call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd), -EINVAL, "viommu-driver");
		cmd.data_len = 1;
		WANT_WHY(g.fd, call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd), -EINVAL, "viommu-driver");
		cmd.data_len = sizeof(room.data);
		cmd.data_uptr = PTR(mem.gone);
		WANT_WHY(g.fd, call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd), -EFAULT, "user-memory");
		cmd.data_uptr = 0;
		WANT_WHY(g.fd, call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd), -EFAULT, "user-memory");
		cmd.data_uptr = PTR(mem.ro);
		WANT_WHY(g.fd, call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd), -EFAULT, "user-memory");
		/* The vIOMMU was made, but the data cannot be written back. */
		cmd.data_uptr = PTR(&room);
		WANT_WHY(g.fd, call(g.fd, IOMMU_VIOMMU_ALLOC, read_only(&cmd, sizeof(cmd))),
			 -EFAULT, "user-memory");
		CHECK(room.data.out_data == VALUE && room.data.out_mmap_length == 2 * PAGE);
		WANT_WHY(g.fd,
			 map_file_as(g.fd, room.data.out_mmap_length, room.data.out_mmap_offset,
				     RW_PROT, MAP_SHARED),
			 -ENXIO, "mmap-offset");
		/* No object is left: the next id is free. */
		WANT(ioas_alloc(g.fd, &after), 0);
		WANT(after, before + 1);
		/* An old program does not get the offset of the pages. */
		memset(&room, 0xff, sizeof(room));
		room.data.in_data = VALUE;
		cmd.data_len = first;
		WANT(call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd), 0);
		WANT(room.data.out_data, VALUE);
		CHECK(room.data.out_mmap_offset == UINT64_MAX);
		WANT(destroy(g.fd, cmd.out_viommu_id), 0);
		/* No byte behind the struct is written. */
		cmd.data_len = sizeof(room.data);
		WANT(call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd), 0);
		CHECK(room.after == UINT32_MAX);
		CHECK(room.data.out_mmap_offset && !(room.data.out_mmap_offset % PAGE));
		WANT(destroy(g.fd, cmd.out_viommu_id), 0);
	}
	WANT(destroy(g.fd, before), 0);
	WANT(destroy(g.fd, after), 0);
	close_guest(&g);
}

static void map_wrong(struct fixture *none)
{
	struct guest g, other;
	struct pages p;
	uint64_t mode = 1;
	int fd = open_iommu();

	/*
	 * Creates the lock classes of the id table outside of mmap(), which holds the mmap lock.
	 */
	CHECK(fd >= 0);
	WANT(option(fd, IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_OP_SET, 0, &mode), 0);
	WANT_WHY(fd, map_file_as(fd, PAGE, PAGE, RW_PROT, MAP_SHARED), -ENXIO, "mmap-offset");
	close(fd);
	if (!open_pages(&g, &p) || !open_guest(&other))
		return;
	{
		const struct {
			const char *name;
			uint64_t length, offset;
			int prot, flags, want;
			const char *why;
		} table[] = {
			{ "no offset", p.length, 0, RW_PROT, MAP_SHARED, ENXIO, "mmap-offset" },
			{ "a page before", p.length, p.offset - PAGE, RW_PROT, MAP_SHARED, ENXIO, "mmap-offset" },
			{ "from a page before", p.length + PAGE, p.offset - PAGE, RW_PROT,
			  MAP_SHARED, ENXIO, "mmap-offset" },
			{ "the second page", PAGE, p.offset + PAGE, RW_PROT, MAP_SHARED, ENXIO, "mmap-offset" },
			{ "from the second page", p.length, p.offset + PAGE, RW_PROT, MAP_SHARED,
			  ENXIO, "mmap-offset" },
			{ "after the last page", p.length, p.offset + p.length, RW_PROT,
			  MAP_SHARED, ENXIO, "mmap-offset" },
			{ "too short", PAGE, p.offset, RW_PROT, MAP_SHARED, ENXIO, "mmap-size" },
			{ "too long", p.length + PAGE, p.offset, RW_PROT, MAP_SHARED, ENXIO, "mmap-size" },
			{ "far too long", 1UL << 40, p.offset, RW_PROT, MAP_SHARED, ENXIO, "mmap-size" },
			{ "far away", p.length, 1UL << 62, RW_PROT, MAP_SHARED, ENXIO, "mmap-offset" },
			{ "shifted out", p.length, p.offset | 1UL << 63, RW_PROT, MAP_SHARED,
			  ENXIO, "mmap-offset" },
			{ "private", p.length, p.offset, RW_PROT, MAP_PRIVATE, EINVAL, "mmap-private" },
			{ "private, to read", p.length, p.offset, PROT_READ, MAP_PRIVATE, EINVAL, "mmap-private" },
			{ "private, nothing there", p.length, 0, RW_PROT, MAP_PRIVATE, EINVAL, "mmap-private" },
			{ "private, to execute", p.length, p.offset, PROT_READ | PROT_EXEC,
			  MAP_PRIVATE, EINVAL, "mmap-private" },
			{ "to execute", p.length, p.offset, PROT_READ | PROT_EXEC, MAP_SHARED,
			  EPERM, "mmap-executable" },
			{ "to execute, nothing there", p.length, 0, RW_PROT | PROT_EXEC,
			  MAP_SHARED, EPERM, "mmap-executable" },
		};
		size_t i;

		for (i = 0; i < ARRAY_SIZE(table); i++) {
			struct refusal before;
			long long r;

			last_refusal(g.fd, &before);
			r = map_file_as(g.fd, table[i].length, table[i].offset, table[i].prot,
					table[i].flags);
			check_refusal(g.fd, &before, r, table[i].why, table[i].name);
			if (r != -table[i].want)
				fail("%s: got %s", table[i].name, r < 0 ? errno_name(r) : "a mapping");
		}
	}
	/* Another context has no pages at that offset. */
	WANT_WHY(other.fd, map_file_as(other.fd, p.length, p.offset, RW_PROT, MAP_SHARED), -ENXIO,
		 "mmap-offset");
	close_guest(&other);
	/* A shared mapping of a file that is open for reading cannot be made writeable. */
	close_pages(&g, &p);
	fd = open("/dev/iommu", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	WANT_WHY(fd, map_file_as(fd, PAGE, PAGE, PROT_READ, MAP_SHARED), -EINVAL, "mmap-private");
	close(fd);
}

/* The mapping has the pages of the driver, the same at each time. */
static void contents(struct fixture *none)
{
	uint32_t *one, *two, *only_read;
	struct guest g;
	struct pages p;
	size_t i;

	if (!open_pages(&g, &p))
		return;
	WANT(p.length, 2 * PAGE);
	one = map_pages(&g, &p);
	CHECK(one);
	WANT(one[0], VALUE);
	for (i = 1; i < p.length / sizeof(*one); i++)
		CHECK(!one[i]);
	two = map_pages(&g, &p);
	CHECK(two && two != one);
	only_read = mmap(NULL, p.length, PROT_READ, MAP_SHARED, g.fd, p.offset);
	CHECK(only_read != MAP_FAILED);
	one[p.length / sizeof(*one) - 1] = 0x1234;
	WANT(two[p.length / sizeof(*two) - 1], 0x1234);
	two[PAGE / sizeof(*two)] = 0x5678;
	WANT(only_read[PAGE / sizeof(*two)], 0x5678);
	/* Mappings can be removed in any order. */
	munmap(one, p.length);
	WANT_WHY(g.fd, destroy(g.fd, p.viommu), -EBUSY, "object-in-use");
	munmap(only_read, p.length);
	WANT_WHY(g.fd, destroy(g.fd, p.viommu), -EBUSY, "object-in-use");
	WANT(two[0], VALUE);
	munmap(two, p.length);
	close_pages(&g, &p);
}

/* mprotect() cannot make a mapping executable. */
static void execute(struct fixture *none)
{
	struct guest g;
	struct pages p;
	void *at;

	if (!open_pages(&g, &p))
		return;
	at = map_pages(&g, &p);
	CHECK(at);
	WANT_FINDING("11", mprotect(at, p.length, PROT_READ | PROT_EXEC) ? -errno : 0, -EACCES, 0);
	WANT(mprotect(at, p.length, PROT_READ), 0);
	munmap(at, p.length);
	close_pages(&g, &p);
}

/* A part of a mapping keeps the vIOMMU from being destroyed. */
static void in_parts(struct fixture *none)
{
	struct guest g;
	struct pages p;
	char *at;

	if (!open_pages(&g, &p))
		return;
	at = (char *)map_pages(&g, &p);
	CHECK(at);
	munmap(at, PAGE);
	WANT_WHY(g.fd, destroy(g.fd, p.viommu), -EBUSY, "object-in-use");
	at[PAGE] = 1;
	munmap(at + PAGE, PAGE);
	WANT(destroy(g.fd, p.viommu), 0);
	WANT(viommu_with(&g, VALUE, &p), 0);
	at = (char *)map_pages(&g, &p);
	CHECK(at);
	munmap(at + PAGE, PAGE);
	WANT_WHY(g.fd, destroy(g.fd, p.viommu), -EBUSY, "object-in-use");
	WANT(*(uint32_t *)at, VALUE);
	munmap(at, PAGE);
	WANT(destroy(g.fd, p.viommu), 0);
	/* A mapping that mprotect() has split is unmapped at once. */
	WANT(viommu_with(&g, VALUE, &p), 0);
	at = (char *)map_pages(&g, &p);
	CHECK(at);
	CHECK(!mprotect(at, PAGE, PROT_READ));
	WANT_WHY(g.fd, destroy(g.fd, p.viommu), -EBUSY, "object-in-use");
	munmap(at, 2 * PAGE);
	close_pages(&g, &p);
}

static long long move(void *old, size_t old_len, size_t len, int flags, void *to)
{
	void *at = mremap(old, old_len, len, flags, to);

	return at == MAP_FAILED ? -errno : (long long)(uintptr_t)at;
}

static void moved(struct fixture *none)
{
	struct guest g;
	struct pages p;
	char *at, *to;

	if (!open_pages(&g, &p))
		return;
	at = (char *)map_pages(&g, &p);
	to = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(at && to != MAP_FAILED);
	/* It cannot be enlarged or duplicated. */
	WANT(move(at, p.length, 2 * p.length, MREMAP_MAYMOVE, NULL), -EFAULT);
	WANT(move(at, 0, p.length, MREMAP_MAYMOVE, NULL), -EFAULT);
	WANT(move(at, p.length, p.length, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL), -EINVAL);
	WANT(*(uint32_t *)at, VALUE);
	WANT(move(at, p.length, p.length, MREMAP_MAYMOVE | MREMAP_FIXED, to), PTR(to));
	WANT(*(uint32_t *)to, VALUE);
	CHECK(munmap(at, p.length) == 0);
	WANT_WHY(g.fd, destroy(g.fd, p.viommu), -EBUSY, "object-in-use");
	/* Half of it is moved back. */
	WANT(move(to + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at), PTR(at));
	at[0] = 1;
	munmap(to, 2 * PAGE);
	WANT_WHY(g.fd, destroy(g.fd, p.viommu), -EBUSY, "object-in-use");
	munmap(at, PAGE);
	WANT(destroy(g.fd, p.viommu), 0);
	WANT(viommu_with(&g, VALUE, &p), 0);
	at = (char *)map_pages(&g, &p);
	CHECK(at);
	WANT(move(at, p.length, PAGE, 0, NULL), PTR(at));
	WANT_WHY(g.fd, destroy(g.fd, p.viommu), -EBUSY, "object-in-use");
	munmap(at, PAGE);
	close_pages(&g, &p);
}

static void forked(struct fixture *none)
{
	int to_child[2], from_child[2], status = -1, pid;
	struct guest g;
	struct pages p;
	uint32_t *at;
	char byte = 0;

	if (!open_pages(&g, &p))
		return;
	at = map_pages(&g, &p);
	CHECK(at && !pipe(to_child) && !pipe(from_child));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		/* The child has the mapping until it exits, whether the file is open or not. */
		close(g.fd);
		byte = at[0] == VALUE;
		at[1] = 0x77;
		CHECK(write(from_child[1], &byte, 1) == 1);
		CHECK(read(to_child[0], &byte, 1) == 1);
		_exit(0);
	}
	CHECK(read(from_child[0], &byte, 1) == 1 && byte);
	WANT(at[1], 0x77);
	munmap(at, p.length);
	WANT_WHY(g.fd, destroy(g.fd, p.viommu), -EBUSY, "object-in-use");
	CHECK(write(to_child[1], &byte, 1) == 1);
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	close(to_child[0]);
	close(to_child[1]);
	close(from_child[0]);
	close(from_child[1]);
	close_pages(&g, &p);
}

/* A child that is killed loses the mapping, and so does one that calls exec(). */
static void child_ends(struct fixture *none)
{
	int status, pid, i;
	struct guest g;
	struct pages p;
	uint32_t *at;

	if (!open_pages(&g, &p))
		return;
	at = map_pages(&g, &p);
	CHECK(at);
	for (i = 0; i < 2; i++) {
		pid = fork();
		CHECK(pid >= 0);
		if (!pid) {
			if (i)
				execl("/bin/busybox", "true", NULL);
			else
				pause();
			_exit(1);
		}
		if (!i)
			kill(pid, SIGKILL);
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(i ? !status : WIFSIGNALED(status));
		WANT_WHY(g.fd, destroy(g.fd, p.viommu), -EBUSY, "object-in-use");
	}
	munmap(at, p.length);
	close_pages(&g, &p);
}

/* A mapping keeps the file open, and so all objects of the context. */
static void closed(struct fixture *none)
{
	const long idle = pinned();
	struct guest g;
	struct pages p;
	uint32_t *at;

	if (!open_pages(&g, &p))
		return;
	WANT(map(g.fd, g.ioas, mem.rw, PAGE, MOCK_IOVA), 0);
	WANT(pinned(), idle + 1);
	at = map_pages(&g, &p);
	CHECK(at);
	close(g.fd);
	WANT(at[0], VALUE);
	at[1] = 2;
	WANT(pinned(), idle + 1);
	munmap(at, PAGE);
	WANT(pinned(), idle + 1);
	munmap((char *)at + PAGE, PAGE);
	WANT(pinned(), idle);
	/* The mapping is removed by the exit of the process, which the checks at the end show. */
	if (!open_pages(&g, &p))
		return;
	CHECK(map_pages(&g, &p));
	close(g.fd);
}

/* Each vIOMMU has its own pages. */
static void two_viommus(struct fixture *none)
{
	struct pages p, q, again;
	uint32_t *one, *two;
	struct guest g;

	if (!open_pages(&g, &p))
		return;
	WANT(viommu_with(&g, VALUE + 1, &q), 0);
	CHECK(p.offset + p.length <= q.offset || q.offset + q.length <= p.offset);
	one = map_pages(&g, &p);
	two = map_pages(&g, &q);
	CHECK(one && two);
	WANT(one[0], VALUE);
	WANT(two[0], VALUE + 1);
	one[1] = 1;
	WANT(two[1], 0);
	/* One mapping cannot have the pages of both. */
	WANT_WHY(g.fd, map_file_as(g.fd, p.length + q.length, p.offset, RW_PROT, MAP_SHARED),
		 -ENXIO, "mmap-size");
	munmap(one, p.length);
	WANT_WHY(g.fd, destroy(g.fd, q.viommu), -EBUSY, "object-in-use");
	WANT(destroy(g.fd, p.viommu), 0);
	WANT_WHY(g.fd, map_file_as(g.fd, p.length, p.offset, RW_PROT, MAP_SHARED), -ENXIO, "mmap-offset");
	WANT(two[0], VALUE + 1);
	WANT(viommu_with(&g, VALUE + 2, &again), 0);
	CHECK(again.offset + again.length <= q.offset || q.offset + q.length <= again.offset);
	one = map_pages(&g, &again);
	CHECK(one);
	WANT(one[0], VALUE + 2);
	WANT(one[1], 0);
	munmap(one, again.length);
	munmap(two, q.length);
	WANT(destroy(g.fd, q.viommu), 0);
	close_pages(&g, &again);
}

static struct guest g;
static _Atomic uint32_t last;
static _Atomic uint64_t where;
static atomic_ulong done[4];
static time_t deadline;

static void *make_destroy(void *arg)
{
	while (time(NULL) < deadline && !has_failed()) {
		struct pages p;
		int r = viommu_with(&g, VALUE, &p);

		if (r) {
			fail("cannot make a vIOMMU: %s", errno_name(r));
			break;
		}
		atomic_store(&last, p.viommu);
		atomic_store(&where, p.offset);
		usleep(500);
		/* EBUSY: it is mapped. Another thread may destroy it at the same time. */
		while ((r = destroy(g.fd, p.viommu)) == -EBUSY)
			;
		if (r && r != -ENOENT)
			fail("cannot destroy a vIOMMU: %s", errno_name(r));
		atomic_fetch_add(&done[0], 1);
	}
	return NULL;
}

static void *map_all(void *arg)
{
	const unsigned int who = (uintptr_t)arg;

	while (time(NULL) < deadline && !has_failed()) {
		long long r = map_file_as(g.fd, 2 * PAGE, atomic_load(&where), RW_PROT, MAP_SHARED);
		uint32_t *at = (uint32_t *)(uintptr_t)r;

		if (r < 0) {
			if (r != -ENXIO)
				fail("cannot map: %s", errno_name(r));
			continue;
		}
		/*
		 * Finding K: on the C module the pages can be mapped before the driver has written
		 * to them.
		 */
		if ((at[0] != VALUE && !(on_c_module() && !at[0])) || at[PAGE / sizeof(*at)])
			fail("%#x and %#x are mapped", at[0], at[PAGE / sizeof(*at)]);
		if (who & 1)
			munmap(at, PAGE);
		munmap((char *)at + (who & 1) * PAGE, 2 * PAGE - (who & 1) * PAGE);
		atomic_fetch_add(&done[who], 1);
	}
	return NULL;
}

static void *destroy_last(void *arg)
{
	while (time(NULL) < deadline && !has_failed()) {
		int r = destroy(g.fd, atomic_load(&last));

		if (!r)
			atomic_fetch_add(&done[3], 1);
		else if (r != -EBUSY && r != -ENOENT)
			fail("cannot destroy a vIOMMU: %s", errno_name(r));
		usleep(300);
	}
	return NULL;
}

static void all_at_once(struct fixture *none)
{
	void *(*const work[])(void *) = { make_destroy, map_all, map_all, destroy_last };

	if (!open_guest(&g))
		return;
	atomic_store(&last, NO_ID);
	run_all(work, ARRAY_SIZE(work), done, &deadline, SECONDS);
	close_guest(&g);
}

static atomic_bool stop;
static atomic_ulong mapped, tried;

static void *map_first(void *arg)
{
	while (!atomic_load(&stop)) {
		long long r = map_file_as(g.fd, 2 * PAGE, atomic_load(&where), RW_PROT, MAP_SHARED);

		atomic_fetch_add(&tried, 1);
		if (r < 0)
			continue;
		atomic_fetch_add(&mapped, 1);
		munmap((void *)(uintptr_t)r, 2 * PAGE);
	}
	return NULL;
}

/*
 * The driver has offered its pages when making the vIOMMU fails. The next vIOMMU gets the same
 * offset. Nothing may be mapped there meanwhile.
 */
static void half_made(struct fixture *none)
{
	struct iommu_viommu_selftest data = { .in_data = VALUE };
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = IOMMU_VIOMMU_TYPE_SELFTEST, .data_len = sizeof(data),
		.data_uptr = PTR(&data),
	};
	pthread_t thread;
	struct pages p;
	unsigned int i;
	void *at;

	if (on_c_module()) {
		note("not run: the C module's mapping would use a vIOMMU that was freed");
		return;
	}
	if (!open_guest(&g))
		return;
	cmd.dev_id = g.dev_id;
	cmd.hwpt_id = g.parent;
	WANT(viommu_with(&g, VALUE, &p), 0);
	WANT(destroy(g.fd, p.viommu), 0);
	atomic_store(&where, p.offset);
	atomic_store(&stop, false);
	at = read_only(&cmd, sizeof(cmd));
	CHECK(!pthread_create(&thread, NULL, map_first, NULL));
	deadline = time(NULL) + SECONDS;
	/* The other thread may not run for a while. */
	for (i = 0; !has_failed() && (time(NULL) < deadline || i <= MANY || atomic_load(&tried) <= MANY); i++) {
		int r = call(g.fd, IOMMU_VIOMMU_ALLOC, at);

		if (r != -EFAULT)
			fail("making a vIOMMU: got %s", errno_name(r));
		if (data.out_mmap_offset != p.offset)
			fail("its pages were at %#llx", (unsigned long long)data.out_mmap_offset);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	note("%u vIOMMUs half made, %lu attempts to map", i, atomic_load(&tried));
	WANT(atomic_load(&mapped), 0);
	close_guest(&g);
}

static const struct test tests[] = {
	{ "a vIOMMU with wrong data", alloc_wrong, ALONE },
	{ "wrong ways to map a vIOMMU's pages", map_wrong, ALONE },
	{ "a vIOMMU's pages are those of the driver", contents, ALONE },
	{ "a vIOMMU's pages cannot be executed, finding J", execute, ALONE },
	{ "a part of a mapping keeps its vIOMMU", in_parts, ALONE },
	{ "a mapping is moved", moved, ALONE },
	{ "a child inherits the mapping", forked, ALONE },
	{ "a child with the mapping exits", child_ends, ALONE },
	{ "the file is closed while its pages are mapped", closed, ALONE },
	{ "the pages of two vIOMMUs", two_viommus, ALONE },
	{ "vIOMMUs made, mapped and destroyed, at once", all_at_once, ALONE },
	{ "the pages of a vIOMMU that fails to be made, finding K", half_made, ALONE },
};

const struct suite mmap_suite = {
	.name = "mmap", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
