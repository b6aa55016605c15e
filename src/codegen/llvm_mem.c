// Loads and stores of flat buffers: scalar, contiguous, broadcast, out of a small window, or lane by lane.
#include "codegen/nvptx.h"

static LLVMValueRef address(ts__gen *g, const ts_buffer *buf, LLVMValueRef ptr, LLVMValueRef index) {
  if (g->nv && ts__nv_swizzle(buf)) index = ts__nv_swizzled(g, buf, index);
  return LLVMBuildInBoundsGEP2(g->b, ts__g_mem_type(g, buf->code, 1), ptr, &index, 1, "");
}

// Adds the terms of e that are multiples of n to *whole, the others to *rest; NULL stands for 0.
static void split_terms(ts__gen *g, const ts_expr *e, int64_t n, LLVMValueRef *whole, LLVMValueRef *rest) {
  if (e->kind == TS_E_ADD) {
    split_terms(g, e->arg[0], n, whole, rest);
    split_terms(g, e->arg[1], n, whole, rest);
    return;
  }
  LLVMValueRef *to = ts__g_multiple(g, e, n) ? whole : rest, v = ts__g_scalar(g, e);
  *to = *to ? LLVMBuildAdd(g->b, *to, v, "") : v;
}

// The address of the element at index (at lane 0). In a swizzled buffer what moves by whole patterns of 1024 bytes does not change
// which pieces are exchanged: it is added behind, so that the rest is the same in all iterations that move so.
static LLVMValueRef address_of(ts__gen *g, const ts_buffer *buf, LLVMValueRef ptr, const ts_expr *index) {
  if (!g->nv || !ts__nv_swizzle(buf)) return address(g, buf, ptr, ts__g_scalar(g, index));
  LLVMValueRef whole = NULL, rest = NULL;
  split_terms(g, index, 1024 / ts_code_bytes(buf->code), &whole, &rest);
  if (rest) ptr = address(g, buf, ptr, rest);
  return whole ? LLVMBuildInBoundsGEP2(g->b, ts__g_mem_type(g, buf->code, 1), ptr, &whole, 1, "") : ptr;
}

// Bytes that the element at index (at lane 0) is known to be aligned to: its own size on the CPU, where it does not matter.
static int alignment(ts__gen *g, const ts_buffer *buf, const ts_expr *index) {
  int bytes = ts_code_bytes(buf->code);
  if (!g->nv) return bytes;
  for (int a = 16; a > bytes; a /= 2)
    if (!index || ts__g_multiple(g, index, a / bytes)) return a;
  return bytes;
}

static LLVMValueRef address_plus(ts__gen *g, const ts_buffer *buf, LLVMValueRef ptr, int64_t elements) {
  return elements ? address(g, buf, ptr, ts__g_i64(g, elements)) : ptr;
}

static LLVMValueRef load_aligned(ts__gen *g, const ts_buffer *buf, LLVMValueRef ptr, int lanes, int align) {
  LLVMValueRef v = g->nv ? ts__nv_cold_load(g, buf, ptr, lanes, align) : NULL;
  if (v) return v;
  v = LLVMBuildLoad2(g->b, ts__g_mem_type(g, buf->code, lanes), ptr, "");
  LLVMSetAlignment(v, (unsigned)align);
  return v;
}

static LLVMValueRef load_at(ts__gen *g, const ts_buffer *buf, LLVMValueRef ptr, int lanes) {
  return load_aligned(g, buf, ptr, lanes, ts_code_bytes(buf->code));
}

static void store_aligned(ts__gen *g, LLVMValueRef value, LLVMValueRef ptr, int align) {
  LLVMSetAlignment(LLVMBuildStore(g->b, value, ptr), (unsigned)align);
}

static void store_at(ts__gen *g, const ts_buffer *buf, LLVMValueRef value, LLVMValueRef ptr) {
  store_aligned(g, value, ptr, ts_code_bytes(buf->code));
}

