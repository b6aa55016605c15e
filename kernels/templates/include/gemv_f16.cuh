// gemv_f16: y[n, N] = x[n, K] . w[N, K]^T for few rows of x, on f16 weights as they are stored.
//
// As gemv_q4: one producer warp streams rows of weights through a ring by bulk copies, started before the kernel before this one has ended.
// A piece is 256 of K; the warps share the pieces of a stage, so that each meets the same ones for every group of rows and keeps its
// part of x. A lane multiplies eight of K of every row of the group in f32; a group's sums meet in shuffles, then in shared memory.
// Without bulk copies (GPUs before compute capability 9.0) every warp copies its pieces itself.
#pragma once
#include "gemv_q4.cuh"

// HEIGHT: rows of weights of a group. EACH: pieces of a stage that a warp takes.
template <int a_outputs, int a_inputs, int a_rows, int a_warps, int a_stages, int a_each, int a_height, int a_batch> struct gemv_f16_shape {
  static constexpr int outputs = a_outputs, inputs = a_inputs, rows = a_rows, warps = a_warps, stages = a_stages, each = a_each, height = a_height;
  static constexpr int batch = a_batch, pieces = (inputs + 255) / 256, chunk = warps * each, most = (pieces + warps - 1) / warps;
  static constexpr int groups = outputs / height, stage_bytes = height * chunk * 512, ring_bytes = stages * stage_bytes;
  static constexpr int part_bytes = most * rows * 1024, staged_bytes = warps * part_bytes;
  static constexpr int sum = height * rows, sums_bytes = 4 * batch * warps * sum, squares_bytes = (4 * rows * warps + 7) / 8 * 8;
  static constexpr int bytes = ring_bytes + staged_bytes + sums_bytes + squares_bytes + 16 * stages;
};

// Row r of a group: with gates and ups side by side the first half of a group are gates, the other half their ups.
template <typename S, bool PAIRED> __device__ __forceinline__ size_t gemv_f16_row(int group, int r) {
  if (!PAIRED) return (size_t)group * S::height + r;
  return (size_t)group * (S::height / 2) + r % (S::height / 2) + (r < S::height / 2 ? 0 : S::outputs / 2);
}

template <typename S, bool PAIRED, bool EVICT>
__device__ __forceinline__ void gemv_f16_produce(u32 ring, u32 bars, const u16 *w, int lane, int left) {
  u64 policy = EVICT ? policy_evict_first() : 0;
  int stage = 0, asked = 0, all = (S::groups - (int)blockIdx.x + (int)gridDim.x - 1) / (int)gridDim.x * ((S::pieces + S::chunk - 1) / S::chunk);
  u32 parity = 1;
  for (int group = blockIdx.x; group < S::groups; group += gridDim.x)
    for (int at = 0; at < S::inputs; at += S::chunk * 256) {
      if (asked == S::stages) wait_for_predecessors();
      if (asked >= S::stages && all - asked <= left) dependents_may_start();
      asked++;
      u32 bytes = min(S::chunk * 256, S::inputs - at) * 2, bar = bars + 16 * stage, to = ring + S::stage_bytes * stage;
      barrier_wait(bar + 8, parity);
      if (lane == 0) barrier_expect(bar, S::height * bytes);
      __syncwarp();
      if (lane < S::height) {
        const u16 *from = w + gemv_f16_row<S, PAIRED>(group, lane) * S::inputs + at;
        if (EVICT) {
          copy_bulk_hint(to + lane * S::chunk * 512, from, bytes, bar, policy);
        } else {
          copy_bulk(to + lane * S::chunk * 512, from, bytes, bar);
        }
      }
      if (++stage == S::stages) {
        stage = 0;
        parity ^= 1;
      }
    }
  wait_for_predecessors();
  dependents_may_start();
}

