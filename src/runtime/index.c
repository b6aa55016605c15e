// The parameter container: an index in JSON and shards of raw bytes.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/json.h"
#include "runtime/runtime_impl.h"

enum { MAX_SHARDS = 1 << 16, MAX_TENSORS = 1 << 20 };
#define MAX_SHARD_BYTES (INT64_C(1) << 44)

typedef TS_VEC(ts_index_tensor) tensor_vec;
typedef struct reader {
  ts_arena *a;
  ts__json j;
  tensor_vec v;
  ts_diag *d;
} reader;

static bool bad(const reader *s, const char *name, const char *fact) {
  return ts_refuse(s->d, "index-invalid", "%s: %s: %s", s->j.file, name, fact);
}

static bool shape_of(const reader *s, const json_t *o, const char *name, ts_tensor *t) {
  const json_t *shape = ts__json_array(&s->j, o, "shape", TS_TENSOR_DIMS, s->d);
  if (!shape) return false;
  t->ndim = (int)json_array_size(shape);
  for (int i = 0; i < t->ndim; i++) {
    const json_t *e = json_array_get(shape, i);
    if (!json_is_integer(e) || json_integer_value(e) < 0) return bad(s, name, "bad shape");
    t->shape[i] = json_integer_value(e);
  }
  int64_t bytes = ts_tensor_bytes(t);
  return (bytes >= 0 && bytes <= MAX_SHARD_BYTES) || bad(s, name, "shape is too large");
}

static bool tensor(reader *s, const json_t *o, int shard, int64_t shard_bytes) {
  ts_index_tensor t = {.shard = shard};
  const char *dtype = NULL, *format = NULL;
  TS_TRY(ts__json_str(&s->j, o, "name", s->a, &t.name, s->d));
  TS_TRY(ts__json_str(&s->j, o, "dtype", s->a, &dtype, s->d));
  TS_TRY(ts__json_str(&s->j, o, "format", s->a, &format, s->d));
  if (!ts_dtype_parse(dtype, &t.t.dtype)) return bad(s, t.name, "element type is not known");
  TS_TRY(shape_of(s, o, t.name, &t.t));
  TS_TRY(ts__json_int(&s->j, o, "nbytes", 0, MAX_SHARD_BYTES, &t.bytes, s->d));
  TS_TRY(ts__json_int(&s->j, o, "byteOffset", 0, MAX_SHARD_BYTES, &t.offset, s->d));
  t.bf16 = t.t.dtype == TS_DT_F32 && !strcmp(format, "f32-to-bf16");
  if (t.bytes != (t.bf16 ? ts_tensor_count(&t.t) * 2 : ts_tensor_bytes(&t.t))) return bad(s, t.name, "nbytes and shape disagree");
  if (t.offset > shard_bytes || t.bytes > shard_bytes - t.offset) return bad(s, t.name, "lies outside its shard");
  ts_vec_push(s->a, &s->v, t);
  return true;
}

static bool shard(reader *s, const json_t *o, ts_index_shard *out, int number) {
  const char *format = NULL;
  s->j.where = "records";
  TS_TRY(ts__json_str(&s->j, o, "dataPath", s->a, &out->name, s->d));
  TS_TRY(ts__json_str(&s->j, o, "format", s->a, &format, s->d));
  if (!*out->name || strchr(out->name, '/') || !strcmp(out->name, "..") || !strcmp(out->name, "."))
    return bad(s, out->name, "shards lie beside the index");
  if (strcmp(format, "raw-shard") != 0) return bad(s, out->name, "format is not raw-shard");
  TS_TRY(ts__json_int(&s->j, o, "nbytes", 0, MAX_SHARD_BYTES, &out->bytes, s->d));
  s->j.where = out->name;
  const json_t *list = ts__json_array(&s->j, o, "records", MAX_TENSORS, s->d);
  if (!list) return false;
  for (size_t i = 0; i < json_array_size(list); i++) TS_TRY(tensor(s, json_array_get(list, i), number, out->bytes));
  return s->v.n <= MAX_TENSORS || bad(s, out->name, "too many tensors");
}

static _Thread_local const ts_index_tensor *sort_base;

static int by_name(const void *a, const void *b) {
  return strcmp(sort_base[*(const int *)a].name, sort_base[*(const int *)b].name);
}

static int by_place(const void *a, const void *b) {
  const ts_index_tensor *x = &sort_base[*(const int *)a], *y = &sort_base[*(const int *)b];
  if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
  return (x->offset > y->offset) - (x->offset < y->offset);
}

// No two tensors share a name or bytes of a shard. Leaves the order by name in `order`.
static bool distinct(const reader *s, int *order) {
  const ts_index_tensor *t = s->v.p;
  int n = (int)s->v.n;
  for (int i = 0; i < n; i++) order[i] = i;
  sort_base = t;
  if (n) qsort(order, (size_t)n, sizeof *order, by_place);
  for (int i = 1; i < n; i++) {
    const ts_index_tensor *p = &t[order[i - 1]], *q = &t[order[i]];
    if (p->shard == q->shard && p->offset + p->bytes > q->offset) return bad(s, q->name, "overlaps another tensor");
  }
  if (n) qsort(order, (size_t)n, sizeof *order, by_name);
  for (int i = 1; i < n; i++)
    if (!strcmp(t[order[i - 1]].name, t[order[i]].name)) return bad(s, t[order[i]].name, "name is used twice");
  return true;
}

