/* A disk that fails, for tests: the FAIL_AT-th write, fsync or rename answers EIO.
 * Only files of a gallery are touched. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(const char *path) {
    static int calls;
    if (!path || !strstr(path, "gallery.sqlite")) return 0;
    return ++calls == atoi(getenv("FAIL_AT"));
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
        errno = EIO;                                                                              \
        return -1;                                                                                \
    }
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
    FAIL_IF(fd > 2 && descriptor_fails(fd))
    return REAL(write)(fd, data, size);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    FAIL_IF(descriptor_fails(fd))
    return REAL(pwrite64)(fd, data, size, offset);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    FAIL_IF(descriptor_fails(fd))
    return REAL(pwrite)(fd, data, size, offset);
}
int fsync(int fd) {
    FAIL_IF(descriptor_fails(fd))
    return REAL(fsync)(fd);
}
int fdatasync(int fd) {
    FAIL_IF(descriptor_fails(fd))
    return REAL(fdatasync)(fd);
}
int rename(const char *from, const char *to) {
    FAIL_IF(fails(to))
    return REAL(rename)(from, to);
}
