#include "multi_index.h"

void edge_index_build(const uint32_t *codes, uint32_t count, uint32_t parts, uint32_t part,
                      uint32_t width, uint32_t *starts, uint32_t *entries) {
    const uint32_t buckets = (uint32_t)1 << width;
    memset(starts, 0, sizeof(uint32_t) * ((size_t)buckets + 1));
    for (uint32_t row = 0; row < count; row++) starts[codes[(size_t)row * parts + part] + 1]++;
    for (uint32_t bucket = 1; bucket <= buckets; bucket++) starts[bucket] += starts[bucket - 1];
    for (uint32_t row = 0; row < count; row++) {
        const uint32_t *code = codes + (size_t)row * parts;
        uint32_t *entry = entries + (size_t)starts[code[part]]++ * (parts + 1);
        entry[0] = row;
        memcpy(entry + 1, code, sizeof(uint32_t) * parts);
    }
    /* Each start has moved to its bucket's end, which is where the next one begins. */
    memmove(starts + 1, starts, sizeof(uint32_t) * buckets);
    starts[0] = 0;
}

/* A heap with the farthest on top. A key is distance * 2^32 + row, so that ties go by row. */
static void sink(uint64_t *heap, uint32_t size, uint32_t at) {
    const uint64_t key = heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= size) break;
        if (child + 1 < size && heap[child + 1] > heap[child]) child++;
        if (heap[child] <= key) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = key;
}

static void rise(uint64_t *heap, uint32_t at) {
    const uint64_t key = heap[at];
    while (at && heap[(at - 1) / 2] < key) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = key;
}

static uint32_t unload(uint64_t *heap, uint32_t found, int64_t *rows, int64_t *distances) {
    for (uint32_t left = found; left--;) {
        rows[left] = (int64_t)(heap[0] & UINT32_MAX);
        distances[left] = (int64_t)(heap[0] >> 32);
        heap[0] = heap[left];
        sink(heap, left, 0);
    }
    return found;
}

/* A code can be met in several parts' tables. It counts where it is met first: in the part that is
 * nearest to the query's, the first of equals. Gives its distance, or UINT32_MAX elsewhere. */
static inline uint32_t first_met(const uint32_t *code, const uint32_t *query, uint32_t parts,
                                 uint32_t part, uint32_t radius) {
    uint32_t distance = 0;
    for (uint32_t i = 0; i < parts; i++) {
        const uint32_t differing = (uint32_t)__builtin_popcount(code[i] ^ query[i]);
        if (differing < radius + (i < part)) return UINT32_MAX;
        distance += differing;
    }
    return distance;
}

uint32_t edge_index_search(const edge_multi_index *index, const uint32_t *query, uint32_t k,
                           edge_alive alive, uint64_t work, uint64_t *heap, int64_t *rows,
                           int64_t *distances) {
    const uint32_t parts = index->parts;
    uint32_t found = 0;
    uint64_t worst = UINT64_MAX; /* what a key must stay below, once there are k */
    for (uint32_t radius = 0; radius <= EDGE_MAX_PART_BITS; radius++) {
        for (uint32_t part = 0; part < parts; part++) {
            const uint32_t width = index->width[part];
            const uint64_t end = (uint64_t)1 << width;
            /* All patterns of `radius` ones among `width` bits, in rising order (Gosper). */
            for (uint64_t flips = ((uint64_t)1 << radius) - 1; radius <= width && flips < end;) {
                const uint32_t bucket = query[part] ^ (uint32_t)flips;
                uint32_t at = index->starts[part][bucket];
                const uint32_t stop = index->starts[part][bucket + 1];
                const uint64_t cost = stop - at + EDGE_BUCKET_WORK;
                if (work < cost) return UINT32_MAX;
                work -= cost;
                for (; at < stop; at++) {
                    const uint32_t *entry = index->entries[part] + (size_t)at * (parts + 1);
                    const uint32_t distance = first_met(entry + 1, query, parts, part, radius);
                    const uint64_t key = (uint64_t)distance << 32 | entry[0];
                    if (distance == UINT32_MAX || key >= worst || !edge_is_alive(alive, entry[0]))
                        continue;
                    if (found < k) {
                        heap[found] = key;
                        rise(heap, found++);
                    } else {
                        heap[0] = key;
                        sink(heap, found, 0);
                    }
                    if (found == k) worst = heap[0];
                }
                if (!flips) break;
                const uint64_t low = flips & -flips, ripple = flips + low;
                flips = ripple | (((flips ^ ripple) >> 2) / low);
            }
            /* What was not met yet differs by more than `radius` in each part up to this one and by
             * at least `radius` in each later one. */
            if (found == k && (worst >> 32) <= parts * radius + part)
                return unload(heap, found, rows, distances);
        }
    }
    return unload(heap, found, rows, distances);
}
