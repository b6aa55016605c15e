// print: statements and functions as text. docs/tir.md describes the form; parse.c reads it back.
#include "ir/print_impl.h"

// --- lines ----------------------------------------------------------------------------------------------------

// Starts the line of a node; marked nodes get "> " in the margin and their note at the end of the line.
static void begin(ts__printer *p, int indent, uint32_t id) {
  const char *margin = "  ";
  p->note = NULL;
  for (int i = 0; id && i < p->nmark; i++) {
    if (p->mark[i].id != id) continue;
    margin = "> ";
    p->note = p->mark[i].note;
  }
  if (p->margin) ts_text_add(p->out, margin);
  ts_text_indent(p->out, indent);
}

static void end(ts__printer *p, const char *text) {
  ts_text_add(p->out, text);
  if (p->note) ts_text_addf(p->out, "  # %s", p->note);
  p->note = NULL;
  ts_text_add(p->out, "\n");
}

static void close_brace(ts__printer *p, int indent) {
  begin(p, indent, 0);
  end(p, "}");
}

// --- pieces ---------------------------------------------------------------------------------------------------

static void string(ts__printer *p, const char *s) {
  ts_text_add(p->out, "\"");
  for (; *s; s++) {
    if (*s == '\n') {
      ts_text_add(p->out, "\\n");
    } else {
      if (*s == '"' || *s == '\\') ts_text_add(p->out, "\\");
      ts_text_addn(p->out, s, 1);
    }
  }
  ts_text_add(p->out, "\"");
}

// " [key = value, ...]", or nothing.
static void notes(ts__printer *p, ts_notes n) {
  for (int i = 0; i < n.n; i++) {
    const ts_note *a = &n.p[i];
    ts_text_addf(p->out, "%s%s = ", i ? ", " : " [", ts__print_plain(p, a->key));
    switch (a->kind) {
      case TS_NOTE_INT:
        ts_text_addf(p->out, "%lld", (long long)a->i);
        break;
      case TS_NOTE_FLOAT:
        ts_text_add_double(p->out, a->f);
        break;
      default:
        string(p, a->s);
        break;
    }
  }
  if (n.n) ts_text_add(p->out, "]");
}

static void clause(ts__printer *p, const char *name, const ts_expr *const *e, int n) {
  ts_text_addf(p->out, " %s(", name);
  ts__print_exprs(p, e, n);
  ts_text_add(p->out, ")");
}

// "f32[n, 4] strides(...) offset(...) align(...) distinct(...)".
static void buffer_type(ts__printer *p, const ts_buffer *b) {
  ts_text_addf(p->out, "%s[", ts_code_name(b->code));
  ts__print_exprs(p, b->shape, b->ndim);
  ts_text_add(p->out, "]");
  if (b->stride) clause(p, "strides", b->stride, b->ndim);
  if (b->skew.factor) ts_text_addf(p->out, " skew(%d, %d, %d)", b->skew.axis, b->skew.factor, b->skew.offset);
  if (b->offset) clause(p, "offset", &b->offset, 1);
  if (b->align) ts_text_addf(p->out, " align(%d)", b->align);
  if (b->distinct) ts_text_addf(p->out, " distinct(%lld)", (long long)b->distinct);
  if (strcmp(b->scope, "global") != 0) ts_text_addf(p->out, " %s", b->scope);
}

static void alloc(ts__printer *p, const ts_buffer *b, int indent) {
  begin(p, indent, 0);
  ts_text_addf(p->out, "alloc %s: ", ts__print_bind(p, b, b->name, 'b'));
  buffer_type(p, b);
  end(p, "");
}

static void regions(ts__printer *p, const char *what, const ts_region *r, int n, int indent) {
  begin(p, indent, 0);
  ts_text_addf(p->out, "%s(", what);
  for (int i = 0; i < n; i++) {
    ts_text_addf(p->out, "%s%s[", i ? ", " : "", ts__print_buffer(p, r[i].buf));
    for (int d = 0; d < r[i].buf->ndim; d++) {
      int64_t extent;
      if (d) ts_text_add(p->out, ", ");
      if (ts_is_int(r[i].dim[d].extent, &extent) && extent == 1) {
        ts__print_expr(p, r[i].dim[d].min, TS__BARE);
      } else {
        ts__print_range(p, &r[i].dim[d]);
      }
    }
    ts_text_add(p->out, "]");
  }
  end(p, ")");
}

// "intrin dot(a = x[i, k; (0, 1)])": where each operand starts and how far its dimensions step.
static void intrin(ts__printer *p, const ts_block *b, int indent) {
  begin(p, indent, 0);
  ts_text_addf(p->out, "intrin %s(", b->intrin);
  for (int i = 0; i < b->noperands; i++) {
    const ts_operand *o = &b->operands[i];
    ts_text_addf(p->out, "%s%s = %s[", i ? ", " : "", o->name, ts__print_buffer(p, o->buf));
    ts__print_exprs(p, o->start, o->buf->ndim);
    for (int k = 0; k < o->ndim; k++) {
      ts_text_add(p->out, k ? ", (" : "; (");
      for (int d = 0; d < o->buf->ndim; d++) ts_text_addf(p->out, "%s%lld", d ? ", " : "", (long long)o->step[k][d]);
      ts_text_add(p->out, ")");
    }
    ts_text_add(p->out, "]");
  }
  end(p, ")");
}

