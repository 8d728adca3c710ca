/* Exact nearest neighbours of packed binary codes by Hamming distance.
 *
 * A code of B bits is ceil(B / 8) bytes, bit i in bit i % 8 of byte i / 8, rows without padding.
 * Nothing here allocates or keeps state but through the select's buffer; every function may be
 * called from several threads at once.
 */
#ifndef EDGE_HAMMING_H
#define EDGE_HAMMING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EDGE_BLOCK 64 /* codes that a kernel compares at a time: one bit each in its answer */
#define EDGE_MAX_BYTES 32

/* The k nearest so far, as one bucket of rows a distance.
 *
 * A push is O(1). `limit` is the distance that a code must stay below to be among the k nearest; it
 * only falls. Rows are offered in rising order, so buckets are sorted as they are: ties go to the
 * lower row, as in a stable full sort. */
typedef struct {
    uint32_t k;
    uint32_t limit;
    uint32_t below;   /* rows kept at distances below limit; always less than k */
    uint32_t *filled; /* [bits + 1]: rows in each bucket */
    uint32_t *rows;   /* [bits + 1][k] */
} edge_select;

/* Which rows may be found: bit r % 8 of byte r / 8 is 1; NULL: all. Tested only on hits. */
typedef const uint8_t *edge_alive;

/* Offers rows [begin, end) of `codes` to `select`. */
typedef void edge_scan(const uint8_t *codes, uint32_t begin, uint32_t end, const uint8_t *query,
                       edge_alive alive, edge_select *select);

/* A distance below which at least `k` of the first EDGE_SAMPLE rows lie: a scan that starts with it
 * as its limit keeps few rows that it drops again. */
typedef uint32_t edge_bound(const uint8_t *codes, const uint8_t *query, uint32_t bits, uint32_t k);
#define EDGE_SAMPLE (8 * EDGE_BLOCK)

/* Distances of all rows. */
typedef void edge_measure(const uint8_t *codes, uint32_t count, const uint8_t *query,
                          uint16_t *distances);

/* What an instruction set offers for one width. */
typedef struct {
    edge_scan *scan;
    edge_bound *bound; /* NULL: not worth it */
    edge_measure *measure;
} edge_width;

/* One instruction set: the widths that it is made for, by bytes a code. */
typedef struct {
    const char *name;
    int (*supported)(void);
    edge_width width[EDGE_MAX_BYTES + 1];
} edge_kernel;

extern const edge_kernel edge_kernel_scalar;
#if defined(__x86_64__)
extern const edge_kernel edge_kernel_avx2;
extern const edge_kernel edge_kernel_avx512;
#elif defined(__aarch64__)
extern const edge_kernel edge_kernel_neon;
#endif

/* The best kernel that this CPU supports, or the one of that name; NULL if it has none such. */
const edge_kernel *edge_find_kernel(const char *name);

/* Words of scratch memory that `edge_search` needs. */
size_t edge_search_words(uint32_t bits, uint32_t query_count, uint32_t k);

/* The k nearest rows for each query.
 *
 * `codes` is [count][bytes], `queries` [query_count][bytes]; `rows` and `distances` take
 * [query_count][k], of which the first min(k, rows alive) of each query are written; `found` takes
 * that number for each query. `words` is scratch. The memory grows with bits * k: for a k of
 * thousands, `edge_rank` is the better choice. */
void edge_search(const edge_kernel *kernel, const uint8_t *codes, uint32_t count, uint32_t bits,
                 const uint8_t *queries, uint32_t query_count, uint32_t k, edge_alive alive,
                 uint32_t *words, int64_t *rows, int64_t *distances, uint32_t *found);

/* The same for one query and any k, by counting: sorts all rows by distance, stably. `measured` is
 * scratch, [count]; gives how many were found. */
uint32_t edge_rank(const edge_kernel *kernel, const uint8_t *codes, uint32_t count, uint32_t bits, const uint8_t *query,
                   uint32_t k, edge_alive alive, uint16_t *measured, int64_t *rows,
                   int64_t *distances);

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

