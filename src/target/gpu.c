// Artifacts of GPU kernels: header text and image, in and out.
#include <stdlib.h>

#include "target/gpu.h"

enum { MOST_HEADER = 1 << 20, MOST_PARAMS = 256, MOST_DIMS = 16, MOST_LAUNCHES = 64, MOST_ARGS = 128, MOST_TMAPS = 32, MOST_NAME = 240 };

// --- out -------------------------------------------------------------------------------------------------------------
static const char *or_text(const char *s, const char *otherwise) { return s ? s : otherwise; }

static void write_list(ts_text *out, const char *const *e, int n) {
  for (int i = 0; i < n; i++) ts_text_addf(out, "%s%s", i ? " ; " : " ", e[i]);
}

static void write_arg(ts_text *out, const ts_gpu_arg *a) {
  switch (a->kind) {
    case TS_GPU_BUFFER: ts_text_addf(out, " b%d", a->index); break;
    case TS_GPU_WORKSPACE: ts_text_add(out, " w"); break;
    case TS_GPU_DIMS: ts_text_add(out, " d"); break;
    case TS_GPU_TMAP: ts_text_addf(out, " t%d", a->index); break;
  }
}

static void write_launch(ts_text *out, const ts_gpu_launch *l) {
  ts_text_addf(out, "launch %s\ngrid %s ; %s ; %s\n", l->entry, or_text(l->grid[0], "1"), or_text(l->grid[1], "1"), or_text(l->grid[2], "1"));
  ts_text_addf(out, "block %d %d %d\nshared %s\ncluster %d %d %d\ndependent %d\nargs", l->block[0], l->block[1], l->block[2], or_text(l->shared, "0"), l->cluster[0], l->cluster[1],
               l->cluster[2], l->dependent);
  for (int i = 0; i < l->nargs; i++) write_arg(out, &l->args[i]);
  ts_text_add(out, "\n");
  for (int i = 0; i < l->ntmaps; i++) {
    const ts_gpu_tmap *m = &l->tmaps[i];
    ts_text_addf(out, "tmap %d b%d %s swizzle %d dims", i, m->buffer, m->type, m->swizzle);
    write_list(out, m->dim, m->ndim);
    ts_text_add(out, " strides");
    write_list(out, m->stride, m->ndim - 1);
    ts_text_add(out, " box");
    write_list(out, m->box, m->ndim);
    ts_text_add(out, "\n");
  }
}

static const char *const image_names[] = {[TS_GPU_CUBIN] = "cubin", [TS_GPU_PTX] = "ptx", [TS_GPU_SOURCE] = "cuda", [TS_GPU_LIBRARY] = "library"};

void ts_gpu_code_write(ts_text *out, const ts_gpu_code *c) {
  ts_text_addf(out, "tunesmith-gpu %d\narch %s\nparams %d\ndims", TS_GPU_FORMAT, c->arch, c->nparams);
  for (int i = 0; i < c->ndims; i++) ts_text_addf(out, " %s", c->dims[i]);
  ts_text_addf(out, "\nregisters %d spills %d\n", c->registers, c->spills);
  if (c->warnings && *c->warnings) ts_text_addf(out, "warnings %s\n", c->warnings);
  ts_text_addf(out, "workspace %s\nzeroed %s\n", or_text(c->workspace, "0"), or_text(c->zeroed, "0"));
  for (int i = 0; i < c->nlaunches; i++) write_launch(out, &c->launches[i]);
  ts_text_addf(out, "image %s %zu\n", image_names[c->kind], c->image_n);
  ts_text_addn(out, c->image, c->image_n);
}

// --- in --------------------------------------------------------------------------------------------------------------
typedef struct reader {
  ts_arena *a;
  const char *p, *end;  // what is left
  char *line;           // the present line, a copy without its end
  int number;
  ts_gpu_code *c;
  ts_diag *d;
} reader;

static bool bad(const reader *r, const char *what) { return ts_refuse(r->d, "bad-artifact", "GPU artifact, line %d: %s", r->number, what); }

