// The steps that put a block onto an intrinsic: one iterator a role, every operand indexed by iterators alone and laid out in tiles,
// domains rounded up, tiles split off and moved inside, the initialisation taken out, and tensorize. Each is applied at once,
// so that the next is written for the function as it is then.
#include "map_impl.h"

typedef struct maker {
  ts__mapjob *j;
  ts_sched *s;
  ts_text trace;
  const char *refusal;
  int index[TS__MAX_ROLES];           // iterator of the block that plays a role
  bool padded[TS__MAX_ROLES];
  ts__place at[TS__MAX_OPERANDS];     // in the block as it is now
  int copied;                         // operands with a copy by reindex, a bit each
  int nloops;
  const char *loop[TS__MAX_PIECES];   // of each iterator, by its index
  const char *inner[TS__MAX_ROLES];   // the tile
} maker;

static bool step(maker *m, const char *fmt, ...) TS_PRINTF(2, 3);
static bool step(maker *m, const char *fmt, ...) {
  ts_text line = {0};
  va_list ap;
  va_start(ap, fmt);
  ts_text_vaddf(&line, fmt, ap);
  va_end(ap);
  ts_diag d = {0};
  bool ok = ts_sched_step(m->s, ts_text_str(&line), &d);
  if (ok) ts_text_addf(&m->trace, "%s\n", ts_text_str(&line));
  if (!ok) m->refusal = ts_arena_printf(m->j->a, "%s: %s", ts_text_str(&line), d.message);
  ts_text_free(&line);
  return ok;
}

static const ts_block *block_now(const maker *m) {
  const ts_stmt *s = ts_sched_block(m->s, ts_sched_find(m->s, "b"));
  return s ? s->block : NULL;
}

static bool fail(maker *m, const char *text) {
  m->refusal = text;
  return false;
}

static bool look_again(maker *m) {
  const ts_block *b = block_now(m);
  m->j->why = NULL;
  return (b && ts__map_operands(m->j, b, m->at)) || fail(m, m->j->why ? m->j->why : "the block is gone");
}

// --- the iteration space -------------------------------------------------------------------------------------------
static unsigned used_pieces(const ts__mapjob *j) {
  unsigned used = 0;
  for (int r = 0; r < j->nroles; r++) used |= j->cast[r];
  return used;
}

static bool outer_piece(const ts__mapjob *j, int i, ts_iter_kind kind) {
  return !(used_pieces(j) >> i & 1) && (j->have->iters[j->piece[i].iter].kind == TS_ITER_REDUCE) == (kind == TS_ITER_REDUCE);
}

static const char *in_product(ts__mapjob *j, const char *e) {
  return strpbrk(e, " ") ? ts_arena_printf(j->a, "(%s)", e) : e;
}

// The pieces that play the role as one index: (va * 4 + vh % 4) * 3 + vu.
static const char *fused_text(ts__mapjob *j, int role) {
  const char *e = NULL;
  for (int i = 0; i < j->npieces; i++) {
    if (!(j->cast[role] >> i & 1)) continue;
    const char *p = ts__map_piece(j, &j->piece[i]), *by = ts__map_text(j, j->piece[i].extent);
    e = e ? ts_arena_printf(j->a, "%s * %s + %s", in_product(j, e), in_product(j, by), p) : p;
  }
  return e;
}

// One iterator for each role: outer spatial ones, the roles, outer reduce ones.
static bool space(maker *m) {
  ts__mapjob *j = m->j;
  bool as_is = true;
  for (int r = 0; r < j->nroles; r++) as_is &= __builtin_popcount(j->cast[r]) == 1;
  for (int i = 0; i < j->npieces; i++) as_is &= !j->piece[i].by;
  for (int r = 0; as_is && r < j->nroles; r++) m->index[r] = j->piece[__builtin_ctz(j->cast[r])].iter;
  if (as_is) return true;
  ts_text t = {0};
  int n = 0;
  ts_text_add(&t, "(");
  for (int i = 0; i < j->have->niters; i++) ts_text_addf(&t, i ? ", %s" : "%s", j->have->iters[i].var->name);
  ts_text_add(&t, ") -> (");
  for (int i = 0; i < j->npieces; i++)
    if (outer_piece(j, i, TS_ITER_SPATIAL)) ts_text_addf(&t, n++ ? ", %s" : "%s", ts__map_piece(j, &j->piece[i]));
  for (int r = 0; r < j->nroles; r++) {
    m->index[r] = n;
    if (n++) ts_text_add(&t, ", ");
    ts_text_add(&t, fused_text(j, r));
  }
  for (int i = 0; i < j->npieces; i++)
    if (outer_piece(j, i, TS_ITER_REDUCE)) ts_text_addf(&t, n++ ? ", %s" : "%s", ts__map_piece(j, &j->piece[i]));
  ts_text_add(&t, ")");
  bool ok = step(m, "transform_block_layout b \"%s\"", ts_text_str(&t));
  ts_text_free(&t);
  return ok;
}

