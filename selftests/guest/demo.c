// SPDX-License-Identifier: GPL-2.0-only
/*
 * A network card copies memory through the IOMMU, and only the memory it was given. For somebody
 * who has never seen iommufd: every step is one ioctl and one line. Whatever is printed has been
 * checked, and the exit status is 0 only if all of it held.
 *
 * Usage: demo BDF, an igb bound to vfio-pci. The driver of the card is the kernel's libvfio.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#include <libvfio.h>

#define BUFFER_SIZE	(64UL << 10)
#define RINGS_SIZE	(256UL << 10)
#define FRAME		1024UL

static int step;

static __attribute__((format(printf, 1, 2))) void say(const char *fmt, ...)
{
	va_list args;

	printf("%2d. ", ++step);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

static __attribute__((format(printf, 1, 2))) void detail(const char *fmt, ...)
{
	va_list args;

	printf("      ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

#define must(cond, fmt, ...) do {						\
	if (!(cond)) {								\
		printf("demo: FAILED: " fmt "\n", ##__VA_ARGS__);		\
		exit(1);							\
	}									\
} while (0)

static void must_ioctl(int fd, unsigned long cmd, void *arg, const char *what)
{
	must(!ioctl(fd, cmd, arg), "%s: %s", what, strerror(errno));
}

/* A mapping: so many bytes of the process at an IOVA. */
struct window {
	const char *use;
	void *mem;
	uint64_t iova;
	uint64_t size;
};

struct demo {
	struct iommu iommu;
	struct vfio_pci_device *card;
	uint32_t dev_id;
	struct window src, dst, rings;
};

static uint32_t checksum(const void *mem, size_t size)
{
	const uint8_t *p = mem;
	uint32_t sum = 2166136261u;

	while (size--)
		sum = (sum ^ *p++) * 16777619u;
	return sum;
}

static void fill(void *mem, size_t size, uint32_t seed)
{
	uint32_t *p = mem;

	for (size /= sizeof(*p); size; size--) {
		seed = seed * 1664525u + 1013904223u;
		*p++ = seed;
	}
}

/* Returns how many pages are pinned in the whole system. */
static long pinned_pages(void)
{
	long acquired = -1, released = -1, value;
	char name[64];
	FILE *f;
	int fd;

	fd = open("/proc/sys/vm/stat_refresh", O_WRONLY);
	must(fd >= 0 && write(fd, "1", 1) == 1, "cannot refresh /proc/vmstat: %s",
	     strerror(errno));
	close(fd);
	f = fopen("/proc/vmstat", "r");
	must(f, "/proc/vmstat: %s", strerror(errno));
	while (fscanf(f, "%63s %ld", name, &value) == 2) {
		if (!strcmp(name, "nr_foll_pin_acquired"))
			acquired = value;
		if (!strcmp(name, "nr_foll_pin_released"))
			released = value;
	}
	fclose(f);
	must(acquired >= 0 && released >= 0, "/proc/vmstat does not count pins");
	return acquired - released;
}

static void open_iommufd(struct demo *d)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	INIT_LIST_HEAD(&d->iommu.dma_regions);
	d->iommu.iommufd = open("/dev/iommu", O_RDWR);
	must(d->iommu.iommufd > 0, "/dev/iommu: %s", strerror(errno));
	must_ioctl(d->iommu.iommufd, IOMMU_IOAS_ALLOC, &alloc, "IOMMU_IOAS_ALLOC");
	d->iommu.ioas_id = alloc.out_ioas_id;
	say("/dev/iommu is open, with an I/O address space in it: IOAS %u.",
	    alloc.out_ioas_id);
}

static void bind_card(struct demo *d, const char *bdf)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = d->iommu.iommufd,
	};
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = d->iommu.ioas_id,
	};

	d->card = vfio_pci_device_alloc(bdf, &d->iommu);
	vfio_pci_cdev_open(d->card, bdf);
	must_ioctl(d->card->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind, "VFIO_DEVICE_BIND_IOMMUFD");
	d->dev_id = bind.out_devid;
	say("The network card %s is bound to it: device %u.",
	    bdf, bind.out_devid);

	must_ioctl(d->card->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach,
		   "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	say("It is attached to the IOAS: the IOMMU now translates its addresses by page table %u.",
	    attach.pt_id);
}

