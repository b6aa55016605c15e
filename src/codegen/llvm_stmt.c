// Statements: sequences, loops, conditions, allocations.
#include "codegen/nvptx.h"

enum {
  MOST_COPIES = 512,     // of an unrolled loop's body
  MOST_STACK = 1 << 20,  // bytes of buffers in one function; a thread's stack has 8 MiB
};

void ts__g_counted(ts__gen *g, LLVMValueRef from, LLVMValueRef to, int64_t step, bool once, ts__loop_fn body,
                   const ts_stmt *s) {
  LLVMBasicBlockRef before = LLVMGetInsertBlock(g->b), loop = ts__g_block(g, "loop"), end = ts__g_block(g, "end");
  if (once) {
    LLVMBuildBr(g->b, loop);
  } else {
    LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, from, to, ""), loop, end);
  }
  LLVMPositionBuilderAtEnd(g->b, loop);
  LLVMValueRef i = LLVMBuildPhi(g->b, LLVMInt64TypeInContext(g->ctx), "");
  body(g, s, i);
  LLVMValueRef next = LLVMBuildNSWAdd(g->b, i, ts__g_i64(g, step), "");
  LLVMValueRef in[] = {from, next};
  LLVMBasicBlockRef blocks[] = {before, LLVMGetInsertBlock(g->b)};
  LLVMAddIncoming(i, in, blocks, 2);
  LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, next, to, ""), loop, end);
  LLVMPositionBuilderAtEnd(g->b, end);
}

void ts__g_loop_body(ts__gen *g, const ts_stmt *s, LLVMValueRef v) {
  size_t vars = g->vars.n;
  ts__g_bind(g, (ts__bound){.var = s->loop.var, .val = {v, 1}, .nonneg = ts__g_nonneg(g, s->loop.min)});
  ts__g_stmt(g, s->loop.body);
  g->vars.n = vars;
}

// The loop's bounds as values; memos made on the way are dropped.
static void bounds(ts__gen *g, const ts_stmt *s, LLVMValueRef *from, LLVMValueRef *to) {
  size_t mark = g->memo.n;
  *from = ts__g_scalar(g, s->loop.min);
  *to = LLVMBuildAdd(g->b, *from, ts__g_scalar(g, s->loop.extent), "");
  ts__g_forget(g, mark);
}

void ts__g_serial_loop(ts__gen *g, const ts_stmt *s) {
  int64_t extent;
  LLVMValueRef from, to;
  bool known = ts_is_int(s->loop.extent, &extent);
  if (known && extent <= 0) return;
  bounds(g, s, &from, &to);
  if (known && extent == 1) {
    ts__g_loop_body(g, s, from);
  } else {
    ts__g_counted(g, from, to, 1, known, ts__g_loop_body, s);
  }
}

static void unrolled_loop(ts__gen *g, const ts_stmt *s) {
  int64_t extent;
  if (!ts_is_int(s->loop.extent, &extent) || extent > MOST_COPIES) {
    ts__g_serial_loop(g, s);
    return;
  }
  LLVMValueRef from = ts__g_scalar(g, s->loop.min);
  for (int64_t i = 0; i < extent && !g->failed; i++) {
    ts__g_forget(g, 0);
    ts__g_loop_body(g, s, LLVMBuildAdd(g->b, from, ts__g_i64(g, i), ""));
  }
}

static void any_loop(ts__gen *g, const ts_stmt *s) {
  int64_t extent;
  switch (s->loop.kind) {
    case TS_PARALLEL:
      ts__g_parallel_loop(g, s);
      return;
    case TS_UNROLL:
      unrolled_loop(g, s);
      return;
    case TS_VECTORIZE:
      if (g->lane_var || !ts_is_int(s->loop.extent, &extent)) {
        ts__g_serial_loop(g, s);
      } else {
        ts__g_vector_loop(g, s, extent);
      }
      return;
    case TS_THREAD:
      if (g->nv && s->loop.axis == TS_VTHREAD) {
        unrolled_loop(g, s);
        return;
      }
      if (g->nv) {
        ts__nv_thread_loop(g, s);
        return;
      }
      ts__g_fail(g, TS_INDEX, "thread-loop", "loop %.60s is bound to %s, which a CPU does not have", s->loop.var->name,
                 ts_axis_name(s->loop.axis));
      return;
    default:
      ts__g_serial_loop(g, s);
      return;
  }
}

static void for_stmt(ts__gen *g, const ts_stmt *s) {
  bool trailing = g->nv && ts_notes_find(s->loop.notes, "trailing");
  if (trailing) g->nv->trailing++;
  any_loop(g, s);
  if (trailing) g->nv->trailing--;
}

// Emits s under `cond` (i1), with `mask` as the active lanes.
static void branch(ts__gen *g, LLVMValueRef cond, LLVMValueRef mask, const ts_stmt *s) {
  LLVMBasicBlockRef then = ts__g_block(g, "then"), end = ts__g_block(g, "endif");
  LLVMValueRef outer = g->mask;
  LLVMBuildCondBr(g->b, cond, then, end);
  LLVMPositionBuilderAtEnd(g->b, then);
  g->mask = mask;
  ts__g_stmt(g, s);
  g->mask = outer;
  LLVMBuildBr(g->b, end);
  LLVMPositionBuilderAtEnd(g->b, end);
}