// --- operands ------------------------------------------------------------------------------------------------------
static int iter_at(const ts_block *b, const ts_expr *e) {
  for (int i = 0; e->kind == TS_E_VAR && i < b->niters; i++)
    if (b->iters[i].var == e->var) return i;
  return -1;
}

// Each index is an iterator of its own that stays inside the buffer, or a constant.
static bool plain(const ts__mapjob *j, const ts_block *b, const ts__place *p) {
  for (int d = 0; d < p->buf->ndim; d++) {
    int at = iter_at(b, p->idx[d]);
    if (!ts_is_int(p->idx[d], NULL) && at < 0) return false;
    if (at >= 0 && ts_prove_le(j->an, b->iters[at].dom.extent, p->buf->shape[d]) != TS_YES) return false;
    for (int k = 0; k < d; k++)
      if (p->idx[k] == p->idx[d] && !ts_is_int(p->idx[d], NULL)) return false;
  }
  return true;
}

// Must the operand be laid out in tiles? One row of a tile along the last dimension lies as it should.
static bool wants_tiles(const maker *m, int k) {
  const ts_buffer *o = m->j->x->desc->params[k].buf;
  const ts__place *p = &m->at[k];
  if (o->stride || !o->ndim || !p->buf->ndim) return false;
  if (o->ndim > 1) return true;
  int last = iter_at(block_now(m), p->idx[p->buf->ndim - 1]);
  for (int r = 0; r < m->j->nroles; r++)
    if (m->j->role[r].in >> k & 1) return last != m->index[r];
  return false;
}

static bool takes_padding(const maker *m, int k) {
  for (int r = 0; r < m->j->nroles; r++)
    if (m->padded[r] && (m->j->role[r].in >> k & 1)) return true;
  return false;
}

static bool seen_before(const maker *m, int k) {
  for (int i = 0; i < k; i++)
    if (m->at[i].buf == m->at[k].buf) return true;
  return false;
}

static bool copies(maker *m) {
  TS_TRY(look_again(m));
  for (int k = 0; k < m->j->x->desc->nparams; k++) {
    bool own = !ts__is_param(m->j->f, m->at[k].buf) || takes_padding(m, k);
    if (seen_before(m, k) || (plain(m->j, block_now(m), &m->at[k]) && (own || !wants_tiles(m, k)))) continue;
    TS_TRY(step(m, "r%d = reindex b \"%s\"", k, m->at[k].buf->name) && look_again(m));
    m->copied |= 1 << k;
  }
  return true;
}

static bool padding(maker *m) {
  const ts_block *b = block_now(m);
  bool any = false;
  ts_text t = {0};
  for (int i = 0; i < b->niters; i++) {
    int64_t to = 1;
    for (int r = 0; r < m->j->nroles; r++)
      if (m->index[r] == i && m->padded[r]) to = m->j->role[r].extent, any = true;
    ts_text_addf(&t, i ? ", %lld" : "%lld", (long long)to);
  }
  bool ok = !any || step(m, "pad_einsum b [%s]", ts_text_str(&t));
  ts_text_free(&t);
  for (int k = 0; ok && any && k < m->j->x->desc->nparams; k++) {
    if (!(m->copied >> k & 1) || !takes_padding(m, k)) continue;
    ok = step(m, k == 0 ? "reverse_compute_inline r%d" : "compute_inline r%d", k);
  }
  return ok && look_again(m);
}

typedef struct finder {
  const ts_buffer *buf;
  const ts_expr *const *idx;
} finder;
static bool find_load(void *arg, const ts_expr *e) {
  finder *f = arg;
  if (e->kind == TS_E_LOAD && e->buf == f->buf) f->idx = e->arg;
  return !f->idx;
}

// The indices of the operand in the description.
static const ts_expr *const *described_at(const ts__mapjob *j, const ts_buffer *o) {
  const ts_stmt *st = j->want->body;
  finder f = {o, st->store.buf == o ? st->store.idx : NULL};
  ts_expr_visit(st->store.value, find_load, &f);
  return f.idx;
}

// dims -> (outer parts, and the parts inside a tile in the order of the operand's dimensions)
static bool tiles_of(maker *m, int k) {
  const ts_block *b = block_now(m);
  const ts__place *p = &m->at[k];
  const ts_buffer *o = m->j->x->desc->params[k].buf;
  int dim[TS__MAX_ROLES];
  ts_text t = {0};
  ts_text_add(&t, "(");
  for (int d = 0; d < p->buf->ndim; d++) ts_text_addf(&t, d ? ", d%d" : "d%d", d);
  ts_text_add(&t, ") -> (");
  for (int r = 0; r < m->j->nroles; r++) dim[r] = -1;
  for (int d = 0; d < p->buf->ndim; d++) {
    int64_t by = 0;
    for (int r = 0; r < m->j->nroles; r++)
      if (iter_at(b, p->idx[d]) == m->index[r]) dim[r] = d, by = m->j->role[r].extent;
    ts_text_addf(&t, d ? ", d%d" : "d%d", d);
    if (by) ts_text_addf(&t, " // %lld", (long long)by);
  }
  const ts_expr *const *idx = described_at(m->j, o);
  for (int i = 0; i < o->ndim; i++)
    for (int r = 0; r < m->j->nroles; r++)
      if (idx[i]->kind == TS_E_VAR && idx[i]->var == m->j->role[r].iter->var && dim[r] >= 0)
        ts_text_addf(&t, ", d%d %% %lld", dim[r], (long long)m->j->role[r].extent);
  ts_text_add(&t, ")");
  bool ok = step(m, "transform_layout b \"%s\" \"%s\"", p->buf->name, ts_text_str(&t));
  ts_text_free(&t);
  return ok && look_again(m);
}

