/* network.h: a network in a file, as training/papers/compressed/qcnn/program.py writes it. */
#ifndef QCNN_NETWORK_H
#define QCNN_NETWORK_H

#include "kernels.h"

struct network {
    int32_t count, channels, size, outputs;
    struct layer *layers;
    float *maps[2], *scratch;
};

/* Read a network; returns NULL after a message on stderr. */
struct network *open_network(const char *path);
/* Compute float [outputs] of a picture float [channels][size][size]. */
void run_network(struct network *network, const float *picture, float *answer);

#endif