static bool next_line(reader *r) {
  r->number++;
  const char *e = r->p < r->end ? memchr(r->p, '\n', (size_t)(r->end - r->p)) : NULL;
  if (!e) return bad(r, "it ends in its header");
  if (memchr(r->p, 0, (size_t)(e - r->p))) return bad(r, "a zero byte in its header");
  r->line = ts_arena_strndup(r->a, r->p, (size_t)(e - r->p));
  r->p = e + 1;
  return true;
}

// The word at *p, which moves behind it; "" at the end of the line. Words are separated by single spaces.
static char *word(char **p) {
  char *w = *p, *e = w + strcspn(w, " ");
  *p = e + (*e == ' ');
  *e = 0;
  return w;
}

static bool number(const char *s, int64_t least, int64_t most, int64_t *out) {
  size_t digits = strspn(s + (*s == '-'), "0123456789");
  if (!digits || digits > 18 || s[(*s == '-') + digits]) return false;
  *out = strtoll(s, NULL, 10);
  return *out >= least && *out <= most;
}

static bool number_int(const char *s, int least, int most, int *out) {
  int64_t v = 0;
  bool ok = number(s, least, most, &v);
  *out = (int)v;
  return ok;
}

static bool is_name(const char *s) {
  size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$");
  return n && n <= MOST_NAME && !s[n] && !(*s >= '0' && *s <= '9');
}

// The next line, which begins with key; rest is what follows it.
static bool keyed(reader *r, const char *key, char **rest) {
  TS_TRY(next_line(r));
  size_t n = strlen(key);
  if (strncmp(r->line, key, n) != 0 || (r->line[n] && r->line[n] != ' ')) {
    char what[80];
    snprintf(what, sizeof what, "\"%s\" wanted", key);
    return bad(r, what);
  }
  *rest = r->line + n + (r->line[n] == ' ');
  return true;
}

static bool check_expr(const reader *r, const char *e) {
  ts_diag why = {0};
  if (strlen(e) <= 4000 && ts_gpu_expr_check(e, r->c->dims, r->c->ndims, &why)) return true;
  return ts_refuse(r->d, "bad-artifact", "GPU artifact, line %d: %.300s", r->number, why.message[0] ? why.message : "an expression is too long");
}

static bool read_expr(reader *r, const char *key, const char **out) {
  char *rest = NULL;
  TS_TRY(keyed(r, key, &rest));
  *out = rest;
  return check_expr(r, rest);
}

// Expressions separated by " ; " from *s on; at most `most`.
static bool read_list(reader *r, char *s, int most, const char **out, int *n) {
  for (*n = 0; s; (*n)++) {
    char *e = strstr(s, " ; ");
    if (*n == most) return bad(r, "too many expressions");
    if (e) *e = 0;
    out[*n] = s;
    TS_TRY(check_expr(r, s));
    s = e ? e + 3 : NULL;
  }
  return true;
}

static bool read_three(reader *r, const char *key, int most, int most_product, int out[3]) {
  char *rest;
  int product = 1;
  TS_TRY(keyed(r, key, &rest));
  for (int i = 0; i < 3; i++) {
    if (!number_int(word(&rest), 1, most, &out[i])) return bad(r, "three positive numbers within the limits wanted");
    product *= out[i];
  }
  return (!*rest && product <= most_product) || bad(r, "three positive numbers within the limits wanted");
}

static bool read_arg(reader *r, const char *w, ts_gpu_arg *a) {
  if (strcmp(w, "w") == 0 || strcmp(w, "d") == 0) {
    *a = (ts_gpu_arg){.kind = *w == 'w' ? TS_GPU_WORKSPACE : TS_GPU_DIMS};
    return true;
  }
  a->kind = *w == 't' ? TS_GPU_TMAP : TS_GPU_BUFFER;
  bool ok = (*w == 'b' || *w == 't') && number_int(w + 1, 0, *w == 'b' ? r->c->nparams - 1 : MOST_TMAPS - 1, &a->index);
  return ok || bad(r, "an argument is bN, w, d or tN");
}

static bool read_args(reader *r, ts_gpu_launch *l) {
  char *rest;
  ts_gpu_arg args[MOST_ARGS];
  TS_TRY(keyed(r, "args", &rest));
  while (*rest) {
    if (l->nargs == MOST_ARGS) return bad(r, "too many arguments");
    TS_TRY(read_arg(r, word(&rest), &args[l->nargs++]));
  }
  l->args = ts_arena_dup(r->a, args, sizeof args[0] * (size_t)l->nargs);
  return true;
}

