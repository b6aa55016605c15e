// See steps.h. One function a primitive or family, one row each in the table at the end.
#include "schedule/steps.h"

typedef struct draw {
  ts_sched *s;
  ts_rng *r;
  ts_prim prim;
  ts_rv block, other;
  ts_rv loop[32], far[32];
  int nloops, nfar;
} draw;

static int pick(draw *d, int n) { return (int)ts_rng_below(d->r, (uint32_t)n); }

static bool call(draw *d, ts_prim p, const ts_arg *args, int n) {
  return ts_sched_call(d->s, p, args, n, NULL, 0, NULL, NULL);
}

// --- choosing blocks and loops
// ------------------------------------------------------------------------------------------
typedef struct block_names {
  bool (*want)(const ts_block *b);  // NULL: any
  const char *name[64];
  int n;
} block_names;

static bool see_block(void *arg, const ts_stmt *s) {
  block_names *b = arg;
  if (s->kind == TS_S_BLOCK && strcmp(s->block->name, "root") != 0 && b->n < 64 && (!b->want || b->want(s->block)))
    b->name[b->n++] = s->block->name;
  return true;
}

// A block and its loops, one that is wanted where there is one.
static bool block_get(draw *d, bool (*want)(const ts_block *), ts_rv *block, ts_rv *loops, int *nloops) {
  block_names b = {.want = want};
  ts_stmt_visit(ts_sched_func(d->s)->body, see_block, NULL, &b);
  if (!b.n && want) return block_get(d, NULL, block, loops, nloops);
  if (!b.n) return false;
  *nloops = 0;
  if (!ts_sched_call(d->s, TS_P_get_block, TS_ARGS(TS_ASTR(b.name[pick(d, b.n)])), block, 1, NULL, NULL)) return false;
  bool ok = ts_sched_call(d->s, TS_P_get_loops, TS_ARGS(TS_ARV(*block)), loops, 32, nloops, NULL);
  if (*nloops > 32) *nloops = 32;
  return ok;
}

static bool far_get(draw *d) { return block_get(d, NULL, &d->other, d->far, &d->nfar) && d->nfar; }

// Mostly blocks that the step is about.
static bool about(draw *d, bool (*want)(const ts_block *)) {
  return !pick(d, 4) || block_get(d, want, &d->block, d->loop, &d->nloops);
}

static ts_arg any_loop(draw *d) { return TS_ARV(d->loop[pick(d, d->nloops)]); }
static ts_arg any_scope(draw *d) {
  static const char *const s[] = {"local", "global", "shared"};
  return TS_ASTR(s[pick(d, 3)]);
}
static ts_arg any_target(draw *d) { return d->nloops && pick(d, 2) ? any_loop(d) : TS_ARV(d->block); }
static const ts_block *body(const draw *d) { return ts_sched_block(d->s, d->block)->block; }

static bool has_init(const ts_block *b) { return b->init != NULL; }
static bool updates(const ts_block *b) {
  for (int i = 0; i < b->nwrites; i++)
    for (int k = 0; k < b->nreads; k++)
      if (b->writes[i].buf == b->reads[k].buf && !b->init) return true;
  return false;
}
static bool see_works(void *arg, const ts_expr *e) {
  bool *works = arg;
  for (int k = 0; e->kind == TS_E_LOAD && k < e->buf->ndim; k++)
    *works |= e->arg[k]->kind == TS_E_FLOORDIV || e->arg[k]->kind == TS_E_FLOORMOD;
  return true;
}
static bool see_select(void *arg, const ts_expr *e) {
  bool *selects = arg;
  *selects |= e->kind == TS_E_SELECT;
  return true;
}
static bool computes_index(const ts_block *b) {
  bool works = false;
  ts_stmt_visit(b->body, NULL, see_works, &works);
  return works;
}
static bool selects(const ts_block *b) {
  bool found = false;
  ts_stmt_visit(b->body, NULL, see_select, &found);
  return found && !b->init;
}
// Reads a window of some buffer.
static bool windows(const ts_block *b) {
  bool more = false;
  int64_t n;
  for (int i = 0; i < b->nreads; i++)
    for (int d = 0; d < b->reads[i].buf->ndim; d++) more |= ts_is_int(b->reads[i].dim[d].extent, &n) && n > 1;
  return more && !b->init;
}
static bool dots(const ts_block *b) { return strncmp(b->name, "dot", 3) == 0; }

