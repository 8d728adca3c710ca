/* Searches a multi-index. */
#include <stdlib.h>

#include "index_parts.h"

/* -- results ------------------------------------------------------------------------------------ */

/* Either the k nearest rows, in a heap with the farthest on top, or all that are near enough. A key is
 * distance * 2^32 + row, so ties are ordered by row. */
typedef struct {
    const edge_filter *filter;
    uint64_t below; /* keys must be below this */
    uint64_t *heap; /* NULL: collect all */
    uint32_t k, found;
    edge_basket *all;
} sink;

static void sift_down(uint64_t *heap, uint32_t size, uint32_t at) {
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

static void sift_up(uint64_t *heap, uint32_t at) {
    const uint64_t key = heap[at];
    while (at && heap[(at - 1) / 2] < key) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = key;
}

/* Offers the rows of a code. They ascend, so the first key that is too large ends the loop. */
static void take(sink *to, const edge_index *index, uint32_t id, uint32_t distance) {
    for (uint32_t at = index->begins[id]; at < index->begins[id + 1]; at++) {
        const uint32_t row = index->rows[at];
        const uint64_t key = (uint64_t)distance << 32 | row;
        if (key >= to->below) return;
        if (!edge_passes(to->filter, row)) continue;
        if (!to->heap) {
            if (to->all->found < to->all->room) {
                to->all->rows[to->all->found] = row;
                to->all->distances[to->all->found] = (uint16_t)distance;
            }
            to->all->found++;
        } else if (to->found < to->k) {
            to->heap[to->found] = key;
            sift_up(to->heap, to->found++);
            if (to->found == to->k) to->below = to->heap[0];
        } else {
            to->heap[0] = key;
            sift_down(to->heap, to->k, 0);
            to->below = to->heap[0];
        }
    }
}

static uint32_t unload(sink *from, int64_t *rows, int64_t *distances) {
    for (uint32_t left = from->found; left--;) {
        rows[left] = (int64_t)(from->heap[0] & UINT32_MAX);
        distances[left] = (int64_t)(from->heap[0] >> 32);
        from->heap[0] = from->heap[left];
        sift_down(from->heap, left, 0);
    }
    return from->found;
}

/* -- searching ---------------------------------------------------------------------------------- */

/* A code may occur in the tables of several parts. It counts where it is visited first: in the part
 * nearest to the query's part, or the first of several equal ones. */
static int met_before(const edge_index *index, const uint64_t *differing, uint32_t part, uint32_t radius) {
    for (uint32_t other = 0; other < index->parts; other++) {
        const uint32_t bits = (uint32_t)__builtin_popcount(bucket_of(&index->part[other], differing));
        if (bits < radius + (other < part)) return 1;
    }
    return 0;
}

static inline __attribute__((always_inline)) void look_into(const edge_index *index, uint32_t number,
                                                            uint32_t words, uint32_t radius,
                                                            uint32_t begin, uint32_t end,
                                                            const uint64_t *query, sink *to) {
    const part_table *part = &index->part[number];
    for (uint32_t at = begin; at < end; at++) {
        const uint64_t *code = part->codes + (size_t)at * words;
        uint64_t differing[MAX_WORDS];
        uint32_t distance = 0;
        for (uint32_t word = 0; word < words; word++) {
            differing[word] = code[word] ^ query[word];
            distance += (uint32_t)__builtin_popcountll(differing[word]);
        }
        if ((uint64_t)distance << 32 >= to->below || met_before(index, differing, number, radius)) continue;
        take(to, index, part->ids[at], distance);
    }
}

/* Visits buckets of increasing radius until no unvisited code can qualify. Returns 0 if `work` is used
 * up. */
static int walk(const edge_index *index, const uint64_t *query, uint64_t *work, sink *to) {
    const uint32_t parts = index->parts;
    for (uint32_t radius = 0; radius <= EDGE_MAX_PART_BITS; radius++) {
        for (uint32_t number = 0; number < parts; number++) {
            const part_table *part = &index->part[number];
            const uint32_t home = bucket_of(part, query);
            const uint64_t beyond = (uint64_t)1 << part->width;
            /* All patterns of `radius` ones among the part's bits, in ascending order (Gosper's hack). */
            uint64_t flips = ((uint64_t)1 << radius) - 1;
            int more = radius <= part->width;
            while (more) {
                uint32_t bucket[AHEAD], begin[AHEAD], end[AHEAD], ahead = 0;
                for (; ahead < AHEAD && more; ahead++) {
                    bucket[ahead] = home ^ (uint32_t)flips;
                    __builtin_prefetch(part->begins + bucket[ahead]);
                    const uint64_t low = flips & -flips, ripple = flips + low;
                    flips = low ? ripple | (((flips ^ ripple) >> 2) / low) : beyond;
                    more = flips < beyond;
                }
                uint64_t cost = (uint64_t)ahead * EDGE_BUCKET_WORK;
                for (uint32_t b = 0; b < ahead; b++) {
                    begin[b] = part->begins[bucket[b]];
                    end[b] = part->begins[bucket[b] + 1];
                    cost += end[b] - begin[b];
                    if (begin[b] < end[b]) __builtin_prefetch(part->codes + (size_t)begin[b] * index->words);
                }
                if (*work < cost) return 0;
                *work -= cost;
                for (uint32_t b = 0; b < ahead; b++) {
                    if (index->words == 1)
                        look_into(index, number, 1, radius, begin[b], end[b], query, to);
                    else
                        look_into(index, number, index->words, radius, begin[b], end[b], query, to);
                }
            }
            /* Codes not visited yet differ by more than `radius` in each part up to this one, and by
             * at least `radius` in each later part. */
            if ((!to->heap || to->found == to->k) && (to->below - 1) >> 32 <= parts * radius + number)
                return 1;
        }
    }
    return 1;
}

uint32_t edge_index_nearest(const edge_index *index, const uint8_t *query, uint32_t k,
                            const edge_filter *filter, uint64_t *work, uint64_t *heap, int64_t *rows,
                            int64_t *distances) {
    uint64_t ordered[MAX_WORDS];
    sink to = {.filter = filter, .below = UINT64_MAX, .heap = heap, .k = k};
    put_in_order(index, query, ordered);
    return walk(index, ordered, work, &to) ? unload(&to, rows, distances) : EDGE_EXHAUSTED;
}

size_t edge_index_collect(const edge_index *index, const uint8_t *query, uint32_t limit,
                          const edge_filter *filter, uint64_t *work, uint32_t *rows,
                          uint16_t *distances, size_t room) {
    uint64_t ordered[MAX_WORDS];
    edge_basket all = {.rows = rows, .distances = distances, .room = room};
    sink to = {.filter = filter, .below = (uint64_t)limit << 32, .all = &all};
    if (!limit) return 0;
    put_in_order(index, query, ordered);
    return walk(index, ordered, work, &to) ? all.found : SIZE_MAX;
}

/* Offers all distinct codes nearer than `limit`. Returns 0 if out of memory. */
static int offer_near(const edge_index *index, const edge_width *width, const uint8_t *query,
                      uint32_t limit, sink *to) {
    size_t room = 1024, found;
    for (;; room = found) {
        uint32_t *ids = malloc(room * (sizeof(uint32_t) + sizeof(uint16_t)));
        if (!ids) return 0;
        uint16_t *distances = (uint16_t *)(ids + room);
        found = width->collect(index->codes, index->distinct, query, limit, NULL, ids, distances, room);
        for (size_t i = 0; found <= room && i < found; i++) take(to, index, ids[i], distances[i]);
        free(ids);
        if (found <= room) return 1;
    }
}

uint32_t edge_index_scan(const edge_index *index, const edge_scanner *kernel, const uint8_t *query,
                         uint32_t k, const edge_filter *filter, uint64_t *heap, int64_t *rows,
                         int64_t *distances) {
    const uint32_t few = k < index->distinct ? k : index->distinct;
    uint32_t *words = malloc(sizeof(uint32_t) * edge_search_words(index->bits, 1, few) + 16 * (size_t)few);
    if (!words) return EDGE_EXHAUSTED;
    int64_t *ids = (int64_t *)words, *away = ids + few;
    uint32_t codes;
    edge_search(kernel, index->codes, index->distinct, index->bits, query, 1, few, NULL,
                (uint32_t *)(away + few), ids, away, &codes);
    sink to = {.filter = filter, .below = UINT64_MAX, .heap = heap, .k = k};
    int done = 1;
    if (!filter || codes == index->distinct) {
        /* The k nearest codes by distance, then by first row, contain the k nearest rows. */
        for (uint32_t i = 0; i < codes; i++) take(&to, index, (uint32_t)ids[i], (uint32_t)away[i]);
    } else {
        /* With filtered rows, any number of codes may be needed: offer all up to a growing distance. */
        for (uint32_t limit = (uint32_t)away[codes - 1] + 1;; limit += 1 + limit / 4) {
            to.found = 0;
            to.below = UINT64_MAX;
            done = offer_near(index, edge_width_of(kernel, index->bytes), query, limit, &to);
            if (!done || to.found == k || limit > index->bits) break;
        }
    }
    free(words);
    return done ? unload(&to, rows, distances) : EDGE_EXHAUSTED;
}
