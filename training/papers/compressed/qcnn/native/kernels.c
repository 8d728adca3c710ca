/* kernels.c: layers whose weights are codewords, by look-up tables, and the layers around them.
 *
 * A coded layer (Wu et al. 2016) computes the inner products of each sub-vector of the input with
 * the words of its codebook once. Every output is then a sum of products that its indices name.
 * TILE positions are computed together, so that one index serves TILE sums.
 */
#include "kernels.h"

#include <math.h>

#include "vec.h"

static size_t round_up(size_t count) { return (count + TILE - 1) / TILE * TILE; }

size_t span_of(int32_t size) { return size == 1 ? 1 : round_up((size_t)size * (size_t)size); }

int32_t spaces_of(const struct layer *layer)
{
    return layer->inputs / layer->groups / layer->sub;
}

/* A padded plane is split into stride^2 planes (phases), in which the positions that a window's
 * element reads are consecutive. `wide` is the width of a phase. */
static int32_t wide_of(const struct layer *layer)
{
    return layer->out_size + (layer->window - 1) / layer->stride;
}

static size_t phase_of(const struct layer *layer)
{
    return round_up((size_t)wide_of(layer) * (size_t)wide_of(layer)) + 2 * TILE;
}

/* Positions of an output with the width of a phase. */
static size_t flat_of(const struct layer *layer)
{
    return round_up((size_t)wide_of(layer) * (size_t)layer->out_size);
}

int is_pointwise(const struct layer *layer)
{
    return layer->window == 1 && layer->stride == 1 && layer->pad == 0;
}

size_t scratch_of(const struct layer *layer)
{
    size_t phases = (size_t)layer->stride * (size_t)layer->stride * phase_of(layer);
    size_t window = (size_t)layer->window * (size_t)layer->window;
    if (layer->kind == DEPTHWISE)
        return phases + flat_of(layer);
    if (layer->kind == DENSE)
        return is_pointwise(layer) ? 0 : (size_t)(layer->inputs / layer->groups) * window *
                                             span_of(layer->out_size);
    if (layer->kind != CODED)
        return 0;
    if (layer->in_size == 1)
        return (size_t)spaces_of(layer) * (size_t)layer->words;
    if (is_pointwise(layer))
        return (size_t)(BLOCK * layer->words + layer->outputs) * TILE;
    return phases * (size_t)(layer->sub + layer->words) +
           (size_t)layer->outputs / (size_t)layer->groups * flat_of(layer);
}

/* The smallest and the largest value after an activation. A sigmoid has no such bounds: it stands
 * only behind vectors, and `finish` computes it. */
struct bounds {
    float low, high;
};

static struct bounds bounds_of(const struct layer *layer)
{
    int32_t kind = layer->activation;
    struct bounds bounds = {-INFINITY, INFINITY};
    if (kind == RELU || kind == RELU6)
        bounds.low = 0;
    if (kind == RELU6)
        bounds.high = 6;
    return bounds;
}

INLINE vec clip(vec value, struct bounds bounds)
{
    return smaller(larger(value, (vec){0} + bounds.low), (vec){0} + bounds.high);
}

static void finish(const struct layer *layer, float *vector)
{
    struct bounds bounds = bounds_of(layer);
    for (int32_t o = 0; o < layer->outputs; o++) {
        float value = fminf(fmaxf(vector[o], bounds.low), bounds.high);
        vector[o] = layer->activation == SIGMOID ? 1 / (1 + expf(-value)) : value;
    }
}

/* Products of `words` codewords with the sub-vectors at `columns` vectors of positions.
 * `x`: [sub][step]; `table`: [words][to_step]. The sub-vectors stay in registers. */