static LLVMValueRef from_memory(ts__gen *g, const ts_buffer *buf, LLVMValueRef v) {
  return buf->code == TS_BOOL ? LLVMBuildICmp(g->b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "") : v;
}

static LLVMValueRef to_memory(ts__gen *g, const ts_buffer *buf, LLVMValueRef v, int lanes) {
  return buf->code == TS_BOOL ? LLVMBuildZExt(g->b, v, ts__g_int_type(g, 8, lanes), "") : v;
}

// llvm.masked.{load,store,gather,scatter}: overloaded on the vector and the pointer.
static LLVMValueRef masked(ts__gen *g, const char *name, LLVMTypeRef vec, LLVMTypeRef ptr, LLVMValueRef *args,
                           unsigned n) {
  LLVMTypeRef types[2] = {vec, ptr};
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  LLVMValueRef fn = LLVMGetIntrinsicDeclaration(g->mod, id, types, 2);
  return LLVMBuildCall2(g->b, LLVMIntrinsicGetType(g->ctx, id, types, 2), fn, args, n, "");
}

static LLVMValueRef align_arg(ts__gen *g, const ts_buffer *buf) {
  return ts__g_const_int(g, 32, 1, ts_code_bytes(buf->code));
}

static LLVMValueRef masked_load(ts__gen *g, const ts_buffer *buf, LLVMValueRef ptr) {
  LLVMTypeRef t = ts__g_mem_type(g, buf->code, g->lanes);
  LLVMValueRef args[] = {ptr, align_arg(g, buf), g->mask, LLVMConstNull(t)};
  return masked(g, "llvm.masked.load", t, LLVMTypeOf(ptr), args, 4);
}

static void masked_store(ts__gen *g, const ts_buffer *buf, LLVMValueRef value, LLVMValueRef ptr) {
  LLVMValueRef args[] = {value, ptr, align_arg(g, buf), g->mask};
  masked(g, "llvm.masked.store", LLVMTypeOf(value), LLVMTypeOf(ptr), args, 4);
}

// Lane addresses as a vector of pointers.
static LLVMValueRef pointers(ts__gen *g, const ts_buffer *buf, LLVMValueRef ptr, LLVMValueRef index) {
  return LLVMBuildGEP2(g->b, ts__g_mem_type(g, buf->code, 1), ptr, &index, 1, "");
}

static LLVMValueRef gather(ts__gen *g, const ts_buffer *buf, LLVMValueRef ptr, LLVMValueRef index) {
  LLVMTypeRef t = ts__g_mem_type(g, buf->code, g->lanes);
  if (g->mask) {
    LLVMValueRef at = pointers(g, buf, ptr, index);
    LLVMValueRef args[] = {at, align_arg(g, buf), g->mask, LLVMConstNull(t)};
    return masked(g, "llvm.masked.gather", t, LLVMTypeOf(at), args, 4);
  }
  LLVMValueRef v = LLVMGetPoison(t);
  for (int i = 0; i < g->lanes; i++) {
    LLVMValueRef at = address(g, buf, ptr, ts__g_lane(g, (ts__val){index, g->lanes}, i));
    v = LLVMBuildInsertElement(g->b, v, load_at(g, buf, at, 1), ts__g_i64(g, i), "");
  }
  return v;
}

static void scatter(ts__gen *g, const ts_buffer *buf, LLVMValueRef value, LLVMValueRef ptr, LLVMValueRef index) {
  if (g->mask) {
    LLVMValueRef at = pointers(g, buf, ptr, index);
    LLVMValueRef args[] = {value, at, align_arg(g, buf), g->mask};
    masked(g, "llvm.masked.scatter", LLVMTypeOf(value), LLVMTypeOf(at), args, 4);
    return;
  }
  for (int i = 0; i < g->lanes; i++) {
    LLVMValueRef at = address(g, buf, ptr, ts__g_lane(g, (ts__val){index, g->lanes}, i));
    store_at(g, buf, ts__g_lane(g, (ts__val){value, g->lanes}, i), at);
  }
}