// --- families with simple arguments
// ---------------------------------------------------------------------------------------
static bool on_block(draw *d) { return call(d, d->prim, TS_ARGS(TS_ARV(d->block))); }
static bool on_loop(draw *d) { return d->nloops && call(d, d->prim, TS_ARGS(any_loop(d))); }
static bool on_block_loop(draw *d) { return d->nloops && call(d, d->prim, TS_ARGS(TS_ARV(d->block), any_loop(d))); }
static bool on_target(draw *d) { return call(d, d->prim, TS_ARGS(any_target(d))); }
static bool on_buffer(draw *d) { return call(d, d->prim, TS_ARGS(TS_ARV(d->block), TS_AINT(pick(d, 2)))); }
static bool on_buffer_scope(draw *d) {
  return call(d, d->prim, TS_ARGS(TS_ARV(d->block), TS_AINT(pick(d, 2)), any_scope(d)));
}

// --- loops
// ------------------------------------------------------------------------------------------------------------------
static bool split_draw(draw *d) {
  ts_arg f[3];
  int n = 2 + pick(d, 2), open = pick(d, n + 1);
  if (!d->nloops) return false;
  for (int i = 0; i < n; i++) f[i] = i == open ? TS_AOPEN : TS_AINT(1 + pick(d, 6));
  return call(d, TS_P_split, TS_ARGS(any_loop(d), TS_ALISTN(n, f), TS_AWORD(pick(d, 4) ? "guard" : "perfect")));
}

static bool tile_draw(draw *d) {
  ts_rv f[2];
  if (!d->nloops) return false;
  ts_arg l = any_loop(d);
  bool perfect = d->prim == TS_P_sample_perfect_tile;
  bool drawn = perfect ? ts_sched_call(d->s, d->prim, TS_ARGS(l, TS_AINT(2), TS_AINT(8)), f, 2, NULL, NULL)
                       : ts_sched_call(d->s, d->prim, TS_ARGS(l, TS_AINT(2), TS_AINT(1), TS_AINT(1 + pick(d, 3))), f, 2,
                                       NULL, NULL);
  return drawn && call(d, TS_P_split, TS_ARGS(l, TS_ALIST(TS_ARV(f[0]), TS_ARV(f[1]))));
}

static bool categorical_draw(draw *d) {
  ts_rv v;
  if (!d->nloops) return false;
  ts_arg l = any_loop(d), some = TS_ALIST(TS_AINT(1), TS_AINT(2), TS_AINT(3), TS_AINT(4));
  return ts_sched_call(d->s, TS_P_sample_categorical, TS_ARGS(some), &v, 1, NULL, NULL) &&
         call(d, TS_P_split, TS_ARGS(l, TS_ALIST(TS_AOPEN, TS_ARV(v))));
}

static bool reorder_draw(draw *d) {
  ts_arg l[32];
  int n = 0;
  for (int i = 0; i < d->nloops; i++)
    if (pick(d, 4)) l[n++] = TS_ARV(d->loop[i]);
  for (int i = n - 1; i > 0; i--) {
    int k = pick(d, i + 1);
    ts_arg t = l[i];
    l[i] = l[k], l[k] = t;
  }
  return n && call(d, TS_P_reorder, TS_ARGS(TS_ALISTN(n, l)));
}

static bool fuse_draw(draw *d) {
  if (!d->nloops) return false;
  int first = pick(d, d->nloops), n = TS_MIN(2 + pick(d, 2), d->nloops - first);
  ts_arg l[4];
  for (int i = 0; i < n; i++) l[i] = TS_ARV(d->loop[first + i]);
  return call(d, TS_P_fuse, TS_ARGS(TS_ALISTN(n, l)));
}

static bool merge_draw(draw *d) {
  return d->nloops && far_get(d) && call(d, TS_P_merge, TS_ARGS(TS_ALIST(TS_ARV(d->loop[0]), TS_ARV(d->far[0]))));
}

static bool partition_draw(draw *d) {
  return d->nloops && call(d, TS_P_loop_partition, TS_ARGS(any_loop(d), TS_ALIST(TS_AINT(1 + pick(d, 5)), TS_AOPEN)));
}

static bool bind_draw(draw *d) {
  static const char *const axis[] = {"threadIdx.x", "blockIdx.x", "threadIdx.y"};
  return d->nloops && call(d, TS_P_bind, TS_ARGS(any_loop(d), TS_AWORD(axis[pick(d, 3)])));
}

// Stages that rise along the body, with exceptions.
static bool pipeline_draw(draw *d) {
  ts_arg stage[8];
  int n = 0;
  if (!d->nloops) return false;
  ts_rv l = d->loop[pick(d, d->nloops)];
  (void)ts_pipeline_body(ts_sched_ir(d->s), ts_sched_loop(d->s, l), &n);
  n = TS_MIN(n, 8);
  for (int i = 0, at = 0; i < n; i++) stage[i] = TS_AINT(at), at = pick(d, 8) ? at + pick(d, 3) : 0;
  return call(d, TS_P_pipeline, TS_ARGS(TS_ARV(l), TS_ALISTN(n, stage)));
}

