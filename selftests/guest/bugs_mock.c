// SPDX-License-Identifier: GPL-2.0-only
/*
 * Known bugs whose test needs the mock IOMMU: in-kernel access to memory, dirty bitmaps.
 *
 * Usage: known-bugs-mock none [SUITE]
 *
 * Page faults are in fault.c; vIOMMUs, event queues and invalidation in viommu.c.
 */
#include <unistd.h>

#include "mock.h"

const struct suite *const suites[] = { &mock_pages_suite, &mock_dirty_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);

bool open_mock(struct mock *m)
{
	int r;

	m->idle = pinned();
	m->fd = open_iommu();
	r = m->fd < 0 ? m->fd : ioas_alloc(m->fd, &m->ioas);
	if (!r)
		r = ioas_alloc(m->fd, &m->other);
	if (!r)
		r = mock_device(m->fd, m->ioas, &m->device, &m->dev_id, &m->hwpt);
	if (r)
		fail("cannot make a mock device: %s", errno_name(r));
	return !r;
}

void close_mock(struct mock *m)
{
	if (pinned() != m->idle)
		fail("%+ld pages are still pinned", pinned() - m->idle);
	close(m->fd);
}
