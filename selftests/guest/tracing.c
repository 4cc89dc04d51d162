// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's tracepoints: what they record agrees with what this program does, field by field.
 *
 * Usage: tracing VFIO_CDEV. The C module has no tracepoints. On it the calls are made and checked,
 * and nothing else.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault_call.h"
#include "frame.h"
#include "mock_call.h"
#include "trace_log.h"
#include "viommu_call.h"

#define NR_PAGES	16

/* A context whose number is known. */
struct context {
	int fd;
	uint32_t ioas;
	unsigned long long number;
};

/* Opens a context with an IOAS. Fails the test and returns false if that fails. */
static bool open_context(struct context *c)
{
	const char *event;
	int r;

	if (!trace_on())
		return false;
	c->fd = open_iommu();
	r = c->fd < 0 ? c->fd : ioas_alloc(c->fd, &c->ioas);
	if (r) {
		fail("cannot make an IOAS: %s", errno_name(r));
		return false;
	}
	event = next_traced();
	c->number = event ? traced_field(event, "context") : 0;
	if (!on_c_module() && (!event || strncmp(event, "iommufd_made: ", 14)))
		fail("the IOAS was made, and traced was %s", event ?: "nothing");
	return !has_failed();
}

/* The next event is that a command was refused, for a reason and with the number that decided. */
static void refused(unsigned long long context, const char *command, int error, const char *reason,
		    uint64_t number)
{
	traced("iommufd_refused: context=%llu command=%s errno=%d reason=%s number=0x%lx", context,
	       command, error, reason, number);
}

static void close_context(struct context *c)
{
	WANT(destroy(c->fd, c->ioas), 0);
	traced("iommufd_destroyed: context=%llu id=%u kind=ioas", c->number, c->ioas);
	close(c->fd);
	nothing_traced();
	trace_off();
}

static void objects(struct fixture *none)
{
	struct context c;
	uint32_t second;

	if (!open_context(&c))
		return;
	WANT(ioas_alloc(c.fd, &second), 0);
	traced("iommufd_made: context=%llu id=%u kind=ioas", c.number, second);
	WANT(destroy(c.fd, second), 0);
	traced("iommufd_destroyed: context=%llu id=%u kind=ioas", c.number, second);
	close_context(&c);
}

/* Another open has another number, and ids of its own. */
static void contexts(struct fixture *none)
{
	struct context one, two;

	if (!open_context(&one))
		return;
	two.fd = open_iommu();
	WANT(ioas_alloc(two.fd, &two.ioas), 0);
	WANT(two.ioas, one.ioas);
	traced("iommufd_made: context=%llu id=%u kind=ioas", one.number + 1, two.ioas);
	/* What is left when the file is closed is destroyed. */
	close(two.fd);
	traced("iommufd_destroyed: context=%llu id=%u kind=ioas", one.number + 1, two.ioas);
	close_context(&one);
}

static void refusals(struct fixture *none)
{
	struct context c;
	uint32_t word = 4;

	if (!open_context(&c))
		return;
	WANT(destroy(c.fd, NO_ID), -ENOENT);
	refused(c.number, "IOMMU_DESTROY", -ENOENT, "object-none", NO_ID);
	WANT(call(c.fd, IOMMU_IOAS_ALLOC, &word), -EINVAL);
	refused(c.number, "IOMMU_IOAS_ALLOC", -EINVAL, "command-too-short", word);
	WANT(call(c.fd, _IO(';', 0xf0), &word), -ENOTTY);
	refused(c.number, "ioctl", -ENOTTY, "command-unknown", _IO(';', 0xf0));
	close_context(&c);
}

