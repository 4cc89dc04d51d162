// SPDX-License-Identifier: GPL-2.0-only
/* fdinfo of a context with many objects and mappings: how long the text is, and how long it takes. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "observe.h"

#define OBJECTS		10000
#define AREAS		100000
/* Of each kind; observe/fdinfo.rs has it too. */
#define SHOWN		64
#define MOST_BYTES	(256 << 10)
/* Emulated, on a busy machine. Reading with few objects takes a tenth of a millisecond. */
#define MOST_MS		100
#define PATIENCE	60000	/* milliseconds, for the reader */

static long long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

/* Reads fdinfo, and fails the test if that takes long or the text is long. */
static const char *timed_read(int fd, const char *what)
{
	long long best = -1;
	const char *text;
	int i;

	/* The best of five is long only if each is; on a busy machine of more. */
	for (i = 0; i < 5 || (i < 50 && best > MOST_MS * 1000); i++) {
		long long start = now_us();

		text = read_fdinfo(fd);
		start = now_us() - start;
		if (best < 0 || start < best)
			best = start;
	}
	note("%s: %zu bytes of fdinfo in %lld us", what, strlen(text), best);
	if (strlen(text) > MOST_BYTES)
		fail("that is more than %d bytes", MOST_BYTES);
	if (best > MOST_MS * 1000)
		fail("that is more than %d ms", MOST_MS);
	return text;
}

static void many_objects(struct fixture *f)
{
	char expected[64], got[64] = "";
	int fd = open_iommu();
	const char *text, *at;
	uint32_t id = 0, i;
	int shown = 0;

	CHECK(fd >= 0);
	for (i = 0; i < OBJECTS; i++)
		WANT(ioas_alloc(fd, &id), 0);
	text = timed_read(fd, "10,000 address spaces");
	if (!on_c_module()) {
		want_number(fd, "objects-ioas", OBJECTS);
		text = read_fdinfo(fd);
		for (at = strstr(text, "-areas:"); at; at = strstr(at + 1, "-areas:"))
			shown++;
		if (shown != SHOWN)
			fail("%d address spaces are listed, expected %d", shown, SHOWN);
		snprintf(expected, sizeof(expected), "%d objects", OBJECTS - SHOWN);
		key_text(text, "iommufd-left-out", got, sizeof(got));
		if (strcmp(got, expected))
			fail("left out: \"%s\", expected \"%s\"", got, expected);
	}
	close(fd);
}

static volatile bool stop;
static volatile unsigned long reads;

static void *reader(void *fd)
{
	char path[64], buf[4096];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", *(int *)fd);
	while (!stop) {
		file = fopen(path, "r");
		if (!file)
			break;
		while (fread(buf, 1, sizeof(buf), file))
			;
		fclose(file);
		reads++;
	}
	return NULL;
}

static void many_areas(struct fixture *f)
{
	long long start, alone, longest = 0, longest_alone = 0, took;
	pthread_t thread;
	char name[64];
	int waited;
	uint64_t i;

	/* Without a reader, then with one. */
	start = now_us();
	for (i = 0; i < AREAS / 2; i++) {
		took = now_us();
		WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA + 2 * i * PAGE), 0);
		took = now_us() - took;
		longest_alone = took > longest_alone ? took : longest_alone;
	}
	alone = now_us() - start;
	CHECK(!pthread_create(&thread, NULL, reader, &f->fd));
	start = now_us();
	for (; i < AREAS; i++) {
		took = now_us();
		WANT(map(f->fd, f->ioas, mem.rw, PAGE, FREE_IOVA + 2 * i * PAGE), 0);
		took = now_us() - took;
		longest = took > longest ? took : longest;
	}
	start = now_us() - start;
	/* On a busy machine the reader may not have run. */
	for (waited = 0; reads <= 10 && waited < PATIENCE; waited++)
		usleep(1000);
	stop = true;
	pthread_join(thread, NULL);
	note("%d maps: %lld us each, the longest %lld us; with a reader beside it, which has read %lu times: %lld and %lld us",
	     AREAS / 2, alone / (AREAS / 2), longest_alone, reads, start / (AREAS / 2), longest);
	CHECK(reads > 10);
	timed_read(f->fd, "100,000 areas");
	snprintf(name, sizeof(name), "ioas-%u-areas", f->ioas);
	want_number(f->fd, name, AREAS + 1);
	snprintf(name, sizeof(name), "ioas-%u-mapped", f->ioas);
	want_number(f->fd, name, (AREAS + 1) * PAGE);
	WANT(unmap_all(f->fd, f->ioas), (AREAS + 1) * PAGE);
	want_number(f->fd, name, 0);
}

static const struct test tests[] = {
	{ "10,000 objects", many_objects, ALONE },
	{ "100,000 areas, with a reader beside", many_areas, DOMAIN },
};

const struct suite bounds_suite = { "bounds", NULL, 0, tests, ARRAY_SIZE(tests) };
