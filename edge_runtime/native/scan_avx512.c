/* AVX-512 with population count (Ice Lake, Zen 4 and newer): codes in order, lane by lane.
 *
 * Of a block, the smallest distance is found first; only if that is a hit are the lanes compared.
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

INLINE uint64_t below_2(const uint8_t *codes, __m512i query, uint32_t limit) {
    const __m512i t = _mm512_set1_epi16((short)limit);
    const __m512i a = _mm512_popcnt_epi16(differing(codes, query));
    const __m512i b = _mm512_popcnt_epi16(differing(codes + 64, query));
    return _mm512_cmplt_epu16_mask(a, t) | (uint64_t)_mm512_cmplt_epu16_mask(b, t) << 32;
}

INLINE uint64_t below_4(const uint8_t *codes, __m512i query, uint32_t limit) {
    const __m512i t = _mm512_set1_epi32((int)limit);
    __m512i d[4], least;
    for (int i = 0; i < 4; i++) d[i] = _mm512_popcnt_epi32(differing(codes + 64 * i, query));
    least = _mm512_min_epu32(_mm512_min_epu32(d[0], d[1]), _mm512_min_epu32(d[2], d[3]));
    if (__builtin_expect(!_mm512_cmplt_epu32_mask(least, t), 1)) return 0;
    uint64_t hits = 0;
    for (int i = 0; i < 4; i++) hits |= (uint64_t)_mm512_cmplt_epu32_mask(d[i], t) << (16 * i);
    return hits;
}

/* What the widths with one 64-bit lane a code share: eight vectors of eight distances. */
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

INLINE uint64_t below_6(const uint8_t *codes, __m512i query, uint32_t limit) {
    /* Six bytes of each code into the lower six of a lane; the upper two stay zero. */
    static const uint8_t places[64] = {
        0,  1,  2,  3,  4,  5,  0, 0, 6,  7,  8,  9,  10, 11, 0, 0, 12, 13, 14, 15, 16, 17,
        0,  0,  18, 19, 20, 21, 22, 23, 0, 0, 24, 25, 26, 27, 28, 29, 0, 0, 30, 31, 32, 33,
        34, 35, 0,  0,  36, 37, 38, 39, 40, 41, 0, 0, 42, 43, 44, 45, 46, 47, 0, 0};
    const __m512i order = _mm512_loadu_si512(places);
    __m512i d[8];
    for (int i = 0; i < 8; i++) {
        const __m512i packed = _mm512_maskz_loadu_epi8(0xFFFFFFFFFFFF, codes + 48 * i);
        const __m512i lanes = _mm512_maskz_permutexvar_epi8(0x3F3F3F3F3F3F3F3F, order, packed);
        d[i] = _mm512_popcnt_epi64(_mm512_xor_si512(lanes, query));
    }
    return lanes_below(d, limit);
}

INLINE uint64_t below_8(const uint8_t *codes, __m512i query, uint32_t limit) {
    __m512i d[8];
    for (int i = 0; i < 8; i++) d[i] = _mm512_popcnt_epi64(differing(codes + 64 * i, query));
    return lanes_below(d, limit);
}

/* Sums of neighbouring lanes of 16 lanes, in order. */
INLINE __m512i pairwise(__m512i a, __m512i b) {
    const __m512i even = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1);
    return _mm512_add_epi64(_mm512_permutex2var_epi64(a, even, b),
                            _mm512_permutex2var_epi64(a, odd, b));
}

INLINE __m512i distances_16(const uint8_t *codes, __m512i query) {
    return pairwise(_mm512_popcnt_epi64(differing(codes, query)),
                    _mm512_popcnt_epi64(differing(codes + 64, query)));
}

INLINE uint64_t below_16(const uint8_t *codes, __m512i query, uint32_t limit) {
    __m512i d[8];
    for (int i = 0; i < 8; i++) d[i] = distances_16(codes + 128 * i, query);
    return lanes_below(d, limit);
}

INLINE uint64_t below_32(const uint8_t *codes, __m512i query, uint32_t limit) {
    __m512i d[8];
    for (int i = 0; i < 8; i++)
        d[i] = pairwise(distances_16(codes + 256 * i, query),
                        distances_16(codes + 256 * i + 128, query));
    return lanes_below(d, limit);
}

EDGE_WIDTH(TARGET, 2, __m512i, 0)
EDGE_WIDTH(TARGET, 4, __m512i, 0)
EDGE_WIDTH(TARGET, 6, __m512i, 0)
EDGE_WIDTH(TARGET, 8, __m512i, 0)
EDGE_WIDTH(TARGET, 16, __m512i, 0)
EDGE_WIDTH(TARGET, 32, __m512i, 0)

const edge_kernel edge_kernel_avx512 = {
    "avx512",
    supported,
    {EDGE_ENTRY(2), EDGE_ENTRY(4), EDGE_ENTRY(6), EDGE_ENTRY(8), EDGE_ENTRY(16), EDGE_ENTRY(32)},
};
#endif