static void maps(struct fixture *none)
{
	uint64_t iova = HELD_IOVA;
	struct context c;

	if (!open_context(&c))
		return;
	WANT(map_as(c.fd, c.ioas, FIXED | RW, mem.rw, 2 * PAGE, &iova), 0);
	traced("iommufd_map: context=%llu ioas=%u iova=0x%lx length=0x%lx fd=-1 start=0x%lx "
	       "flags=0x%x errno=0", c.number, c.ioas, HELD_IOVA, 2 * PAGE, PTR(mem.rw),
	       FIXED | RW);
	WANT(map_as(c.fd, c.ioas, READ, mem.rw, PAGE, &iova), 0);
	traced("iommufd_map: context=%llu ioas=%u iova=0x%lx length=0x%lx fd=-1 start=0x%lx "
	       "flags=0x%x errno=0", c.number, c.ioas, iova, PAGE, PTR(mem.rw), READ);
	iova = HELD_IOVA + PAGE;
	WANT(map_as(c.fd, c.ioas, FIXED | RW, mem.rw, PAGE, &iova), -EEXIST);
	traced("iommufd_map: context=%llu ioas=%u iova=0x%lx length=0x%lx fd=-1 start=0x%lx "
	       "flags=0x%x errno=%d", c.number, c.ioas, HELD_IOVA + PAGE, PAGE, PTR(mem.rw),
	       FIXED | RW, -EEXIST);
	refused(c.number, "IOMMU_IOAS_MAP", -EEXIST, "map-exists", HELD_IOVA);
	WANT(unmap(c.fd, c.ioas, HELD_IOVA, 2 * PAGE), 2 * PAGE);
	traced("iommufd_unmap: context=%llu ioas=%u iova=0x%lx length=0x%lx unmapped=0x%lx "
	       "errno=0", c.number, c.ioas, HELD_IOVA, 2 * PAGE, 2 * PAGE);
	WANT(unmap(c.fd, c.ioas, HELD_IOVA, PAGE), -ENOENT);
	traced("iommufd_unmap: context=%llu ioas=%u iova=0x%lx length=0x%lx unmapped=0x0 "
	       "errno=%d", c.number, c.ioas, HELD_IOVA, PAGE, -ENOENT);
	refused(c.number, "IOMMU_IOAS_UNMAP", -ENOENT, "unmap-nothing", HELD_IOVA);
	WANT(unmap_all(c.fd, c.ioas), PAGE);
	traced("iommufd_unmap: context=%llu ioas=%u iova=0x0 length=0x%lx unmapped=0x%lx errno=0",
	       c.number, c.ioas, TOP, PAGE);
	close_context(&c);
}

static void files_and_copies(struct fixture *none)
{
	uint64_t iova = FREE_IOVA, to = FREE_IOVA + HUGE;
	struct context c;
	uint32_t second;
	int file;

	if (!open_context(&c))
		return;
	file = memory_file(4 * PAGE, 0);
	CHECK(file >= 0);
	WANT(map_file(c.fd, c.ioas, FIXED | RW, file, PAGE, 2 * PAGE, &iova), 0);
	traced("iommufd_map: context=%llu ioas=%u iova=0x%lx length=0x%lx fd=%d start=0x%lx "
	       "flags=0x%x errno=0", c.number, c.ioas, FREE_IOVA, 2 * PAGE, file, PAGE, FIXED | RW);
	WANT(ioas_alloc(c.fd, &second), 0);
	traced("iommufd_made: context=%llu id=%u kind=ioas", c.number, second);
	WANT(copy(c.fd, c.ioas, FREE_IOVA, PAGE, FIXED | READ, second, &to), 0);
	traced("iommufd_copy: context=%llu src_ioas=%u src_iova=0x%lx dst_ioas=%u dst_iova=0x%lx "
	       "length=0x%lx flags=0x%x errno=0", c.number, c.ioas, FREE_IOVA, second,
	       FREE_IOVA + HUGE, PAGE, FIXED | READ);
	WANT(copy(c.fd, c.ioas, HELD_IOVA, PAGE, FIXED | READ, second, &to), -ENOENT);
	traced("iommufd_copy: context=%llu src_ioas=%u src_iova=0x%lx dst_ioas=%u dst_iova=0x%lx "
	       "length=0x%lx flags=0x%x errno=%d", c.number, c.ioas, HELD_IOVA, second,
	       FREE_IOVA + HUGE, PAGE, FIXED | READ, -ENOENT);
	refused(c.number, "IOMMU_IOAS_COPY", -ENOENT, "map-gap", HELD_IOVA);
	WANT(destroy(c.fd, second), 0);
	traced("iommufd_destroyed: context=%llu id=%u kind=ioas", c.number, second);
	close(file);
	close_context(&c);
}

