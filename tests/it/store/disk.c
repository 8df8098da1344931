/* A disk that fails, for a process that has this as LD_PRELOAD. The file named by FAILING_DISK says how: it begins
 * with "full" (writes: ENOSPC) or "sync" (syncs: EIO), or the disk works. Databases alone are on that disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_on_it(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, ".db") != NULL;
}

static int fails(const char *how, int fd) {
    const char *name = getenv("FAILING_DISK");
    char word[5] = "";
    if (!name || !is_on_it(fd)) return 0;
    int said = open(name, O_RDONLY | O_CLOEXEC);
    if (said < 0) return 0;
    ssize_t length = read(said, word, 4);
    close(said);
    return length == 4 && strcmp(word, how) == 0;
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define WRITE(fd, call) if (fails("full", fd)) { errno = ENOSPC; return -1; } return call
#define SYNC(fd, call) if (fails("sync", fd)) { errno = EIO; return -1; } return call

ssize_t write(int fd, const void *bytes, size_t count) { REAL(write); WRITE(fd, real(fd, bytes, count)); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { REAL(pwrite); WRITE(fd, real(fd, bytes, count, at)); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { REAL(pwrite64); WRITE(fd, real(fd, bytes, count, at)); }
int fsync(int fd) { REAL(fsync); SYNC(fd, real(fd)); }
int fdatasync(int fd) { REAL(fdatasync); SYNC(fd, real(fd)); }
