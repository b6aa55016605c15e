// Runs one file test of the .tir language:
//
//   #: MODE [name=value ...]      what to do; values of named parameters (an integer, a float or a type)
//   func ...                      the input; a line "=====" ends a quantization row that stands before the function
//   -----
//   expected text
//
// Modes: print    the canonical text; also parsed again, compared, hashed, cloned
//        access   as print, with every block's reads and writes written out
//        run      the outputs of the interpreter on patterned inputs (dimensions by name); "races=1" checks for races
//        refuse   the diagnostic
// With TS_BLESS=1 the expectation is rewritten.
#include <stdlib.h>

#include "ir/ir.h"

enum { MAX_BINDS = 16 };

typedef struct testcase {
  ts_arena *arena;
  ts_ir *ir;
  const char *path, *mode;
  char *head, *input, *expect;
  int nbind;
  ts_bind bind[MAX_BINDS];
  ts_macros row;
  ts_text out;
} testcase;

static void die(const char *path, const char *what) {
  fprintf(stderr, "%s: %s\n", path, what);
  exit(1);
}

static char *line_end(char *p) {
  char *end = strchr(p, '\n');
  return end ? end : p + strlen(p);
}

static ts_bind bind_of(char *word) {
  char *eq = strchr(word, '='), *rest;
  ts_bind b = {.name = word, .kind = TS_BIND_INT};
  *eq = 0;
  if (ts_code_find(eq + 1, strlen(eq + 1), &b.code)) {
    b.kind = TS_BIND_TYPE;
    return b;
  }
  b.i = strtoll(eq + 1, &rest, 10);
  if (*rest) b.kind = TS_BIND_FLOAT, b.f = strtod(eq + 1, NULL);
  return b;
}

static void read_case(testcase *t) {
  char *text;
  size_t n;
  ts_diag d;
  if (!ts_file_read(t->path, t->arena, &text, &n, &d)) die(t->path, d.message);
  if (strncmp(text, "#: ", 3) != 0) die(t->path, "no '#:' line");
  char *end = line_end(text), *split = strstr(text, "\n-----\n");
  t->head = ts_arena_strndup(t->arena, text, (size_t)(end - text));
  t->input = end;
  t->expect = split ? split + 7 : text + n;
  if (split) split[1] = 0;
  char *row = strstr(t->input, "\n=====\n");
  if (row) {
    *row = 0;
    t->row = (ts_macros){.file = "row", .text = t->input, .n = strlen(t->input)};
    t->input = row + 7;
  }
  char *words = ts_arena_strdup(t->arena, t->head + 3);
  t->mode = strtok(words, " ");
  for (char *w; (w = strtok(NULL, " ")) && t->nbind < MAX_BINDS;) t->bind[t->nbind++] = bind_of(w);
}

// Dimensions named in a run are arguments, not constants.
static bool runs(const testcase *t) { return strcmp(t->mode, "run") == 0; }

static const ts_func *parse(testcase *t, ts_diag *d) {
  ts_lex l;
  ts_lex_init(&l, "input", t->input, strlen(t->input));
  const ts_func *f = ts_func_parse_at(t->ir, &l, t->bind, runs(t) ? 0 : t->nbind, t->row.text ? &t->row : NULL, d);
  if (f && l.tok != TS_TOK_EOF) die(t->path, "text after the function");
  return f;
}

static void complain(testcase *t, const ts_diag *d) { ts_text_addf(&t->out, "%s [%s]\n", d->message, d->code); }

// parse(print(f)) equals f, prints the same, and so does a clone into another context.
static void check_text(testcase *t, const ts_func *f) {
  ts_diag d;
  ts_text one = {0}, two = {0}, three = {0};
  ts_func_print(&one, f);
  const ts_func *again = ts_func_parse(t->ir, "printed", one.p, one.n, NULL, 0, &d);
  if (!again) {
    fputs(one.p, stderr);
    die(t->path, d.message);
  }
  ts_func_print(&two, again);
  ts_ir *other = ts_ir_new(t->arena);
  const ts_func *clone = ts_func_clone(other, f);
  ts_func_print(&three, clone);
  if (strcmp(one.p, two.p) != 0) die(t->path, "print(parse(print(f))) differs from print(f)");
  if (strcmp(one.p, three.p) != 0) die(t->path, "the clone prints differently");
  if (!ts_func_equal(f, again) || !ts_func_equal(f, clone))
    die(t->path, "parse(print(f)) or the clone is not equal to f");
  if (ts_func_hash(f) != ts_func_hash(again) || ts_func_hash(f) != ts_func_hash(clone))
    die(t->path, "equal functions hash differently");
  if (!ts_func_verify(clone, &d)) die(t->path, d.message);
  ts_text_free(&one);
  ts_text_free(&two);
  ts_text_free(&three);
}