static void vector_if(ts__gen *g, const ts_stmt *s, LLVMValueRef c) {
  LLVMValueRef yes = g->mask ? LLVMBuildAnd(g->b, g->mask, c, "") : c;
  branch(g, ts__g_any(g, yes), yes, s->cond.then);
  if (!s->cond.other) return;
  LLVMValueRef no = LLVMBuildNot(g->b, c, "");
  if (g->mask) no = LLVMBuildAnd(g->b, g->mask, no, "");
  branch(g, ts__g_any(g, no), no, s->cond.other);
}

static void scalar_if(ts__gen *g, const ts_stmt *s, LLVMValueRef c) {
  if (LLVMIsAConstantInt(c)) {
    const ts_stmt *taken = LLVMConstIntGetZExtValue(c) ? s->cond.then : s->cond.other;
    if (taken) ts__g_stmt(g, taken);
    return;
  }
  if (!s->cond.other) {
    branch(g, c, g->mask, s->cond.then);
    return;
  }
  LLVMBasicBlockRef then = ts__g_block(g, "then"), other = ts__g_block(g, "else"), end = ts__g_block(g, "endif");
  LLVMBuildCondBr(g->b, c, then, other);
  LLVMPositionBuilderAtEnd(g->b, then);
  ts__g_stmt(g, s->cond.then);
  LLVMBuildBr(g->b, end);
  LLVMPositionBuilderAtEnd(g->b, other);
  ts__g_stmt(g, s->cond.other);
  LLVMBuildBr(g->b, end);
  LLVMPositionBuilderAtEnd(g->b, end);
}

static void if_stmt(ts__gen *g, const ts_stmt *s) {
  size_t mark = g->memo.n;
  ts__val c = ts__g_expr(g, s->cond.cond);
  ts__g_forget(g, mark);
  if (g->failed) return;
  if (c.lanes > 1) {
    vector_if(g, s, c.v);
  } else {
    scalar_if(g, s, c.v);
  }
}

static void let_stmt(ts__gen *g, const ts_stmt *s) {
  size_t mark = g->memo.n, vars = g->vars.n;
  ts__val v = ts__g_expr(g, s->let.value);
  bool nonneg = ts__g_nonneg(g, s->let.value);
  ts__g_forget(g, mark);
  ts__g_bind(g, (ts__bound){.var = s->let.var, .val = v, .nonneg = nonneg, .let = s->let.value});
  ts__g_stmt(g, s->let.body);
  g->vars.n = vars;
}

// Storage of b: a stack slot of the function, or the next bytes of the workspace.
static LLVMValueRef storage(ts__gen *g, const ts_buffer *b) {
  int64_t n;
  if (g->nv) return ts__nv_storage(g, b);
  if (ts__on_stack(b, &n)) {
    g->stack += n * ts_code_bytes(b->code);
    if (g->stack > MOST_STACK)
      return ts__g_fail(g, TS_INDEX, "stack-too-large", "buffers of more than %d bytes are on the stack at %.60s",
                        MOST_STACK, b->name)
          .v;
    LLVMTypeRef t = LLVMArrayType2(ts__g_mem_type(g, b->code, 1), (uint64_t)n);
    return ts__g_slot(g, t, 64);
  }
  if (g->in_parallel)
    return ts__g_fail(g, TS_INDEX, "buffer-too-large", "buffer %.60s inside a parallel loop does not fit the stack",
                      b->name)
        .v;
  LLVMValueRef at = LLVMBuildInBoundsGEP2(g->b, LLVMInt8TypeInContext(g->ctx), g->workspace, &g->ws_used, 1, "");
  g->ws_used = LLVMBuildAdd(g->b, g->ws_used, ts__g_buffer_bytes(g, b), "");
  return at;
}

static void alloc_stmt(ts__gen *g, const ts_stmt *s) {
  LLVMValueRef used = g->ws_used, ptr = storage(g, s->alloc.buf);
  if (g->failed) return;
  ts_vec_push(g->arena, &g->places, ((ts__place){s->alloc.buf, ptr}));
  ts__g_stmt(g, s->alloc.body);
  g->places.n--;
  g->ws_used = used;
}

static void eval_stmt(ts__gen *g, const ts_stmt *s) {
  size_t mark = g->memo.n;
  ts__g_expr(g, s->eval);
  ts__g_forget(g, mark);
}

void ts__g_stmt(ts__gen *g, const ts_stmt *s) {
  if (g->failed) return;
  switch (s->kind) {
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) ts__g_stmt(g, s->seq.child[i]);
      return;
    case TS_S_FOR:
      for_stmt(g, s);
      return;
    case TS_S_STORE:
      ts__g_store(g, s);
      return;
    case TS_S_IF:
      if_stmt(g, s);
      return;
    case TS_S_LET:
      let_stmt(g, s);
      return;
    case TS_S_ALLOC:
      alloc_stmt(g, s);
      return;
    case TS_S_EVAL:
      eval_stmt(g, s);
      return;
    default:
      ts__g_fail(g, TS_INDEX, "not-lowered", "a block is left");
      return;
  }
}
