/* pool.h: a thread pool that runs the tasks of one job at a time. */
#ifndef EDGE_POOL_H
#define EDGE_POOL_H

#include <stdint.h>

struct pool;
typedef void pool_job(const void *context, int32_t begin, int32_t end);

/* `threads` includes the caller's. Returns NULL without memory or if no thread can be started. */
struct pool *pool_open(int32_t threads);

/* Run `job` on tasks [0, tasks); return when all are done. */
void pool_run(struct pool *pool, pool_job *job, const void *context, int32_t tasks);

void pool_close(struct pool *pool);

#endif
