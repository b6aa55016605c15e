// PTX of the kernels that are timed.
#include "device/gpu_loops.h"

#define INDEX \
  "  mov.u32 %r0, %ctaid.x; mov.u32 %r1, %ntid.x; mov.u32 %r2, %tid.x; mov.u32 %r3, %nctaid.x;\n" \
  "  mul.wide.u32 %i, %r0, %r1; cvt.u64.u32 %t, %r2; add.u64 %i, %i, %t; mul.wide.u32 %step, %r3, %r1;\n"

enum { UNROLL = 8 };

// UNROLL loads a turn and thread, then what is left over.
static void read_loop(ts_text *out, const char *load) {
  ts_text_add(out, "  shl.b64 %bytes, %step, 4; mul.lo.u64 %wide, %step, 7; sub.u64 %most, %n, %wide; setp.lt.u64 %q, %n, %wide; @%q mov.u64 %most, 0;\n"
                   "WIDE: setp.ge.u64 %q, %i, %most; @%q bra REST;\n  shl.b64 %a, %i, 4; add.u64 %a, %a, %p;\n");
  for (int k = 0; k < UNROLL; k++) {
    ts_text_addf(out, "  %s {%%v%d, %%v%d, %%v%d, %%v%d}, [%%a];", load, 4 * k, 4 * k + 1, 4 * k + 2, 4 * k + 3);
    ts_text_add(out, k + 1 < UNROLL ? " add.u64 %a, %a, %bytes;\n" : "\n");
  }
  for (int k = 0; k < 4 * UNROLL; k++) ts_text_addf(out, "  xor.b32 %%x%d, %%x%d, %%v%d;\n", k % 4, k % 4, k);
  ts_text_add(out, "  mul.lo.u64 %wide, %step, 8; add.u64 %i, %i, %wide; bra WIDE;\n"
                   "REST: setp.ge.u64 %q, %i, %n; @%q bra DONE;\n  shl.b64 %a, %i, 4; add.u64 %a, %a, %p;\n");
  ts_text_addf(out, "  %s {%%v0, %%v1, %%v2, %%v3}, [%%a];\n", load);
  ts_text_add(out, "  xor.b32 %x0, %x0, %v0; xor.b32 %x1, %x1, %v1; xor.b32 %x2, %x2, %v2; xor.b32 %x3, %x3, %v3;\n  add.u64 %i, %i, %step; bra REST;\nDONE:\n");
}

static const char read_registers[] =
    "  .reg .pred %q; .reg .u32 %r<8>, %v<32>, %x<4>; .reg .u64 %i, %n, %t, %step, %p, %a, %bytes, %wide, %most, %sink, %rounds;\n"
    "  mov.u32 %x0, 0; mov.u32 %x1, 0; mov.u32 %x2, 0; mov.u32 %x3, 0;\n";
// Nothing is stored in practice; the loads are kept.
static const char keep[] = "  xor.b32 %x0, %x0, %x1; xor.b32 %x2, %x2, %x3; xor.b32 %x0, %x0, %x2; setp.eq.u32 %q, %x0, 0x5EED1234; @%q st.global.u32 [%sink], %x0;\n";

static void add_read(ts_text *out) {
  ts_text_addf(out, ".visible .entry read(.param .u64 p0, .param .u64 n0, .param .u64 s0) {\n%s  ld.param.u64 %%p, [p0]; ld.param.u64 %%n, [n0]; ld.param.u64 %%sink, [s0];\n%s", read_registers, INDEX);
  read_loop(out, "ld.global.nc.L1::no_allocate.v4.u32");
  ts_text_addf(out, "%s  ret;\n}\n", keep);
  ts_text_addf(out, ".visible .entry read_cached(.param .u64 p0, .param .u64 n0, .param .u64 r0, .param .u64 s0) {\n%s", read_registers);
  ts_text_add(out, "  ld.param.u64 %p, [p0]; ld.param.u64 %n, [n0]; ld.param.u64 %rounds, [r0]; ld.param.u64 %sink, [s0];\nROUND:\n" INDEX);
  read_loop(out, "ld.global.cg.v4.u32");
  ts_text_addf(out, "  sub.u64 %%rounds, %%rounds, 1; setp.ne.u64 %%q, %%rounds, 0; @%%q bra ROUND;\n%s  ret;\n}\n", keep);
}

