// SPDX-License-Identifier: GPL-2.0-only
/* Mapped files: those that cannot be pinned, and dma-bufs of a device's registers. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bugs.h"

#define NR		4UL	/* pages of registers */
#define COMMAND		4	/* PCI's command register, whose second bit enables the registers */
#define COMMAND_MEMORY	2

/* A file that a context maps must not keep the context alive. */
static void own_file(struct fixture *f)
{
	uint64_t iova = FREE_IOVA;

	WANT_FINDING("11", map_file(f->fd, f->other, FIXED | RW, f->fd, 0, PAGE, &iova), -EINVAL, 0);
	/* On the C module the context, and so the module's use count, would stay until reboot. */
	if (on_c_module())
		WANT(unmap(f->fd, f->other, FREE_IOVA, PAGE), PAGE);
}

static void own_file_closed(struct fixture *none)
{
	uint64_t iova = FREE_IOVA;
	struct fixture f = { .fd = open_iommu(), .dev = open(device_path, O_RDWR | O_CLOEXEC) };
	long idle = pinned();
	uint32_t ioas;

	CHECK(f.fd >= 0 && f.dev >= 0);
	WANT(bind_device(f.dev, f.fd, &f.dev_id), 0);
	WANT(ioas_alloc(f.fd, &f.ioas), 0);
	WANT(ioas_alloc(f.fd, &ioas), 0);
	WANT(attach(f.dev, f.ioas, NULL), 0);
	WANT(map(f.fd, f.ioas, mem.rw, 8 * PAGE, FREE_IOVA), 0);
	WANT_FINDING("11", map_file(f.fd, ioas, FIXED | RW, f.fd, 0, PAGE, &iova), -EINVAL, 0);
	WANT_FINDING("11", map_file(f.fd, ioas, FIXED | READ, f.dev, 0, PAGE, &iova), -EINVAL,
		     -EEXIST);
	if (on_c_module())
		WANT(unmap(f.fd, ioas, FREE_IOVA, PAGE), PAGE);
	close(f.dev);
	close(f.fd);
	WANT(pinned(), idle);
}

/* A device writes to a file that the process cannot write to: as the C module, finding D. */
static void write_protected(struct fixture *f)
{
	int fd = memory_file(PAGE, MFD_ALLOW_SEALING);
	uint64_t iova = FREE_IOVA;

	CHECK(fd >= 0 && !fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	WANT(map_file(f->fd, f->ioas, FIXED | RW, fd, 0, PAGE, &iova), 0);
	close(fd);
}

static int export_registers(int dev, uint64_t offset, uint64_t length)
{
	uint64_t buf[16] = {};
	struct vfio_device_feature *feature = (void *)buf;
	struct vfio_device_feature_dma_buf *get = (void *)feature->data;

	feature->argsz = sizeof(*feature) + sizeof(*get) + sizeof(get->dma_ranges[0]);
	feature->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	get->region_index = VFIO_PCI_BAR0_REGION_INDEX;
	get->open_flags = O_RDWR | O_CLOEXEC;
	get->nr_ranges = 1;
	get->dma_ranges[0].offset = offset;
	get->dma_ranges[0].length = length;
	return call(dev, VFIO_DEVICE_FEATURE, feature);
}

/* Disables or enables the registers. Disabling revokes the dma-buf from every importer. */
static bool turn(int dev, bool on)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	uint16_t command;

	if (call(dev, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    pread(dev, &command, 2, config.offset + COMMAND) != 2)
		return false;
	command = on ? command | COMMAND_MEMORY : command & ~COMMAND_MEMORY;
	return pwrite(dev, &command, 2, config.offset + COMMAND) == 2;
}

static int map_registers(struct fixture *f, uint32_t ioas, int file, uint64_t iova)
{
	return map_file(f->fd, ioas, FIXED | RW, file, 0, NR * PAGE, &iova);
}

static int map_part(struct fixture *f, int file, uint64_t start, uint64_t length)
{
	uint64_t iova = 5 * FREE_IOVA;

	return map_file(f->fd, f->ioas, FIXED | RW, file, start, length, &iova);
}

/*
 * Mapped, copied and unmapped, with the file closed before and after. Nothing of it counts as
 * pinned.
 */
static void registers(struct fixture *f)
{
	int file = export_registers(f->dev, 0, NR * PAGE);
	uint64_t to = 2 * FREE_IOVA;
	long idle = pinned();

	CHECK(file >= 0);
	WANT(map_registers(f, f->ioas, file, FREE_IOVA), 0);
	WANT(map_registers(f, f->ioas, file, 3 * FREE_IOVA), 0);
	WANT(copy(f->fd, f->ioas, FREE_IOVA, NR * PAGE, FIXED | RW, f->ioas, &to), 0);
	WANT(map_part(f, file, PAGE, NR * PAGE), -EINVAL);
	WANT(map_part(f, file, NR * PAGE, PAGE), -EINVAL);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, NR * PAGE), NR * PAGE);
	close(file);
	WANT(unmap(f->fd, f->ioas, 2 * FREE_IOVA, NR * PAGE), NR * PAGE);
	WANT(unmap(f->fd, f->ioas, 3 * FREE_IOVA, NR * PAGE), NR * PAGE);
	WANT(pinned(), idle);
	/* The last mapping is removed when the IOAS is destroyed. */
	file = export_registers(f->dev, PAGE, NR * PAGE);
	CHECK(file >= 0);
	WANT(map_registers(f, f->ioas, file, FREE_IOVA), 0);
	close(file);
}