static bool declare_draw(draw *d) {
  static const char *const fact[] = {"n <= 32", "n >= 2", "n % 2 == 0", "n <= 16 && n % 4 == 0"};
  return call(d, TS_P_declare, TS_ARGS(TS_ASTR(fact[pick(d, 4)])));
}

static bool annotate_draw(draw *d) {
  static const char *const key[] = {"note", "unroll_explicit"};
  ts_arg to = any_target(d), k = TS_ASTR(key[pick(d, 2)]);
  if (d->prim == TS_P_annotate) return call(d, TS_P_annotate, TS_ARGS(to, k, TS_AINT(pick(d, 4))));
  if (pick(d, 2) && !call(d, TS_P_annotate, TS_ARGS(to, k, TS_AINT(pick(d, 4))))) return false;
  return call(d, TS_P_unannotate, TS_ARGS(to, k));
}

// --- moving
// ------------------------------------------------------------------------------------------------------------------
static bool move_draw(draw *d) {
  return far_get(d) && call(d, d->prim, TS_ARGS(TS_ARV(d->block), TS_ARV(d->far[pick(d, d->nfar)])));
}

static bool location_draw(draw *d) {
  ts_rv v;
  if (!pick(d, 4)) return call(d, TS_P_compute_location, TS_ARGS(TS_ARV(d->block), TS_AINT(pick(d, 5) - 2)));
  return ts_sched_call(d->s, TS_P_sample_compute_location, TS_ARGS(TS_ARV(d->block)), &v, 1, NULL, NULL) &&
         call(d, TS_P_compute_location, TS_ARGS(TS_ARV(d->block), TS_ARV(v)));
}

// A producer under a loop of its consumer, where consecutive iterations may overlap; then its buffer may roll.
static bool rolling_draw(draw *d) {
  ts_rv p[8];
  int n = 0;
  if (!pick(d, 4)) return on_block_loop(d);
  if (!about(d, windows) || !d->nloops ||
      !ts_sched_call(d->s, TS_P_get_producers, TS_ARGS(TS_ARV(d->block)), p, 8, &n, NULL) || !n)
    return false;
  ts_arg from = TS_ARV(p[pick(d, TS_MIN(n, 8))]);
  for (int k = 0, first = pick(d, d->nloops); k < d->nloops; k++) {
    ts_arg at = TS_ARV(d->loop[(first + k) % d->nloops]);
    if (!call(d, TS_P_compute_at, TS_ARGS(from, at))) continue;
    if (call(d, TS_P_rolling_buffer, TS_ARGS(from, at))) return true;
    if (k + 1 < d->nloops) ts_sched_undo(d->s, 1);
  }
  return false;
}

// A reduction and one of its consumers.
static bool epilogue_draw(draw *d) {
  ts_rv c[8];
  int n = 0;
  if (!about(d, has_init) || !ts_sched_call(d->s, TS_P_get_consumers, TS_ARGS(TS_ARV(d->block)), c, 8, &n, NULL) || !n)
    return false;
  return call(d, TS_P_fuse_reduction_epilogue, TS_ARGS(TS_ARV(d->block), TS_ARV(c[pick(d, TS_MIN(n, 8))])));
}

// --- reductions, padding, intrinsics
// -----------------------------------------------------------------------------------------
static bool decompose_draw(draw *d) { return about(d, has_init) && on_block_loop(d); }
static bool padding_draw(draw *d) { return about(d, selects) && on_block_loop(d); }
static bool rfactor_draw(draw *d) {
  return about(d, has_init) && d->nloops && call(d, TS_P_rfactor, TS_ARGS(any_loop(d), TS_AINT(pick(d, 3))));
}

static bool einsum_draw(draw *d) {
  ts_arg k[16];
  int n = TS_MIN(body(d)->niters, 16);
  for (int i = 0; i < n; i++) k[i] = TS_AINT(pick(d, 2) ? 1 : 1 + pick(d, 8));
  return call(d, TS_P_pad_einsum, TS_ARGS(TS_ARV(d->block), TS_ALISTN(n, k)));
}

