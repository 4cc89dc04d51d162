// SPDX-License-Identifier: GPL-2.0-only
/*
 * What IOMMU_GET_HW_INFO says of the IOMMU that translates for a device, beside what the hardware
 * says: its registers, or where the kernel lets nobody at them, what its driver has read there.
 * KTAP; the frame is that of uapi.c.
 *
 * Usage: BDF=... hw-info VFIO_CDEV
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uapi.h"

/* Of SMMUv3, Arm IHI 0070 section 6.3: SMMU_IDR0 to SMMU_IDR5, SMMU_IIDR, SMMU_AIDR. */
#define SMMU_ID_REGISTERS	8

union info {
	struct iommu_hw_info_vtd vtd;
	struct iommu_hw_info_amd amd;
	struct iommu_hw_info_arm_smmuv3 smmu;
};

/* The folder of the device's IOMMU, or a file of it. */
static const char *iommu_file(const char *name)
{
	static char path[256];
	const char *bdf = getenv("BDF");

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu/%s", bdf ? bdf : "", name);
	return path;
}

/* What the file says, scanned by a format with two numbers at most: how many there are. */
static int numbers(const char *name, const char *format, unsigned long long *a,
		   unsigned long long *b)
{
	FILE *f = fopen(iommu_file(name), "r");
	int nr = f ? fscanf(f, format, a, b) : -1;

	if (f)
		fclose(f);
	return nr;
}

static bool vtd_agrees(const union info *info)
{
	unsigned long long cap, ecap;

	if (numbers("intel-iommu/cap", "%llx", &cap, NULL) != 1 ||
	    numbers("intel-iommu/ecap", "%llx", &ecap, NULL) != 1)
		return false;
	note("cap %#llx, ecap %#llx", cap, ecap);
	return info->vtd.cap_reg == cap && info->vtd.ecap_reg == ecap && cap;
}

static bool amd_agrees(const union info *info)
{
	unsigned long long efr, efr2;

	if (numbers("amd-iommu/features", "%llx:%llx", &efr, &efr2) != 2)
		return false;
	note("efr %#llx, efr2 %#llx", efr, efr2);
	return info->amd.efr == efr && info->amd.efr2 == efr2 && efr;
}

/* The driver names the SMMU by the address of its registers. */
static bool smmu_agrees(const union info *info)
{
	const __u32 told[SMMU_ID_REGISTERS] = {
		info->smmu.idr[0], info->smmu.idr[1], info->smmu.idr[2], info->smmu.idr[3],
		info->smmu.idr[4], info->smmu.idr[5], info->smmu.iidr, info->smmu.aidr,
	};
	char target[PATH_MAX] = "";
	volatile const __u32 *registers;
	unsigned long long base;
	const char *name;
	bool same = true;
	int fd, i;

	if (!realpath(iommu_file(""), target))
		return false;
	name = strstr(target, "smmu3.0x");
	if (!name || sscanf(name, "smmu3.%llx", &base) != 1)
		return false;
	fd = open("/dev/mem", O_RDONLY | O_SYNC | O_CLOEXEC);
	registers = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, base);
	close(fd);
	if (registers == MAP_FAILED) {
		note("/dev/mem at %#llx: %s", base, strerror(errno));
		return false;
	}
	for (i = 0; i < SMMU_ID_REGISTERS; i++) {
		note("register %#x: %#x, told %#x", i * 4, registers[i], told[i]);
		same = same && registers[i] == told[i];
	}
	same = same && registers[0];
	munmap((void *)registers, PAGE);
	return same;
}

static const struct vendor {
	const char *mark;	/* a file or a beginning of the name that tells it */
	uint32_t type;
	uint32_t size;
	bool (*agrees)(const union info *info);
} vendors[] = {
	{ "intel-iommu", IOMMU_HW_INFO_TYPE_INTEL_VTD, sizeof(struct iommu_hw_info_vtd), vtd_agrees },
	{ "amd-iommu", IOMMU_HW_INFO_TYPE_AMD, sizeof(struct iommu_hw_info_amd), amd_agrees },
	{ "smmu3.", IOMMU_HW_INFO_TYPE_ARM_SMMUV3, sizeof(struct iommu_hw_info_arm_smmuv3),
	  smmu_agrees },
};

/* Whose IOMMU it is, as the kernel's device model has it. */
static const struct vendor *vendor(void)
{
	char target[PATH_MAX] = "";
	size_t i;

	if (!realpath(iommu_file(""), target))
		return NULL;
	for (i = 0; i < ARRAY_SIZE(vendors); i++)
		if (!access(iommu_file(vendors[i].mark), F_OK) || strstr(target, vendors[i].mark))
			return &vendors[i];
	return NULL;
}

static int get_info(struct bench *b, uint32_t flags, uint32_t type, union info *info,
		    struct iommu_hw_info *cmd)
{
	memset(info, 0xff, sizeof(*info));
	*cmd = (struct iommu_hw_info) {
		.size = sizeof(*cmd),
		.flags = flags,
		.dev_id = b->dev_id,
		.data_len = sizeof(*info),
		.data_uptr = PTR(info),
		.in_data_type = type,
	};
	return call(b->fd, IOMMU_GET_HW_INFO, cmd);
}

/* Whether all beyond the struct is zero, as promised for a buffer that is too large. */
static bool rest_is_zero(const union info *info, uint32_t size)
{
	const char *bytes = (const char *)info;

	while (size < sizeof(*info))
		if (bytes[size++])
			return false;
	return true;
}

static void as_hardware_says(struct bench *b)
{
	const struct vendor *v = vendor();
	struct iommu_hw_info cmd;
	union info info;

	CHECK(v);
	WANT(get_info(b, 0, 0, &info, &cmd), 0);
	WANT(cmd.out_data_type, v->type);
	WANT(cmd.data_len, v->size);
	CHECK(v->agrees(&info));
	CHECK(rest_is_zero(&info, v->size));
}

static void asked_by_type(struct bench *b)
{
	const struct vendor *v = vendor();
	struct iommu_hw_info cmd;
	union info info;
	size_t i;

	CHECK(v);
	for (i = 0; i < ARRAY_SIZE(vendors); i++) {
		int r = get_info(b, IOMMU_HW_INFO_FLAG_INPUT_TYPE, vendors[i].type, &info, &cmd);

		WANT(r, &vendors[i] == v ? 0 : -EOPNOTSUPP);
	}
	WANT(get_info(b, IOMMU_HW_INFO_FLAG_INPUT_TYPE, v->type, &info, &cmd), 0);
	WANT(cmd.out_data_type, v->type);
	CHECK(v->agrees(&info));
}

static const struct scene scenes[] = {
	{ "as the hardware says", as_hardware_says, HARD },
	{ "asked for by type", asked_by_type, HARD },
};

static void no_rows(struct bench *b)
{
}

static const struct suite info_suite = {
	.name = "hw-info",
	.rows = no_rows,
	.scenes = scenes,
	.nr_scenes = ARRAY_SIZE(scenes),
};

const struct suite *const suites[] = { &info_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
