/* AVX-512 with population count (Ice Lake, Zen 4 and newer): codes in order, lane by lane.
 *
 * The smallest distance of a block is computed first. Lanes are compared only if it is a hit.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "hamming.h"

#define TARGET                                                                                    \
    __attribute__((target("avx512f,avx512bw,avx512vbmi,avx512vpopcntdq,avx512bitalg,popcnt")))
#define INLINE TARGET static inline __attribute__((always_inline))

static int supported(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vpopcntdq") &&
           __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("popcnt");
}

INLINE __m512i spread_2(const uint8_t *q) { return _mm512_set1_epi16((short)edge_load(q, 2)); }
INLINE __m512i spread_4(const uint8_t *q) { return _mm512_set1_epi32((int)edge_load(q, 4)); }
INLINE __m512i spread_6(const uint8_t *q) { return _mm512_set1_epi64((long long)edge_load(q, 6)); }
INLINE __m512i spread_8(const uint8_t *q) { return _mm512_set1_epi64((long long)edge_load(q, 8)); }
INLINE __m512i spread_16(const uint8_t *q) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)q));
}
INLINE __m512i spread_32(const uint8_t *q) {
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)q));
}

INLINE __m512i differing(const uint8_t *codes, __m512i query) {
    return _mm512_xor_si512(_mm512_loadu_si512(codes), query);
}

INLINE __m512i popcount_2(const uint8_t *codes, __m512i query) {
    return _mm512_popcnt_epi16(differing(codes, query));
}

INLINE uint64_t below_2(const uint8_t *codes, __m512i query, uint32_t limit) {
    const __m512i t = _mm512_set1_epi16((short)limit);
    return _mm512_cmplt_epu16_mask(popcount_2(codes, query), t) |
           (uint64_t)_mm512_cmplt_epu16_mask(popcount_2(codes + 64, query), t) << 32;
}

INLINE void distances_2(const uint8_t *codes, __m512i query, uint16_t *out) {
    for (int i = 0; i < 2; i++) _mm512_storeu_si512(out + 32 * i, popcount_2(codes + 64 * i, query));
}

INLINE __m512i popcount_4(const uint8_t *codes, __m512i query) {
    return _mm512_popcnt_epi32(differing(codes, query));
}

INLINE uint64_t below_4(const uint8_t *codes, __m512i query, uint32_t limit) {
    const __m512i t = _mm512_set1_epi32((int)limit);
    __m512i d[4], least;
    for (int i = 0; i < 4; i++) d[i] = popcount_4(codes + 64 * i, query);
    least = _mm512_min_epu32(_mm512_min_epu32(d[0], d[1]), _mm512_min_epu32(d[2], d[3]));
    if (__builtin_expect(!_mm512_cmplt_epu32_mask(least, t), 1)) return 0;
    uint64_t hits = 0;
    for (int i = 0; i < 4; i++) hits |= (uint64_t)_mm512_cmplt_epu32_mask(d[i], t) << (16 * i);
    return hits;
}

INLINE void distances_4(const uint8_t *codes, __m512i query, uint16_t *out) {
    for (int i = 0; i < 4; i++)
        _mm256_storeu_si256((__m256i *)(out + 16 * i),
                            _mm512_cvtepi32_epi16(popcount_4(codes + 64 * i, query)));
}

/* Widths with one 64-bit lane per code: each defines `lanes_BYTES`, the distances of eight codes. */
#define LANES(BYTES)                                                                              \
    INLINE uint64_t below_##BYTES(const uint8_t *codes, __m512i query, uint32_t limit) {          \
        __m512i d[8];                                                                             \
        for (int i = 0; i < 8; i++) d[i] = lanes_##BYTES(codes + 8 * (BYTES) * i, query);         \
        return lanes_below(d, limit);                                                             \
    }                                                                                             \
    INLINE void distances_##BYTES(const uint8_t *codes, __m512i query, uint16_t *out) {           \
        for (int i = 0; i < 8; i++)                                                               \
            _mm_storeu_si128((__m128i *)(out + 8 * i),                                            \
                             _mm512_cvtepi64_epi16(lanes_##BYTES(codes + 8 * (BYTES) * i, query)));\
    }

INLINE uint64_t lanes_below(const __m512i d[8], uint32_t limit) {
    const __m512i t = _mm512_set1_epi64(limit);
    const __m512i least =
        _mm512_min_epu64(_mm512_min_epu64(_mm512_min_epu64(d[0], d[1]), _mm512_min_epu64(d[2], d[3])),
                         _mm512_min_epu64(_mm512_min_epu64(d[4], d[5]), _mm512_min_epu64(d[6], d[7])));
    if (__builtin_expect(!_mm512_cmplt_epu64_mask(least, t), 1)) return 0;
    uint64_t hits = 0;
    for (int i = 0; i < 8; i++) hits |= (uint64_t)_mm512_cmplt_epu64_mask(d[i], t) << (8 * i);
    return hits;
}

INLINE __m512i lanes_6(const uint8_t *codes, __m512i query) {
    /* Moves the six bytes of each code to the lower bytes of a lane; the upper two are zero. Reads 16
     * bytes beyond the last code: three codes of slack. */
    const __m512i order = _mm512_set_epi8(
        0, 0, 47, 46, 45, 44, 43, 42, 0, 0, 41, 40, 39, 38, 37, 36, 0, 0, 35, 34, 33, 32, 31, 30, 0,
        0, 29, 28, 27, 26, 25, 24, 0, 0, 23, 22, 21, 20, 19, 18, 0, 0, 17, 16, 15, 14, 13, 12, 0, 0,
        11, 10, 9, 8, 7, 6, 0, 0, 5, 4, 3, 2, 1, 0);
    const __m512i lanes =
        _mm512_maskz_permutexvar_epi8(0x3F3F3F3F3F3F3F3F, order, _mm512_loadu_si512(codes));
    return _mm512_popcnt_epi64(_mm512_xor_si512(lanes, query));
}

INLINE __m512i lanes_8(const uint8_t *codes, __m512i query) {
    return _mm512_popcnt_epi64(differing(codes, query));
}

/* Sums of adjacent lanes of 16 lanes, in order. */
INLINE __m512i pairwise(__m512i a, __m512i b) {
    const __m512i even = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1);
    return _mm512_add_epi64(_mm512_permutex2var_epi64(a, even, b),
                            _mm512_permutex2var_epi64(a, odd, b));
}