// The way to an intrinsic: the reduction over steps outside the tile, initialised before it. Some of it may be done
// already.
static bool tensorize_draw(draw *d) {
  ts_arg intrin = TS_ASTR("vpdpbusd_16x4");
  if (!about(d, dots) || !d->nloops) return false;
  if (d->nloops != 5 || !pick(d, 4)) return call(d, TS_P_tensorize, TS_ARGS(any_loop(d), intrin));
  ts_arg l[4] = {TS_ARV(d->loop[1]), TS_ARV(d->loop[3]), TS_ARV(d->loop[2]), TS_ARV(d->loop[4])};
  return call(d, TS_P_reorder, TS_ARGS(TS_ALISTN(4, l))) &&
         call(d, TS_P_decompose_reduction, TS_ARGS(TS_ARV(d->block), TS_ARV(d->loop[3]))) &&
         call(d, TS_P_tensorize, TS_ARGS(TS_ARV(d->loop[2]), intrin));
}

// --- buffers and layouts
// -----------------------------------------------------------------------------------------------------
static bool inplace_draw(draw *d) {
  return about(d, updates) && call(d, TS_P_cache_inplace, TS_ARGS(TS_ARV(d->block), TS_AINT(0), any_scope(d)));
}
static bool index_draw(draw *d) {
  return about(d, computes_index) &&
         call(d, TS_P_cache_index, TS_ARGS(TS_ARV(d->block), any_scope(d), TS_AINT(1 + !pick(d, 3))));
}
static bool align_draw(draw *d) {
  return call(d, TS_P_storage_align,
              TS_ARGS(TS_ARV(d->block), TS_AINT(0), TS_AINT(0), TS_AINT(4 << pick(d, 3)), TS_AINT(pick(d, 3))));
}
static bool dtype_draw(draw *d) {
  const ts_block *b = body(d);
  if (!b->nwrites || !ts_code_is_float(b->writes[0].buf->code)) return false;  // wider: nothing is rounded
  return call(d, TS_P_unsafe_set_dtype, TS_ARGS(TS_ARV(d->block), TS_ASTR(b->writes[0].buf->name), TS_AWORD("f64")));
}

static bool order_draw(draw *d) {
  ts_arg k[16];
  int n = TS_MIN(body(d)->niters, 16), turn = pick(d, n + 1);
  for (int i = 0; i < n; i++) k[i] = TS_AINT((i + turn) % n);
  return call(d, TS_P_reorder_block_iter_var, TS_ARGS(TS_ARV(d->block), TS_ALISTN(n, k)));
}

// Maps of two or three indices: turned round, split, or fused.
static bool layout_draw(draw *d) {
  static const char *const two[] = {"(i, j) -> (j, i)", "(i, j) -> (i // 2, j, i % 2)", "(i, j) -> (i, j // 4, j % 4)",
                                    "(i, j) -> (i * 3 + j)"};
  static const char *const three[] = {"(i, j, k) -> (j, k, i)", "(i, j, k) -> (i, j, k // 2, k % 2)",
                                      "(i, j, k) -> (i // 2, j, i % 2, k)"};
  bool block = d->prim == TS_P_transform_block_layout;
  const ts_block *b = body(d);
  int n = block ? b->niters : b->nwrites ? b->writes[0].buf->ndim : 0;
  if (n != 2 && n != 3) return false;
  ts_arg map = TS_ASTR(n == 2 ? two[pick(d, 4)] : three[pick(d, 3)]);
  if (block) return call(d, d->prim, TS_ARGS(TS_ARV(d->block), map));
  return call(d, d->prim, TS_ARGS(TS_ARV(d->block), TS_ASTR(b->writes[0].buf->name), map));
}

// Layouts by the iterators of a block; which of them index the buffer is left to chance.
static bool reindex_draw(draw *d) {
  static const char *const two[] = {"(i, j) -> (j, i)", "(i, j) -> (i // 2, j, i % 2)", "(i, j) -> (i)",
                                    "(i, j) -> (i, j)"};
  static const char *const three[] = {"(i, j, k) -> (k, i)", "(i, j, k) -> (k, j)", "(i, j, k) -> (j, i)",
                                      "(i, j, k) -> (j // 2, k, j % 2)", "(i, j, k) -> (i // 4, j, i % 4)"};
  int n = body(d)->niters;
  if (n != 2 && n != 3) return false;
  ts_arg map = TS_ASTR(n == 2 ? two[pick(d, 4)] : three[pick(d, 5)]);
  int buf = d->prim == TS_P_reindex_cache_read ? pick(d, 3) : 0;
  return call(d, d->prim, TS_ARGS(TS_ARV(d->block), TS_AINT(buf), any_scope(d), map));
}

