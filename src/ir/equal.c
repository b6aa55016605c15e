// equal: identity of functions. Two functions are equal when their canonical texts are: variables and buffers numbered
// in the order of binding, everything else as printed. Hashes are taken of the same text, so they cannot disagree.
#include "ir/ir_impl.h"

bool ts_func_equal(const ts_func *a, const ts_func *b) {
  ts_text ta = {0}, tb = {0};
  if (a == b) return true;
  ts__func_print_canonical(&ta, a);
  ts__func_print_canonical(&tb, b);
  bool same = ta.n == tb.n && memcmp(ta.p, tb.p, ta.n) == 0;
  ts_text_free(&ta);
  ts_text_free(&tb);
  return same;
}

uint64_t ts_func_hash(const ts_func *f) {
  ts_text t = {0};
  ts__func_print_canonical(&t, f);
  uint64_t h = ts_hash64(t.p, t.n, 0);
  ts_text_free(&t);
  return h;
}

ts_sha256 ts_func_sha256(const ts_func *f) {
  ts_text t = {0};
  ts__func_print_canonical(&t, f);
  ts_sha256 h = ts_sha256_of(t.p, t.n);
  ts_text_free(&t);
  return h;
}
