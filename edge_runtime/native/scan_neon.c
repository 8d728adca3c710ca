/* NEON (every aarch64): counts bits per byte, then adds adjacent bytes until each sum is one code. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "hamming.h"

#define TARGET
#define INLINE static inline __attribute__((always_inline))

static int always(void) { return 1; }

INLINE uint8x16_t spread_2(const uint8_t *q) {
    return vreinterpretq_u8_u16(vdupq_n_u16((uint16_t)edge_load(q, 2)));
}
INLINE uint8x16_t spread_4(const uint8_t *q) {
    return vreinterpretq_u8_u32(vdupq_n_u32((uint32_t)edge_load(q, 4)));
}
INLINE uint16x8x3_t spread_6(const uint8_t *q) {
    const uint64_t word = edge_load(q, 6);
    return (uint16x8x3_t){{vdupq_n_u16((uint16_t)word), vdupq_n_u16((uint16_t)(word >> 16)),
                           vdupq_n_u16((uint16_t)(word >> 32))}};
}
INLINE uint8x16_t spread_8(const uint8_t *q) {
    return vreinterpretq_u8_u64(vdupq_n_u64(edge_load(q, 8)));
}
INLINE uint8x16_t spread_16(const uint8_t *q) { return vld1q_u8(q); }
INLINE uint8x16x2_t spread_32(const uint8_t *q) {
    return (uint8x16x2_t){{vld1q_u8(q), vld1q_u8(q + 16)}};
}

INLINE uint8x16_t differing(const uint8_t *codes, uint8x16_t query) {
    return vcntq_u8(veorq_u8(vld1q_u8(codes), query));
}

/* Sums of adjacent bytes, from 2, 4, 8 and 16 vectors down to 16 distances, in order. */
INLINE uint8x16_t sum_2(const uint8_t *codes, uint8x16_t query) {
    return vpaddq_u8(differing(codes, query), differing(codes + 16, query));
}
INLINE uint8x16_t sum_4(const uint8_t *codes, uint8x16_t query) {
    return vpaddq_u8(sum_2(codes, query), sum_2(codes + 32, query));
}
INLINE uint8x16_t sum_8(const uint8_t *codes, uint8x16_t query) {
    return vpaddq_u8(sum_4(codes, query), sum_4(codes + 64, query));
}
INLINE uint8x16_t sum_16(const uint8_t *codes, uint8x16_t query) {
    return vpaddq_u8(sum_8(codes, query), sum_8(codes + 128, query));
}

/* One bit for each of 64 bytes whose bits are all ones. */
INLINE uint64_t bits_of(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d) {
    const uint8x16_t weights = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    const uint8x16_t ab = vpaddq_u8(vandq_u8(a, weights), vandq_u8(b, weights));
    const uint8x16_t cd = vpaddq_u8(vandq_u8(c, weights), vandq_u8(d, weights));
    const uint8x16_t all = vpaddq_u8(ab, cd);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(all, all)), 0);
}

/* Distances up to 255 in four vectors of 16. The limit is at most 129 here. */
INLINE uint64_t bytes_below(const uint8x16_t d[4], uint32_t limit) {
    const uint8x16_t t = vdupq_n_u8((uint8_t)limit);
    const uint8x16_t least = vminq_u8(vminq_u8(d[0], d[1]), vminq_u8(d[2], d[3]));
    if (__builtin_expect(vminvq_u8(least) >= limit, 1)) return 0;
    return bits_of(vcltq_u8(d[0], t), vcltq_u8(d[1], t), vcltq_u8(d[2], t), vcltq_u8(d[3], t));
}

/* Without this barrier, compilers load the whole block first and spill registers. */
#define IN_ORDER __asm__ volatile("" ::: "memory")

#define BELOW(BYTES, SUM)                                                                         \
    INLINE uint64_t below_##BYTES(const uint8_t *codes, uint8x16_t query, uint32_t limit) {       \
        uint8x16_t d[4];                                                                          \
        for (int i = 0; i < 4; i++) {                                                             \
            d[i] = SUM(codes + 16 * (BYTES) * i, query);                                          \
            IN_ORDER;                                                                             \
        }                                                                                         \
        return bytes_below(d, limit);                                                             \
    }                                                                                             \
    INLINE void distances_##BYTES(const uint8_t *codes, uint8x16_t query, uint16_t *out) {        \
        for (int i = 0; i < 4; i++) store_bytes(SUM(codes + 16 * (BYTES) * i, query), out + 16 * i);\
    }

