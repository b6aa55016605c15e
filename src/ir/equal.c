// equal: identity of functions. Two functions are equal when their canonical texts are: variables and buffers numbered
// in the order of binding, everything else as printed. Hashes are taken of the same text, so they cannot disagree.
#include "ir/ir_impl.h"

static ts_text canonical(ts_arena *scratch, const ts_func *f) {
  ts_text t = {.arena = scratch};
  ts__func_print_canonical(&t, f);
  return t;
}

bool ts_func_equal(const ts_func *a, const ts_func *b) {
  if (a == b) return true;
  ts_arena *scratch = ts_arena_new("equal");
  ts_text ta = canonical(scratch, a), tb = canonical(scratch, b);
  bool same = ta.n == tb.n && memcmp(ta.p, tb.p, ta.n) == 0;
  ts_arena_free(scratch);
  return same;
}

uint64_t ts_func_hash(const ts_func *f) {
  ts_arena *scratch = ts_arena_new("hash");
  ts_text t = canonical(scratch, f);
  uint64_t h = ts_hash64(t.p, t.n, 0);
  ts_arena_free(scratch);
  return h;
}

ts_sha256 ts_func_sha256(const ts_func *f) {
  ts_arena *scratch = ts_arena_new("sha256");
  ts_text t = canonical(scratch, f);
  ts_sha256 h = ts_sha256_of(t.p, t.n);
  ts_arena_free(scratch);
  return h;
}
