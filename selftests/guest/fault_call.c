// SPDX-License-Identifier: GPL-2.0-only
#include <poll.h>
#include <unistd.h>

#include "fault_call.h"

struct iommu_hwpt_pgfault faults[MANY + 1];

int queue_alloc(int fd, uint32_t *id, int *file)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd) };
	int r = call(fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd);

	*id = cmd.out_fault_id;
	*file = cmd.out_fault_fd;
	return r;
}

int fault_hwpt(struct queue *q, uint32_t flags, uint32_t fault_id, uint32_t *hwpt)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .flags = IOMMU_HWPT_FAULT_ID_VALID | flags,
		.dev_id = q->dev_id, .pt_id = q->ioas, .fault_id = fault_id,
	};
	int r = call(q->fd, IOMMU_HWPT_ALLOC, &cmd);

	if (!r)
		*hwpt = cmd.out_hwpt_id;
	return r;
}

int replace(struct queue *q, uint32_t pt_id)
{
	return mock_replace(q->fd, q->device, pt_id);
}

static int fault_at(struct queue *q, uint32_t pasid, uint32_t group, uint32_t more, uint64_t addr)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_TRIGGER_IOPF,
		.trigger_iopf = {
			.dev_id = q->dev_id, .pasid = pasid, .grpid = group,
			.perm = IOMMU_PGFAULT_PERM_READ | IOMMU_PGFAULT_PERM_WRITE | more,
			.addr = addr,
		},
	};

	return mock_op(q->fd, &cmd);
}

int fault_with(struct queue *q, uint32_t pasid, uint32_t group)
{
	return fault_at(q, pasid, group, 0, ADDR + group * PAGE);
}

/* Reports nr faults of a group, none of them the last. */
int fault_group(struct queue *q, uint32_t group, uint32_t nr)
{
	int r = 0;

	while (nr-- && !r)
		r = fault_at(q, NO_PASID, group, MORE_FOLLOW, ADDR + (group + nr + 1) * PAGE);
	return r;
}

/* Reports a fault each of the groups 1 to nr. */
int fault_many(struct queue *q, uint32_t nr)
{
	uint32_t group;
	int r = 0;

	for (group = 1; group <= nr && !r; group++)
		r = fault_with(q, NO_PASID, group);
	return r;
}

long long get(int file, void *to, size_t size)
{
	ssize_t r = read(file, to, size);

	return r < 0 ? -errno : r;
}

long long put(int file, const void *from, size_t size)
{
	ssize_t r = write(file, from, size);

	return r < 0 ? -errno : r;
}

long long answer(struct queue *q, uint32_t cookie, uint32_t code)
{
	struct iommu_hwpt_page_response response = { .cookie = cookie, .code = code };

	return put(q->file, &response, sizeof(response));
}

/* Reads all faults and responds to them. Returns their number. */
long long drain(struct queue *q)
{
	long long nr = 0, r;

	while ((r = get(q->file, faults, FAULT)) == FAULT) {
		nr++;
		if (answer(q, faults[0].cookie, GOOD) != ANSWER)
			return -1000;
	}
	return r ? r : nr;
}

int events(struct queue *q)
{
	struct pollfd p = { .fd = q->file, .events = POLLIN | POLLOUT | POLLRDNORM };

	return poll(&p, 1, 0) < 0 ? -errno : p.revents;
}

bool open_queue(struct queue *q)
{
	int r;

	q->file = -1;
	q->fd = open_iommu();
	r = q->fd < 0 ? q->fd : ioas_alloc(q->fd, &q->ioas);
	if (!r)
		r = mock_device(q->fd, q->ioas, &q->device, &q->dev_id, &q->automatic);
	if (!r)
		r = queue_alloc(q->fd, &q->id, &q->file);
	if (!r)
		r = fault_hwpt(q, 0, q->id, &q->hwpt);
	if (!r)
		r = replace(q, q->hwpt);
	/* Memory for which devices have no faults, in both page tables. */
	if (!r)
		r = map(q->fd, q->ioas, mem.rw, PAGE, MOCK_APERTURE_START);
	if (r)
		fail("cannot make a device with a fault queue: %s", errno_name(r));
	return !r;
}

/* Destroys all objects, which must succeed with faults pending. */
void close_queue(struct queue *q)
{
	WANT(destroy(q->fd, q->device), 0);
	WANT(destroy(q->fd, q->hwpt), 0);
	CHECK(!close(q->file));
	WANT(destroy(q->fd, q->id), 0);
	WANT(unmap_all(q->fd, q->ioas), PAGE);
	WANT(destroy(q->fd, q->ioas), 0);
	CHECK(!close(q->fd));
}
