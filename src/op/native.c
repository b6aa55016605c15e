// Template files: the header in the first block comment.
//
//   /* tunesmith
//   doc       one line
//   requires  sm_90a
//   op        matmul matmul_add          those it serves (not given: any whose templates stand in this folder)
//   quant     q4f16_1                    formats it reads (not given: any)
//   guess     n <= 16 ? 3 : 1            how much it is preferred where nothing was measured
//   param     ROWS 16 32 64
//   start     ROWS=32 STAGES=3           a point to try first; ... if EXPR: where the workload is such
//   where     ROWS * STAGES * 512 <= SHARED
//   define    TILE ROWS * 2
//   limit     max |ws| < 2               what is asked of a weight's values; ... >= 0.001
//   workspace EXPR
//   zeroed    EXPR
//   launch    gemv
//   grid      ceildiv(N, ROWS) ; 1 ; 1
//   block     128
//   shared    STAGES * ROWS * 512
//   cluster   1 ; 1 ; 1
//   dependent 1
//   args      b0 b1 b2 w d t0
//   tmap      0 b0 f16 swizzle 128 dims K ; N strides K * 2 box 64 ; ROWS
//   */
#include "op/native.h"

#include <ctype.h>

#include "op/native_impl.h"

enum { MOST_BYTES = 1 << 20, MOST_PARAMS = 16, MOST_VALUES = 64, MOST_LINES = 256 };

typedef struct reader {
  ts_arena *a;
  const char *path;
  const char *p, *end;  // the header
  int line;             // of what was read last
  const char *word, *rest;
  ts_native *t;
  TS_VEC(ts_native_param) params;
  TS_VEC(ts_native_text) wheres;
  TS_VEC(ts_native_text) starts;
  TS_VEC(ts_native_text) start_ifs;
  TS_VEC(ts_native_define) defines;
  TS_VEC(ts_native_limit) limits;
  TS_VEC(ts_native_launch) launches;
  ts_diag *d;
} reader;

