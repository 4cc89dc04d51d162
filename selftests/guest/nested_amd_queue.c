// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's commands and events, see nested_amd.c. The driver serves neither, so that these tests are skipped on
 * the C module and by in_tree. What the IOMMU is given is read from the driver's command buffer.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "nested_amd.h"

#define ALL_OF			(ALL_PAGES | CMD_S | CMD_PDE)
/* Commands of a submission, see Documentation/backends.rst. */
#define SUBMISSION		64u

static bool no_commands(void)
{
	if (by_the_driver())
		skip("the driver has no commands and events of guests");
	return by_the_driver();
}

static struct issued seen;

static void check_issued(uint32_t n, uint64_t word0, uint64_t word1)
{
	if (n >= seen.commands)
		fail("command %u is missing", n);
	else if (seen.word[n][0] != word0 || seen.word[n][1] != word1)
		fail("command %u is %#lx %#lx, not %#lx %#lx", n, seen.word[n][0], seen.word[n][1], word0,
		     word1);
}

/* The host's domain ID of an attached device. */
static uint64_t host_domain(const struct guest *g)
{
	return entry_of(g).word[1] & 0xffff;
}

static uint64_t pages_word(const struct guest *g)
{
	return CMD_PAGES << 60 | host_domain(g) << 32;
}

static uint64_t devtab_word(const struct guest *g)
{
	return CMD_DEVTAB << 60 | device_id_of(g);
}

/* Two devices of a guest, each in a domain of its own. */
static bool open_two(struct guest g[2])
{
	uint32_t hwpt;
	int r;

	if (!open_attached(&g[0], translating(DOMAIN, GCR3_PAGE), &hwpt) || !open_beside(&g[1], &g[0]))
		return false;
	r = nested(&g[1], translating(OTHER_DOMAIN, OTHER_GCR3_PAGE), &hwpt);
	r = r ?: attach(g[1].edu.dev, hwpt, NULL);
	if (r)
		fail("not attached: %s", errno_name(r));
	return !r;
}

static void close_two(struct guest g[2])
{
	stop_edu(&g[1].edu);
	close(g[1].edu.dev);
	close_guest(&g[0]);
}

/* The guest's ids become the host's. */
static void each_command(struct fixture *none)
{
	/* Two that are not merged: the lowest bit that is 0 gives the second one's size, four pages. */
	const uint64_t range = 0x123456000UL, four = 0x123459000UL;
	struct guest g[2];

	if (no_commands() || !open_two(g))
		return;
	for (int n = 0; n < 2; n++) {
		const uint32_t domain = n ? OTHER_DOMAIN : DOMAIN, device = n ? OTHER_DEVICE : DEVICE;
		const command batch[] = {
			pages(domain, range), pages(domain, four | CMD_S), pages(domain, ALL_OF),
			pages(domain, range | CMD_GN), pages(domain, ALL_PAGES | CMD_S | CMD_GN | CMD_PDE),
			devtab(device),
			/* Without ATS a device has nothing. */
			iotlb(device, range), iotlb(device, ALL_PAGES | CMD_S | CMD_GN),
			{ .cmd = { CMD_WAIT << 60, 1 } }, { .cmd = { CMD_WAIT << 60 | 0x1003, 1 } },
		};

		begin_issue(&seen);
		WANT(invalidate(&g[0], batch, ARRAY_SIZE(batch)), 0);
		end_issue(&seen, SUBMISSION);
		WANT(seen.commands, 6);
		WANT(seen.waits, 1);
		for (int i = 0; i < 5; i++)
			check_issued(i, pages_word(&g[n]), batch[i].cmd[1]);
		check_issued(5, devtab_word(&g[n]), 0);
	}
	close_two(g);
}

/* All of the guest's domains and devices, and no other's. */
static void everything(struct fixture *none)
{
	const command c = all();
	unsigned int devices = 0, domains = 0;
	struct guest g[2];

	if (no_commands() || !open_two(g))
		return;
	begin_issue(&seen);
	WANT(invalidate(&g[0], &c, 1), 0);
	end_issue(&seen, SUBMISSION);
	WANT(seen.commands, 4);
	for (uint32_t i = 0; i < seen.commands; i++) {
		for (int n = 0; n < 2; n++) {
			if (seen.word[i][0] == devtab_word(&g[n]) && !seen.word[i][1])
				devices |= 1 << n;
			if (seen.word[i][0] == pages_word(&g[n]) && seen.word[i][1] == ALL_OF)
				domains |= 1 << n;
		}
	}
	WANT(devices, 3);
	WANT(domains, 3);
	close_two(g);
}

