// Weights in memory: where each part lies, and filling them from the parameter container.
#include "runtime/json.h"
#include "runtime/runtime_impl.h"

// Key under which equal unpacked parts are one: storage name and type in memory.
static json_t *shared_part(json_t *seen, const ts_plan_weight *w, int part) {
  char key[700];
  snprintf(key, sizeof key, "%s %s", w->storage[part].name, ts_dtype_name(w->parts[part].dtype));
  json_t *at = json_object_get(seen, key);
  if (at) return at;
  json_object_set_new(seen, key, json_integer(-1));
  return json_object_get(seen, key);
}

void ts__weights_place(ts_weights *w, int64_t align) {
  const ts_plan *p = w->plan;
  json_t *seen = json_object();
  int k = 0;
  for (int i = 0; i < p->nweights; i++) {
    const ts_plan_weight *pw = &p->weights[i];
    w->first[i] = k;
    for (int part = 0; part < pw->nparts; part++, k++) {
      json_t *at = pw->pack ? NULL : shared_part(seen, pw, part);
      w->parts[k] = (ts__part){w->bytes, ts_tensor_bytes(&pw->parts[part]), true};
      if (at && json_integer_value(at) >= 0) {
        w->parts[k].offset = json_integer_value(at);
        w->parts[k].owner = false;
        continue;
      }
      if (at) json_integer_set(at, w->bytes);
      w->bytes += (w->parts[k].bytes + align - 1) & -align;
    }
  }
  w->first[p->nweights] = k;
  json_decref(seen);
}

static const ts_index_tensor *find_storage(const ts_weights *w, const ts_index *x, int weight, int i, ts_diag *d) {
  const ts_plan_storage *s = &w->plan->weights[weight].storage[i];
  const ts_index_tensor *t = ts_index_find(x, s->name);
  if (!t) {
    (void)ts_refuse(d, "parameter-missing", "%s: no parameter %s, which the model library wants", x->file, s->name);
    return NULL;
  }
  if (t->t.dtype == s->t.dtype && t->t.ndim == s->t.ndim &&
      !memcmp(t->t.shape, s->t.shape, sizeof(s->t.shape[0]) * (size_t)s->t.ndim))
    return t;
  (void)ts_refuse(d, "parameter-shape", "%s: parameter %s is %s of %lld elements, the model library wants %s of %lld", x->file,
                  s->name, ts_dtype_name(t->t.dtype), (long long)ts_tensor_count(&t->t), ts_dtype_name(s->t.dtype),
                  (long long)ts_tensor_count(&s->t));
  return NULL;
}

bool ts__weights_read(const ts_weights *w, const ts_index *x, int weight, int i, ts_dtype as, void *dst, ts_diag *d) {
  const ts_index_tensor *t = find_storage(w, x, weight, i, d);
  if (!t || !ts_index_read(x, t, as, dst, d)) return false;
  return !ts_plan_limited(w->plan, t->name) || ts_plan_within(w->plan, t->name, ts_dtype_most(as, dst, ts_tensor_count(&t->t)), x->file, d);
}

static bool load_plain(ts_weights *w, const ts_index *x, int weight, ts_diag *d) {
  const ts_plan_weight *pw = &w->plan->weights[weight];
  for (int i = 0; i < pw->nparts; i++) {
    const ts__part *part = &w->parts[w->first[weight] + i];
    if (!part->owner) continue;
    TS_TRY(ts__weights_read(w, x, weight, i, pw->parts[i].dtype, w->pages.p + part->offset, d));
  }
  return true;
}

// Read the storage of a weight into scratch memory and run its pack kernel.
static bool load_packed(ts_weights *w, const ts_library *l, const ts_index *x, int weight, ts_pool *pool, ts_diag *d) {
  const ts_plan_weight *pw = &w->plan->weights[weight];
  ts__kernel pack = ts__library_pack(l, weight);
  void *buf[2 * 16 + 1];
  int64_t bytes = 0, workspace = pack.workspace(NULL);
  if (workspace < 0) return ts_bug(d, "workspace", "%s: kernel %s wants %lld bytes", ts_library_path(l), pw->pack, (long long)workspace);
  for (int i = 0; i < pw->nstorage; i++) bytes += (ts_tensor_bytes(&pw->storage[i].t) + 63) & ~INT64_C(63);
  ts_pages scratch;
  TS_TRY(ts_pages_map(&scratch, (size_t)(bytes + workspace), pw->name, d));
  bool ok = true;
  int64_t at = 0;
  for (int i = 0; ok && i < pw->nstorage; i++) {
    buf[i] = scratch.p + at;
    ok = ts__weights_read(w, x, weight, i, pw->storage[i].t.dtype, buf[i], d);
    at += (ts_tensor_bytes(&pw->storage[i].t) + 63) & ~INT64_C(63);
  }
  for (int i = 0; i < pw->nparts; i++) buf[pw->nstorage + i] = w->pages.p + w->parts[w->first[weight] + i].offset;
  buf[pw->nstorage + pw->nparts] = scratch.p + bytes;
  if (ok) pack.run(buf, NULL, ts_pool_rt(pool));
  ts_pages_unmap(&scratch);
  return ok;
}

static bool load_all(ts_weights *w, const ts_library *l, const ts_index *x, ts_pool *pool, ts_diag *d) {
  for (int i = 0; i < w->plan->nweights; i++)
    TS_TRY(w->plan->weights[i].pack ? load_packed(w, l, x, i, pool, d) : load_plain(w, x, i, d));
  return true;
}

ts_weights *ts_weights_load(const ts_library *l, const ts_index *x, const char *packed, ts_pool *pool, ts_diag *d) {
  ts_arena *a = ts_arena_new("weights");
  ts_weights *w = ts_new(a, ts_weights);
  int n = 0;
  w->arena = a;
  w->plan = ts_library_plan(l);
  for (int i = 0; i < w->plan->nweights; i++) n += w->plan->weights[i].nparts;
  w->first = ts_new_array(a, int, w->plan->nweights + 1);
  w->parts = ts_new_array(a, ts__part, n);
  if (w->plan->api == TS_API_CUDA) {
    ts__weights_place(w, 256);
    if (ts__weights_load_cuda(w, l, x, d)) return w;
    ts_weights_free(w);
    return NULL;
  }
  ts__weights_place(w, 64);
  bool ok = ts_pages_map(&w->pages, (size_t)w->bytes, "weights", d);
  int served = ok && packed ? ts__weights_read_file(w, x, packed, pool, d) : 0;
  w->from_file = served == 1;
  if (ok && served == 0) ok = load_all(w, l, x, pool, d);
  if (ok && served >= 0) return w;
  ts_weights_free(w);
  return NULL;
}

void ts_weights_free(ts_weights *w) {
  if (!w) return;
  ts_pages_unmap(&w->pages);
  ts__weights_free_cuda(w);
  ts_arena_free(w->arena);
}

const void *ts_weights_part(const ts_weights *w, int weight, int part) {
  return w->pages.p + w->parts[w->first[weight] + part].offset;
}

size_t ts_weights_bytes(const ts_weights *w) { return (size_t)w->bytes; }
bool ts_weights_from_file(const ts_weights *w) { return w->from_file; }
