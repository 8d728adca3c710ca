/* AVX2 (x86-64 CPUs since about 2013): bits counted by table lookup, four at a time (Mula). */
#if defined(__x86_64__)
#include <immintrin.h>

#include "hamming.h"

#define TARGET __attribute__((target("avx2,popcnt")))
#define INLINE TARGET static inline __attribute__((always_inline))

static int supported(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}

INLINE __m256i spread_2(const uint8_t *q) { return _mm256_set1_epi16((short)edge_load(q, 2)); }
INLINE __m256i spread_4(const uint8_t *q) { return _mm256_set1_epi32((int)edge_load(q, 4)); }
INLINE __m256i spread_6(const uint8_t *q) { return _mm256_set1_epi64x((long long)edge_load(q, 6)); }
INLINE __m256i spread_8(const uint8_t *q) { return _mm256_set1_epi64x((long long)edge_load(q, 8)); }
INLINE __m256i spread_16(const uint8_t *q) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)q));
}
INLINE __m256i spread_32(const uint8_t *q) { return _mm256_loadu_si256((const __m256i *)q); }

/* The number of ones in each byte. */
INLINE __m256i counts(__m256i bytes) {
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                           0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i low = _mm256_and_si256(bytes, nibble);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
    return _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
}

INLINE __m256i differing(const uint8_t *codes, __m256i query) {
    return counts(_mm256_xor_si256(_mm256_loadu_si256((const __m256i *)codes), query));
}

INLINE __m256i sum_8(__m256i counted) { return _mm256_sad_epu8(counted, _mm256_setzero_si256()); }

INLINE __m256i popcount_2(const uint8_t *codes, __m256i query) {
    return _mm256_maddubs_epi16(differing(codes, query), _mm256_set1_epi8(1));
}

INLINE uint64_t below_2(const uint8_t *codes, __m256i query, uint32_t limit) {
    const __m256i t = _mm256_set1_epi16((short)limit);
    uint64_t hits = 0;
    for (int i = 0; i < 2; i++) {
        const __m256i a = popcount_2(codes + 64 * i, query);
        const __m256i b = popcount_2(codes + 64 * i + 32, query);
        const __m256i both =
            _mm256_packs_epi16(_mm256_cmpgt_epi16(t, a), _mm256_cmpgt_epi16(t, b));
        const __m256i ordered = _mm256_permute4x64_epi64(both, _MM_SHUFFLE(3, 1, 2, 0));
        hits |= (uint64_t)(uint32_t)_mm256_movemask_epi8(ordered) << (32 * i);
    }
    return hits;
}

INLINE void distances_2(const uint8_t *codes, __m256i query, uint16_t *out) {
    for (int i = 0; i < 4; i++)
        _mm256_storeu_si256((__m256i *)(out + 16 * i), popcount_2(codes + 32 * i, query));
}

INLINE __m256i popcount_4(const uint8_t *codes, __m256i query) {
    return _mm256_madd_epi16(popcount_2(codes, query), _mm256_set1_epi16(1));
}

INLINE uint64_t below_4(const uint8_t *codes, __m256i query, uint32_t limit) {
    const __m256i t = _mm256_set1_epi32((int)limit);
    __m256i d[8], least = t;
    for (int i = 0; i < 8; i++) {
        d[i] = popcount_4(codes + 32 * i, query);
        least = _mm256_min_epi32(least, d[i]);
    }
    if (__builtin_expect(!_mm256_movemask_epi8(_mm256_cmpgt_epi32(t, least)), 1)) return 0;
    uint64_t hits = 0;
    for (int i = 0; i < 8; i++) {
        const __m256i near = _mm256_cmpgt_epi32(t, d[i]);
        hits |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(near)) << (8 * i);
    }
    return hits;
}

INLINE void distances_4(const uint8_t *codes, __m256i query, uint16_t *out) {
    for (int i = 0; i < 4; i++) {
        const __m256i both = _mm256_packus_epi32(popcount_4(codes + 64 * i, query),
                                                 popcount_4(codes + 64 * i + 32, query));
        _mm256_storeu_si256((__m256i *)(out + 16 * i),
                            _mm256_permute4x64_epi64(both, _MM_SHUFFLE(3, 1, 2, 0)));
    }
}

/* Widths with one 64-bit lane per code: each defines `lanes_BYTES`, the distances of four codes. */
#define LANES(BYTES)                                                                              \
    INLINE uint64_t below_##BYTES(const uint8_t *codes, __m256i query, uint32_t limit) {          \
        __m256i d[16];                                                                            \
        for (int i = 0; i < 16; i++) d[i] = lanes_##BYTES(codes + 4 * (BYTES) * i, query);        \
        return lanes_below(d, limit);                                                             \
    }                                                                                             \
    INLINE void distances_##BYTES(const uint8_t *codes, __m256i query, uint16_t *out) {           \
        for (int i = 0; i < 4; i++, codes += 16 * (BYTES))                                        \
            store_lanes(lanes_##BYTES(codes, query), lanes_##BYTES(codes + 4 * (BYTES), query),   \
                        lanes_##BYTES(codes + 8 * (BYTES), query),                                \
                        lanes_##BYTES(codes + 12 * (BYTES), query), out + 16 * i);                \
    }

