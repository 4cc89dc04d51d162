// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs a program, and prints which code of the module it, its children and its threads reach, for
 * selftests/fuzz/coverage.py. The kernel must have KCOV: see Documentation/dev-tools/kcov.rst there.
 *
 * Usage: follow PROGRAM ARGUMENT...
 *
 * A task notes the places that it reaches in memory of this process, since it may be killed at any time.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kcov.h>

#include "follow.h"

#define PLACES		(1UL << 20)	/* of the first task, in one lane */
#define FURTHER_PLACES	(1UL << 17)	/* of a child or a thread */
#define INTERVAL	2000		/* microseconds between looks at the lanes */
#define IN_LINE		64

/* What one task at a time notes: the number of places, and then the places. */
struct lane {
	int file;
	size_t size;
	volatile uint64_t *noted;
};

static struct lane lanes[1 + LANES];	/* the first one is that of the first task */
static uint64_t code, code_size, text;	/* where the module is, and where its section .text is */
static bool *reached;			/* by the offset of a place in the module */

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "follow: %s: %s\n", what, strerror(errno));
	exit(126);
}

static void find_module(void)
{
	char line[512], name[64], path[128];
	FILE *f = fopen("/proc/modules", "r");
	bool found = false;

	if (!f)
		die("/proc/modules");
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%63s %" SCNu64 " %*s %*s %*s %" SCNx64, name, &code_size, &code) == 3 &&
			!strncmp(name, "iommufd", strlen("iommufd"));
	fclose(f);
	if (!found)
		die("no module iommufd");
	snprintf(path, sizeof(path), "/sys/module/%s/sections/.text", name);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%" SCNx64, &text) != 1)
		die(path);
	fclose(f);
	reached = calloc(code_size, sizeof(*reached));
	if (!reached)
		die("no memory");
}

static void open_lane(struct lane *lane, int fd, size_t size)
{
	int file = open("/sys/kernel/debug/kcov", O_RDWR);

	if (file < 0 || ioctl(file, KCOV_INIT_TRACE, size))
		die("kcov");
	lane->noted = mmap(NULL, size * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (lane->noted == MAP_FAILED || dup2(file, fd) != fd)
		die("kcov");
	close(file);
	lane->file = fd;
	lane->size = size;
}

/* Takes what a lane has. A task that is at work meanwhile may lose a few places. */
static void collect(struct lane *lane)
{
	uint64_t i, count = lane->noted[0];

	if (count > lane->size - 1)
		count = lane->size - 1;
	for (i = 1; i <= count; i++)
		if (lane->noted[i] - code < code_size)
			reached[lane->noted[i] - code] = true;
	lane->noted[0] = 0;
}

/* Returns the status of the program, as a shell does. */
static int collect_until_end(int pid)
{
	int status, ended;
	size_t i;

	do {
		usleep(INTERVAL);
		ended = waitpid(pid, &status, WNOHANG);
		for (i = 0; i < 1 + LANES; i++)
			if (ended || lanes[i].noted[0] > lanes[i].size / 4)
				collect(&lanes[i]);
	} while (!ended);
	if (ended < 0)
		die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void print_reached(void)
{
	uint64_t place;
	int count = 0;

	for (place = text - code; place < code_size; place++)
		if (reached[place])
			printf("%s%" PRIx64, count++ % IN_LINE ? " " : "\n# tests reached ", place - (text - code));
	printf("\n# %d places of the module's code reached\n", count);
}

int main(int argc, char **argv)
{
	int i, pid, status;

	if (argc < 2) {
		fprintf(stderr, "usage: follow PROGRAM ARGUMENT...\n");
		return 2;
	}
	find_module();
	open_lane(&lanes[0], FIRST_LANE - 1, PLACES);
	for (i = 0; i < LANES; i++)
		open_lane(&lanes[1 + i], FIRST_LANE + i, FURTHER_PLACES);
	setenv(FOLLOWED, "1", 1);
	pid = fork();
	if (!pid) {
		/* It stays so when another program is executed. */
		if (ioctl(lanes[0].file, KCOV_ENABLE, KCOV_TRACE_PC))
			die("KCOV_ENABLE");
		execv(argv[1], argv + 1);
		die(argv[1]);
	}
	if (pid < 0)
		die("fork");
	status = collect_until_end(pid);
	print_reached();
	return status;
}
