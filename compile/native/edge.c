/* edge.c: open and run the plan. */
#define _GNU_SOURCE
#include "edge.h"
#include "plan.h"
#include "pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MOST_THREADS 64
#define HUGE ((size_t)2 << 20)

struct edge {
    struct pool *pool;
    struct edge_frame frame;
    uint64_t *nanoseconds;
    int32_t room;
};

static _Thread_local const char *message = "no error";

const char *edge_error(void) { return message; }

const struct edge_info *edge_version(void) { return &edge_plan_info; }

const char *edge_kernel(int32_t index)
{
    return index >= 0 && index < edge_plan_steps ? edge_plan[index].name : NULL;
}

struct call {
    const struct edge_step *step;
    const struct edge_frame *frame;
};

static void run_step(const void *context, int32_t begin, int32_t end)
{
    const struct call *call = context;
    call->step->run(call->frame, begin, end);
}

static void run_one(struct edge *network, const struct edge_step *step)
{
    struct call call = {step, &network->frame};
    pool_run(network->pool, run_step, &call, step->tasks);
}

/* Drop the constants from memory: those used to prepare are not needed again, and the others are
 * reread from the page cache. */
static void forget_constants(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)edge_constants + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)edge_constants + edge_constant_bytes) / page * page;
    if (end > begin)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

edge *edge_open(int32_t threads)
{
    if (threads < 1 || threads > MOST_THREADS) {
        message = "threads must be 1 to 64";
        return NULL;
    }
    edge *network = calloc(1, sizeof *network);
    size_t logits = ((size_t)edge_plan_info.bits * sizeof(float) + 63) / 64 * 64;
    size_t sums = (size_t)edge_plan_sums * sizeof(float);
    size_t arena = (size_t)edge_plan_info.arena_bytes;
    void *memory = NULL;
    size_t bytes = arena + logits + sums;
    if (!network || posix_memalign(&memory, HUGE, (bytes + HUGE - 1) / HUGE * HUGE)) {
        message = "out of memory";
        free(network);
        return NULL;
    }
    madvise(memory, bytes, MADV_HUGEPAGE); /* fewer page walks; may fail */
    network->frame.arena = memory;
    network->frame.logits = (float *)((uint8_t *)memory + arena);
    network->frame.sums = (uint8_t *)memory + arena + logits;
    network->pool = pool_open(threads);
    if (!network->pool) {
        message = "a thread could not be started";
        free(memory);
        free(network);
        return NULL;
    }
    for (int32_t i = 0; i < edge_preparations_steps; i++)
        run_one(network, &edge_preparations[i]);
    if (edge_preparations_steps)
        forget_constants();
    return network;
}

void edge_close(edge *network)
{
    if (!network)
        return;
    pool_close(network->pool);
    free(network->frame.arena);
    free(network);
}

int32_t edge_profile(edge *network, uint64_t *nanoseconds, int32_t count)
{
    network->nanoseconds = nanoseconds;
    network->room = nanoseconds ? count : 0;
    return edge_plan_steps;
}

static void clear_border(uint8_t *arena, const struct edge_border *border)
{
    uint8_t *row = arena + border->offset;
    size_t bytes = border->row_bytes;
    int fill = (int)border->fill;
    memset(row, fill, border->top * bytes);
    memset(row + (border->rows - border->bottom) * bytes, fill, border->bottom * bytes);
    for (uint32_t i = border->top; i < border->rows - border->bottom; i++) {
        memset(row + i * bytes, fill, border->left_bytes);
        memset(row + (i + 1) * bytes - border->right_bytes, fill, border->right_bytes);
    }
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int32_t run(edge *network, const uint8_t *bgr)
{
    if (!network || !bgr) {
        message = "network and picture must not be NULL";
        return -1;
    }
    network->frame.image = bgr;
    for (int32_t i = 0; i < edge_plan_steps; i++) {
        const struct edge_step *step = &edge_plan[i];
        uint64_t began = i < network->room ? now_ns() : 0;
        if (step->border.rows)
            clear_border(network->frame.arena, &step->border);
        run_one(network, step);
        if (i < network->room)
            network->nanoseconds[i] = now_ns() - began;
    }
    return 0;
}

int32_t edge_hash(edge *network, const uint8_t *bgr, uint64_t *code)
{
    if (run(network, bgr))
        return -1;
    memset(code, 0, sizeof *code * (size_t)edge_plan_info.words);
    for (int32_t i = 0; i < edge_plan_info.bits; i++)
        code[i / 64] |= (uint64_t)(network->frame.logits[i] > edge_plan_threshold) << (i % 64);
    return 0;
}

int32_t edge_features(edge *network, const uint8_t *bgr, uint64_t *code, float *features)
{
    if (!edge_plan_info.features) {
        message = "the network gives no features";
        return -1;
    }
    if (edge_hash(network, bgr, code))
        return -1;
    edge_plan_features(&network->frame, features);
    return 0;
}

int32_t edge_logits(edge *network, const uint8_t *bgr, float *logits)
{
    if (run(network, bgr))
        return -1;
    memcpy(logits, network->frame.logits, sizeof *logits * (size_t)edge_plan_info.bits);
    return 0;
}
