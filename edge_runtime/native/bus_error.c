/* Survives the loss of a mapped file.
 *
 * Reading a mapped page that the file no longer has, or that the disk cannot read, raises SIGBUS, which
 * ends the process. In a watched region the page is replaced by zeros and the region marked as lost; the
 * caller asks for the mark before it trusts what it has read. Anywhere else (the shared memory of SQLite)
 * zeros would be taken for data, so the process ends with one line and the exit code of a failed disk.
 */
#define _GNU_SOURCE
#include "bus_error.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_REGIONS 64
#define EXIT_STORAGE 6

typedef struct {
    _Atomic uintptr_t begin, end; /* end 0: unused */
    atomic_int lost;
} region;

static region regions[MOST_REGIONS];
static uintptr_t page_bytes;
static struct sigaction earlier;
static const char GONE[] = "edge-runtime: a file that this process has mapped was truncated, or its disk reported "
                           "an I/O error (check the disk, and start the command again)\n";

static void handle(int signal, siginfo_t *info, void *context) {
    (void)context;
    const uintptr_t at = (uintptr_t)info->si_addr;
    for (int i = 0; i < MOST_REGIONS; i++) {
        if (at < atomic_load(&regions[i].begin) || at >= atomic_load(&regions[i].end)) continue;
        atomic_store(&regions[i].lost, 1);
        void *page = (void *)(at - at % page_bytes);
        if (mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page) return;
    }
    if (info->si_code == BUS_ADRERR) {
        const ssize_t ignored = write(2, GONE, sizeof GONE - 1);
        (void)ignored;
        _exit(EXIT_STORAGE);
    }
    sigaction(signal, &earlier, NULL); /* a fault of another kind: it is raised again, and handled as before */
}

int edge_watch_bus_errors(void) {
    if (page_bytes) return 0;
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    return sigaction(SIGBUS, &action, &earlier);
}

int edge_watch_region(const void *begin, size_t bytes) {
    for (int i = 0; i < MOST_REGIONS; i++) {
        if (atomic_load(&regions[i].end)) continue;
        atomic_store(&regions[i].lost, 0);
        atomic_store(&regions[i].begin, (uintptr_t)begin);
        atomic_store(&regions[i].end, (uintptr_t)begin + bytes);
        return i;
    }
    return -1;
}

int edge_region_lost(int number) {
    return number < 0 || number >= MOST_REGIONS || atomic_load(&regions[number].lost);
}

void edge_forget_region(int number) {
    if (number >= 0 && number < MOST_REGIONS) atomic_store(&regions[number].end, 0);
}
