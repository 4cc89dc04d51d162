// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attaching PASIDs of mock devices to paging page tables: what the kernel's own test does not
 * cover.
 *
 * Usage: pasid none [SUITE]
 */
#include <fcntl.h>
#include <unistd.h>

#include "frame.h"
#include "mock_call.h"

#define LIMIT	(1u << MOCK_PASID_WIDTH)	/* the first PASID that a device does not have */
#define MANY	300

/* A mock device that is attached to page tables which are compatible with PASIDs. */
struct pasids {
	int fd;
	uint32_t ioas;
	uint32_t device, dev_id;
	uint32_t automatic;	/* the automatic page tables, not compatible with PASIDs */
	uint32_t plain;		/* page tables of the same IOAS, not compatible either */
	uint32_t one, two;	/* compatible page tables */
};

static int make_tables(struct pasids *m, uint32_t flags, uint32_t *id)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .flags = flags, .dev_id = m->dev_id, .pt_id = m->ioas,
	};
	int r = call(m->fd, IOMMU_HWPT_ALLOC, &cmd);

	*id = cmd.out_hwpt_id;
	return r;
}

/* Attaches the device itself. */
static int go_to(struct pasids *m, uint32_t pt)
{
	return mock_replace(m->fd, m->device, pt);
}

static bool open_pasids(struct pasids *m, uint32_t flags)
{
	int r = open_iommu();

	m->fd = r;
	if (r >= 0)
		r = ioas_alloc(m->fd, &m->ioas);
	if (!r)
		r = mock_device_flags(m->fd, m->ioas, flags, &m->device, &m->dev_id);
	if (!r)
		r = make_tables(m, 0, &m->plain);
	if (!r)
		r = make_tables(m, IOMMU_HWPT_ALLOC_PASID, &m->one);
	if (!r)
		r = make_tables(m, IOMMU_HWPT_ALLOC_PASID, &m->two);
	if (!r)
		r = go_to(m, m->one);
	if (r)
		fail("cannot make a mock device: %s", errno_name(r));
	return !r;
}

/* Destroys all objects, which must succeed. */
static void close_pasids(struct pasids *m)
{
	WANT(destroy(m->fd, m->device), 0);
	WANT(destroy(m->fd, m->one), 0);
	WANT(destroy(m->fd, m->two), 0);
	WANT(destroy(m->fd, m->plain), 0);
	WANT(destroy(m->fd, m->ioas), 0);
	close(m->fd);
}

static void attached(struct fixture *none)
{
	struct pasids m;

	CHECK(open_pasids(&m, MOCK_FLAGS_DEVICE_PASID));
	WANT(pasid_detach(m.fd, m.device, 100), 0);
	WANT(pasid_check(m.fd, m.device, 100, 0), 0);
	WANT(pasid_attach(m.fd, m.device, 100, m.two), 0);
	WANT(pasid_check(m.fd, m.device, 100, m.two), 0);
	WANT(pasid_check(m.fd, m.device, 100, m.one), -EINVAL);
	WANT(pasid_check(m.fd, m.device, 100, 0), -EINVAL);
	WANT(pasid_check(m.fd, m.device, 101, 0), 0);
	/* An id of an object that is no page table, and an id without an object. */
	WANT(pasid_check(m.fd, m.device, 100, m.ioas), -EINVAL);
	WANT(pasid_check(m.fd, m.device, 100, m.dev_id), -EINVAL);
	WANT(pasid_check(m.fd, m.device, 100, NO_ID), -ENOENT);
	WANT(destroy(m.fd, m.two), -EBUSY);
	/* EBUSY takes precedence over all other errors. */
	WANT_WHY(m.fd, pasid_attach(m.fd, m.device, 100, m.two), -EBUSY, "attach-again");
	WANT_WHY(m.fd, pasid_attach(m.fd, m.device, 100, m.one), -EBUSY, "attach-again");
	WANT_WHY(m.fd, pasid_attach(m.fd, m.device, 100, m.plain), -EBUSY, "attach-again");
	WANT_WHY(m.fd, pasid_attach(m.fd, m.device, 100, m.ioas), -EBUSY, "attach-again");
	/* Another PASID, and the page tables that the device itself is attached to. */
	WANT(pasid_attach(m.fd, m.device, 101, m.two), 0);
	WANT(pasid_attach(m.fd, m.device, 102, m.one), 0);
	WANT(pasid_detach(m.fd, m.device, 100), 0);
	WANT(pasid_check(m.fd, m.device, 100, 0), 0);
	WANT(pasid_check(m.fd, m.device, 101, m.two), 0);
	WANT(destroy(m.fd, m.two), -EBUSY);
	WANT(pasid_detach(m.fd, m.device, 101), 0);
	WANT(pasid_detach(m.fd, m.device, 102), 0);
	WANT(pasid_detach(m.fd, m.device, 102), 0);
	close_pasids(&m);
}

