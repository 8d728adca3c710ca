/* The layout of the multi-index, shared by its builder and its search. */
#ifndef EDGE_INDEX_PARTS_H
#define EDGE_INDEX_PARTS_H

#include "multi_index.h"

#define MAX_WORDS (EDGE_MAX_BYTES / 8)
#define AHEAD 32 /* rows or buckets prefetched before they are needed */

typedef struct {
    uint32_t start, width; /* its bits in a code with reordered bits */
    uint32_t *begins;      /* [2^width + 1]: the start of each bucket */
    uint64_t *codes;       /* [distinct][words], with reordered bits */
    uint32_t *ids;         /* [distinct] */
} part_table;

struct edge_index {
    uint32_t bits, bytes, words, parts, count, distinct;
    uint8_t *codes;        /* [distinct][bytes], in order of their first rows */
    uint32_t *begins;      /* [distinct + 1]: the start of the rows of each code */
    uint32_t *rows;        /* [count], ascending for each code */
    uint64_t *ordered;     /* [bytes][256][words]: a byte's bits at their new positions */
    part_table part[EDGE_MAX_PARTS];
};

static inline void put_in_order(const edge_index *index, const uint8_t *code, uint64_t *out) {
    memset(out, 0, 8 * index->words);
    for (uint32_t byte = 0; byte < index->bytes; byte++) {
        const uint64_t *add = index->ordered + ((size_t)byte * 256 + code[byte]) * index->words;
        for (uint32_t word = 0; word < index->words; word++) out[word] |= add[word];
    }
}

static inline uint32_t bucket_of(const part_table *part, const uint64_t *code) {
    const uint32_t word = part->start / 64, shift = part->start % 64;
    uint64_t value = code[word] >> shift;
    if (shift + part->width > 64) value |= code[word + 1] << (64 - shift);
    return (uint32_t)value & (((uint32_t)1 << part->width) - 1);
}

#endif
