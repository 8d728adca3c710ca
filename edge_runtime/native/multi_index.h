/* Multi-index hashing (Norouzi, Punjani and Fleet 2012), exact, for galleries from a million codes on.
 *
 * A code is cut into m parts of at most 28 bits. Two codes that differ in D bits differ in at most
 * D / m bits in some part, so it is enough to look into the buckets whose part is that near. Every
 * part has a table; its buckets hold whole codes, so a candidate costs no second access. */
#ifndef EDGE_MULTI_INDEX_H
#define EDGE_MULTI_INDEX_H

#include "hamming.h"

#define EDGE_MAX_PARTS 16
#define EDGE_MAX_PART_BITS 28

typedef struct {
    uint32_t parts;
    uint32_t count;
    uint32_t width[EDGE_MAX_PARTS];          /* bits of each part */
    const uint32_t *starts[EDGE_MAX_PARTS];  /* [2^width + 1]: where each bucket begins */
    const uint32_t *entries[EDGE_MAX_PARTS]; /* [count][parts + 1]: a row, then its code's parts */
} edge_multi_index;

/* Fill the table of one part by a counting sort. `codes` is [count][parts]. */
void edge_index_build(const uint32_t *codes, uint32_t count, uint32_t parts, uint32_t part,
                      uint32_t width, uint32_t *starts, uint32_t *entries);

/* The k nearest rows, ties by row, as edge_search gives them; `heap` is scratch, [k].
 *
 * `work` bounds the effort, in candidates looked at: a bucket counts as EDGE_BUCKET_WORK of them.
 * Gives how many were found, or UINT32_MAX when the bound was reached first. */
uint32_t edge_index_search(const edge_multi_index *index, const uint32_t *query, uint32_t k,
                           edge_alive alive, uint64_t work, uint64_t *heap, int64_t *rows,
                           int64_t *distances);
#define EDGE_BUCKET_WORK 64 /* a cache miss; candidates in a bucket lie side by side */

#endif