static void refused(struct fixture *none)
{
	struct iommu_test_cmd cmd = { .op = IOMMU_TEST_OP_PASID_ATTACH };
	struct pasids m;

	CHECK(open_pasids(&m, MOCK_FLAGS_DEVICE_PASID));
	WANT(pasid_attach(m.fd, m.device, 100, 0), -ENOENT);
	WANT(pasid_attach(m.fd, m.device, 100, NO_ID), -ENOENT);
	WANT(pasid_attach(m.fd, m.device, 100, m.dev_id), -EINVAL);
	WANT_WHY(m.fd, pasid_attach(m.fd, m.device, 100, m.plain), -EINVAL, "attach-pasid");
	/* Automatic page tables are not compatible with PASIDs. */
	WANT(pasid_attach(m.fd, m.device, 100, m.ioas), -EINVAL);
	WANT_WHY(m.fd, pasid_replace(m.fd, m.device, 100, m.one), -EINVAL, "attach-not");
	WANT(pasid_replace(m.fd, m.device, 100, m.ioas), -EINVAL);
	WANT(pasid_check(m.fd, m.device, 100, 0), 0);
	/* The width of PASIDs. */
	WANT(pasid_attach(m.fd, m.device, LIMIT, m.one), -EINVAL);
	WANT(pasid_attach(m.fd, m.device, ~0u, m.one), -EINVAL);
	WANT(pasid_attach(m.fd, m.device, LIMIT - 1, m.one), 0);
	WANT(pasid_check(m.fd, m.device, LIMIT - 1, m.one), 0);
	WANT(pasid_detach(m.fd, m.device, LIMIT - 1), 0);
	cmd.id = m.ioas;
	WANT(mock_op(m.fd, &cmd), -ENOENT);
	close_pasids(&m);
}

static void replaced(struct fixture *none)
{
	struct pasids m;

	CHECK(open_pasids(&m, MOCK_FLAGS_DEVICE_PASID));
	WANT(pasid_attach(m.fd, m.device, 200, m.one), 0);
	WANT(pasid_replace(m.fd, m.device, 200, m.ioas), -EINVAL);
	WANT_WHY(m.fd, pasid_replace(m.fd, m.device, 200, m.plain), -EINVAL, "attach-pasid");
	WANT(pasid_replace(m.fd, m.device, 200, NO_ID), -ENOENT);
	WANT_WHY(m.fd, pasid_replace(m.fd, m.device, 201, m.two), -EINVAL, "attach-not");
	WANT(pasid_check(m.fd, m.device, 200, m.one), 0);
	WANT(pasid_replace(m.fd, m.device, 200, m.one), 0);
	WANT(pasid_replace(m.fd, m.device, 200, m.two), 0);
	WANT(pasid_check(m.fd, m.device, 200, m.two), 0);
	WANT(pasid_check(m.fd, m.device, 201, 0), 0);
	WANT(go_to(&m, m.two), 0);
	/* The first page tables have no PASID any more. */
	WANT(destroy(m.fd, m.one), 0);
	WANT(make_tables(&m, IOMMU_HWPT_ALLOC_PASID, &m.one), 0);
	WANT(pasid_replace(m.fd, m.device, 200, m.one), 0);
	WANT(pasid_check(m.fd, m.device, 200, m.one), 0);
	WANT(pasid_detach(m.fd, m.device, 200), 0);
	close_pasids(&m);
}

/* The driver fails: the PASID stays attached where it was. */
static void replacement_fails(struct fixture *none)
{
	struct pasids m;

	CHECK(open_pasids(&m, MOCK_FLAGS_DEVICE_PASID));
	WANT(pasid_attach(m.fd, m.device, IOMMU_TEST_PASID_RESERVED, m.one), 0);
	WANT(pasid_replace(m.fd, m.device, IOMMU_TEST_PASID_RESERVED, m.two), -ENOMEM);
	WANT(pasid_check(m.fd, m.device, IOMMU_TEST_PASID_RESERVED, m.one), 0);
	WANT(destroy(m.fd, m.two), 0);
	WANT(make_tables(&m, IOMMU_HWPT_ALLOC_PASID, &m.two), 0);
	WANT(pasid_replace(m.fd, m.device, IOMMU_TEST_PASID_RESERVED, m.two), 0);
	WANT(pasid_check(m.fd, m.device, IOMMU_TEST_PASID_RESERVED, m.two), 0);
	WANT(pasid_detach(m.fd, m.device, IOMMU_TEST_PASID_RESERVED), 0);
	WANT(pasid_attach(m.fd, m.device, IOMMU_TEST_PASID_RESERVED, m.one), 0);
	WANT(pasid_detach(m.fd, m.device, IOMMU_TEST_PASID_RESERVED), 0);
	close_pasids(&m);
}