/* Reads runs of pages as long as they are those at va, from page *done on. */
static void runs(const char *name, const char *va, uint64_t *done)
{
	const char *event;

	while (*done < NR_PAGES && (event = next_traced())) {
		uint64_t pfn = traced_field(event, "pfn"), end, npages;

		npages = traced_field(event, "npages");
		if (strncmp(event, name, strlen(name)))
			fail("traced %s, expected %s", event, name);
		for (end = *done + npages; *done < end; (*done)++, pfn++)
			if (pfn != phys_of(va + *done * PAGE) / PAGE)
				fail("page %lu of the memory is not in %s", *done, event);
		if (traced_field(event, "writable") != 1)
			fail("not for writing: %s", event);
	}
}

/* The pages that a run names are those of the memory, and each is unpinned once. */
static void pins(struct fixture *none)
{
	uint64_t npages = 0, iova = MOCK_IOVA;
	uint32_t device, dev_id, hwpt;
	const char *event;
	struct context c;
	char *memory;

	memory = mmap(NULL, NR_PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(memory != MAP_FAILED);
	if (!open_context(&c))
		return;
	WANT(mock_device(c.fd, c.ioas, &device, &dev_id, &hwpt), 0);
	while (next_traced())
		;
	trace_pins(true);
	WANT(map_as(c.fd, c.ioas, FIXED | RW, memory, NR_PAGES * PAGE, &iova), 0);
	runs("iommufd_pin: ", memory, &npages);
	if (!on_c_module())
		WANT(npages, NR_PAGES);
	traced("iommufd_map: context=%llu ioas=%u iova=0x%lx length=0x%lx fd=-1 start=0x%lx "
	       "flags=0x%x errno=0", c.number, c.ioas, MOCK_IOVA, NR_PAGES * PAGE, PTR(memory),
	       FIXED | RW);
	WANT(unmap(c.fd, c.ioas, MOCK_IOVA, NR_PAGES * PAGE), NR_PAGES * PAGE);
	npages = 0;
	runs("iommufd_unpin: ", memory, &npages);
	if (!on_c_module())
		WANT(npages, NR_PAGES);
	event = next_traced();
	if (!on_c_module())
		CHECK(event && !strncmp(event, "iommufd_unmap: ", 15));
	trace_pins(false);
	WANT(destroy(c.fd, device), 0);
	while (next_traced())
		;
	munmap(memory, NR_PAGES * PAGE);
	close_context(&c);
}

/* What a VFIO device does. */
static void devices(struct fixture *none)
{
	uint32_t dev_id, hwpt, other, moved, out;
	struct context c;
	int dev;

	dev = open(device_path, O_RDWR | O_CLOEXEC);
	CHECK(dev >= 0);
	if (!open_context(&c))
		return;
	WANT(bind_device(dev, c.fd, &dev_id), 0);
	traced("iommufd_made: context=%llu id=%u kind=device", c.number, dev_id);
	WANT(attach(dev, c.ioas, &hwpt), 0);
	traced("iommufd_made: context=%llu id=%u kind=hwpt-paging", c.number, hwpt);
	traced("iommufd_attach: context=%llu device=%u pasid=0 target=%u hwpt=%u errno=0", c.number,
	       dev_id, c.ioas, hwpt);
	WANT(ioas_alloc(c.fd, &other), 0);
	traced("iommufd_made: context=%llu id=%u kind=ioas", c.number, other);
	WANT(hwpt_alloc(c.fd, dev_id, other, &moved), 0);
	traced("iommufd_made: context=%llu id=%u kind=hwpt-paging", c.number, moved);
	WANT(attach(dev, moved, &out), 0);
	traced("iommufd_destroyed: context=%llu id=%u kind=hwpt-paging", c.number, hwpt);
	traced("iommufd_replace: context=%llu device=%u pasid=0 target=%u hwpt=%u errno=0", c.number,
	       dev_id, moved, moved);
	WANT(attach(dev, NO_ID, &out), -ENOENT);
	traced("iommufd_replace: context=%llu device=%u pasid=0 target=%u hwpt=0 errno=%d", c.number,
	       dev_id, NO_ID, -ENOENT);
	refused(c.number, "replace", -ENOENT, "object-none", NO_ID);
	WANT(detach(dev), 0);
	traced("iommufd_detach: context=%llu device=%u pasid=0", c.number, dev_id);
	WANT(destroy(c.fd, moved), 0);
	traced("iommufd_destroyed: context=%llu id=%u kind=hwpt-paging", c.number, moved);
	WANT(destroy(c.fd, other), 0);
	traced("iommufd_destroyed: context=%llu id=%u kind=ioas", c.number, other);
	close(dev);
	traced("iommufd_destroyed: context=%llu id=%u kind=device", c.number, dev_id);
	close_context(&c);
}

static void pasids(struct fixture *none)
{
	uint32_t device, dev_id, tables;
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd), .flags = IOMMU_HWPT_ALLOC_PASID };
	struct context c;

	if (!open_context(&c))
		return;
	WANT(mock_device_flags(c.fd, c.ioas, MOCK_FLAGS_DEVICE_PASID, &device, &dev_id), 0);
	cmd.dev_id = dev_id;
	cmd.pt_id = c.ioas;
	WANT(call(c.fd, IOMMU_HWPT_ALLOC, &cmd), 0);
	tables = cmd.out_hwpt_id;
	WANT(mock_replace(c.fd, device, tables), 0);
	while (next_traced())
		;
	WANT(pasid_attach(c.fd, device, 5, tables), 0);
	traced("iommufd_attach: context=%llu device=%u pasid=5 target=%u hwpt=%u errno=0", c.number,
	       dev_id, tables, tables);
	WANT(pasid_replace(c.fd, device, 5, tables), 0);
	traced("iommufd_replace: context=%llu device=%u pasid=5 target=%u hwpt=%u errno=0",
	       c.number, dev_id, tables, tables);
	WANT(pasid_detach(c.fd, device, 5), 0);
	traced("iommufd_detach: context=%llu device=%u pasid=5", c.number, dev_id);
	nothing_traced();
	WANT(destroy(c.fd, device), 0);
	WANT(destroy(c.fd, tables), 0);
	while (next_traced())
		;
	close_context(&c);
}

