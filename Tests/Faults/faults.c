// Makes calls of a program to the file system fail, for tests: preloaded into it (LD_PRELOAD).
//
//   INGOT_FAULT_ROOT    folder; calls that concern no file below it are left alone
//   INGOT_FAULT_CALL    which call: open, pread, pwrite, ftruncate, fsync, rename, unlink, close,
//                       stat, fstat, statvfs, opendir, readdir, fadvise, flock, access, realpath,
//                       read (a stream), stdout (writes of results)
//   INGOT_FAULT_AT      which of them, from 1 on; 0 for every one
//   INGOT_FAULT_REPEAT  1: that one and every later one
//   INGOT_FAULT_DO      an error's name; or "one" or "half": a transfer of so much; or "INT", "TERM",
//                       "KILL": that signal just before the call; or "truncate", "overwrite",
//                       "replace": that happens to a file just before the call
//   INGOT_FAULT_TARGET  that file
//   INGOT_FAULT_REPORT  file that gets a line "call count first last" for each, where first and last
//                       are places in the order of all calls, and "injected count"
//
// With EINTR every call of the kind fails once and succeeds when it is repeated.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum kind {
  OPEN, READ, PREAD, PWRITE, FTRUNCATE, FSYNC, RENAME, UNLINK, CLOSE, STAT, FSTAT, STATVFS,
  OPENDIR, READDIR, FADVISE, FLOCK, ACCESS, REALPATH, STDOUT, KINDS
};
static const char *const names[KINDS] = {
  "open", "read", "pread", "pwrite", "ftruncate", "fsync", "rename", "unlink", "close", "stat",
  "fstat", "statvfs", "opendir", "readdir", "fadvise", "flock", "access", "realpath", "stdout",
};

static atomic_long counts[KINDS];
static atomic_long clock_of_calls, firsts[KINDS], lasts[KINDS];
static atomic_long injected;
static _Atomic unsigned char watched[1 << 16];

static const char *root;
static size_t root_length;
static int wanted = -1;
static long wanted_at;
static int repeats;
static int error_number;   // of the fault
static long transfer;      // 1: one byte, 2: half
static int signal_number;
static int change;         // of the target: 't', 'o' or 'r'

