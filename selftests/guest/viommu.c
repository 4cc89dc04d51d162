// SPDX-License-Identifier: GPL-2.0-only
/*
 * vIOMMUs and nested page tables of mock devices: how they are made, what keeps what from being
 * destroyed, and what devices can be attached to.
 *
 * Usage: viommu none [SUITE]
 */
#include <string.h>
#include <unistd.h>

#include "viommu.h"

const struct suite *const suites[] = {
	&viommu_suite, &vdevice_suite, &invalidate_suite, &event_suite, &viommu_race_suite,
	&hw_queue_suite, &mmap_suite, &viommu_bugs_suite, &viommu_data_suite,
	&late_suite,
};
const unsigned int nr_suites = ARRAY_SIZE(suites);

static void alloc_wrong(struct fixture *none)
{
	struct guest g;
	uint32_t plain, before, after, i;

	if (!open_guest(&g))
		return;
	WANT(tables(&g, 0, &plain), 0);
	{
		const struct iommu_viommu_alloc good = {
			.size = sizeof(good), .type = IOMMU_VIOMMU_TYPE_SELFTEST,
			.dev_id = g.dev_id, .hwpt_id = g.parent,
		};
		struct {
			const char *name;
			struct iommu_viommu_alloc cmd;
			int want;
			const char *why;
		} table[] = {
			{ "flags", good, -EOPNOTSUPP, "command-flags" },
			{ "no type", good, -EOPNOTSUPP, "viommu-type" },
			{ "unknown type", good, -EOPNOTSUPP, "viommu-type" },
			{ "unknown type, no parent", good, -EOPNOTSUPP, "viommu-type" },
			{ "no device", good, -ENOENT, "object-none" },
			{ "a device that is none", good, -ENOENT, "object-kind" },
			{ "no parent", good, -ENOENT, "object-none" },
			{ "a parent that is an IOAS", good, -ENOENT, "object-kind" },
			{ "a parent that cannot be one", good, -EINVAL, "viommu-not-parent" },
			{ "an automatic parent", good, -EINVAL, "viommu-not-parent" },
			{ "short", good, -EINVAL, "command-too-short" },
		};

		table[0].cmd.flags = 1;
		table[1].cmd.type = IOMMU_VIOMMU_TYPE_DEFAULT;
		table[2].cmd.type = 0xdead;
		table[3].cmd.type = 0xdead;
		table[3].cmd.hwpt_id = NO_ID;
		table[4].cmd.dev_id = NO_ID;
		table[5].cmd.dev_id = g.device;
		table[6].cmd.hwpt_id = NO_ID;
		table[7].cmd.hwpt_id = g.ioas;
		table[8].cmd.hwpt_id = plain;
		table[9].cmd.hwpt_id = g.automatic;
		table[10].cmd.size = offsetof(struct iommu_viommu_alloc, out_viommu_id);
		WANT(ioas_alloc(g.fd, &before), 0);
		for (i = 0; i < ARRAY_SIZE(table); i++) {
			struct refusal refused;
			int r;

			last_refusal(g.fd, &refused);
			r = call(g.fd, IOMMU_VIOMMU_ALLOC, &table[i].cmd);
			check_refusal(g.fd, &refused, r, table[i].why, table[i].name);
			if (r != table[i].want)
				fail("%s: got %s", table[i].name, errno_name(r));
		}
		WANT_WHY(g.fd, call(g.fd, IOMMU_VIOMMU_ALLOC, read_only(&good, sizeof(good))),
			 -EFAULT, "user-memory");
		/* No object is left: the next id is free. */
		WANT(ioas_alloc(g.fd, &after), 0);
		WANT(after, before + 1);
	}
	WANT(destroy(g.fd, before), 0);
	WANT(destroy(g.fd, after), 0);
	WANT(destroy(g.fd, plain), 0);
	close_guest(&g);
}

static void reserved(struct fixture *none)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = IOMMU_VIOMMU_TYPE_SELFTEST, .__reserved = 1,
	};
	struct guest g;

	if (!open_guest(&g))
		return;
	cmd.dev_id = g.dev_id;
	cmd.hwpt_id = g.parent;
	WANT_FINDING("4", call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd), -EOPNOTSUPP, 0);
	if (on_c_module())
		WANT(destroy(g.fd, cmd.out_viommu_id), 0);
	close_guest(&g);
}