/* Forgets the events so far, and returns the number of the context. */
static unsigned long long skip_events(void)
{
	unsigned long long number = 0;
	const char *event;

	while ((event = next_traced()))
		number = traced_field(event, "context");
	return number;
}

static void page_faults(struct fixture *none)
{
	unsigned long long number;
	struct queue q;

	if (!trace_on() || !open_queue(&q))
		return;
	number = skip_events();
	WANT(fault_with(&q, NO_PASID, 7), 0);
	traced("iommufd_fault: context=%llu queue=%u device=%u pasid=0 group=7 perm=0x%x addr=0x%lx",
	       number, q.id, q.dev_id, IOMMU_PGFAULT_PERM_READ | IOMMU_PGFAULT_PERM_WRITE,
	       ADDR + 7 * PAGE);
	nothing_traced();
	WANT(get(q.file, faults, FAULT), FAULT);
	WANT(answer(&q, faults->cookie, BAD), ANSWER);
	traced("iommufd_fault_answer: context=%llu queue=%u device=%u cookie=%u faults=1 code=%u",
	       number, q.id, q.dev_id, faults->cookie, BAD);
	WANT(answer(&q, faults->cookie, GOOD), -EINVAL);
	refused(number, "answer faults", -EINVAL, "fault-cookie", faults->cookie);
	nothing_traced();
	close_queue(&q);
	skip_events();
	trace_off();
}

