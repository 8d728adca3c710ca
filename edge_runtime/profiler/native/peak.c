/* peak(): the maximum float32 multiply-adds per second of one core of this CPU, in registers.
 *
 * The loop runs enough independent chains to hide the latency of an addition, in the widest vectors of
 * the CPU. The best of many short trials counts, because other processes disturb the rest.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <time.h>

enum { TRIALS = 24, ROUNDS = 30000 };

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

/* CHAINS sums of BYTES each; the asm statements hide from the compiler that all values are zero. */
#define LOOP(NAME, TARGET, BYTES, CHAINS, KEEP)                                                    \
    TARGET static double NAME(void) {                                                             \
        typedef float vector __attribute__((vector_size(BYTES)));                                 \
        vector sums[CHAINS], a = {0}, b = {0};                                                    \
        _Pragma("GCC unroll 32") for (int i = 0; i < CHAINS; i++) sums[i] = (vector){0};          \
        double best = 0;                                                                          \
        for (int trial = 0; trial < TRIALS; trial++) {                                            \
            const double began = now();                                                           \
            for (int round = 0; round < ROUNDS; round++) {                                        \
                __asm__ volatile("" : "+" KEEP (a), "+" KEEP (b));                                  \
                _Pragma("GCC unroll 32") for (int i = 0; i < CHAINS; i++) {                       \
                    __asm__ volatile("" : "+" KEEP (sums[i]));                                     \
                    sums[i] += a * b;                                                             \
                }                                                                                 \
            }                                                                                     \
            const double rate = (double)ROUNDS * CHAINS * (BYTES / 4) / (now() - began);          \
            best = rate > best ? rate : best;                                                     \
        }                                                                                         \
        _Pragma("GCC unroll 32") for (int i = 0; i < CHAINS; i++)                                 \
            __asm__ volatile("" : : KEEP (sums[i]));                                               \
        return best;                                                                              \
    }

#if defined(__x86_64__)
LOOP(by_avx512, __attribute__((target("avx512f,fma"))), 64, 16, "v")
LOOP(by_avx2, __attribute__((target("avx2,fma"))), 32, 12, "x")
LOOP(by_sse, , 16, 12, "x")
#elif defined(__aarch64__)
LOOP(by_neon, , 16, 24, "w")
#endif

static double measure(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) return by_avx512();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return by_avx2();
    return by_sse();
#elif defined(__aarch64__)
    return by_neon();
#else
    return 0;
#endif
}

static PyObject *peak(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    double rate;
    Py_BEGIN_ALLOW_THREADS
    rate = measure();
    Py_END_ALLOW_THREADS
    return PyFloat_FromDouble(rate);
}

static PyMethodDef methods[] = {
    {"peak", peak, METH_NOARGS, "peak()\n\nReturn the peak float32 multiply-adds per second; 0 if unknown."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_peak", "Peak arithmetic rate of a core.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__peak(void) { return PyModule_Create(&module); }