static bool complain(const reader *r, const char *fmt, ...) TS_PRINTF(2, 3);
static bool complain(const reader *r, const char *fmt, ...) {
  char what[600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  return ts_refuse(r->d, "template-syntax", "%s:%d: %s", r->path, r->line, what);
}

static char *trimmed(ts_arena *a, const char *p, size_t n) {
  while (n && isspace((unsigned char)*p)) p++, n--;
  while (n && isspace((unsigned char)p[n - 1])) n--;
  return ts_arena_strndup(a, p, n);
}

// The next line that says something: its first word and what follows. False at the end.
static bool next_line(reader *r) {
  while (r->p < r->end) {
    const char *nl = memchr(r->p, '\n', (size_t)(r->end - r->p)), *stop = nl ? nl : r->end, *hash = memchr(r->p, '#', (size_t)(stop - r->p));
    char *line = trimmed(r->a, r->p, (size_t)((hash ? hash : stop) - r->p));
    r->p = nl ? nl + 1 : r->end;
    r->line++;
    if (!*line) continue;
    size_t n = strcspn(line, " \t");
    r->word = ts_arena_strndup(r->a, line, n);
    r->rest = line + n + strspn(line + n, " \t");
    return true;
  }
  return false;
}

bool ts__native_name(const char *s, size_t n) {
  if (!n || n > 40 || !(isalpha((unsigned char)s[0]) || s[0] == '_')) return false;
  for (size_t i = 1; i < n; i++)
    if (!isalnum((unsigned char)s[i]) && s[i] != '_') return false;
  return true;
}

static bool once(reader *r, ts_native_text *to) {
  if (to->p) return complain(r, "'%s' was given before, in line %d", r->word, to->line);
  if (!*r->rest) return complain(r, "'%s' wants something behind it", r->word);
  *to = (ts_native_text){.p = r->rest, .file = r->path, .line = r->line};
  return true;
}

// Up to three expressions separated by `;`.
static bool triple(reader *r, ts_native_text to[3]) {
  if (to[0].p) return complain(r, "'%s' was given before, in line %d", r->word, to[0].line);
  const char *p = r->rest;
  for (int i = 0; i < 3; i++) {
    size_t n = strcspn(p, ";");
    to[i] = (ts_native_text){.p = trimmed(r->a, p, n), .file = r->path, .line = r->line};
    if (!*to[i].p) return complain(r, "'%s' has an empty expression", r->word);
    p += n;
    if (!*p) return true;
    p++;
  }
  return complain(r, "'%s' has more than three expressions", r->word);
}

// --- parameters and derived values -----------------------------------------------------------------------------------
static bool declared(const reader *r, const char *name, const char *file, int line) {
  bool here = strcmp(file, r->path) == 0;
  return complain(r, "%s was declared in line %d%s%s", name, line, here ? "" : " of ", here ? "" : file);
}

// A name that is free: macros of the source share one space.
static bool fresh(reader *r, const char *name) {
  if (!ts__native_name(name, strlen(name))) return complain(r, "'%s' is no name", name);
  if (strncmp(name, "TS_", 3) == 0) return complain(r, "'%s': names with TS_ are set for the template", name);
  for (size_t i = 0; i < r->params.n; i++)
    if (strcmp(r->params.p[i].name, name) == 0) return declared(r, name, r->params.p[i].file, r->params.p[i].line);
  for (size_t i = 0; i < r->defines.n; i++)
    if (strcmp(r->defines.p[i].name, name) == 0) return declared(r, name, r->defines.p[i].expr.file, r->defines.p[i].expr.line);
  return true;
}

static bool read_param(reader *r) {
  if (r->params.n == MOST_PARAMS) return complain(r, "more than %d parameters", MOST_PARAMS);
  ts_lex l;
  ts_lex_init(&l, r->path, r->rest, strlen(r->rest));
  ts_native_param p = {.name = ts_lex_ident(&l, r->a, NULL), .file = r->path, .line = r->line};
  TS_VEC(int64_t) v = {0};
  if (!p.name || !fresh(r, p.name)) return p.name ? false : complain(r, "param wants a name and its values");
  while (l.tok != TS_TOK_EOF) {
    int64_t x;
    ts_diag ignored;
    if (!ts_lex_int(&l, &x, &ignored)) return complain(r, "param %s: values are integers, not '%.*s'", p.name, (int)TS_MIN(l.len, 40), l.start);
    for (size_t i = 0; i < v.n; i++)
      if (v.p[i] == x) return complain(r, "param %s: %lld is there twice", p.name, (long long)x);
    if (v.n == MOST_VALUES) return complain(r, "param %s: more than %d values", p.name, MOST_VALUES);
    ts_vec_push(r->a, &v, x);
  }
  if (!v.n) return complain(r, "param %s has no values", p.name);
  p.n = (int)v.n;
  p.value = v.p;
  ts_vec_push(r->a, &r->params, p);
  return true;
}

static bool read_define(reader *r) {
  size_t n = strcspn(r->rest, " \t");
  ts_native_define x = {.name = ts_arena_strndup(r->a, r->rest, n)};
  x.expr = (ts_native_text){.p = r->rest + n + strspn(r->rest + n, " \t"), .file = r->path, .line = r->line};
  if (!fresh(r, x.name)) return false;
  if (!*x.expr.p) return complain(r, "define %s has no expression", x.name);
  ts_vec_push(r->a, &r->defines, x);
  return true;
}

// --- launches ----------------------------------------------------------------------------------------------------------
static bool read_launch(reader *r) {
  if (!ts__native_name(r->rest, strlen(r->rest))) return complain(r, "launch wants the name of an extern \"C\" kernel, not '%s'", r->rest);
  ts_native_launch x = {.entry = r->rest, .line = r->line};
  ts_vec_push(r->a, &r->launches, x);
  return true;
}

static bool read_launch_line(reader *r) {
  if (!r->launches.n) return complain(r, "'%s' stands before any launch", r->word);
  ts_native_launch *x = &r->launches.p[r->launches.n - 1];
  if (strcmp(r->word, "grid") == 0) return triple(r, x->grid);
  if (strcmp(r->word, "block") == 0) return triple(r, x->block);
  if (strcmp(r->word, "cluster") == 0) return triple(r, x->cluster);
  if (strcmp(r->word, "shared") == 0) return once(r, &x->shared);
  if (strcmp(r->word, "dependent") == 0) return once(r, &x->dependent);
  if (strcmp(r->word, "args") == 0) return once(r, &x->args);
  if (x->ntmaps == TS_NATIVE_TMAPS) return complain(r, "more than %d tensor maps", TS_NATIVE_TMAPS);
  return once(r, &x->tmap[x->ntmaps++]);
}

// POINT, or POINT if EXPR.
static void read_start(reader *r, ts_native_text line) {
  ts_native_text condition = {.file = line.file, .line = line.line};
  const char *end = strstr(line.p, " if ");
  if (end) {
    condition.p = end + 4;
    line.p = ts_arena_strndup(r->a, line.p, (size_t)(end - line.p));
  }
  ts_vec_push(r->a, &r->starts, line);
  ts_vec_push(r->a, &r->start_ifs, condition);
}

static bool read_limit(reader *r, ts_native_text line) {
  ts_native_limit x;
  const char *wrong = ts__native_limit(r->a, line, &x);
  if (wrong) return complain(r, "limit '%s': %s", line.p, wrong);
  for (size_t i = 0; i < r->limits.n; i++)
    if (r->limits.p[i].least == x.least && strcmp(r->limits.p[i].buffer, x.buffer) == 0)
      return complain(r, "limit '%s': line %d says another number for it", line.p, r->limits.p[i].text.line);
  ts_vec_push(r->a, &r->limits, x);
  return true;
}

static bool read_line(reader *r);

// Lines of kernels/templates/include/NAME.params stand here: what templates of several operators have in common.
static bool include_lines(reader *r) {
  static const char *const common[] = {"param", "define", "where", "start"};
  const reader outer = *r;
  size_t n = strcspn(r->rest, "."), bytes;
  char *text;
  if (!ts__native_name(r->rest, n) || strcmp(r->rest + n, ".params") != 0) return complain(r, "include wants NAME.params of kernels/templates/include, not '%s'", r->rest);
  const char *path = ts_path_join(r->a, ts_data_dir(), ts_arena_printf(r->a, "kernels/templates/include/%s", r->rest));
  if (!ts_file_exists(path)) return complain(r, "there is no kernels/templates/include/%s", r->rest);
  TS_TRY(ts_file_read(path, r->a, &text, &bytes, r->d));
  r->path = ts_arena_printf(r->a, "kernels/templates/include/%s", r->rest), r->line = 0, r->p = text, r->end = text + bytes;
  while (next_line(r)) {
    bool may = false;
    for (size_t i = 0; i < TS_COUNTOF(common); i++) may |= strcmp(r->word, common[i]) == 0;
    if (!may) return complain(r, "'%s' cannot be included; param, define, where and start can", r->word);
    TS_TRY(read_line(r));
  }
  r->path = outer.path, r->line = outer.line, r->p = outer.p, r->end = outer.end;
  return true;
}

static bool read_line(reader *r) {
  static const char *const of_launch[] = {"grid", "block", "cluster", "shared", "dependent", "args", "tmap"};
  ts_native *t = r->t;
  const char *w = r->word;
  for (size_t i = 0; i < TS_COUNTOF(of_launch); i++)
    if (strcmp(w, of_launch[i]) == 0) return read_launch_line(r);
  if (strcmp(w, "doc") == 0) return (t->doc = r->rest), true;
  if (strcmp(w, "requires") == 0) return once(r, &t->requires);
  if (strcmp(w, "quant") == 0) return once(r, &t->quant);
  if (strcmp(w, "op") == 0) return once(r, &t->op);
  if (strcmp(w, "guess") == 0) return once(r, &t->guess);
  if (strcmp(w, "workspace") == 0) return once(r, &t->workspace);
  if (strcmp(w, "zeroed") == 0) return once(r, &t->zeroed);
  if (strcmp(w, "param") == 0) return read_param(r);
  if (strcmp(w, "define") == 0) return read_define(r);
  if (strcmp(w, "launch") == 0) return read_launch(r);
  if (strcmp(w, "include") == 0) return include_lines(r);
  ts_native_text line = {.p = r->rest, .file = r->path, .line = r->line};
  if (strcmp(w, "where") != 0 && strcmp(w, "start") != 0 && strcmp(w, "limit") != 0)
    return complain(r, "'%s' is no line of a template (doc requires op quant guess include param start where define limit workspace zeroed launch grid "
                       "block shared cluster dependent args tmap)", w);
  if (!*line.p) return complain(r, "'%s' wants something behind it", w);
  if (strcmp(w, "limit") == 0) return read_limit(r, line);
  if (strcmp(w, "where") == 0) ts_vec_push(r->a, &r->wheres, line);
  else read_start(r, line);
  return true;
}

static bool check_launches(reader *r) {
  if (!r->launches.n) return complain(r, "the template launches nothing");
  for (size_t i = 0; i < r->launches.n; i++) {
    const ts_native_launch *x = &r->launches.p[i];
    r->line = x->line;
    if (!x->grid[0].p || !x->block[0].p || !x->args.p) return complain(r, "launch %s lacks its grid, block or args", x->entry);
  }
  return true;
}

// Every start line is a point, as far as names and values go.
static bool check_starts(reader *r) {
  for (size_t i = 0; i < r->starts.n; i++) {
    ts_lex l;
    const int64_t *point;
    ts_diag d = {0};
    r->path = r->starts.p[i].file, r->line = r->starts.p[i].line;
    ts_lex_init(&l, r->path, r->starts.p[i].p, strlen(r->starts.p[i].p));
    if (!ts_native_point(r->a, r->t, &l, &point, &d)) return complain(r, "start: %s", d.message);
  }
  return true;
}

static bool read_header(reader *r) {
  ts_native *t = r->t;
  const char *p = t->text, *stop = p + t->n, *open = "/* tunesmith";
  while (p < stop && isspace((unsigned char)*p)) r->line += *p++ == '\n';
  size_t n = strlen(open);
  r->line++;
  if ((size_t)(stop - p) < n || strncmp(p, open, n) != 0 || (p + n < stop && !isspace((unsigned char)p[n])))
    return complain(r, "a template begins with a comment '/* tunesmith' that says its parameters and launches");
  const char *close = strstr(p, "*/");
  if (!close || close >= stop) return complain(r, "the first comment is not closed");
  r->line--;
  r->p = p + n;
  r->end = close;
  while (next_line(r)) TS_TRY(read_line(r));
  t->nparams = (int)r->params.n, t->params = r->params.p;
  t->nwheres = (int)r->wheres.n, t->wheres = r->wheres.p;
  t->nstarts = (int)r->starts.n, t->starts = r->starts.p, t->start_ifs = r->start_ifs.p;
  t->ndefines = (int)r->defines.n, t->defines = r->defines.p;
  t->nlimits = (int)r->limits.n, t->limits = r->limits.p;
  t->nlaunches = (int)r->launches.n, t->launches = r->launches.p;
  return check_launches(r) && check_starts(r);
}

// "DIR/matmul/ref.gemv.cu": variant "", name "gemv", label "matmul/ref.gemv.cu".
static bool read_name(reader *r) {
  ts_native *t = r->t;
  const char *base = strrchr(r->path, '/'), *folder = base;
  base = base ? base + 1 : r->path;
  while (folder && folder > r->path && folder[-1] != '/') folder--;
  t->label = ts_arena_strdup(r->a, folder ? folder : base);
  size_t n = strlen(base), v = strcspn(base, ".");
  const char *rest = base + v + (base[v] == '.');
  size_t m = strlen(rest);
  if (n < 4 || m < 4 || strcmp(rest + m - 3, ".cu") != 0 || !ts__native_name(base, v) || !ts__native_name(rest, m - 3))
    return ts_refuse(r->d, "template-name", "%s: a template is called VARIANT.NAME.cu, such as ref.gemv.cu", r->path);
  t->variant = strncmp(base, "ref.", 4) == 0 ? "" : ts_arena_strndup(r->a, base, v);
  t->name = ts_arena_strndup(r->a, rest, m - 3);
  return true;
}

const ts_native *ts_native_load(ts_arena *a, const char *path, ts_diag *d) {
  ts_native *t = ts_new(a, ts_native);
  char *text;
  reader r = {.a = a, .path = ts_arena_strdup(a, path), .t = t, .d = d};
  t->doc = "";
  t->file = r.path;
  if (!read_name(&r) || !ts_file_read(path, a, &text, &t->n, d)) return NULL;
  t->text = text;
  if (t->n > MOST_BYTES || memchr(text, 0, t->n)) {
    ts_refuse(d, "template-syntax", "%s: %s", path, t->n > MOST_BYTES ? "larger than 1 MiB" : "holds a zero byte");
    return NULL;
  }
  return read_header(&r) ? t : NULL;
}

bool ts_native_list(ts_arena *a, const ts_op *op, const char *variant, const ts_native ***out, size_t *n, ts_diag *d) {
  const char *dir = ts_path_join(a, ts_data_dir(), ts_arena_printf(a, "kernels/templates/%s", op->templates));
  TS_VEC(const ts_native *) v = {0};
  char **names;
  size_t count = 0;
  if (ts_file_exists(dir)) TS_TRY(ts_dir_list(dir, ".cu", a, &names, &count, d));
  for (size_t i = 0; i < count; i++) {
    const ts_native *t = ts_native_load(a, ts_path_join(a, dir, names[i]), d);
    if (!t) return false;
    if (strcmp(t->variant, variant) == 0) ts_vec_push(a, &v, t);
  }
  *out = v.p;
  *n = v.n;
  return true;
}

bool ts_native_guessed(const ts_native_fit *best, const ts_native_fit *f) { return !best || f->guess > best->guess; }

// --- points as text ------------------------------------------------------------------------------------------------------
void ts_native_print(ts_text *out, const ts_native *t, const int64_t *point) {
  ts_text_addf(out, "native \"%s\"", t->name);
  for (int i = 0; i < t->nparams; i++) ts_text_addf(out, " %s=%lld", t->params[i].name, (long long)point[i]);
  ts_text_add(out, "\n");
}

bool ts_native_is(const char *trace) { return strncmp(trace, "native ", 7) == 0; }

static bool has_value(const ts_native_param *p, int64_t v) {
  for (int i = 0; i < p->n; i++)
    if (p->value[i] == v) return true;
  return false;
}

bool ts_native_point(ts_arena *a, const ts_native *t, ts_lex *l, const int64_t **point, ts_diag *d) {
  int64_t *v = ts_new_array(a, int64_t, t->nparams + 1);
  for (int i = 0; i < t->nparams; i++) v[i] = t->params[i].value[0];
  while (l->tok != TS_TOK_EOF) {
    int64_t x;
    char *name = ts_lex_ident(l, a, d);
    if (!name || !ts_lex_expect(l, d, "=") || !ts_lex_int(l, &x, d)) return false;
    int i = 0;
    while (i < t->nparams && strcmp(t->params[i].name, name) != 0) i++;
    if (i == t->nparams) return ts_refuse(d, "no-such-parameter", "%s has no parameter %s", t->label, name);
    if (!has_value(&t->params[i], x)) return ts_refuse(d, "no-such-value", "%s: %lld is no value of %s", t->label, (long long)x, name);
    v[i] = x;
  }
  *point = v;
  return true;
}

bool ts_native_replay(ts_arena *a, const char *text, const ts_spec *spec, const char *variant, const ts_func *f, const ts_target *target,
                      ts_native_fit *fit, const int64_t **point, ts_diag *d) {
  ts_lex l;
  ts_lex_init(&l, "trace", text, strlen(text));
  char *name;
  const ts_native **all;
  size_t n;
  const ts_op *op = ts_op_find(a, spec->op, d);
  if (!op || !ts_lex_expect(&l, d, "native") || !(name = ts_lex_string(&l, a, d)) || !ts_native_list(a, op, variant, &all, &n, d)) return false;
  for (size_t i = 0; i < n; i++)
    if (strcmp(all[i]->name, name) == 0) return ts_native_point(a, all[i], &l, point, d) && ts_native_bind(a, all[i], spec, f, target, fit, d);
  return ts_refuse(d, "no-such-template", "%s: there is no native template %s.%s", spec->op, *variant ? variant : "ref", name);
}