static const ts_stmt *declare(void *arg, const ts_stmt *s) {
  testcase *t = arg;
  if (s->kind != TS_S_BLOCK || strcmp(s->block->name, "root") == 0) return s;
  ts_block *b = ts_arena_dup(t->arena, s->block, sizeof *b);
  ts_stmt *copy;
  b->explicit_access = true;
  ts_stmt_copy(t->ir, s, &copy);
  copy->block = b;
  return copy;
}

static void print_access(testcase *t, const ts_func *f) {
  ts_func g = *f;
  g.body = ts_stmt_rewrite(t->ir, f->body, declare, NULL, t);
  check_text(t, &g);
  ts_func_print(&t->out, &g);
}

static int64_t named(const testcase *t, const char *name, int64_t otherwise) {
  for (int i = 0; i < t->nbind; i++) {
    if (strcmp(t->bind[i].name, name) == 0) return t->bind[i].i;
  }
  return otherwise;
}

static ts_array *make_array(testcase *t, const ts_func *f, const int64_t *dims, const ts_param *p) {
  ts_array *a = ts_new(t->arena, ts_array);
  const ts_var *vars[8];
  a->code = p->buf->code;
  a->ndim = p->buf->ndim;
  for (int i = 0; i < f->ndims; i++) vars[i] = f->dims[i].var;
  for (int d = 0; d < a->ndim; d++) {
    if (!ts_eval_int(p->buf->shape[d], vars, dims, f->ndims, &a->shape[d])) die(t->path, "shape");
  }
  a->data = ts_arena_alloc(t->arena, (size_t)(ts_array_count(a) * ts_code_bytes(a->code)) + 1, 64);
  for (int64_t i = 0; p->role != TS_OUT && i < ts_array_count(a); i++) {
    double v = (double)((i * 7 + 3) % 11);
    ts_array_set(a, i, ts_code_is_float(a->code) ? (v - 5) / 2 : v);
  }
  return a;
}

static void run(testcase *t, const ts_func *f) {
  int64_t dims[8] = {0};
  ts_array *args[16];
  ts_diag d;
  ts_interp_opts o = {.check_races = named(t, "races", 0) != 0, .max_steps = (uint64_t)named(t, "steps", 0)};
  for (int i = 0; i < f->ndims; i++) dims[i] = named(t, f->dims[i].var->name, f->dims[i].lo);
  for (int i = 0; i < f->nparams; i++) args[i] = make_array(t, f, dims, &f->params[i]);
  if (!ts_interp_run(f, dims, args, &o, &d)) {
    complain(t, &d);
    return;
  }
  for (int i = 0; i < f->nparams; i++) {
    if (f->params[i].role == TS_IN) continue;
    ts_text_addf(&t->out, "%s =", f->params[i].buf->name);
    for (int64_t k = 0; k < ts_array_count(args[i]); k++) ts_text_addf(&t->out, " %.9g", ts_array_get(args[i], k));
    ts_text_add(&t->out, "\n");
  }
}

static void perform(testcase *t) {
  ts_diag d = {0};
  const ts_func *f = parse(t, &d);
  if (!f && strcmp(t->mode, "refuse") != 0) die(t->path, d.message);
  if (!f) {
    if (d.kind != TS_REFUSAL) die(t->path, "not a refusal");
    complain(t, &d);
    return;
  }
  if (strcmp(t->mode, "refuse") == 0) die(t->path, "was not refused");
  check_text(t, f);
  if (strcmp(t->mode, "print") == 0) ts_func_print(&t->out, f);
  if (strcmp(t->mode, "access") == 0) print_access(t, f);
  if (runs(t)) run(t, f);
}

static void bless(testcase *t) {
  ts_text all = {0};
  ts_text_addf(&all, "%s\n", t->head);
  const char *input = t->row.text ? ts_arena_printf(t->arena, "%s\n=====\n%s", t->row.text, t->input) : t->input;
  ts_text_addf(&all, "%s", input + (*input == '\n'));
  if (all.p[all.n - 1] != '\n') ts_text_add(&all, "\n");
  ts_text_addf(&all, "-----\n%s", ts_text_str(&t->out));
  ts_diag d;
  if (!ts_file_write(t->path, all.p, all.n, &d)) die(t->path, d.message);
  ts_text_free(&all);
}

int main(int argc, char **argv) {
  if (argc != 2) die("ir_cases", "usage: ir_cases FILE");
  testcase t = {.arena = ts_arena_new("case"), .path = argv[1]};
  t.ir = ts_ir_new(t.arena);
  read_case(&t);
  perform(&t);
  if (getenv("TS_BLESS")) {
    bless(&t);
  } else if (strcmp(ts_text_str(&t.out), t.expect) != 0) {
    fprintf(stderr, "--- expected\n%s--- found\n%s", t.expect, ts_text_str(&t.out));
    die(t.path, "differs");
  }
  ts_text_free(&t.out);
  ts_arena_free(t.arena);
  return 0;
}
