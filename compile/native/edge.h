/* edge.h: a compiled hash network. It needs nothing but libc.
 *
 *     edge *network = edge_open(1);
 *     uint64_t code[EDGE_MAX_WORDS];
 *     if (!network || edge_hash(network, pixels, code)) puts(edge_error());
 *     edge_close(network);
 *
 * Only one thread at a time may use a network. Open one for each thread that hashes.
 */
#ifndef EDGE_H
#define EDGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EDGE_API_VERSION 2
#define EDGE_MAX_WORDS 64
#define EDGE_EXPORT __attribute__((visibility("default")))

typedef struct edge edge;

struct edge_info {
    int32_t api_version;
    int32_t size;            /* side of the input picture, pixels */
    int32_t bits;            /* bits per code */
    int32_t words;           /* uint64 words per code */
    const char *model_id;    /* SHA-256 of the ONNX model, hexadecimal */
    const char *target;      /* LLVM triple and CPU, such as "aarch64-linux-gnu cortex-a72" */
    const char *precision;   /* fp32, fp16 or int8 */
    uint64_t arena_bytes;    /* memory of an open network, without its constants */
    int32_t features;        /* pooled features that the network gives beside the code, or 0 */
};

/* Describe this library. Safe on any CPU of its architecture, before anything else is called. */
EDGE_EXPORT const struct edge_info *edge_version(void);

/* Open a network that runs on `threads` threads, 1 to 64, the caller's included.
 * Returns NULL on failure, see edge_error. */
EDGE_EXPORT edge *edge_open(int32_t threads);

/* Compute the code of a picture. `bgr` is uint8 [size][size][3], blue first. `code` receives
 * `words` words; bit i of the code is bit i % 64 of word i / 64. Returns 0, or -1 on failure, see
 * edge_error. */
EDGE_EXPORT int32_t edge_hash(edge *network, const uint8_t *bgr, uint64_t *code);

/* The same, with the pooled features that enter the hash layer, from one run of the network:
 * `features` receives as many numbers as edge_info says. Fails if that is 0. */
EDGE_EXPORT int32_t edge_features(edge *network, const uint8_t *bgr, uint64_t *code,
                                  float *features);

/* The code before the threshold: `logits` receives `bits` numbers. For evaluation and tests. */
EDGE_EXPORT int32_t edge_logits(edge *network, const uint8_t *bgr, float *logits);

/* For profiling: from now on every call stores the nanoseconds of each kernel in `nanoseconds`,
 * which has `count` elements. NULL turns this off. Returns the number of kernels. */
EDGE_EXPORT int32_t edge_profile(edge *network, uint64_t *nanoseconds, int32_t count);

/* Return the name of kernel `index`, or NULL. */
EDGE_EXPORT const char *edge_kernel(int32_t index);

EDGE_EXPORT void edge_close(edge *network);

/* Find the `k` codes nearest to `query` by Hamming distance: exact, ordered by distance, then row.
 * This is the runtime's own lookup. `codes` is uint64 [count][words] as from edge_hash; `rows` and
 * `distances` receive `k` numbers each. Returns the number found, k or count if that is less; -1 if
 * there is no memory, or more than 4 words. Safe to call from several threads at once. */
EDGE_EXPORT int32_t edge_nearest(const uint64_t *codes, uint32_t count, uint32_t words,
                                 const uint64_t *query, uint32_t k, uint32_t *rows,
                                 uint32_t *distances);

/* Return the last error message of this thread. */
EDGE_EXPORT const char *edge_error(void);

#ifdef __cplusplus
}
#endif
#endif