// --- statements -----------------------------------------------------------------------------------------------

static void stmt(ts__printer *p, const ts_stmt *s, int indent);

// A nested scope: the names bound in it are free again afterwards.
static void scope(ts__printer *p, const ts_stmt *s, int indent) {
  size_t bound = p->bound.n;
  stmt(p, s, indent);
  p->bound.n = bound;
}

static void loop(ts__printer *p, const ts_stmt *s, int indent) {
  ts_range r = {.min = s->loop.min, .extent = s->loop.extent};
  size_t bound = p->bound.n;
  begin(p, indent, s->id);
  // The range is outside the variable's scope but is written after it; its names are all bound already.
  size_t at = p->bound.n;
  const char *name = ts__print_bind(p, s->loop.var, s->loop.var->name, 'v');
  ts__named self = p->bound.p[at];
  p->bound.n = at;
  ts_text_add(p->out, "for ");
  ts_text_add(p->out, name);
  ts_text_add(p->out, " in ");
  ts__print_range(p, &r);
  ts_vec_push(p->arena, &p->bound, self);
  if (s->loop.kind == TS_THREAD) {
    ts_text_addf(p->out, " thread(%s)", ts_axis_name(s->loop.axis));
  } else if (s->loop.kind != TS_SERIAL) {
    ts_text_addf(p->out, " %s", ts_loop_kind_name(s->loop.kind));
  }
  notes(p, s->loop.notes);
  end(p, " {");
  stmt(p, s->loop.body, indent + 1);
  p->bound.n = bound;
  close_brace(p, indent);
}

static void iterators(ts__printer *p, const ts_block *b) {
  static const char *const letter[TS_ITER_KIND__COUNT] = {": S(", ": R(", ": O("};
  size_t at = p->bound.n;
  for (int i = 0; i < b->niters; i++) ts__print_bind(p, b->iters[i].var, b->iters[i].var->name, 'v');
  for (int i = 0; i < b->niters; i++) {
    const ts_iter *it = &b->iters[i];
    if (i) ts_text_add(p->out, ", ");
    ts_text_add(p->out, p->bound.p[at + (size_t)i].name);
    ts_text_add(p->out, letter[it->kind]);
    ts__print_range(p, &it->dom);
    ts_text_add(p->out, ") = ");
    ts__print_expr(p, it->value, TS__BARE);
  }
}

static void block_body(ts__printer *p, const ts_block *b, int indent) {
  if (b->explicit_access) {
    regions(p, "reads", b->reads, b->nreads, indent);
    regions(p, "writes", b->writes, b->nwrites, indent);
  }
  if (b->intrin) intrin(p, b, indent);
  for (int i = 0; i < b->nallocs; i++) alloc(p, b->allocs[i], indent);
  if (b->init) {
    begin(p, indent, 0);
    end(p, "init {");
    scope(p, b->init, indent + 1);
    close_brace(p, indent);
  }
  stmt(p, b->body, indent);
}

static void block(ts__printer *p, const ts_stmt *s, int indent) {
  const ts_block *b = s->block;
  size_t bound = p->bound.n;
  begin(p, indent, s->id);
  ts_text_add(p->out, "block ");
  ts_text_add(p->out, ts__print_plain(p, b->name));
  ts_text_add(p->out, "(");
  iterators(p, b);
  ts_text_add(p->out, ")");
  if (b->predicate) {
    ts_text_add(p->out, " where ");
    ts__print_expr(p, b->predicate, TS__BARE);
  }
  notes(p, b->notes);
  end(p, " {");
  block_body(p, b, indent + 1);
  p->bound.n = bound;
  close_brace(p, indent);
}

static void store(ts__printer *p, const ts_stmt *s, int indent) {
  begin(p, indent, 0);
  ts_text_add(p->out, ts__print_buffer(p, s->store.buf));
  ts_text_add(p->out, "[");
  ts__print_exprs(p, s->store.idx, s->store.buf->ndim);
  if (s->store.value->type.lanes != 1) ts_text_addf(p->out, " : %d", s->store.value->type.lanes);
  ts_text_add(p->out, "] = ");
  ts__print_expr(p, s->store.value, TS__BARE);
  end(p, "");
}

static void conditional(ts__printer *p, const ts_stmt *s, int indent) {
  begin(p, indent, 0);
  ts_text_add(p->out, "if ");
  ts__print_expr(p, s->cond.cond, TS__BARE);
  end(p, " {");
  scope(p, s->cond.then, indent + 1);
  if (s->cond.other) {
    begin(p, indent, 0);
    end(p, "} else {");
    scope(p, s->cond.other, indent + 1);
  }
  close_brace(p, indent);
}

