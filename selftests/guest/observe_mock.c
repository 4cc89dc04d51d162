// SPDX-License-Identifier: GPL-2.0-only
/* fdinfo of what the mock IOMMU has and the emulated VT-d has not: vIOMMUs, page faults, PASIDs, accesses. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fault_call.h"
#include "observe.h"
#include "viommu_call.h"

#define PASID	5

static void counts(struct caches *c, int vdevices, int veventqs, int queues, int lost, int done)
{
	uint32_t id = c->g.viommu;

	want_number(c->g.fd, of("viommu", id, "vdevices"), vdevices);
	want_number(c->g.fd, of("viommu", id, "veventqs"), veventqs);
	want_number(c->g.fd, of("viommu", id, "hw-queues"), queues);
	want_number(c->g.fd, of("viommu", id, "events-lost"), lost);
	want_number(c->g.fd, of("viommu", id, "invalidations"), done);
}

static void a_viommu(struct fixture *none)
{
	struct iommu_viommu_invalidate_selftest requests[3] = {
		{ .vdev_id = VIRT_ID, .cache_id = 0 }, { .vdev_id = VIRT_ID, .cache_id = 1 },
		{ .flags = 1 << 7 },
	};
	struct caches c;
	uint32_t queue, pages;

	if (!open_caches(&c))
		return;
	want_number(c.g.fd, "objects-viommu", 1);
	want_number(c.g.fd, "objects-vdevice", 1);
	want_number(c.g.fd, "objects-hwpt-nested", 1);
	want_number(c.g.fd, of("viommu", c.g.viommu, "parent"), c.g.parent);
	want_number(c.g.fd, of("viommu", c.g.viommu, "type"), IOMMU_VIOMMU_TYPE_SELFTEST);
	want_text(c.g.fd, of("hwpt-paging", c.g.parent, "parent"), "yes");
	want_number(c.g.fd, of("hwpt-nested", c.hwpt, "parent"), c.g.parent);
	want_number(c.g.fd, of("hwpt-nested", c.hwpt, "type"), IOMMU_HWPT_DATA_SELFTEST);
	want_number(c.g.fd, of("vdevice", c.vdev, "viommu"), c.g.viommu);
	want_number(c.g.fd, of("vdevice", c.vdev, "device"), c.g.dev_id);
	want_number(c.g.fd, of("vdevice", c.vdev, "virtual-id"), VIRT_ID);
	counts(&c, 1, 0, 0, 0, 0);

	/* Two of three requests are carried out. */
	WANT_DONE(invalidate(c.g.fd, c.g.viommu, IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST, requests,
			     sizeof(requests[0]), 3), -EOPNOTSUPP, 2);
	counts(&c, 1, 0, 0, 0, 2);
	want_number(c.g.fd, "invalidations", 2);
	/* Those of page tables count for the context. */
	WANT_DONE(forget_iotlb(c.g.fd, c.hwpt, 0, 0), 0, 1);
	counts(&c, 1, 0, 0, 0, 2);
	want_number(c.g.fd, "invalidations", 3);

	/* Page tables on the vIOMMU. */
	WANT(nested(&c.g, c.g.viommu, 0, &pages), 0);
	want_number(c.g.fd, of("hwpt-nested", pages, "viommu"), c.g.viommu);
	WANT(destroy(c.g.fd, pages), 0);

	WANT(map(c.g.fd, c.g.ioas, mem.rw, PAGE, MOCK_IOVA), 0);
	WANT(hw_queue(&c.g, c.g.viommu, 0, MOCK_IOVA, PAGE, &queue), 0);
	counts(&c, 1, 0, 1, 0, 2);
	want_number(c.g.fd, of("hw-queue", queue, "viommu"), c.g.viommu);
	want_number(c.g.fd, of("hw-queue", queue, "type"), IOMMU_HW_QUEUE_TYPE_SELFTEST);
	want_number(c.g.fd, of("hw-queue", queue, "index"), 0);
	WANT(destroy(c.g.fd, queue), 0);
	counts(&c, 1, 0, 0, 0, 2);
	WANT(unmap_all(c.g.fd, c.g.ioas), PAGE);
	WANT(destroy(c.g.fd, c.vdev), 0);
	counts(&c, 0, 0, 0, 0, 2);
	want_number(c.g.fd, "objects-vdevice", 0);
	WANT(vdevice(c.g.fd, c.g.viommu, c.g.dev_id, VIRT_ID, &c.vdev), 0);
	close_caches(&c);
}