static bool known_type(const char *s) {
  static const char *const types[] = {"f16", "bf16", "f32", "u8", "i32"};
  for (size_t i = 0; i < TS_COUNTOF(types); i++)
    if (strcmp(types[i], s) == 0) return true;
  return false;
}

// rest begins behind "tmap ".
static bool read_tmap(reader *r, char *rest, int index, ts_gpu_tmap *m) {
  int at, nbox, nstride = 0;
  if (!number_int(word(&rest), index, index, &at)) return bad(r, "tensor maps are numbered from 0");
  char *b = word(&rest), *type = word(&rest);
  if (*b != 'b' || !number_int(b + 1, 0, r->c->nparams - 1, &m->buffer) || !known_type(type)) return bad(r, "a tensor map is of a buffer and a type");
  snprintf(m->type, sizeof m->type, "%s", type);
  if (strcmp(word(&rest), "swizzle") != 0 || !number_int(word(&rest), 0, 128, &m->swizzle) || (m->swizzle & (m->swizzle - 1)) || (m->swizzle && m->swizzle < 32))
    return bad(r, "swizzle is 0, 32, 64 or 128");
  if (strcmp(word(&rest), "dims") != 0) return bad(r, "\"dims\" wanted");
  char *strides = strstr(rest, " strides"), *box = strides ? strstr(strides, " box ") : NULL;
  if (!box) return bad(r, "\"strides\" and \"box\" wanted");
  *strides = *box = 0;
  strides += 8;
  TS_TRY(read_list(r, rest, TS_GPU_TMAP_DIMS, m->dim, &m->ndim) && read_list(r, box + 5, TS_GPU_TMAP_DIMS, m->box, &nbox));
  if (*strides == ' ') TS_TRY(read_list(r, strides + 1, TS_GPU_TMAP_DIMS - 1, m->stride, &nstride));
  else if (*strides) return bad(r, "\"strides\" wanted");
  return (nbox == m->ndim && nstride == m->ndim - 1) || bad(r, "dims, strides and box do not fit each other");
}

static bool starts(const reader *r, const char *key) { return r->p < r->end && (size_t)(r->end - r->p) >= strlen(key) && memcmp(r->p, key, strlen(key)) == 0; }

static bool read_tmaps(reader *r, ts_gpu_launch *l) {
  ts_gpu_tmap maps[MOST_TMAPS];
  char *rest;
  while (starts(r, "tmap ")) {
    if (l->ntmaps == MOST_TMAPS) return bad(r, "too many tensor maps");
    TS_TRY(keyed(r, "tmap", &rest));
    maps[l->ntmaps] = (ts_gpu_tmap){0};
    TS_TRY(read_tmap(r, rest, l->ntmaps, &maps[l->ntmaps]));
    l->ntmaps++;
  }
  l->tmaps = ts_arena_dup(r->a, maps, sizeof maps[0] * (size_t)l->ntmaps);
  for (int i = 0; i < l->nargs; i++)
    if (l->args[i].kind == TS_GPU_TMAP && l->args[i].index >= l->ntmaps) return bad(r, "an argument names a tensor map that is not there");
  return true;
}

static bool read_launch(reader *r, ts_gpu_launch *l) {
  char *rest;
  int n;
  *l = (ts_gpu_launch){0};
  TS_TRY(keyed(r, "launch", &rest));
  l->entry = rest;
  if (!is_name(rest)) return bad(r, "the entry's name is none");
  TS_TRY(keyed(r, "grid", &rest) && read_list(r, rest, 3, l->grid, &n));
  if (n != 3) return bad(r, "three expressions wanted");
  TS_TRY(read_three(r, "block", 1024, 1024, l->block) && read_expr(r, "shared", &l->shared) && read_three(r, "cluster", 16, 16, l->cluster) && keyed(r, "dependent", &rest));
  if (!number_int(rest, 0, 2, &l->dependent)) return bad(r, "0, 1 or 2 wanted");
  return read_args(r, l) && read_tmaps(r, l);
}

