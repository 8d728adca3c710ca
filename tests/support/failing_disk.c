/* A disk that fails, for tests: the FAIL_AT-th write, fsync or rename answers EIO, or what `fail` was told.
 * Only files of a gallery are touched. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int at = -1, number = EIO, reads, calls;

/* The `which`-th call from now fails with `error`: of reads, or of writes, fsyncs and renames. */
void fail(int which, int error, int of_reads) {
    at = which, number = error, reads = of_reads, calls = 0;
}

static int fails(const char *path) {
    if (at < 0) at = getenv("FAIL_AT") ? atoi(getenv("FAIL_AT")) : 0;
    if (!at || !path || !strstr(path, "gallery.sqlite")) return 0;
    return ++calls == at;
}

static int descriptor_fails(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(path);
}

#define FAIL_IF(condition)                                                                        \
    if (condition) {                                                                              \
        errno = number;                                                                            \
        return -1;                                                                                \
    }
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int fd, void *data, size_t size) {
    FAIL_IF(reads && fd > 2 && descriptor_fails(fd))
    return REAL(read)(fd, data, size);
}
ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    FAIL_IF(reads && descriptor_fails(fd))
    return REAL(pread64)(fd, data, size, offset);
}
ssize_t write(int fd, const void *data, size_t size) {
    FAIL_IF(!reads && fd > 2 && descriptor_fails(fd))
    return REAL(write)(fd, data, size);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    FAIL_IF(!reads && descriptor_fails(fd))
    return REAL(pwrite64)(fd, data, size, offset);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    FAIL_IF(!reads && descriptor_fails(fd))
    return REAL(pwrite)(fd, data, size, offset);
}
int fsync(int fd) {
    FAIL_IF(!reads && descriptor_fails(fd))
    return REAL(fsync)(fd);
}
int fdatasync(int fd) {
    FAIL_IF(!reads && descriptor_fails(fd))
    return REAL(fdatasync)(fd);
}
int rename(const char *from, const char *to) {
    FAIL_IF(!reads && fails(to))
    return REAL(rename)(from, to);
}