static void add_copy(ts_text *out) {
  ts_text_add(out, ".visible .entry copy(.param .u64 t0, .param .u64 f0, .param .u64 n0) {\n"
                   "  .reg .pred %q; .reg .u32 %r<8>, %v<16>; .reg .u64 %i, %j, %n, %t, %step, %to, %from, %a, %b;\n"
                   "  ld.param.u64 %to, [t0]; ld.param.u64 %from, [f0]; ld.param.u64 %n, [n0];\n" INDEX "LOOP: setp.ge.u64 %q, %i, %n; @%q bra DONE;\n  mov.u64 %j, %i;\n");
  for (int store = 0; store < 2; store++) {
    if (store) ts_text_add(out, "  mov.u64 %i, %j;\n");
    for (int k = 0; k < 4; k++)
      ts_text_addf(out, "  setp.lt.u64 %%q, %%i, %%n; shl.b64 %%a, %%i, 4; add.u64 %%b, %%a, %s; @%%q %s; add.u64 %%i, %%i, %%step;\n", store ? "%to" : "%from",
                   store ? (const char *[]){"st.global.v4.u32 [%b], {%v0, %v1, %v2, %v3}", "st.global.v4.u32 [%b], {%v4, %v5, %v6, %v7}", "st.global.v4.u32 [%b], {%v8, %v9, %v10, %v11}",
                                            "st.global.v4.u32 [%b], {%v12, %v13, %v14, %v15}"}[k]
                         : (const char *[]){"ld.global.nc.L1::no_allocate.v4.u32 {%v0, %v1, %v2, %v3}, [%b]", "ld.global.nc.L1::no_allocate.v4.u32 {%v4, %v5, %v6, %v7}, [%b]",
                                            "ld.global.nc.L1::no_allocate.v4.u32 {%v8, %v9, %v10, %v11}, [%b]", "ld.global.nc.L1::no_allocate.v4.u32 {%v12, %v13, %v14, %v15}, [%b]"}[k]);
  }
  ts_text_add(out, "  bra LOOP;\nDONE:\n  ret;\n}\n");
}

static const char loop_head[] =
    "(.param .u64 r0, .param .u64 s0) {\n  .reg .pred %q; .reg .u64 %rounds, %sink; .reg .u32 %lane;\n"
    "  ld.param.u64 %rounds, [r0]; ld.param.u64 %sink, [s0]; mov.u32 %lane, %tid.x;\n";
static const char loop_tail[] = "  sub.u64 %rounds, %rounds, 1; setp.ne.u64 %q, %rounds, 0; @%q bra LOOP;\n";

// 16 chains, so that the latency of the units is covered also by few warps.
static void add_fma(ts_text *out, const char *name, const char *type, const char *reg, const char *op, const char *x, const char *y) {
  enum { CHAINS = 16 };
  ts_text_addf(out, ".visible .entry %s%s  .reg .%s %%a<%d>, %%x, %%y; .reg .b32 %%k;\n  mov.b32 %%x, %s; mov.b32 %%y, %s;\n", name, loop_head, reg, CHAINS, x, y);
  for (int i = 0; i < CHAINS; i++) ts_text_addf(out, "  add.u32 %%k, %%lane, %d; mov.b32 %%a%d, %%k;\n", i, i);
  ts_text_add(out, "LOOP:\n");
  for (int i = 0; i < TS__FMA_OPS; i++) ts_text_addf(out, "  %s %%a%d, %%a%d, %%x, %%y;\n", op, i % CHAINS, i % CHAINS);
  ts_text_add(out, loop_tail);
  for (int i = 1; i < CHAINS; i++) ts_text_addf(out, "  add.%s %%a0, %%a0, %%a%d;\n", type, i);
  ts_text_add(out, "  mov.b32 %k, %a0; setp.eq.u32 %q, %k, 0x5EED1234; @%q st.global.u32 [%sink], %k;\n  ret;\n}\n");
}

