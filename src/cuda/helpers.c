// Small kernels of the measuring worker, as PTX that any GPU from sm_80 on takes.
#include "cuda/cuda.h"

// Threads stand in one dimension and go through the elements %i, %i + %step, ... below %n.
#define LOOP_BEGIN \
  "  mov.u32 %r0, %ctaid.x; mov.u32 %r1, %ntid.x; mov.u32 %r2, %tid.x; mov.u32 %r3, %nctaid.x;\n" \
  "  mul.wide.u32 %i, %r0, %r1; cvt.u64.u32 %t, %r2; add.u64 %i, %i, %t; mul.wide.u32 %step, %r3, %r1;\n" \
  "LOOP: setp.ge.u64 %q, %i, %n; @%q bra DONE;\n"
#define LOOP_END "  add.u64 %i, %i, %step; bra LOOP;\nDONE:\n"
#define LOOP_REGS "  .reg .pred %q, %q1, %q2; .reg .u32 %r<8>; .reg .u64 %i, %n, %t, %step, %p, %a, %b, %h, %seed;\n"

// %h: 64 random bits of element %i.
#define RANDOM \
  "  add.u64 %h, %i, %seed; mul.lo.u64 %h, %h, 0x9E3779B97F4A7C15; shr.u64 %t, %h, 32; xor.b64 %h, %h, %t;\n" \
  "  mul.lo.u64 %h, %h, 0xD6E8FEB86659FD93; shr.u64 %t, %h, 32; xor.b64 %h, %h, %t;\n" \
  "  mul.lo.u64 %h, %h, 0xD6E8FEB86659FD93; shr.u64 %t, %h, 32; xor.b64 %h, %h, %t; cvt.u32.u64 %r4, %t;\n"

#define FILL_REAL(type, bytes, convert) \
  ".visible .entry fill_" type "(.param .u64 p0, .param .u64 n0, .param .u64 s0, .param .f32 m0, .param .f32 a0) {\n" LOOP_REGS \
  "  .reg .f32 %f, %m, %add; .reg .f64 %d; .reg .b16 %x;\n" \
  "  ld.param.u64 %p, [p0]; ld.param.u64 %n, [n0]; ld.param.u64 %seed, [s0]; ld.param.f32 %m, [m0]; ld.param.f32 %add, [a0];\n" LOOP_BEGIN RANDOM \
  "  shr.u32 %r4, %r4, 8; cvt.rn.f32.u32 %f, %r4; mul.f32 %f, %f, 0f33800000; fma.rn.f32 %f, %f, %m, %add;\n" \
  "  mul.lo.u64 %a, %i, " bytes "; add.u64 %a, %a, %p;\n" convert LOOP_END "  ret;\n}\n"

#define FILL_INDEX(type, store) \
  ".visible .entry fill_" type "(.param .u64 p0, .param .u64 n0, .param .u64 s0, .param .u64 b0) {\n" LOOP_REGS \
  "  ld.param.u64 %p, [p0]; ld.param.u64 %n, [n0]; ld.param.u64 %seed, [s0]; ld.param.u64 %b, [b0];\n" LOOP_BEGIN RANDOM \
  "  cvt.u64.u32 %t, %r4; mul.lo.u64 %h, %t, %b; shr.u64 %h, %h, 32; cvt.u32.u64 %r4, %h;\n" store LOOP_END "  ret;\n}\n"