INLINE void products(const float *book, int32_t words, int sub, int columns, const float *x,
                     size_t step, float *table, size_t to_step)
{
    vec inputs[16];
    for (int i = 0; i < sub; i++)
        for (int c = 0; c < columns; c++)
            inputs[i * columns + c] = load(x + (size_t)i * step + c * LANES);
    for (int32_t word = 0; word < words; word++, book += sub, table += to_step) {
        vec sums[4];
        for (int c = 0; c < columns; c++)
            sums[c] = inputs[c] * book[0];
        for (int i = 1; i < sub; i++)
            for (int c = 0; c < columns; c++)
                sums[c] += inputs[i * columns + c] * book[i];
        for (int c = 0; c < columns; c++)
            store(table + c * LANES, sums[c]);
    }
}

/* Tables of one sub-space at TILE positions. */
static void tabulate(const float *book, int32_t words, int32_t sub, const float *x, size_t step,
                     float *table, size_t to_step)
{
    enum { FOUR = VECS < 4 ? VECS : 4, TWO = VECS < 2 ? VECS : 2 };
    switch (sub) {
    case 4:
        products(book, words, 4, FOUR, x, step, table, to_step);
        break;
    case 8:
        for (int at = 0; at < TILE; at += TWO * LANES)
            products(book, words, 8, TWO, x + at, step, table + at, to_step);
        break;
    case 16:
        for (int at = 0; at < TILE; at += LANES)
            products(book, words, 16, 1, x + at, step, table + at, to_step);
        break;
    default:
        for (int32_t word = 0; word < words; word++)
            for (int c = 0; c < VECS; c++) {
                vec sum = load(x + c * LANES) * book[word * sub];
                for (int32_t i = 1; i < sub; i++)
                    sum += load(x + (size_t)i * step + c * LANES) * book[word * sub + i];
                store(table + (size_t)word * to_step + c * LANES, sum);
            }
    }
}

/* Add `count` looked-up rows of TILE products to TILE sums. Row r is in table r. */
INLINE void add_rows(float *sums, const float *tables, size_t table_floats, const uint8_t *indices,
                     int count)
{
    vec acc[VECS];
    for (int v = 0; v < VECS; v++)
        acc[v] = load(sums + v * LANES);
    for (int r = 0; r < count; r++) {
        /* In bytes, so that the address is one addition with a shift. */
        const char *table = (const char *)(tables + (size_t)r * table_floats);
        const float *row = (const float *)(table + (size_t)indices[r] * (TILE * sizeof(float)));
        for (int v = 0; v < VECS; v++)
            acc[v] += load(row + v * LANES);
    }
    for (int v = 0; v < VECS; v++)
        store(sums + v * LANES, acc[v]);
}

/* indices: [spaces / BLOCK][outputs][BLOCK], as `arrange` leaves them. */
static void coded_pointwise(const struct layer *layer, const float *in, float *out, float *scratch)
{
    size_t span = span_of(layer->in_size), rows = (size_t)layer->words * TILE;
    int32_t outputs = layer->outputs, spaces = spaces_of(layer);
    float *tables = scratch, *sums = scratch + BLOCK * rows;
    struct bounds bounds = bounds_of(layer);
    for (size_t at = 0; at < span; at += TILE) {
        for (int32_t o = 0; o < outputs; o++)
            for (int v = 0; v < VECS; v++)
                store(sums + o * TILE + v * LANES, (vec){0} + layer->bias[o]);
        const uint8_t *indices = layer->indices;
        for (int32_t m = 0; m < spaces; m += BLOCK) {
            int32_t some = spaces - m < BLOCK ? spaces - m : BLOCK;
            for (int32_t s = 0; s < some; s++)
                tabulate(layer->codebooks + (size_t)(m + s) * (size_t)(layer->words * layer->sub),
                         layer->words, layer->sub,
                         in + (size_t)(m + s) * (size_t)layer->sub * span + at, span,
                         tables + (size_t)s * rows, TILE);
            if (some == BLOCK)
                for (int32_t o = 0; o < outputs; o++, indices += BLOCK)
                    add_rows(sums + o * TILE, tables, rows, indices, BLOCK);
            else
                for (int32_t o = 0; o < outputs; o++, indices += some)
                    add_rows(sums + o * TILE, tables, rows, indices, some);
        }
        for (int32_t o = 0; o < outputs; o++)
            for (int v = 0; v < VECS; v++)
                store(out + (size_t)o * span + at + v * LANES,
                      clip(load(sums + o * TILE + v * LANES), bounds));
    }
}

