// tiles_q4: the weights of tiles_product.cuh in the packed layout "mma" (kernels/ops/matmul.mma.tir): a warp makes halves of its codes, once for all of its columns.
#pragma once
#include "tiles_product.cuh"

// Two words of codes of a lane -> A fragments of two steps of 16, scaled. ORDER: the limit of the template, as for gemm_halves.
__device__ __forceinline__ void tiles_halves(u32 (&a)[2][4], u32 q0, u32 q1, u32 scales) {
  const u32 low = low_twice(scales), high = high_twice(scales);
  codes_to_f16(q0, a[0]);
  codes_to_f16(q1, a[1]);
#pragma unroll
  for (int i = 0; i < 8; i++) a[i / 4][i % 4] = mul_f16x2(a[i / 4][i % 4], i % 2 ? high : low);
}

struct tiles_q4_memory {
  const unsigned char *codes, *scales;
};

// A thread copies 16 bytes of the codes and 16 of the scales of a stage.
template <typename S> struct tiles_q4 {
  typedef tiles_q4_memory memory;
  u32 codes, scales, to;  // the units that are next; in the first stage
  bool has_codes, has_scales;

  __device__ __forceinline__ tiles_q4(u32 smem, int m, int step) {
    const int tile = m * S::tall + threadIdx.x / 32, part = m * S::tall + threadIdx.x / 4;
    to = smem + S::x_bytes + threadIdx.x * 16;
    codes = (u32)tile * S::steps + step;
    scales = (u32)part * S::steps + step;
    has_codes = threadIdx.x / 32 < S::tall && tile < S::row_tiles;
    has_scales = threadIdx.x / 4 < S::tall && part < S::row_tiles;
  }
  __device__ __forceinline__ void fill(memory all, u32 stage_at, bool any) {
    copy16_if(stage_at + to, all.codes + (size_t)codes * 512 + threadIdx.x % 32 * 16, any && has_codes);
    copy16_if(stage_at + to + S::tall * 512, all.scales + (size_t)scales * 64 + threadIdx.x % 4 * 16, any && has_scales);
    codes++, scales++;
  }
  static __device__ __forceinline__ void step(float (&acc)[2][S::columns][4], const unsigned char *stage, u32 at, int upper, int column, int lane) {
    const u32 row = at + column * 1024 + (lane & 7) * 128 + ((lane >> 3 ^ (lane & 7)) << 4);
    const unsigned char *codes = stage + S::x_bytes + upper * 512 + lane * 16, *scales = stage + S::x_bytes + S::tall * 512 + upper * 64 + (lane >> 2) * 8;
#pragma unroll 1  // both halves at once take more registers than two blocks have
    for (int h = 0; h < 2; h++) {
      u32 a[2][2][4];
#pragma unroll
      for (int m = 0; m < 2; m++) {
        const uint2 q = *(const uint2 *)(codes + m * 512 + h * 8);
        tiles_halves(a[m], q.x, q.y, *(const u32 *)(scales + m * 64 + h * 4));
      }
#pragma unroll
      for (int c = 0; c < S::columns; c++) {
        u32 b[4];
        load_matrices(b, (row ^ h * 64) + c * 1024);
#pragma unroll
        for (int m = 0; m < 2; m++) {
          mma_m16n8k16(acc[m][c], a[m][0], b[0], b[1]);
          mma_m16n8k16(acc[m][c], a[m][1], b[2], b[3]);
        }
      }
    }
  }
};