/* Without page tables, with one, with two, and with none again. */
static void registers_attached(struct fixture *f)
{
	int file = export_registers(f->dev, 0, NR * PAGE);
	uint32_t hwpt;

	CHECK(file >= 0);
	WANT(map_registers(f, f->other, file, FREE_IOVA), 0);
	close(file);
	WANT(attach(f->dev, f->other, NULL), 0);
	WANT(hwpt_alloc(f->fd, f->dev_id, f->other, &hwpt), 0);
	WANT(attach(f->dev, hwpt, NULL), 0);
	WANT(detach(f->dev), 0);
	WANT(destroy(f->fd, hwpt), 0);
	WANT(attach(f->dev, f->other, NULL), 0);
	WANT(unmap(f->fd, f->other, FREE_IOVA, NR * PAGE), NR * PAGE);
}

/*
 * After the revocation nothing can be mapped until the registers are enabled, and everything can
 * be unmapped.
 */
static void revoked(struct fixture *f)
{
	int file = export_registers(f->dev, 0, NR * PAGE), r;

	CHECK(file >= 0);
	WANT(map_registers(f, f->ioas, file, FREE_IOVA), 0);
	CHECK(turn(f->dev, false));
	r = map_registers(f, f->ioas, file, 2 * FREE_IOVA);
	CHECK(turn(f->dev, true));
	WANT(r, -ENODEV);
	WANT(map_registers(f, f->ioas, file, 2 * FREE_IOVA), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, NR * PAGE), NR * PAGE);
	WANT(map_registers(f, f->ioas, file, FREE_IOVA), 0);
	CHECK(turn(f->dev, false));
	close(file);
	r = detach(f->dev);
	CHECK(turn(f->dev, true));
	WANT(r, 0);
	WANT(attach(f->dev, f->other, NULL), 0);
}

/* The device is closed, which revokes for good, and then the iommufd. */
static void device_closed(struct fixture *none)
{
	struct fixture f;
	int file;

	CHECK(open_fixture(&f, true));
	file = export_registers(f.dev, 0, NR * PAGE);
	CHECK(file >= 0);
	WANT(map_registers(&f, f.ioas, file, FREE_IOVA), 0);
	WANT(map_registers(&f, f.other, file, FREE_IOVA), 0);
	munmap(mem.registers, PAGE);
	mem.registers = NULL;
	close(f.dev);
	f.dev = -1;
	WANT(unmap(f.fd, f.other, FREE_IOVA, NR * PAGE), NR * PAGE);
	close_fixture(&f);
	close(file);
}

static int racing;

