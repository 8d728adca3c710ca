/* Survives the loss of a mapped file.
 *
 * Reading a mapped page that the file no longer has, or that the disk cannot read, raises SIGBUS, which
 * ends the process. In a watched region the page is replaced by zeros and the region marked as lost; the
 * caller asks for the mark before it trusts what it has read. Anywhere else (the shared memory of SQLite)
 * zeros would be taken for data, so the process must not go on. It starts itself again if it may, and
 * otherwise ends with the exit code of a failed disk. Both say so in one line. Starting again is like a
 * kill: nothing that SQLite does when it closes a file can make use of what is left of the memory.
 */
#define _GNU_SOURCE
#include "bus_error.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MOST_REGIONS 64
#define EXIT_STORAGE 6
#define PAUSE_S 10 /* between two starts; a file that is lost sooner ends the process */

typedef struct {
    _Atomic uintptr_t begin, end; /* end 0: unused */
    atomic_int lost;
} region;

static region regions[MOST_REGIONS];
static uintptr_t page_bytes;
static struct sigaction earlier;
static char *const *again;       /* the arguments of the next start, or NULL */
static char *const *environment; /* its first variable ends in the digits of the time of the start */
static time_t not_before;

#define LOST "edge-runtime: a file that this process has mapped was truncated, or its disk reported an I/O error "

static void say(const char *line, size_t bytes) {
    const ssize_t ignored = write(2, line, bytes);
    (void)ignored;
}

static time_t seconds_since_boot(void) {
    struct timespec now = {0};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
}

/* Calls only functions that are safe in a handler. Returns if the process cannot be started again. */
static void start_again(void) {
    static const char line[] = LOST "(starting again)\n";
    time_t now = seconds_since_boot();
    if (!again || now < not_before) return;
    say(line, sizeof line - 1);
    for (char *digit = strchr(environment[0], 0); *--digit != '='; now /= 10) *digit = (char)('0' + now % 10);
    sigset_t none; /* the next process inherits the mask, in which this signal is blocked now */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(again[0], again, environment);
}

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
        static const char line[] = LOST "(check the disk, and start the command again)\n";
        start_again();
        say(line, sizeof line - 1);
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

void edge_start_again(char *const *arguments, char *const *variables, long started_s) {
    again = NULL;
    environment = variables;
    not_before = started_s ? started_s + PAUSE_S : 0;
    again = arguments;
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
