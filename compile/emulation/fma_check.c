/* fma_check.c: does an emulator compute as another does? Prints a digest of what Neon's arithmetic
 * makes of random registers, ordinary numbers, tiny ones, infinities, NaN, in every mode of the FPCR.
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

/* `q` is empty for half a register. */
#define SEE_ARITHMETIC(vector, q, type, a, b, c, whole)      \
    do {                                                     \
        SEE(vector, vfma##q##_##type(c, a, b));              \
        SEE(vector, vfma##q##_##type(a, a, b));              \
        SEE(vector, vfms##q##_##type(c, a, b));              \
        SEE(vector, vfma##q##_laneq_##type(c, a, whole, 3)); \
        SEE(vector, vfms##q##_laneq_##type(c, a, whole, 1)); \
        SEE(vector, vadd##q##_##type(a, b));                 \
        SEE(vector, vsub##q##_##type(a, b));                 \
        SEE(vector, vmul##q##_##type(a, b));                 \
        SEE(vector, vmaxnm##q##_##type(a, b));               \
        SEE(vector, vminnm##q##_##type(a, b));               \
    } while (0)

#define SEE_BOTH(whole, half, type, a, b, c)                                         \
    do {                                                                             \
        SEE_ARITHMETIC(whole, q, type, a, b, c, b);                                  \
        half x = vget_low_##type(a), y = vget_low_##type(b), z = vget_low_##type(c); \
        SEE_ARITHMETIC(half, , type, x, y, z, b);                                    \
    } while (0)

int main(int argc, char **argv)
{
    /* as it begins; each rounding; default NaN; flushing of tiny numbers, also of halves */
    static const uint64_t modes[] = {0, 1 << 22, 2 << 22, 3 << 22, 1 << 25, 1 << 24, 1 << 19};
    for (long count = argc == 2 ? atol(argv[1]) : 0; count > 0; count--) {
        uint64_t mode = count % 2 ? 0 : modes[next() % (sizeof(modes) / sizeof(*modes))];
        float16x8_t a = halves(), b = halves(), c = halves();
        float32x4_t d = floats(), e = floats(), f = floats();
        __asm__ volatile("msr fpcr, %6" /* nothing is computed before it */
                         : "+w"(a), "+w"(b), "+w"(c), "+w"(d), "+w"(e), "+w"(f)
                         : "r"(mode)
                         : "memory");
        SEE_BOTH(float16x8_t, float16x4_t, f16, a, b, c);
        SEE_BOTH(float32x4_t, float32x2_t, f32, d, e, f);
        __asm__ volatile("msr fpcr, xzr" ::: "memory");
    }
    printf("%016" PRIx64 "\n", digest);
    return 0;
}
