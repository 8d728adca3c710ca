/* edge.h: a compiled hash network. Needs nothing but libc.
 *
 *     edge *network = edge_open(1);
 *     uint64_t code[EDGE_MAX_WORDS];
 *     if (!network || edge_hash(network, pixels, code)) puts(edge_error());
 *     edge_close(network);
 *
 * A network is used by one thread at a time; open one for each thread that hashes.
 */
#ifndef EDGE_H
#define EDGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EDGE_API_VERSION 1
#define EDGE_MAX_WORDS 64
#define EDGE_EXPORT __attribute__((visibility("default")))

typedef struct edge edge;

struct edge_info {
    int32_t api_version;
    int32_t size;            /* side of the picture, pixels */
    int32_t bits;            /* of a code */
    int32_t words;           /* uint64 words of a code */
    const char *model_id;    /* SHA-256 of the ONNX model, hexadecimal */
    const char *target;      /* whose code it is, as LLVM says it: "aarch64-linux-gnu cortex-a72" */
    const char *precision;   /* fp32, fp16 or int8 */
    uint64_t arena_bytes;    /* memory that an open network holds, beside its constants */
};

/* What this library is. Runs on any CPU of its architecture, so that it can be asked first. */
EDGE_EXPORT const struct edge_info *edge_version(void);

/* A network that works on `threads` threads (the caller's is one of them; at most 64).
 * NULL: see edge_error. */
EDGE_EXPORT edge *edge_open(int32_t threads);

/* The code of a picture: `bgr` is uint8 [size][size][3], blue first; `code` gets `words` words, bit
 * i of the code in bit i % 64 of word i / 64. 0: done; else see edge_error. */
EDGE_EXPORT int32_t edge_hash(edge *network, const uint8_t *bgr, uint64_t *code);

/* The same before the threshold: `logits` gets `bits` numbers. For evaluation and tests. */
EDGE_EXPORT int32_t edge_logits(edge *network, const uint8_t *bgr, float *logits);

/* Nanoseconds that each kernel took in the last call, for profiling; NULL turns it off. `count`
 * is the room in `nanoseconds`; returns the number of kernels. */
EDGE_EXPORT int32_t edge_profile(edge *network, uint64_t *nanoseconds, int32_t count);

/* The name of kernel `index`, or NULL. */
EDGE_EXPORT const char *edge_kernel(int32_t index);

EDGE_EXPORT void edge_close(edge *network);

/* The `k` codes nearest to `query` by Hamming distance, exact, by distance and then by row: the
 * runtime's own lookup. `codes` is uint64 [count][words] as edge_hash gives them; `rows` and
 * `distances` get `k` numbers each. Gives how many were found: k, or count if that is less; -1: no
 * memory, or more than 4 words. May be called from several threads at once. */
EDGE_EXPORT int32_t edge_nearest(const uint64_t *codes, uint32_t count, uint32_t words,
                                 const uint64_t *query, uint32_t k, uint32_t *rows,
                                 uint32_t *distances);

/* What went wrong last on this thread. */
EDGE_EXPORT const char *edge_error(void);

#ifdef __cplusplus
}
#endif
#endif
