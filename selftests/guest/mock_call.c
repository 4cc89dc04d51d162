// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>

#include "memory.h"
#include "mock_call.h"
#include "result.h"

long tables_of_another(struct mock *m)
{
	long before = table_pages(), more;
	uint32_t hwpt;
	int r = hwpt_alloc(m->fd, m->dev_id, m->ioas, &hwpt);

	if (r)
		return r;
	more = table_pages() - before;
	r = destroy(m->fd, hwpt);
	return r ? r : more;
}

int mock_op(int fd, struct iommu_test_cmd *cmd)
{
	cmd->size = sizeof(*cmd);
	return call(fd, IOMMU_TEST_CMD, cmd);
}

int mock_device(int fd, uint32_t ioas, uint32_t *device, uint32_t *dev_id, uint32_t *hwpt)
{
	struct iommu_test_cmd cmd = { .op = IOMMU_TEST_OP_MOCK_DOMAIN, .id = ioas };
	int r = mock_op(fd, &cmd);

	if (r)
		return r;
	*device = cmd.mock_domain.out_stdev_id;
	*dev_id = cmd.mock_domain.out_idev_id;
	*hwpt = cmd.mock_domain.out_hwpt_id;
	return 0;
}

int mock_device_flags(int fd, uint32_t pt, uint32_t flags, uint32_t *device, uint32_t *dev_id)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, .id = pt,
		.mock_domain_flags.dev_flags = flags,
	};
	int r = mock_op(fd, &cmd);

	if (r)
		return r;
	*device = cmd.mock_domain_flags.out_stdev_id;
	*dev_id = cmd.mock_domain_flags.out_idev_id;
	return 0;
}

int mock_replace(int fd, uint32_t device, uint32_t pt)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, .id = device,
		.mock_domain_replace.pt_id = pt,
	};

	return mock_op(fd, &cmd);
}

int mock_check(int fd, uint32_t hwpt, uint64_t iova, const void *va, uint64_t length)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_MD_CHECK_MAP, .id = hwpt,
		.check_map = { .iova = iova, .length = length, .uptr = PTR(va) },
	};

	return mock_op(fd, &cmd);
}

int mock_refs(int fd, const void *va, uint64_t length, uint32_t refs)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_MD_CHECK_REFS,
		.check_refs = { .length = length, .uptr = PTR(va), .refs = refs },
	};

	return mock_op(fd, &cmd);
}

int tracking_tables(int fd, uint32_t dev_id, uint32_t ioas, uint32_t *hwpt)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING, .dev_id = dev_id,
		.pt_id = ioas,
	};
	struct iommu_hwpt_set_dirty_tracking on = {
		.size = sizeof(on), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};
	int r = call(fd, IOMMU_HWPT_ALLOC, &alloc);

	if (r)
		return r;
	*hwpt = on.hwpt_id = alloc.out_hwpt_id;
	return call(fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &on);
}

int mock_set_dirty(int fd, uint32_t hwpt, uint64_t iova, uint64_t length, uint64_t page_size, void *bits)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_DIRTY, .id = hwpt,
		.dirty = {
			.iova = iova, .length = length, .page_size = page_size, .uptr = PTR(bits),
		},
	};

	return mock_op(fd, &cmd);
}

int get_dirty_bitmap(int fd, uint32_t hwpt, uint64_t iova, uint64_t length, uint64_t page_size, void *bits,
		     uint32_t flags)
{
	struct iommu_hwpt_get_dirty_bitmap cmd = {
		.size = sizeof(cmd), .hwpt_id = hwpt, .flags = flags, .iova = iova,
		.length = length, .page_size = page_size, .data = PTR(bits),
	};

	return call(fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd);
}

int pasid_attach(int fd, uint32_t device, uint32_t pasid, uint32_t pt)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_PASID_ATTACH, .id = device,
		.pasid_attach = { .pasid = pasid, .pt_id = pt },
	};

	return mock_op(fd, &cmd);
}

int pasid_replace(int fd, uint32_t device, uint32_t pasid, uint32_t pt)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_PASID_REPLACE, .id = device,
		.pasid_replace = { .pasid = pasid, .pt_id = pt },
	};

	return mock_op(fd, &cmd);
}

int pasid_detach(int fd, uint32_t device, uint32_t pasid)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_PASID_DETACH, .id = device, .pasid_detach.pasid = pasid,
	};

	return mock_op(fd, &cmd);
}

int pasid_check(int fd, uint32_t device, uint32_t pasid, uint32_t hwpt)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_PASID_CHECK_HWPT, .id = device,
		.pasid_check = { .pasid = pasid, .hwpt_id = hwpt },
	};

	return mock_op(fd, &cmd);
}

int access_open(int fd, uint32_t ioas, uint32_t flags)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_CREATE_ACCESS, .id = ioas, .create_access.flags = flags,
	};
	int r = mock_op(fd, &cmd);

	return r ? r : (int)cmd.create_access.out_access_fd;
}

int access_replace(int fd, int access, uint32_t ioas)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, .id = access,
		.access_replace_ioas.ioas_id = ioas,
	};

	return mock_op(fd, &cmd);
}

int access_pin(int fd, int access, uint64_t iova, uint64_t length, const void *va, uint32_t *id)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_ACCESS_PAGES, .id = access,
		.access_pages = {
			.flags = MOCK_FLAGS_ACCESS_WRITE, .iova = iova, .length = length,
			.uptr = PTR(va),
		},
	};
	int r = mock_op(fd, &cmd);

	if (!r)
		*id = cmd.access_pages.out_access_pages_id;
	return r;
}

int access_unpin(int fd, int access, uint32_t id)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, .id = access,
		.destroy_access_pages.access_pages_id = id,
	};

	return mock_op(fd, &cmd);
}

int access_rw(int fd, int access, uint64_t iova, void *data, uint64_t length, uint32_t flags)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_ACCESS_RW, .id = access,
		.access_rw = { .iova = iova, .length = length, .uptr = PTR(data), .flags = flags },
	};

	return mock_op(fd, &cmd);
}

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