/* A COMPLETION_WAIT with F holds what is behind it back. */
static void flush_queue(struct fixture *none)
{
	const command batch[] = {
		pages(DOMAIN, 0), { .cmd = { CMD_WAIT << 60 | 4 } }, pages(DOMAIN, PAGE),
		{ .cmd = { CMD_WAIT << 60 | 4 } }, { .cmd = { CMD_WAIT << 60 | 4 } },
	};
	struct guest g;
	uint32_t hwpt;

	if (no_commands() || !open_attached(&g, translating(DOMAIN, GCR3_PAGE), &hwpt))
		return;
	begin_issue(&seen);
	WANT(invalidate(&g, batch, ARRAY_SIZE(batch)), 0);
	end_issue(&seen, SUBMISSION);
	WANT(seen.commands, 2);
	WANT(seen.waits, 2);
	WANT(OPCODE_OF(seen.after.word[(seen.before.tail + 1) % RING][0]), CMD_WAIT);
	close_guest(&g);
}

static void lengths_of_batches(struct fixture *none)
{
	static const uint32_t lengths[] = { 1, 2, 15, 16, 17, 63, 64, 65, 300 };
	static command batch[300];
	struct guest g;
	uint32_t hwpt;

	if (no_commands() || !open_attached(&g, translating(DOMAIN, GCR3_PAGE), &hwpt))
		return;
	for (uint32_t i = 0; i < ARRAY_SIZE(batch); i++)
		batch[i] = pages(DOMAIN, i * 7 * PAGE);
	for (unsigned int n = 0; n < ARRAY_SIZE(lengths); n++) {
		begin_issue(&seen);
		WANT(invalidate(&g, batch, lengths[n]), 0);
		end_issue(&seen, SUBMISSION);
		WANT(seen.commands, lengths[n]);
		WANT(seen.waits, (lengths[n] + SUBMISSION - 1) / SUBMISSION);
		for (uint32_t i = 0; i < lengths[n]; i++)
			check_issued(i, pages_word(&g), batch[i].cmd[1]);
		if (has_failed())
			break;
	}
	close_guest(&g);
}

/* Neighbours become one command, of the same kind, as far as a command can name them. */
static void neighbours(struct fixture *none)
{
	static command batch[4097];
	const uint64_t kinds[] = { 0, CMD_PDE, CMD_GN, CMD_GN | CMD_PDE };
	struct guest g;
	uint32_t hwpt;

	if (no_commands() || !open_attached(&g, translating(DOMAIN, GCR3_PAGE), &hwpt))
		return;
	for (unsigned int n = 0; n < ARRAY_SIZE(kinds); n++) {
		for (uint32_t i = 0; i < ARRAY_SIZE(batch); i++)
			batch[i] = pages(DOMAIN, i * PAGE | kinds[n]);
		begin_issue(&seen);
		WANT(invalidate(&g, batch, ARRAY_SIZE(batch)), 0);
		end_issue(&seen, SUBMISSION);
		WANT(seen.commands, 2);
		WANT(seen.waits, 1);
		/* Of 4096 pages: bit 23 is the lowest that is 0. */
		check_issued(0, pages_word(&g), (2048 - 1) * PAGE | CMD_S | kinds[n]);
		check_issued(1, pages_word(&g), 4096 * PAGE | kinds[n]);
	}
	close_guest(&g);
}

/* A command that is refused, at each place: those before it are carried out, none behind it. */
static void invalid_at_each_place(struct fixture *none)
{
	static command batch[70];
	struct guest g;
	uint32_t hwpt, done;

	if (no_commands() || !open_attached(&g, translating(DOMAIN, GCR3_PAGE), &hwpt))
		return;
	for (uint32_t bad = 0; bad < ARRAY_SIZE(batch); bad++) {
		for (uint32_t i = 0; i < ARRAY_SIZE(batch); i++)
			batch[i] = pages(DOMAIN, i * 2 * PAGE);
		batch[bad] = pages(OTHER_DOMAIN, 0);
		begin_issue(&seen);
		WANT(invalidate_of(&g, batch, sizeof(*batch), ARRAY_SIZE(batch), &done), -ENOENT);
		end_issue(&seen, SUBMISSION);
		WANT(done, bad);
		WANT(seen.commands, bad);
		for (uint32_t i = 0; i < bad; i++)
			check_issued(i, pages_word(&g), batch[i].cmd[1]);
		if (has_failed())
			break;
	}
	close_guest(&g);
}

