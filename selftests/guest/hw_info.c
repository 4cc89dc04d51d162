// SPDX-License-Identifier: GPL-2.0-only
/*
 * Compares what IOMMU_GET_HW_INFO returns with the hardware: the registers of a VT-d and of an SMMUv3,
 * and for an AMD-Vi the copy of its registers in the firmware's table, its PCI configuration space, and
 * what its driver has read. Checks that the backend of the device is the native one if the IOMMU's driver
 * has a door for it.
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

#include "fdinfo.h"
#include "frame.h"

#define BIT(n)			(1ULL << (n))

/* SMMUv3, Arm IHI 0070 section 6.3: SMMU_IDR0 to SMMU_IDR5, SMMU_IIDR, SMMU_AIDR. */
#define SMMU_ID_REGISTERS	8

union info {
	struct iommu_hw_info_vtd vtd;
	struct iommu_hw_info_amd amd;
	struct iommu_hw_info_arm_smmuv3 smmu;
};

/* PCI: an AMD-Vi's capability block, and the extended capabilities ATS and PASID. */
#define SECURE_DEVICE		0x0f
#define ATS			0x0f
#define PASID			0x1b

static bool has_bits(uint64_t value, uint64_t bits)
{
	return (value & bits) == bits;
}

/* Returns the path of a file of the device. */
static const char *device_file(const char *name)
{
	static char path[256];
	const char *bdf = getenv("BDF");

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf ? bdf : "", name);
	return path;
}

/* Returns the path of a file of the device's IOMMU, or of its folder. */
static const char *iommu_file(const char *name)
{
	char below[128];

	snprintf(below, sizeof(below), "iommu/%s", name);
	return device_file(below);
}

/* Scans the file for at most two numbers. Returns how many there are. */
static int numbers(const char *name, const char *format, unsigned long long *a,
		   unsigned long long *b)
{
	FILE *f = fopen(iommu_file(name), "r");
	int nr = f ? fscanf(f, format, a, b) : -1;

	if (f)
		fclose(f);
	return nr;
}

/* Returns the name of the IOMMU in the kernel's device model. */
static const char *iommu_name(void)
{
	static char target[PATH_MAX];

	return realpath(iommu_file(""), target) ? strrchr(target, '/') + 1 : "";
}

/* Returns the first word of a capability in a PCI function's configuration space, or 0. */
static uint32_t pci_capability(const char *config, uint32_t wanted)
{
	int fd = open(config, O_RDONLY | O_CLOEXEC);
	unsigned char at = 0x34;
	uint32_t word = 0;
	int left = 48;

	if (pread(fd, &at, 1, at) != 1)
		at = 0;
	for (; at && left; at = word >> 8, left--)
		if (pread(fd, &word, sizeof(word), at) != sizeof(word) || (word & 0xff) == wanted)
			break;
	close(fd);
	return at && (word & 0xff) == wanted ? word : 0;
}

/* Returns whether the device under test has an extended capability. */
static bool has_extended(uint32_t wanted)
{
	int fd = open(device_file("config"), O_RDONLY | O_CLOEXEC);
	uint32_t word = 0;
	off_t at = 0x100;
	int left = 96;

	for (; at && left; at = word >> 20, left--)
		if (pread(fd, &word, sizeof(word), at) != sizeof(word) || (word & 0xffff) == wanted)
			break;
	close(fd);
	return at && (word & 0xffff) == wanted;
}

/* Reads a register of the VT-d. The kernel reads it from the hardware when the file is read. */
static bool vtd_register(const char *iommu, const char *name, unsigned long long *value)
{
	FILE *f = fopen("/sys/kernel/debug/iommu/intel/iommu_regset", "r");
	char line[256], word[64];
	bool here = false, found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "IOMMU: %63s", word) == 1)
			here = !strcmp(word, iommu);
		else if (here && sscanf(line, "%63s %*x %llx", word, value) == 2)
			found = !strcmp(word, name);
	}
	if (f)
		fclose(f);
	return found;
}

static bool vtd_agrees(const union info *info)
{
	unsigned long long cap, ecap, driver_cap, driver_ecap;

	if (!vtd_register(iommu_name(), "CAP", &cap) ||
	    !vtd_register(iommu_name(), "ECAP", &ecap) ||
	    numbers("intel-iommu/cap", "%llx", &driver_cap, NULL) != 1 ||
	    numbers("intel-iommu/ecap", "%llx", &driver_ecap, NULL) != 1)
		return false;
	note("registers: cap %#llx, ecap %#llx", cap, ecap);
	note("driver:    cap %#llx, ecap %#llx", driver_cap, driver_ecap);
	note("told:      cap %#llx, ecap %#llx", info->vtd.cap_reg, info->vtd.ecap_reg);
	return info->vtd.cap_reg == cap && info->vtd.ecap_reg == ecap && cap &&
	       driver_cap == cap && driver_ecap == ecap;
}