// Reads of the whole buffer, or what is written as it is.
static bool access_draw(draw *d) {
  const ts_block *b = body(d);
  bool write = !pick(d, 3);
  const ts_region *r = write ? b->writes : b->reads;
  int n = write ? b->nwrites : b->nreads;
  if (!n) return false;
  r += pick(d, n);
  ts_text t = {0};
  for (int k = 0; k < r->buf->ndim; k++) {
    ts_text_add(&t, k ? ", " : "");
    bool whole = !write && pick(d, 3);
    if (whole)
      ts_text_add(&t, "0");
    else
      ts_expr_print(&t, r->dim[k].min);
    ts_text_add(&t, " ..+ ");
    ts_expr_print(&t, whole ? r->buf->shape[k] : r->dim[k].extent);
  }
  bool ok = call(
      d, TS_P_annotate_buffer_access,
      TS_ARGS(TS_ARV(d->block), TS_ASTR(r->buf->name), TS_AWORD(write ? "write" : "read"), TS_ASTR(ts_text_str(&t))));
  ts_text_free(&t);
  return ok;
}

// --- the table
// ---------------------------------------------------------------------------------------------------------------
static const struct {
  ts_prim prim;
  int weight;
  bool (*go)(draw *d);
} rows[] = {
    {TS_P_get_child_blocks, 1, on_target},
    {TS_P_get_producers, 1, on_block},
    {TS_P_get_consumers, 1, on_block},
    {TS_P_get_output_blocks, 1, on_block},
    {TS_P_sample_perfect_tile, 3, tile_draw},
    {TS_P_sample_partitioned_tile, 3, tile_draw},
    {TS_P_sample_categorical, 3, categorical_draw},
    {TS_P_split, 8, split_draw},
    {TS_P_fuse, 4, fuse_draw},
    {TS_P_reorder, 10, reorder_draw},
    {TS_P_add_unit_loop, 2, on_target},
    {TS_P_parallel, 4, on_loop},
    {TS_P_vectorize, 3, on_loop},
    {TS_P_unroll, 2, on_loop},
    {TS_P_bind, 6, bind_draw},
    {TS_P_annotate, 1, annotate_draw},
    {TS_P_unannotate, 1, annotate_draw},
    {TS_P_cache_read, 4, on_buffer_scope},
    {TS_P_cache_write, 4, on_buffer_scope},
    {TS_P_set_scope, 3, on_buffer_scope},
    {TS_P_compute_at, 10, move_draw},
    {TS_P_reverse_compute_at, 10, move_draw},
    {TS_P_sample_compute_location, 4, location_draw},
    {TS_P_compute_inline, 3, on_block},
    {TS_P_reverse_compute_inline, 3, on_block},
    {TS_P_decompose_reduction, 6, decompose_draw},
    {TS_P_rfactor, 8, rfactor_draw},
    {TS_P_blockize, 3, on_target},
    {TS_P_tensorize, 6, tensorize_draw},
    {TS_P_reorder_block_iter_var, 2, order_draw},
    {TS_P_loop_partition, 3, partition_draw},
    {TS_P_merge, 6, merge_draw},
    {TS_P_reindex, 4, on_buffer},
    {TS_P_reindex_cache_read, 4, reindex_draw},
    {TS_P_reindex_cache_write, 4, reindex_draw},
    {TS_P_transform_block_layout, 3, layout_draw},
    {TS_P_transform_layout, 3, layout_draw},
    {TS_P_unsafe_set_dtype, 2, dtype_draw},
    {TS_P_cache_inplace, 4, inplace_draw},
    {TS_P_cache_index, 4, index_draw},
    {TS_P_cache_expr, 4, on_buffer_scope},
    {TS_P_fuse_reduction_epilogue, 6, epilogue_draw},
    {TS_P_annotate_buffer_access, 3, access_draw},
    {TS_P_decompose_padding, 5, padding_draw},
    {TS_P_rolling_buffer, 8, rolling_draw},
    {TS_P_storage_align, 3, align_draw},
    {TS_P_declare, 2, declare_draw},
    {TS_P_pad_einsum, 5, einsum_draw},
    {TS_P_pipeline, 6, pipeline_draw},
};

bool step_draw(ts_sched *s, ts_rng *r, bool threads) {
  draw d = {.s = s, .r = r};
  int total = 0;
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) total += rows[i].weight;
  int at = pick(&d, total);
  size_t row = 0;
  while ((at -= rows[row].weight) >= 0) row++;
  d.prim = rows[row].prim;
  if (d.prim == TS_P_bind && !threads) return false;
  return block_get(&d, NULL, &d.block, d.loop, &d.nloops) && rows[row].go(&d);
}