static bool contiguous(ts__gen *g, const int64_t *off) {
  for (int i = 0; i < g->lanes; i++)
    if (off[i] != i) return false;
  return true;
}

static bool uniform(ts__gen *g, const int64_t *off) {
  for (int i = 0; i < g->lanes; i++)
    if (off[i]) return false;
  return true;
}

static LLVMValueRef shuffle(ts__gen *g, LLVMValueRef x, LLVMValueRef y, const int *pick, int n) {
  LLVMValueRef lane[4 * TS__MAX_VECTOR];
  for (int i = 0; i < n; i++) lane[i] = ts__g_const_int(g, 32, 1, pick[i]);
  return LLVMBuildShuffleVector(g->b, x, y, LLVMConstVector(lane, (unsigned)n), "");
}

// All lanes lie in a window of w elements from `low` on: load it whole, in pieces of a power of two, and pick the
// lanes. Every element between two that the program reads is inside the buffer.
static LLVMValueRef from_window(ts__gen *g, const ts_buffer *buf, LLVMValueRef ptr, const int64_t *off, int64_t low,
                                int w) {
  int piece = 1, pick[4 * TS__MAX_VECTOR];
  while (piece * 2 <= TS_MIN(w, g->lanes)) piece *= 2;
  int n = (w + piece - 1) / piece, have = piece;
  LLVMValueRef part[8] = {NULL};
  for (int i = 0; i < n; i++)
    part[i] = load_at(g, buf, address_plus(g, buf, ptr, low + TS_MIN(i * piece, w - piece)), piece);
  int pieces = n;
  for (; pieces > 1; pieces = (pieces + 1) / 2, have *= 2)
    for (int i = 0; i < pieces; i += 2) {
      for (int k = 0; k < 2 * have; k++) pick[k] = k;
      LLVMValueRef second = i + 1 < pieces ? part[i + 1] : LLVMGetPoison(LLVMTypeOf(part[i]));
      part[i / 2] = shuffle(g, part[i], second, pick, 2 * have);
    }
  for (int i = 0; i < g->lanes; i++) {
    int64_t at = off[i] - low, last = w - piece;
    pick[i] = (int)(at >= last && n > 1 ? (n - 1) * piece + at - last : at);
  }
  if (have == 1) return ts__g_splat(g, LLVMBuildBitCast(g->b, part[0], ts__g_mem_type(g, buf->code, 1), ""), g->lanes);
  return shuffle(g, part[0], LLVMGetPoison(LLVMTypeOf(part[0])), pick, g->lanes);
}

// Vector of the elements at base + off[lane], where `ptr` is the address at lane 0.
static LLVMValueRef load_steps(ts__gen *g, const ts_buffer *buf, LLVMValueRef ptr, const int64_t *off, int align) {
  if (contiguous(g, off))
    return g->mask ? masked_load(g, buf, ptr) : load_aligned(g, buf, ptr, g->lanes, align);
  int64_t low = off[0], high = off[0];
  for (int i = 1; i < g->lanes; i++) low = TS_MIN(low, off[i]), high = TS_MAX(high, off[i]);
  if (!g->mask && high - low < 4 * g->lanes && high - low > 0)
    return from_window(g, buf, ptr, off, low, (int)(high - low + 1));
  LLVMValueRef lane[TS__MAX_VECTOR];
  for (int i = 0; i < g->lanes; i++) lane[i] = ts__g_i64(g, off[i]);
  return gather(g, buf, ptr, LLVMConstVector(lane, (unsigned)g->lanes));
}

// Do the lanes lie at ptr + off? In a swizzled buffer only within 16 bytes of one start.
static bool straight(ts__gen *g, const ts_buffer *buf, const ts_expr *index, const int64_t *off) {
  if (!g->nv || !ts__nv_swizzle(buf)) return true;
  return contiguous(g, off) && g->lanes * ts_code_bytes(buf->code) <= alignment(g, buf, index);
}