INLINE __m512i lanes_16(const uint8_t *codes, __m512i query) {
    return pairwise(lanes_8(codes, query), lanes_8(codes + 64, query));
}

INLINE __m512i lanes_32(const uint8_t *codes, __m512i query) {
    return pairwise(lanes_16(codes, query), lanes_16(codes + 128, query));
}

LANES(6)
LANES(8)
LANES(16)
LANES(32)

#define PLANE_BYTES 64
typedef __m512i plane;
INLINE plane load_plane(const uint8_t *bytes) { return _mm512_loadu_si512(bytes); }
INLINE void store_plane(uint8_t *bytes, plane p) { _mm512_storeu_si512(bytes, p); }
INLINE plane spread_plane(uint8_t byte) { return _mm512_set1_epi8((char)byte); }
INLINE plane differing_bits(plane a, plane b) { return _mm512_popcnt_epi8(_mm512_xor_si512(a, b)); }
INLINE plane sum(plane a, plane b) { return _mm512_adds_epu8(a, b); }
INLINE plane least(plane a, plane b) { return _mm512_min_epu8(a, b); }
INLINE uint64_t up_to(const uint8_t *distances, uint8_t most) {
    return _mm512_cmple_epu8_mask(load_plane(distances), spread_plane(most));
}
#include "planes.h"

EDGE_WIDTH(TARGET, 2, __m512i, 0)
EDGE_WIDTH(TARGET, 4, __m512i, 0)
EDGE_WIDTH(TARGET, 6, __m512i, 3)
EDGE_WIDTH(TARGET, 8, __m512i, 0)
EDGE_WIDTH(TARGET, 16, __m512i, 0)
EDGE_WIDTH(TARGET, 32, __m512i, 0)

EDGE_PLANES(TARGET, 2)
EDGE_PLANES(TARGET, 4)
EDGE_PLANES(TARGET, 6)
EDGE_PLANES(TARGET, 8)
EDGE_PLANES(TARGET, 16)
EDGE_PLANES(TARGET, 32)

const edge_scanner edge_scanner_avx512 = {
    "avx512",
    supported,
    {EDGE_BATCHED(2), EDGE_BATCHED(4), EDGE_BATCHED(6), EDGE_BATCHED(8), EDGE_BATCHED(16), EDGE_BATCHED(32)},
};
#endif
