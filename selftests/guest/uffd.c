// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "call.h"
#include "result.h"
#include "uffd.h"

#define SECONDS		60	/* timeout for a page fault that must come */

int uffd_open(__u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api)) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int uffd_register(int uffd, void *at, size_t length, __u64 mode)
{
	struct uffdio_register arg = { .range = { PTR(at), length }, .mode = mode };

	return ioctl(uffd, UFFDIO_REGISTER, &arg) ? -errno : 0;
}

int uffd_unregister(int uffd, void *at, size_t length)
{
	struct uffdio_range arg = { PTR(at), length };

	return ioctl(uffd, UFFDIO_UNREGISTER, &arg) ? -errno : 0;
}

int uffd_write_protect(int uffd, void *at, size_t length, bool on)
{
	struct uffdio_writeprotect arg = {
		.range = { PTR(at), length }, .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &arg) ? -errno : 0;
}

int uffd_copy(int uffd, void *at, const void *from, size_t length)
{
	struct uffdio_copy arg = { .dst = PTR(at), .src = PTR(from), .len = length };

	return ioctl(uffd, UFFDIO_COPY, &arg) ? -errno : 0;
}

int uffd_continue(int uffd, void *at, size_t length)
{
	struct uffdio_continue arg = { .range = { PTR(at), length } };

	return ioctl(uffd, UFFDIO_CONTINUE, &arg) ? -errno : 0;
}

int uffd_poison(int uffd, void *at, size_t length)
{
	struct uffdio_poison arg = { .range = { PTR(at), length } };

	return ioctl(uffd, UFFDIO_POISON, &arg) ? -errno : 0;
}

bool uffd_wait(int uffd, const void *at, size_t length, __u64 flags, const atomic_bool *over)
{
	struct pollfd poll_for = { .fd = uffd, .events = POLLIN };
	struct uffd_msg message;
	int i;

	for (i = 0; i < SECONDS * 100; i++) {
		if (poll(&poll_for, 1, 10) > 0 && read(uffd, &message, sizeof(message)) == sizeof(message))
			break;
		if (over && atomic_load(over)) {
			fail("the call has returned, and there was no page fault");
			return false;
		}
	}
	if (i == SECONDS * 100) {
		fail("no page fault in %d seconds", SECONDS);
		return false;
	}
	if (message.event != UFFD_EVENT_PAGEFAULT ||
	    (message.arg.pagefault.flags & ~UFFD_PAGEFAULT_FLAG_WRITE) != flags ||
	    message.arg.pagefault.address - PTR(at) >= length) {
		fail("event %#x, flags %#llx, address %#llx", message.event, message.arg.pagefault.flags,
		     message.arg.pagefault.address);
		return false;
	}
	return true;
}