INLINE uint64_t lanes_of(__m256i distances, __m256i t) {
    return (uint64_t)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(t, distances)));
}

/* min_epi32 suffices, because the upper halves are zero. */
INLINE uint64_t lanes_below(const __m256i d[16], uint32_t limit) {
    const __m256i t = _mm256_set1_epi64x(limit);
    __m256i least = t;
    for (int i = 0; i < 16; i++) least = _mm256_min_epi32(least, d[i]);
    if (__builtin_expect(!lanes_of(least, t), 1)) return 0;
    uint64_t hits = 0;
    for (int i = 0; i < 16; i++) hits |= lanes_of(d[i], t) << (4 * i);
    return hits;
}

/* Stores 16 distances in order, 16 bits each. */
INLINE void store_lanes(__m256i a, __m256i b, __m256i c, __m256i d, uint16_t *out) {
    const __m256i packed = _mm256_packus_epi32(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((__m256i *)out, _mm256_permutevar8x32_epi32(packed, order));
}

INLINE __m256i lanes_6(const uint8_t *codes, __m256i query) { /* reads 4 bytes beyond the last code */
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 2, 3, 4, 5, -1, -1, 6, 7, 8, 9, 10, 11, -1, -1));
    const __m128i first = _mm_loadu_si128((const __m128i *)codes);
    const __m128i second = _mm_loadu_si128((const __m128i *)(codes + 12));
    const __m256i lanes = _mm256_shuffle_epi8(_mm256_set_m128i(second, first), order);
    return sum_8(counts(_mm256_xor_si256(lanes, query)));
}

INLINE __m256i lanes_8(const uint8_t *codes, __m256i query) { return sum_8(differing(codes, query)); }

/* Sums of adjacent lanes of eight lanes, in order. */
INLINE __m256i pairwise(__m256i a, __m256i b) {
    const __m256i sums = _mm256_add_epi64(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    return _mm256_permute4x64_epi64(sums, _MM_SHUFFLE(3, 1, 2, 0));
}

INLINE __m256i lanes_16(const uint8_t *codes, __m256i query) {
    return pairwise(lanes_8(codes, query), lanes_8(codes + 32, query));
}

INLINE __m256i lanes_32(const uint8_t *codes, __m256i query) {
    return pairwise(lanes_16(codes, query), lanes_16(codes + 64, query));
}

LANES(6)
LANES(8)
LANES(16)
LANES(32)

#define PLANE_BYTES 32
typedef __m256i plane;
INLINE plane load_plane(const uint8_t *bytes) { return _mm256_loadu_si256((const __m256i *)bytes); }
INLINE void store_plane(uint8_t *bytes, plane p) { _mm256_storeu_si256((__m256i *)bytes, p); }
INLINE plane spread_plane(uint8_t byte) { return _mm256_set1_epi8((char)byte); }
INLINE plane differing_bits(plane a, plane b) { return counts(_mm256_xor_si256(a, b)); }
INLINE plane sum(plane a, plane b) { return _mm256_adds_epu8(a, b); }
INLINE plane least(plane a, plane b) { return _mm256_min_epu8(a, b); }
INLINE uint64_t up_to(const uint8_t *distances, uint8_t most) {
    uint64_t near = 0;
    for (int i = 0; i < 2; i++) {
        const plane here = load_plane(distances + 32 * i);
        const plane within = _mm256_cmpeq_epi8(least(here, spread_plane(most)), here);
        near |= (uint64_t)(uint32_t)_mm256_movemask_epi8(within) << (32 * i);
    }
    return near;
}
#include "planes.h"

EDGE_WIDTH(TARGET, 2, __m256i, 0)
EDGE_WIDTH(TARGET, 4, __m256i, 0)
EDGE_WIDTH(TARGET, 6, __m256i, 1)
EDGE_WIDTH(TARGET, 8, __m256i, 0)
EDGE_WIDTH(TARGET, 16, __m256i, 0)
EDGE_WIDTH(TARGET, 32, __m256i, 0)

EDGE_PLANES(TARGET, 2)
EDGE_PLANES(TARGET, 4)
EDGE_PLANES(TARGET, 6)
EDGE_PLANES(TARGET, 8)
EDGE_PLANES(TARGET, 16)
EDGE_PLANES(TARGET, 32)

const edge_scanner edge_scanner_avx2 = {
    "avx2",
    supported,
    {EDGE_BATCHED(2), EDGE_BATCHED(4), EDGE_BATCHED(6), EDGE_BATCHED(8), EDGE_BATCHED(16), EDGE_BATCHED(32)},
};
#endif
