// Tensor intrinsics from text files.
#include <sys/stat.h>
#include <threads.h>

#include "op/intrin.h"

// --- header ------------------------------------------------------------------------------------------------------------
static bool scope_parse(ts_lex *l, ts_intrin *x, ts_diag *d) {
  static const struct {
    const char *name;
    int threads;
  } scopes[] = {{"thread", 1}, {"warp", 32}, {"warpgroup", 128}};
  for (size_t i = 0; i < TS_COUNTOF(scopes); i++) {
    if (!ts_lex_accept(l, scopes[i].name)) continue;
    x->threads = scopes[i].threads;
    return true;
  }
  return ts_lex_error(l, d, "a scope is thread, warp or warpgroup");
}

// intrin NAME { doc "..." requires "feature" ... scope warp }
static bool header_parse(ts_lex *l, ts_arena *a, ts_intrin *x, ts_diag *d) {
  TS_VEC(const char *) req = {0};
  TS_TRY(ts_lex_expect(l, d, "intrin"));
  TS_TRY((x->name = ts_lex_ident(l, a, d)) != NULL);
  TS_TRY(ts_lex_expect(l, d, "{"));
  while (!ts_lex_accept(l, "}")) {
    if (ts_lex_accept(l, "doc")) {
      TS_TRY((x->doc = ts_lex_string(l, a, d)) != NULL);
    } else if (ts_lex_accept(l, "requires")) {
      const char *feature = ts_lex_string(l, a, d);
      if (!feature) return false;
      ts_vec_push(a, &req, feature);
    } else if (ts_lex_accept(l, "scope")) {
      TS_TRY(scope_parse(l, x, d));
    } else if (ts_lex_accept(l, "trailing")) {
      x->trailing = true;
    } else {
      return ts_lex_error(l, d, "expected doc, requires, scope, trailing or '}'");
    }
  }
  x->requires = req.p;
  x->nrequires = (int)req.n;
  return true;
}

// --- rules ----------------------------------------------------------------------------------------------------------------
static bool wrong(const ts_intrin *x, ts_diag *d, const char *fact) {
  return ts_refuse(d, "bad-intrinsic", "%s: intrinsic %s: %s", x->file, x->name, fact);
}

static bool shape_same(const ts_buffer *p, const ts_buffer *q) {
  if (p->ndim != q->ndim || p->code != q->code || strcmp(p->name, q->name) != 0) return false;
  for (int d = 0; d < p->ndim; d++) {
    int64_t x, y;
    if (!ts_is_int(p->shape[d], &x) || !ts_is_int(q->shape[d], &y) || x != y) return false;
  }
  return true;
}

static bool pair_check(const ts_intrin *x, ts_diag *d) {
  if (strcmp(x->desc->name, "desc") != 0 || strcmp(x->impl->name, "impl") != 0)
    return wrong(x, d, "the functions must be desc and impl, in this order");
  if (x->desc->ndims || x->impl->ndims) return wrong(x, d, "shapes must be constant");
  if (x->desc->nparams != x->impl->nparams) return wrong(x, d, "desc and impl differ in the number of parameters");
  for (int i = 0; i < x->desc->nparams; i++)
    if (!shape_same(x->desc->params[i].buf, x->impl->params[i].buf))
      return wrong(x, d, "desc and impl differ in a parameter's name, type or shape");
  return true;
}

// --- loading --------------------------------------------------------------------------------------------------------------------
const ts_intrin *ts_intrin_parse(ts_ir *ir, const char *file, const char *text, size_t n, ts_diag *d) {
  ts_arena *a = ts_ir_arena(ir);
  ts_intrin *x = ts_new(a, ts_intrin);
  x->file = ts_arena_strdup(a, file);
  x->doc = "";
  x->threads = 1;
  ts_lex l;
  ts_lex_init(&l, x->file, text, n);
  if (!header_parse(&l, a, x, d)) return NULL;
  if (!(x->desc = ts_func_parse_at(ir, &l, NULL, 0, NULL, d))) return NULL;
  if (!(x->impl = ts_func_parse_at(ir, &l, NULL, 0, NULL, d))) return NULL;
  if (l.tok != TS_TOK_EOF) {
    ts_lex_error(&l, d, "expected the end of the file");
    return NULL;
  }
  bool ok = pair_check(x, d) && ts_func_verify(x->desc, d) && ts_func_verify(x->impl, d);
  return ok ? x : NULL;
}

