/* Multi-index hashing (Norouzi, Punjani and Fleet 2012), exact, over the distinct codes of a gallery.
 *
 * Learned codes repeat: each distinct code is kept once, with the list of its rows. Its bits are put
 * into an order in which correlated ones lie apart (HDIdx, Wan et al. 2015) and cut into m parts of at
 * most 28 bits. Two codes that differ in D bits differ in at most D / m bits in some part, so it is
 * enough to look into the buckets whose part is that near. Every part has a table; its buckets hold
 * whole codes, so a candidate costs no second access. */
#ifndef EDGE_MULTI_INDEX_H
#define EDGE_MULTI_INDEX_H

#include "hamming.h"

#define EDGE_MAX_PARTS 16
#define EDGE_MAX_PART_BITS 28
#define EDGE_EXHAUSTED UINT32_MAX

typedef struct edge_index edge_index;

/* The distinct ones of `codes` [count][bytes], with their rows. NULL: no memory. */
edge_index *edge_index_new(const uint8_t *codes, uint32_t count, uint32_t bits);

/* Makes the tables, once. `order` [bits] names the bit of a code that stands at each place, part after
 * part; the first bits % parts parts are one bit longer than the others. 0: no memory. */
int edge_index_divide(edge_index *index, uint32_t parts, const uint16_t *order);
void edge_index_free(edge_index *index);

uint32_t edge_index_parts(const edge_index *index); /* 0: not divided */
uint32_t edge_index_bits(const edge_index *index);
uint32_t edge_index_distinct(const edge_index *index);
size_t edge_index_size(const edge_index *index); /* bytes */

/* The k nearest rows that pass, ties by row, as `edge_search` gives them; `heap` is scratch, [k].
 *
 * `work` bounds the effort, and is left with what remains of it: a candidate costs 1, a bucket
 * EDGE_BUCKET_WORK. Gives how many were found, or EDGE_EXHAUSTED. */
uint32_t edge_index_nearest(const edge_index *index, const uint8_t *query, uint32_t k,
                            const edge_filter *filter, uint64_t *work, uint64_t *heap, int64_t *rows,
                            int64_t *distances);
#define EDGE_BUCKET_WORK 8 /* two cache misses, fetched ahead */

/* The same by a scan of the distinct codes. Gives EDGE_EXHAUSTED where there is no memory. */
uint32_t edge_index_scan(const edge_index *index, const edge_scanner *kernel, const uint8_t *query,
                         uint32_t k, const edge_filter *filter, uint64_t *heap, int64_t *rows,
                         int64_t *distances);

/* Rows nearer than `limit` that pass, in no order; as `edge_collect`. SIZE_MAX: exhausted. */
size_t edge_index_collect(const edge_index *index, const uint8_t *query, uint32_t limit,
                          const edge_filter *filter, uint64_t *work, uint32_t *rows,
                          uint16_t *distances, size_t room);

#endif