/* Scalable mode; accessed and dirty bits in second-stage tables; coherent table walks. */
static bool vtd_tracks_dirty(const union info *info)
{
	return has_bits(info->vtd.ecap_reg, BIT(43) | BIT(45) | BIT(48));
}

static bool vtd_takes_ats(const union info *info)
{
	return has_bits(info->vtd.ecap_reg, BIT(2));
}

/*
 * The extended feature registers of the AMD-Vi, of which there is one here, from the firmware's
 * table. AMD 48882 section 5.2.2: an I/O virtualization hardware definition of type 11h or 40h has
 * a copy of each.
 */
static bool amd_firmware(unsigned long long *efr, unsigned long long *efr2)
{
	FILE *f = fopen("/sys/firmware/acpi/tables/IVRS", "r");
	unsigned char table[4096];
	size_t size = f ? fread(table, 1, sizeof(table), f) : 0;
	size_t at = 48, length;
	bool found = false;

	for (; at + 40 <= size; at += length) {
		length = table[at + 2] | table[at + 3] << 8;
		if (length < 24)
			break;
		if (table[at] == 0x11 || table[at] == 0x40) {
			memcpy(efr, table + at + 24, sizeof(*efr));
			memcpy(efr2, table + at + 32, sizeof(*efr2));
			found = true;
		}
	}
	if (f)
		fclose(f);
	return found;
}

static bool amd_agrees(const union info *info)
{
	unsigned long long efr, efr2, driver_efr, driver_efr2;

	if (!amd_firmware(&efr, &efr2) ||
	    numbers("amd-iommu/features", "%llx:%llx", &driver_efr, &driver_efr2) != 2)
		return false;
	note("firmware: efr %#llx, efr2 %#llx", efr, efr2);
	note("driver:   efr %#llx, efr2 %#llx", driver_efr, driver_efr2);
	note("told:     efr %#llx, efr2 %#llx", info->amd.efr, info->amd.efr2);
	return info->amd.efr == efr && info->amd.efr2 == efr2 && efr &&
	       driver_efr == efr && driver_efr2 == efr2;
}

/* HDSup. */
static bool amd_tracks_dirty(const union info *info)
{
	return has_bits(info->amd.efr, BIT(52));
}

/* IotlbSup in the capability block of the IOMMU's PCI function. */
static bool amd_takes_ats(const union info *info)
{
	return has_bits(pci_capability(iommu_file("device/config"), SECURE_DEVICE), BIT(24));
}

/* The name of the SMMU in the device model is the address of its registers. */
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

/* HTTU: the access and dirty bits are supported. COHACC: table walks are coherent. */
static bool smmu_tracks_dirty(const union info *info)
{
	return (info->smmu.idr[0] >> 6 & 3) == 2 && has_bits(info->smmu.idr[0], BIT(4));
}

static bool smmu_takes_ats(const union info *info)
{
	return has_bits(info->smmu.idr[0], BIT(10));
}

static const struct vendor {
	const char *mark;	/* a file that the IOMMU has, or the beginning of its name */
	uint32_t type;
	uint32_t size;
	/* The native backend, and a function of the driver's door for it. */
	const char *native, *door;
	bool (*agrees)(const union info *info);
	/* Whether its registers say that it can track dirty pages, and serve devices with ATS. */
	bool (*tracks_dirty)(const union info *info);
	bool (*takes_ats)(const union info *info);
} vendors[] = {
	{ "intel-iommu", IOMMU_HW_INFO_TYPE_INTEL_VTD, sizeof(struct iommu_hw_info_vtd),
	  "vtd", "intel_iommu_door_owns", vtd_agrees, vtd_tracks_dirty, vtd_takes_ats },
	{ "amd-iommu", IOMMU_HW_INFO_TYPE_AMD, sizeof(struct iommu_hw_info_amd),
	  "amd_vi", "amd_iommu_door_owns", amd_agrees, amd_tracks_dirty, amd_takes_ats },
	{ "smmu3.", IOMMU_HW_INFO_TYPE_ARM_SMMUV3, sizeof(struct iommu_hw_info_arm_smmuv3),
	  "smmu_v3", "arm_smmu_door_owns", smmu_agrees, smmu_tracks_dirty, smmu_takes_ats },
};

