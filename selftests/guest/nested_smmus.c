// SPDX-License-Identifier: GPL-2.0-only
/*
 * One virtual SMMUv3 for two devices behind an SMMUv3 each (uapi/iommufd_rs.h). KTAP; the frame is that
 * of uapi.c. The IOMMU's driver has no such thing; there the tests check what is refused.
 *
 * Between two tests each SMMU is given a command that has a number as its ASID, so that the runner sees
 * in the trace of commands where a test begins.
 *
 * Usage: CDEV=... CDEV2=... nested-smmus none
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../uapi/iommufd_rs.h"
#include "nested_call.h"

#define MANY		IOMMUFD_RS_VIOMMU_TYPE_ARM_SMMUV3_MANY
/* The ASID of the first marker. */
#define MARKER		0x4d00u

/* Makes a vIOMMU over the SMMUs of both devices. */
static int viommu_over(struct nested n[2])
{
	struct iommufd_rs_viommu_iommu other = { .dev_id = n[1].dev_id, .hwpt_id = n[1].parent };
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = MANY, .dev_id = n[0].dev_id, .hwpt_id = n[0].parent,
		.data_len = sizeof(other), .data_uptr = PTR(&other),
	};
	int r = call(n[0].fd, IOMMU_VIOMMU_ALLOC, &cmd);

	n[0].viommu = n[1].viommu = cmd.out_viommu_id;
	return r;
}

static bool open_parents(struct nested n[2])
{
	int r = open_parent(&n[0], getenv("CDEV"));

	r = r ?: open_beside(&n[1], &n[0], getenv("CDEV2"));
	if (r)
		fail("no parents: %s", errno_name(r));
	return !r;
}

static void close_both(struct nested n[2])
{
	stop_edu(&n[1].edu);
	close(n[1].dev);
	close_nested(&n[0]);
}

/* Opens both devices, and attaches both to one HWPT. Returns false by the driver, which refuses that. */
static bool open_both(struct nested n[2], uint32_t *hwpt)
{
	int r;

	if (!open_parents(n))
		return false;
	r = viommu_over(n);
	if (by_the_driver()) {
		if (r != -EOPNOTSUPP)
			fail("a vIOMMU over two SMMUs: %s", errno_name(r));
		return false;
	}
	r = r ?: vdevice(&n[0]);
	r = r ?: vdevice(&n[1]);
	r = r ?: translate(&n[0], hwpt);
	r = r ?: attach(n[0].dev, *hwpt, NULL);
	r = r ?: attach(n[1].dev, *hwpt, NULL);
	if (r)
		fail("not attached: %s", errno_name(r));
	return !r;
}

/* Gives both SMMUs a command that tells the runner where a test begins. */
static void mark(struct nested n[2], uint32_t number)
{
	note("compare both queues");
	WANT(submit_one(&n[0], by_asid(MARKER + number)), 0);
}

/* A page of which both devices' translations are cached is moved. */
static bool move_page(struct nested n[2])
{
	map_va(&n[0], 0, TARGET_VA, A_PAGE);
	if (submit_one(&n[0], by_op(OP_NSNH_ALL)) || written_to(&n[0], TARGET_VA) != A_PAGE ||
	    written_to(&n[1], TARGET_VA) != A_PAGE)
		return false;
	map_va(&n[0], 0, TARGET_VA, B_PAGE);
	return written_to(&n[0], TARGET_VA) == A_PAGE && written_to(&n[1], TARGET_VA) == A_PAGE;
}

/* Gives one SMMU many commands, so that the runner can tell the queues apart by how far they are. */
static void separate(struct nested *n)
{
	static command commands[1000];
	uint32_t done, i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		commands[i] = by_vsid(OP_CFGI_CD, n->vsid);
	WANT(submit(n, commands, ARRAY_SIZE(commands), &done), 0);
	WANT(done, ARRAY_SIZE(commands));
}

static void both_devices(struct fixture *none)
{
	struct nested n[2];
	uint32_t hwpt;

	if (!open_both(n, &hwpt))
		return;
	separate(&n[0]);
	WANT(written_to(&n[0], TARGET_VA), A_PAGE);
	WANT(written_to(&n[1], TARGET_VA), A_PAGE);
	WANT(written_to(&n[0], HOLE_VA), 0);
	WANT(written_to(&n[1], HOLE_VA), 0);
	WANT(destroy(n[0].fd, hwpt), -EBUSY);
	WANT(destroy(n[0].fd, n[0].viommu), -EBUSY);
	WANT(destroy(n[0].fd, n[1].parent), -EBUSY);
	WANT(detach(n[0].dev), 0);
	WANT(written_to(&n[0], TARGET_VA), 0);
	WANT(written_to(&n[1], TARGET_VA), A_PAGE);
	close_both(n);
}