/* Add the products that 32 indices name to 32 sums. `table` is as `spread` left it. */
INLINE void add_words(vec *sums, const float *table, int32_t words, const uint8_t *indices)
{
#if defined(__ARM_NEON)
    if (words == SPREAD) { /* one permutation of bytes for each byte of a float */
        const uint8_t *bytes = (const uint8_t *)table;
        uint8x16x2_t planes[4];
        for (int b = 0; b < 4; b++)
            planes[b] = (uint8x16x2_t){{vld1q_u8(bytes + 32 * b), vld1q_u8(bytes + 32 * b + 16)}};
        for (int half = 0; half < 2; half++, indices += 16, sums += 4) {
            uint8x16_t chosen = vld1q_u8(indices), part[4];
            for (int b = 0; b < 4; b++)
                part[b] = vqtbl2q_u8(planes[b], chosen);
            for (int high = 0; high < 2; high++) {
                uint8x16_t low = high ? vzip2q_u8(part[0], part[1]) : vzip1q_u8(part[0], part[1]);
                uint8x16_t up = high ? vzip2q_u8(part[2], part[3]) : vzip1q_u8(part[2], part[3]);
                sums[2 * high] += (vec)vzip1q_u16((uint16x8_t)low, (uint16x8_t)up);
                sums[2 * high + 1] += (vec)vzip2q_u16((uint16x8_t)low, (uint16x8_t)up);
            }
        }
        return;
    }
#elif defined(__AVX512F__)
    if (words == SPREAD) {
        for (int half = 0; half < 2; half++) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(indices + 16 * half));
            sums[half] += (vec)_mm512_permutex2var_ps(
                (__m512)load(table), _mm512_cvtepu8_epi32(bytes), (__m512)load(table + 16));
        }
        return;
    }
#endif
    (void)words;
    float *each = (float *)sums;
    for (int o = 0; o < SPREAD; o++)
        each[o] += table[indices[o]];
}

/* Put the bytes of SPREAD floats in four rows, one for each byte of a float. */
static void spread(float *table, int32_t words)
{
#if defined(__ARM_NEON)
    if (words == SPREAD) {
        uint8_t *bytes = (uint8_t *)table;
        uint8x16x4_t low = vld4q_u8(bytes), high = vld4q_u8(bytes + 64);
        for (int b = 0; b < 4; b++) {
            vst1q_u8(bytes + 32 * b, low.val[b]);
            vst1q_u8(bytes + 32 * b + 16, high.val[b]);
        }
    }
#else
    (void)table, (void)words;
#endif
}

/* One position: indices [outputs / SPREAD][spaces][SPREAD]. */
static void coded_vector(const struct layer *layer, const float *in, float *out, float *scratch)
{
    int32_t spaces = spaces_of(layer), sub = layer->sub, words = layer->words;
    const float *book = layer->codebooks;
    float *table = scratch;
    for (int32_t m = 0; m < spaces; m++, table += words) {
        for (int32_t word = 0; word < words; word++, book += sub) {
            float sum = 0;
            for (int32_t i = 0; i < sub; i++)
                sum += book[i] * in[m * sub + i];
            table[word] = sum;
        }
        spread(table, words);
    }
    const uint8_t *indices = layer->indices;
    for (int32_t o = 0; o < layer->outputs; o += SPREAD) {
        int32_t some = layer->outputs - o < SPREAD ? layer->outputs - o : SPREAD;
        vec sums[SPREAD / LANES] = {{0}};
        for (int32_t m = 0; m < spaces; m++, indices += SPREAD)
            add_words(sums, scratch + (size_t)m * (size_t)words, words, indices);
        for (int32_t i = 0; i < some; i++)
            out[o + i] = layer->bias[o + i] + ((const float *)sums)[i];
    }
    finish(layer, out);
}

