// The unit of a point: launches with everything known folded in, and one self-contained source text.
#include <ctype.h>
#include <stdlib.h>

#include "op/native_impl.h"

enum { MOST_INCLUDES = 32, MOST_SOURCE = 4 << 20, MOST_ARGS = 64 };

typedef struct maker {
  ts_arena *a;
  const ts_native_fit *f;
  const ts_native *t;
  ts__native_env env;
  ts_diag *d;
} maker;

static bool wrong(const maker *m, ts_native_text x, const char *fmt, ...) TS_PRINTF(3, 4);
static bool wrong(const maker *m, ts_native_text x, const char *fmt, ...) {
  char what[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  return ts_refuse(m->d, "template-syntax", "%s:%d: %s", x.file, x.line, what);
}

// --- source ----------------------------------------------------------------------------------------------------------------
static const char *c_type(ts_code c) {
  switch (c) {
    case TS_F16: return "__half";
    case TS_BF16: return "__nv_bfloat16";
    case TS_F32: return "float";
    case TS_F64: return "double";
    case TS_I8: return "signed char";
    case TS_U8: return "unsigned char";
    case TS_I16: return "short";
    case TS_U16: return "unsigned short";
    case TS_I32: return "int";
    case TS_U32: return "unsigned int";
    case TS_I64: return "long long";
    case TS_U64: return "unsigned long long";
    default: return "bool";
  }
}

static void upper(ts_text *out, const char *s) {
  for (; *s; s++) {
    char c = (char)toupper((unsigned char)*s);
    ts_text_addn(out, &c, 1);
  }
}

static void add_bind(ts_text *out, const char *name, const ts_bind *b) {
  switch (b->kind) {
    case TS_BIND_INT: ts_text_addf(out, "#define TS_%s %lld\n", name, (long long)b->i); break;
    case TS_BIND_FLOAT:
      ts_text_addf(out, "#define TS_%s ", name);
      ts_text_add_double(out, b->f);
      ts_text_add(out, "f\n");
      break;
    case TS_BIND_TYPE:
      ts_text_addf(out, "#define TS_%s %s\n#define TS_%s_", name, c_type(b->code), name);
      upper(out, ts_code_name(b->code));
      ts_text_add(out, " 1\n");
      break;
    case TS_BIND_DIM: break;  // the function's dimensions say it
  }
}

static void add_binds(const maker *m, const ts_op *op, ts_text *out) {
  const ts_spec *s = m->f->spec;
  for (int i = 0; i < op->nparams; i++) {
    const ts_bind *b = ts_spec_find(op, s, op->params[i].name);
    if (b) add_bind(out, op->params[i].name, b);
  }
  for (int i = 0; i < s->nbind; i++) {
    const ts_bind *b = &s->bind[i];
    if (b->kind != TS_BIND_INT || !ts__native_is_dim(op, b->name)) continue;
    add_bind(out, b->name, b);
    ts_text_addf(out, "#define TS_%s_HI %lld\n", b->name, (long long)b->i);
  }
}

// What the source may rely on: integer types, and a macro for everything that is known.
static void add_macros(const maker *m, const ts_op *op, ts_text *out) {
  const ts_native_fit *f = m->f;
  ts_text_add(out, "typedef signed char int8_t;\ntypedef short int16_t;\ntypedef int int32_t;\ntypedef long long int64_t;\n"
                   "typedef unsigned char uint8_t;\ntypedef unsigned short uint16_t;\ntypedef unsigned int uint32_t;\ntypedef unsigned long long uint64_t;\n"
                   "struct __half;\nstruct __nv_bfloat16;\n");
  for (int i = f->nfacts; i < m->env.n; i++) ts_text_addf(out, "#define %s %lld\n", f->name[i], (long long)m->env.value[i]);
  add_binds(m, op, out);
  for (int i = 0; i < f->func->ndims; i++) {
    const ts_dim *x = &f->func->dims[i];
    ts_text_addf(out, "#define TS_DIM_%s %d\n#define TS_%s_LO %lld\n#define TS_%s_HI %lld\n#define TS_%s_MULTIPLE %lld\n", x->var->name, i, x->var->name,
                 (long long)x->lo, x->var->name, (long long)x->hi, x->var->name, (long long)x->multiple);
  }
  ts_text_addf(out, "#define TS_OP_%s 1\n", f->spec->op);
  if (*f->spec->quant) ts_text_addf(out, "#define TS_QUANT_%s 1\n", f->spec->quant);
  ts_text_addf(out, "#define TS_SMS %d\n", f->target->gpu.sms);
}

typedef struct includes {
  int n;
  const char *name[MOST_INCLUDES];
} includes;

// `#include "name.cuh"` of a line: the name, or NULL.
static const char *included(ts_arena *a, const char *line, size_t n) {
  const char *p = line, *end = line + n;
  while (p < end && (*p == ' ' || *p == '\t')) p++;
  if (p == end || *p++ != '#') return NULL;
  while (p < end && (*p == ' ' || *p == '\t')) p++;
  if (end - p < 8 || memcmp(p, "include", 7) != 0) return NULL;
  p += 7;
  while (p < end && (*p == ' ' || *p == '\t')) p++;
  if (p == end || *p != '"') return NULL;
  const char *close = memchr(p + 1, '"', (size_t)(end - p - 1));
  return close ? ts_arena_strndup(a, p + 1, (size_t)(close - p - 1)) : NULL;
}

static bool add_source(maker *m, includes *seen, const char *file, const char *label, const char *text, ts_text *out);

// The file in the place of its #include; the second time nothing.
static bool add_include(maker *m, includes *seen, const char *name, const char *file, int line, ts_text *out) {
  for (int i = 0; i < seen->n; i++)
    if (strcmp(seen->name[i], name) == 0) return true;
  size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  if (!n || strcmp(name + n, ".cuh") != 0) return ts_refuse(m->d, "template-include", "%s:%d: only \"name.cuh\" of kernels/templates/include can be included", file, line);
  const char *path = ts_path_join(m->a, ts_data_dir(), ts_arena_printf(m->a, "kernels/templates/include/%s", name));
  char *text;
  size_t bytes;
  if (!ts_file_exists(path)) return ts_refuse(m->d, "template-include", "%s:%d: there is no kernels/templates/include/%s", file, line, name);
  TS_TRY(ts_file_read(path, m->a, &text, &bytes, m->d));
  if (seen->n == MOST_INCLUDES || out->n + bytes > MOST_SOURCE) return ts_refuse(m->d, "template-include", "%s:%d: too much is included", file, line);
  seen->name[seen->n++] = name;
  return add_source(m, seen, path, ts_arena_printf(m->a, "include/%s", name), text, out);
}

static bool add_source(maker *m, includes *seen, const char *file, const char *label, const char *text, ts_text *out) {
  int line = 1;
  ts_text_addf(out, "#line 1 \"%s\"\n", label);
  for (const char *p = text; *p; line++) {
    size_t n = strcspn(p, "\n");
    const char *name = included(m->a, p, n);
    if (name) {
      TS_TRY(add_include(m, seen, name, file, line, out));
      ts_text_addf(out, "#line %d \"%s\"\n", line + 1, label);
    } else {
      ts_text_addn(out, p, n);
      ts_text_add(out, "\n");
    }
    p += n + (p[n] == '\n');
  }
  return true;
}

// --- launches ---------------------------------------------------------------------------------------------------------------
static bool fold3(maker *m, const char *what, const ts_native_text x[3], const char *out[3]) {
  for (int i = 0; i < 3; i++) {
    out[i] = "1";
    if (x[i].p) TS_TRY(ts__native_fold(m->a, &m->env, what, x[i], &out[i], m->d));
  }
  return true;
}

static bool int3(maker *m, const char *what, const ts_native_text x[3], int64_t most, int out[3]) {
  for (int i = 0; i < 3; i++) {
    int64_t v = 1;
    if (x[i].p) TS_TRY(ts__native_int(&m->env, what, x[i], &v, m->d));
    if (v < 1 || v > most) return wrong(m, x[i], "%s: %lld is not in 1..%lld", what, (long long)v, (long long)most);
    out[i] = (int)v;
  }
  return true;
}

// The next word of *p, NULL at the end.
static char *word(ts_arena *a, const char **p) {
  *p += strspn(*p, " \t");
  size_t n = strcspn(*p, " \t");
  char *w = n ? ts_arena_strndup(a, *p, n) : NULL;
  *p += n;
  return w;
}

static bool number_after(const char *w, char letter, int *out) {
  int end = 0;
  return w && w[0] == letter && w[1] >= '0' && w[1] <= '9' && sscanf(w + 1, "%4d%n", out, &end) == 1 && !w[1 + end];
}

static bool read_args(maker *m, const ts_native_launch *x, ts_gpu_launch *out) {
  ts_gpu_arg *v = ts_new_array(m->a, ts_gpu_arg, MOST_ARGS);
  const char *p = x->args.p;
  for (char *w; (w = word(m->a, &p));) {
    int i = 0;
    if (out->nargs == MOST_ARGS) return wrong(m, x->args, "more than %d args", MOST_ARGS);
    if (strcmp(w, "w") == 0) v[out->nargs] = (ts_gpu_arg){.kind = TS_GPU_WORKSPACE};
    else if (strcmp(w, "d") == 0) v[out->nargs] = (ts_gpu_arg){.kind = TS_GPU_DIMS};
    else if (number_after(w, 'b', &i)) v[out->nargs] = (ts_gpu_arg){.kind = TS_GPU_BUFFER, .index = i};
    else if (number_after(w, 't', &i)) v[out->nargs] = (ts_gpu_arg){.kind = TS_GPU_TMAP, .index = i};
    else return wrong(m, x->args, "args: '%s' is none of bN, w, d, tN", w);
    if (v[out->nargs].kind == TS_GPU_BUFFER && i >= m->f->func->nparams) return wrong(m, x->args, "args: b%d, but the function has %d buffers", i, m->f->func->nparams);
    if (v[out->nargs].kind == TS_GPU_TMAP && i >= x->ntmaps) return wrong(m, x->args, "args: t%d, but there are %d tensor maps", i, x->ntmaps);
    out->nargs++;
  }
  out->args = v;
  return true;
}

// Expressions separated by `;` up to a keyword or the end.
static bool expr_list(maker *m, ts_native_text x, const char **p, const char *stop, const char **out, int *n) {
  size_t len = strlen(*p);
  if (stop) {
    const char *at = strstr(*p, stop);
    if (!at) return wrong(m, x, "tmap lacks '%s'", stop);
    len = (size_t)(at - *p);
  }
  char *list = ts_arena_strndup(m->a, *p, len);
  *p += len + (stop ? strlen(stop) : 0);
  *n = 0;
  if (!list[strspn(list, " \t")]) return true;
  for (char *e = list; e;) {
    char *next = strchr(e, ';');
    if (next) *next++ = 0;
    if (*n == TS_GPU_TMAP_DIMS) return wrong(m, x, "tmap: more than %d dimensions", TS_GPU_TMAP_DIMS);
    while (*e == ' ' || *e == '\t') e++;
    for (size_t k = strlen(e); k && (e[k - 1] == ' ' || e[k - 1] == '\t'); k--) e[k - 1] = 0;
    if (!*e) return wrong(m, x, "tmap has an empty expression");
    TS_TRY(ts__native_fold(m->a, &m->env, "tmap", (ts_native_text){.p = e, .file = x.file, .line = x.line}, &out[(*n)++], m->d));
    e = next;
  }
  return true;
}

// tmap K bN TYPE [swizzle S] dims E ; E strides E box E ; E
static bool read_tmap(maker *m, ts_native_text x, int index, ts_gpu_tmap *out) {
  static const char *const types[] = {"f16", "bf16", "f32", "u8", "i32"};
  const char *p = x.p;
  char want[16], *w = word(m->a, &p);
  snprintf(want, sizeof want, "%d", index);
  if (!w || strcmp(w, want) != 0) return wrong(m, x, "tmap: its number is %d", index);
  if (!number_after(word(m->a, &p), 'b', &out->buffer) || out->buffer >= m->f->func->nparams) return wrong(m, x, "tmap: the number is followed by a buffer, b0 .. b%d", m->f->func->nparams - 1);
  w = word(m->a, &p);
  bool known = false;
  for (size_t i = 0; w && i < TS_COUNTOF(types); i++) known |= strcmp(w, types[i]) == 0;
  if (!known) return wrong(m, x, "tmap: the element type is one of f16 bf16 f32 u8 i32");
  snprintf(out->type, sizeof out->type, "%s", w);
  w = word(m->a, &p);
  if (w && strcmp(w, "swizzle") == 0) {
    int64_t v;
    w = word(m->a, &p);
    TS_TRY(ts__native_int(&m->env, "swizzle", (ts_native_text){.p = w ? w : "", .file = x.file, .line = x.line}, &v, m->d));
    if (v != 0 && v != 32 && v != 64 && v != 128) return wrong(m, x, "tmap: swizzle is 0, 32, 64 or 128");
    out->swizzle = (int)v;
    w = word(m->a, &p);
  }
  if (!w || strcmp(w, "dims") != 0) return wrong(m, x, "tmap lacks 'dims'");
  int nstrides, nbox;
  TS_TRY(expr_list(m, x, &p, " strides", out->dim, &out->ndim) && expr_list(m, x, &p, " box", out->stride, &nstrides) && expr_list(m, x, &p, NULL, out->box, &nbox));
  if (out->ndim < 1 || nstrides != out->ndim - 1 || nbox != out->ndim) return wrong(m, x, "tmap: %d dimensions want %d strides and %d boxes", out->ndim, out->ndim - 1, out->ndim);
  return true;
}

static bool make_launch(maker *m, const ts_native_launch *x, ts_gpu_launch *out) {
  int64_t threads = m->f->target->gpu.max_threads, dependent = 0;
  *out = (ts_gpu_launch){.entry = x->entry, .shared = "0", .ntmaps = x->ntmaps};
  TS_TRY(fold3(m, "grid", x->grid, out->grid) && int3(m, "block", x->block, TS_MAX(threads, 1), out->block) && int3(m, "cluster", x->cluster, 16, out->cluster));
  if ((int64_t)out->block[0] * out->block[1] * out->block[2] > threads) return wrong(m, x->block[0], "block: %d x %d x %d threads, the target has %lld", out->block[0], out->block[1], out->block[2], (long long)threads);
  if (x->shared.p) TS_TRY(ts__native_fold(m->a, &m->env, "shared", x->shared, &out->shared, m->d));
  int64_t bytes;
  if (ts_gpu_eval(out->shared, NULL, NULL, 0, &bytes, NULL) && (bytes < 0 || bytes > m->f->target->gpu.block_shared))
    return ts_refuse(m->d, "too-much-shared", "%s:%d: %lld bytes of shared memory, a block may have %lld", x->shared.file, x->shared.line, (long long)bytes, (long long)m->f->target->gpu.block_shared);
  if (x->dependent.p) TS_TRY(ts__native_int(&m->env, "dependent", x->dependent, &dependent, m->d));
  if (dependent < 0 || dependent > 2) return wrong(m, x->dependent, "dependent: 0, 1 or 2, not %lld", (long long)dependent);
  out->dependent = (int)dependent;
  ts_gpu_tmap *maps = ts_new_array(m->a, ts_gpu_tmap, x->ntmaps + 1);
  for (int i = 0; i < x->ntmaps; i++) TS_TRY(read_tmap(m, x->tmap[i], i, &maps[i]));
  out->tmaps = maps;
  return read_args(m, x, out);
}

static bool make_code(maker *m, ts_gpu_code *c) {
  const ts_func *f = m->f->func;
  const char **dims = ts_new_array(m->a, const char *, f->ndims + 1);
  for (int i = 0; i < f->ndims; i++) dims[i] = f->dims[i].var->name;
  *c = (ts_gpu_code){.arch = m->f->target->arch, .nparams = f->nparams, .ndims = f->ndims, .dims = dims, .registers = -1, .spills = -1,
                     .workspace = "0", .zeroed = "0", .nlaunches = m->t->nlaunches, .kind = TS_GPU_SOURCE};
  if (m->t->workspace.p) TS_TRY(ts__native_fold(m->a, &m->env, "workspace", m->t->workspace, &c->workspace, m->d));
  if (m->t->zeroed.p) TS_TRY(ts__native_fold(m->a, &m->env, "zeroed", m->t->zeroed, &c->zeroed, m->d));
  ts_gpu_launch *v = ts_new_array(m->a, ts_gpu_launch, m->t->nlaunches);
  for (int i = 0; i < m->t->nlaunches; i++) TS_TRY(make_launch(m, &m->t->launches[i], &v[i]));
  c->launches = v;
  return true;
}

bool ts_native_launches(ts_arena *a, const ts_native_fit *f, const int64_t *point, ts_gpu_code *out, ts_diag *d) {
  ts_diag own = {0};
  maker m = {.a = a, .f = f, .t = f->native, .d = d ? d : &own};
  return ts__native_env_at(a, f, point, &m.env, m.d) && make_code(&m, out);
}

bool ts_native_unit(ts_arena *a, const ts_native_fit *f, const int64_t *point, ts_text *out, ts_diag *d) {
  ts_diag own = {0};
  maker m = {.a = a, .f = f, .t = f->native, .d = d ? d : &own};
  includes seen = {0};
  ts_gpu_code c;
  ts_text source = {0};
  const ts_op *op = ts_op_find(a, f->spec->op, m.d);
  if (!op || !ts__native_env_at(a, f, point, &m.env, m.d) || !make_code(&m, &c)) return false;
  add_macros(&m, op, &source);
  bool ok = add_source(&m, &seen, f->native->file, f->native->label, f->native->text, &source);
  if (ok) {
    c.image = source.p;
    c.image_n = source.n;
    ts_gpu_code_write(out, &c);
  }
  ts_text_free(&source);
  return ok;
}