static void nested_wrong(struct fixture *none)
{
	struct iommu_hwpt_selftest data = { .iotlb = IOTLB };
	uint32_t bases[2], plain, id, i;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(tables(&g, 0, &plain), 0);
	bases[0] = g.parent;
	bases[1] = g.viommu;
	for (i = 0; i < ARRAY_SIZE(bases); i++) {
		struct iommu_hwpt_alloc cmd = {
			.size = sizeof(cmd), .dev_id = g.dev_id, .pt_id = bases[i],
		};
		uint32_t on_top;

		/* The mock makes nested page tables only with data. */
		WANT_WHY(g.fd, call(g.fd, IOMMU_HWPT_ALLOC, &cmd), -EOPNOTSUPP, "hwpt-nested-flags");
		cmd.data_len = sizeof(data);
		cmd.data_uptr = PTR(&data);
		WANT_WHY(g.fd, call(g.fd, IOMMU_HWPT_ALLOC, &cmd), -EINVAL, "hwpt-data");
		cmd.data_type = IOMMU_HWPT_DATA_SELFTEST;
		cmd.data_len = 0;
		WANT_WHY(g.fd, call(g.fd, IOMMU_HWPT_ALLOC, &cmd), -EINVAL, "hwpt-data");
		cmd.data_len = 1;
		WANT_WHY(g.fd, call(g.fd, IOMMU_HWPT_ALLOC, &cmd), -EINVAL, "hwpt-nested-driver");
		cmd.data_len = sizeof(data);
		cmd.data_type++;
		WANT_WHY(g.fd, call(g.fd, IOMMU_HWPT_ALLOC, &cmd), -EOPNOTSUPP, "hwpt-nested-driver");
		cmd.data_type--;
		cmd.data_uptr = PTR(mem.gone);
		WANT_WHY(g.fd, call(g.fd, IOMMU_HWPT_ALLOC, &cmd), -EFAULT, "user-memory");
		cmd.data_uptr = PTR(&data);
		WANT_WHY(g.fd, call(g.fd, IOMMU_HWPT_ALLOC, read_only(&cmd, sizeof(cmd))), -EFAULT,
			 "user-memory");
		WANT_WHY(g.fd, nested(&g, bases[i], IOMMU_HWPT_ALLOC_NEST_PARENT, &id), -EOPNOTSUPP,
			 "hwpt-nested-flags");
		WANT_WHY(g.fd, nested(&g, bases[i], IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &id),
			 -EOPNOTSUPP, "hwpt-nested-flags");
		WANT_WHY(g.fd, nested(&g, bases[i], 1u << 31, &id), -EOPNOTSUPP, "hwpt-nested-flags");
		WANT_WHY(g.fd, nested(&g, bases[i], IOMMU_HWPT_FAULT_ID_VALID, &id), -ENOENT,
			 "object-none");
		/* Nested page tables cannot be a parent. */
		WANT(nested(&g, bases[i], 0, &on_top), 0);
		WANT_WHY(g.fd, nested(&g, on_top, 0, &id), -EINVAL, "hwpt-parent-kind");
		WANT_WHY(g.fd, viommu(&g, on_top, &id), -ENOENT, "object-kind");
		WANT(destroy(g.fd, on_top), 0);
	}
	WANT_WHY(g.fd, nested(&g, plain, 0, &id), -EINVAL, "hwpt-not-parent");
	WANT_WHY(g.fd, nested(&g, g.automatic, 0, &id), -EINVAL, "hwpt-not-parent");
	WANT_WHY(g.fd, nested(&g, g.dev_id, 0, &id), -EINVAL, "hwpt-parent-kind");
	WANT_WHY(g.fd, nested(&g, NO_ID, 0, &id), -EINVAL, "object-none");
	/* Unknown flags take precedence. */
	WANT_WHY(g.fd, nested(&g, plain, 1u << 31, &id), -EOPNOTSUPP, "hwpt-nested-flags");
	WANT(destroy(g.fd, plain), 0);
	close_guest(&g);
}

static void order(struct fixture *none)
{
	uint32_t on_parent, on_viommu, vdev;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(nested(&g, g.parent, 0, &on_parent), 0);
	WANT(nested(&g, g.viommu, 0, &on_viommu), 0);
	WANT(vdevice(g.fd, g.viommu, g.dev_id, VIRT_ID, &vdev), 0);
	WANT_WHY(g.fd, destroy(g.fd, g.parent), -EBUSY, "object-in-use");
	WANT_WHY(g.fd, destroy(g.fd, g.viommu), -EBUSY, "object-in-use");
	WANT_WHY(g.fd, destroy(g.fd, g.ioas), -EBUSY, "object-in-use");
	WANT(destroy(g.fd, vdev), 0);
	WANT_WHY(g.fd, destroy(g.fd, g.viommu), -EBUSY, "object-in-use");
	WANT(destroy(g.fd, on_viommu), 0);
	WANT(destroy(g.fd, g.viommu), 0);
	WANT_WHY(g.fd, destroy(g.fd, g.parent), -EBUSY, "object-in-use");
	WANT(viommu(&g, g.parent, &g.viommu), 0);
	WANT(destroy(g.fd, on_parent), 0);
	WANT_WHY(g.fd, destroy(g.fd, g.parent), -EBUSY, "object-in-use");
	close_guest(&g);
}