static inline int edge_is_alive(edge_alive alive, uint32_t row) {
    return !alive || (alive[row >> 3] >> (row & 7) & 1);
}

/* Keep `row`, which must be below the limit. */
static inline void edge_push(edge_select *select, uint32_t distance, uint32_t row) {
    select->rows[(size_t)distance * select->k + select->filled[distance]++] = row;
    select->below++;
    while (select->below >= select->k) select->below -= select->filled[--select->limit];
}

static inline void edge_offer(edge_select *select, const uint8_t *codes, const uint8_t *query,
                              unsigned bytes, edge_alive alive, uint32_t row) {
    uint32_t distance = edge_distance(codes + (size_t)row * bytes, query, bytes);
    if (distance < select->limit && edge_is_alive(alive, row))
        edge_push(select, distance, row);
}

/* Defines `measure` of one width. */
#define EDGE_MEASURE(TARGET, BYTES)                                                               \
    TARGET static void measure_##BYTES(const uint8_t *codes, uint32_t count, const uint8_t *query,\
                                       uint16_t *distances) {                                     \
        for (uint32_t row = 0; row < count; row++)                                                \
            distances[row] = (uint16_t)edge_distance(codes + (size_t)row * (BYTES), query, (BYTES));\
    }

/* Defines `scan`, `bound` and `measure` of one width out of three things that the file defines for it: the type VECTOR
 * of a query spread over a register, `spread_BYTES(query)`, and `below_BYTES(codes, query, limit)`,
 * which gives a bit for each code of a block that is nearer than `limit`. SLACK: codes behind a
 * block that must exist because `below` reads beyond its end. */
#define EDGE_WIDTH(TARGET, BYTES, VECTOR, SLACK)                                                  \
    TARGET static void scan_##BYTES(const uint8_t *codes, uint32_t begin, uint32_t end,           \
                                    const uint8_t *query, edge_alive alive, edge_select *select) {\
        const VECTOR spread = spread_##BYTES(query);                                              \
        const uint8_t *block = codes + (size_t)begin * (BYTES);                                   \
        uint32_t row = begin;                                                                     \
        uint32_t limit = select->limit;                                                           \
        for (; end - row >= EDGE_BLOCK + (SLACK); row += EDGE_BLOCK, block += EDGE_BLOCK * (BYTES)) {\
            uint64_t hits = below_##BYTES(block, spread, limit);                                  \
            for (; hits; hits &= hits - 1)                                                        \
                edge_offer(select, codes, query, (BYTES), alive, row + (uint32_t)__builtin_ctzll(hits));\
            limit = select->limit;                                                                \
        }                                                                                         \
        for (; row < end; row++) edge_offer(select, codes, query, (BYTES), alive, row);           \
    }                                                                                             \
    TARGET static uint32_t bound_##BYTES(const uint8_t *codes, const uint8_t *query, uint32_t bits,\
                                         uint32_t k) {                                            \
        const VECTOR spread = spread_##BYTES(query);                                              \
        uint32_t low = 0, high = bits + 1; /* fewer than k below low; k or more below high */     \
        while (high - low > 1) {                                                                  \
            const uint32_t middle = (low + high) / 2;                                             \
            uint32_t below = 0;                                                                   \
            for (uint32_t row = 0; row < EDGE_SAMPLE && below < k; row += EDGE_BLOCK)             \
                below += (uint32_t)__builtin_popcountll(                                          \
                    below_##BYTES(codes + (size_t)row * (BYTES), spread, middle));                \
            if (below < k)                                                                        \
                low = middle;                                                                     \
            else                                                                                  \
                high = middle;                                                                    \
        }                                                                                         \
        return high;                                                                              \
    }                                                                                             \
    EDGE_MEASURE(TARGET, BYTES)

#define EDGE_ENTRY(BYTES) [BYTES] = {scan_##BYTES, bound_##BYTES, measure_##BYTES}

#endif
