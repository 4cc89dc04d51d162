// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two IOMMU drivers in one context: what one of them makes is refused where the other's is expected.
 *
 * Usage: foreign VFIO_CDEV, a device behind a real or emulated IOMMU; the other driver is the mock
 */
#include <unistd.h>

#include "../../uapi/iommufd_rs.h"
#include "frame.h"
#include "mock_call.h"

static int tables(int fd, uint32_t dev_id, uint32_t ioas, uint32_t flags, uint32_t *id)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .flags = flags, .dev_id = dev_id, .pt_id = ioas,
	};
	int r = call(fd, IOMMU_HWPT_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_hwpt_id;
	return r;
}

static int nested(int fd, uint32_t dev_id, uint32_t parent, uint32_t *id)
{
	struct iommu_hwpt_selftest data = {};
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .dev_id = dev_id, .pt_id = parent,
		.data_type = IOMMU_HWPT_DATA_SELFTEST, .data_len = sizeof(data),
		.data_uptr = PTR(&data),
	};
	int r = call(fd, IOMMU_HWPT_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_hwpt_id;
	return r;
}

static int viommu(int fd, uint32_t type, uint32_t dev_id, uint32_t parent, uint32_t *id)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = type, .dev_id = dev_id, .hwpt_id = parent,
	};
	int r = call(fd, IOMMU_VIOMMU_ALLOC, &cmd);

	if (!r)
		*id = cmd.out_viommu_id;
	return r;
}

/* A vIOMMU of the real device's driver on page tables of the mock. */
static void mock_parent(struct fixture *f)
{
	uint32_t ioas, device, dev_id, hwpt, parent, id;

	if (on_c_module()) {
		skip("the C module has the driver use the mock's page tables as its own");
		return;
	}
	WANT(ioas_alloc(f->fd, &ioas), 0);
	WANT(mock_device(f->fd, ioas, &device, &dev_id, &hwpt), 0);
	WANT(tables(f->fd, dev_id, ioas, IOMMU_HWPT_ALLOC_NEST_PARENT, &parent), 0);
	WANT(viommu(f->fd, IOMMUFD_RS_VIOMMU_TYPE_AMD, f->dev_id, parent, &id), -EINVAL);
	WANT(destroy(f->fd, parent), 0);
	WANT(destroy(f->fd, device), 0);
	WANT(destroy(f->fd, ioas), 0);
}

/* The device is attached to page tables of the mock, or moved there. */
static void mock_tables(struct fixture *f)
{
	uint32_t ioas, device, dev_id, hwpt, plain;

	if (on_c_module()) {
		skip("the C module has the driver use the mock's page tables as its own");
		return;
	}
	WANT(ioas_alloc(f->fd, &ioas), 0);
	WANT(mock_device(f->fd, ioas, &device, &dev_id, &hwpt), 0);
	WANT(tables(f->fd, dev_id, ioas, 0, &plain), 0);
	WANT(attach(f->dev, plain, NULL), -EINVAL);
	WANT(attach(f->dev, hwpt, NULL), -EINVAL);
	/* An IOAS has page tables of each driver. */
	WANT(attach(f->dev, ioas, NULL), 0);
	WANT(mock_replace(f->fd, device, plain), 0);
	WANT(detach(f->dev), 0);
	WANT(attach(f->dev, plain, NULL), -EINVAL);
	WANT(attach(f->dev, hwpt, NULL), -ENOENT);
	WANT(attach(f->dev, f->ioas, &f->hwpt), 0);
	WANT(destroy(f->fd, device), 0);
	WANT(destroy(f->fd, plain), 0);
	WANT(destroy(f->fd, ioas), 0);
}

/* The mock device is moved to page tables of the real device's driver. */
static void real_tables(struct fixture *f)
{
	uint32_t ioas, device, dev_id, hwpt, plain;

	WANT(ioas_alloc(f->fd, &ioas), 0);
	WANT(mock_device(f->fd, ioas, &device, &dev_id, &hwpt), 0);
	WANT(tables(f->fd, f->dev_id, f->ioas, 0, &plain), 0);
	WANT(mock_device(f->fd, plain, &device, &dev_id, &hwpt), -EINVAL);
	if (!on_c_module())
		WANT(mock_replace(f->fd, device, plain), -EINVAL);
	WANT(destroy(f->fd, device), 0);
	WANT(destroy(f->fd, plain), 0);
	WANT(destroy(f->fd, ioas), 0);
}

/* A vIOMMU and nested page tables of the mock on page tables of the real device's driver. */
static void real_parent(struct fixture *f)
{
	uint32_t ioas, device, dev_id, hwpt, plain, parent, id;
	int r;

	WANT(ioas_alloc(f->fd, &ioas), 0);
	WANT(mock_device(f->fd, ioas, &device, &dev_id, &hwpt), 0);
	WANT(tables(f->fd, f->dev_id, f->ioas, 0, &plain), 0);
	WANT(viommu(f->fd, IOMMU_VIOMMU_TYPE_SELFTEST, dev_id, plain, &id), -EINVAL);
	WANT(nested(f->fd, dev_id, plain, &id), -EINVAL);
	r = tables(f->fd, f->dev_id, f->ioas, IOMMU_HWPT_ALLOC_NEST_PARENT, &parent);
	if (r == -EOPNOTSUPP) {
		note("this IOMMU has no nest parents");
	} else {
		WANT(r, 0);
		r = viommu(f->fd, IOMMU_VIOMMU_TYPE_SELFTEST, dev_id, parent, &id);
		if (!r)
			WANT(destroy(f->fd, id), 0);
		WANT(r, on_c_module() ? 0 : -EINVAL);
		WANT(destroy(f->fd, parent), 0);
	}
	WANT(destroy(f->fd, plain), 0);
	WANT(destroy(f->fd, device), 0);
	WANT(destroy(f->fd, ioas), 0);
}

static const struct test tests[] = {
	{ "a vIOMMU on the mock's page tables, finding V", mock_parent, DOMAIN },
	{ "the mock's vIOMMU on other page tables, finding V", real_parent, DOMAIN },
	{ "moved to the mock's page tables, finding W", mock_tables, DOMAIN },
	{ "a mock device is moved to other page tables, finding W", real_tables, DOMAIN },
};

static const struct suite foreign_suite = {
	.name = "foreign", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &foreign_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