/* Split a plane into phases [stride^2][phase]. Their border of zeros is there already. */
static void split(const struct layer *layer, const float *plane, float *phases)
{
    int32_t wide = wide_of(layer), stride = layer->stride, size = layer->in_size;
    size_t phase = phase_of(layer);
    for (int32_t y = 0; y < size; y++) {
        int32_t py = y + layer->pad;
        if (py / stride >= wide)
            break;
        const float *row = plane + (size_t)y * (size_t)size;
        for (int32_t first = 0; first < stride; first++) { /* columns of one phase */
            int32_t px = first + layer->pad, room = wide - px / stride;
            int32_t count = (size - first + stride - 1) / stride;
            float *to = phases + (size_t)(py % stride * stride + px % stride) * phase +
                        (size_t)(py / stride * wide) + px / stride;
            count = count < room ? count : room;
            if (stride == 1)
                memcpy(to, row, (size_t)count * sizeof *to);
            else if (stride == 2)
                for (int32_t i = 0; i < count; i++)
                    to[i] = row[first + 2 * i];
            else
                for (int32_t i = 0; i < count; i++)
                    to[i] = row[first + stride * i];
        }
    }
}

/* Where the element `at` of a window starts to read in the phases. */
static size_t offset_of(const struct layer *layer, int32_t at)
{
    int32_t y = at / layer->window, x = at % layer->window, stride = layer->stride;
    return (size_t)(y % stride * stride + x % stride) * phase_of(layer) +
           (size_t)(y / stride * wide_of(layer) + x / stride);
}

/* Copy sums with the width of a phase to a map, with the activation. A row is written in whole
 * vectors: what is too much belongs to the next row or channel, which is written later. */
static void narrow(const struct layer *layer, const float *flat, float *out)
{
    int32_t size = layer->out_size, wide = wide_of(layer);
    struct bounds bounds = bounds_of(layer);
    for (int32_t y = 0; y < size; y++, flat += wide, out += size)
        for (int32_t x = 0; x < size; x += LANES)
            store(out + x, clip(load(flat + x), bounds));
}

static void coded_window(const struct layer *layer, const float *in, float *out, float *scratch)
{
    int32_t group_outputs = layer->outputs / layer->groups, spaces = spaces_of(layer);
    int32_t count = layer->window * layer->window, sub = layer->sub, words = layer->words;
    size_t planes = (size_t)(layer->stride * layer->stride) * phase_of(layer);
    size_t in_span = span_of(layer->in_size), out_span = span_of(layer->out_size);
    size_t flat = flat_of(layer), offsets[256];
    float *phases = scratch, *table = phases + (size_t)sub * planes;
    float *sums = table + (size_t)words * planes;
    const uint8_t *indices = layer->indices;
    const float *book = layer->codebooks;
    memset(phases, 0, (size_t)sub * planes * sizeof *phases);
    for (int32_t at = 0; at < count; at++)
        offsets[at] = offset_of(layer, at);
    for (int32_t group = 0; group < layer->groups; group++) {
        const float *bias = layer->bias + group * group_outputs;
        for (int32_t o = 0; o < group_outputs; o++)
            for (size_t p = 0; p < flat; p++)
                sums[(size_t)o * flat + p] = bias[o];
        for (int32_t m = 0; m < spaces; m++, book += words * sub) {
            for (int32_t i = 0; i < sub; i++, in += in_span)
                split(layer, in, phases + (size_t)i * planes);
            for (size_t at = 0; at + TILE <= planes; at += TILE)
                tabulate(book, words, sub, phases + at, planes, table + at, planes);
            for (int32_t o = 0; o < group_outputs; o++, indices += count)
                for (size_t p = 0; p < flat; p += TILE) {
                    float *to = sums + (size_t)o * flat + p;
                    vec acc[VECS];
                    for (int v = 0; v < VECS; v++)
                        acc[v] = load(to + v * LANES);
                    for (int32_t at = 0; at < count; at++) {
                        const float *row = table + (size_t)indices[at] * planes + offsets[at] + p;
                        for (int v = 0; v < VECS; v++)
                            acc[v] += load(row + v * LANES);
                    }
                    for (int v = 0; v < VECS; v++)
                        store(to + v * LANES, acc[v]);
                }
        }
        for (int32_t o = 0; o < group_outputs; o++, out += out_span)
            narrow(layer, sums + (size_t)o * flat, out);
    }
}

