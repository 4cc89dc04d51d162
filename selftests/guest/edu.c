// SPDX-License-Identifier: GPL-2.0-only
/* See edu.h. */
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "call.h"
#include "edu.h"
#include "result.h"

/* Of edu, docs/specs/edu.rst of QEMU. */
#define DMA_SOURCE	0x80
#define DMA_TARGET	0x88
#define DMA_COUNT	0x90
#define DMA_COMMAND	0x98
#define DMA_RUN		1u
#define DMA_WRITE	2u
#define BUFFER		0x40000
#define REGISTERS	(1UL << 20)

/* Milliseconds that a DMA of edu may take: it is a timer's of 100. */
#define PATIENCE	20000

bool start_edu(struct edu *e)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX };
	uint16_t command = 6;
	void *registers;

	if (call(e->dev, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    call(e->dev, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    pwrite(e->dev, &command, sizeof(command), config.offset + 4) != sizeof(command))
		return false;
	registers = mmap(NULL, REGISTERS, PROT_READ | PROT_WRITE, MAP_SHARED, e->dev, bar.offset);
	if (registers == MAP_FAILED)
		return false;
	e->registers = registers;
	return true;
}

void stop_edu(struct edu *e)
{
	munmap((void *)e->registers, REGISTERS);
	e->registers = NULL;
}

static void set_register(struct edu *e, uint32_t place, uint64_t value)
{
	*(volatile uint64_t *)(e->registers + place) = value;
}

static void begin(struct edu *e, uint64_t source, uint64_t target, uint32_t command)
{
	set_register(e, DMA_SOURCE, source);
	set_register(e, DMA_TARGET, target);
	set_register(e, DMA_COUNT, 4);
	set_register(e, DMA_COMMAND, command | DMA_RUN);
}

bool edu_is_to_write(const struct edu *e)
{
	return *(volatile uint64_t *)(e->registers + DMA_COMMAND) & DMA_RUN;
}

void edu_ends(struct edu *e)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };
	int left = PATIENCE;

	while (edu_is_to_write(e)) {
		if (!left--) {
			fail("a DMA does not end");
			return;
		}
		nanosleep(&millisecond, NULL);
	}
}

void edu_reads(struct edu *e, uint64_t source)
{
	begin(e, source, BUFFER, 0);
	edu_ends(e);
}

void edu_begins_to_write(struct edu *e, uint64_t target)
{
	begin(e, BUFFER, target, DMA_WRITE);
}

void edu_copies(struct edu *e, uint64_t source, uint64_t target)
{
	edu_reads(e, source);
	edu_begins_to_write(e, target);
	edu_ends(e);
}