static const struct { const char *name; int number; } errors[] = {
  {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EINTR", EINTR}, {"ESTALE", ESTALE},
  {"EACCES", EACCES}, {"EROFS", EROFS}, {"EMFILE", EMFILE}, {"EBUSY", EBUSY}, {"EPERM", EPERM},
  {"EXDEV", EXDEV}, {"EFBIG", EFBIG}, {"ENOLCK", ENOLCK}, {"EINVAL", EINVAL}, {"EPIPE", EPIPE},
};

__attribute__((constructor)) static void begin(void) {
  root = getenv("INGOT_FAULT_ROOT");
  root_length = root ? strlen(root) : 0;
  const char *call = getenv("INGOT_FAULT_CALL"), *what = getenv("INGOT_FAULT_DO");
  for (int kind = 0; call && kind < KINDS; kind++)
    if (!strcmp(call, names[kind])) wanted = kind;
  if (call && wanted < 0) {
    fprintf(stderr, "faults: no call %s\n", call);
    _exit(99);
  }
  const char *at = getenv("INGOT_FAULT_AT"), *repeat = getenv("INGOT_FAULT_REPEAT");
  wanted_at = at ? atol(at) : 0;
  repeats = repeat && *repeat == '1';
  if (!what) return;
  if (!strcmp(what, "one")) transfer = 1;
  if (!strcmp(what, "half")) transfer = 2;
  if (!strcmp(what, "INT")) signal_number = SIGINT;
  if (!strcmp(what, "TERM")) signal_number = SIGTERM;
  if (!strcmp(what, "KILL")) signal_number = SIGKILL;
  if (!strcmp(what, "truncate") || !strcmp(what, "overwrite") || !strcmp(what, "replace"))
    change = *what;
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    if (!strcmp(what, errors[i].name)) error_number = errors[i].number;
  if (!transfer && !signal_number && !error_number && !change) {
    fprintf(stderr, "faults: cannot do %s\n", what);
    _exit(99);
  }
}

__attribute__((destructor)) static void end(void) {
  const char *path = getenv("INGOT_FAULT_REPORT");
  FILE *file = path ? fopen(path, "w") : NULL;
  if (!file) return;
  for (int kind = 0; kind < KINDS; kind++) 
    fprintf(file, "%s %ld %ld %ld\n", names[kind], counts[kind], firsts[kind], lasts[kind]);
  fprintf(file, "injected %ld\n", injected);
  fclose(file);
}

static int is_below_root(const char *path) {
  if (!root || !path) return 0;
  return path[0] != '/' || !strncmp(path, root, root_length);
}

static int is_watched(int descriptor) {
  return descriptor >= 0 && descriptor < (int)sizeof watched && watched[descriptor];
}

static void watch(int descriptor, int on) {
  if (descriptor >= 0 && descriptor < (int)sizeof watched) watched[descriptor] = on;
}

// What another program might do to an input.
static void change_target(void) {
  const char *target = getenv("INGOT_FAULT_TARGET");
  if (!target) return;
  struct stat status;
  char bytes[4096], neighbour[4096];
  if (change == 't') {
    if (stat(target, &status) == 0) truncate(target, status.st_size / 2);
  } else if (change == 'o') {
    FILE *file = fopen(target, "r+");
    if (!file) return;
    memset(bytes, 0x41, sizeof bytes);
    fseek(file, 4096, SEEK_SET);
    fwrite(bytes, 1, sizeof bytes, file);
    fclose(file);
  } else {
    snprintf(neighbour, sizeof neighbour, "%s.other", target);
    FILE *from = fopen(target, "r"), *to = fopen(neighbour, "w");
    for (size_t count; from && to && (count = fread(bytes, 1, sizeof bytes, from)) > 0;)
      fwrite(bytes, 1, count, to);
    if (from) fclose(from);
    if (to) fclose(to);
    rename(neighbour, target);
  }
}

// Counts a call; whether it is one that something happens to. A signal has then been sent.
static int is_hit(enum kind kind) {
  // One of two calls for EINTR: the repetition succeeds.
  static _Thread_local int interrupted[KINDS];
  if ((int)kind == wanted && error_number == EINTR && interrupted[kind]) {
    interrupted[kind] = 0;
    return 0;
  }
  long number = atomic_fetch_add(&counts[kind], 1) + 1;
  long place = atomic_fetch_add(&clock_of_calls, 1) + 1, none = 0;
  atomic_compare_exchange_strong(&firsts[kind], &none, place);
  lasts[kind] = place;
  if ((int)kind != wanted) return 0;
  if (wanted_at && number != wanted_at && !(repeats && number > wanted_at)) return 0;
  atomic_fetch_add(&injected, 1);
  if (error_number == EINTR) interrupted[kind] = 1;
  if (signal_number) kill(getpid(), signal_number);
  if (change) change_target();
  return 1;
}

// Whether the call is to fail; errno is set then.
static int fails(enum kind kind) {
  if (!is_hit(kind) || !error_number) return 0;
  errno = error_number;
  return 1;
}

#define NEXT(result, name, ...) \
  static result (*next)(__VA_ARGS__); \
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, name)

static int opened(int descriptor) {
  watch(descriptor, 1);
  return descriptor;
}

int open(const char *path, int flags, ...) {
  NEXT(int, "open", const char *, int, ...);
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if (!is_below_root(path)) return next(path, flags, mode);
  return fails(OPEN) ? -1 : opened(next(path, flags, mode));
}

int open64(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return open(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
  NEXT(int, "openat", int, const char *, int, ...);
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if (!is_below_root(path)) return next(folder, path, flags, mode);
  return fails(OPEN) ? -1 : opened(next(folder, path, flags, mode));
}

// A shorter count for a short transfer; never 0 where there was something to do.
static size_t shortened(enum kind kind, size_t count, int *failed) {
  *failed = 0;
  if (!is_hit(kind)) return count;
  if (error_number) {
    errno = error_number;
    *failed = 1;
    return count;
  }
  if (transfer == 1) return count > 1 ? 1 : count;
  if (transfer == 2) return count > 1 ? count / 2 : count;
  return count;
}

#define TRANSFER(kind, call) \
  if (!is_watched(descriptor)) return call; \
  int failed; \
  count = shortened(kind, count, &failed); \
  return failed ? -1 : call

ssize_t read(int descriptor, void *bytes, size_t count) {
  NEXT(ssize_t, "read", int, void *, size_t);
  if (descriptor == 0 && wanted == READ) {
    int failed;
    count = shortened(READ, count, &failed);
    return failed ? -1 : next(descriptor, bytes, count);
  }
  TRANSFER(READ, next(descriptor, bytes, count));
}

ssize_t pread(int descriptor, void *bytes, size_t count, off_t offset) {
  NEXT(ssize_t, "pread", int, void *, size_t, off_t);
  TRANSFER(PREAD, next(descriptor, bytes, count, offset));
}

ssize_t pread64(int descriptor, void *bytes, size_t count, off64_t offset) {
  return pread(descriptor, bytes, count, offset);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
  NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t);
  TRANSFER(PWRITE, next(descriptor, bytes, count, offset));
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
  return pwrite(descriptor, bytes, count, offset);
}

