// The GPU kernels that are timed, as PTX. Inside src/device only.
#ifndef TS_DEVICE_GPU_LOOPS_H
#define TS_DEVICE_GPU_LOOPS_H

#include "base/base.h"

// For any GPU from sm_80 on. Entries, with 64-bit parameters:
//   read(p, chunks, sink)            16 bytes each; threads in one dimension read them all
//   read_cached(p, chunks, rounds, sink)   the same, rounds times, past the first-level cache
//   copy(to, from, chunks)
//   fma_f32, fma_f16 (rounds, sink)        TS__FMA_OPS multiply-adds a thread and round (two for each f16 pair)
//   mma_f16, mma_bf16, mma_s8 (rounds, sink)   TS__MMA_TILES tiles a warp and round
//   empty()
//   barrier(counter, rounds)         all blocks meet, rounds times; the counter starts at 0
void ts__gpu_loops_ptx(ts_text *out);
// For sm_90 alone: wgmma_f16, wgmma_bf16, wgmma_s8 (rounds, sink), one warpgroup a block of 128 threads, TS__WGMMA_TILES tiles of
// 64 x 256 x (16 or 32) a round; dependent(), which lets its successor start and waits for its predecessor.
void ts__gpu_loops_ptx_sm90(ts_text *out);
enum { TS__FMA_OPS = 256, TS__MMA_TILES = 64, TS__WGMMA_TILES = 16 };

#endif
