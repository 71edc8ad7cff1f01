/* A QEMU plugin that counts how often every translated block of instructions runs.
 *
 * For each distinct block it writes one line at exit, to the file given by `out=FILE`: executions,
 * then in hexadecimal the address and the instructions as words. `cargo xtask arm-table` compiles it
 * and subtracts the counts of two runs.
 *
 * QEMU has one thread for each thread of the guest; counts are added atomically.
 */

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Debian does not package qemu-plugin.h. These are its declarations, as of QEMU 7.2, of what is
 * used here. */
#define EXPORT __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*tb_trans_cb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*udata_cb)(qemu_plugin_id_t, void *);
typedef void (*exec_cb)(unsigned int, void *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, tb_trans_cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, exec_cb,
                                          enum qemu_plugin_cb_flags, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, udata_cb, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
EXPORT int qemu_plugin_version = 1;

struct block {
    struct block *next;
    uint64_t executions;
    uint64_t address;
    size_t count;
    uint32_t words[];
};

#define BUCKETS 65536
static struct block *blocks[BUCKETS];
static const char *out;

static void executed(unsigned int cpu, void *block) {
    (void)cpu;
    __atomic_fetch_add(&((struct block *)block)->executions, 1, __ATOMIC_RELAXED);
}

/* QEMU holds a lock during translation, so that the table has one writer. */
static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(tb);
    size_t size = count * sizeof(uint32_t);
    struct block *made = malloc(sizeof(struct block) + size);
    if (!made)
        abort();
    made->address = qemu_plugin_tb_vaddr(tb);
    uint32_t hash = 2166136261u ^ (uint32_t)made->address;
    for (size_t at = 0; at < count; at++) {
        memcpy(&made->words[at], qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, at)), 4);
        hash = (hash ^ made->words[at]) * 16777619u;
    }
    struct block **bucket = &blocks[(hash ^ hash >> 16) % BUCKETS], *found = *bucket;
    while (found && (found->address != made->address || found->count != count ||
                     memcmp(found->words, made->words, size)))
        found = found->next;
    if (found) {
        free(made);
    } else {
        made->next = *bucket;
        made->executions = 0;
        made->count = count;
        *bucket = found = made;
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, QEMU_PLUGIN_CB_NO_REGS, found);
}

static void write_counts(qemu_plugin_id_t id, void *unused) {
    (void)id, (void)unused;
    FILE *file = fopen(out, "w");
    if (!file) {
        perror(out);
        return;
    }
    for (size_t bucket = 0; bucket < BUCKETS; bucket++)
        for (struct block *block = blocks[bucket]; block; block = block->next) {
            if (!block->executions)
                continue;
            fprintf(file, "%" PRIu64 " %" PRIx64, block->executions, block->address);
            for (size_t at = 0; at < block->count; at++)
                fprintf(file, " %08" PRIx32, block->words[at]);
            fputc('\n', file);
        }
    fputs("end\n", file);
    fclose(file);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    (void)info;
    for (int at = 0; at < argc; at++)
        if (!strncmp(argv[at], "out=", 4))
            out = argv[at] + 4;
    if (!out) {
        fputs("blocks: out=FILE is missing\n", stderr);
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, write_counts, NULL);
    return 0;
}