/* Any allocation fails: the PASID stays detached, or attached where it was. */
static void fails_anywhere(struct fixture *none)
{
	int inject = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC), r;
	unsigned int nth, places;
	struct pasids m;

	CHECK(inject >= 0 && open_pasids(&m, MOCK_FLAGS_DEVICE_PASID));
	for (nth = 1, r = -1; r && nth < 100; nth++) {
		CHECK(fail_nth(inject, nth));
		r = pasid_attach(m.fd, m.device, 100, m.one);
		CHECK(fail_nth(inject, 0));
		WANT(pasid_check(m.fd, m.device, 100, r ? 0 : m.one), 0);
	}
	WANT(r, 0);
	places = nth - 2;
	for (nth = 1, r = -1; r && nth < 100; nth++) {
		CHECK(fail_nth(inject, nth));
		r = pasid_replace(m.fd, m.device, 100, m.two);
		CHECK(fail_nth(inject, 0));
		/* If only the struct could not be written back, the PASID was moved. */
		if (r == -EFAULT)
			WANT(pasid_replace(m.fd, m.device, 100, m.one), 0);
		WANT(pasid_check(m.fd, m.device, 100, r ? m.one : m.two), 0);
	}
	WANT(r, 0);
	note("%u and %u places to fail", places, nth - 2);
	CHECK(places && nth > 2);
	WANT(pasid_detach(m.fd, m.device, 100), 0);
	close_pasids(&m);
	close(inject);
}

/* The page tables of the device itself and of its PASIDs must all be compatible with PASIDs. */
static void beside_the_device(struct fixture *none)
{
	struct pasids m;

	CHECK(open_pasids(&m, MOCK_FLAGS_DEVICE_PASID));
	WANT(pasid_attach(m.fd, m.device, 100, m.one), 0);
	WANT(pasid_attach(m.fd, m.device, 101, m.one), 0);
	WANT(go_to(&m, m.plain), -EINVAL);
	WANT(go_to(&m, m.ioas), -EINVAL);
	WANT(pasid_check(m.fd, m.device, 0, m.one), 0);
	WANT(go_to(&m, m.two), 0);
	WANT(pasid_check(m.fd, m.device, 0, m.two), 0);
	WANT(pasid_detach(m.fd, m.device, 100), 0);
	WANT(go_to(&m, m.plain), -EINVAL);
	WANT(pasid_detach(m.fd, m.device, 101), 0);
	WANT(go_to(&m, m.plain), 0);
	WANT(pasid_attach(m.fd, m.device, 100, m.one), -EINVAL);
	WANT_WHY(m.fd, pasid_attach(m.fd, m.device, 100, m.plain), -EINVAL, "attach-pasid");
	WANT(go_to(&m, m.ioas), 0);
	WANT(pasid_attach(m.fd, m.device, 100, m.one), -EINVAL);
	/* PASID 0 is the device itself. If it is detached, the other PASIDs stay attached. */
	WANT(pasid_attach(m.fd, m.device, 0, m.one), -EBUSY);
	WANT(pasid_replace(m.fd, m.device, 0, m.one), 0);
	WANT(pasid_check(m.fd, m.device, 0, m.one), 0);
	WANT(pasid_detach(m.fd, m.device, 0), 0);
	WANT(pasid_check(m.fd, m.device, 0, 0), 0);
	WANT(pasid_attach(m.fd, m.device, 100, m.one), 0);
	WANT(pasid_attach(m.fd, m.device, 0, m.plain), -EINVAL);
	WANT(pasid_attach(m.fd, m.device, 0, m.ioas), -EINVAL);
	WANT(pasid_attach(m.fd, m.device, 0, m.two), 0);
	WANT(pasid_detach(m.fd, m.device, 100), 0);
	close_pasids(&m);
}

/* The page tables are compatible with PASIDs, but the device has none but 0. */
static void without_pasids(struct fixture *none)
{
	struct pasids m;

	CHECK(open_pasids(&m, 0));
	WANT_WHY(m.fd, pasid_attach(m.fd, m.device, 100, m.plain), -EINVAL, "attach-pasid");
	WANT(pasid_attach(m.fd, m.device, 100, m.two), -EINVAL);
	WANT(pasid_attach(m.fd, m.device, 1, m.two), -EINVAL);
	WANT(pasid_check(m.fd, m.device, 1, 0), 0);
	WANT(pasid_replace(m.fd, m.device, 1, m.two), -EINVAL);
	WANT(pasid_replace(m.fd, m.device, 0, m.two), 0);
	WANT(go_to(&m, m.plain), 0);
	WANT(pasid_attach(m.fd, m.device, 100, m.two), -EINVAL);
	close_pasids(&m);
}