static void map_racing(struct fixture *f, unsigned int round)
{
	uint64_t iova = FREE_IOVA + (round % 3) * HUGE;
	int r = map_registers(f, f->ioas, racing, iova);

	if (r)
		WANT(r, -ENODEV);
	else
		WANT(unmap(f->fd, f->ioas, iova, NR * PAGE), NR * PAGE);
}

static void turn_racing(struct fixture *f, unsigned int round)
{
	CHECK(turn(f->dev, round & 1));
}

static void attach_racing(struct fixture *f, unsigned int round)
{
	int r = attach(f->dev, round & 1 ? f->ioas : f->other, NULL);

	if (r)
		WANT(r, -ENODEV);
}

static void revoke_races_map(struct fixture *f)
{
	racing = export_registers(f->dev, 0, NR * PAGE);
	CHECK(racing >= 0);
	race(f, &(struct worker){ map_racing, 200 }, &(struct worker){ turn_racing, 200 });
	CHECK(turn(f->dev, true));
	WANT(map_registers(f, f->ioas, racing, 2 * FREE_IOVA), 0);
	/* The dma-buf is revoked while page tables are attached to it and detached. */
	WANT(map_registers(f, f->other, racing, 2 * FREE_IOVA), 0);
	race(f, &(struct worker){ attach_racing, 50 }, &(struct worker){ turn_racing, 50 });
	CHECK(turn(f->dev, true));
	close(racing);
}

/* The registers of another device, mapped for this one. */
static void registers_of_another(struct fixture *f)
{
	int second = open_second(), fd = open_iommu(), file;
	uint32_t id;

	CHECK(second >= 0 && fd >= 0);
	WANT(bind_device(second, fd, &id), 0);
	file = export_registers(second, 0, NR * PAGE);
	CHECK(file >= 0);
	WANT(map_registers(f, f->ioas, file, FREE_IOVA), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, NR * PAGE), NR * PAGE);
	WANT(map_registers(f, f->ioas, file, FREE_IOVA), 0);
	close(file);
	close(second);
	close(fd);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, NR * PAGE), NR * PAGE);
}

/*
 * A page of registers in many areas, all of which lose it when it is revoked. The C module goes through all
 * areas of the dma-buf for each, so it gets fewer.
 */
static void registers_in_many_areas(struct fixture *f)
{
	const unsigned long nr = on_c_module() || slow_kernel() ? 1000 : 131073;
	int file = export_registers(f->dev, 0, PAGE), r;
	uint64_t iova = FREE_IOVA;

	CHECK(file >= 0);
	WANT(map_file(f->fd, f->ioas, FIXED | RW, file, 0, PAGE, &iova), 0);
	WANT(map_areas(f->fd, f->ioas, nr), 0);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA, nr / 2 * PAGE), nr / 2 * PAGE);
	WANT(unmap(f->fd, f->ioas, FREE_IOVA + (nr - 1) * PAGE, PAGE), PAGE);
	CHECK(turn(f->dev, false));
	close(file);
	r = unmap(f->fd, f->ioas, FREE_IOVA, nr * PAGE) == (long long)(nr - nr / 2 - 1) * (long long)PAGE;
	CHECK(turn(f->dev, true));
	CHECK(r);
}

static const struct test tests[] = {
	{ "the iommufd maps itself, finding 11", own_file, NO_DOMAIN | DOMAIN },
	{ "an iommufd that mapped itself is closed, finding 11", own_file_closed, ALONE },
	{ "a sealed file is mapped writeable, finding D", write_protected, NO_DOMAIN | DOMAIN },
	{ "dma-buf: mapped and unmapped", registers, DOMAIN },
	{ "dma-buf: attached and detached", registers_attached, DOMAIN },
	{ "dma-buf: revoked while mapped", revoked, DOMAIN },
	{ "dma-buf: the device is closed while it is mapped", device_closed, ALONE },
	{ "dma-buf: revoke races map and attach", revoke_races_map, DOMAIN },
	{ "dma-buf: of another device", registers_of_another, DOMAIN },
	{ "dma-buf: one page in 131,073 areas", registers_in_many_areas, DOMAIN },
};

const struct suite file_bugs_suite = {
	.name = "files",
	.tests = tests,
	.nr_tests = ARRAY_SIZE(tests),
};
