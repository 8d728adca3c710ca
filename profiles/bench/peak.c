/* peak.c: measure the peak rate of one core in float32 multiply-adds per second, in registers. */
#include <stdio.h>
#include <time.h>

typedef float vector __attribute__((vector_size(VECTOR_BYTES)));
enum { CHAINS = 24, ROUNDS = 20000000 };

int main(void)
{
    vector sums[CHAINS], a = {0}, b = {0};
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; i++) { /* hides from the compiler that they are equal */
        sums[i] = (vector){0};
        __asm__ volatile("" : "+x"(sums[i]));
    }
    double best = 0;
    for (int trial = 0; trial < 3; trial++) {
        struct timespec began, ended;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
        for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 24
            for (int i = 0; i < CHAINS; i++)
                sums[i] = sums[i] * a + b;
            __asm__ volatile("" : "+x"(a), "+x"(b));
        }
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
        double seconds = (double)(ended.tv_sec - began.tv_sec) +
                         1e-9 * (double)(ended.tv_nsec - began.tv_nsec);
        double rate = (double)ROUNDS * CHAINS * (VECTOR_BYTES / sizeof(float)) / seconds;
        best = rate > best ? rate : best;
    }
    vector total = {0};
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; i++)
        total += sums[i];
    printf("%.4g %g\n", best, (double)total[0]);
    return 0;
}
