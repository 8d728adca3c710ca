/* Builds a multi-index from codes. */
#include <stdlib.h>

#include "index_parts.h"

static uint64_t mixed(const uint8_t *code, uint32_t bytes) {
    uint64_t hash = 0;
    for (; bytes >= 8; bytes -= 8, code += 8)
        hash = (hash ^ edge_load(code, 8)) * 0x9E3779B97F4A7C15u, hash ^= hash >> 29;
    if (bytes) hash = (hash ^ edge_load(code, bytes)) * 0x9E3779B97F4A7C15u, hash ^= hash >> 29;
    return (hash * 0xBF58476D1CE4E5B9u) >> 20;
}

/* Fills index->codes and writes the code number of each row. Returns 0 if out of memory. */
static int find_distinct(edge_index *index, const uint8_t *codes, uint32_t *code_of) {
    const uint32_t count = index->count, bytes = index->bytes;
    uint64_t slots = 64;
    while (slots < 2 * (uint64_t)count) slots *= 2;
    uint32_t *table = malloc(slots * sizeof *table); /* code number + 1; 0: free */
    if (!table) return 0;
    memset(table, 0, slots * sizeof *table);
    uint64_t hashes[AHEAD];
    for (uint32_t row = 0; row < count + AHEAD; row++) {
        if (row >= AHEAD) {
            const uint8_t *code = codes + (size_t)(row - AHEAD) * bytes;
            uint64_t at = hashes[row % AHEAD] & (slots - 1);
            while (table[at] && memcmp(index->codes + (size_t)(table[at] - 1) * bytes, code, bytes))
                at = (at + 1) & (slots - 1);
            if (!table[at]) {
                memcpy(index->codes + (size_t)index->distinct * bytes, code, bytes);
                table[at] = ++index->distinct;
            }
            code_of[row - AHEAD] = table[at] - 1;
        }
        if (row < count) {
            hashes[row % AHEAD] = mixed(codes + (size_t)row * bytes, bytes);
            __builtin_prefetch(table + (hashes[row % AHEAD] & (slots - 1)));
        }
    }
    free(table);
    return 1;
}

/* Sorts the numbers 0, 1, ... by bucket into `sorted`; writes `begins` [buckets + 1]. */
static void sort_by_bucket(const uint32_t *bucket, uint32_t count, size_t buckets, uint32_t *begins,
                           uint32_t *sorted) {
    memset(begins, 0, sizeof(uint32_t) * (buckets + 1));
    for (uint32_t at = 0; at < count; at++) begins[bucket[at] + 1]++;
    for (size_t b = 1; b <= buckets; b++) begins[b] += begins[b - 1];
    for (uint32_t at = 0; at < count; at++) sorted[begins[bucket[at]]++] = at;
    /* Each begin has advanced to its bucket's end, which is the next bucket's begin. */
    memmove(begins + 1, begins, sizeof(uint32_t) * buckets);
    begins[0] = 0;
}

static int build_part(const edge_index *index, part_table *part, uint32_t *bucket) {
    const uint32_t distinct = index->distinct, words = index->words;
    const size_t buckets = (size_t)1 << part->width;
    uint64_t code[MAX_WORDS];
    part->begins = malloc(sizeof(uint32_t) * (buckets + 1));
    part->ids = malloc(sizeof(uint32_t) * ((size_t)distinct + 1));
    part->codes = malloc(sizeof(uint64_t) * words * ((size_t)distinct + 1));
    if (!part->begins || !part->ids || !part->codes) return 0;
    for (uint32_t id = 0; id < distinct; id++) {
        put_in_order(index, index->codes + (size_t)id * index->bytes, code);
        bucket[id] = bucket_of(part, code);
    }
    sort_by_bucket(bucket, distinct, buckets, part->begins, part->ids);
    for (uint32_t at = 0; at < distinct; at++) {
        const uint32_t ahead = at + AHEAD < distinct ? at + AHEAD : at;
        __builtin_prefetch(index->codes + (size_t)part->ids[ahead] * index->bytes);
        put_in_order(index, index->codes + (size_t)part->ids[at] * index->bytes,
                     part->codes + (size_t)at * words);
    }
    return 1;
}

static int group(edge_index *index, const uint8_t *codes, uint32_t *code_of) {
    index->codes = malloc((size_t)index->count * index->bytes + 1);
    index->rows = malloc(sizeof(uint32_t) * ((size_t)index->count + 1));
    if (!index->codes || !index->rows || !find_distinct(index, codes, code_of)) return 0;
    void *fitted = realloc(index->codes, (size_t)index->distinct * index->bytes + 1);
    if (fitted) index->codes = fitted;
    index->begins = malloc(sizeof(uint32_t) * ((size_t)index->distinct + 1));
    if (!index->begins) return 0;
    sort_by_bucket(code_of, index->count, index->distinct, index->begins, index->rows);
    return 1;
}

edge_index *edge_index_new(const uint8_t *codes, uint32_t count, uint32_t bits) {
    edge_index *index = calloc(1, sizeof *index);
    uint32_t *code_of = malloc(sizeof(uint32_t) * ((size_t)count + 1));
    if (index) {
        index->bits = bits;
        index->bytes = (bits + 7) / 8;
        index->words = (bits + 63) / 64;
        index->count = count;
    }
    if (!index || !code_of || !group(index, codes, code_of)) {
        edge_index_free(index);
        index = NULL;
    }
    free(code_of);
    return index;
}

int edge_index_divide(edge_index *index, uint32_t parts, const uint16_t *order) {
    const uint32_t words = index->words;
    index->ordered = calloc((size_t)index->bytes * 256 * words, sizeof(uint64_t));
    uint32_t *scratch = malloc(sizeof(uint32_t) * ((size_t)index->distinct + 1));
    int made = index->ordered && scratch;
    for (uint32_t place = 0; made && place < index->bits; place++) {
        const uint32_t bit = order[place];
        for (uint32_t value = 0; value < 256; value++)
            if (value >> bit % 8 & 1)
                index->ordered[((size_t)(bit / 8) * 256 + value) * words + place / 64] |=
                    (uint64_t)1 << place % 64;
    }
    for (uint32_t part = 0, start = 0; made && part < parts; part++) {
        part_table *table = &index->part[part];
        table->start = start;
        table->width = index->bits / parts + (part < index->bits % parts);
        start += table->width;
        made = build_part(index, table, scratch);
    }
    free(scratch);
    if (made) index->parts = parts; /* only now: a search on another thread may ask */
    return made;
}

void edge_index_free(edge_index *index) {
    if (!index) return;
    for (uint32_t part = 0; part < EDGE_MAX_PARTS; part++) {
        free(index->part[part].begins);
        free(index->part[part].codes);
        free(index->part[part].ids);
    }
    free(index->codes);
    free(index->begins);
    free(index->rows);
    free(index->ordered);
    free(index);
}

uint32_t edge_index_bits(const edge_index *index) { return index->bits; }
uint32_t edge_index_count(const edge_index *index) { return index->count; }
uint32_t edge_index_parts(const edge_index *index) { return index->parts; }
uint32_t edge_index_distinct(const edge_index *index) { return index->distinct; }

size_t edge_index_size(const edge_index *index) {
    size_t size = 4 * ((size_t)index->count + index->distinct) + (size_t)index->distinct * index->bytes;
    for (uint32_t part = 0; part < index->parts; part++)
        size += ((size_t)4 << index->part[part].width) + (size_t)index->distinct * (8 * index->words + 4);
    return size;
}
