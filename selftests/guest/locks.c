// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens while a call takes long: the call is killed, or others are made meanwhile.
 *
 * Usage: locks VFIO_CDEV [SUITE]...; SECOND_CDEV of the environment is a device of another group
 */
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "locks.h"

#define REPEATED	(64 * MIB)

const struct suite *const suites[] = {
	&kill_suite, &remote_suite, &wait_suite, &copy_suite, &second_suite, &exit_suite, &charge_suite,
};

const unsigned int nr_suites = ARRAY_SIZE(suites);

long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

char *long_memory(size_t length)
{
	int file = memory_file(REPEATED, 0);
	char *p = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t done;

	if (file < 0 || p == MAP_FAILED)
		return NULL;
	for (done = 0; done < length; done += REPEATED)
		if (mmap(p + done, REPEATED, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED | MAP_POPULATE, file, 0) == MAP_FAILED)
			return NULL;
	close(file);
	return p;
}
