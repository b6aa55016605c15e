// A kernel to time others beside: it reads as a product of one row does. One producer thread of a block streams cold bytes through a ring in
// shared memory, begins before its predecessor has ended, and lets its dependents start when few stages are left to be asked for; the other
// threads read a vector once the predecessor has ended, then every stage. Two blocks fit on a multiprocessor.
#include "cuda/cuda.h"

enum { STAGES = 6, STAGE_BYTES = 16384, ROUNDS = 13, LEFT = 8, CONSUMERS = 256, THREADS = CONSUMERS + 32, VECTOR_BYTES = 16384 };
enum { RING_BYTES = STAGES * STAGE_BYTES, SHARED_BYTES = RING_BYTES + 16 * STAGES + VECTOR_BYTES };

// ORDER: the numbers are those of the lines above. Barriers lie behind the ring, full and free of each stage; then the vector.
static const char code[] =
    ".version 8.0\n.target sm_90\n.address_size 64\n"
    ".extern .shared .align 128 .b8 ring[];\n"
    ".visible .entry neighbour(.param .u64 data0, .param .u64 x0, .param .u64 y0) .maxntid 288, 1, 1 .minnctapersm 2 {\n"
    "  .reg .pred %p, %q; .reg .u64 %data, %x, %y, %step, %a;\n"
    "  .reg .u32 %t, %b, %g, %ring, %bars, %vector, %i, %s, %parity, %bar, %to, %o, %end, %v<4>; .reg .f32 %f, %sum, %w<4>;\n"
    "  ld.param.u64 %data, [data0]; ld.param.u64 %x, [x0]; ld.param.u64 %y, [y0];\n"
    "  mov.u32 %t, %tid.x; mov.u32 %b, %ctaid.x; mov.u32 %g, %nctaid.x; mov.u32 %ring, ring; add.u32 %bars, %ring, 98304; add.u32 %vector, %bars, 96;\n"
    "  setp.ne.u32 %p, %t, 256; @%p bra READY; mov.u32 %i, 0;\n"
    "INIT: shl.b32 %o, %i, 4; add.u32 %bar, %bars, %o; mbarrier.init.shared::cta.b64 [%bar], 1; mbarrier.init.shared::cta.b64 [%bar+8], 8;\n"
    "  add.u32 %i, %i, 1; setp.lt.u32 %p, %i, 6; @%p bra INIT; fence.mbarrier_init.release.cluster;\n"
    "READY: bar.sync 0; mov.u32 %i, 0; mov.u32 %s, 0; mov.u32 %parity, 0;\n"
    "  setp.gt.u32 %p, %t, 256; @%p bra DONE; setp.eq.u32 %p, %t, 256; @!%p bra CONSUME;\n"
    // the producer: round i of the ring reads behind what all blocks read in the rounds before
    "  mul.wide.u32 %step, %b, 16384; add.u64 %a, %data, %step; mul.wide.u32 %step, %g, 16384; mov.u32 %parity, 1;\n"
    "ASK: shl.b32 %o, %s, 4; add.u32 %bar, %bars, %o; shl.b32 %o, %s, 14; add.u32 %to, %ring, %o;\n"
    "  setp.eq.u32 %p, %i, 6; @%p griddepcontrol.wait;\n"
    "  setp.ge.u32 %p, %i, 6; @%p griddepcontrol.launch_dependents;\n"
    "FREE: mbarrier.try_wait.parity.shared::cta.b64 %q, [%bar+8], %parity; @!%q bra FREE;\n"
    "  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%bar], 16384;\n"
    "  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%to], [%a], 16384, [%bar];\n"
    "  add.u64 %a, %a, %step; add.u32 %i, %i, 1; add.u32 %s, %s, 1;\n"
    "  setp.eq.u32 %p, %s, 6; @%p xor.b32 %parity, %parity, 1; @%p mov.u32 %s, 0;\n"
    "  setp.lt.u32 %p, %i, 13; @%p bra ASK;\n"
    "  bra DONE;\n"
    "CONSUME: griddepcontrol.wait; mov.f32 %sum, 0f00000000; shl.b32 %o, %t, 4;\n"
    "VECTOR: cvt.u64.u32 %a, %o; add.u64 %a, %a, %x; ld.global.v4.f32 {%w0, %w1, %w2, %w3}, [%a];\n"
    "  add.u32 %to, %vector, %o; st.shared.v4.f32 [%to], {%w0, %w1, %w2, %w3}; add.u32 %o, %o, 4096; setp.lt.u32 %p, %o, 16384; @%p bra VECTOR;\n"
    "  bar.sync 1, 256;\n"
    "TAKE: shl.b32 %o, %s, 4; add.u32 %bar, %bars, %o; shl.b32 %o, %s, 14; add.u32 %to, %ring, %o; add.u32 %end, %to, 16384; shl.b32 %o, %t, 4; add.u32 %to, %to, %o;\n"
    "FULL: mbarrier.try_wait.parity.shared::cta.b64 %q, [%bar], %parity; @!%q bra FULL;\n"
    "WORDS: ld.shared.v4.u32 {%v0, %v1, %v2, %v3}, [%to]; xor.b32 %v0, %v0, %v1; xor.b32 %v2, %v2, %v3; xor.b32 %v0, %v0, %v2; and.b32 %v0, %v0, 0x3fffffff;\n"
    "  mov.b32 %f, %v0; add.f32 %sum, %sum, %f; add.u32 %to, %to, 4096; setp.lt.u32 %p, %to, %end; @%p bra WORDS;\n"
    "  bar.warp.sync 0xffffffff; and.b32 %o, %t, 31; setp.eq.u32 %p, %o, 0; @%p mbarrier.arrive.shared::cta.b64 _, [%bar+8];\n"
    "  add.u32 %i, %i, 1; add.u32 %s, %s, 1; setp.eq.u32 %p, %s, 6; @%p xor.b32 %parity, %parity, 1; @%p mov.u32 %s, 0;\n"
    "  setp.lt.u32 %p, %i, 13; @%p bra TAKE;\n"
    // the sums of the warps meet, a line of results goes out
    "  shl.b32 %o, %t, 2; add.u32 %to, %vector, %o; bar.sync 1, 256; st.shared.f32 [%to], %sum; bar.sync 1, 256;\n"
    "  setp.ge.u32 %p, %t, 32; @%p bra DONE; mov.u32 %i, 0; mov.f32 %sum, 0f00000000;\n"
    "ADD: ld.shared.f32 %f, [%to]; add.f32 %sum, %sum, %f; add.u32 %to, %to, 128; add.u32 %i, %i, 1; setp.lt.u32 %p, %i, 8; @%p bra ADD;\n"
    "  mad.lo.u32 %o, %b, 32, %t; mul.wide.u32 %a, %o, 4; add.u64 %a, %a, %y; st.global.f32 [%a], %sum;\n"
    "DONE: ret;\n}\n";