static void show_iommu(struct demo *d)
{
	struct iommu_iova_range ranges[8] = {};
	struct iommu_ioas_iova_ranges query = {
		.size = sizeof(query),
		.ioas_id = d->iommu.ioas_id,
		.num_iovas = ARRAY_SIZE(ranges),
		.allowed_iovas = (uintptr_t)ranges,
	};
	struct iommu_hw_info_vtd vtd = {};
	struct iommu_hw_info info = {
		.size = sizeof(info),
		.dev_id = d->dev_id,
		.data_len = sizeof(vtd),
		.data_uptr = (uintptr_t)&vtd,
	};
	uint32_t i;

	must_ioctl(d->iommu.iommufd, IOMMU_GET_HW_INFO, &info, "IOMMU_GET_HW_INFO");
	if (info.out_data_type == IOMMU_HW_INFO_TYPE_INTEL_VTD)
		say("Its IOMMU is an Intel VT-d: %u-bit addresses, 2 MiB pages %s, device TLBs %s.",
		    (unsigned int)(vtd.cap_reg >> 16 & 0x3f) + 1,
		    vtd.cap_reg >> 34 & 1 ? "yes" : "no", vtd.ecap_reg >> 2 & 1 ? "yes" : "no");
	else
		say("Its IOMMU is of type %u (linux/iommufd.h says which).", info.out_data_type);

	must_ioctl(d->iommu.iommufd, IOMMU_IOAS_IOVA_RANGES, &query, "IOMMU_IOAS_IOVA_RANGES");
	must(query.num_iovas, "the IOAS has no usable address");
	for (i = 0; i < query.num_iovas; i++)
		detail("the card may use  0x%016llx - 0x%016llx", ranges[i].start, ranges[i].last);
}

static void map(struct demo *d, struct window *w)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = d->iommu.ioas_id,
		.user_va = (uintptr_t)w->mem,
		.length = w->size,
		.iova = w->iova,
	};

	must_ioctl(d->iommu.iommufd, IOMMU_IOAS_MAP, &map, "IOMMU_IOAS_MAP");
	detail("IOVA %#010" PRIx64 " -> our address %p, %3" PRIu64 " KiB: %s", w->iova, w->mem,
	       w->size >> 10, w->use);
}

static void unmap(struct demo *d, struct window *w)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = d->iommu.ioas_id,
		.iova = w->iova,
		.length = w->size,
	};

	must_ioctl(d->iommu.iommufd, IOMMU_IOAS_UNMAP, &unmap, "IOMMU_IOAS_UNMAP");
	must(unmap.length == w->size, "unmapped %llu bytes of %" PRIu64, unmap.length, w->size);
}

static void map_memory(struct demo *d, long idle)
{
	struct window *all[] = { &d->src, &d->dst, &d->rings };
	unsigned long pages = 0;
	size_t i;

	say("Three pieces of this program's memory are mapped for the card:");
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		all[i]->mem = mmap(NULL, all[i]->size, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		must(all[i]->mem != MAP_FAILED, "mmap: %s", strerror(errno));
		map(d, all[i]);
		pages += all[i]->size >> 12;
	}
	must(pinned_pages() - idle == (long)pages, "%ld pages are pinned, not %lu",
	     pinned_pages() - idle, pages);
	detail("%lu pages are pinned: they stay where they are while the card may use them", pages);
}

/* Hands the open device to libvfio's igb driver. */
static void start_card(struct demo *d)
{
	struct vfio_region_info *config = &d->card->config_space;
	struct vfio_pci_bar *bar = &d->card->bars[0];
	size_t i;

	config->argsz = sizeof(*config);
	config->index = VFIO_PCI_CONFIG_REGION_INDEX;
	must_ioctl(d->card->fd, VFIO_DEVICE_GET_REGION_INFO, config, "configuration space");
	bar->info.argsz = sizeof(bar->info);
	must_ioctl(d->card->fd, VFIO_DEVICE_GET_REGION_INFO, &bar->info, "the card's registers");
	bar->vaddr = mmap(NULL, bar->info.size, PROT_READ | PROT_WRITE, MAP_SHARED, d->card->fd,
			  bar->info.offset);
	must(bar->vaddr != MAP_FAILED, "mmap of its registers: %s", strerror(errno));

	for (i = 0; i < ARRAY_SIZE(d->card->msi_eventfds); i++)
		d->card->msi_eventfds[i] = -1;
	d->card->driver.region.vaddr = d->rings.mem;
	d->card->driver.region.iova = d->rings.iova;
	d->card->driver.region.size = d->rings.size;
	list_add(&d->card->driver.region.link, &d->iommu.dma_regions);

	vfio_pci_driver_probe(d->card);
	must(d->card->driver.ops, "libvfio has no driver for this card");
	vfio_pci_driver_init(d->card);
	must(d->card->driver.max_memcpy_size >= FRAME, "the driver copies less than %lu bytes",
	     FRAME);
}

/* Has the card read from src, loop the data back, and write them to dst. */
static void copy_all(struct demo *d, uint32_t seed)
{
	uint32_t before, want;
	uint64_t done;
	int r;

	fill(d->src.mem, d->src.size, seed);
	memset(d->dst.mem, 0xff, d->dst.size);
	before = checksum(d->dst.mem, d->dst.size);
	want = checksum(d->src.mem, d->src.size);
	must(before != want, "the buffers were alike before the copy");

	for (done = 0; done < d->src.size; done += FRAME) {
		r = vfio_pci_driver_memcpy(d->card, d->src.iova + done, d->dst.iova + done, FRAME);
		must(!r, "the card gave up at byte %" PRIu64 ": %s", done, strerror(-r));
	}
	must(!memcmp(d->src.mem, d->dst.mem, d->src.size), "the bytes that arrived are wrong");
	detail("source %08x; destination %08x before, %08x after: every byte arrived", want,
	       before, checksum(d->dst.mem, d->dst.size));
}

