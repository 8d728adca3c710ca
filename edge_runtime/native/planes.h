/* The first stretch of a batch: its codes are transposed into planes once and compared with each query.
 *
 * Plane j of a block holds byte j of each of its codes, so a vector contains one byte of many codes in
 * order, and distances add up in bytes without gathering from wider lanes. All distances are computed
 * first and give a close bound; only then are the rows within it selected. Few branches therefore
 * depend on the codes. Such branches are unpredictable, and a scan has many while its limit falls.
 * (NEON sums in bytes anyway and would execute more instructions.)
 *
 * The including file of an instruction set first defines: INLINE; the type `plane` and its size
 * PLANE_BYTES; `load_plane`, `store_plane`, `spread_plane(byte)`; `differing_bits(a, b)`, the number of
 * differing bits in each byte; `sum(a, b)`, saturated at 255; `least(a, b)`; and
 * `up_to(distances, most)`, one bit per distance of a block that is at most `most`. */
#include "hamming.h"

#define PLANES (EDGE_BLOCK / PLANE_BYTES) /* vectors per plane of a block */

/* Bytes of a code moved at a time: the most that compilers turn into shuffles. */
#define MOVED(BYTES) ((BYTES) % 16 ? (BYTES) & -(BYTES) : 16)

INLINE void arrange_block(const uint8_t *codes, uint8_t *restrict planes, const unsigned bytes) {
    const unsigned step = MOVED(bytes);
    uint8_t moved[EDGE_BLOCK * 16];
    for (unsigned first = 0; first < bytes; first += step, planes += EDGE_BLOCK * step) {
        for (unsigned i = 0; i < EDGE_BLOCK; i++) memcpy(moved + step * i, codes + bytes * i + first, step);
        for (unsigned i = 0; i < EDGE_BLOCK; i++)
            for (unsigned j = 0; j < step; j++) planes[EDGE_BLOCK * j + i] = moved[step * i + j];
    }
}

INLINE void arrange(const uint8_t *codes, uint32_t count, uint8_t *planes, const unsigned bytes) {
    for (; count >= EDGE_BLOCK; count -= EDGE_BLOCK, codes += EDGE_BLOCK * bytes, planes += EDGE_BLOCK * bytes)
        arrange_block(codes, planes, bytes);
    uint8_t last[EDGE_BLOCK * EDGE_MAX_BYTES] = {0};
    memcpy(last, codes, (size_t)count * bytes);
    if (count) arrange_block(last, planes, bytes);
}

/* Computes the distances of `count` codes, and over whole blocks the minimum of each lane. */
INLINE void survey(const uint8_t *planes, uint32_t count, const uint8_t *query, uint8_t *distances,
                   uint8_t *nearest, const unsigned bytes) {
    plane spread[EDGE_MAX_BYTES], low[PLANES];
    for (unsigned j = 0; j < bytes; j++) spread[j] = spread_plane(query[j]);
    for (unsigned v = 0; v < PLANES; v++) low[v] = spread_plane(255);
    for (uint32_t row = 0; row < count; row += EDGE_BLOCK, planes += EDGE_BLOCK * bytes)
        for (unsigned v = 0; v < PLANES; v++) {
            const uint8_t *first = planes + PLANE_BYTES * v;
            plane distance = differing_bits(load_plane(first), spread[0]);
            for (unsigned j = 1; j < bytes; j++)
                distance = sum(distance, differing_bits(load_plane(first + EDGE_BLOCK * j), spread[j]));
            store_plane(distances + row + PLANE_BYTES * v, distance);
            if (count - row >= EDGE_BLOCK) low[v] = least(low[v], distance);
        }
    for (unsigned v = 0; v < PLANES; v++) store_plane(nearest + PLANE_BYTES * v, low[v]);
}

INLINE void sift(const uint8_t *planes, const uint8_t *codes, uint32_t count, const uint8_t *query,
                 edge_select *select, const unsigned bytes) {
    uint8_t distances[EDGE_STRETCH_BYTES / 2 + EDGE_BLOCK], nearest[EDGE_BLOCK];
    uint64_t hits[EDGE_STRETCH_BYTES / 2 / EDGE_BLOCK + 1];
    uint32_t near[EDGE_STRETCH_BYTES / 2 / EDGE_BLOCK + 1], found = 0, most = 0;
    survey(planes, count, query, distances, nearest, bytes);
    while (most < 255 && (uint32_t)__builtin_popcountll(up_to(nearest, (uint8_t)most)) < select->k) most++;
    if (most < 255 && most < select->limit) select->limit = most + 1; /* 255 may mean 256 */
    for (uint32_t row = 0, block = 0; row < count; row += EDGE_BLOCK, block++) {
        hits[block] = up_to(distances + row, (uint8_t)most);
        if (count - row < EDGE_BLOCK) hits[block] &= ((uint64_t)1 << (count - row)) - 1;
        near[found] = block;
        found += hits[block] != 0;
    }
    for (uint32_t i = 0; i < found; i++)
        for (uint64_t left = hits[near[i]]; left; left &= left - 1)
            edge_offer(select, codes, query, bytes, NULL,
                       EDGE_BLOCK * near[i] + (uint32_t)__builtin_ctzll(left));
}

#define EDGE_PLANES(TARGET, BYTES)                                                                \
    TARGET static void arrange_##BYTES(const uint8_t *codes, uint32_t count, uint8_t *planes) {   \
        arrange(codes, count, planes, (BYTES));                                                   \
    }                                                                                             \
    TARGET static void sift_##BYTES(const uint8_t *planes, const uint8_t *codes, uint32_t count,  \
                                    const uint8_t *query, edge_select *select) {                  \
        sift(planes, codes, count, query, select, (BYTES));                                       \
    }

#define EDGE_BATCHED(BYTES) [BYTES] = {EDGE_SCANS(BYTES), .arrange = arrange_##BYTES, .sift = sift_##BYTES}