// The difference of elements as doubles %x and %y. Two equal values, also two infinities or two NaN, do not differ.
#define COMPARE(type, bytes, load) \
  ".visible .entry compare_" type "(.param .u64 a0, .param .u64 b0, .param .u64 n0, .param .u64 p0) {\n" LOOP_REGS \
  "  .reg .f64 %x, %y, %e, %worst, %largest, %sq, %sqr, %old; .reg .f32 %f; .reg .b16 %s; .reg .s32 %k; .reg .s64 %l;\n" \
  "  ld.param.u64 %a, [a0]; ld.param.u64 %b, [b0]; ld.param.u64 %n, [n0]; ld.param.u64 %p, [p0];\n" \
  "  mov.f64 %worst, 0d0000000000000000; mov.f64 %largest, %worst; mov.f64 %sq, %worst; mov.f64 %sqr, %worst;\n" LOOP_BEGIN \
  "  mul.lo.u64 %t, %i, " bytes "; add.u64 %h, %a, %t;\n" load("%x") \
  "  add.u64 %h, %b, %t;\n" load("%y") \
  "  sub.f64 %e, %x, %y; abs.f64 %e, %e; testp.notanumber.f64 %q1, %e; @%q1 mov.f64 %e, 0d7FF0000000000000;\n" \
  "  setp.eq.f64 %q1, %x, %y; @%q1 mov.f64 %e, 0d0000000000000000;\n" \
  "  testp.notanumber.f64 %q1, %x; testp.notanumber.f64 %q2, %y; and.pred %q1, %q1, %q2; @%q1 mov.f64 %e, 0d0000000000000000;\n" \
  "  abs.f64 %y, %y; @%q2 mov.f64 %y, 0d0000000000000000;\n" \
  "  max.f64 %worst, %worst, %e; max.f64 %largest, %largest, %y; fma.rn.f64 %sq, %e, %e, %sq; fma.rn.f64 %sqr, %y, %y, %sqr;\n" LOOP_END \
  "  mov.b64 %t, %worst; atom.global.max.u64 %h, [%p], %t; mov.b64 %t, %largest; atom.global.max.u64 %h, [%p+8], %t;\n" \
  "  atom.global.add.f64 %old, [%p+16], %sq; atom.global.add.f64 %old, [%p+24], %sqr;\n  ret;\n}\n"
#define LOAD_F32(to) "  ld.global.f32 %f, [%h]; cvt.f64.f32 " to ", %f;\n"
#define LOAD_F16(to) "  ld.global.b16 %s, [%h]; cvt.f64.f16 " to ", %s;\n"
#define LOAD_BF16(to) "  ld.global.u16 %r5, [%h]; shl.b32 %r5, %r5, 16; mov.b32 %f, %r5; cvt.f64.f32 " to ", %f;\n"
#define LOAD_F64(to) "  ld.global.f64 " to ", [%h];\n"
#define LOAD_I8(to) "  ld.global.s8 %k, [%h]; cvt.rn.f64.s32 " to ", %k;\n"
#define LOAD_U8(to) "  ld.global.u8 %k, [%h]; cvt.rn.f64.s32 " to ", %k;\n"
#define LOAD_I32(to) "  ld.global.s32 %k, [%h]; cvt.rn.f64.s32 " to ", %k;\n"
#define LOAD_I64(to) "  ld.global.s64 %l, [%h]; cvt.rn.f64.s64 " to ", %l;\n"