static void translations(struct fixture *none)
{
	const command commands[] = {
		by_va(OP_NH_VA, TARGET_VA, ASID), by_va(OP_NH_VAA, TARGET_VA, 0), by_asid(ASID),
		by_op(OP_NH_ALL), by_op(OP_NSNH_ALL), by_range(SOURCE_VA, ASID, 0, 31, 0),
	};
	struct nested n[2];
	uint32_t hwpt, i;

	if (!open_both(n, &hwpt))
		return;
	mark(n, 0);
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		CHECK(move_page(n));
		WANT(submit_one(&n[0], commands[i]), 0);
		WANT(written_to(&n[0], TARGET_VA), B_PAGE);
		WANT(written_to(&n[1], TARGET_VA), B_PAGE);
	}
	CHECK(move_page(n));
	WANT(submit_one(&n[0], by_va(OP_NH_VA, HOLE_VA, ASID)), 0);
	WANT(written_to(&n[0], TARGET_VA), A_PAGE);
	WANT(written_to(&n[1], TARGET_VA), A_PAGE);
	mark(n, 1);
	close_both(n);
}

/* The devices share a context descriptor. A command for one of them leaves the other's cached one. */
static void descriptors(struct fixture *none)
{
	struct nested n[2];
	uint32_t hwpt, i;

	if (!open_both(n, &hwpt))
		return;
	mark(n, 2);
	for (i = 0; i < 2; i++) {
		set_cd(&n[0], 0, ASID);
		WANT(submit_one(&n[0], by_vsid(OP_CFGI_CD, n[0].vsid)), 0);
		WANT(submit_one(&n[0], by_vsid(OP_CFGI_CD_ALL, n[1].vsid)), 0);
		WANT(submit_one(&n[0], by_op(OP_NSNH_ALL)), 0);
		WANT(written_to(&n[0], TARGET_VA), A_PAGE);
		WANT(written_to(&n[1], TARGET_VA), A_PAGE);
		set_cd(&n[0], 1, ASID + 1);
		WANT(submit_one(&n[0], by_op(OP_NSNH_ALL)), 0);
		WANT(submit_one(&n[0], by_vsid(i ? OP_CFGI_CD : OP_CFGI_CD_ALL, n[i].vsid)), 0);
		WANT(written_to(&n[i], TARGET_VA), B_PAGE);
		WANT(written_to(&n[!i], TARGET_VA), A_PAGE);
		WANT(submit_one(&n[0], by_vsid(OP_CFGI_CD, n[!i].vsid)), 0);
		WANT(written_to(&n[!i], TARGET_VA), B_PAGE);
	}
	mark(n, 3);
	close_both(n);
}

/* Commands for both SMMUs, for one, and for the other; one that is not valid at any place. */
static void batches(struct fixture *none)
{
	command *commands = calloc(4096, sizeof(*commands));
	static const uint32_t sizes[] = { 2, 15, 16, 17, 4096 };
	uint32_t hwpt, done, i, k;
	struct nested n[2];

	CHECK(commands);
	if (!open_both(n, &hwpt))
		return;
	for (i = 0; i < 4096; i++)
		commands[i] = i % 8 == 5 ? by_vsid(OP_CFGI_CD, n[i / 8 % 2].vsid) :
					   by_va(OP_NH_VA, HOLE_VA + 2 * PAGE * i, ASID);
	mark(n, 4);
	for (k = 0; k < ARRAY_SIZE(sizes); k++) {
		command before = commands[sizes[k] - 1];

		CHECK(move_page(n));
		commands[sizes[k] - 1] = by_va(OP_NH_VA, TARGET_VA, ASID);
		WANT(submit(&n[0], commands, sizes[k], &done), 0);
		WANT(done, sizes[k]);
		WANT(written_to(&n[0], TARGET_VA), B_PAGE);
		WANT(written_to(&n[1], TARGET_VA), B_PAGE);
		commands[sizes[k] - 1] = before;
	}
	for (i = 0; i < 40; i++) {
		command before = commands[i];

		commands[i] = by_op(0x46);
		WANT(submit(&n[0], commands, 64, &done), -EIO);
		WANT(done, i);
		commands[i] = before;
	}
	/* What comes before it has taken effect on both. */
	CHECK(move_page(n));
	commands[20] = by_va(OP_NH_VA, TARGET_VA, ASID);
	commands[30] = by_vsid(OP_CFGI_CD, VSID + 2);
	WANT(submit(&n[0], commands, 64, &done), -EIO);
	WANT(done, 30);
	WANT(written_to(&n[0], TARGET_VA), B_PAGE);
	WANT(written_to(&n[1], TARGET_VA), B_PAGE);
	mark(n, 5);
	close_both(n);
	free(commands);
}

