// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unbinds a device while another process uses it in a call whose page fault is delayed. Unbinding must
 * not wait for that fault, because its caller may hold locks that other threads need.
 */
#include <string.h>
#include <unistd.h>

#include "late.h"
#include "viommu.h"

static struct guest g;

static int describe(char *at)
{
	struct iommu_hw_info cmd = {
		.size = sizeof(cmd), .dev_id = g.dev_id, .data_len = PAGE, .data_uptr = PTR(at),
	};

	return call(g.fd, IOMMU_GET_HW_INFO, &cmd);
}

static int tables_of(uint32_t base, char *at)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .dev_id = g.dev_id, .pt_id = base,
		.data_type = IOMMU_HWPT_DATA_SELFTEST,
		.data_len = sizeof(struct iommu_hwpt_selftest), .data_uptr = PTR(at),
	};

	return call(g.fd, IOMMU_HWPT_ALLOC, &cmd);
}

static int tables_on_ioas(char *at) { return tables_of(g.ioas, at); }
static int tables_on_parent(char *at) { return tables_of(g.parent, at); }
static int tables_on_viommu(char *at) { return tables_of(g.viommu, at); }

static int virtual_iommu(char *at)
{
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd), .type = IOMMU_VIOMMU_TYPE_SELFTEST, .dev_id = g.dev_id,
		.hwpt_id = g.parent, .data_len = sizeof(struct iommu_viommu_selftest),
		.data_uptr = PTR(at),
	};

	return call(g.fd, IOMMU_VIOMMU_ALLOC, &cmd);
}

/* Prepares calls whose own struct cannot be written for a while. */
static void prepare_info(char *at)
{
	*(struct iommu_hw_info *)at = (struct iommu_hw_info){
		.size = sizeof(struct iommu_hw_info), .dev_id = g.dev_id,
	};
}

static void prepare_tables(char *at)
{
	*(struct iommu_hwpt_alloc *)at = (struct iommu_hwpt_alloc){
		.size = sizeof(struct iommu_hwpt_alloc), .dev_id = g.dev_id, .pt_id = g.ioas,
	};
}

static void prepare_viommu(char *at)
{
	*(struct iommu_viommu_alloc *)at = (struct iommu_viommu_alloc){
		.size = sizeof(struct iommu_viommu_alloc), .type = IOMMU_VIOMMU_TYPE_SELFTEST,
		.dev_id = g.dev_id, .hwpt_id = g.parent,
	};
}

static void prepare_vdevice(char *at)
{
	*(struct iommu_vdevice_alloc *)at = (struct iommu_vdevice_alloc){
		.size = sizeof(struct iommu_vdevice_alloc), .viommu_id = g.viommu,
		.dev_id = g.dev_id, .virt_id = VIRT_ID,
	};
}

static int answer_info(char *at) { return call(g.fd, IOMMU_GET_HW_INFO, at); }
static int answer_tables(char *at) { return call(g.fd, IOMMU_HWPT_ALLOC, at); }
static int answer_viommu(char *at) { return call(g.fd, IOMMU_VIOMMU_ALLOC, at); }
static int answer_vdevice(char *at) { return call(g.fd, IOMMU_VDEVICE_ALLOC, at); }

/* Calls that still need the device return ENOENT; the others succeed. */
static const struct {
	const char *name;
	enum late_kind kind;
	void (*prepare)(char *at);
	int (*use)(char *at);
	int want;
	const char *why;
} uses[] = {
	{ "GET_HW_INFO, the data", LATE, NULL, describe, 0, NULL },
	{ "HWPT_ALLOC, the data", LATE, NULL, tables_on_ioas, -ENOENT, "object-none" },
	{ "HWPT_ALLOC on a parent, the data", LATE, NULL, tables_on_parent, -ENOENT, "object-none" },
	{ "HWPT_ALLOC on a vIOMMU, the data", LATE, NULL, tables_on_viommu, -ENOENT, "object-none" },
	{ "VIOMMU_ALLOC, the data", LATE, NULL, virtual_iommu, -ENOENT, "object-none" },
	{ "GET_HW_INFO, the answer", LATE_TO_WRITE, prepare_info, answer_info, 0, NULL },
	{ "HWPT_ALLOC, the answer", LATE_TO_WRITE, prepare_tables, answer_tables, 0, NULL },
	{ "VIOMMU_ALLOC, the answer", LATE_TO_WRITE, prepare_viommu, answer_viommu, 0, NULL },
	{ "VDEVICE_ALLOC, the answer", LATE_TO_WRITE, prepare_vdevice, answer_vdevice, -ENOENT, "object-none" },
};

static bool open_g(void *none)
{
	return open_guest(&g);
}

static void close_g(void *none)
{
	close(g.fd);
}

static void unbind_and_end(struct late *late, void *arg)
{
	const size_t which = *(size_t *)arg;
	struct refusal before;
	int r, used;

	last_refusal(g.fd, &before);
	r = destroy(g.fd, g.device);
	late->told = still_late(late);
	used = end_late(late);
	WANT(r, 0);
	if (!late->told)
		return;
	WANT(used, uses[which].want);
	check_refusal(g.fd, &before, used, uses[which].why, uses[which].name);
}

static void only_end(struct late *late, void *none)
{
	late->told = true;
	WANT(end_late(late), 0);
}

static void use_each(void (*run)(struct late *late, void *arg))
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(uses); i++) {
		if (!test_late(&(struct late_test){
				.late = { .kind = uses[i].kind, .prepare = uses[i].prepare, .call = uses[i].use },
				.open = open_g, .run = run, .close = close_g, .arg = &i })) {
			fail("%s", uses[i].name);
			return;
		}
	}
}

/* If unbinding waits for the memory, it is never late then. */
static void unbind_during_each(struct fixture *none)
{
	if (on_c_module())
		skip("finding F: the C module would wait for 60 s each time");
	else
		use_each(unbind_and_end);
}

/* Makes the same calls without unbinding the device: a delayed fault is no error. */
static void late_is_no_error(struct fixture *none)
{
	use_each(only_end);
}

static const struct test tests[] = {
	{ "unbind during calls with late memory", unbind_during_each, ALONE },
	{ "calls with late memory", late_is_no_error, ALONE },
};

const struct suite late_suite = {
	.name = "late", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