/* The bits of each command that a guest may set, on a machine amd-nesting. */
static const struct {
	uint64_t opcode, may[2];
} commands[] = {
	{ CMD_WAIT, { ((1UL << 52) - 1), ~0UL } },
	{ CMD_DEVTAB, { 0xffff, 0 } },
	{ CMD_PAGES, { 0xfffff | 0xffffUL << 32, ~0xfffUL | CMD_S | CMD_PDE | CMD_GN } },
	{ CMD_IOTLB, { (1UL << 60) - 1, ~0xfffUL | CMD_S | CMD_GN } },
	{ CMD_ALL, { 0, 0 } },
};

static void bits_of_commands(struct fixture *none)
{
	struct guest g;
	uint32_t hwpt, done;

	if (no_commands() || !open_attached(&g, translating(DOMAIN, GCR3_PAGE), &hwpt))
		return;
	for (unsigned int n = 0; n < ARRAY_SIZE(commands); n++) {
		for (unsigned int bit = 0; bit < 128; bit++) {
			const uint64_t mask = 1UL << bit % 64;
			command c = { .cmd = { commands[n].opcode << 60 } };
			int r, want = -EIO;

			/* Bits of the opcode make another command. */
			if (bit >= 60 && bit < 64)
				continue;
			if (commands[n].opcode == CMD_PAGES)
				c = pages(DOMAIN, 0);
			if (commands[n].opcode == CMD_DEVTAB)
				c = devtab(DEVICE);
			if (commands[n].opcode == CMD_IOTLB)
				c = iotlb(DEVICE, 0);
			c.cmd[bit / 64] ^= mask;
			if (mask & commands[n].may[bit / 64])
				want = 0;
			/* Another domain or device, which the guest does not have. */
			if (!want && ((c.cmd[0] & 0xffff) != DEVICE && (commands[n].opcode == CMD_DEVTAB ||
									commands[n].opcode == CMD_IOTLB)))
				want = -ENOENT;
			if (!want && commands[n].opcode == CMD_PAGES && (c.cmd[0] >> 32 & 0xffff) != DOMAIN)
				want = -ENOENT;
			begin_issue(&seen);
			r = invalidate_of(&g, &c, sizeof(c), 1, &done);
			end_issue(&seen, SUBMISSION);
			if (r != want || done != !want)
				fail("command %lu, bit %u: %s, not %s", commands[n].opcode, bit, errno_name(r),
				     errno_name(want));
			if (want && seen.commands)
				fail("command %lu, bit %u: refused and issued", commands[n].opcode, bit);
		}
	}
	for (uint64_t opcode = 0; opcode < 16; opcode++) {
		const command c = { .cmd = { opcode << 60 } };
		bool known = false;

		for (unsigned int n = 0; n < ARRAY_SIZE(commands); n++)
			known |= commands[n].opcode == opcode;
		if (!known)
			WANT(invalidate_of(&g, &c, sizeof(c), 1, &done), -EIO);
	}
	close_guest(&g);
}

/* A PASID is one that the IOMMU has: of 16 bits. It counts with GN only. */
static void pasids(struct fixture *none)
{
	struct guest g;
	uint32_t hwpt, done;

	if (no_commands() || !open_attached(&g, translating(DOMAIN, GCR3_PAGE), &hwpt))
		return;
	for (unsigned int bit = 0; bit < 20; bit++) {
		command c = pages(DOMAIN, CMD_GN);

		c.cmd[0] |= 1UL << bit;
		begin_issue(&seen);
		WANT(invalidate_of(&g, &c, sizeof(c), 1, &done), bit < 16 ? 0 : -EIO);
		end_issue(&seen, SUBMISSION);
		if (bit < 16)
			check_issued(0, pages_word(&g) | 1UL << bit, CMD_GN);
	}
	close_guest(&g);
}