// Enough copies that what one launch reads is out of the second-level cache when its turn comes again.
static bool make_data(ts_cuda_neighbour *n, const ts_cuda_helpers *h, ts_diag *d) {
  const ts_cuda_driver *cu = n->g->cu;
  n->bytes = (int64_t)n->g->sms * ROUNDS * STAGE_BYTES;
  n->copies = (int)(3 * n->g->l2_bytes / n->bytes) + 2;
  return ts_cuda_check(cu, cu->cuMemAlloc(&n->data, (size_t)(n->copies * n->bytes)), d, "memory for a neighbour") &&
         ts_cuda_check(cu, cu->cuMemAlloc(&n->vector, VECTOR_BYTES + (size_t)n->g->sms * 128), d, "memory for a neighbour") &&
         ts_cuda_fill_bits(h, n->data, n->copies * n->bytes, 1, d) && ts_cuda_fill_real(h, "f32", n->vector, VECTOR_BYTES / 4, 2, 2, -1, d) &&
         ts_cuda_check(cu, cu->cuCtxSynchronize(), d, "filling a neighbour's data");
}

bool ts_cuda_neighbour_open(const ts_cuda_helpers *h, ts_cuda_neighbour *out, ts_diag *d) {
  const ts_cuda_driver *cu = h->g->cu;
  *out = (ts_cuda_neighbour){.g = h->g};
  if (h->g->compute < 90 || !cu->cuLaunchKernelEx) return ts_refuse(d, "no-dependent-launches", "%s: kernels cannot start before the one before has ended", h->g->name);
  bool ok = ts_cuda_check(cu, cu->cuModuleLoadDataEx(&out->module, code, 0, NULL, NULL), d, "loading a neighbour") &&
            ts_cuda_check(cu, cu->cuModuleGetFunction(&out->f, out->module, "neighbour"), d, "kernel neighbour") &&
            ts_cuda_check(cu, cu->cuFuncSetAttribute(out->f, TS_CU_FUNC_DYNAMIC_SHARED, SHARED_BYTES), d, "a neighbour's shared memory") && make_data(out, h, d);
  if (ok) (void)cu->cuFuncSetAttribute(out->f, TS_CU_FUNC_CARVEOUT, 100);
  else ts_cuda_neighbour_close(out);
  return ok;
}

void ts_cuda_neighbour_close(ts_cuda_neighbour *n) {
  if (n->data) (void)n->g->cu->cuMemFree(n->data);
  if (n->vector) (void)n->g->cu->cuMemFree(n->vector);
  if (n->module) (void)n->g->cu->cuModuleUnload(n->module);
  *n = (ts_cuda_neighbour){0};
}

bool ts_cuda_neighbour_issue(const ts_cuda_neighbour *n, int64_t turn, CUstream stream, bool dependent, ts_diag *d) {
  CUdeviceptr data = n->data + (CUdeviceptr)(turn % n->copies * n->bytes), x = n->vector, y = n->vector + VECTOR_BYTES;
  CUlaunchAttribute attr = {.id = TS_CU_LAUNCH_DEPENDENT, .value.flag = 1};
  CUlaunchConfig config = {.gx = (unsigned)n->g->sms, .gy = 1, .gz = 1, .bx = THREADS, .by = 1, .bz = 1, .shared = SHARED_BYTES, .stream = stream, .attrs = &attr, .nattrs = dependent};
  return ts_cuda_check(n->g->cu, n->g->cu->cuLaunchKernelEx(&config, n->f, (void *[]){&data, &x, &y, NULL}, NULL), d, "launching a neighbour");
}