static bool layouts(maker *m) {
  for (int k = 0; k < m->j->x->desc->nparams; k++)
    if (!seen_before(m, k) && wants_tiles(m, k)) TS_TRY(tiles_of(m, k));
  return true;
}

// --- loops ---------------------------------------------------------------------------------------------------------
static const ts_stmt *loop_named(const maker *m, const char *name) { return ts_sched_loop(m->s, ts_sched_find(m->s, name)); }

static bool loops(maker *m) {
  const ts_block *b = block_now(m);
  ts_text t = {0};
  m->nloops = b->niters;
  if (b->niters > TS__MAX_PIECES) return fail(m, "the block has too many iterators");
  for (int i = 0; i < m->nloops; i++) ts_text_addf(&t, i ? ", l%d" : "l%d", i);
  bool ok = step(m, "%s = get_loops b", ts_text_str(&t));
  ts_text_free(&t);
  TS_TRY(ok);
  for (int l = 0; l < m->nloops; l++) {
    const char *name = ts_arena_printf(m->j->a, "l%d", l);
    for (int i = 0; i < b->niters; i++)
      if (b->iters[i].value->kind == TS_E_VAR && b->iters[i].value->var == loop_named(m, name)->loop.var) m->loop[i] = name;
  }
  for (int i = 0; i < b->niters; i++)
    if (!m->loop[i]) return fail(m, ts_arena_printf(m->j->a, "iterator %s is not a loop", b->iters[i].var->name));
  return true;
}

static bool tiles(maker *m) {
  for (int r = 0; r < m->j->nroles; r++) {
    const char *l = m->loop[m->index[r]];
    int64_t extent;
    if (ts_is_int(loop_named(m, l)->loop.extent, &extent) && extent == m->j->role[r].extent) {
      m->inner[r] = l;
      continue;
    }
    m->inner[r] = ts_arena_printf(m->j->a, "%si", l);
    TS_TRY(step(m, "%so, %s = split %s [_, %lld] tail=perfect", l, m->inner[r], l, (long long)m->j->role[r].extent));
    m->loop[m->index[r]] = ts_arena_printf(m->j->a, "%so", l);
  }
  return true;
}

static bool is_inner(const maker *m, const char *loop) {
  for (int r = 0; r < m->j->nroles; r++)
    if (!strcmp(m->inner[r], loop)) return true;
  return false;
}

// Outer spatial loops, outer reduce loops, the tile; then the initialisation before the first reduce loop.
static bool order(maker *m) {
  const ts_block *b = block_now(m);
  ts_text t = {0};
  const char *reduce = NULL;
  for (int kind = 0; kind < 2; kind++)
    for (int i = 0; i < m->nloops; i++) {
      bool r = b->iters[i].kind == TS_ITER_REDUCE;
      if (r != (kind == 1) || is_inner(m, m->loop[i])) continue;
      ts_text_addf(&t, " %s", m->loop[i]);
      if (r && !reduce) reduce = m->loop[i];
    }
  for (int r = 0; r < m->j->nroles; r++) {
    ts_text_addf(&t, " %s", m->inner[r]);
    if (!reduce && m->j->role[r].iter->kind == TS_ITER_REDUCE) reduce = m->inner[0];
  }
  bool ok = !strchr(ts_text_str(&t) + 1, ' ') || step(m, "reorder%s", ts_text_str(&t));
  ts_text_free(&t);
  return ok && (!b->init || !reduce || step(m, "decompose_reduction b %s", reduce));
}

void ts__map_realise(ts__mapjob *j, ts_mapping *out) {
  maker m = {.j = j, .s = ts_sched_new(j->ir, j->f, 0)};
  for (int r = 0; r < j->nroles; r++) m.padded[r] = out->role[r].padded != NULL;
  ts__place keep[TS__MAX_OPERANDS];
  memcpy(keep, j->at, sizeof keep);
  bool ok = step(&m, "b = get_block \"%s\"", j->name) && space(&m) && copies(&m) && padding(&m) && layouts(&m) && loops(&m) && tiles(&m) &&
            order(&m) && step(&m, "t = tensorize %s \"%s\"", m.inner[0], j->x->name);
  memcpy(j->at, keep, sizeof keep);
  out->refusal = ok ? NULL : m.refusal;
  out->trace = ts_arena_printf(j->a, "%s%s", j->first, ts_text_str(&m.trace));
  ts_text_free(&m.trace);
}
