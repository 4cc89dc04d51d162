// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call.h"
#include "memory.h"
#include "result.h"

struct memory mem;

static char *allocate(size_t nr, int prot, int flags)
{
	char *p = mmap(NULL, nr * PAGE, prot, flags | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

void make_memory(void)
{
	mem.rw = allocate(16, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(mem.rw, 1, 16 * PAGE);
	mem.ro = allocate(2, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(mem.ro, 1, 2 * PAGE);
	mprotect(mem.ro, 2 * PAGE, PROT_READ);
	mem.none = allocate(2, PROT_NONE, MAP_PRIVATE);
	mem.hole = allocate(16, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(mem.hole, 1, 16 * PAGE);
	munmap(mem.hole + 5 * PAGE, PAGE);
	mem.shared = allocate(16, PROT_READ | PROT_WRITE, MAP_SHARED);
	memset(mem.shared, 1, 16 * PAGE);
	/* No later mmap() returns an address as low as this. */
	mem.gone = (char *)0x100000000UL;
}

int memory_file(size_t size, unsigned int flags)
{
	int fd = memfd_create("uapi", flags | MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, size)) {
		close(fd);
		return -1;
	}
	return fd;
}

void *guarded(const void *arg, size_t size)
{
	static char *area;

	if (!area) {
		area = allocate(3, PROT_READ | PROT_WRITE, MAP_PRIVATE);
		munmap(area + 2 * PAGE, PAGE);
	}
	memset(area, 0, 2 * PAGE);
	return memcpy(area + 2 * PAGE - size, arg, size);
}

void *cut_off(const void *arg, size_t size)
{
	char *area = allocate(2, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	munmap(area + PAGE, PAGE);
	return memcpy(area + PAGE - size, arg, size);
}

void *read_only(const void *arg, size_t size)
{
	static char *area;

	if (!area)
		area = allocate(1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	mprotect(area, PAGE, PROT_READ | PROT_WRITE);
	memcpy(area, arg, size);
	mprotect(area, PAGE, PROT_READ);
	return area;
}

/* Returns the number after a name in a file of "name value" lines in /proc. Exits if there is none. */
static long lookup(const char *path, const char *name)
{
	static int proc = -1;
	size_t len = strlen(name);
	char line[256];
	long value = -1;
	FILE *f;

	/* Opened once: a child process may have lost the permission to open it. */
	if (proc < 0)
		proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	f = fdopen(openat(proc, path, O_RDONLY | O_CLOEXEC), "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len))
			value = strtol(line + len, NULL, 10);
	if (!f || value < 0) {
		printf("Bail out! no %s in /proc/%s\n", name, path);
		exit(1);
	}
	fclose(f);
	return value;
}

/* The counters are per CPU until a write to stat_refresh adds them up. */
static void refresh_counters(void)
{
	static int refresh = -1;

	if (refresh < 0)
		refresh = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);
	if (refresh < 0 || pwrite(refresh, "1", 1, 0) != 1) {
		printf("Bail out! /proc/sys/vm/stat_refresh: %s\n", strerror(errno));
		exit(1);
	}
}

long pinned(void)
{
	refresh_counters();
	return lookup("vmstat", "nr_foll_pin_acquired ") -
	       lookup("vmstat", "nr_foll_pin_released ");
}

long ever_pinned(void)
{
	refresh_counters();
	return lookup("vmstat", "nr_foll_pin_acquired ");
}

long table_pages(void)
{
	refresh_counters();
	return lookup("vmstat", "nr_sec_page_table_pages ");
}

long own_pinned(void)
{
	return lookup("self/status", "VmPin:") * 1024 / (long)PAGE;
}

long own_locked(void)
{
	return lookup("self/status", "VmLck:") * 1024 / (long)PAGE;
}

uint64_t phys_of(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (fd < 0 || pread(fd, &entry, sizeof(entry), PTR(p) / PAGE * sizeof(entry)) !=
	    sizeof(entry) || !(entry >> 63))
		entry = 0;
	close(fd);
	entry &= (1ULL << 55) - 1;
	return entry ? entry * PAGE + PTR(p) % PAGE : 0;
}

bool limit_memlock(unsigned long nr_pages)
{
	struct rlimit limit = { nr_pages * PAGE, nr_pages * PAGE };

	return !setrlimit(RLIMIT_MEMLOCK, &limit);
}

bool set_ipc_lock(bool on)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data))
		return false;
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	data[0].effective |= (unsigned int)on << CAP_IPC_LOCK;
	return !syscall(SYS_capset, &header, data);
}

bool write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return done;
}

bool fail_nth(int inject, unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	return pwrite(inject, text, len, 0) == len;
}

bool nth_failed(int inject)
{
	char left[16] = "0";
	bool was_read = pread(inject, left, sizeof(left) - 1, 0) > 0;

	/* Where accesses of user memory fail, this read can be the one that was to fail. */
	if ((!was_read && errno != EFAULT) || !fail_nth(inject, 0))
		fail("fail-nth: %s", errno_name(-errno));
	return was_read && !strtol(left, NULL, 10);
}

bool slow_kernel(void)
{
	return !access("/sys/kernel/debug/kmemleak", F_OK);
}

bool sleeping_allocations_fail(void)
{
	return write_to("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
}

bool accesses_fail(void)
{
	if (access("/sys/kernel/debug/fail_usercopy", F_OK))
		return false;
	skip("accesses of user memory may fail, too");
	return true;
}