/* A queue for two events gets three. */
static void its_events(struct fixture *none)
{
	struct iommu_veventq_alloc queue = {
		.size = sizeof(queue), .type = IOMMU_VEVENTQ_TYPE_SELFTEST, .veventq_depth = 2,
	};
	struct iommu_test_cmd trigger = { .op = IOMMU_TEST_OP_TRIGGER_VEVENT };
	char text[4096];
	uint32_t tables, id;
	struct caches c;
	int file;

	if (!open_caches(&c))
		return;
	queue.viommu_id = c.g.viommu;
	WANT(call(c.g.fd, IOMMU_VEVENTQ_ALLOC, &queue), 0);
	id = queue.out_veventq_id;
	file = queue.out_veventq_fd;
	counts(&c, 1, 1, 0, 0, 0);
	want_number(c.g.fd, of("veventq", id, "viommu"), c.g.viommu);
	want_number(c.g.fd, of("veventq", id, "type"), IOMMU_VEVENTQ_TYPE_SELFTEST);
	want_number(c.g.fd, of("veventq", id, "depth"), 2);
	want_number(c.g.fd, of("veventq", id, "waiting"), 0);
	WANT(nested(&c.g, c.g.viommu, 0, &tables), 0);
	WANT(mock_replace(c.g.fd, c.g.device, tables), 0);
	trigger.trigger_vevent.dev_id = c.g.dev_id;
	for (unsigned int i = 0; i < 3; i++)
		WANT(mock_op(c.g.fd, &trigger), 0);
	want_number(c.g.fd, of("veventq", id, "waiting"), 2);
	want_number(c.g.fd, of("veventq", id, "lost"), 1);
	counts(&c, 1, 1, 0, 1, 0);
	/* The queue's own file says what it holds, and whose it is. */
	want_number(file, "context", key_number(read_fdinfo(c.g.fd), "iommufd-context"));
	want_number(file, of("veventq", id, "viommu"), c.g.viommu);
	want_number(file, of("veventq", id, "waiting"), 2);
	want_number(file, of("veventq", id, "lost"), 1);
	CHECK(get(file, text, sizeof(text)) > 0);
	want_number(c.g.fd, of("veventq", id, "waiting"), 0);
	want_number(file, of("veventq", id, "waiting"), 0);
	close(file);
	WANT(destroy(c.g.fd, id), 0);
	counts(&c, 1, 0, 0, 1, 0);
	WANT(mock_replace(c.g.fd, c.g.device, c.g.ioas), 0);
	WANT(destroy(c.g.fd, tables), 0);
	close_caches(&c);
}

static void page_faults(struct fixture *none)
{
	uint32_t other;
	struct queue q;

	if (!open_queue(&q))
		return;
	want_number(q.fd, of("hwpt-paging", q.hwpt, "fault-queue"), q.id);
	want_number(q.fd, of("hwpt-paging", q.hwpt, "faults-pending"), 0);
	want_number(q.fd, of("hwpt-paging", q.automatic, "fault-queue"), -1);
	/* Other page tables, whose faults the same queue gets. */
	WANT(fault_hwpt(&q, 0, q.id, &other), 0);
	WANT(fault_many(&q, 3), 0);
	want_number(q.fd, of("fault-queue", q.id, "waiting"), 3);
	want_number(q.file, of("fault-queue", q.id, "waiting"), 3);
	want_number(q.fd, of("hwpt-paging", q.hwpt, "faults-pending"), 3);
	want_number(q.fd, of("hwpt-paging", other, "faults-pending"), 0);
	WANT(get(q.file, faults, 2 * FAULT), 2 * FAULT);
	want_number(q.file, of("fault-queue", q.id, "waiting"), 1);
	want_number(q.file, of("fault-queue", q.id, "unanswered"), 2);
	want_number(q.fd, of("hwpt-paging", q.hwpt, "faults-pending"), 3);
	WANT(answer(&q, faults[0].cookie, GOOD), ANSWER);
	want_number(q.file, of("fault-queue", q.id, "unanswered"), 1);
	want_number(q.fd, of("hwpt-paging", q.hwpt, "faults-pending"), 2);
	/* Where the device is detached its faults are answered. */
	WANT(replace(&q, other), 0);
	want_number(q.fd, of("hwpt-paging", q.hwpt, "faults-pending"), 0);
	want_number(q.file, of("fault-queue", q.id, "unanswered"), 0);
	WANT(fault_with(&q, NO_PASID, 9), 0);
	want_number(q.fd, of("hwpt-paging", other, "faults-pending"), 1);
	want_number(q.file, of("fault-queue", q.id, "reported"), 4);
	WANT(replace(&q, q.hwpt), 0);
	WANT(destroy(q.fd, other), 0);
	close_queue(&q);
}