static bool name_plain(const char *s) {
  for (const char *p = s; *p; p++)
    if (!(*p == '_' || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9'))) return false;
  return s[0] != 0;
}

// --- files read before ----------------------------------------------------------------------------------------------------------
// A file is read once by each thread, as long as it stays what it was. Who asks gets a copy.
typedef struct known {
  struct known *next;
  ts_arena *arena;
  struct timespec changed;
  off_t bytes;
  const ts_intrin *x;  // its file is the key
} known;
static _Thread_local known *mine;
static once_flag key_once = ONCE_FLAG_INIT;
static tss_t key;
static bool key_made;

static void known_free(void *p) {
  for (known *k = p, *next; k; k = next) {
    next = k->next;
    ts_arena_free(k->arena);
  }
  mine = NULL;
}
static void key_make(void) { key_made = tss_create(&key, known_free) == thrd_success; }

static void known_add(known *k) {
  call_once(&key_once, key_make);
  if (!key_made || tss_set(key, k) != thrd_success) {
    ts_arena_free(k->arena);
    return;
  }
  k->next = mine;
  mine = k;
}

static known *known_find(const char *path, const struct stat *st) {
  known *k = mine;
  while (k && (strcmp(k->x->file, path) != 0 || k->bytes != st->st_size || k->changed.tv_sec != st->st_mtim.tv_sec ||
               k->changed.tv_nsec != st->st_mtim.tv_nsec))
    k = k->next;
  return k;
}

static const ts_intrin *copy_into(ts_ir *ir, const ts_intrin *x) {
  ts_arena *a = ts_ir_arena(ir);
  ts_intrin *n = ts_arena_dup(a, x, sizeof *x);
  const char **req = ts_new_array(a, const char *, x->nrequires + 1);
  for (int i = 0; i < x->nrequires; i++) req[i] = ts_arena_strdup(a, x->requires[i]);
  n->requires = req;
  n->name = ts_arena_strdup(a, x->name);
  n->doc = ts_arena_strdup(a, x->doc);
  n->file = ts_arena_strdup(a, x->file);
  n->desc = ts_func_clone(ir, x->desc);
  n->impl = ts_func_clone(ir, x->impl);
  return n;
}

// A well-formed intrinsic is worth keeping.
static void remember(const ts_intrin *x, const struct stat *st) {
  ts_arena *a = ts_arena_new("intrinsic");
  known *k = ts_new(a, known);
  *k = (known){.arena = a, .changed = st->st_mtim, .bytes = st->st_size, .x = copy_into(ts_ir_new(a), x)};
  known_add(k);
}

const ts_intrin *ts_intrin_load(ts_ir *ir, const char *name, ts_diag *d) {
  ts_arena *a = ts_ir_arena(ir);
  struct stat st;
  const char *path = ts_arena_printf(a, "%s/kernels/intrin/%s.tir", ts_data_dir(), name);
  if (!name_plain(name) || stat(path, &st) != 0) {
    ts_refuse(d, "no-such-intrinsic", "there is no tensor intrinsic \"%s\" in kernels/intrin", name);
    ts_hint(d, "the files in it are named after them: vpdpbusd_16x4.tir; docs/intrinsics.md");
    return NULL;
  }
  const known *k = known_find(path, &st);
  if (k) return copy_into(ir, k->x);
  char *text;
  size_t n;
  if (!ts_file_read(path, a, &text, &n, d)) return NULL;
  const ts_intrin *x = ts_intrin_parse(ir, path, text, n, d);
  if (x && strcmp(x->name, name) != 0) {
    ts_refuse(d, "bad-intrinsic", "%s: the intrinsic is called %s", path, x->name);
    return NULL;
  }
  if (x) remember(x, &st);
  return x;
}

const ts_intrin *ts_intrin_peek(const char *name) {
  struct stat st;
  char path[1024];
  int n = snprintf(path, sizeof path, "%s/kernels/intrin/%s.tir", ts_data_dir(), name);
  if (!name_plain(name) || n >= (int)sizeof path || stat(path, &st) != 0) return NULL;
  const known *k = known_find(path, &st);
  if (k) return k->x;
  ts_arena *a = ts_arena_new("intrinsic");
  k = ts_intrin_load(ts_ir_new(a), name, NULL) ? known_find(path, &st) : NULL;
  ts_arena_free(a);
  return k ? k->x : NULL;
}

bool ts_intrin_list(ts_arena *a, char ***names, size_t *n, ts_diag *d) {
  const char *dir = ts_arena_printf(a, "%s/kernels/intrin", ts_data_dir());
  if (!ts_dir_list(dir, ".tir", a, names, n, d)) return false;
  for (size_t i = 0; i < *n; i++) (*names)[i][strlen((*names)[i]) - 4] = 0;
  return true;
}

bool ts_intrin_fits(const ts_intrin *x, const ts_target *t, const char **missing) {
  for (int i = 0; i < x->nrequires; i++) {
    if (ts_target_has(t, x->requires[i])) continue;
    if (missing) *missing = x->requires[i];
    return false;
  }
  return true;
}
