/* nearest.c: the runtime's own lookup (edge_runtime/native), for programs in C. */
#include <stdlib.h>

#include "edge.h"
#include "hamming.h"

int32_t edge_nearest(const uint64_t *codes, uint32_t count, uint32_t words, const uint64_t *query,
                     uint32_t k, uint32_t *rows, uint32_t *distances)
{
    if (k > count)
        k = count;
    if (k == 0)
        return 0;
    if (words < 1 || 8 * words > EDGE_MAX_BYTES || count == UINT32_MAX || k > INT32_MAX)
        return -1;
    const uint32_t bits = 64 * words;
    const size_t scratch = sizeof(uint32_t) * edge_search_words(bits, 1, k);
    int64_t *found = malloc(2 * sizeof(int64_t) * k + scratch);
    if (!found)
        return -1;
    uint32_t number;
    edge_search(edge_find_scanner(NULL), (const uint8_t *)codes, count, bits, (const uint8_t *)query, 1, k,
                NULL, (uint32_t *)(found + 2 * (size_t)k), found, found + k, &number);
    for (uint32_t i = 0; i < number; i++) {
        rows[i] = (uint32_t)found[i];
        distances[i] = (uint32_t)found[k + i];
    }
    free(found);
    return (int32_t)number;
}