// 8 accumulators in turn. Operands differ between lanes and are small, since data of one value need less power.
static void add_mma(ts_text *out, const char *name, const char *op, const char *acc, const char *mask) {
  enum { TILES = 8 };
  ts_text_addf(out, ".visible .entry %s%s  .reg .b32 %%a<4>, %%b<2>, %%k; .reg .%s %%c<%d>;\n", name, loop_head, acc, 4 * TILES);
  for (int i = 0; i < 6; i++)
    ts_text_addf(out, "  mul.lo.u32 %%k, %%lane, %u; xor.b32 %%k, %%k, %u; and.b32 %%%c%d, %%k, %s;\n", 2654435761u + 2 * (unsigned)i * 7919u, 2246822519u * (unsigned)(i + 1), i < 4 ? 'a' : 'b',
                 i < 4 ? i : i - 4, mask);
  for (int i = 0; i < 4 * TILES; i++) ts_text_addf(out, "  mov.b32 %%c%d, 0;\n", i);
  ts_text_add(out, "LOOP:\n");
  for (int i = 0; i < TS__MMA_TILES; i++) {
    int c = i % TILES * 4;
    ts_text_addf(out, "  mma.sync.aligned.%s {%%c%d, %%c%d, %%c%d, %%c%d}, {%%a0, %%a1, %%a2, %%a3}, {%%b0, %%b1}, {%%c%d, %%c%d, %%c%d, %%c%d};\n", op, c, c + 1, c + 2, c + 3, c, c + 1, c + 2, c + 3);
  }
  ts_text_add(out, loop_tail);
  for (int i = 1; i < 4 * TILES; i++) ts_text_addf(out, "  add.%s %%c0, %%c0, %%c%d;\n", acc, i);
  ts_text_add(out, "  mov.b32 %k, %c0; setp.eq.u32 %q, %k, 0x5EED1234; @%q st.global.u32 [%sink], %k;\n  ret;\n}\n");
}

// A thread of each block says that it has come, and waits until the counter shows that all have, for the round.
static const char barrier[] =
    ".visible .entry barrier(.param .u64 p0, .param .u64 r0) {\n"
    "  .reg .pred %q; .reg .u64 %p, %rounds; .reg .u32 %lane, %n, %want, %is;\n"
    "  ld.param.u64 %p, [p0]; ld.param.u64 %rounds, [r0]; mov.u32 %lane, %tid.x; mov.u32 %n, %nctaid.x; mov.u32 %want, 0;\n"
    "ROUND: bar.sync 0; add.u32 %want, %want, %n; setp.ne.u32 %q, %lane, 0; @%q bra MET;\n"
    "  red.release.gpu.global.add.u32 [%p], 1;\n"
    "SPIN: ld.acquire.gpu.global.u32 %is, [%p]; setp.lt.u32 %q, %is, %want; @%q bra SPIN;\n"
    "MET: bar.sync 0; sub.u64 %rounds, %rounds, 1; setp.ne.u64 %q, %rounds, 0; @%q bra ROUND;\n  ret;\n}\n";

void ts__gpu_loops_ptx(ts_text *out) {
  ts_text_add(out, ".version 7.4\n.target sm_80\n.address_size 64\n");
  add_read(out);
  add_copy(out);
  add_fma(out, "fma_f32", "f32", "f32", "fma.rn.f32", "0x3f7fbe77", "0x3a83126f");
  add_fma(out, "fma_f16", "f16x2", "b32", "fma.rn.f16x2", "0x3bfe3bfe", "0x14191419");
  add_mma(out, "mma_f16", "m16n8k16.row.col.f32.f16.f16.f32", "f32", "0x3bff3bff");
  add_mma(out, "mma_bf16", "m16n8k16.row.col.f32.bf16.bf16.f32", "f32", "0x3f7f3f7f");
  add_mma(out, "mma_s8", "m16n8k32.row.col.s32.s8.s8.s32", "s32", "0xffffffff");
  ts_text_add(out, ".visible .entry empty() {\n  ret;\n}\n");
  ts_text_add(out, barrier);
}

