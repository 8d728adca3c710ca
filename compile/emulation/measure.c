/* measure.c: run libedge.so on pictures under the emulator.
 *
 *     measure PICTURES THREADS COUNT
 *
 * PICTURES holds uint8 [n][size][size][3], blue first. Prints one code per picture, its words in
 * hexadecimal. Each of the last COUNT calls is a region for counts.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "edge.h"

enum { MAGIC = 0x45444745, BEGIN = 1, END = 2 };

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    const struct edge_info *info = edge_version();
    size_t bytes = (size_t)info->size * (size_t)info->size * 3;
    FILE *file = fopen(argv[1], "rb");
    uint8_t *pixels = malloc(bytes);
    edge *network = edge_open(atoi(argv[2]));
    if (!file || !pixels || !network)
        return fprintf(stderr, "measure: %s\n", edge_error()), 1;
    fseek(file, 0, SEEK_END);
    long count = ftell(file) / (long)bytes, marked = atol(argv[3]);
    rewind(file);
    for (long i = 0; i < count && fread(pixels, 1, bytes, file) == bytes; i++) {
        uint64_t code[EDGE_MAX_WORDS];
        if (i >= count - marked)
            prctl(MAGIC, BEGIN, 0, 0, 0);
        if (edge_hash(network, pixels, code))
            return fprintf(stderr, "measure: %s\n", edge_error()), 1;
        if (i >= count - marked)
            prctl(MAGIC, END, 0, 0, 0);
        for (int32_t word = 0; word < info->words; word++)
            printf("%016" PRIx64, code[word]);
        putchar('\n');
        fflush(stdout);
    }
    edge_close(network);
    fclose(file);
    free(pixels);
    return 0;
}
