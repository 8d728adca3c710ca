/* fma_check.c: does an emulator compute as another does? Prints a digest of what Neon's arithmetic
 * makes of random registers: ordinary numbers, tiny ones, infinities, NaN.
 *
 *     fma_check COUNT
 */
#include <arm_neon.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KINDS = 5 };

static uint64_t seed = 88172645463325252u, digest = 14695981039346656037u;

static uint64_t next(void) /* xorshift64* */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 2685821657736338717u;
}

/* A number with `fraction` bits below its exponent of `width` bits. */
static uint32_t number(unsigned kind, int width, int fraction)
{
    uint32_t bits = next() >> 32 >> (31 - width - fraction), top = (1u << width) - 1;
    uint32_t kept = bits & ~(top << fraction), middle = (top >> 1) - 8 + (next() >> 60);
    switch (kind) {
    case 1: /* of about the same size */
        return kept | middle << fraction;
    case 2: /* about the smallest that is normal */
        return kept | (uint32_t)(next() >> 63) << fraction;
    case 3: /* a single bit beside the first */
        return (bits & ~((1u << fraction) - 1)) | 1u << next() % (unsigned)fraction;
    case 4: /* small */
        return bits & ~(1u << (width + fraction - 1));
    default: /* anything */
        return bits;
    }
}

static float16x8_t halves(void)
{
    uint16_t made[8];
    unsigned kind = next() % KINDS;
    for (int i = 0; i < 8; i++)
        made[i] = (uint16_t)number(kind, 5, 10);
    return vreinterpretq_f16_u16(vld1q_u16(made));
}

static float32x4_t floats(void)
{
    uint32_t made[4];
    unsigned kind = next() % KINDS;
    for (int i = 0; i < 4; i++)
        made[i] = number(kind, 8, 23);
    return vreinterpretq_f32_u32(vld1q_u32(made));
}

static void see(const void *result, size_t bytes) /* FNV-1a, eight bytes at a time */
{
    uint64_t words[2] = {0};
    memcpy(words, result, bytes);
    for (int i = 0; i < 2; i++)
        digest = (digest ^ words[i]) * 1099511628211u;
}

#define SEE(type, expression)         \
    do {                              \
        type result = (expression);   \
        see(&result, sizeof(result)); \
    } while (0)

#define SEE_ARITHMETIC(whole, half, type, a, b, c)                                          \
    do {                                                                                    \
        SEE(whole, vfmaq_##type(c, a, b));                                                  \
        SEE(whole, vfmaq_laneq_##type(c, a, b, 3));                                         \
        SEE(whole, vfmsq_laneq_##type(c, a, b, 1));                                         \
        SEE(half, vfma_laneq_##type(vget_low_##type(c), vget_low_##type(a), b, 2));         \
        SEE(whole, vaddq_##type(a, b));                                                     \
        SEE(whole, vsubq_##type(a, b));                                                     \
        SEE(whole, vmaxnmq_##type(a, b));                                                   \
        SEE(whole, vminnmq_##type(a, b));                                                   \
    } while (0)

int main(int argc, char **argv)
{
    for (long count = argc == 2 ? atol(argv[1]) : 0; count > 0; count--) {
        float16x8_t a = halves(), b = halves(), c = halves();
        SEE_ARITHMETIC(float16x8_t, float16x4_t, f16, a, b, c);
        float32x4_t d = floats(), e = floats(), f = floats();
        SEE_ARITHMETIC(float32x4_t, float32x2_t, f32, d, e, f);
    }
    printf("%016" PRIx64 "\n", digest);
    return 0;
}