static void let(ts__printer *p, const ts_stmt *s, int indent) {
  begin(p, indent, 0);
  ts_text_addf(p->out, "let %s: ", ts__print_bind(p, s->let.var, s->let.var->name, 'v'));
  ts__print_type(p, s->let.var->type);
  ts_text_add(p->out, " = ");
  ts__print_expr(p, s->let.value, TS__BARE);
  end(p, "");
  stmt(p, s->let.body, indent);
}

// let and alloc scope over the rest of their braces; one that is not last gets braces of its own.
static void sequence(ts__printer *p, const ts_stmt *s, int indent) {
  for (int i = 0; i < s->seq.n; i++) {
    const ts_stmt *c = s->seq.child[i];
    bool braces = i + 1 < s->seq.n && (c->kind == TS_S_LET || c->kind == TS_S_ALLOC);
    if (braces) {
      begin(p, indent, 0);
      end(p, "{");
    }
    scope(p, c, indent + braces);
    if (braces) close_brace(p, indent);
  }
}

static void stmt(ts__printer *p, const ts_stmt *s, int indent) {
  switch (s->kind) {
    case TS_S_SEQ:
      sequence(p, s, indent);
      return;
    case TS_S_FOR:
      loop(p, s, indent);
      return;
    case TS_S_BLOCK:
      block(p, s, indent);
      return;
    case TS_S_STORE:
      store(p, s, indent);
      return;
    case TS_S_IF:
      conditional(p, s, indent);
      return;
    case TS_S_LET:
      let(p, s, indent);
      return;
    case TS_S_ALLOC:
      alloc(p, s->alloc.buf, indent);
      stmt(p, s->alloc.body, indent);
      return;
    default:
      begin(p, indent, 0);
      ts_text_add(p->out, "eval ");
      ts__print_expr(p, s->eval, TS__DEFAULT);
      end(p, "");
      return;
  }
}

// --- functions ------------------------------------------------------------------------------------------------

static void parameters(ts__printer *p, const ts_func *f) {
  static const char *const roles[] = {"", "out ", "inout "};
  const char *comma = "";
  for (int i = 0; i < f->ndims; i++, comma = ", ") {
    const ts_dim *d = &f->dims[i];
    ts_text_addf(p->out, "%s%s: dim(%lld..%lld", comma, ts__print_bind(p, d->var, d->var->name, 'v'), (long long)d->lo,
                 (long long)d->hi);
    if (d->multiple != 1) ts_text_addf(p->out, ", multiple %lld", (long long)d->multiple);
    ts_text_add(p->out, ")");
  }
  for (int i = 0; i < f->nparams; i++, comma = ", ") {
    const ts_param *q = &f->params[i];
    ts_text_addf(p->out, "%s%s: %s", comma, ts__print_bind(p, q->buf, q->buf->name, 'b'), roles[q->role]);
    buffer_type(p, q->buf);
    if (q->cache == TS_COLD) ts_text_add(p->out, " cold");
  }
}

static void root(ts__printer *p, const ts_stmt *s, int indent) {
  if (s->block->notes.n) {
    begin(p, indent, s->id);
    ts_text_add(p->out, "root");
    notes(p, s->block->notes);
    end(p, "");
  }
  block_body(p, s->block, indent);
}

static void function(ts__printer *p, const ts_func *f) {
  begin(p, 0, f->stage == TS_STAGE_BLOCKS && f->body->kind == TS_S_BLOCK ? f->body->id : 0);
  ts_text_addf(p->out, "func %s(", ts__print_plain(p, f->name));
  parameters(p, f);
  ts_text_add(p->out, ")");
  if (f->stage == TS_STAGE_LOOPS) ts_text_add(p->out, " lowered");
  notes(p, f->notes);
  end(p, " {");
  if (f->stage == TS_STAGE_BLOCKS && f->body->kind == TS_S_BLOCK) {
    root(p, f->body, 1);
  } else {
    stmt(p, f->body, 1);
  }
  close_brace(p, 0);
}

void ts_func_print_marked(ts_text *out, const ts_func *f, const ts_mark *mark, int n) {
  ts__printer p = {.mark = mark, .nmark = n, .margin = true};
  ts__printer_open(&p, out);
  function(&p, f);
  ts__printer_close(&p);
}

void ts_func_print(ts_text *out, const ts_func *f) {
  ts__printer p = {0};
  ts__printer_open(&p, out);
  function(&p, f);
  ts__printer_close(&p);
}

void ts__func_print_canonical(ts_text *out, const ts_func *f) {
  ts__printer p = {.canonical = true};
  ts__printer_open(&p, out);
  function(&p, f);
  ts__printer_close(&p);
}

void ts_stmt_print(ts_text *out, const ts_stmt *s, int indent) {
  ts__printer p = {0};
  ts__printer_open(&p, out);
  stmt(&p, s, indent);
  ts__printer_close(&p);
}
