// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin of QEMU that counts the kernel's instructions while a program of selftests/guest measures: between the
 * marks of TIMED() in bench.h. It recognizes them by their bytes. A place in the program and the module that is
 * measured, which another mark names, are a slot. At exit it writes to the file out=
 *
 *	calls SLOT LABEL PLACE NUMBER
 *	at SLOT ADDRESS NUMBER
 *
 * with the address of TIMED() in the program, and how often each instruction of the kernel was executed.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* QEMU does not install its header everywhere. These are its functions that are used. */
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*cb)(void *a, void *b), void *data);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*cb)(unsigned int cpu, void *data),
					  int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int cpu, void *data), int flags, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*cb)(void *a, void *b), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *dest, size_t len);

__attribute__((visibility("default"))) int qemu_plugin_version = 7;

#define NR_SLOTS	256
#define KERNEL(addr)	((addr) >> 63)

/* A block of instructions as QEMU has translated it. */
struct block {
	struct block *next;
	uint64_t *executed;	/* by slot; NULL if it never was while something was measured */
	size_t nr;
	uint64_t addr[];
};

static struct block *blocks;
static struct {
	uint64_t label, place, calls;
} slots[NR_SLOTS];
static int nr_slots, current = -1;
static uint64_t label;
static const char *out;

static void begin(unsigned int cpu, void *place)
{
	int i;

	(void)cpu;
	for (i = 0; i < nr_slots; i++)
		if (slots[i].label == label && slots[i].place == (uintptr_t)place)
			break;
	if (i == NR_SLOTS)
		return;
	if (i == nr_slots) {
		slots[i].label = label;
		slots[i].place = (uintptr_t)place;
		nr_slots++;
	}
	slots[i].calls++;
	current = i;
}

static void end(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	current = -1;
}

static void measure(unsigned int cpu, void *of)
{
	(void)cpu;
	label = (uintptr_t)of;
}

static void execute(unsigned int cpu, void *data)
{
	struct block *b = data;

	(void)cpu;
	if (current < 0)
		return;
	if (!b->executed)
		b->executed = calloc(NR_SLOTS, sizeof(*b->executed));
	if (b->executed)
		b->executed[current]++;
}

/* Returns the number of a mark, or 0: nopl 0x1b0a00NN(%rax). */
static unsigned int mark_of(const struct qemu_plugin_insn *insn)
{
	static const unsigned char nop[] = { 0x0f, 0x1f, 0x80 };
	unsigned char bytes[7];

	if (qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) != sizeof(bytes) ||
	    memcmp(bytes, nop, sizeof(nop)) || bytes[4] || bytes[5] != 0x0a || bytes[6] != 0x1b)
		return 0;
	return bytes[3];
}

/* QEMU passes its id of the plugin and the block, or, since a later version, the block and the data. */
static void translate(void *first, void *second)
{
	struct qemu_plugin_tb *tb = second ? second : first;
	size_t i, nr = qemu_plugin_tb_n_insns(tb);
	struct block *b;

	if (!nr)
		return;
	if (!KERNEL(qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0)))) {
		for (i = 0; i < nr; i++) {
			struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
			unsigned int mark = mark_of(insn);

			if (mark == 1)
				qemu_plugin_register_vcpu_insn_exec_cb(
					insn, begin, 0, (void *)(uintptr_t)qemu_plugin_insn_vaddr(insn));
			else if (mark == 2)
				qemu_plugin_register_vcpu_insn_exec_cb(insn, end, 0, NULL);
			else if (mark)
				qemu_plugin_register_vcpu_insn_exec_cb(insn, measure, 0,
								       (void *)(uintptr_t)mark);
		}
		return;
	}
	b = malloc(sizeof(*b) + nr * sizeof(b->addr[0]));
	if (!b)
		return;
	*b = (struct block){ .next = blocks, .nr = nr };
	blocks = b;
	for (i = 0; i < nr; i++)
		b->addr[i] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i));
	qemu_plugin_register_vcpu_tb_exec_cb(tb, execute, 0, b);
}

static void report(void *first, void *second)
{
	FILE *f = fopen(out, "w");
	const struct block *b;
	size_t i;
	int slot;

	(void)first;
	(void)second;
	if (!f)
		return;
	for (slot = 0; slot < nr_slots; slot++)
		fprintf(f, "calls %d %c %lx %lu\n", slot, (char)slots[slot].label, slots[slot].place,
			slots[slot].calls);
	for (b = blocks; b; b = b->next)
		for (slot = 0; b->executed && slot < nr_slots; slot++)
			for (i = 0; b->executed[slot] && i < b->nr; i++)
				fprintf(f, "at %d %lx %lu\n", slot, b->addr[i], b->executed[slot]);
	fclose(f);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc,
							       char **argv)
{
	int i;

	(void)info;
	for (i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = strdup(argv[i] + 4);
	if (!out)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate, NULL);
	qemu_plugin_register_atexit_cb(id, report, NULL);
	return 0;
}