/* Returns the vendor of the device's IOMMU, by the kernel's device model. */
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

static int get_info(struct fixture *f, uint32_t flags, uint32_t type, union info *info,
		    struct iommu_hw_info *cmd)
{
	memset(info, 0xff, sizeof(*info));
	*cmd = (struct iommu_hw_info) {
		.size = sizeof(*cmd),
		.flags = flags,
		.dev_id = f->dev_id,
		.data_len = sizeof(*info),
		.data_uptr = PTR(info),
		.in_data_type = type,
	};
	return call(f->fd, IOMMU_GET_HW_INFO, cmd);
}

/*
 * Returns whether all bytes behind the struct are zero, as the header says of a buffer that is too
 * large.
 */
static bool rest_is_zero(const union info *info, uint32_t size)
{
	const char *bytes = (const char *)info;

	while (size < sizeof(*info))
		if (bytes[size++])
			return false;
	return true;
}

static void as_hardware_says(struct fixture *f)
{
	const struct vendor *v = vendor();
	struct iommu_hw_info cmd;
	union info info;

	CHECK(v);
	WANT(get_info(f, 0, 0, &info, &cmd), 0);
	WANT(cmd.out_data_type, v->type);
	WANT(cmd.data_len, v->size);
	CHECK(v->agrees(&info));
	CHECK(rest_is_zero(&info, v->size));
}

static void asked_by_type(struct fixture *f)
{
	const struct vendor *v = vendor();
	struct iommu_hw_info cmd;
	union info info;
	size_t i;

	CHECK(v);
	for (i = 0; i < ARRAY_SIZE(vendors); i++) {
		int r = get_info(f, IOMMU_HW_INFO_FLAG_INPUT_TYPE, vendors[i].type, &info, &cmd);

		WANT(r, &vendors[i] == v ? 0 : -EOPNOTSUPP);
	}
	WANT(get_info(f, IOMMU_HW_INFO_FLAG_INPUT_TYPE, v->type, &info, &cmd), 0);
	WANT(cmd.out_data_type, v->type);
	CHECK(v->agrees(&info));
}

/* The capabilities follow from the same registers and from the device's own capabilities. */
static void capabilities(struct fixture *f)
{
	const struct vendor *v = vendor();
	struct iommu_hw_info cmd;
	uint64_t expected = 0;
	union info info;

	CHECK(v);
	WANT(get_info(f, 0, 0, &info, &cmd), 0);
	/* The card has no PASIDs; otherwise the kernel's support would count too. */
	CHECK(!has_extended(PASID));
	WANT(cmd.out_max_pasid_log2, 0);
	if (v->tracks_dirty(&info))
		expected |= IOMMU_HW_CAP_DIRTY_TRACKING;
	if (!has_extended(ATS) || !v->takes_ats(&info))
		expected |= IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED;
	note("the card %s ATS, the IOMMU %s", has_extended(ATS) ? "has" : "lacks",
	     v->takes_ats(&info) ? "takes it" : "does not");
	WANT(cmd.out_capabilities, expected);
}

/* Returns whether the kernel has a function. */
static bool has_function(const char *wanted)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char name[512];
	bool found = false;

	while (f && !found && fscanf(f, "%*s %*s %511s%*[^\n]", name) == 1)
		found = !strcmp(name, wanted);
	if (f)
		fclose(f);
	return found;
}

static void backend(struct fixture *f)
{
	const struct vendor *v = vendor();
	char key[64], name[32] = "";
	bool told;

	CHECK(v);
	snprintf(key, sizeof(key), "iommufd-device-%u-backend", f->dev_id);
	told = key_text(read_fdinfo(f->fd), key, name, sizeof(name));
	note("the backend is \"%s\"", name);
	/* The C module has no such line. */
	CHECK(told ? !strcmp(name, has_function(v->door) ? v->native : "in_tree") : on_c_module());
}

static const struct test tests[] = {
	{ "as the hardware says", as_hardware_says, DOMAIN },
	{ "asked for by type", asked_by_type, DOMAIN },
	{ "capabilities follow from it", capabilities, DOMAIN },
	{ "native if the driver has a door", backend, DOMAIN },
};

static const struct suite info_suite = {
	.name = "hw-info",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};

const struct suite *const suites[] = { &info_suite };
const unsigned int nr_suites = ARRAY_SIZE(suites);
