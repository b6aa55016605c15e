// The identity of an object: what it was made from.
#include "codegen/codegen_impl.h"
#include "op/intrin.h"

typedef struct digest {
  ts_sha256_ctx sha;
  ts_ir *ir;
  ts_diag *d;
  bool ok;
} digest;

static void add_text(ts_sha256_ctx *c, const ts_text *t) {
  uint64_t n = t->n;
  ts_sha256_add(c, &n, sizeof n);
  ts_sha256_add(c, ts_text_str(t), t->n);
}

static void add_func(ts_sha256_ctx *c, const ts_func *f) {
  ts_text t = {0};
  ts_func_print(&t, f);
  add_text(c, &t);
  ts_text_free(&t);
}

// An intrinsic's implementation is not in the function's text.
static bool see_block(void *arg, const ts_stmt *s) {
  digest *x = arg;
  if (s->kind != TS_S_BLOCK || !s->block->intrin || !x->ok) return x->ok;
  const ts_intrin *in = ts_intrin_load(x->ir, s->block->intrin, x->d);
  x->ok = in != NULL;
  if (in) add_func(&x->sha, in->impl);
  return x->ok;
}

void ts__object_name(ts_object *o, const char *name) {
  char clean[64];
  size_t n = 0;
  for (const char *p = name; *p && n < sizeof clean - 1; p++) {
    bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
    clean[n++] = plain ? *p : '_';
  }
  clean[n] = 0;
  snprintf(o->symbol, sizeof o->symbol, "k_%s_%02x%02x%02x%02x%02x%02x", clean, o->id.b[0], o->id.b[1], o->id.b[2],
           o->id.b[3], o->id.b[4], o->id.b[5]);
}

bool ts_object_id(const ts_func *f, const ts_target *t, ts_object *out, ts_diag *d) {
  *out = (ts_object){0};
  ts_arena *a = ts_arena_new("object id");
  digest x = {.ir = ts_ir_new(a), .d = d, .ok = true};
  ts_sha256_init(&x.sha);
  uint64_t version = (uint64_t)TS_CODEGEN_VERSION << 32 | TS_KERNEL_ABI;
  ts_sha256_add(&x.sha, &version, sizeof version);
  ts_text target = {0};
  ts_target_print(&target, t);
  add_text(&x.sha, &target);
  ts_text_free(&target);
  add_func(&x.sha, f);
  ts_stmt_visit(f->body, see_block, NULL, &x);
  ts_arena_free(a);
  out->id = ts_sha256_end(&x.sha);
  ts__object_name(out, f->name);
  return x.ok;
}
