/* counts.c: a QEMU plugin (API version 1) that counts what an emulated A64 CPU does.
 *
 * It counts between the guest's prctl(0x45444745, 1) and prctl(0x45444745, 2), on the calling
 * thread: instructions by class, bytes moved by vector loads and stores, and misses of a first- and
 * a second-level data cache, both with least-recently-used replacement and lines of 64 bytes. It
 * prints one line per region on stderr:
 *
 *     EDGE int=.. branch=.. load=.. store=.. vload=.. vstore=.. fma=.. vector=.. hint=..
 *          bytes=.. l1=.. l2=..
 *
 * Arguments: l1_kib, l1_ways, l2_kib, l2_ways. The counts are exact and the same in every run, but
 * they are not times.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The part of qemu-plugin.h that is used here, so that its source package is not needed. */
typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void tb_callback(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void cpu_callback(unsigned, void *);
typedef void memory_callback(unsigned, qemu_plugin_meminfo_t, uint64_t, void *);
typedef void syscall_callback(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                              uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, tb_callback *);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, cpu_callback *, int, void *);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, memory_callback *, int, int,
                                             void *);
extern void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, syscall_callback *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;
enum { NO_REGISTERS = 0, READ_AND_WRITE = 3 };

enum { PRCTL = 167, MAGIC = 0x45444745, BEGIN = 1, END = 2 };
enum class { INT, BRANCH, LOAD, STORE, VLOAD, VSTORE, FMA, VECTOR, HINT, CLASSES };
static const char *const names[CLASSES] = {"int", "branch", "load", "store",
                                           "vload", "vstore", "fma", "vector", "hint"};

static uint64_t counts[CLASSES], vector_bytes;
static bool counting;
static unsigned counted_cpu;

/* Arm Architecture Reference Manual, C4.1: the top-level encodings of A64. */
static enum class classify(uint32_t code)
{
    uint32_t group = code >> 25 & 15;
    if ((group & 5) == 4) { /* loads and stores */
        bool vector = code >> 26 & 1, load;
        if ((code & 0x3b000000) == 0x18000000) /* literal */
            load = true;
        else if ((code & 0x3a000000) == 0x38000000 || (code & 0x3b000000) == 0x39000000)
            load = vector ? code >> 22 & 1 : (code >> 22 & 3) != 0; /* one register */
        else
            load = code >> 22 & 1; /* pairs, structures */
        return vector ? (load ? VLOAD : VSTORE) : (load ? LOAD : STORE);
    }
    if ((group & 7) == 7) { /* floating point and vectors; multiply-adds are a class of their own */
        bool same = (code & 0xbf20fc00) == 0x0e20cc00 || (code & 0xbf60fc00) == 0x0e400c00;
        bool by_element = (code & 0xbf00f400) == 0x0f001000;
        bool scalar = (code & 0xff000000) == 0x1f000000;
        bool dot = (code & 0x9f20fc00) == 0x0e009400 || (code & 0x9f00f400) == 0x0f00e000;
        return same || by_element || scalar || dot ? FMA : VECTOR;
    }
    if ((code & 0xfffff01f) == 0xd503201f) /* no-ops and other hints, which pad kernels */
        return HINT;
    return (group & 14) == 10 ? BRANCH : INT;
}

struct cache {
    uint64_t *tags, *ages, clock, misses;
    unsigned sets, ways;
};
static struct cache first, second;

static void cache_open(struct cache *cache, unsigned kib, unsigned ways)
{
    cache->ways = ways;
    cache->sets = kib * 1024 / 64 / ways;
    cache->tags = malloc(sizeof(uint64_t) * cache->sets * ways);
    cache->ages = calloc((size_t)cache->sets * ways, sizeof(uint64_t));
    memset(cache->tags, 0xff, sizeof(uint64_t) * cache->sets * ways);
}

static bool cache_holds(struct cache *cache, uint64_t line)
{
    uint64_t *tags = cache->tags + line % cache->sets * cache->ways;
    uint64_t *ages = cache->ages + line % cache->sets * cache->ways;
    unsigned oldest = 0;
    cache->clock++;
    for (unsigned way = 0; way < cache->ways; way++) {
        if (tags[way] == line) {
            ages[way] = cache->clock;
            return true;
        }
        if (ages[way] < ages[oldest])
            oldest = way;
    }
    tags[oldest] = line;
    ages[oldest] = cache->clock;
    cache->misses++;
    return false;
}

static void touched(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t address, void *vector)
{
    if (!counting || cpu != counted_cpu)
        return;
    uint64_t bytes = 1u << qemu_plugin_mem_size_shift(info), last = address + bytes - 1;
    if (vector)
        vector_bytes += bytes;
    for (uint64_t line = address >> 6; line <= last >> 6; line++)
        if (!cache_holds(&first, line))
            cache_holds(&second, line);
}

struct mix {
    uint32_t of[CLASSES];
};

static void executed(unsigned cpu, void *argument)
{
    const struct mix *mix = argument;
    if (counting && cpu == counted_cpu)
        for (int i = 0; i < CLASSES; i++)
            counts[i] += mix->of[i];
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    struct mix *mix = calloc(1, sizeof *mix);
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        uint32_t code;
        memcpy(&code, qemu_plugin_insn_data(instruction), sizeof code);
        enum class class = classify(code);
        mix->of[class]++;
        if (class >= LOAD && class <= VSTORE)
            qemu_plugin_register_vcpu_mem_cb(instruction, touched, NO_REGISTERS, READ_AND_WRITE,
                                             class == VLOAD || class == VSTORE ? &vector_bytes : NULL);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(block, executed, NO_REGISTERS, mix);
}

static void called(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t a, uint64_t b,
                   uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    (void)id, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number != PRCTL || a != MAGIC)
        return;
    if (b == BEGIN) {
        memset(counts, 0, sizeof counts);
        vector_bytes = first.misses = second.misses = 0;
        counted_cpu = cpu;
        counting = true;
    } else if (b == END) {
        counting = false;
        fputs("EDGE", stderr);
        for (int i = 0; i < CLASSES; i++)
            fprintf(stderr, " %s=%" PRIu64, names[i], counts[i]);
        fprintf(stderr, " bytes=%" PRIu64 " l1=%" PRIu64 " l2=%" PRIu64 "\n", vector_bytes,
                first.misses, second.misses);
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    unsigned l1_kib = 32, l1_ways = 2, l2_kib = 1024, l2_ways = 16;
    for (int i = 0; i < argc; i++) {
        sscanf(argv[i], "l1_kib=%u", &l1_kib);
        sscanf(argv[i], "l1_ways=%u", &l1_ways);
        sscanf(argv[i], "l2_kib=%u", &l2_kib);
        sscanf(argv[i], "l2_ways=%u", &l2_ways);
    }
    cache_open(&first, l1_kib, l1_ways);
    cache_open(&second, l2_kib, l2_ways);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
