/* kernels.h: the layers of a network on one thread. Maps are float [channels][span], a span being
 * the positions of one channel, rounded up to TILE.
 */
#ifndef QCNN_KERNELS_H
#define QCNN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum kind { DENSE = 0, DEPTHWISE = 1, CODED = 2, MAX_POOL = 3, MEAN_POOL = 4, FLATTEN = 5 };
enum activation { NONE = 0, RELU = 1, RELU6 = 2, SIGMOID = 3 };

struct layer {
    int32_t kind, inputs, outputs, window, stride, pad, in_size, out_size;
    int32_t groups, activation, sub, words, unused[4];
    float *bias;      /* [outputs] */
    float *weight;    /* DENSE [outputs][inputs / groups][window^2], DEPTHWISE [outputs][window^2] */
    float *codebooks; /* CODED [inputs / sub][words][sub] */
    uint8_t *indices; /* CODED, in the order of `arrange` */
};

enum {
    BLOCK = 4,   /* sub-spaces whose tables are kept in the first-level cache */
    SPREAD = 32, /* outputs of a vector that are summed together; words of the fastest look-up */
};

/* Sub-spaces of one group. */
int32_t spaces_of(const struct layer *layer);
int is_pointwise(const struct layer *layer);
/* Positions of one channel of a map of `size` x `size`, rounded up. */
size_t span_of(int32_t size);
/* Floats of scratch memory that a layer needs. */
size_t scratch_of(const struct layer *layer);
/* Compute a layer: in [inputs][span] to out [outputs][span]. */
void run_layer(const struct layer *layer, const float *in, float *out, float *scratch);

#endif