INLINE void store_bytes(uint8x16_t distances, uint16_t *out) {
    vst1q_u16(out, vmovl_u8(vget_low_u8(distances)));
    vst1q_u16(out + 8, vmovl_high_u8(distances));
}

BELOW(2, sum_2)
BELOW(4, sum_4)
BELOW(8, sum_8)
BELOW(16, sum_16)

INLINE uint8x16_t counted_6(const uint8_t *codes, uint16x8x3_t query) {
    const uint16x8x3_t planes = vld3q_u16((const uint16_t *)codes);
    uint8x16_t sum = vcntq_u8(vreinterpretq_u8_u16(veorq_u16(planes.val[0], query.val[0])));
    for (int i = 1; i < 3; i++)
        sum = vaddq_u8(sum, vcntq_u8(vreinterpretq_u8_u16(veorq_u16(planes.val[i], query.val[i]))));
    return sum;
}

INLINE uint8x16_t sum_6(const uint8_t *codes, uint16x8x3_t query) {
    return vpaddq_u8(counted_6(codes, query), counted_6(codes + 48, query));
}

INLINE uint64_t below_6(const uint8_t *codes, uint16x8x3_t query, uint32_t limit) {
    uint8x16_t d[4];
    for (int i = 0; i < 4; i++) d[i] = sum_6(codes + 96 * i, query);
    return bytes_below(d, limit);
}

INLINE void distances_6(const uint8_t *codes, uint16x8x3_t query, uint16_t *out) {
    for (int i = 0; i < 4; i++) store_bytes(sum_6(codes + 96 * i, query), out + 16 * i);
}

/* A distance of 256 does not fit in a byte, so the last sum uses 16 bits: eight codes. */
INLINE uint16x8_t eight_32(const uint8_t *codes, uint8x16x2_t query) {
    uint8x16_t halves[4];
    for (int i = 0; i < 4; i++) {
        uint8x16_t sums[2];
        for (int j = 0; j < 2; j++) {
            const uint8_t *code = codes + 64 * i + 32 * j;
            sums[j] = vpaddq_u8(differing(code, query.val[0]), differing(code + 16, query.val[1]));
        }
        halves[i] = vpaddq_u8(sums[0], sums[1]);
    }
    return vpaddlq_u8(vpaddq_u8(vpaddq_u8(halves[0], halves[1]), vpaddq_u8(halves[2], halves[3])));
}

INLINE uint64_t below_32(const uint8_t *codes, uint8x16x2_t query, uint32_t limit) {
    const uint16x8_t t = vdupq_n_u16((uint16_t)limit);
    uint16x8_t d[8], least = t;
    for (int i = 0; i < 8; i++) {
        d[i] = eight_32(codes + 256 * i, query);
        least = vminq_u16(least, d[i]);
    }
    if (__builtin_expect(vminvq_u16(least) >= limit, 1)) return 0;
    uint8x16_t near[4];
    for (int i = 0; i < 4; i++)
        near[i] = vcombine_u8(vmovn_u16(vcltq_u16(d[2 * i], t)), vmovn_u16(vcltq_u16(d[2 * i + 1], t)));
    return bits_of(near[0], near[1], near[2], near[3]);
}

INLINE void distances_32(const uint8_t *codes, uint8x16x2_t query, uint16_t *out) {
    for (int i = 0; i < 8; i++) vst1q_u16(out + 8 * i, eight_32(codes + 256 * i, query));
}

EDGE_WIDTH(TARGET, 2, uint8x16_t, 0)
EDGE_WIDTH(TARGET, 4, uint8x16_t, 0)
EDGE_WIDTH(TARGET, 6, uint16x8x3_t, 0)
EDGE_WIDTH(TARGET, 8, uint8x16_t, 0)
EDGE_WIDTH(TARGET, 16, uint8x16_t, 0)
EDGE_WIDTH(TARGET, 32, uint8x16x2_t, 0)

const edge_scanner edge_scanner_neon = {
    "neon",
    always,
    {EDGE_ENTRY(2), EDGE_ENTRY(4), EDGE_ENTRY(6), EDGE_ENTRY(8), EDGE_ENTRY(16), EDGE_ENTRY(32)},
};
#endif
