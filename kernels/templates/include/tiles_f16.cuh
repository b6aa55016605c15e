// tiles_f16: the weights of tiles_product.cuh as they are stored, f16 in rows.
#pragma once
#include "tiles_product.cuh"

// A thread copies 16 bytes of every 32nd row of a stage.
template <typename S> struct tiles_f16 {
  typedef const u16 *memory;
  u32 piece, to;  // that is next; in the first stage
  int w_rows;     // how many of its rows there are

  __device__ __forceinline__ tiles_f16(u32 smem, int m, int step) {
    const int in = threadIdx.x / 8, chunk = threadIdx.x % 8, row = m * S::height + in;
    piece = (u32)row * (S::inputs / 8) + step * 8 + chunk;
    to = smem + S::x_bytes + in * 128 + ((chunk ^ in & 7) << 4);
    w_rows = (S::outputs - row + 31) / 32;
  }
  __device__ __forceinline__ void fill(memory all, u32 stage_at, bool any) {
#pragma unroll
    for (int i = 0; i < S::height / 32; i++) copy16_if(stage_at + to + i * 4096, all + ((size_t)piece + i * 4 * S::inputs) * 8, any && i < w_rows);
    piece += 8;
  }
  static __device__ __forceinline__ void step(float (&acc)[2][S::columns][4], const unsigned char *, u32 at, int upper, int column, int lane) {
    const u32 row = at + column * 1024 + (lane & 7) * 128 + ((lane >> 3 ^ (lane & 7)) << 4);
    const u32 output = at + S::x_bytes + (upper * 16 + (lane & 15)) * 128 + ((lane >> 4 ^ (lane & 7)) << 4);  // rows 0 to 15, then the next eight of K
#pragma unroll 1  // both halves at once take more registers than two blocks have
    for (int h = 0; h < 2; h++) {
      u32 a[2][2][4];
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int k = 0; k < 2; k++) load_matrices(a[m][k], (output ^ (h * 4 + k * 2) << 4) + m * 2048);
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
