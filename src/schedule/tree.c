// The index of a function body and rewriting along paths.
#include "schedule_impl.h"

// --- index -----------------------------------------------------------------------------------------------------
static int tree_push(ts_arena *a, ts__tree *t, ts__node n) {
  if (t->n == t->cap) {
    int cap = t->cap ? t->cap * 2 : 64;
    ts__node *p = ts_new_array(a, ts__node, cap);
    if (t->n) memcpy(p, t->node, sizeof *p * (size_t)t->n);
    t->node = p;
    t->cap = cap;
  }
  t->node[t->n] = n;
  return t->n++;
}

static void tree_add(ts_arena *a, ts__tree *t, const ts_stmt *s, int parent, int scope, int child) {
  int me = tree_push(a, t, (ts__node){.s = s, .parent = parent, .scope = scope, .child = child});
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) tree_add(a, t, s->seq.child[i], me, scope, i);
      break;
    case TS_S_FOR: tree_add(a, t, s->loop.body, me, scope, 0); break;
    case TS_S_BLOCK:
      if (!ts__is_shell(s)) scope = me;
      if (s->block->init) tree_add(a, t, s->block->init, me, scope, 0);
      tree_add(a, t, s->block->body, me, scope, 1);
      break;
    case TS_S_IF:
      tree_add(a, t, s->cond.then, me, scope, 0);
      if (s->cond.other) tree_add(a, t, s->cond.other, me, scope, 1);
      break;
    case TS_S_LET: tree_add(a, t, s->let.body, me, scope, 0); break;
    case TS_S_ALLOC: tree_add(a, t, s->alloc.body, me, scope, 0); break;
    default: break;
  }
  t->node[me].end = t->n;
}

void ts__tree_build(ts_arena *a, ts__tree *t, const ts_stmt *root) {
  t->n = 0;
  tree_add(a, t, root, -1, -1, 0);
}

int ts__tree_find(const ts__tree *t, uint32_t id) {
  for (int i = 0; i < t->n; i++) {
    ts_skind k = t->node[i].s->kind;
    if (t->node[i].s->id == id && (k == TS_S_FOR || k == TS_S_BLOCK)) return i;
  }
  return -1;
}

int ts__tree_block(const ts__tree *t, const char *name, int *count) {
  int at = -1, n = 0;
  for (int i = 0; i < t->n; i++) {
    if (t->node[i].s->kind != TS_S_BLOCK || strcmp(t->node[i].s->block->name, name) != 0) continue;
    if (at < 0) at = i;
    n++;
  }
  if (count) *count = n;
  return at;
}

// --- rewriting ---------------------------------------------------------------------------------------------------
// What to put in place of node, given the edits: NULL means that nothing is left of it.
typedef struct rewrite {
  ts__ctx *c;
  const ts__edit *edit;
  int n;
} rewrite;

static const ts_stmt *rebuild(rewrite *w, int node);

static bool touched(const rewrite *w, int node) {
  for (int i = 0; i < w->n; i++)
    if (ts__under(w->c->t, w->edit[i].node, node)) return true;
  return false;
}

static const ts_stmt *rebuild_seq(rewrite *w, int node) {
  const ts__tree *t = w->c->t;
  const ts_stmt *s = t->node[node].s;
  const ts_stmt **kid = ts_new_array(w->c->a, const ts_stmt *, s->seq.n);
  int n = 0;
  for (int k = node + 1; k < t->node[node].end; k = t->node[k].end) {
    const ts_stmt *x = rebuild(w, k);
    if (x) kid[n++] = x;
  }
  return n == 0 ? NULL : ts_seq(w->c->ir, kid, n);
}

static const ts_stmt *rebuild_block(rewrite *w, int node) {
  const ts_block *b = w->c->t->node[node].s->block;
  ts_block *nb = ts_arena_dup(w->c->a, b, sizeof *b);
  int k = node + 1;
  if (b->init) {
    nb->init = rebuild(w, k);
    k = w->c->t->node[k].end;
  }
  nb->body = rebuild(w, k);
  if (!nb->body && ts__is_shell(w->c->t->node[node].s)) return NULL;
  if (!nb->body) nb->body = ts_seq(w->c->ir, NULL, 0);
  ts_stmt *out;
  const ts_stmt *r = ts_stmt_copy(w->c->ir, w->c->t->node[node].s, &out);
  out->block = nb;
  return r;
}

static const ts_stmt *rebuild_if(rewrite *w, int node) {
  const ts_stmt *s = w->c->t->node[node].s;
  const ts_stmt *then = rebuild(w, node + 1);
  const ts_stmt *other = s->cond.other ? rebuild(w, w->c->t->node[node + 1].end) : NULL;
  if (!then && !other) return NULL;
  if (!then) return ts_if(w->c->ir, ts_not(w->c->ir, s->cond.cond), other, NULL);
  return ts_if(w->c->ir, s->cond.cond, then, other);
}

static const ts_stmt *rebuild(rewrite *w, int node) {
  for (int i = 0; i < w->n; i++)
    if (w->edit[i].node == node) return w->edit[i].with;
  const ts_stmt *s = w->c->t->node[node].s;
  if (!touched(w, node)) return s;
  if (s->kind == TS_S_SEQ) return rebuild_seq(w, node);
  if (s->kind == TS_S_BLOCK) return rebuild_block(w, node);
  if (s->kind == TS_S_IF) return rebuild_if(w, node);
  const ts_stmt *body = rebuild(w, node + 1);
  if (!body) return NULL;
  ts_stmt *out;
  const ts_stmt *r = ts_stmt_copy(w->c->ir, s, &out);
  if (s->kind == TS_S_FOR) out->loop.body = body;
  else if (s->kind == TS_S_LET) out->let.body = body;
  else out->alloc.body = body;
  return r;
}

const ts_func *ts__with_body(ts__ctx *c, const ts_stmt *body) {
  ts_func *f = ts_arena_dup(c->a, c->f, sizeof *f);
  f->body = body;
  return f;
}

const ts_func *ts__replace_all(ts__ctx *c, const ts__edit *e, int n) {
  return ts__with_body(c, rebuild(&(rewrite){.c = c, .edit = e, .n = n}, 0));
}

const ts_func *ts__replace(ts__ctx *c, int node, const ts_stmt *with) {
  return ts__replace_all(c, &(ts__edit){.node = node, .with = with}, 1);
}

// The statements of the root's body.
static int top_statements(const ts_func *f, const ts_stmt *const **list) {
  const ts_block *root = f->body->block;
  bool seq = root->body->kind == TS_S_SEQ;
  *list = seq ? root->body->seq.child : &root->body;
  return seq ? root->body->seq.n : 1;
}

static bool among(const ts_stmt *const *list, int n, const ts_stmt *s) {
  for (int i = 0; i < n; i++)
    if (list[i] == s) return true;
  return false;
}

const ts_func *ts__reinfer(ts__ctx *c, const ts_func *f) {
  const ts_stmt *const *old, *const *now;
  int nold = top_statements(c->s->f, &old), n = top_statements(f, &now);
  const ts_stmt **kid = ts_new_array(c->a, const ts_stmt *, n);
  for (int i = 0; i < n; i++) kid[i] = among(old, nold, now[i]) ? now[i] : ts_stmt_infer_access(c->ir, now[i]);
  ts_block *root = ts_arena_dup(c->a, f->body->block, sizeof *root);
  root->body = ts_seq(c->ir, kid, n);
  ts_func *g = ts_arena_dup(c->a, f, sizeof *g);
  g->body = ts__block_with(c, f->body, root);
  c->stale = true;
  return g;
}