// Pointer of the buffer, or NULL after a failure.
static LLVMValueRef place(ts__gen *g, const ts_buffer *buf) {
  LLVMValueRef ptr = ts__g_find_place(g, buf);
  if (!ptr) ts__g_fail(g, TS_INDEX, "unbound-buffer", "buffer %.60s has no storage here", buf->name);
  if (ptr && buf->ndim > 1) ts__g_fail(g, TS_INDEX, "not-lowered", "buffer %.60s is not flat", buf->name);
  return g->failed ? NULL : ptr;
}

// The address that load e names; NULL after a failure. *align: what it is known to be a multiple of.
LLVMValueRef ts__g_address(ts__gen *g, const ts_expr *e, int *align) {
  LLVMValueRef ptr = e->kind == TS_E_LOAD ? place(g, e->buf) : NULL;
  if (!ptr) return NULL;
  const ts_expr *index = e->nargs ? e->arg[0] : NULL;
  *align = alignment(g, e->buf, index);
  return index ? address_of(g, e->buf, ptr, index) : ptr;
}

ts__val ts__g_load(ts__gen *g, const ts_expr *e) {
  const ts_buffer *buf = e->buf;
  LLVMValueRef ptr = place(g, buf);
  if (!ptr) return ts__g_fail(g, e->type, "unbound-buffer", "no storage");
  const ts_expr *index = e->nargs ? e->arg[0] : NULL;
  bool vector = index && g->lane_var && !g->lane0 && ts__g_varies(g, index);
  int64_t off[TS__MAX_VECTOR];
  LLVMValueRef v;
  if (!vector || (ts__g_lane_offsets(g, index, off) && uniform(g, off))) {
    LLVMValueRef at = index ? address_of(g, buf, ptr, index) : ptr;
    v = load_aligned(g, buf, at, e->type.lanes, alignment(g, buf, index));
    return (ts__val){from_memory(g, buf, v), e->type.lanes};
  }
  if (ts__g_lane_offsets(g, index, off) && straight(g, buf, index, off)) {
    v = load_steps(g, buf, address_of(g, buf, ptr, index), off, alignment(g, buf, index));
  } else {
    v = gather(g, buf, ptr, ts__g_expr(g, index).v);
  }
  return (ts__val){from_memory(g, buf, v), g->lanes};
}

static void store_vector(ts__gen *g, const ts_buffer *buf, LLVMValueRef ptr, const ts_expr *index, ts__val value) {
  int64_t off[TS__MAX_VECTOR];
  LLVMValueRef v = to_memory(g, buf, ts__g_widen(g, value, g->lanes).v, g->lanes);
  if (ts__g_lane_offsets(g, index, off) && straight(g, buf, index, off)) {
    LLVMValueRef at = address_of(g, buf, ptr, index);
    if (contiguous(g, off) && g->mask) return masked_store(g, buf, v, at);
    if (contiguous(g, off)) return store_aligned(g, v, at, alignment(g, buf, index));
  }
  scatter(g, buf, v, ptr, ts__g_expr(g, index).v);
}

void ts__g_store(ts__gen *g, const ts_stmt *s) {
  const ts_buffer *buf = s->store.buf;
  size_t mark = g->memo.n;
  ts__val value = ts__g_expr(g, s->store.value);
  LLVMValueRef ptr = place(g, buf);
  if (!ptr) return;
  const ts_expr *index = buf->ndim ? s->store.idx[0] : NULL;
  if (index && g->lane_var && ts__g_varies(g, index)) {
    store_vector(g, buf, ptr, index, value);
  } else {
    LLVMValueRef at = index ? address_of(g, buf, ptr, index) : ptr;
    store_aligned(g, to_memory(g, buf, value.v, value.lanes), at, alignment(g, buf, index));
  }
  ts__g_forget(g, mark);
}