static void wrong_requests(struct fixture *none)
{
	struct {
		command c;
		uint64_t more;
	} batch[2] = { { pages(DOMAIN, 0), 0 }, { pages(DOMAIN, PAGE), 0 } };
	struct guest g;
	uint32_t hwpt, done;

	if (no_commands() || !open_attached(&g, translating(DOMAIN, GCR3_PAGE), &hwpt))
		return;
	WANT(invalidate_of(&g, batch, sizeof(*batch), 2, &done), 0);
	WANT(done, 2);
	batch[1].more = 1;
	begin_issue(&seen);
	WANT(invalidate_of(&g, batch, sizeof(*batch), 2, &done), -E2BIG);
	end_issue(&seen, SUBMISSION);
	WANT(done, 1);
	WANT(seen.commands, 1);
	WANT(invalidate_of(&g, batch, sizeof(command) - 1, 1, &done), -EINVAL);
	WANT(done, 0);
	WANT(invalidate_of(&g, NULL, sizeof(command), 0, &done), 0);
	WANT(invalidate_of(&g, (void *)PAGE, sizeof(command), 1, &done), -EFAULT);
	WANT(done, 0);
	/* Domains and devices that are there no longer. */
	batch[0].c = pages(DOMAIN, 0);
	WANT(detach(g.edu.dev), 0);
	WANT(destroy(g.fd, hwpt), 0);
	WANT(invalidate_of(&g, batch, sizeof(*batch), 1, &done), -ENOENT);
	batch[0].c = devtab(DEVICE);
	WANT(invalidate_of(&g, batch, sizeof(*batch), 1, &done), 0);
	WANT(destroy(g.fd, g.vdevice), 0);
	WANT(invalidate_of(&g, batch, sizeof(*batch), 1, &done), -ENOENT);
	close_guest(&g);
}

