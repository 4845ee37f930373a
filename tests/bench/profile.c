/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A plugin of QEMU for tests/bench/profile: how many instructions each block of code executed between two marks,
 * apart for the task that made the marks and for all others. tests/tools/load --profile marks with an instruction that
 * does nothing, "nopl MARK(%rax)": rax is the address of __switch_to_asm(prev, next) at the begin, and 0 at the end.
 * Lines of the file: who (0: who marked, 1: others), address, number of instructions in the block, times it ran.
 * One virtual CPU. QEMU has no header for plugins in its packages: the declarations are of version 3 of its interface.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;
struct qemu_plugin_register;

typedef struct {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
} qemu_plugin_u64;

typedef struct {
	struct qemu_plugin_register *handle;
	const char *name;
	const char *feature;
} qemu_plugin_reg_descriptor;

typedef struct {
	char *data;
	unsigned len;
} GArray;

typedef struct {
	uint8_t *data;
	unsigned len;
} GByteArray;

enum {
	CB_R_REGS = 1,
	COND_EQ = 2,
};

typedef void (*exec_cb)(unsigned vcpu, void *arg);

extern GByteArray *g_byte_array_new(void);
extern GByteArray *g_byte_array_set_size(GByteArray *array, unsigned len);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
extern size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *dest, size_t len);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, exec_cb cb,
						   int flags, void *arg);
extern void qemu_plugin_register_vcpu_tb_exec_cond_cb(struct qemu_plugin_tb *tb, exec_cb cb,
						      int flags, int cond, qemu_plugin_u64 entry,
						      uint64_t imm, void *arg);
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
						  void (*cb)(uint64_t id,
							     struct qemu_plugin_tb *tb));
extern void qemu_plugin_register_vcpu_init_cb(uint64_t id, void (*cb)(uint64_t id, unsigned vcpu));
extern void qemu_plugin_register_atexit_cb(uint64_t id, void (*cb)(uint64_t id, void *arg),
					   void *arg);
extern struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t size);
extern void qemu_plugin_u64_set(qemu_plugin_u64 entry, unsigned vcpu, uint64_t value);
extern GArray *qemu_plugin_get_registers(void);
extern int qemu_plugin_read_register(struct qemu_plugin_register *handle, GByteArray *buf);

__attribute__((visibility("default"))) int qemu_plugin_version = 3;

struct block {
	struct block *next;
	uint64_t address, n_insns;
	uint64_t n_runs[2]; /* of who marked, of others */
};

static struct {
	qemu_plugin_u64 is_on;
	struct block *blocks;
	struct qemu_plugin_register *rax, *rdi, *rsi;
	GByteArray *value;
	uint64_t switch_to, client; /* its task_struct, 0: not known yet */
	bool others;                /* not the client runs */
	const char *path;
} g;

static uint64_t register_read(struct qemu_plugin_register *r)
{
	uint64_t value = 0;

	g_byte_array_set_size(g.value, 0);
	if (r && qemu_plugin_read_register(r, g.value) == sizeof(value))
		memcpy(&value, g.value->data, sizeof(value));
	return value;
}

static void on_block(unsigned vcpu, void *arg)
{
	struct block *b = arg;

	(void)vcpu;
	b->n_runs[g.others]++;
	if (b->address != g.switch_to)
		return;
	if (g.client == 0)
		g.client = register_read(g.rdi);
	g.others = register_read(g.rsi) != g.client;
}

static void on_mark(unsigned vcpu, void *arg)
{
	(void)arg;
	g.switch_to = register_read(g.rax);
	g.client = 0;
	g.others = false;
	qemu_plugin_u64_set(g.is_on, vcpu, g.switch_to != 0);
}

static void on_translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	static const uint8_t mark[] = {0x0f, 0x1f, 0x80, 'l', 'o', 'a', 'd'};
	size_t n = qemu_plugin_tb_n_insns(tb);
	struct block *b = calloc(1, sizeof(*b));
	uint8_t data[sizeof(mark)];

	(void)id;
	if (!b)
		abort();
	*b = (struct block){g.blocks, qemu_plugin_tb_vaddr(tb), n, {0}};
	g.blocks = b;
	qemu_plugin_register_vcpu_tb_exec_cond_cb(tb, on_block, CB_R_REGS, COND_EQ, g.is_on, 1, b);
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (qemu_plugin_insn_size(insn) == sizeof(mark) &&
		    qemu_plugin_insn_data(insn, data, sizeof(data)) == sizeof(data) &&
		    memcmp(data, mark, sizeof(mark)) == 0)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, CB_R_REGS, NULL);
	}
}

static void on_cpu(uint64_t id, unsigned vcpu)
{
	const GArray *all = qemu_plugin_get_registers();

	(void)id;
	(void)vcpu;
	for (unsigned i = 0; i < all->len; i++) {
		const qemu_plugin_reg_descriptor *r = (qemu_plugin_reg_descriptor *)all->data + i;

		if (strcmp(r->name, "rax") == 0)
			g.rax = r->handle;
		else if (strcmp(r->name, "rdi") == 0)
			g.rdi = r->handle;
		else if (strcmp(r->name, "rsi") == 0)
			g.rsi = r->handle;
	}
}

static void on_exit_of_qemu(uint64_t id, void *arg)
{
	FILE *f = fopen(g.path, "we");

	(void)id;
	(void)arg;
	if (!f)
		return;
	for (const struct block *b = g.blocks; b; b = b->next)
		for (int who = 0; who < 2; who++)
			if (b->n_runs[who])
				fprintf(f, "%d %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", who,
					b->address, b->n_insns, b->n_runs[who]);
	fclose(f);
}

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void *info,
							       int argc, char **argv);

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4) != 0)
		return -1;
	g.path = strdup(argv[0] + 4);
	g.value = g_byte_array_new();
	g.is_on = (qemu_plugin_u64){qemu_plugin_scoreboard_new(sizeof(uint64_t)), 0};
	qemu_plugin_register_vcpu_init_cb(id, on_cpu);
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
	qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
	return 0;
}