static void events(struct fixture *none)
{
	struct iommu_veventq_alloc queue = {
		.size = sizeof(queue), .type = IOMMU_VEVENTQ_TYPE_ARM_SMMUV3, .veventq_depth = 16,
	};
	struct {
		struct iommufd_vevent_header header;
		struct iommu_vevent_arm_smmuv3 data;
	} event;
	struct nested n[2];
	uint32_t hwpt, i;

	if (!open_both(n, &hwpt))
		return;
	queue.viommu_id = n[0].viommu;
	WANT(call(n[0].fd, IOMMU_VEVENTQ_ALLOC, &queue), 0);
	for (i = 0; i < 2; i++) {
		struct pollfd ready = { .fd = queue.out_veventq_fd, .events = POLLIN };

		WANT(written_to(&n[i], TARGET_VA), A_PAGE);
		WANT(written_to(&n[i], HOLE_VA), 0);
		WANT(poll(&ready, 1, 5000), 1);
		WANT(read(queue.out_veventq_fd, &event, sizeof(event)), sizeof(event));
		WANT(event.header.sequence, i);
		WANT(event.data.evt[0] & 0xff, 0x10);
		WANT(event.data.evt[0] >> 32, n[i].vsid);
	}
	close(queue.out_veventq_fd);
	close_both(n);
}

/* Other page tables, those of the second stages, and back. */
static void replaced(struct fixture *none)
{
	uint32_t both, aborting, bypass, i;
	struct nested n[2];

	if (!open_both(n, &both))
		return;
	WANT(vste(&n[1], STE_ABORT, 0, &aborting), 0);
	WANT(vste(&n[1], STE_BYPASS, 0, &bypass), 0);
	for (i = 0; i < 2; i++) {
		WANT(attach(n[i].dev, aborting, NULL), 0);
		WANT(written_to(&n[i], TARGET_VA), 0);
		WANT(written_to(&n[!i], TARGET_VA), A_PAGE);
		WANT(attach(n[i].dev, bypass, NULL), 0);
		n[i].stamp++;
		*(volatile uint32_t *)page_of(&n[i], SOURCE_PAGE) = n[i].stamp;
		device_copies(&n[i], ipa_of(SOURCE_PAGE), ipa_of(B_PAGE));
		WANT(*(volatile uint32_t *)page_of(&n[i], B_PAGE), n[i].stamp);
		/* The other's second stage is for the other's SMMU. */
		WANT(attach(n[i].dev, n[!i].parent, NULL), -EINVAL);
		WANT(attach(n[i].dev, n[i].parent, NULL), 0);
		WANT(attach(n[i].dev, both, NULL), 0);
		WANT(written_to(&n[i], TARGET_VA), A_PAGE);
	}
	close_both(n);
}

static void virtual_ids(struct fixture *none)
{
	struct nested n[2];
	uint32_t hwpt, old;

	if (!open_both(n, &hwpt))
		return;
	old = n[1].vdevice;
	WANT(vdevice(&n[1]), -EEXIST);
	WANT(detach(n[1].dev), 0);
	WANT(destroy(n[1].fd, old), 0);
	n[1].vsid = n[0].vsid;
	WANT_WHY(n[0].fd, vdevice(&n[1]), -EEXIST, "vdevice-driver");
	WANT(detach(n[0].dev), 0);
	WANT(destroy(n[0].fd, n[0].vdevice), 0);
	WANT(vdevice(&n[1]), 0);
	WANT(attach(n[1].dev, hwpt, NULL), 0);
	WANT(written_to(&n[1], TARGET_VA), A_PAGE);
	WANT(vdevice(&n[0]), -EEXIST);
	close_both(n);
}

/* Makes a vIOMMU with nr bytes of data. */
static int over(struct nested *n, const void *data, uint32_t nr)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = MANY, .dev_id = n->dev_id, .hwpt_id = n->parent,
		.data_len = nr, .data_uptr = PTR(data),
	};
	int r = call(n->fd, IOMMU_VIOMMU_ALLOC, &cmd);

	return r ?: destroy(n->fd, cmd.out_viommu_id);
}