static void pasids(struct fixture *none)
{
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd), .flags = IOMMU_HWPT_ALLOC_PASID };
	uint32_t device, dev_id, ioas, hwpt;
	int fd = open_iommu();

	CHECK(fd >= 0);
	WANT(ioas_alloc(fd, &ioas), 0);
	WANT(mock_device_flags(fd, ioas, MOCK_FLAGS_DEVICE_PASID, &device, &dev_id), 0);
	WANT(hwpt_alloc(fd, dev_id, ioas, &hwpt), 0);
	cmd.dev_id = dev_id;
	cmd.pt_id = ioas;
	WANT(call(fd, IOMMU_HWPT_ALLOC, &cmd), 0);
	want_text(fd, of("hwpt-paging", hwpt, "pasid"), "no");
	want_text(fd, of("hwpt-paging", cmd.out_hwpt_id, "pasid"), "yes");
	WANT(mock_replace(fd, device, cmd.out_hwpt_id), 0);
	want_number(fd, of("device", dev_id, "pasid-5-hwpt"), -1);
	WANT(pasid_attach(fd, device, PASID, cmd.out_hwpt_id), 0);
	want_number(fd, of("device", dev_id, "pasid-5-hwpt"), cmd.out_hwpt_id);
	want_number(fd, of("ioas", ioas, "attachments"), 2);
	WANT(pasid_detach(fd, device, PASID), 0);
	want_number(fd, of("device", dev_id, "pasid-5-hwpt"), -1);
	want_number(fd, of("ioas", ioas, "attachments"), 1);
	WANT(destroy(fd, device), 0);
	close(fd);
}

static void tracking(struct fixture *none)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
	};
	struct iommu_hwpt_set_dirty_tracking set = { .size = sizeof(set) };
	uint32_t device;
	int fd = open_iommu();

	CHECK(fd >= 0);
	WANT(ioas_alloc(fd, &alloc.pt_id), 0);
	WANT(mock_device_flags(fd, alloc.pt_id, 0, &device, &alloc.dev_id), 0);
	WANT(call(fd, IOMMU_HWPT_ALLOC, &alloc), 0);
	set.hwpt_id = alloc.out_hwpt_id;
	want_text(fd, of("hwpt-paging", set.hwpt_id, "dirty-tracking"), "off");
	set.flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE;
	WANT(call(fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set), 0);
	want_text(fd, of("hwpt-paging", set.hwpt_id, "dirty-tracking"), "on");
	set.flags = 0;
	WANT(call(fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set), 0);
	want_text(fd, of("hwpt-paging", set.hwpt_id, "dirty-tracking"), "off");
	close(fd);
}

/* Finds the only access, whose id the mock does not tell, and checks its address space. */
static void want_access(int fd, uint32_t ioas)
{
	const char *line;
	uint32_t id;

	if (on_c_module())
		return;
	line = strstr(read_fdinfo(fd), "iommufd-access-");
	CHECK(line && sscanf(line, "iommufd-access-%u-", &id) == 1);
	want_number(fd, of("access", id, "ioas"), ioas);
}

static void accesses(struct fixture *none)
{
	uint32_t one, two, pin;
	int fd = open_iommu(), access;

	CHECK(fd >= 0);
	WANT(ioas_alloc(fd, &one), 0);
	WANT(ioas_alloc(fd, &two), 0);
	access = access_open(fd, one, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);
	CHECK(access >= 0);
	want_number(fd, "objects-access", 1);
	want_number(fd, of("ioas", one, "accesses"), 1);
	want_access(fd, one);
	WANT(map(fd, one, mem.rw, 2 * PAGE, MOCK_IOVA), 0);
	want_text(fd, "pinned", "0 KiB");
	WANT(access_pin(fd, access, MOCK_IOVA, PAGE, mem.rw, &pin), 0);
	want_text(fd, "pinned", "4 KiB");
	WANT(access_unpin(fd, access, pin), 0);
	want_text(fd, "pinned", "0 KiB");
	WANT(access_replace(fd, access, two), 0);
	want_number(fd, of("ioas", one, "accesses"), 0);
	want_number(fd, of("ioas", two, "accesses"), 1);
	want_access(fd, two);
	close(access);
	want_number(fd, "objects-access", 0);
	close(fd);
}

static const struct test tests[] = {
	{ "a vIOMMU and what is made on it", a_viommu, ALONE },
	{ "events of a vIOMMU", its_events, ALONE },
	{ "page faults that are not answered", page_faults, ALONE },
	{ "a PASID", pasids, ALONE },
	{ "dirty tracking", tracking, ALONE },
	{ "an emulated device", accesses, ALONE },
};

const struct suite mock_suite = { "mock", NULL, 0, tests, ARRAY_SIZE(tests) };