// Without a producer: what is copied next into a warp's part of the ring, a group of copies a stage.
template <typename S, bool PAIRED, bool BULK> struct gemv_f16_own_ring {  // with one: nothing
  __device__ __forceinline__ gemv_f16_own_ring(const unsigned char *, const u16 *, int, int) {}
  __device__ __forceinline__ void fill() {}
};
template <typename S, bool PAIRED> struct gemv_f16_own_ring<S, PAIRED, false> {
  const u16 *w;  // of the lane, in the warp's first piece of the first row
  u32 to;        // of the lane, in the first stage
  int group, at, own, stage;

  __device__ __forceinline__ gemv_f16_own_ring(const unsigned char *ring, const u16 *all, int warp, int lane) : group(blockIdx.x), at(0), own(warp * 256 + lane * 8), stage(0) {
    w = all + own;
    to = shared_address(ring) + warp * 512 + lane * 16;
  }
  __device__ __forceinline__ void fill() {
#pragma unroll
    for (int r = 0; r < S::height; r++) {
      const u16 *from = w + gemv_f16_row<S, PAIRED>(group, r) * S::inputs + at;
#pragma unroll
      for (int i = 0; i < S::each; i++)
        copy16_if(to + stage * S::stage_bytes + (r * S::chunk + i * S::warps) * 512, from + i * S::warps * 256, group < S::groups && at + own + i * S::warps * 256 < S::inputs);
    }
    copies_close();
    if (++stage == S::stages) stage = 0;
    at += S::chunk * 256;
    if (at >= S::inputs) at = 0, group += gridDim.x;
  }
};

// This warp's part of x (times the norm's weights) in f32: for its piece and row of x, the first four of every lane, then the other four.
template <typename S, bool NORM, typename X>
__device__ __forceinline__ void gemv_f16_stage_x(float *xs, const X *x, const float *g, int warp, int lane, float *squares) {
  wait_for_predecessors();
  for (int row = 0; row < S::rows; row++) {
    float ss = 0.0f;
#pragma unroll 4
    for (int p = 0; p < S::most; p++) {
      int k = (warp + p * S::warps) * 256 + lane * 8;
      float v[8] = {};
      if (k < S::inputs) {
#pragma unroll
        for (int i = 0; i < 8; i += 2) {
          float2 e = gemv_load(x, (size_t)row * S::inputs + k + i);
          if (NORM) {
            ss += e.x * e.x + e.y * e.y;
            e.x *= g[k + i];
            e.y *= g[k + i + 1];
          }
          v[i] = e.x;
          v[i + 1] = e.y;
        }
      }
      float4 *to = (float4 *)xs + (p * S::rows + row) * 64 + lane;
      to[0] = {v[0], v[1], v[2], v[3]};
      to[32] = {v[4], v[5], v[6], v[7]};
    }
    if (NORM) {
#pragma unroll
      for (int m = 16; m; m >>= 1) ss += __shfl_xor_sync(~0u, ss, m);
      if (lane == 0) squares[row * S::warps + warp] = ss;
    }
  }
}

template <typename S>
__device__ __forceinline__ void gemv_f16_piece(float (&acc)[S::rows][S::height], const unsigned char *w, const float4 *xs, int lane, bool inside) {
  float x[S::rows][8];
#pragma unroll
  for (int n = 0; n < S::rows; n++) {
    float4 a = xs[n * 64 + lane], b = xs[n * 64 + 32 + lane];
    x[n][0] = a.x;
    x[n][1] = a.y;
    x[n][2] = a.z;
    x[n][3] = a.w;
    x[n][4] = b.x;
    x[n][5] = b.y;
    x[n][6] = b.z;
    x[n][7] = b.w;
  }
#pragma unroll
  for (int r = 0; r < S::height; r++) {
    uint4 q = *(const uint4 *)(w + r * S::chunk * 512 + lane * 16);
    if (!inside) q = {0, 0, 0, 0};  // nothing was copied there
    float2 e[4] = {unpack_f16(q.x), unpack_f16(q.y), unpack_f16(q.z), unpack_f16(q.w)};
#pragma unroll
    for (int n = 0; n < S::rows; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        acc[n][r] = fmaf(e[i].x, x[n][2 * i], acc[n][r]);
        acc[n][r] = fmaf(e[i].y, x[n][2 * i + 1], acc[n][r]);
      }
  }
}

// Sums over the warp: halving the rows at each step, the lanes of each row meet.
template <typename S> __device__ __forceinline__ void gemv_f16_put_sums(float *sums, float (&acc)[S::rows][S::height], int lane) {
#pragma unroll
  for (int n = 0; n < S::rows; n++) {
    int row = 0, m = 16;
    float *v = acc[n];
#pragma unroll
    for (int half = S::height / 2; half; half /= 2, m /= 2) {
      bool upper = lane & m;
      row += upper ? half : 0;
#pragma unroll
      for (int i = 0; i < half; i++) {
        float keep = upper ? v[i + half] : v[i], give = upper ? v[i] : v[i + half];
        v[i] = keep + __shfl_xor_sync(~0u, give, m);
      }
    }
#pragma unroll
    for (; m; m /= 2) v[0] += __shfl_xor_sync(~0u, v[0], m);
    if ((lane & (32 / S::height - 1)) == 0) sums[n * S::height + row] = v[0];
  }
}

