/* Exact nearest neighbors of packed binary codes by Hamming distance.
 *
 * A code of B bits takes ceil(B / 8) bytes: bit i is bit i % 8 of byte i / 8. Rows have no padding.
 * These functions allocate nothing and keep no state except in the caller's buffers, so they are
 * thread-safe.
 */
#ifndef EDGE_HAMMING_H
#define EDGE_HAMMING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EDGE_BLOCK 64 /* codes compared at a time; the result has one bit per code */
#define EDGE_MAX_BYTES 32

/* The k nearest rows so far, with one bucket of rows per distance.
 *
 * A push is O(1). A code is among the k nearest only if its distance is below `limit`, which never
 * increases. Rows are offered in ascending order, so each bucket is sorted and ties go to the lower
 * row, as in a stable full sort. */
typedef struct {
    uint32_t k;
    uint32_t limit;
    int streamed;     /* codes come from memory rather than from a cache */
    uint32_t below;   /* stored rows with distances below limit; always less than k */
    uint32_t *filled; /* [bits + 1]: rows in each bucket */
    uint32_t *rows;   /* [bits + 1][k] */
} edge_select;

/* The rows that pass; a NULL filter passes all. Evaluated only for rows that are near enough. */
typedef struct {
    const uint8_t *alive;   /* bit r % 8 of byte r / 8 is 1 for a live row r; NULL: all live */
    const uint32_t *group;  /* [rows]: the group of each row; NULL: no groups */
    const uint8_t *wanted;  /* one bit per group */
    uint32_t groups;        /* bits in `wanted`; later groups are unwanted */
} edge_filter;

/* Offers rows [begin, end) of `codes` to `select`. */
typedef void edge_scan(const uint8_t *codes, uint32_t begin, uint32_t end, const uint8_t *query,
                       const edge_filter *filter, edge_select *select);

/* Transposes `count` codes into `planes` (planes.h), in whole blocks. */
typedef void edge_arrange(const uint8_t *codes, uint32_t count, uint8_t *planes);

/* Offers the first `count` codes, which are also in `planes`, to an empty select. This is faster than a
 * scan that has no limit yet. There is no filter, and k is at most EDGE_BLOCK. */
typedef void edge_sift(const uint8_t *planes, const uint8_t *codes, uint32_t count, const uint8_t *query,
                       edge_select *select);

/* A batch compares this many bytes of codes with each of its queries before it moves on. They stay in
 * the first-level cache, together with the selects. */
#if defined(__aarch64__)
#define EDGE_STRETCH_BYTES 16384 /* of 32 KiB on a Cortex-A53 and A72 */
#else
#define EDGE_STRETCH_BYTES 32768 /* of 48 KiB */
#endif

/* Computes the distances of all rows. */
typedef void edge_measure(const uint8_t *codes, uint32_t count, const uint8_t *query,
                          uint16_t *distances);

/* Finds the rows nearer than `limit`, in order, and their distances. Returns their number and writes
 * the first `room` of them. */
typedef size_t edge_collect(const uint8_t *codes, uint32_t count, const uint8_t *query,
                            uint32_t limit, const edge_filter *filter, uint32_t *rows,
                            uint16_t *distances, size_t room);

/* Returns a distance below which at least `k` (at most EDGE_BLOCK) of the first EDGE_SAMPLE rows lie. A
 * scan that starts with this limit stores few rows that it later discards. */
typedef uint32_t edge_bound(const uint8_t *codes, const uint8_t *query, uint32_t k);
#define EDGE_SAMPLE (8 * EDGE_BLOCK)

/* The functions of an instruction set for one code width. */
typedef struct {
    edge_scan *scan;
    edge_bound *bound; /* NULL: not faster */
    edge_measure *measure;
    edge_collect *collect;
    edge_arrange *arrange; /* NULL: not faster; `sift` is NULL too */
    edge_sift *sift;
} edge_width;

/* One instruction set and its functions, indexed by bytes per code. */
typedef struct {
    const char *name;
    int (*supported)(void);
    edge_width width[EDGE_MAX_BYTES + 1];
} edge_scanner;

extern const edge_scanner edge_scanner_scalar;
#if defined(__x86_64__)
extern const edge_scanner edge_scanner_avx2;
extern const edge_scanner edge_scanner_avx512;
#elif defined(__aarch64__)
extern const edge_scanner edge_scanner_neon;
#endif

/* Returns the best kernel that this CPU supports, or the one named `name`; NULL if unsupported. */
const edge_scanner *edge_find_scanner(const char *name);

/* Returns the kernel's functions for codes of `bytes` bytes. */
const edge_width *edge_width_of(const edge_scanner *kernel, uint32_t bytes);

