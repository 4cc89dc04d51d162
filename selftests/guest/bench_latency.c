// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long other calls wait while a call takes long in the same IOAS, and how long a process lives after
 * SIGKILL in the middle of a long call. CDEV is the file of a device of VFIO. See bench.h.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "bench_memory.h"
#include "bench_probe.h"

#define GIB		(1UL << 30)
#define LONG		(4 * GIB)
#define PROBE_IOVA	(IOVA - HUGE)
#define NR_AREAS	65536
#define BEGUN		(1UL << 25)	/* bytes after which a call is killed that has just begun */
#define IDLE		100000000	/* nanoseconds, or instructions */
#define STACK		(64UL << 10)

static char *memory;		/* LONG bytes of scattered pages */
static char *page;		/* one that is not among them */
static int iommu, device;
static uint32_t dev_id, ioas;

static void touch_memory(void)
{
	memory = scattered_pages(LONG);
	page = small_pages(PAGE);
}

/* The longest time shows how long the machine itself keeps a thread waiting. */
static void idle_rows(void)
{
	uint64_t until;

	start_probe(iommu, ioas, page, PROBE_IOVA);
	until = now() + IDLE;
	while (now() < until)
		;
	end_probe("no other call is made");
}

static void attach_rows(void)
{
	uint32_t other;

	must(ioas_alloc(iommu, &other), "IOAS_ALLOC");
	must(map(iommu, other, memory, GIB, IOVA), "map");
	must(detach(device), "detach");

	start_probe(iommu, other, page, PROBE_IOVA);
	must(attach(device, other, NULL), "attach");
	end_probe("1 GiB is attached");

	start_probe(iommu, other, page, PROBE_IOVA);
	must(detach(device), "detach");
	end_probe("1 GiB is detached");

	must(attach(device, ioas, NULL), "attach");
	must(unmap_all(iommu, other), "unmap");
	must(destroy(iommu, other), "DESTROY");
}

static void map_rows(void)
{
	start_probe(iommu, ioas, page, PROBE_IOVA);
	must(map(iommu, ioas, memory, GIB, IOVA), "map");
	end_probe("1 GiB is mapped");

	start_probe(iommu, ioas, page, PROBE_IOVA);
	must(unmap(iommu, ioas, IOVA, GIB), "unmap");
	end_probe("1 GiB is unmapped");
}

/*
 * The long call and the short ones concern the same memory: an IOAS has it, which the device leaves, and a page of
 * it is copied into another one with page tables.
 */
static void same_memory_rows(void)
{
	uint32_t other, target, hwpt;

	must(ioas_alloc(iommu, &other), "IOAS_ALLOC");
	must(map(iommu, other, memory, GIB, IOVA), "map");
	must(ioas_alloc(iommu, &target), "IOAS_ALLOC");
	must(hwpt_alloc(iommu, dev_id, target, &hwpt), "HWPT_ALLOC");
	must(detach(device), "detach");

	start_copy_probe(iommu, other, target, PROBE_IOVA);
	must(attach(device, other, NULL), "attach");
	end_probe("the same 1 GiB is attached");

	start_copy_probe(iommu, other, target, PROBE_IOVA);
	must(detach(device), "detach");
	end_probe("the same 1 GiB is detached");

	must(attach(device, ioas, NULL), "attach");
	must(destroy(iommu, hwpt), "DESTROY");
	must(destroy(iommu, target), "DESTROY");
	must(unmap_all(iommu, other), "unmap");
	must(destroy(iommu, other), "DESTROY");
}

/* Copies what another IOAS without page tables has, which is then pinned and mapped here. */
static void copy_from(uint32_t other, uint64_t length, const char *meanwhile)
{
	uint64_t iova = IOVA;

	start_probe(iommu, ioas, page, PROBE_IOVA);
	must(copy(iommu, other, IOVA, length, FIXED | READ | WRITE, ioas, &iova), "IOAS_COPY");
	end_probe(meanwhile);
	must(unmap(iommu, ioas, IOVA, length), "unmap");
	must(unmap_all(iommu, other), "unmap");
}

