// Questions about the tree that many primitives ask.
#include "schedule_impl.h"

int ts__loops_of(const ts__ctx *c, int node, int *out) {
  int stack[TS__MAX_DEPTH], n = 0;
  for (int up = c->t->node[node].parent; up >= 0 && !ts__is_block(c, up); up = c->t->node[up].parent)
    if (ts__is_loop(c, up) && n < TS__MAX_DEPTH) stack[n++] = up;
  for (int i = 0; i < n; i++) out[i] = stack[n - 1 - i];
  return n;
}

int ts__body_of(const ts__ctx *c, int node) {
  int body = node + 1;
  if (ts__is_block(c, node) && ts__block(c, node)->init) body = c->t->node[body].end;
  while (ts__is_shell(ts__stmt(c, body))) body++;
  return body;
}

int ts__next_block(const ts__ctx *c, int top, int after) {
  int i = after == top ? top + 1 : c->t->node[after].end;
  for (; i < c->t->node[top].end; i++)
    if (ts__is_block(c, i)) return i;
  return -1;
}

static bool among(const ts_region *r, int n, const ts_buffer *buf) {
  for (int i = 0; i < n; i++)
    if (r[i].buf == buf) return true;
  return false;
}

bool ts__writes(const ts_block *b, const ts_buffer *buf) { return among(b->writes, b->nwrites, buf); }
bool ts__reads(const ts_block *b, const ts_buffer *buf) { return among(b->reads, b->nreads, buf); }

bool ts__is_param(const ts_func *f, const ts_buffer *buf) {
  for (int i = 0; i < f->nparams; i++)
    if (f->params[i].buf == buf) return true;
  return false;
}

static const ts_buffer *by_name(const ts_region *r, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (!strcmp(r[i].buf->name, name)) return r[i].buf;
  return NULL;
}

const ts_buffer *ts__buffer_arg(ts__ctx *c, int k, const ts_block *b, bool reads, bool writes) {
  const ts__val *v = &c->arg[k];
  const ts_region *r = writes ? b->writes : b->reads;
  int n = writes ? b->nwrites : b->nreads;
  const ts_buffer *buf = NULL;
  if (v->s) {
    if (writes) buf = by_name(b->writes, b->nwrites, v->s);
    if (!buf && reads) buf = by_name(b->reads, b->nreads, v->s);
  } else {  // reads are counted without what the block writes as well
    for (int i = 0, k2 = 0; i < n && !buf; i++) {
      if (!writes && ts__writes(b, r[i].buf)) continue;
      if (k2++ == v->i) buf = r[i].buf;
    }
  }
  if (buf) return buf;
  ts__refuse(c, TS_R_no_such_buffer, k, v->s ? "block {0} does not {2} a buffer {1}" : "block {0} does not {2} a buffer number {1}");
  ts__fact_s(c, b->name);
  if (v->s) ts__fact_s(c, v->s);
  else ts__fact_i(c, v->i);
  ts__fact_s(c, reads && writes ? "access" : writes ? "write" : "read");
  return NULL;
}

const ts_buffer *ts__intermediate_arg(ts__ctx *c, const char *hint) {
  const ts_buffer *buf = ts__buffer_arg(c, 1, ts__block(c, c->arg[0].node), true, true);
  if (!buf || ts__owner(c, buf) >= 0) return buf;
  ts__refuse(c, TS_R_not_intermediate, 1, "{0} is a parameter of the function");
  ts__fact_s(c, buf->name);
  ts__hint(c, hint);
  return NULL;
}

bool ts__plain_loop(ts__ctx *c, int arg, int node) {
  const ts_stmt *s = ts__stmt(c, node);
  int64_t min;
  if (s->loop.kind != TS_SERIAL) {
    ts__refuse(c, TS_R_loop_not_serial, arg, "loop {0} is already {1}");
    ts__fact_node(c, node);
    ts__fact_s(c, ts_loop_kind_name(s->loop.kind));
    ts__hint(c, "do this step before giving the loop its kind");
    return false;
  }
  if (s->loop.notes.n) {
    ts__refuse(c, TS_R_loop_annotated, arg, "loop {0} carries the annotation {1}");
    ts__fact_node(c, node);
    ts__fact_s(c, s->loop.notes.p[0].key);
    ts__hint(c, "unannotate {0} first, or annotate afterwards");
    return false;
  }
  if (ts_is_int(s->loop.min, &min) && min == 0) return true;
  ts__refuse(c, TS_R_loop_min, arg, "loop {0} does not start at zero");
  ts__fact_node(c, node);
  return false;
}