static const char *const parts[] = {
    ".version 7.1\n.target sm_80\n.address_size 64\n",
    FILL_REAL("f32", "4", "  st.global.f32 [%a], %f;\n"),
    FILL_REAL("f16", "2", "  cvt.rn.f16.f32 %x, %f; st.global.b16 [%a], %x;\n"),
    FILL_REAL("bf16", "2", "  cvt.rn.bf16.f32 %x, %f; st.global.b16 [%a], %x;\n"),
    FILL_REAL("f64", "8", "  cvt.f64.f32 %d, %f; st.global.f64 [%a], %d;\n"),
    ".visible .entry fill_b32(.param .u64 p0, .param .u64 n0, .param .u64 s0) {\n" LOOP_REGS
    "  ld.param.u64 %p, [p0]; ld.param.u64 %n, [n0]; ld.param.u64 %seed, [s0];\n" LOOP_BEGIN RANDOM "  shl.b64 %a, %i, 2; add.u64 %a, %a, %p; st.global.u32 [%a], %r4;\n" LOOP_END
    "  ret;\n}\n",
    FILL_INDEX("i32", "  shl.b64 %a, %i, 2; add.u64 %a, %a, %p; st.global.u32 [%a], %r4;\n"),
    FILL_INDEX("i64", "  shl.b64 %a, %i, 3; add.u64 %a, %a, %p; st.global.u64 [%a], %h;\n"),
    COMPARE("f32", "4", LOAD_F32),
    COMPARE("f16", "2", LOAD_F16),
    COMPARE("bf16", "2", LOAD_BF16),
    COMPARE("f64", "8", LOAD_F64),
    COMPARE("i8", "1", LOAD_I8),
    COMPARE("u8", "1", LOAD_U8),
    COMPARE("i32", "4", LOAD_I32),
    COMPARE("i64", "8", LOAD_I64),
    ".visible .entry same(.param .u64 a0, .param .u64 b0, .param .u64 n0, .param .u64 p0) {\n" LOOP_REGS
    "  ld.param.u64 %a, [a0]; ld.param.u64 %b, [b0]; ld.param.u64 %n, [n0]; ld.param.u64 %p, [p0];\n" LOOP_BEGIN
    "  add.u64 %h, %a, %i; ld.global.u8 %r4, [%h]; add.u64 %h, %b, %i; ld.global.u8 %r5, [%h];\n"
    "  setp.ne.u32 %q1, %r4, %r5; mov.u32 %r6, 1; @%q1 st.global.u32 [%p], %r6;\n" LOOP_END "  ret;\n}\n",
    ".visible .entry clock(.param .u64 p0) {\n  .reg .u64 %p, %c, %g, %s; .reg .u32 %r;\n"
    "  ld.param.u64 %p, [p0]; mov.u64 %c, %clock64; mov.u64 %g, %globaltimer; mov.u32 %r, %smid; cvt.u64.u32 %s, %r;\n"
    "  st.global.u64 [%p], %c; st.global.u64 [%p+8], %g; st.global.u64 [%p+16], %s;\n  ret;\n}\n",
    ".visible .entry block(.param .u64 f0, .param .u64 t0) {\n  .reg .pred %q; .reg .u64 %f, %t, %end, %now; .reg .u32 %r;\n"
    "  ld.param.u64 %f, [f0]; ld.param.u64 %t, [t0]; mov.u64 %end, %globaltimer; add.u64 %end, %end, %t;\n"
    "AGAIN: ld.volatile.global.u32 %r, [%f]; setp.ne.u32 %q, %r, 0; @%q bra DONE;\n"
    "  mov.u64 %now, %globaltimer; setp.lt.u64 %q, %now, %end; @%q bra AGAIN;\nDONE:\n  ret;\n}\n",
};

void ts_cuda_helpers_ptx(ts_text *out) {
  for (size_t i = 0; i < TS_COUNTOF(parts); i++) ts_text_add(out, parts[i]);
}

bool ts_cuda_helpers_open(const ts_cuda *g, ts_cuda_helpers *out, ts_diag *d) {
  static const char *const names[] = {
#define HELPER(name) #name,
#include "cuda/helpers.def"
#undef HELPER
  };
  *out = (ts_cuda_helpers){.g = g};
  ts_text ptx = {0};
  ts_cuda_helpers_ptx(&ptx);
  bool ok = ts_cuda_check(g->cu, g->cu->cuModuleLoadDataEx(&out->module, ts_text_str(&ptx), 0, NULL, NULL), d, "loading the kernels for measuring");
  ts_text_free(&ptx);
  for (int i = 0; ok && i < TS_CUDA_HELPER__COUNT; i++) ok = ts_cuda_check(g->cu, g->cu->cuModuleGetFunction(&out->f[i], out->module, names[i]), d, "kernel %s", names[i]);
  if (!ok) ts_cuda_helpers_close(out);
  return ok;
}

void ts_cuda_helpers_close(ts_cuda_helpers *h) {
  if (h->module) (void)h->g->cu->cuModuleUnload(h->module);
  *h = (ts_cuda_helpers){0};
}

enum { THREADS = 256, BLOCKS_PER_SM = 4 };