static void invalidations(struct fixture *none)
{
	struct iommu_hwpt_invalidate_selftest requests[3] = {
		{ .iotlb_id = 0 }, { .iotlb_id = 1 }, { .flags = 1 << 7 },
	};
	unsigned long long number;
	struct caches c;

	if (!trace_on() || !open_caches(&c))
		return;
	number = skip_events();
	WANT_DONE(invalidate(c.g.fd, c.hwpt, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST, requests,
			     sizeof(requests[0]), 2), 0, 2);
	/* The mock is driven by the kernel's own interface, which does not tell of submissions. */
	traced("iommufd_invalidate: context=%llu object=%u type=%u asked=2 done=2 submissions=-1 "
	       "errno=0", number, c.hwpt, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST);
	WANT_DONE(invalidate(c.g.fd, c.hwpt, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST, requests,
			     sizeof(requests[0]), 3), -EOPNOTSUPP, 2);
	traced("iommufd_invalidate: context=%llu object=%u type=%u asked=3 done=2 submissions=-1 "
	       "errno=%d", number, c.hwpt, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST, -EOPNOTSUPP);
	refused(number, "IOMMU_HWPT_INVALIDATE", -EOPNOTSUPP, "invalidate-request", 2);
	WANT_DONE(forget_cache(c.g.fd, c.g.viommu, VIRT_ID, 0, 0), 0, 1);
	traced("iommufd_invalidate: context=%llu object=%u type=%u asked=1 done=1 submissions=-1 "
	       "errno=0", number, c.g.viommu, IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST);
	close_caches(&c);
	skip_events();
	trace_off();
}

/* The second event has no room in the queue. */
static void vevents(struct fixture *none)
{
	struct iommu_veventq_alloc queue = {
		.size = sizeof(queue), .type = IOMMU_VEVENTQ_TYPE_SELFTEST, .veventq_depth = 1,
	};
	struct iommu_test_cmd trigger = { .op = IOMMU_TEST_OP_TRIGGER_VEVENT };
	size_t length = sizeof(struct iommu_viommu_event_selftest);
	unsigned long long number;
	uint32_t nested_id;
	struct caches c;

	if (!trace_on() || !open_caches(&c))
		return;
	queue.viommu_id = c.g.viommu;
	WANT(call(c.g.fd, IOMMU_VEVENTQ_ALLOC, &queue), 0);
	WANT(nested(&c.g, c.g.viommu, 0, &nested_id), 0);
	WANT(mock_replace(c.g.fd, c.g.device, nested_id), 0);
	number = skip_events();
	trigger.trigger_vevent.dev_id = c.g.dev_id;
	WANT(mock_op(c.g.fd, &trigger), 0);
	traced("iommufd_vevent: context=%llu viommu=%u type=%u number=0 length=%zu errno=0", number,
	       c.g.viommu, queue.type, length);
	WANT(mock_op(c.g.fd, &trigger), 0);
	traced("iommufd_vevent: context=%llu viommu=%u type=%u number=1 length=%zu errno=%d",
	       number, c.g.viommu, queue.type, length, -ENOSPC);
	nothing_traced();
	close(queue.out_veventq_fd);
	WANT(destroy(c.g.fd, queue.out_veventq_id), 0);
	WANT(mock_replace(c.g.fd, c.g.device, c.g.ioas), 0);
	WANT(destroy(c.g.fd, nested_id), 0);
	close_caches(&c);
	skip_events();
	trace_off();
}

/* With the tracepoints off nothing is recorded. */
static void off(struct fixture *none)
{
	uint32_t second;
	struct context c;

	if (!open_context(&c))
		return;
	trace_off();
	WANT(ioas_alloc(c.fd, &second), 0);
	WANT(destroy(c.fd, second), 0);
	WANT(destroy(c.fd, second), -ENOENT);
	nothing_traced();
	close(c.fd);
	nothing_traced();
}

static const struct test tests[] = {
	{ "objects are made and destroyed", objects, ALONE },
	{ "two contexts", contexts, ALONE },
	{ "refused commands", refusals, ALONE },
	{ "maps and unmaps", maps, ALONE },
	{ "files and copies", files_and_copies, ALONE },
	{ "runs of pinned pages", pins, ALONE },
	{ "a device is bound, attached, moved and detached", devices, ALONE },
	{ "a PASID is attached, moved and detached", pasids, ALONE },
	{ "page faults and answers", page_faults, ALONE },
	{ "invalidations", invalidations, ALONE },
	{ "events of a vIOMMU", vevents, ALONE },
	{ "nothing while they are off", off, ALONE },
};

static const struct suite tracing = { "tracing", NULL, 0, tests, ARRAY_SIZE(tests) };

const struct suite *const suites[] = { &tracing };
const unsigned int nr_suites = ARRAY_SIZE(suites);