static void wrong_sets(struct fixture *none)
{
	struct iommufd_rs_viommu_iommu others[9] = {};
	uint32_t ioas, elsewhere;
	struct nested n[2];

	if (!open_parents(n))
		return;
	others[0].dev_id = n[1].dev_id;
	others[0].hwpt_id = n[1].parent;
	others[1] = others[0];
	if (by_the_driver()) {
		WANT(over(&n[0], others, 8), -EOPNOTSUPP);
		WANT(over(&n[0], NULL, 0), -EOPNOTSUPP);
		close_both(n);
		return;
	}
	WANT(over(&n[0], others, 8), 0);
	WANT(over(&n[0], NULL, 0), 0);
	WANT_WHY(n[0].fd, over(&n[0], others, 12), -EINVAL, "viommu-iommus");
	WANT_WHY(n[0].fd, over(&n[0], others, 16), -EINVAL, "viommu-driver");
	WANT_WHY(n[0].fd, over(&n[0], others, 64), -E2BIG, "viommu-iommus");
	WANT(over(&n[0], (void *)8, 8), -EFAULT);
	others[0].dev_id = n[0].dev_id;
	WANT(over(&n[0], others, 8), -EINVAL);
	others[0].dev_id = n[0].ioas;
	WANT_WHY(n[0].fd, over(&n[0], others, 8), -ENOENT, "object-kind");
	others[0].dev_id = n[1].dev_id;
	/* The parents of both SMMUs, but exchanged; of another address space; no parent. */
	others[0].hwpt_id = n[0].parent;
	WANT_WHY(n[0].fd, over(&n[0], others, 8), -EINVAL, "viommu-driver");
	WANT(ioas_alloc(n[0].fd, &ioas), 0);
	struct iommu_hwpt_alloc other = {
		.size = sizeof(other), .flags = IOMMU_HWPT_ALLOC_NEST_PARENT, .dev_id = n[1].dev_id,
		.pt_id = ioas,
	};
	WANT(call(n[0].fd, IOMMU_HWPT_ALLOC, &other), 0);
	others[0].hwpt_id = other.out_hwpt_id;
	WANT_WHY(n[0].fd, over(&n[0], others, 8), -EINVAL, "viommu-other-ioas");
	WANT(hwpt_alloc(n[0].fd, n[1].dev_id, n[0].ioas, &elsewhere), 0);
	others[0].hwpt_id = elsewhere;
	WANT_WHY(n[0].fd, over(&n[0], others, 8), -EINVAL, "viommu-not-parent");
	close_both(n);
}

/* The kernel's own type is on one SMMU. */
static void one_smmu(struct fixture *none)
{
	struct nested n[2];
	uint32_t hwpt, id;

	if (!open_parents(n))
		return;
	WANT(viommu(&n[0]), 0);
	WANT(vdevice(&n[0]), 0);
	n[1].viommu = n[0].viommu;
	WANT_WHY(n[0].fd, vdevice(&n[1]), -EINVAL, "vdevice-iommu");
	WANT_WHY(n[0].fd, vste(&n[1], STE_BYPASS, 0, &id), -EINVAL, "hwpt-viommu");
	WANT(vste(&n[0], STE_BYPASS, 0, &hwpt), 0);
	WANT(attach(n[0].dev, hwpt, NULL), 0);
	WANT_WHY(n[0].fd, attach(n[1].dev, hwpt, NULL), -EINVAL, "attach-driver");
	close_both(n);
}

static int destroy_viommu(struct nested n[2])
{
	return destroy(n[0].fd, n[0].viommu);
}

static int second_vdevice(struct nested n[2])
{
	return vdevice(&n[1]);
}

static int destroy_second_vdevice(struct nested n[2])
{
	return destroy(n[1].fd, n[1].vdevice);
}

static uint32_t entry;

static int entry_over(struct nested n[2])
{
	return translate(&n[0], &entry);
}

static int destroy_entry(struct nested n[2])
{
	return destroy(n[0].fd, entry);
}

/* What was made on one SMMU before making it on the other fails is undone. */
static void failures(struct fixture *none)
{
	struct nested n[2];

	if (!open_parents(n))
		return;
	if (by_the_driver()) {
		WANT(viommu_over(n), -EOPNOTSUPP);
		close_both(n);
		return;
	}
	fail_everywhere(n, "a vIOMMU", viommu_over, destroy_viommu, false);
	WANT(vdevice(&n[0]), 0);
	fail_everywhere(n, "a vDEVICE", second_vdevice, destroy_second_vdevice, false);
	fail_everywhere(n, "a nested HWPT", entry_over, destroy_entry, false);
	WANT(attach(n[0].dev, entry, NULL), 0);
	WANT(attach(n[1].dev, entry, NULL), 0);
	WANT(written_to(&n[0], TARGET_VA), A_PAGE);
	WANT(written_to(&n[1], TARGET_VA), A_PAGE);
	close_both(n);
}

static const struct test tests[] = {
	{ "DMA of both devices", both_devices, ALONE },
	{ "commands about address spaces reach both", translations, ALONE },
	{ "commands about a device reach its SMMU", descriptors, ALONE },
	{ "batches", batches, ALONE },
	{ "events of both", events, ALONE },
	{ "one entry after another", replaced, ALONE },
	{ "virtual ids", virtual_ids, ALONE },
	{ "sets that cannot be", wrong_sets, ALONE },
	{ "the kernel's type is on one", one_smmu, ALONE },
	{ "for want of memory", failures, ALONE },
};

static const struct suite smmus_suite = {
	.name = "smmus", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &smmus_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