/* Finds the kernel's last message about a DMA fault, and the address in it. */
static bool read_fault(int kmsg, char *line, size_t size, uint64_t *addr)
{
	const char *at, *end;
	int waited;
	ssize_t n;

	for (waited = 0; waited < 5000; waited += 20) {
		while ((n = read(kmsg, line, size - 1)) > 0) {
			line[n] = 0;
			at = strstr(line, "fault addr ");
			if (!at)
				continue;
			*addr = strtoull(at + strlen("fault addr "), NULL, 16);
			at = strchr(line, ';');
			at = at ? at + 1 : line;
			end = strchrnul(at, '\n');
			memmove(line, at, end - at);
			line[end - at] = 0;
			return true;
		}
		must(n < 0 && (errno == EAGAIN || errno == EPIPE), "/dev/kmsg: %s",
		     strerror(errno));
		usleep(20000);
	}
	return false;
}

static void forbid(struct demo *d)
{
	uint32_t before, after;
	uint64_t addr = 0;
	char line[1024];
	int kmsg, r;

	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	must(kmsg >= 0 && lseek(kmsg, 0, SEEK_END) >= 0, "/dev/kmsg: %s", strerror(errno));

	unmap(d, &d->dst);
	say("The destination is unmapped; the card is told to write there all the same.");
	memset(d->dst.mem, 0x5a, d->dst.size);
	before = checksum(d->dst.mem, d->dst.size);
	r = vfio_pci_driver_memcpy(d->card, d->src.iova, d->dst.iova, FRAME);
	detail("the card %s", r ? "noticed and gave up" : "noticed nothing: a posted write has no answer");

	must(read_fault(kmsg, line, sizeof(line), &addr), "the kernel logged no DMA fault");
	detail("kernel: %s", line);
	must(strstr(line, d->card->bdf + strlen("0000:")), "that fault is not of %s", d->card->bdf);
	must(strstr(line, "Write"), "that fault is not a write");
	must(addr >= d->dst.iova && addr < d->dst.iova + FRAME,
	     "the fault is at %#" PRIx64 ", not at %#" PRIx64, addr, d->dst.iova);
	close(kmsg);

	after = checksum(d->dst.mem, d->dst.size);
	must(before == after, "the card wrote to memory that is not mapped");
	detail("memory %08x before, %08x after: blocked at IOVA %#" PRIx64 ", nothing was touched",
	       before, after, addr);
}

static void clean_up(struct demo *d, long idle)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = d->iommu.ioas_id };

	/* The driver's rings are in use until the card is stopped. */
	vfio_pci_driver_remove(d->card);
	unmap(d, &d->src);
	unmap(d, &d->dst);
	unmap(d, &d->rings);
	must(ioctl(d->iommu.iommufd, IOMMU_DESTROY, &destroy) && errno == EBUSY,
	     "an IOAS with a device on it could be destroyed");
	vfio_pci_device_cleanup(d->card);
	must_ioctl(d->iommu.iommufd, IOMMU_DESTROY, &destroy, "IOMMU_DESTROY");
	close(d->iommu.iommufd);
	must(pinned_pages() == idle, "%ld pages are still pinned", pinned_pages() - idle);
	say("Unmapped, closed, destroyed. No page is pinned any more.");
}

int main(int argc, char **argv)
{
	struct demo d = {
		.src = { .use = "what the card sends", .iova = 0x10000000, .size = BUFFER_SIZE },
		.dst = { .use = "what the card receives", .iova = 0x20000000, .size = BUFFER_SIZE },
		.rings = { .use = "the card's descriptor rings", .iova = 0x30000000, .size = RINGS_SIZE },
	};
	long idle;

	if (argc != 2 || strlen(argv[1]) != strlen("0000:00:00.0")) {
		fprintf(stderr, "usage: demo BDF   (for instance 0000:00:02.0, bound to vfio-pci)\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("A network card copies memory, and only the memory it was given.\n\n");

	idle = pinned_pages();
	open_iommufd(&d);
	bind_card(&d, argv[1]);
	show_iommu(&d);
	map_memory(&d, idle);
	start_card(&d);
	say("The card copies %lu KiB by DMA: it sends them to itself and receives them.",
	    BUFFER_SIZE >> 10);
	copy_all(&d, 1);
	forbid(&d);
	say("The destination is mapped again, at the same address, and the card may go on.");
	map(&d, &d.dst);
	copy_all(&d, 2);
	clean_up(&d, idle);

	printf("\nAll of it was checked and held.\n");
	return 0;
}
