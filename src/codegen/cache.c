// Artifacts on disk. A file is a magic, the digest of the rest, the rest: a torn or edited file reads as a miss.
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codegen/codegen_impl.h"

enum { MAGIC = 8, HEAD = MAGIC + 32 };
static const char magic[MAGIC + 1] = "tsobj 1\n";

static char *path_of(ts_arena *a, const char *dir, const ts_object *o) {
  return ts_arena_printf(a, "%s/%s.o", dir, ts_hex(a, o->id.b, sizeof o->id.b));
}

// Private to the user: what it holds is run.
bool ts__cache_open(const char *dir, ts_diag *d) {
  bool fresh = !ts_file_exists(dir);
  TS_TRY(ts_dir_make(dir, d));
  struct stat st;
  if (fresh && chmod(dir, 0700) != 0) return ts_env_fail(d, "cache-failed", "%s: %s", dir, strerror(errno));
  if (stat(dir, &st) != 0) return ts_env_fail(d, "cache-failed", "%s: %s", dir, strerror(errno));
  if (st.st_uid != geteuid() || (st.st_mode & 022))
    return ts_env_fail(d, "cache-not-private", "%s: others can write here, so its kernels cannot be trusted", dir);
  return true;
}

bool ts__cache_get(const char *dir, ts_object *o, ts_arena *a) {
  char *data;
  size_t n;
  if (!ts_file_read(path_of(a, dir, o), a, &data, &n, NULL) || n <= HEAD || memcmp(data, magic, MAGIC) != 0)
    return false;
  ts_sha256 sum = ts_sha256_of(data + HEAD, n - HEAD);
  if (memcmp(sum.b, data + MAGIC, sizeof sum.b) != 0) return false;
  o->bytes = data + HEAD;
  o->n = n - HEAD;
  o->cached = true;
  o->compile_s = 0;
  return true;
}

static bool write_all(FILE *f, const ts_object *o) {
  ts_sha256 sum = ts_sha256_of(o->bytes, o->n);
  return fwrite(magic, MAGIC, 1, f) == 1 && fwrite(sum.b, sizeof sum.b, 1, f) == 1 && fwrite(o->bytes, o->n, 1, f) == 1;
}

// Written beside and renamed; not synced, since a file that a crash cut short is noticed when read.
bool ts__cache_put(const char *dir, const ts_object *o) {
  ts_arena *a = ts_arena_new("cache");
  char *path = path_of(a, dir, o), *temp = ts_arena_printf(a, "%s.XXXXXX", path);
  int fd = mkstemp(temp);
  FILE *f = fd >= 0 ? fdopen(fd, "wb") : NULL;
  bool ok = f && write_all(f, o);
  if (f) ok = fclose(f) == 0 && ok;
  ok = ok && rename(temp, path) == 0;
  if (fd >= 0 && !ok) unlink(temp);
  ts_arena_free(a);
  return ok;
}
