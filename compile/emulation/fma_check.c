/* fma_check.c: compare the arithmetic of two emulators. Prints a digest of Neon results for random
 * registers (ordinary and tiny numbers, infinities, NaN) in every mode of the FPCR.
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

/* Return a random number with an exponent of `width` bits and a fraction of `fraction` bits. */
static uint32_t number(unsigned kind, int width, int fraction)
{
    uint32_t bits = next() >> 32 >> (31 - width - fraction), top = (1u << width) - 1;
    uint32_t kept = bits & ~(top << fraction), middle = (top >> 1) - 8 + (next() >> 60);
    switch (kind) {
    case 1: /* of similar magnitude */
        return kept | middle << fraction;
    case 2: /* near the smallest normal number */
        return kept | (uint32_t)(next() >> 63) << fraction;
    case 3: /* one bit set in the fraction */
        return (bits & ~((1u << fraction) - 1)) | 1u << next() % (unsigned)fraction;
    case 4: /* small */
        return bits & ~(1u << (width + fraction - 1));
    default: /* anything */
        return bits;
    }
}

static float16x8_t halves(void)
{
    uint16_t values[8];
    unsigned kind = next() % KINDS;
    for (int i = 0; i < 8; i++)
        values[i] = (uint16_t)number(kind, 5, 10);
    return vreinterpretq_f16_u16(vld1q_u16(values));
}

static float32x4_t floats(void)
{
    uint32_t values[4];
    unsigned kind = next() % KINDS;
    for (int i = 0; i < 4; i++)
        values[i] = number(kind, 8, 23);
    return vreinterpretq_f32_u32(vld1q_u32(values));
}

static void add_to_digest(const void *result, size_t bytes) /* FNV-1a, eight bytes at a time */
{
    uint64_t words[2] = {0};
    memcpy(words, result, bytes);
    for (int i = 0; i < 2; i++)
        digest = (digest ^ words[i]) * 1099511628211u;
}

#define DIGEST(type, expression)                \
    do {                                        \
        type result = (expression);             \
        add_to_digest(&result, sizeof(result)); \
    } while (0)

/* `q` is empty for half a register. */
#define DIGEST_ARITHMETIC(vector, q, type, a, b, c, whole)      \
    do {                                                        \
        DIGEST(vector, vfma##q##_##type(c, a, b));              \
        DIGEST(vector, vfma##q##_##type(a, a, b));              \
        DIGEST(vector, vfms##q##_##type(c, a, b));              \
        DIGEST(vector, vfma##q##_laneq_##type(c, a, whole, 3)); \
        DIGEST(vector, vfms##q##_laneq_##type(c, a, whole, 1)); \
        DIGEST(vector, vadd##q##_##type(a, b));                 \
        DIGEST(vector, vsub##q##_##type(a, b));                 \
        DIGEST(vector, vmul##q##_##type(a, b));                 \
        DIGEST(vector, vmaxnm##q##_##type(a, b));               \
        DIGEST(vector, vminnm##q##_##type(a, b));               \
    } while (0)

#define DIGEST_BOTH(whole, half, type, a, b, c)                                      \
    do {                                                                             \
        DIGEST_ARITHMETIC(whole, q, type, a, b, c, b);                               \
        half x = vget_low_##type(a), y = vget_low_##type(b), z = vget_low_##type(c); \
        DIGEST_ARITHMETIC(half, , type, x, y, z, b);                                 \
    } while (0)

int main(int argc, char **argv)
{
    /* default; each rounding mode; default NaN; flush to zero, for singles and for halves */
    static const uint64_t modes[] = {0, 1 << 22, 2 << 22, 3 << 22, 1 << 25, 1 << 24, 1 << 19};
    for (long count = argc == 2 ? atol(argv[1]) : 0; count > 0; count--) {
        uint64_t mode = count % 2 ? 0 : modes[next() % (sizeof(modes) / sizeof(*modes))];
        float16x8_t a = halves(), b = halves(), c = halves();
        float32x4_t d = floats(), e = floats(), f = floats();
        __asm__ volatile("msr fpcr, %6" /* keeps the arithmetic behind it */
                         : "+w"(a), "+w"(b), "+w"(c), "+w"(d), "+w"(e), "+w"(f)
                         : "r"(mode)
                         : "memory");
        DIGEST_BOTH(float16x8_t, float16x4_t, f16, a, b, c);
        DIGEST_BOTH(float32x4_t, float32x2_t, f32, d, e, f);
        __asm__ volatile("msr fpcr, xzr" ::: "memory");
    }
    printf("%016" PRIx64 "\n", digest);
    return 0;
}
