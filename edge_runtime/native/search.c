/* Single and batched search over any kernel. */
#include "hamming.h"

/* Number of queries that share a stretch of codes; for fewer, transposing it does not pay off. `words`
 * contains their selects, followed by the planes. */
#define QUERY_BLOCK 16
#define PLANES_BYTES (EDGE_STRETCH_BYTES + EDGE_BLOCK * EDGE_MAX_BYTES)
#define LINE 64 /* bytes of a cache line, to which the planes are aligned */

size_t edge_search_words(uint32_t bits, uint32_t query_count, uint32_t k) {
    const size_t selects = query_count < QUERY_BLOCK ? query_count : QUERY_BLOCK;
    const size_t planes = query_count < QUERY_BLOCK ? 0 : (LINE + PLANES_BYTES) / sizeof(uint32_t);
    return selects * ((size_t)bits + 1) * ((size_t)k + 1) + planes;
}

const edge_width *edge_width_of(const edge_scanner *kernel, uint32_t bytes) {
    return kernel->width[bytes].scan ? &kernel->width[bytes] : &edge_scanner_scalar.width[bytes];
}

static void start(edge_select *select, uint32_t bits, uint32_t k, int streamed, uint32_t *words) {
    select->streamed = streamed;
    select->k = k;
    select->limit = bits + 1;
    select->below = 0;
    select->filled = words;
    select->rows = words + bits + 1;
    memset(select->filled, 0, sizeof(uint32_t) * (bits + 1));
}

static uint32_t finish(const edge_select *select, uint32_t bits, int64_t *rows, int64_t *distances) {
    uint32_t found = 0;
    for (uint32_t distance = 0; distance <= bits && found < select->k; distance++) {
        const uint32_t *bucket = select->rows + (size_t)distance * select->k;
        for (uint32_t i = 0; i < select->filled[distance] && found < select->k; i++, found++) {
            rows[found] = bucket[i];
            distances[found] = distance;
        }
    }
    return found;
}

void edge_search(const edge_scanner *kernel, const uint8_t *codes, uint32_t count, uint32_t bits,
                 const uint8_t *queries, uint32_t query_count, uint32_t k, const edge_filter *filter,
                 uint32_t *words, int64_t *rows, int64_t *distances, uint32_t *found) {
    const uint32_t bytes = (bits + 7) / 8;
    const size_t own = ((size_t)bits + 1) * ((size_t)k + 1);
    const uint32_t step = query_count == 1 ? count : EDGE_STRETCH_BYTES / bytes;
    const edge_width *width = edge_width_of(kernel, bytes);
    /* Rows that do not pass the filter must not count toward the bound. */
    const int bounded = width->bound && !filter && k <= EDGE_BLOCK && count >= 2 * EDGE_SAMPLE;
    /* For more neighbors, the bound is too loose for the whole first stretch. */
    const int arranged = bounded && width->arrange && query_count >= QUERY_BLOCK && k <= EDGE_BLOCK / 2;
    uint8_t *planes = NULL;
    if (arranged) {
        planes = (uint8_t *)(words + QUERY_BLOCK * own);
        planes += -(uintptr_t)planes % LINE;
    }
    for (uint32_t first = 0; first < query_count; first += QUERY_BLOCK) {
        const uint32_t queries_here = query_count - first < QUERY_BLOCK ? query_count - first : QUERY_BLOCK;
        edge_select selects[QUERY_BLOCK];
        for (uint32_t q = 0; q < queries_here; q++) {
            start(&selects[q], bits, k, step == count, words + q * own);
            if (bounded && !arranged)
                selects[q].limit = width->bound(codes, queries + (size_t)(first + q) * bytes, k);
        }
        for (uint32_t begin = 0; begin < count; begin += step) {
            const uint32_t end = count - begin < step ? count : begin + step;
            if (arranged && !begin) width->arrange(codes, end, planes);
            for (uint32_t q = 0; q < queries_here; q++) {
                const uint8_t *query = queries + (size_t)(first + q) * bytes;
                if (arranged && !begin)
                    width->sift(planes, codes, end, query, &selects[q]);
                else
                    width->scan(codes, begin, end, query, filter, &selects[q]);
            }
            if (end == count) break;
        }
        for (uint32_t q = 0; q < queries_here; q++) {
            const size_t at = (size_t)(first + q) * k;
            found[first + q] = finish(&selects[q], bits, rows + at, distances + at);
        }
    }
}

const edge_scanner *edge_find_scanner(const char *name) {
    static const edge_scanner *const kernels[] = {
#if defined(__x86_64__)
        &edge_scanner_avx512,
        &edge_scanner_avx2,
#elif defined(__aarch64__)
        &edge_scanner_neon,
#endif
        &edge_scanner_scalar,
    };
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if ((!name || !strcmp(name, kernels[i]->name)) && kernels[i]->supported()) return kernels[i];
    return NULL;
}