static bool read_dims(reader *r) {
  char *rest;
  const char *dims[MOST_DIMS];
  TS_TRY(keyed(r, "dims", &rest));
  while (*rest) {
    if (r->c->ndims == MOST_DIMS) return bad(r, "too many dimensions");
    char *w = word(&rest);
    if (!is_name(w) || strchr(w, '$')) return bad(r, "a dimension's name is none");
    for (int i = 0; i < r->c->ndims; i++)
      if (strcmp(dims[i], w) == 0) return bad(r, "a dimension is named twice");
    dims[r->c->ndims++] = w;
  }
  r->c->dims = ts_arena_dup(r->a, dims, sizeof dims[0] * (size_t)r->c->ndims);
  return true;
}

// At most one line, of printable characters.
static bool read_warnings(reader *r) {
  r->c->warnings = "";
  if (!starts(r, "warnings ")) return true;
  char *rest;
  TS_TRY(keyed(r, "warnings", &rest));
  for (const char *p = rest; *p; p++)
    if (*p < ' ' || *p > '~') return bad(r, "the warnings are no printable text");
  if (!*rest || strlen(rest) > 1000) return bad(r, "the warnings are too long, or none");
  r->c->warnings = rest;
  return true;
}

static bool read_head(reader *r) {
  char *rest;
  ts_gpu_code *c = r->c;
  TS_TRY(keyed(r, "tunesmith-gpu", &rest));
  if (strcmp(rest, "1") != 0) return bad(r, "not of a format that this version reads (1)");
  TS_TRY(keyed(r, "arch", &rest));
  if (!is_name(rest) || strlen(rest) > 60) return bad(r, "the architecture's name is none");
  c->arch = rest;
  TS_TRY(keyed(r, "params", &rest));
  if (!number_int(rest, 0, MOST_PARAMS, &c->nparams)) return bad(r, "the number of buffers is out of range");
  TS_TRY(read_dims(r) && keyed(r, "registers", &rest));
  bool ok = number_int(word(&rest), -1, 1 << 20, &c->registers) && strcmp(word(&rest), "spills") == 0 && number_int(word(&rest), -1, 1 << 30, &c->spills) && !*rest;
  return (ok || bad(r, "\"registers N spills N\" wanted")) && read_warnings(r) && read_expr(r, "workspace", &c->workspace) && read_expr(r, "zeroed", &c->zeroed);
}

static bool read_image(reader *r, const char *all_end) {
  char *rest;
  int64_t n;
  TS_TRY(keyed(r, "image", &rest));
  char *kind = word(&rest);
  size_t k = 0;
  while (k < TS_COUNTOF(image_names) && strcmp(kind, image_names[k]) != 0) k++;
  if (k == TS_COUNTOF(image_names)) return bad(r, "an image is cubin, ptx, cuda or library");
  r->c->kind = (ts_gpu_image)k;
  if (!number(rest, 1, INT64_MAX, &n) || n != all_end - r->p) return bad(r, "the image has another size than stated");
  r->c->image = r->p;
  r->c->image_n = (size_t)n;
  return true;
}

bool ts_gpu_code_read(ts_arena *a, const void *bytes, size_t n, ts_gpu_code *out, ts_diag *d) {
  *out = (ts_gpu_code){0};
  const char *p = bytes;
  reader r = {.a = a, .p = p, .end = p + TS_MIN(n, (size_t)MOST_HEADER), .c = out, .d = d};
  TS_TRY(read_head(&r));
  ts_gpu_launch launches[MOST_LAUNCHES];
  while (starts(&r, "launch ")) {
    if (out->nlaunches == MOST_LAUNCHES) return bad(&r, "too many launches");
    TS_TRY(read_launch(&r, &launches[out->nlaunches++]));
  }
  out->launches = ts_arena_dup(a, launches, sizeof launches[0] * (size_t)out->nlaunches);
  TS_TRY(read_image(&r, p + n));
  if ((out->nlaunches == 0) != (out->kind == TS_GPU_LIBRARY)) return bad(&r, out->nlaunches ? "a library has no launches" : "\"launch\" wanted");
  return true;
}
