/* hash.c: compute the code of a picture from C.
 *
 *     cc -Icompile/native compile/example/hash.c build/host/libedge.so \
 *        -Wl,-rpath,$PWD/build/host -o hash
 *     ./hash picture.ppm
 *
 * The picture must be a binary PPM (P6, 8 bits) of exactly the network's size. The program prints
 * the code in hexadecimal, the word with the highest bits first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "edge.h"

static int fail(const char *what)
{
    fprintf(stderr, "hash: %s\n", what);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fail("usage: hash PICTURE.ppm");
    const struct edge_info *info = edge_version();
    FILE *file = fopen(argv[1], "rb");
    int width, height, most;
    if (!file || fscanf(file, "P6 %d %d %d", &width, &height, &most) != 3 || most != 255)
        return fail("not a binary PPM with 8 bits per color");
    if (width != info->size || height != info->size) {
        fprintf(stderr, "hash: the picture must be %d x %d\n", info->size, info->size);
        return 1;
    }
    fgetc(file); /* one whitespace character ends the header */
    size_t bytes = (size_t)width * (size_t)height * 3;
    uint8_t *pixels = malloc(bytes);
    if (!pixels || fread(pixels, 1, bytes, file) != bytes)
        return fail("the picture is truncated");
    fclose(file);
    for (size_t i = 0; i < bytes; i += 3) { /* PPM stores red first */
        uint8_t red = pixels[i];
        pixels[i] = pixels[i + 2];
        pixels[i + 2] = red;
    }
    edge *network = edge_open(1);
    uint64_t code[EDGE_MAX_WORDS];
    if (!network || edge_hash(network, pixels, code))
        return fail(edge_error());
    for (int word = info->words - 1; word >= 0; word--)
        printf("%016" PRIx64, code[word]);
    putchar('\n');
    edge_close(network);
    free(pixels);
    return 0;
}
