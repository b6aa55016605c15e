// The packed weights file: header, table of parts, data (layout in runtime.h).
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/runtime_impl.h"

#define MAGIC "TSWEIGHT"
enum { FILE_VERSION = 1, PIECE = 4 << 20 };

typedef struct header {
  char magic[8];
  uint32_t version, parts;
  ts_sha256 layout, index;
  uint64_t data_offset, file_bytes;
} header;
_Static_assert(sizeof(header) == 96, "the header has no holes");

typedef struct entry {
  uint64_t offset, bytes;
} entry;

static header header_for(const ts_weights *w, const ts_index *x) {
  header h = {.version = FILE_VERSION, .parts = (uint32_t)w->first[w->plan->nweights]};
  memcpy(h.magic, MAGIC, sizeof h.magic);
  h.layout = ts_plan_layout(w->plan);
  h.index = x->sha256;
  h.data_offset = (sizeof(header) + h.parts * sizeof(entry) + 4095) / 4096 * 4096;
  h.file_bytes = h.data_offset + (uint64_t)w->bytes;
  return h;
}

static bool put(int fd, const char *path, const void *p, size_t n, ts_diag *d) {
  for (size_t done = 0; done < n;) {
    ssize_t k = ts_fault("write-weights") ? (errno = ENOSPC, -1) : write(fd, (const char *)p + done, n - done);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return ts_env_fail(d, "file-write", "%s: %s", path, strerror(errno));
    done += (size_t)k;
  }
  return true;
}

static bool put_all(int fd, const char *path, const ts_weights *w, const header *h, ts_diag *d) {
  static const char zeros[4096];
  TS_TRY(put(fd, path, h, sizeof *h, d));
  for (uint32_t i = 0; i < h->parts; i++) {
    entry e = {h->data_offset + (uint64_t)w->parts[i].offset, (uint64_t)w->parts[i].bytes};
    TS_TRY(put(fd, path, &e, sizeof e, d));
  }
  TS_TRY(put(fd, path, zeros, h->data_offset - sizeof *h - h->parts * sizeof(entry), d));
  TS_TRY(put(fd, path, w->pages.p, (size_t)w->bytes, d));
  return fsync(fd) == 0 || ts_env_fail(d, "file-write", "%s: %s", path, strerror(errno));
}

bool ts_weights_write(const ts_weights *w, const ts_index *x, const char *path, ts_diag *d) {
  header h = header_for(w, x);
  ts_arena *a = ts_arena_new("weights file");
  const char *temp = ts_arena_printf(a, "%s.%d.tmp", path, (int)getpid());
  int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  bool ok = fd >= 0 ? put_all(fd, path, w, &h, d) : ts_env_fail(d, "file-write", "%s: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
  if (ok && rename(temp, path) != 0) ok = ts_env_fail(d, "file-write", "%s: %s", path, strerror(errno));
  if (!ok && fd >= 0) unlink(temp);
  ts_arena_free(a);
  return ok;
}

static int broken(const char *path, const char *fact, ts_diag *d) {
  (void)ts_refuse(d, "weights-invalid", "%s: %s; build the model again", path, fact);
  return -1;
}

// The table must say what place() computed: same order, sizes and sharing.
static int table_ok(int fd, const char *path, const ts_weights *w, const header *h, ts_diag *d) {
  entry *e = malloc(h->parts * sizeof *e + 1);
  if (!e) return broken(path, "no memory for the table", d);
  int r = ts__read_at(fd, path, e, (int64_t)(h->parts * sizeof *e), sizeof *h, d) ? 1 : -1;
  for (uint32_t i = 0; r == 1 && i < h->parts; i++)
    if (e[i].offset != h->data_offset + (uint64_t)w->parts[i].offset || e[i].bytes != (uint64_t)w->parts[i].bytes)
      r = broken(path, "the table of parts disagrees with the plan", d);
  free(e);
  return r;
}

static int check(int fd, const char *path, const ts_weights *w, const ts_index *x, header *h, ts_diag *d) {
  struct stat st;
  header want = header_for(w, x);
  if (fstat(fd, &st) != 0 || st.st_size < (off_t)sizeof *h) return broken(path, "not a weights file", d);
  if (!ts__read_at(fd, path, h, sizeof *h, 0, d)) return -1;
  if (memcmp(h->magic, MAGIC, sizeof h->magic) != 0) return broken(path, "not a weights file", d);
  if (h->version != FILE_VERSION || memcmp(&h->layout, &want.layout, sizeof h->layout) != 0 ||
      memcmp(&h->index, &want.index, sizeof h->index) != 0)
    return 0;
  if (memcmp(h, &want, sizeof want) != 0 || (uint64_t)st.st_size != h->file_bytes)
    return broken(path, "the file is cut off or its header lies", d);
  return table_ok(fd, path, w, h, d);
}

typedef struct job {
  int fd;
  const char *path;
  uint8_t *dst;
  int64_t offset, bytes;
  _Atomic bool failed;
  ts_diag diag;
} job;

static void read_pieces(void *env, int64_t begin, int64_t end) {
  job *j = env;
  for (int64_t i = begin; i < end && !atomic_load(&j->failed); i++) {
    ts_diag d = {0};
    int64_t at = i * PIECE, n = TS_MIN((int64_t)PIECE, j->bytes - at);
    if (ts__read_at(j->fd, j->path, j->dst + at, n, j->offset + at, &d)) continue;
    if (!atomic_exchange(&j->failed, true)) j->diag = d;
  }
}

int ts__weights_read_file(ts_weights *w, const ts_index *x, const char *path, ts_pool *pool, ts_diag *d) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return 0;
  if (fd < 0) {
    (void)ts_env_fail(d, "file-open", "%s: %s", path, strerror(errno));
    return -1;
  }
  header h;
  int r = check(fd, path, w, x, &h, d);
  if (r == 1) {
    job j = {.fd = fd, .path = path, .dst = w->pages.p, .offset = (int64_t)h.data_offset, .bytes = w->bytes};
    const ts_kernel_rt *rt = ts_pool_rt(pool);
    rt->parallel(rt, read_pieces, &j, (w->bytes + PIECE - 1) / PIECE);
    if (j.failed && d) *d = j.diag;
    if (j.failed) r = -1;
  }
  close(fd);
  return r;
}
