/* plan.h: the interface of the generated plan (compile/codegen/emit_c.py) to edge.c. */
#ifndef EDGE_PLAN_H
#define EDGE_PLAN_H

#include "edge.h"

struct edge_frame {
    const uint8_t *image;
    uint8_t *arena;
    float *logits;
    void *sums;                    /* of each channel that is averaged: int32 in int8, else float */
};

/* The border of zeros around a tensor that the next convolution reads beyond its edge. */
struct edge_border {
    uint64_t offset;               /* in the arena */
    uint32_t rows, row_bytes;      /* of the whole tensor, border included */
    uint32_t top, bottom;          /* rows */
    uint32_t left_bytes, right_bytes;
    uint32_t fill;                 /* the byte that represents zero */
};

struct edge_step {
    const char *name;
    void (*run)(const struct edge_frame *, int32_t begin, int32_t end);
    int32_t tasks;
    struct edge_border border;     /* of its output; rows = 0: none */
};

extern const uint8_t edge_constants[];
extern const uint64_t edge_constant_bytes;
extern const struct edge_info edge_plan_info;
extern const struct edge_step edge_plan[];
extern const int32_t edge_plan_steps;
extern const struct edge_step edge_preparations[];  /* run once, when a network is opened */
extern const int32_t edge_preparations_steps;
extern const float edge_plan_threshold;  /* a logit above it is a 1 */
extern const int32_t edge_plan_sums;     /* count of the sums */

/* Turn the sums of the last run into the features. */
void edge_plan_features(const struct edge_frame *, float *features);

#endif