/* Returns the words of scratch memory that `edge_search` needs. */
size_t edge_search_words(uint32_t bits, uint32_t query_count, uint32_t k);

/* Finds the k nearest rows for each query.
 *
 * `codes` is [count][bytes] and `queries` [query_count][bytes]. `rows` and `distances` are
 * [query_count][k]; for each query the first min(k, passing rows) entries are written, and `found`
 * receives that number. `words` is scratch. The memory grows with bits * k, so for a k of thousands
 * `edge_rank` is the better choice. */
void edge_search(const edge_scanner *kernel, const uint8_t *codes, uint32_t count, uint32_t bits,
                 const uint8_t *queries, uint32_t query_count, uint32_t k, const edge_filter *filter,
                 uint32_t *words, int64_t *rows, int64_t *distances, uint32_t *found);

/* Sorts all rows by their distance to one query with a stable counting sort. Also writes `distances`,
 * in row order. Returns the number of rows that pass. */
uint32_t edge_rank(const edge_scanner *kernel, const uint8_t *codes, uint32_t count, uint32_t bits,
                   const uint8_t *query, const edge_filter *filter, uint16_t *distances,
                   uint32_t *order);

/* As edge_rank, for at most 2^16 rows without a filter: fewer passes and half the memory writes.
 * `scratch` has edge_rank_scratch elements. */
void edge_rank_short(const edge_scanner *kernel, const uint8_t *codes, uint32_t count, uint32_t bits,
                     const uint8_t *query, uint16_t *scratch, uint16_t *order);
size_t edge_rank_scratch(uint32_t count, uint32_t bits);
#define EDGE_SHORT_ROWS 65536

static inline __attribute__((always_inline)) uint64_t edge_load(const uint8_t *bytes, unsigned count) {
    uint64_t word = 0;
    memcpy(&word, bytes, count);
    return word;
}

static inline __attribute__((always_inline)) uint32_t edge_distance(const uint8_t *a, const uint8_t *b, unsigned bytes) {
    uint32_t distance = 0;
    for (; bytes >= 8; bytes -= 8, a += 8, b += 8)
        distance += (uint32_t)__builtin_popcountll(edge_load(a, 8) ^ edge_load(b, 8));
    if (bytes) distance += (uint32_t)__builtin_popcountll(edge_load(a, bytes) ^ edge_load(b, bytes));
    return distance;
}

static inline int edge_bit(const uint8_t *bits, uint32_t at) { return bits[at >> 3] >> (at & 7) & 1; }

static inline int edge_passes(const edge_filter *filter, uint32_t row) {
    return !filter || ((!filter->alive || edge_bit(filter->alive, row)) &&
                       (!filter->group || (filter->group[row] < filter->groups &&
                                            edge_bit(filter->wanted, filter->group[row]))));
}

/* Prefetches the codes that a scan reads next. On x86-64 a scan is a third slower without it (measured
 * on 1e7 and 1e8 codes). ARM cores rely on their hardware prefetcher, since this would cost them
 * instructions. */
static inline __attribute__((always_inline)) void edge_fetch_ahead(const uint8_t *block, unsigned bytes) {
#if defined(__x86_64__)
    for (unsigned line = 0; line < EDGE_BLOCK * bytes; line += 64) __builtin_prefetch(block + 2048 + line);
#else
    (void)block, (void)bytes;
#endif
}

/* Stores `row`, whose distance must be below the limit. */
static inline void edge_push(edge_select *select, uint32_t distance, uint32_t row) {
    select->rows[(size_t)distance * select->k + select->filled[distance]++] = row;
    select->below++;
    while (select->below >= select->k) select->below -= select->filled[--select->limit];
}

static inline void edge_offer(edge_select *select, const uint8_t *codes, const uint8_t *query,
                              unsigned bytes, const edge_filter *filter, uint32_t row) {
    uint32_t distance = edge_distance(codes + (size_t)row * bytes, query, bytes);
    if (distance < select->limit && edge_passes(filter, row)) edge_push(select, distance, row);
}

/* The output of `collect`. */
typedef struct {
    const edge_filter *filter;
    uint32_t limit;
    uint32_t *rows;
    uint16_t *distances;
    size_t room, found;
} edge_basket;

static inline void edge_keep(edge_basket *basket, const uint8_t *codes, const uint8_t *query,
                             unsigned bytes, uint32_t row) {
    uint32_t distance = edge_distance(codes + (size_t)row * bytes, query, bytes);
    if (distance >= basket->limit || !edge_passes(basket->filter, row)) return;
    if (basket->found < basket->room) {
        basket->rows[basket->found] = row;
        basket->distances[basket->found] = (uint16_t)distance;
    }
    basket->found++;
}

