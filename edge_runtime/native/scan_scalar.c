/* Portable C for any CPU and width: one code at a time. */
#include "hamming.h"

static int always(void) { return 1; }

#define WIDTH(BYTES)                                                                              \
    static void scan_##BYTES(const uint8_t *codes, uint32_t begin, uint32_t end,                  \
                             const uint8_t *query, const edge_filter *filter,                     \
                             edge_select *select) {                                               \
        for (uint32_t row = begin; row < end; row++)                                              \
            edge_offer(select, codes, query, (BYTES), filter, row);                               \
    }                                                                                             \
    static size_t collect_##BYTES(const uint8_t *codes, uint32_t count, const uint8_t *query,     \
                                  uint32_t limit, const edge_filter *filter, uint32_t *rows,      \
                                  uint16_t *distances, size_t room) {                             \
        edge_basket basket = {filter, limit, rows, distances, room, 0};                           \
        for (uint32_t row = 0; row < count; row++) edge_keep(&basket, codes, query, (BYTES), row);\
        return basket.found;                                                                      \
    }                                                                                             \
    static void measure_##BYTES(const uint8_t *codes, uint32_t count, const uint8_t *query,       \
                                uint16_t *distances) {                                            \
        for (uint32_t row = 0; row < count; row++)                                                \
            distances[row] = (uint16_t)edge_distance(codes + (size_t)row * (BYTES), query, (BYTES));\
    }
#define ENTRY(BYTES) [BYTES] = {.scan = scan_##BYTES, .measure = measure_##BYTES, .collect = collect_##BYTES}

#define EACH(DO, SEPARATOR)                                                                       \
    DO(1) SEPARATOR DO(2) SEPARATOR DO(3) SEPARATOR DO(4) SEPARATOR DO(5) SEPARATOR DO(6)         \
    SEPARATOR DO(7) SEPARATOR DO(8) SEPARATOR DO(9) SEPARATOR DO(10) SEPARATOR DO(11)             \
    SEPARATOR DO(12) SEPARATOR DO(13) SEPARATOR DO(14) SEPARATOR DO(15) SEPARATOR DO(16)          \
    SEPARATOR DO(17) SEPARATOR DO(18) SEPARATOR DO(19) SEPARATOR DO(20) SEPARATOR DO(21)          \
    SEPARATOR DO(22) SEPARATOR DO(23) SEPARATOR DO(24) SEPARATOR DO(25) SEPARATOR DO(26)          \
    SEPARATOR DO(27) SEPARATOR DO(28) SEPARATOR DO(29) SEPARATOR DO(30) SEPARATOR DO(31)          \
    SEPARATOR DO(32)
#define NOTHING
#define COMMA ,

EACH(WIDTH, NOTHING)

const edge_scanner edge_scanner_scalar = {"scalar", always, {EACH(ENTRY, COMMA)}};