/* A process is killed during a call: the blocks that it has read are carried out and counted, and nothing else is. */
static void killed(struct fixture *none)
{
	const uint32_t all = 1 << 19;
	struct iommu_hwpt_invalidate cmd = { .entry_num = 0 };
	uint32_t hwpt, issued;
	command *commands;
	struct guest g;

	if (no_commands() || !open_attached(&g, translating(DOMAIN, GCR3_PAGE), &hwpt))
		return;
	commands = mmap(NULL, all * sizeof(*commands), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(commands != MAP_FAILED);
	/* Every second page, so that they are not merged. */
	for (uint64_t n = 0; n < all; n++)
		commands[n] = pages(DOMAIN, 2 * n * PAGE);
	for (unsigned int try = 0; try < 50 && (!cmd.entry_num || cmd.entry_num == all); try++) {
		cmd = (struct iommu_hwpt_invalidate){
			.size = sizeof(cmd), .hwpt_id = g.viommu, .data_uptr = PTR(commands), .entry_num = all,
			.data_type = IOMMUFD_RS_VIOMMU_INVALIDATE_DATA_AMD, .entry_len = sizeof(*commands),
		};
		begin_issue(&seen);
		if (!killed_in(g.fd, IOMMU_HWPT_INVALIDATE, &cmd, 200 * try))
			break;
	}
	note("%u commands of %u were carried out", cmd.entry_num, all);
	CHECK(cmd.entry_num && cmd.entry_num < all);
	WANT(cmd.entry_num % SUBMISSION, 0);
	/* With a COMPLETION_WAIT for each submission. The ring is run through many times. */
	issued = cmd.entry_num + cmd.entry_num / SUBMISSION;
	const uint32_t tail = (seen.before.tail + issued) % RING;

	begin_issue(&seen);
	WANT(seen.before.tail, tail);
	munmap(commands, all * sizeof(*commands));
	close_guest(&g);
}

/* The VMM's emulation of the guest's IOMMU: its registers are head and tail of the two rings. */
struct vmm {
	struct guest g;
	uint32_t hwpt;
	uint32_t command_head, command_tail, log_tail;
	int events;
};

#define GUEST_RING	256u

static uint64_t *guest_words(struct vmm *v, uint32_t page)
{
	return (uint64_t *)page_of(&v->g, page);
}

/* The guest's entry may have changed: new nested page tables in place of the old. */
static int take_entry(struct vmm *v)
{
	const uint32_t old = v->hwpt;
	struct dte dte;
	int r;

	memcpy(&dte, guest_words(v, TABLE_PAGE) + DEVICE % 64 * 4, sizeof(dte));
	r = nested(&v->g, dte, &v->hwpt);
	r = r ?: attach(v->g.edu.dev, v->hwpt, NULL);
	return r ?: old ? destroy(v->g.fd, old) : 0;
}

/* The guest has written the tail of its command buffer. */
static void ring_doorbell(struct vmm *v)
{
	static command batch[GUEST_RING];
	uint32_t nr = 0;

	while (v->command_head != v->command_tail) {
		memcpy(&batch[nr], guest_words(v, RING_PAGE) + v->command_head * 2, sizeof(*batch));
		if (OPCODE_OF(batch[nr].cmd[0]) == CMD_DEVTAB)
			WANT(take_entry(v), 0);
		v->command_head = (v->command_head + 1) % GUEST_RING;
		nr++;
	}
	WANT(invalidate(&v->g, batch, nr), 0);
	for (uint32_t n = 0; n < nr; n++) {
		const uint64_t to = batch[n].cmd[0] & ((1UL << 52) - 8);

		if (OPCODE_OF(batch[n].cmd[0]) == CMD_WAIT && batch[n].cmd[0] & 1)
			*(uint64_t *)(v->g.memory + to - GUEST_BASE) = batch[n].cmd[1];
	}
}

/* Takes events for the guest's log, for which it waits a minute. Returns how many the guest has. */
static uint32_t take_events(struct vmm *v, uint32_t wanted)
{
	struct {
		struct iommufd_vevent_header header;
		struct iommufd_rs_vevent_amd event;
	} read_event;
	struct pollfd poll_for = { .fd = v->events, .events = POLLIN };

	while (v->log_tail < wanted && poll(&poll_for, 1, 60000) == 1) {
		if (read(v->events, &read_event, sizeof(read_event)) != sizeof(read_event)) {
			fail("no event in the queue");
			break;
		}
		memcpy(guest_words(v, LOG_PAGE) + v->log_tail * 2, &read_event.event, sizeof(read_event.event));
		v->log_tail++;
	}
	return v->log_tail;
}

static bool start_vmm(struct vmm *v)
{
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd), .type = IOMMUFD_RS_VEVENTQ_TYPE_AMD, .veventq_depth = 16,
	};
	int r;

	memset(v, 0, sizeof(*v));
	if (!open_guest(&v->g))
		return false;
	cmd.viommu_id = v->g.viommu;
	r = call(v->g.fd, IOMMU_VEVENTQ_ALLOC, &cmd);
	v->events = cmd.out_veventq_fd;
	/* Before the guest's driver starts: no entry is valid. */
	r = r ?: take_entry(v);
	if (r)
		fail("no event queue and entry: %s", errno_name(r));
	return !r;
}

static void end_vmm(struct vmm *v)
{
	close(v->events);
	close_guest(&v->g);
}

/* The guest's driver. */
static void put_command(struct vmm *v, command c)
{
	memcpy(guest_words(v, RING_PAGE) + v->command_tail * 2, &c, sizeof(c));
	v->command_tail = (v->command_tail + 1) % GUEST_RING;
}

static void put_wait(struct vmm *v, uint64_t number)
{
	put_command(v, (command){ .cmd = { CMD_WAIT << 60 | gpa_of(SEM_PAGE) | 1, number } });
	ring_doorbell(v);
	WANT(guest_words(v, SEM_PAGE)[0], number);
}

static void set_entry(struct vmm *v, struct dte dte)
{
	memcpy(guest_words(v, TABLE_PAGE) + DEVICE % 64 * 4, &dte, sizeof(dte));
	put_command(v, devtab(DEVICE));
}