/* Defines the functions of an instruction set for one width. The including file provides: the type
 * VECTOR of a query broadcast to a register, and `spread_BYTES(query)`, which does that;
 * `below_BYTES(codes, query, limit)`, which returns one bit per code of a block that is nearer than
 * `limit`; and `distances_BYTES(codes, query, out)`, which writes the distances of a block. These may
 * read beyond the end of a block, so SLACK codes must follow it. */
#define EDGE_WIDTH(TARGET, BYTES, VECTOR, SLACK)                                                  \
    TARGET static void scan_##BYTES(const uint8_t *codes, uint32_t begin, uint32_t end,           \
                                    const uint8_t *query, const edge_filter *filter,              \
                                    edge_select *select) {                                        \
        const VECTOR spread = spread_##BYTES(query);                                              \
        const uint8_t *block = codes + (size_t)begin * (BYTES);                                   \
        uint32_t row = begin;                                                                     \
        uint32_t limit = select->limit;                                                           \
        const int streamed = select->streamed;                                                    \
        for (; end - row >= EDGE_BLOCK + (SLACK); row += EDGE_BLOCK, block += EDGE_BLOCK * (BYTES)) {\
            if (streamed) edge_fetch_ahead(block, (BYTES));                                       \
            uint64_t hits = below_##BYTES(block, spread, limit);                                  \
            for (; hits; hits &= hits - 1)                                                        \
                edge_offer(select, codes, query, (BYTES), filter, row + (uint32_t)__builtin_ctzll(hits));\
            limit = select->limit;                                                                \
        }                                                                                         \
        for (; row < end; row++) edge_offer(select, codes, query, (BYTES), filter, row);          \
    }                                                                                             \
    /* Of rows EDGE_BLOCK apart, only the nearest counts: one minimum per lane. */               \
    TARGET static uint32_t bound_##BYTES(const uint8_t *codes, const uint8_t *query, uint32_t k) {\
        const VECTOR spread = spread_##BYTES(query);                                              \
        uint16_t least[EDGE_BLOCK], here[EDGE_BLOCK], lanes[8 * (BYTES) + 1] = {0};               \
        distances_##BYTES(codes, spread, least);                                                  \
        for (uint32_t row = EDGE_BLOCK; row < EDGE_SAMPLE; row += EDGE_BLOCK) {                   \
            distances_##BYTES(codes + (size_t)row * (BYTES), spread, here);                       \
            for (int i = 0; i < EDGE_BLOCK; i++) least[i] = here[i] < least[i] ? here[i] : least[i];\
        }                                                                                         \
        for (int i = 0; i < EDGE_BLOCK; i++) lanes[least[i]]++;                                   \
        uint32_t limit = 0;                                                                       \
        for (uint32_t below = 0; below < k; limit++) below += lanes[limit];                       \
        return limit;                                                                             \
    }                                                                                             \
    TARGET static size_t collect_##BYTES(const uint8_t *codes, uint32_t count, const uint8_t *query,\
                                         uint32_t limit, const edge_filter *filter, uint32_t *rows,\
                                         uint16_t *distances, size_t room) {                      \
        const VECTOR spread = spread_##BYTES(query);                                              \
        edge_basket basket = {filter, limit, rows, distances, room, 0};                           \
        uint32_t row = 0;                                                                         \
        for (; count - row >= EDGE_BLOCK + (SLACK); row += EDGE_BLOCK) {                          \
            uint64_t hits = below_##BYTES(codes + (size_t)row * (BYTES), spread, limit);          \
            for (; hits; hits &= hits - 1)                                                        \
                edge_keep(&basket, codes, query, (BYTES), row + (uint32_t)__builtin_ctzll(hits)); \
        }                                                                                         \
        for (; row < count; row++) edge_keep(&basket, codes, query, (BYTES), row);                \
        return basket.found;                                                                      \
    }                                                                                             \
    TARGET static void measure_##BYTES(const uint8_t *codes, uint32_t count, const uint8_t *query,\
                                       uint16_t *distances) {                                     \
        const VECTOR spread = spread_##BYTES(query);                                              \
        uint32_t row = 0;                                                                         \
        for (; count - row >= EDGE_BLOCK + (SLACK); row += EDGE_BLOCK)                            \
            distances_##BYTES(codes + (size_t)row * (BYTES), spread, distances + row);            \
        for (; row < count; row++)                                                                \
            distances[row] = (uint16_t)edge_distance(codes + (size_t)row * (BYTES), query, (BYTES));\
    }

#define EDGE_SCANS(BYTES) \
    .scan = scan_##BYTES, .bound = bound_##BYTES, .measure = measure_##BYTES, .collect = collect_##BYTES
#define EDGE_ENTRY(BYTES) [BYTES] = {EDGE_SCANS(BYTES)}

#endif
