/* pool_test.c: every task of every job runs exactly once, with any number of threads. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pool.h"

enum { TASKS = 37 };
static _Atomic int done[TASKS];

static void job(const void *context, int32_t begin, int32_t end)
{
    for (int32_t task = begin; task < end; task++)
        atomic_fetch_add(&done[task], *(const int *)context);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1, jobs = argc > 2 ? atoi(argv[2]) : 1;
    struct pool *pool = pool_open(threads);
    if (!pool)
        return fprintf(stderr, "pool_open failed\n"), 1;
    for (int number = 1; number <= jobs; number++) {
        int tasks = 1 + number % TASKS, sign = number % 2 ? 1 : 3;
        pool_run(pool, job, &sign, tasks);
        for (int task = 0; task < TASKS; task++) {
            int expected = task < tasks ? sign : 0;
            if (atomic_exchange(&done[task], 0) != expected)
                return fprintf(stderr, "job %d: task %d\n", number, task), 1;
        }
        if (number % 1000 == 0)
            usleep(300); /* long enough for the helpers to fall asleep */
    }
    pool_close(pool);
    return 0;
}