/* Closing the file frees all objects, whatever refers to what. */
static void closed(struct fixture *none)
{
	uint32_t on_parent, on_viommu, vdev;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(nested(&g, g.parent, 0, &on_parent), 0);
	WANT(nested(&g, g.viommu, 0, &on_viommu), 0);
	WANT(vdevice(g.fd, g.viommu, g.dev_id, VIRT_ID, &vdev), 0);
	WANT(mock_replace(g.fd, g.device, on_viommu), 0);
	close(g.fd);
	if (!open_guest(&g))
		return;
	WANT(nested(&g, g.parent, 0, &on_parent), 0);
	WANT(mock_replace(g.fd, g.device, on_parent), 0);
	close(g.fd);
}

static void attached(struct fixture *none)
{
	uint32_t one, two, on_viommu, vdev, device, dev_id, hwpt;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(nested(&g, g.parent, 0, &one), 0);
	WANT(nested(&g, g.parent, 0, &two), 0);
	WANT(nested(&g, g.viommu, 0, &on_viommu), 0);
	WANT(mock_replace(g.fd, g.device, one), 0);
	WANT_WHY(g.fd, destroy(g.fd, one), -EBUSY, "object-in-use");
	/* The automatic page tables were destroyed with their last attachment. */
	WANT_WHY(g.fd, destroy(g.fd, g.automatic), -ENOENT, "object-none");
	WANT(mock_replace(g.fd, g.device, one), 0);
	/* A device without a vDEVICE cannot be attached to page tables on the vIOMMU. */
	WANT_WHY(g.fd, mock_replace(g.fd, g.device, on_viommu), -ENOENT, "attach-driver");
	WANT_WHY(g.fd, destroy(g.fd, one), -EBUSY, "object-in-use");
	WANT(vdevice(g.fd, g.viommu, g.dev_id, VIRT_ID, &vdev), 0);
	WANT(mock_replace(g.fd, g.device, on_viommu), 0);
	WANT(destroy(g.fd, one), 0);
	WANT_WHY(g.fd, destroy(g.fd, on_viommu), -EBUSY, "object-in-use");
	/* A new device can be attached to nested page tables at once. */
	WANT(mock_device(g.fd, two, &device, &dev_id, &hwpt), 0);
	WANT(hwpt, two);
	WANT_WHY(g.fd, mock_device(g.fd, on_viommu, &device, &dev_id, &hwpt), -ENOENT, "attach-driver");
	WANT_WHY(g.fd, mock_replace(g.fd, g.device, g.viommu), -EINVAL, "attach-kind");
	WANT_WHY(g.fd, mock_replace(g.fd, g.device, vdev), -EINVAL, "attach-kind");
	WANT_WHY(g.fd, destroy(g.fd, two), -EBUSY, "object-in-use");
	WANT(destroy(g.fd, device), 0);
	WANT(destroy(g.fd, two), 0);
	WANT(mock_replace(g.fd, g.device, g.parent), 0);
	WANT(destroy(g.fd, on_viommu), 0);
	WANT(destroy(g.fd, vdev), 0);
	WANT(mock_replace(g.fd, g.device, g.ioas), 0);
	close_guest(&g);
}

/* The parent's IOAS stays mapped while a device is attached to nested page tables. */
static void parent_maps(struct fixture *none)
{
	uint32_t id;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(nested(&g, g.parent, 0, &id), 0);
	WANT(mock_replace(g.fd, g.device, id), 0);
	WANT(map(g.fd, g.ioas, mem.rw, 4 * PAGE, MOCK_IOVA), 0);
	WANT(mock_check(g.fd, g.parent, MOCK_IOVA, mem.rw, 4 * PAGE), 0);
	WANT(mock_check(g.fd, id, MOCK_IOVA, mem.rw, 4 * PAGE), -ENOENT);
	WANT(unmap(g.fd, g.ioas, MOCK_IOVA, 4 * PAGE), 4 * PAGE);
	WANT(mock_replace(g.fd, g.device, g.ioas), 0);
	WANT(destroy(g.fd, id), 0);
	close_guest(&g);
}

