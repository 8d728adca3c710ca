/* handover.c: measure how many nanoseconds a cache line takes from one core to another. Two threads
 * pinned to different cores write in turn. Cores that share a cache take about 50 ns; across the
 * clusters of a chip it takes several times as long. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { ROUNDS = 20000 };
static _Alignas(256) atomic_int shared;
static int cores[2];

static void pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void wait_for(int value)
{
    while (atomic_load_explicit(&shared, memory_order_acquire) != value) {}
}

static void *answer(void *unused)
{
    pin(cores[1]);
    for (int round = 0; round < ROUNDS; round++) {
        wait_for(2 * round + 1);
        atomic_store_explicit(&shared, 2 * round + 2, memory_order_release);
    }
    return unused;
}

int main(void)
{
    cpu_set_t allowed;
    int found = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed)) return 1;
    for (int core = 0; core < CPU_SETSIZE && found < 2; core++)
        if (CPU_ISSET(core, &allowed)) cores[found++] = core;
    pthread_t other;
    if (found < 2 || pthread_create(&other, NULL, answer, NULL)) return 1;
    pin(cores[0]);
    struct timespec began, ended;
    for (int round = 0; round < ROUNDS; round++) {
        if (round == ROUNDS / 10) clock_gettime(CLOCK_MONOTONIC, &began); /* both run now */
        atomic_store_explicit(&shared, 2 * round + 1, memory_order_release);
        wait_for(2 * round + 2);
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    pthread_join(other, NULL);
    double ns = (ended.tv_sec - began.tv_sec) * 1e9 + (ended.tv_nsec - began.tv_nsec);
    printf("%.1f\n", ns / (ROUNDS - ROUNDS / 10) / 2);
    return 0;
}
