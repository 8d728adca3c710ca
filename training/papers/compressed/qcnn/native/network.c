/* network.c: read a network and run its layers in order.
 *
 * The file: 8 int32 (magic, version, layers, channels, size, 3 unused), 16 int32 for each layer
 * (struct layer without its pointers), then for each layer its arrays: bias, and weights or
 * codebooks with the indices, ceil(log2(words)) bits each, packed from the lowest bit on. Every
 * array starts at a multiple of 4 bytes.
 */
#include "network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x4e4e4351, VERSION = 1, HEADER = 16 * sizeof(int32_t) };

static void *reserve(size_t floats)
{
    size_t bytes = (floats * sizeof(float) + 127) / 64 * 64;
    void *memory = aligned_alloc(64, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

static float *read_floats(FILE *file, size_t count)
{
    float *values = reserve(count);
    return values && fread(values, sizeof *values, count, file) == count ? values : NULL;
}

/* Order [groups][spaces][outputs][window^2] so that a kernel reads its indices one after another:
 * for one position [outputs / SPREAD][spaces][SPREAD], for many and a 1 x 1 window
 * [spaces / BLOCK][outputs][BLOCK]. */
static void arrange(const struct layer *layer, const uint8_t *from, uint8_t *to)
{
    int32_t spaces = spaces_of(layer), outputs = layer->outputs;
    if (!is_pointwise(layer)) {
        memcpy(to, from,
               (size_t)spaces * (size_t)outputs * (size_t)(layer->window * layer->window));
        return;
    }
    if (layer->in_size == 1) {
        for (int32_t first = 0; first < outputs; first += SPREAD)
            for (int32_t m = 0; m < spaces; m++)
                for (int32_t o = first; o < first + SPREAD; o++)
                    *to++ = o < outputs ? from[(size_t)m * (size_t)outputs + (size_t)o] : 0;
        return;
    }
    for (int32_t m = 0; m < spaces; m += BLOCK)
        for (int32_t o = 0; o < outputs; o++)
            for (int32_t s = m; s < m + BLOCK && s < spaces; s++)
                *to++ = from[(size_t)s * (size_t)outputs + (size_t)o];
}

static int read_indices(FILE *file, struct layer *layer)
{
    size_t count = (size_t)spaces_of(layer) * (size_t)layer->outputs *
                   (size_t)(layer->window * layer->window);
    int bits = 0;
    while (1 << bits < layer->words)
        bits++;
    size_t bytes = ((count * (size_t)bits + 7) / 8 + 3) / 4 * 4;
    uint8_t *packed = calloc(bytes + 2, 1), *plain = malloc(count);
    layer->indices = malloc(count + (size_t)spaces_of(layer) * SPREAD); /* see arrange */
    int good = packed && plain && layer->indices && fread(packed, 1, bytes, file) == bytes;
    for (size_t i = 0; good && i < count; i++) {
        size_t at = i * (size_t)bits;
        unsigned both = packed[at / 8] | (unsigned)packed[at / 8 + 1] << 8;
        plain[i] = (uint8_t)(both >> at % 8 & ((1u << bits) - 1));
        good = plain[i] < layer->words;
    }
    if (good)
        arrange(layer, plain, layer->indices);
    free(packed), free(plain);
    return good;
}

static int read_layer(FILE *file, struct layer *layer)
{
    size_t window = (size_t)layer->window * (size_t)layer->window;
    size_t inputs = (size_t)(layer->inputs / layer->groups), outputs = (size_t)layer->outputs;
    if (layer->kind > CODED)
        return 1;
    if (!(layer->bias = read_floats(file, outputs)))
        return 0;
    if (layer->kind != CODED) {
        size_t count = outputs * window * (layer->kind == DENSE ? inputs : 1);
        return (layer->weight = read_floats(file, count)) != NULL;
    }
    size_t words = (size_t)layer->groups * inputs * (size_t)layer->words;
    return (layer->codebooks = read_floats(file, words)) && read_indices(file, layer);
}

static size_t larger(size_t one, size_t other) { return one > other ? one : other; }

struct network *open_network(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct network *network = calloc(1, sizeof *network);
    int32_t header[8] = {0};
    int good = file && network && fread(header, sizeof header, 1, file) == 1 &&
               header[0] == MAGIC && header[1] == VERSION && header[2] > 0;
    if (good) {
        network->count = header[2], network->channels = header[3], network->size = header[4];
        network->layers = calloc((size_t)network->count, sizeof *network->layers);
        good = network->layers != NULL;
    }
    for (int32_t i = 0; good && i < network->count; i++)
        good = fread(&network->layers[i], HEADER, 1, file) == 1;
    size_t most = good ? (size_t)network->channels * span_of(network->size) : 0, scratch = 0;
    for (int32_t i = 0; good && i < network->count; i++) {
        const struct layer *layer = &network->layers[i];
        good = read_layer(file, &network->layers[i]);
        most = larger(most, (size_t)layer->outputs * span_of(layer->out_size));
        scratch = larger(scratch, scratch_of(layer));
        network->outputs = layer->outputs;
    }
    if (file)
        fclose(file);
    if (good) {
        network->maps[0] = reserve(most), network->maps[1] = reserve(most);
        network->scratch = reserve(scratch);
        good = network->maps[0] && network->maps[1] && network->scratch;
    }
    if (good)
        return network;
    fprintf(stderr, "qcnn: %s: not a readable network\n", path);
    return NULL;
}

void run_network(struct network *network, const float *picture, float *answer)
{
    size_t count = (size_t)network->size * (size_t)network->size;
    size_t span = span_of(network->size);
    for (int32_t c = 0; c < network->channels; c++)
        memcpy(network->maps[0] + (size_t)c * span, picture + (size_t)c * count,
               count * sizeof *picture);
    for (int32_t i = 0; i < network->count; i++)
        run_layer(&network->layers[i], network->maps[i % 2], network->maps[(i + 1) % 2],
                  network->scratch);
    memcpy(answer, network->maps[network->count % 2], (size_t)network->outputs * sizeof *answer);
}