static void depthwise(const struct layer *layer, const float *in, float *out, float *scratch)
{
    size_t planes = (size_t)(layer->stride * layer->stride) * phase_of(layer);
    size_t in_span = span_of(layer->in_size), out_span = span_of(layer->out_size);
    size_t flat = flat_of(layer), offsets[256];
    int32_t count = layer->window * layer->window;
    const float *weight = layer->weight;
    memset(scratch, 0, planes * sizeof *scratch);
    for (int32_t at = 0; at < count; at++)
        offsets[at] = offset_of(layer, at);
    for (int32_t o = 0; o < layer->outputs; o++, in += in_span, out += out_span, weight += count) {
        float *sums = scratch + planes;
        split(layer, in, scratch);
        for (size_t p = 0; p < flat; p += TILE) {
            vec acc[VECS];
            for (int v = 0; v < VECS; v++)
                acc[v] = (vec){0} + layer->bias[o];
            for (int32_t at = 0; at < count; at++)
                for (int v = 0; v < VECS; v++)
                    acc[v] += load(scratch + offsets[at] + p + v * LANES) * weight[at];
            for (int v = 0; v < VECS; v++)
                store(sums + p + v * LANES, acc[v]);
        }
        narrow(layer, sums, out);
    }
}

/* The columns that a window sees, [inputs of a group * window^2][span of the output]. */
static void unfold(const struct layer *layer, const float *in, float *columns)
{
    size_t in_span = span_of(layer->in_size), out_span = span_of(layer->out_size);
    for (int32_t c = 0; c < layer->inputs / layer->groups; c++, in += in_span)
        for (int32_t at = 0; at < layer->window * layer->window; at++, columns += out_span)
            for (int32_t y = 0; y < layer->out_size; y++) {
                int32_t from_y = y * layer->stride + at / layer->window - layer->pad;
                for (int32_t x = 0; x < layer->out_size; x++) {
                    int32_t from_x = x * layer->stride + at % layer->window - layer->pad;
                    int inside = from_y >= 0 && from_y < layer->in_size && from_x >= 0 &&
                                 from_x < layer->in_size;
                    columns[y * layer->out_size + x] =
                        inside ? in[(size_t)from_y * (size_t)layer->in_size + from_x] : 0;
                }
            }
}

enum { ROWS = 4 };

/* Multiply `rows` rows of the weights with the columns x [inner][span]. */
INLINE void multiply(const struct layer *layer, int rows, const float *weight, const float *bias,
                     const float *x, size_t inner, size_t span, float *out)
{
    for (size_t at = 0; at < span; at += TILE) {
        vec acc[ROWS][VECS];
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < VECS; v++)
                acc[r][v] = (vec){0} + bias[r];
        for (size_t i = 0; i < inner; i++)
            for (int v = 0; v < VECS; v++) {
                vec value = load(x + i * span + at + v * LANES);
                for (int r = 0; r < rows; r++)
                    acc[r][v] += value * weight[(size_t)r * inner + i];
            }
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < VECS; v++)
                store(out + (size_t)r * span + at + v * LANES,
                      clip(acc[r][v], bounds_of(layer)));
    }
}