static void guest_of_a_vmm(struct fixture *none)
{
	const struct dte dte = translating(DOMAIN, GCR3_PAGE);
	const struct dte other = translating(OTHER_DOMAIN, OTHER_GCR3_PAGE);
	struct dte host;
	struct vmm v;

	if (no_commands() || !start_vmm(&v))
		return;
	/* The device works before the guest has a driver for its IOMMU. */
	WANT(written_to(&v.g, gpa_of(A_PAGE)), A_PAGE);
	set_entry(&v, dte);
	put_wait(&v, 1);
	host = entry_of(&v.g);
	WANT(host.word[1] & DTE_GCR3_1(~0UL), DTE_GCR3_1(gpa_of(GCR3_PAGE)));
	WANT(host.word[0] & DTE_GCR3_0(~0UL), DTE_GCR3_0(gpa_of(GCR3_PAGE)));
	WANT(written_to(&v.g, gpa_of(A_PAGE)), A_PAGE);
	/* More commands than its buffer has room for, in parts of different lengths. */
	for (uint32_t n = 0, part = 1; n < 3 * GUEST_RING; n += part, part = part * 3 % 200 + 1) {
		begin_issue(&seen);
		for (uint32_t i = 0; i < part; i++)
			put_command(&v, pages(DOMAIN, (n + i) * 2 * PAGE));
		put_wait(&v, 2 + n);
		end_issue(&seen, SUBMISSION);
		WANT(seen.commands, part);
		for (uint32_t i = 0; i < part; i++)
			check_issued(i, pages_word(&v.g), (n + i) * 2 * PAGE);
	}
	/* Another table, nothing, and the first table again. */
	set_entry(&v, other);
	put_command(&v, pages(OTHER_DOMAIN, ALL_OF));
	put_wait(&v, 3000);
	host = entry_of(&v.g);
	WANT(host.word[1] & DTE_GCR3_1(~0UL), DTE_GCR3_1(gpa_of(OTHER_GCR3_PAGE)));
	set_entry(&v, (struct dte){ { DTE_V, OTHER_DOMAIN } });
	put_wait(&v, 3001);
	WANT(written_to(&v.g, gpa_of(A_PAGE)), 0);
	set_entry(&v, dte);
	put_command(&v, all());
	put_wait(&v, 3002);
	WANT(written_to(&v.g, gpa_of(A_PAGE)), A_PAGE);
	end_vmm(&v);
}

/* DMA to what the host does not map, while the guest has no page table: it is not told. */
static void miss_unseen(struct vmm *v, uint64_t hole)
{
	WANT(written_to(&v->g, hole), 0);
	WANT(poll(&(struct pollfd){ .fd = v->events, .events = POLLIN }, 1, 1000), 0);
}

/* A device of the guest misses: the guest reads of it in its log, by its own ids. */
static void events_of_a_guest(struct fixture *none)
{
	const uint64_t hole = GUEST_BASE + GUEST_PAGES * PAGE;
	struct vmm v;

	if (no_commands() || !start_vmm(&v))
		return;
	/* No valid entry, and one without a table. */
	miss_unseen(&v, hole);
	set_entry(&v, (struct dte){ { DTE_V | DTE_TV | DTE_IR | DTE_IW, DOMAIN } });
	put_wait(&v, 1);
	miss_unseen(&v, hole);
	set_entry(&v, translating(DOMAIN, GCR3_PAGE));
	put_wait(&v, 2);
	for (uint32_t n = 0; n < 3; n++) {
		uint64_t *event = guest_words(&v, LOG_PAGE) + n * 2;

		WANT(written_to(&v.g, hole + n * PAGE), 0);
		WANT(take_events(&v, n + 1), n + 1);
		WANT(OPCODE_OF(event[0]), 2);
		WANT(event[0] & 0xffff, DEVICE);
		WANT(event[0] >> 32 & 0xffff, DOMAIN);
		/* QEMU does not say where. */
		WANT(event[1], 0);
	}
	/* By the parent it is the host's fault. */
	WANT(attach(v.g.edu.dev, v.g.parent, NULL), 0);
	miss_unseen(&v, hole);
	end_vmm(&v);
}

static const struct test tests[] = {
	{ "each command", each_command, ALONE },
	{ "a command for everything", everything, ALONE },
	{ "a command that holds others back", flush_queue, ALONE },
	{ "lengths of batches", lengths_of_batches, ALONE },
	{ "neighbours become one command", neighbours, ALONE },
	{ "an invalid command at each place", invalid_at_each_place, ALONE },
	{ "each bit of a command", bits_of_commands, ALONE },
	{ "PASIDs of commands", pasids, ALONE },
	{ "wrong requests", wrong_requests, ALONE },
	{ "a process is killed that issues many", killed, ALONE },
	{ "a guest of a VMM", guest_of_a_vmm, ALONE },
	{ "events of a guest", events_of_a_guest, ALONE },
};

const struct suite queue_suite = {
	.name = "queue", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