// --- sm_90 -------------------------------------------------------------------------------------------------------------
// Operands in shared memory, 128 bytes a row, swizzled: A 64 rows, B 256 rows. Leading offset unused, stride 1024 bytes between
// groups of 8 rows. Source: PTX ISA, matrix descriptor format.
enum { A_BYTES = 64 * 128, B_BYTES = 256 * 128 };

static void add_wgmma(ts_text *out, const char *name, const char *op, const char *acc, const char *mask, const char *flags) {
  ts_text_addf(out, ".visible .entry %s%s  .reg .%s %%c<128>; .reg .b32 %%k, %%i, %%at, %%x32; .reg .b64 %%da, %%db, %%x;\n", name, loop_head, acc);
  ts_text_addf(out, "  mov.u32 %%i, %%lane;\nFILL: mul.lo.u32 %%k, %%i, 2654435761; shr.u32 %%at, %%k, 15; xor.b32 %%k, %%k, %%at; mul.lo.u32 %%k, %%k, 2246822519; and.b32 %%k, %%k, %s;\n", mask);
  ts_text_addf(out, "  mov.u32 %%at, operands; shl.b32 %%x32, %%i, 2; add.u32 %%at, %%at, %%x32; st.shared.u32 [%%at], %%k; add.u32 %%i, %%i, 128; setp.lt.u32 %%q, %%i, %d; @%%q bra FILL;\n",
               (A_BYTES + B_BYTES) / 4);
  ts_text_add(out, "  fence.proxy.async; bar.sync 0;\n  mov.u32 %at, operands; shr.u32 %at, %at, 4; cvt.u64.u32 %x, %at; and.b64 %x, %x, 0x3fff; or.b64 %da, %x, 0x4000004000000000;\n");
  ts_text_addf(out, "  mov.u32 %%at, operands; add.u32 %%at, %%at, %d; shr.u32 %%at, %%at, 4; cvt.u64.u32 %%x, %%at; and.b64 %%x, %%x, 0x3fff; or.b64 %%db, %%x, 0x4000004000000000;\n", A_BYTES);
  for (int i = 0; i < 128; i++) ts_text_addf(out, "  mov.b32 %%c%d, 0;\n", i);
  ts_text_add(out, "LOOP:\n  wgmma.fence.sync.aligned;\n");
  for (int t = 0; t < TS__WGMMA_TILES; t++) {
    ts_text_addf(out, "  wgmma.mma_async.sync.aligned.%s {", op);
    for (int i = 0; i < 128; i++) ts_text_addf(out, "%s%%c%d", i ? ", " : "", i);
    ts_text_addf(out, "}, %%da, %%db, 1%s;\n", flags);
  }
  ts_text_add(out, "  wgmma.commit_group.sync.aligned;\n  wgmma.wait_group.sync.aligned 0;\n");
  ts_text_add(out, loop_tail);
  for (int i = 1; i < 128; i++) ts_text_addf(out, "  add.%s %%c0, %%c0, %%c%d;\n", acc, i);
  ts_text_add(out, "  mov.b32 %k, %c0; setp.eq.u32 %q, %k, 0x5EED1234; @%q st.global.u32 [%sink], %k;\n  ret;\n}\n");
}

void ts__gpu_loops_ptx_sm90(ts_text *out) {
  ts_text_addf(out, ".version 8.3\n.target sm_90a\n.address_size 64\n.shared .align 1024 .b8 operands[%d];\n", A_BYTES + B_BYTES);
  add_wgmma(out, "wgmma_f16", "m64n256k16.f32.f16.f16", "f32", "0x3bff3bff", ", 1, 1, 0, 0");
  add_wgmma(out, "wgmma_bf16", "m64n256k16.f32.bf16.bf16", "f32", "0x3f7f3f7f", ", 1, 1, 0, 0");
  add_wgmma(out, "wgmma_s8", "m64n256k32.s32.s8.s8", "s32", "0xffffffff", "");
  ts_text_add(out, ".visible .entry dependent() {\n  griddepcontrol.launch_dependents;\n  griddepcontrol.wait;\n  ret;\n}\n");
}