static void dense(const struct layer *layer, const float *in, float *out, float *scratch)
{
    int32_t group_outputs = layer->outputs / layer->groups;
    size_t in_span = span_of(layer->in_size), span = span_of(layer->out_size);
    size_t channels = (size_t)(layer->inputs / layer->groups);
    size_t inner = channels * (size_t)(layer->window * layer->window);
    const float *weight = layer->weight, *bias = layer->bias;
    for (int32_t group = 0; group < layer->groups; group++, in += channels * in_span) {
        const float *x = in;
        if (!is_pointwise(layer)) {
            unfold(layer, in, scratch);
            x = scratch;
        }
        int32_t o = 0;
        for (; o + ROWS <= group_outputs; o += ROWS) {
            multiply(layer, ROWS, weight, bias, x, inner, span, out);
            weight += ROWS * inner, bias += ROWS, out += ROWS * span;
        }
        for (; o < group_outputs; o++) {
            multiply(layer, 1, weight, bias, x, inner, span, out);
            weight += inner, bias++, out += span;
        }
    }
}

/* One position: a product of a matrix and a vector. */
static void dense_vector(const struct layer *layer, const float *in, float *out)
{
    for (int32_t o = 0; o < layer->outputs; o++) {
        const float *row = layer->weight + (size_t)o * (size_t)layer->inputs;
        float sums[4] = {layer->bias[o]};
        for (int32_t i = 0; i < layer->inputs; i++)
            sums[i % 4] += row[i] * in[i];
        out[o] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
    finish(layer, out);
}

static void pool(const struct layer *layer, const float *in, float *out)
{
    size_t in_span = span_of(layer->in_size), out_span = span_of(layer->out_size);
    int32_t size = layer->in_size;
    for (int32_t c = 0; c < layer->outputs; c++, in += in_span, out += out_span)
        for (int32_t y = 0; y < layer->out_size; y++)
            for (int32_t x = 0; x < layer->out_size; x++) {
                float best = -INFINITY, sum = 0;
                for (int32_t dy = 0; dy < layer->window; dy++)
                    for (int32_t dx = 0; dx < layer->window; dx++) {
                        int32_t from_y = y * layer->stride + dy - layer->pad;
                        int32_t from_x = x * layer->stride + dx - layer->pad;
                        if (from_y < 0 || from_y >= size || from_x < 0 || from_x >= size)
                            continue;
                        float value = in[(size_t)from_y * (size_t)size + from_x];
                        best = value > best ? value : best;
                        sum += value;
                    }
                out[y * layer->out_size + x] =
                    layer->kind == MAX_POOL ? best
                                            : sum / (float)(layer->window * layer->window);
            }
}

/* Make every position a channel: [inputs][span] to [inputs * size^2][1]. */
static void flatten(const struct layer *layer, const float *in, float *out)
{
    size_t count = (size_t)layer->in_size * (size_t)layer->in_size;
    for (int32_t c = 0; c < layer->inputs; c++)
        memcpy(out + (size_t)c * count, in + (size_t)c * span_of(layer->in_size),
               count * sizeof *out);
}

void run_layer(const struct layer *layer, const float *in, float *out, float *scratch)
{
    if (layer->kind == DEPTHWISE)
        depthwise(layer, in, out, scratch);
    else if (layer->kind == CODED && layer->in_size == 1)
        coded_vector(layer, in, out, scratch);
    else if (layer->kind == CODED && is_pointwise(layer))
        coded_pointwise(layer, in, out, scratch);
    else if (layer->kind == CODED)
        coded_window(layer, in, out, scratch);
    else if (layer->kind == DENSE && layer->in_size == 1)
        dense_vector(layer, in, out);
    else if (layer->kind == DENSE)
        dense(layer, in, out, scratch);
    else if (layer->kind == FLATTEN)
        flatten(layer, in, out);
    else
        pool(layer, in, out);
}