template <typename S, int END, bool NORM, typename Y>
__device__ __forceinline__ void gemv_f16_finish(Y *y, const float *sums, const float *squares, int batch, int done, float eps) {
  constexpr int OUT = END == GEMV_SILU ? S::height / 2 : S::height;
  for (int i = threadIdx.x; i < done * OUT * S::rows; i += S::warps * 32) {
    int o = i % OUT, row = i / OUT % S::rows, which = i / OUT / S::rows, group = batch + which * (int)gridDim.x;
    const float *p = sums + which * S::warps * S::sum + row * S::height + o;
    float v = 0.0f, up = 0.0f, all = 0.0f, factor = 1.0f;
#pragma unroll
    for (int w = 0; w < S::warps; w++) {
      v += p[w * S::sum];
      if (END == GEMV_SILU) up += p[w * S::sum + OUT];
      if (NORM) all += squares[row * S::warps + w];
    }
    if (NORM) factor = rsqrtf(all / (float)S::inputs + eps);
    v *= factor;
    if (END == GEMV_SILU) {
      v = v / (1.0f + __expf(-v)) * (up * factor);
      gemv_write(y, (size_t)row * (S::outputs / 2) + (size_t)group * OUT + o, v, false);
    } else {
      gemv_write(y, (size_t)row * S::outputs + (size_t)group * OUT + o, v, END == GEMV_ADD);
    }
  }
}

template <typename S, int END, bool NORM, bool EVICT, bool BULK, typename X, typename Y>
__device__ __forceinline__ void gemv_f16(const X *x, const float *g, const u16 *w, Y *y, float eps, int left) {
  SHARED_MEMORY(smem);
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const u32 bars = shared_address(smem + S::bytes - 16 * S::stages);
  gemv_f16_own_ring<S, END == GEMV_SILU, BULK> ring(smem, w, warp, lane);
  if (!BULK) {
#pragma unroll 1
    for (int s = 0; s < S::stages; s++) ring.fill();
  } else {
    if (threadIdx.x == S::warps * 32) {
      for (int s = 0; s < S::stages; s++) {
        barrier_init(bars + 16 * s, 1);
        barrier_init(bars + 16 * s + 8, S::warps);
      }
      barrier_init_fence();
    }
    __syncthreads();
  }
  if (BULK && warp == S::warps) {
    gemv_f16_produce<S, END == GEMV_SILU, EVICT>(shared_address(smem), bars, w, lane, left);
    return;
  }
  float *xs = (float *)(smem + S::ring_bytes + warp * S::part_bytes), *sums = (float *)(smem + S::ring_bytes + S::staged_bytes);
  float *squares = (float *)(smem + S::ring_bytes + S::staged_bytes + S::sums_bytes);
  gemv_f16_stage_x<S, NORM>(xs, x, g, warp, lane, squares);
  __syncwarp();
  int stage = 0;
  u32 parity = 0;
  for (int batch = blockIdx.x; batch < S::groups; batch += gridDim.x * S::batch) {
    int done = 0;
    for (int group = batch; done < S::batch && group < S::groups; group += gridDim.x, done++) {
      float acc[S::rows][S::height] = {};
      const float4 *b = (const float4 *)xs;
      for (int at = 0; at < S::pieces; at += S::chunk, b += S::each * S::rows * 64) {
        if (BULK) {
          barrier_wait(bars + 16 * stage, parity);
        } else {
          copies_arrived<S::stages - 1>();
          __syncwarp();
        }
        const unsigned char *q = smem + stage * S::stage_bytes + warp * 512;
#pragma unroll
        for (int i = 0; i < S::each; i++) {
          int piece = at + warp + i * S::warps;
          if (piece < S::pieces) gemv_f16_piece<S>(acc, q + i * S::warps * 512, b + i * S::rows * 64, lane, piece * 256 + lane * 8 < S::inputs);
        }
        __syncwarp();
        if (!BULK) ring.fill();
        else if (lane == 0) barrier_arrive(bars + 16 * stage + 8);
        if (++stage == S::stages) {
          stage = 0;
          parity ^= 1;
        }
      }
      gemv_f16_put_sums<S>(sums + (done * S::warps + warp) * S::sum, acc, lane);
    }
    threads_meet(1, S::warps * 32);
    gemv_f16_finish<S, END, NORM>(y, sums, squares, batch, done, eps);
    if (batch + (int)gridDim.x * S::batch < S::groups) threads_meet(1, S::warps * 32);  // sums are to be written again
  }
}