// Over n elements in the default stream.
static bool launch(const ts_cuda_helpers *h, ts_cuda_helper which, int64_t n, void **args, ts_diag *d) {
  if (n <= 0) return true;
  int64_t blocks = TS_MIN((n + THREADS - 1) / THREADS, (int64_t)h->g->sms * BLOCKS_PER_SM);
  return ts_cuda_check(h->g->cu, h->g->cu->cuLaunchKernel(h->f[which], (unsigned)blocks, 1, 1, THREADS, 1, 1, 0, NULL, args, NULL), d, "launching a kernel for measuring");
}

// The row whose name is BASE then type, among rows first .. last.
static bool typed(const char *type, const char *const *names, int n, ts_cuda_helper first, ts_cuda_helper *out, ts_diag *d) {
  for (int i = 0; i < n; i++)
    if (strcmp(names[i], type) == 0) {
      *out = (ts_cuda_helper)(first + (ts_cuda_helper)i);
      return true;
    }
  return ts_refuse(d, "unsupported-type", "no kernel for elements of type %.20s", type);
}

bool ts_cuda_fill_real(const ts_cuda_helpers *h, const char *type, CUdeviceptr p, int64_t n, uint64_t seed, float mul, float add, ts_diag *d) {
  static const char *const names[] = {"f32", "f16", "bf16", "f64"};
  ts_cuda_helper which = TS_CUDA_same;
  TS_TRY(typed(type, names, 4, TS_CUDA_fill_f32, &which, d));
  return launch(h, which, n, (void *[]){&p, &n, &seed, &mul, &add}, d);
}

bool ts_cuda_fill_index(const ts_cuda_helpers *h, int bytes, CUdeviceptr p, int64_t n, uint64_t seed, uint64_t below, ts_diag *d) {
  return launch(h, bytes == 8 ? TS_CUDA_fill_i64 : TS_CUDA_fill_i32, n, (void *[]){&p, &n, &seed, &below}, d);
}

bool ts_cuda_fill_bits(const ts_cuda_helpers *h, CUdeviceptr p, int64_t bytes, uint64_t seed, ts_diag *d) {
  int64_t n = (bytes + 3) / 4;
  return launch(h, TS_CUDA_fill_b32, n, (void *[]){&p, &n, &seed}, d);
}

bool ts_cuda_compare(const ts_cuda_helpers *h, const char *type, CUdeviceptr got, CUdeviceptr want, int64_t n, CUdeviceptr device_result, ts_diag *d) {
  static const char *const names[] = {"f32", "f16", "bf16", "f64", "i8", "u8", "i32", "i64"};
  ts_cuda_helper which = TS_CUDA_same;
  TS_TRY(typed(type, names, 8, TS_CUDA_compare_f32, &which, d));
  return launch(h, which, n, (void *[]){&got, &want, &n, &device_result}, d);
}

bool ts_cuda_same(const ts_cuda_helpers *h, CUdeviceptr a, CUdeviceptr b, int64_t bytes, CUdeviceptr device_result, ts_diag *d) {
  return launch(h, TS_CUDA_same, bytes, (void *[]){&a, &b, &bytes, &device_result}, d);
}

bool ts_cuda_clock(const ts_cuda_helpers *h, CUstream stream, CUdeviceptr p, ts_diag *d) {
  return ts_cuda_check(h->g->cu, h->g->cu->cuLaunchKernel(h->f[TS_CUDA_clock], 1, 1, 1, 1, 1, 1, 0, stream, (void *[]){&p}, NULL), d, "launching the clock");
}

bool ts_cuda_block(const ts_cuda_helpers *h, CUstream stream, CUdeviceptr flag, uint64_t ns, ts_diag *d) {
  return ts_cuda_check(h->g->cu, h->g->cu->cuLaunchKernel(h->f[TS_CUDA_block], 1, 1, 1, 1, 1, 1, 0, stream, (void *[]){&flag, &ns}, NULL), d, "launching the blocker");
}
