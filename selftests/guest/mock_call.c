// SPDX-License-Identifier: GPL-2.0-only
/* The operations of the mock IOMMU's ioctl, each returning 0, an fd or a negative errno. */
#include "mock_call.h"

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

/* Attach a device to other page tables, or to those that an IOAS has. */
int mock_replace(int fd, uint32_t device, uint32_t pt)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, .id = device,
		.mock_domain_replace.pt_id = pt,
	};

	return mock_op(fd, &cmd);
}

/* The page table has at iova what the process has at va. */
int mock_check(int fd, uint32_t hwpt, uint64_t iova, const void *va, uint64_t length)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_MD_CHECK_MAP, .id = hwpt,
		.check_map = { .iova = iova, .length = length, .uptr = PTR(va) },
	};

	return mock_op(fd, &cmd);
}

/* Each page is pinned so many times. */
int mock_refs(int fd, const void *va, uint64_t length, uint32_t refs)
{
	struct iommu_test_cmd cmd = {
		.op = IOMMU_TEST_OP_MD_CHECK_REFS,
		.check_refs = { .length = length, .uptr = PTR(va), .refs = refs },
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

/* The mock compares the pages with those at va, if it is given. */
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