static void copy_rows(void)
{
	uint32_t other;
	uint64_t at;

	must(ioas_alloc(iommu, &other), "IOAS_ALLOC");
	if (wanted("1 GiB is copied")) {
		must(map(iommu, other, memory, GIB, IOVA), "map");
		copy_from(other, GIB, "1 GiB is copied");
	}
	if (wanted("65,536 areas are copied")) {
		for (at = 0; at < NR_AREAS * PAGE; at += PAGE)
			must(map(iommu, other, memory + at, PAGE, IOVA + at), "map");
		copy_from(other, NR_AREAS * PAGE, "65,536 areas are copied");
	}
	must(destroy(iommu, other), "DESTROY");
}

/*
 * A process that is killed during a call. Its memory is this process's, so that the time that it takes to free
 * memory is not measured.
 */
struct victim {
	void (*call)(struct victim *v);
	uint64_t (*progress)(const struct victim *v);	/* bytes that the call has done; may have an offset */
	int file;
	atomic_bool returned;
};

static void map_memory(struct victim *v)
{
	(void)v;
	map(iommu, ioas, memory, LONG, IOVA);
}

static void map_memfd(struct victim *v)
{
	uint64_t iova = IOVA;

	map_file(iommu, ioas, FIXED | READ | WRITE, v->file, 0, LONG, &iova);
}

static uint64_t ever_pinned(const struct victim *v)
{
	unsigned long value = 0;
	char line[256];
	FILE *f = fopen("/proc/vmstat", "r");

	(void)v;
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "nr_foll_pin_acquired %lu", &value) == 1)
			break;
	if (f)
		fclose(f);
	return value * PAGE;
}

static uint64_t allocated(const struct victim *v)
{
	struct stat st;

	return fstat(v->file, &st) ? 0 : st.st_blocks * 512ULL;
}

static int run_victim(void *arg)
{
	struct victim *v = arg;

	if (v->call) {
		v->call(v);
		atomic_store(&v->returned, true);
	}
	return pause();
}

static void kill_row(const char *what, struct victim *v, uint64_t after)
{
	static char stack[STACK];
	uint64_t before = v->progress ? v->progress(v) : 0, killed;
	int pid;

	/* The process inherits the CPU. */
	pin_to(0);
	pid = clone(run_victim, stack + STACK, CLONE_VM | SIGCHLD, v);
	if (pid < 0)
		give_up("clone: %s", strerror(errno));
	pin_to(1);
	if (v->progress)
		while (v->progress(v) < before + after && !atomic_load(&v->returned))
			;
	else
		usleep(10000);
	killed = now();
	kill(pid, SIGKILL);
	if (waitpid(pid, NULL, 0) != pid)
		give_up("%s: no child", what);
	killed = now() - killed;
	if (atomic_load(&v->returned))
		give_up("%s: the call was over", what);
	sample(killed, unit, "SIGKILL, %s: until the process is gone", what);
	/* The C module has mapped all of it. */
	unmap_all(iommu, ioas);
}

static void kill_rows(void)
{
	struct victim idle = {}, mapping = { map_memory, ever_pinned, -1, false };
	struct victim file = { map_memfd, allocated, -1, false };

	kill_row("no call", &idle, 0);
	kill_row("map of 4 GiB", &mapping, BEGUN);
	kill_row("map of 4 GiB, half of it", &mapping, LONG / 2);
	file.file = memfd_create("bench", MFD_CLOEXEC);
	if (file.file < 0 || ftruncate(file.file, LONG))
		give_up("memfd: %s", strerror(errno));
	kill_row("map of a new memfd of 4 GiB", &file, BEGUN);
	close(file.file);
}

static void measure(const char *cdev)
{
	int i;

	iommu = open_card(cdev, &device, &dev_id, &ioas);
	for (i = 0; i < nr_repeats; i++) {
		if (wanted("no other call is made"))
			idle_rows();
		if (wanted("1 GiB is attached"))
			attach_rows();
		if (wanted("1 GiB is mapped"))
			map_rows();
		if (wanted("the same 1 GiB"))
			same_memory_rows();
		copy_rows();
	}
	if (wanted("SIGKILL"))
		kill_rows();
	close(device);
	close(iommu);
}

int main(int argc, char **argv)
{
	return bench(argc, argv, touch_memory, measure);
}