/* Dirty tracking is the parent's. */
static void dirty(struct fixture *none)
{
	struct iommu_hwpt_set_dirty_tracking track = {
		.size = sizeof(track), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};
	uint64_t bits = 0;
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .iova = MOCK_IOVA, .length = PAGE, .page_size = PAGE,
		.data = PTR(&bits),
	};
	struct guest g;
	uint32_t id;

	if (!open_guest(&g))
		return;
	WANT(nested(&g, g.parent, 0, &id), 0);
	track.hwpt_id = get.hwpt_id = id;
	WANT_WHY(g.fd, call(g.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &track), -ENOENT, "object-kind");
	WANT_WHY(g.fd, call(g.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), -ENOENT, "object-kind");
	track.hwpt_id = get.hwpt_id = g.viommu;
	WANT_WHY(g.fd, call(g.fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &track), -ENOENT, "object-kind");
	WANT_WHY(g.fd, call(g.fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), -ENOENT, "object-kind");
	WANT(destroy(g.fd, id), 0);
	close_guest(&g);
}

static int fault(struct guest *g, uint32_t pasid)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_TRIGGER_IOPF,
		.trigger_iopf = {
			.dev_id = g->dev_id, .pasid = pasid, .grpid = 1, .addr = MOCK_IOVA,
			.perm = IOMMU_PGFAULT_PERM_READ,
		},
	};

	return mock_op(g->fd, &cmd);
}

/*
 * With nested page tables the faults of all PASIDs go to their queue, since the guest manages
 * PASIDs.
 */
static void faults(struct fixture *none)
{
	struct iommu_fault_alloc queue = { .size = sizeof(queue) };
	struct iommu_hwpt_page_response answer = { .code = IOMMUFD_PAGE_RESP_SUCCESS };
	struct iommu_hwpt_selftest data = { .iotlb = IOTLB };
	struct iommu_hwpt_pgfault got;
	uint32_t bases[2], vdev, i;
	struct guest g;

	if (!open_guest(&g))
		return;
	WANT(call(g.fd, IOMMU_FAULT_QUEUE_ALLOC, &queue), 0);
	WANT(vdevice(g.fd, g.viommu, g.dev_id, VIRT_ID, &vdev), 0);
	bases[0] = g.parent;
	bases[1] = g.viommu;
	for (i = 0; i < ARRAY_SIZE(bases); i++) {
		struct iommu_hwpt_alloc cmd = {
			.size = sizeof(cmd), .flags = IOMMU_HWPT_FAULT_ID_VALID,
			.dev_id = g.dev_id, .pt_id = bases[i], .fault_id = queue.out_fault_id,
			.data_type = IOMMU_HWPT_DATA_SELFTEST, .data_len = sizeof(data),
			.data_uptr = PTR(&data),
		};

		WANT(call(g.fd, IOMMU_HWPT_ALLOC, &cmd), 0);
		WANT_WHY(g.fd, destroy(g.fd, queue.out_fault_id), -EBUSY, "object-in-use");
		WANT(mock_replace(g.fd, g.device, cmd.out_hwpt_id), 0);
		WANT(fault(&g, 0), 0);
		CHECK(read(queue.out_fault_fd, &got, sizeof(got)) == sizeof(got));
		WANT(got.dev_id, g.dev_id);
		WANT(got.flags, IOMMU_PGFAULT_FLAGS_LAST_PAGE);
		answer.cookie = got.cookie;
		CHECK(write(queue.out_fault_fd, &answer, sizeof(answer)) == sizeof(answer));
		WANT(fault(&g, 7), 0);
		CHECK(read(queue.out_fault_fd, &got, sizeof(got)) == sizeof(got));
		WANT(got.pasid, 7);
		WANT(got.flags,
		     IOMMU_PGFAULT_FLAGS_LAST_PAGE | IOMMU_PGFAULT_FLAGS_PASID_VALID);
		/* One fault is read and one is not: detaching ends both. */
		WANT(fault(&g, 0), 0);
		WANT(mock_replace(g.fd, g.device, g.ioas), 0);
		answer.cookie = got.cookie;
		CHECK(write(queue.out_fault_fd, &answer, sizeof(answer)) == -1 && errno == EINVAL);
		CHECK(!read(queue.out_fault_fd, &got, sizeof(got)));
		WANT(destroy(g.fd, cmd.out_hwpt_id), 0);
	}
	close(queue.out_fault_fd);
	WANT(destroy(g.fd, queue.out_fault_id), 0);
	WANT(destroy(g.fd, vdev), 0);
	close_guest(&g);
}

static const struct test tests[] = {
	{ "wrong calls for a vIOMMU", alloc_wrong, ALONE },
	{ "a reserved field of VIOMMU_ALLOC", reserved, ALONE },
	{ "wrong calls for nested page tables", nested_wrong, ALONE },
	{ "what can be destroyed in which order", order, ALONE },
	{ "closed with everything attached", closed, ALONE },
	{ "attached to nested page tables", attached, ALONE },
	{ "mappings are those of the parent", parent_maps, ALONE },
	{ "page faults by nested page tables", faults, ALONE },
	{ "no dirty tracking of nested page tables", dirty, ALONE },
};

const struct suite viommu_suite = {
	.name = "viommu", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