/* Each device has its own PASIDs. */
static void two_devices(struct fixture *none)
{
	struct pasids m, other;

	CHECK(open_pasids(&m, MOCK_FLAGS_DEVICE_PASID));
	other = m;
	WANT(mock_device_flags(m.fd, m.one, MOCK_FLAGS_DEVICE_PASID, &other.device, &other.dev_id), 0);
	WANT(pasid_attach(m.fd, m.device, 100, m.one), 0);
	WANT(pasid_check(other.fd, other.device, 100, 0), 0);
	WANT(pasid_attach(other.fd, other.device, 100, m.two), 0);
	WANT(pasid_detach(m.fd, m.device, 100), 0);
	WANT(pasid_check(other.fd, other.device, 100, m.two), 0);
	WANT(pasid_detach(other.fd, other.device, 100), 0);
	WANT(destroy(m.fd, other.device), 0);
	close_pasids(&m);
}

static bool attach_many(struct pasids *m)
{
	uint32_t i;
	int r = 0;

	/* From the first up, and from the last down. */
	for (i = 1; !r && i <= MANY; i++) {
		r = pasid_attach(m->fd, m->device, i, i % 2 ? m->one : m->two);
		if (!r)
			r = pasid_attach(m->fd, m->device, LIMIT - i, m->two);
	}
	for (i = 1; !r && i <= MANY; i++)
		r = pasid_check(m->fd, m->device, i, i % 2 ? m->one : m->two);
	if (r)
		fail("cannot attach many PASIDs: %s", errno_name(r));
	return !r;
}

static void many(struct fixture *none)
{
	struct pasids m;
	uint32_t i;

	CHECK(open_pasids(&m, MOCK_FLAGS_DEVICE_PASID));
	CHECK(attach_many(&m));
	for (i = MANY; i; i--) {
		WANT(pasid_detach(m.fd, m.device, LIMIT - i), 0);
		WANT(pasid_detach(m.fd, m.device, i), 0);
	}
	close_pasids(&m);
}

/* The device is destroyed with PASIDs attached. The C mock does not detach them. */
static void destroyed_attached(struct fixture *none)
{
	struct pasids m;

	if (on_c_module()) {
		skip("C's mock detaches no PASIDs");
		return;
	}
	CHECK(open_pasids(&m, MOCK_FLAGS_DEVICE_PASID));
	CHECK(attach_many(&m));
	WANT(destroy(m.fd, m.one), -EBUSY);
	WANT(destroy(m.fd, m.two), -EBUSY);
	close_pasids(&m);
}

static void closed_attached(struct fixture *none)
{
	struct pasids m;

	if (on_c_module()) {
		skip("C's mock detaches no PASIDs");
		return;
	}
	CHECK(open_pasids(&m, MOCK_FLAGS_DEVICE_PASID));
	CHECK(attach_many(&m));
	close(m.fd);
}

/* The mock attaches a PASID of any device to page tables that track dirty pages. */
static void dirty_tables(struct fixture *none)
{
	struct pasids m;
	uint32_t tracked, device, dev_id;

	CHECK(open_pasids(&m, MOCK_FLAGS_DEVICE_PASID));
	WANT(make_tables(&m, IOMMU_HWPT_ALLOC_PASID | IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &tracked), 0);
	WANT(mock_device_flags(m.fd, m.one, MOCK_FLAGS_DEVICE_PASID | MOCK_FLAGS_DEVICE_NO_DIRTY,
			       &device, &dev_id), 0);
	WANT(mock_replace(m.fd, device, tracked), -EINVAL);
	WANT(pasid_attach(m.fd, device, 100, tracked), 0);
	WANT(pasid_check(m.fd, device, 100, tracked), 0);
	WANT(pasid_replace(m.fd, device, 100, m.two), 0);
	WANT(pasid_replace(m.fd, device, 100, tracked), 0);
	WANT(pasid_detach(m.fd, device, 100), 0);
	WANT(destroy(m.fd, device), 0);
	WANT(destroy(m.fd, tracked), 0);
	close_pasids(&m);
}

static const struct test tests[] = {
	{ "attached and detached", attached, ALONE },
	{ "refused", refused, ALONE },
	{ "replaced", replaced, ALONE },
	{ "replacement fails", replacement_fails, ALONE },
	{ "anything fails", fails_anywhere, ALONE },
	{ "beside the whole device", beside_the_device, ALONE },
	{ "a device without PASIDs", without_pasids, ALONE },
	{ "two devices", two_devices, ALONE },
	{ "many", many, ALONE },
	{ "destroyed while attached", destroyed_attached, ALONE },
	{ "closed while attached", closed_attached, ALONE },
	{ "page tables that track dirty pages", dirty_tables, ALONE },
};

static const struct suite pasid_suite = {
	.name = "pasid", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &pasid_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
