/* Full rankings: all rows, sorted by distance with a stable sort.
 *
 * Adjacent rows often have equal distances, and reading a counter right after it was written stalls.
 * The rows are therefore split into four stretches with separate counters, processed in turn. */
#include "hamming.h"

#define STRETCHES 4
#define MOST_DISTANCES (8 * EDGE_MAX_BYTES + 1)

uint32_t edge_rank(const edge_scanner *kernel, const uint8_t *codes, uint32_t count, uint32_t bits,
                   const uint8_t *query, const edge_filter *filter, uint16_t *distances,
                   uint32_t *order) {
    uint32_t next[STRETCHES][MOST_DISTANCES] = {{0}};
    const uint32_t stretch = filter ? 0 : count / STRETCHES;
    uint32_t sum = 0;
    edge_width_of(kernel, (bits + 7) / 8)->measure(codes, count, query, distances);
    for (uint32_t row = 0; row < stretch; row++)
        for (uint32_t s = 0; s < STRETCHES; s++) next[s][distances[s * stretch + row]]++;
    for (uint32_t row = STRETCHES * stretch; row < count; row++)
        next[STRETCHES - 1][distances[row]] += edge_passes(filter, row);
    for (uint32_t distance = 0; distance <= bits; distance++)
        for (uint32_t s = 0; s < STRETCHES; s++) {
            const uint32_t here = next[s][distance];
            next[s][distance] = sum;
            sum += here;
        }
    for (uint32_t row = 0; row < stretch; row++)
        for (uint32_t s = 0; s < STRETCHES; s++)
            order[next[s][distances[s * stretch + row]]++] = s * stretch + row;
    for (uint32_t row = STRETCHES * stretch; row < count; row++)
        if (edge_passes(filter, row)) order[next[STRETCHES - 1][distances[row]]++] = row;
    return sum;
}

/* The most rows that one bucket of one stretch may contain. */
static size_t bucket_room(uint32_t count) { return count / STRETCHES + STRETCHES; }

size_t edge_rank_scratch(uint32_t count, uint32_t bits) {
    return count + (size_t)(bits + 1) * STRETCHES * bucket_room(count);
}

void edge_rank_short(const edge_scanner *kernel, const uint8_t *codes, uint32_t count, uint32_t bits,
                     const uint8_t *query, uint16_t *scratch, uint16_t *restrict order) {
    /* The buckets are large enough for any input, and only their filled part is ever touched. This
     * saves the counting pass. */
    const uint32_t stretch = count / STRETCHES;
    const size_t room = bucket_room(count);
    uint16_t *const distances = scratch, *const buckets = scratch + count;
    uint16_t *end[STRETCHES][MOST_DISTANCES];
    edge_width_of(kernel, (bits + 7) / 8)->measure(codes, count, query, distances);
    for (uint32_t distance = 0; distance <= bits; distance++)
        for (uint32_t s = 0; s < STRETCHES; s++)
            end[s][distance] = buckets + (distance * STRETCHES + s) * room;
    for (uint32_t row = 0; row < stretch; row++)
        for (uint32_t s = 0; s < STRETCHES; s++)
            *end[s][distances[s * stretch + row]]++ = (uint16_t)(s * stretch + row);
    for (uint32_t row = STRETCHES * stretch; row < count; row++)
        *end[STRETCHES - 1][distances[row]]++ = (uint16_t)row;
    for (uint32_t distance = 0; distance <= bits; distance++)
        for (uint32_t s = 0; s < STRETCHES; s++) {
            const uint16_t *bucket = buckets + (distance * STRETCHES + s) * room;
            const size_t filled = (size_t)(end[s][distance] - bucket);
            memcpy(order, bucket, sizeof *order * filled);
            order += filled;
        }
}
