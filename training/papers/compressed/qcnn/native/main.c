/* main.c: run a network on pictures, and measure it.
 *
 *     qcnn NETWORK PICTURES ANSWERS RUNS
 *
 * PICTURES holds float32 [n][channels][size][size]; ANSWERS gets float32 [n][outputs]. The last
 * picture is computed RUNS more times. The last of these runs lies between the marks of
 * compile/emulation/counts.c. Prints the CPU time of each run in nanoseconds, then "peak" and the
 * largest resident memory in KiB.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "network.h"

enum { MARK = 0x45444745, BEGIN = 1, END = 2 };

static long long cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* getrusage would tell the peak of the process that started this one, if it is larger. */
static long peak_kib(void)
{
    long kib = 0;
    char line[128];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status) && !sscanf(line, "VmHWM: %ld", &kib))
        continue;
    if (status)
        fclose(status);
    return kib;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return fprintf(stderr, "qcnn NETWORK PICTURES ANSWERS RUNS\n"), 2;
    struct network *network = open_network(argv[1]);
    if (!network)
        return 1;
    size_t count = (size_t)network->channels * (size_t)network->size * (size_t)network->size;
    float *picture = malloc(count * sizeof *picture);
    float *answer = malloc((size_t)network->outputs * sizeof *answer);
    FILE *pictures = fopen(argv[2], "rb"), *answers = fopen(argv[3], "wb");
    if (!picture || !answer || !pictures || !answers)
        return fprintf(stderr, "qcnn: cannot open the pictures or the answers\n"), 1;
    while (fread(picture, sizeof *picture, count, pictures) == count) {
        run_network(network, picture, answer);
        fwrite(answer, sizeof *answer, (size_t)network->outputs, answers);
    }
    for (int left = atoi(argv[4]); left > 0; left--) {
        long long began = cpu_ns();
        if (left == 1)
            prctl(MARK, BEGIN, 0, 0, 0);
        run_network(network, picture, answer);
        if (left == 1)
            prctl(MARK, END, 0, 0, 0);
        printf("%lld\n", cpu_ns() - began);
    }
    printf("peak %ld\n", peak_kib());
    return fclose(answers) != 0;
}
