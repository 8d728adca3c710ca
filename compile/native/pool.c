/* pool.c: a thread pool for jobs of a tenth of a millisecond, on cores that may be busy.
 *
 * Threads take tasks one by one from a ticket, which holds the job's number, the tasks that the
 * caller took, and the tasks left. So a slow thread takes fewer tasks, and a thread that never wakes
 * takes none. The caller works, too, and waits only for tasks that another thread has begun. Each
 * side first works upward through its own range, since adjacent tasks share prefetched weights
 * (compile/passes/prefetch.py), then helps from the end of the other range. A helper spins for
 * SPIN_NS before it sleeps in the kernel. That is longer than the gap between two kernels and far
 * shorter than the gap between two frames.
 */
#define _GNU_SOURCE
#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPIN_NS 50000
#define STACK_BYTES (4u << 20)
#define LINE 64
#define MOST_TASKS 0xffff /* per job with several threads */

struct pool {
    _Alignas(LINE) _Atomic uint64_t ticket; /* job number << 32 | taken by the caller << 16 | left */
    _Alignas(LINE) _Atomic uint32_t unfinished;
    _Alignas(LINE) _Atomic uint32_t number;  /* of the newest job; sleepers wait on it */
    _Atomic uint32_t sleepers;
    _Atomic uint32_t closing;
    pool_job *job;
    const void *context;
    int32_t tasks, share; /* the caller's own range is [0, share) */
    int32_t helpers;
    pthread_t threads[];
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

/* Return the task after `taken` others: first from [begin, end), the thread's own range, then from
 * the far end of the other range, whose last task is `last`. */
static int32_t next_of(int32_t begin, int32_t end, int32_t last, int32_t taken)
{
    return taken < end - begin ? begin + taken : last - (taken - (end - begin));
}

/* Take and run tasks of job `number` until none is left. The job's fields are read only after a
 * task was taken: they cannot change before that task is finished. */
static void work(struct pool *pool, uint32_t number, int caller)
{
    for (;;) {
        uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
        int32_t left = (int32_t)(ticket & MOST_TASKS), taken = (int32_t)(ticket >> 16 & MOST_TASKS);
        if (ticket >> 32 != number || !left)
            return;
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket,
                                                   ticket - 1 + (caller ? 1u << 16 : 0),
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        int32_t tasks = pool->tasks, share = pool->share;
        int32_t task = caller ? next_of(0, share, tasks - 1, taken)
                              : next_of(share, tasks, share - 1, tasks - taken - left);
        pool->job(pool->context, task, task + 1);
        atomic_fetch_sub_explicit(&pool->unfinished, 1, memory_order_release);
    }
}

static void *helper(void *argument)
{
    struct pool *pool = argument;
    uint32_t seen = 0;
    for (;;) {
        uint32_t number = atomic_load_explicit(&pool->number, memory_order_acquire);
        uint64_t until = now_ns() + SPIN_NS;
        while (number == seen && now_ns() < until) {
            for (int turn = 0; turn < 32 && number == seen; turn++) {
                relax();
                number = atomic_load_explicit(&pool->number, memory_order_acquire);
            }
        }
        if (number == seen) {
            atomic_fetch_add(&pool->sleepers, 1);
            futex(&pool->number, FUTEX_WAIT, seen); /* returns at once if the number has changed */
            atomic_fetch_sub(&pool->sleepers, 1);
            continue;
        }
        if (atomic_load_explicit(&pool->closing, memory_order_acquire))
            return NULL;
        seen = number;
        work(pool, number, 0);
    }
}

struct pool *pool_open(int32_t threads)
{
    struct pool *pool = NULL;
    size_t bytes = sizeof *pool + sizeof(pthread_t) * (size_t)(threads - 1);
    if (posix_memalign((void **)&pool, LINE, (bytes + LINE - 1) / LINE * LINE))
        return NULL;
    *pool = (struct pool){0};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (pool->helpers < threads - 1 &&
           !pthread_create(&pool->threads[pool->helpers], &attributes, helper, pool))
        pool->helpers++;
    pthread_attr_destroy(&attributes);
    if (pool->helpers < threads - 1) {
        pool_close(pool);
        return NULL;
    }
    return pool;
}

static uint32_t publish(struct pool *pool, uint32_t tasks)
{
    uint32_t number = atomic_load_explicit(&pool->number, memory_order_relaxed) + 1;
    atomic_store_explicit(&pool->ticket, (uint64_t)number << 32 | tasks,
                          memory_order_release);
    atomic_store(&pool->number, number);
    if (atomic_load(&pool->sleepers))
        futex(&pool->number, FUTEX_WAKE, INT32_MAX);
    return number;
}

void pool_run(struct pool *pool, pool_job *job, const void *context, int32_t tasks)
{
    if (tasks == 1 || tasks > MOST_TASKS || !pool->helpers) {
        job(context, 0, tasks);
        return;
    }
    pool->job = job;
    pool->context = context;
    pool->tasks = tasks;
    pool->share = tasks / (pool->helpers + 1);
    atomic_store_explicit(&pool->unfinished, (uint32_t)tasks, memory_order_relaxed);
    work(pool, publish(pool, (uint32_t)tasks), 1);
    uint64_t until = now_ns() + SPIN_NS;
    while (atomic_load_explicit(&pool->unfinished, memory_order_acquire)) {
        if (now_ns() < until)
            relax();
        else
            sched_yield(); /* the other thread may be waiting for this core */
    }
}

void pool_close(struct pool *pool)
{
    atomic_store_explicit(&pool->closing, 1, memory_order_release);
    publish(pool, 0);
    for (int32_t i = 0; i < pool->helpers; i++)
        pthread_join(pool->threads[i], NULL);
    free(pool);
}