static bool records(reader *s, const json_t *root, ts_index *x) {
  s->j.where = "index";
  const json_t *list = ts__json_array(&s->j, root, "records", MAX_SHARDS, s->d);
  if (!list) return false;
  x->nshards = (int)json_array_size(list);
  ts_index_shard *sh = ts_new_array(s->a, ts_index_shard, x->nshards);
  x->shards = sh;
  for (int i = 0; i < x->nshards; i++) TS_TRY(shard(s, json_array_get(list, i), &sh[i], i));
  x->ntensors = (int)s->v.n;
  x->tensors = s->v.p;
  int *order = ts_new_array(s->a, int, x->ntensors + 1);
  x->sorted = order;
  return distinct(s, order);
}

const ts_index *ts_index_parse(ts_arena *a, const char *dir, const char *file, const char *text, size_t n, ts_diag *d) {
  json_t *root = ts__json_load(file, text, n, d);
  if (!root) return NULL;
  ts_index *x = ts_new(a, ts_index);
  x->dir = ts_arena_strdup(a, dir);
  x->file = ts_arena_strdup(a, file);
  x->sha256 = ts_sha256_of(text, n);
  reader s = {.a = a, .j = {.file = x->file}, .d = d};
  bool ok = records(&s, root, x);
  json_decref(root);
  return ok ? x : NULL;
}

static bool shards_there(ts_arena *a, const ts_index *x, ts_diag *d) {
  for (int i = 0; i < x->nshards; i++) {
    struct stat st;
    const char *path = ts_path_join(a, x->dir, x->shards[i].name);
    if (stat(path, &st) != 0) return ts_env_fail(d, "file-open", "%s: %s", path, strerror(errno));
    if (st.st_size != x->shards[i].bytes)
      return ts_refuse(d, "shard-size", "%s: %lld bytes, %s says %lld", path, (long long)st.st_size, x->file,
                       (long long)x->shards[i].bytes);
  }
  return true;
}

const ts_index *ts_index_open(ts_arena *a, const char *dir, ts_diag *d) {
  const char *path = ts_path_join(a, dir, "ndarray-cache.json");
  if (!ts_file_exists(path)) path = ts_path_join(a, dir, "tensor-cache.json");
  if (!ts_file_exists(path)) {
    (void)ts_refuse(d, "no-parameters", "%s: no ndarray-cache.json or tensor-cache.json", dir);
    return NULL;
  }
  char *text;
  size_t n;
  if (!ts_file_read(path, a, &text, &n, d)) return NULL;
  const ts_index *x = ts_index_parse(a, dir, path, text, n, d);
  return x && shards_there(a, x, d) ? x : NULL;
}

const ts_index_tensor *ts_index_find(const ts_index *x, const char *name) {
  int lo = 0, hi = x->ntensors;
  while (lo < hi) {
    int mid = lo + (hi - lo) / 2, c = strcmp(x->tensors[x->sorted[mid]].name, name);
    if (c == 0) return &x->tensors[x->sorted[mid]];
    if (c < 0)
      lo = mid + 1;
    else
      hi = mid;
  }
  return NULL;
}

// n bytes at an offset, whole or a failure.
bool ts__read_at(int fd, const char *path, void *dst, int64_t n, int64_t offset, ts_diag *d) {
  for (int64_t done = 0; done < n;) {
    ssize_t got = ts_fault("read-weights") ? 0 : pread(fd, (char *)dst + done, (size_t)(n - done), offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ts_env_fail(d, "file-read", "%s: %s", path, strerror(errno));
    if (got == 0) return ts_refuse(d, "file-short", "%s: ends before byte %lld", path, (long long)(offset + n));
    done += got;
  }
  return true;
}

static float load(ts_dtype t, const void *src, int64_t i) {
  uint16_t h;
  float f;
  if (t == TS_DT_F32) {
    memcpy(&f, (const char *)src + i * 4, 4);
    return f;
  }
  memcpy(&h, (const char *)src + i * 2, 2);
  return t == TS_DT_F16 ? ts_f32_from_f16(h) : ts_f32_from_bf16(h);
}

static void convert(ts_dtype from, const void *src, ts_dtype to, void *dst, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    float f = load(from, src, i);
    if (to == TS_DT_F32)
      ((float *)dst)[i] = f;
    else
      ((uint16_t *)dst)[i] = to == TS_DT_F16 ? ts_f16_from_f32(f) : ts_bf16_from_f32(f);
  }
}

// Read and convert in pieces, so that the extra memory stays small.
static bool read_converted(int fd, const char *path, const ts_index_tensor *t, ts_dtype from, ts_dtype as, void *dst, ts_diag *d) {
  enum { PIECE = 16384 };
  int64_t n = ts_tensor_count(&t->t), width = ts_dtype_bytes(from);
  uint8_t *piece = malloc((size_t)PIECE * 4);
  if (!piece) return ts_env_fail(d, "out-of-memory", "%s: no memory to convert %s", path, t->name);
  bool ok = true;
  for (int64_t i = 0; ok && i < n; i += PIECE) {
    int64_t k = TS_MIN(PIECE, n - i);
    ok = ts__read_at(fd, path, piece, k * width, t->offset + i * width, d);
    if (ok) convert(from, piece, as, (char *)dst + i * ts_dtype_bytes(as), k);
  }
  free(piece);
  return ok;
}

bool ts_index_read(const ts_index *x, const ts_index_tensor *t, ts_dtype as, void *dst, ts_diag *d) {
  char path[4096];
  if (snprintf(path, sizeof path, "%s/%s", x->dir, x->shards[t->shard].name) >= (int)sizeof path)
    return ts_refuse(d, "path-too-long", "%s: path is too long", x->dir);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ts_env_fail(d, "file-open", "%s: %s", path, strerror(errno));
  ts_dtype from = t->bf16 ? TS_DT_BF16 : t->t.dtype;
  bool ok = from == as ? ts__read_at(fd, path, dst, t->bytes, t->offset, d) : read_converted(fd, path, t, from, as, dst, d);
  close(fd);
  return ok;
}