// Files are written at positions; what is written to a stream is a result.
ssize_t write(int descriptor, const void *bytes, size_t count) {
  NEXT(ssize_t, "write", int, const void *, size_t);
  if (descriptor == 1) {
    int failed;
    count = shortened(STDOUT, count, &failed);
    return failed ? -1 : next(descriptor, bytes, count);
  }
  TRANSFER(PWRITE, next(descriptor, bytes, count));
}

int ftruncate(int descriptor, off_t length) {
  NEXT(int, "ftruncate", int, off_t);
  return is_watched(descriptor) && fails(FTRUNCATE) ? -1 : next(descriptor, length);
}

int ftruncate64(int descriptor, off64_t length) { return ftruncate(descriptor, length); }

int fsync(int descriptor) {
  NEXT(int, "fsync", int);
  return is_watched(descriptor) && fails(FSYNC) ? -1 : next(descriptor);
}

int fdatasync(int descriptor) {
  NEXT(int, "fdatasync", int);
  return is_watched(descriptor) && fails(FSYNC) ? -1 : next(descriptor);
}

int rename(const char *from, const char *to) {
  NEXT(int, "rename", const char *, const char *);
  return is_below_root(to) && fails(RENAME) ? -1 : next(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
  NEXT(int, "renameat", int, const char *, int, const char *);
  return is_below_root(to) && fails(RENAME) ? -1 : next(from_folder, from, to_folder, to);
}

int unlink(const char *path) {
  NEXT(int, "unlink", const char *);
  return is_below_root(path) && fails(UNLINK) ? -1 : next(path);
}

// A descriptor is closed even where close says that something went wrong, as on Linux.
int close(int descriptor) {
  NEXT(int, "close", int);
  if (!is_watched(descriptor)) return next(descriptor);
  int has_failed = fails(CLOSE), number = errno;
  watch(descriptor, 0);
  int result = next(descriptor);
  if (!has_failed) return result;
  errno = number;
  return -1;
}

int stat(const char *restrict path, struct stat *restrict status) {
  NEXT(int, "stat", const char *, struct stat *);
  return is_below_root(path) && fails(STAT) ? -1 : next(path, status);
}

int lstat(const char *restrict path, struct stat *restrict status) {
  NEXT(int, "lstat", const char *, struct stat *);
  return is_below_root(path) && fails(STAT) ? -1 : next(path, status);
}

int fstat(int descriptor, struct stat *status) {
  NEXT(int, "fstat", int, struct stat *);
  return is_watched(descriptor) && fails(FSTAT) ? -1 : next(descriptor, status);
}

int statvfs(const char *restrict path, struct statvfs *restrict status) {
  NEXT(int, "statvfs", const char *, struct statvfs *);
  return is_below_root(path) && fails(STATVFS) ? -1 : next(path, status);
}

DIR *opendir(const char *path) {
  NEXT(DIR *, "opendir", const char *);
  return is_below_root(path) && fails(OPENDIR) ? NULL : next(path);
}

struct dirent *readdir(DIR *stream) {
  NEXT(struct dirent *, "readdir", DIR *);
  return root && fails(READDIR) ? NULL : next(stream);
}

// Returns the error instead of setting errno.
int posix_fadvise(int descriptor, off_t offset, off_t length, int advice) {
  NEXT(int, "posix_fadvise", int, off_t, off_t, int);
  return is_watched(descriptor) && fails(FADVISE) ? error_number
                                                  : next(descriptor, offset, length, advice);
}

int flock(int descriptor, int operation) {
  NEXT(int, "flock", int, int);
  return is_watched(descriptor) && fails(FLOCK) ? -1 : next(descriptor, operation);
}

int access(const char *path, int mode) {
  NEXT(int, "access", const char *, int);
  return is_below_root(path) && fails(ACCESS) ? -1 : next(path, mode);
}

char *realpath(const char *restrict path, char *restrict resolved) {
  NEXT(char *, "realpath", const char *, char *);
  return is_below_root(path) && fails(REALPATH) ? NULL : next(path, resolved);
}
