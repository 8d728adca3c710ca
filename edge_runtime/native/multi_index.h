/* Multi-index hashing (Norouzi, Punjani and Fleet 2012), exact, over the distinct codes of a gallery.
 *
 * Learned codes repeat, so each distinct code is stored once, with the list of its rows. Its bits are
 * reordered so that correlated bits are apart (HDIdx, Wan et al. 2015), and divided into m parts of at
 * most 28 bits. Two codes that differ in D bits differ in at most D / m bits in some part, so only the
 * buckets within that distance need to be searched. Every part has a table. Its buckets contain whole
 * codes, so a candidate needs no second memory access. */
#ifndef EDGE_MULTI_INDEX_H
#define EDGE_MULTI_INDEX_H

#include "hamming.h"

#define EDGE_MAX_PARTS 16
#define EDGE_MAX_PART_BITS 28
#define EDGE_EXHAUSTED UINT32_MAX

typedef struct edge_index edge_index;

/* Builds an index of the distinct codes in `codes` [count][bytes]. Returns NULL if out of memory. */
edge_index *edge_index_new(const uint8_t *codes, uint32_t count, uint32_t bits);

/* Builds the tables; call once. `order` [bits] lists the code's bits part by part. The first
 * bits % parts parts have one bit more than the others. Returns 0 if out of memory. */
int edge_index_divide(edge_index *index, uint32_t parts, const uint16_t *order);
void edge_index_free(edge_index *index);

uint32_t edge_index_parts(const edge_index *index); /* 0: not divided yet */
uint32_t edge_index_bits(const edge_index *index);
uint32_t edge_index_count(const edge_index *index); /* rows */
uint32_t edge_index_distinct(const edge_index *index);
size_t edge_index_size(const edge_index *index); /* bytes */

/* Finds the k nearest rows that pass, as `edge_search` does; `heap` is scratch, [k].
 *
 * `work` limits the effort and receives the remainder: a candidate costs 1, a bucket
 * EDGE_BUCKET_WORK. Returns the number of rows found, or EDGE_EXHAUSTED. */
uint32_t edge_index_nearest(const edge_index *index, const uint8_t *query, uint32_t k,
                            const edge_filter *filter, uint64_t *work, uint64_t *heap, int64_t *rows,
                            int64_t *distances);
#define EDGE_BUCKET_WORK 8 /* two prefetched cache misses */

/* The same by a scan of the distinct codes. Returns EDGE_EXHAUSTED if out of memory. */
uint32_t edge_index_scan(const edge_index *index, const edge_scanner *kernel, const uint8_t *query,
                         uint32_t k, const edge_filter *filter, uint64_t *heap, int64_t *rows,
                         int64_t *distances);

/* As `edge_collect`, but in no particular order. Returns SIZE_MAX if `work` is used up. */
size_t edge_index_collect(const edge_index *index, const uint8_t *query, uint32_t limit,
                          const edge_filter *filter, uint64_t *work, uint32_t *rows,
                          uint16_t *distances, size_t room);

#endif
