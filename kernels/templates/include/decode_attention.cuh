// Attention of one query position over a cache of rows, split along the cache (flash-decoding; Dao et al. 2023).
//
// A block serves one key-value head and one part of the positions; its warps take 16 positions in turn. Scores and values go
// through mma.m16n8k16 with heads as rows. Rows 0..7 of the query operand hold the f16 value of each head, rows 8..15 what that
// rounding lost, so that products are nearly those of f32; the probabilities are split the same way. Both operands come
// from global memory straight into registers: the order of d within a product is free, so every lane reads 16 bytes of a row.
// Parts meet in the workspace; the last block of a head combines them and leaves the counter at zero.
#pragma once
#include "gemm_ptx.cuh"

// hi is the f16 pair of (a, b), lo the pair of what is left.
static __device__ __forceinline__ void split_half(float a, float b, u32 &hi, u32 &lo) {
  hi = pack_f16(a, b);
  float2 r = unpack_f16(hi);
  lo = pack_f16(a - r.x, b - r.y);
}
static __device__ __forceinline__ uint4 load16(const void *p) {
  uint4 r;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "l"(p) : "memory");
  return r;
}
static __device__ __forceinline__ float exp2_fast(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
static __device__ __forceinline__ u32 byte_perm(u32 a, u32 b, u32 s) {
  u32 r;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(s));
  return r;
}

enum { D = TS_D, GROUP = TS_H / TS_HK, QK_CHUNKS = D / 32, V_CHUNKS = D / 64 };
static_assert(D % 64 == 0 && GROUP <= 8, "heads of a multiple of 64, at most 8 query heads to a key head");

#if TS_A_F16
typedef unsigned short act;
static __device__ __forceinline__ float act_load(const act *p) {
  float r;
  asm volatile("{.reg .b16 h; ld.global.b16 h, [%1]; cvt.f32.f16 %0, h;}" : "=f"(r) : "l"(p));
  return r;
}
static __device__ __forceinline__ void act_store(act *p, float v) { asm volatile("{.reg .b16 h; cvt.rn.f16.f32 h, %1; st.global.b16 [%0], h;}" ::"l"(p), "f"(v) : "memory"); }
#else
typedef float act;
static __device__ __forceinline__ float act_load(const act *p) {
  float r;
  asm volatile("ld.global.f32 %0, [%1];" : "=f"(r) : "l"(p));
  return r;
}
static __device__ __forceinline__ void act_store(act *p, float v) { *p = v; }
#endif

// What a warp keeps while it walks over its positions: head lane / 4; acc[c][j][0..1] (+ [2..3]) is O at
// d = 64 c + 8 (2 (lane % 4) + {0, 1}) + j.
struct warp_state {
  float m, l;
  float acc[V_CHUNKS][8][4];
};

// The positions base .. base + 15 of one key-value head; last is the newest one. Its row comes from fresh_k and fresh_v
// in shared memory when FRESH (it may not be in global memory yet).
template <bool FRESH>
static __device__ __forceinline__ void attend16(warp_state &s, const u32 (&q)[QK_CHUNKS][2][4], const unsigned short *kc, const unsigned short *vc,
                                                int base, int last, const unsigned short *fresh_k, const unsigned short *fresh_v) {
  const int lane = threadIdx.x & 31, quad = lane & 3, row = lane >> 2;
  uint4 k[2][QK_CHUNKS], v[2][2][V_CHUNKS];
#pragma unroll
  for (int t = 0; t < 2; t++) {
    int p = min(base + 8 * t + row, last);
    const unsigned short *r = FRESH && p == last ? fresh_k : kc + (size_t)p * D;
#pragma unroll
    for (int c = 0; c < QK_CHUNKS; c++)
      if (FRESH) k[t][c] = *(const uint4 *)(r + 32 * c + 8 * quad);
      else k[t][c] = load16(r + 32 * c + 8 * quad);
  }
#pragma unroll
  for (int t = 0; t < 2; t++)
#pragma unroll
    for (int e = 0; e < 2; e++) {
      int p = min(base + 8 * t + 2 * quad + e, last);
      const unsigned short *r = FRESH && p == last ? fresh_v : vc + (size_t)p * D;
#pragma unroll
      for (int c = 0; c < V_CHUNKS; c++)
        if (FRESH) v[t][e][c] = *(const uint4 *)(r + 64 * c + 8 * row);
        else v[t][e][c] = load16(r + 64 * c + 8 * row);
    }

  float score[2][2], top = s.m;
#pragma unroll
  for (int t = 0; t < 2; t++) {
    float c[4] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < QK_CHUNKS; i++) {
      mma_m16n8k16(c, q[i][0], k[t][i].x, k[t][i].y);
      mma_m16n8k16(c, q[i][1], k[t][i].z, k[t][i].w);
    }
#pragma unroll
    for (int e = 0; e < 2; e++) {
      score[t][e] = base + 8 * t + 2 * quad + e <= last ? c[e] + c[e + 2] : -1e30f;
      top = fmaxf(top, score[t][e]);
    }
  }
  top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
  top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
  const float keep = exp2_fast(s.m - top);
  s.m = top;
  s.l *= keep;
  u32 p[4];
#pragma unroll
  for (int t = 0; t < 2; t++) {
    float a = exp2_fast(score[t][0] - top), b = exp2_fast(score[t][1] - top);
    s.l += a + b;
    split_half(a, b, p[2 * t], p[2 * t + 1]);
  }
#pragma unroll
  for (int c = 0; c < V_CHUNKS; c++) {
    const u32 *r00 = &v[0][0][c].x, *r01 = &v[0][1][c].x, *r10 = &v[1][0][c].x, *r11 = &v[1][1][c].x;
#pragma unroll
    for (int j = 0; j < 8; j++) {
      float *o = s.acc[c][j];
      o[0] *= keep, o[1] *= keep, o[2] *= keep, o[3] *= keep;
      const u32 pick = j & 1 ? 0x7632 : 0x5410;
      mma_m16n8k16(s.acc[c][j], p, byte_perm(r00[j / 2], r01[j / 2], pick), byte_perm(r10[j / 2], r11[j / 2], pick));
    }
  }
}

// Query heads of the block's key-value head as the A operand, scaled so that exp2 of a score is the softmax weight.
// With cos and sin (rows of the position) the halves are rotated first.
static __device__ __forceinline__ void load_query(u32 (&q)[QK_CHUNKS][2][4], const act *src, const float *cos, const float *sin) {
  const int lane = threadIdx.x & 31, quad = lane & 3, head = lane >> 2;
  const float scale = 1.4426950408889634f * rsqrtf((float)D);
  float x[QK_CHUNKS][8];
#pragma unroll
  for (int c = 0; c < QK_CHUNKS; c++)
#pragma unroll
    for (int e = 0; e < 8; e++) x[c][e] = head < GROUP ? act_load(src + head * D + 32 * c + 8 * quad + e) * scale : 0.0f;
  if (cos) {
#pragma unroll
    for (int c = 0; c < QK_CHUNKS / 2; c++)
#pragma unroll
      for (int e = 0; e < 8; e++) {
        int i = 32 * c + 8 * quad + e;
        float a = x[c][e], b = x[c + QK_CHUNKS / 2][e], co = cos[i], si = sin[i];
        x[c][e] = a * co - b * si;
        x[c + QK_CHUNKS / 2][e] = b * co + a * si;
      }
  }
#pragma unroll
  for (int c = 0; c < QK_CHUNKS; c++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      split_half(x[c][4 * h], x[c][4 * h + 1], q[c][h][0], q[c][h][1]);
      split_half(x[c][4 * h + 2], x[c][4 * h + 3], q[c][h][2], q[c][h][3]);
    }
}

// Bytes in the workspace of one part: m and l, then O, of each head of the group.
enum { PART = GROUP * (D + 2) };

// Whole kernel body. fresh_k == NULL: the newest row is in the cache already.
static __device__ __forceinline__ void decode_attention(const act *query, const float *cos, const float *sin, const unsigned short *kc, const unsigned short *vc,
                                                        act *y, float *workspace, int last, int parts, const unsigned short *fresh_k, const unsigned short *fresh_v,
                                                        float *shared) {
  const int kv = blockIdx.x, part = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x >> 5, quad = lane & 3, head = lane >> 2;
  const int tiles = last / 16 + 1, first = (int)((long long)tiles * part / parts), end = (int)((long long)tiles * (part + 1) / parts);
  u32 q[QK_CHUNKS][2][4];
  load_query(q, query + (size_t)kv * GROUP * D, cos, sin);
  warp_state s;
  s.m = -1e30f, s.l = 0;
#pragma unroll
  for (int c = 0; c < V_CHUNKS; c++)
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) s.acc[c][j][e] = 0;
  const unsigned short *k = kc + (size_t)kv * TS_P * D, *v = vc + (size_t)kv * TS_P * D;
  int tile = first + warp;
  for (; tile < end && (16 * tile + 15 < last || !fresh_k); tile += WARPS) attend16<false>(s, q, k, v, 16 * tile, last, fresh_k, fresh_v);
  if (tile < end) attend16<true>(s, q, k, v, 16 * tile, last, fresh_k, fresh_v);
  s.l += __shfl_xor_sync(~0u, s.l, 1);
  s.l += __shfl_xor_sync(~0u, s.l, 2);

  // Warps meet in shared memory: [warp][head] m, l, O[D].
  float *mine = shared + (size_t)(warp * GROUP + head) * (D + 2);
  if (head < GROUP) {
    if (quad == 0) mine[0] = s.m, mine[1] = s.l;
#pragma unroll
    for (int c = 0; c < V_CHUNKS; c++)
#pragma unroll
      for (int j = 0; j < 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) mine[2 + 64 * c + 8 * (2 * quad + e) + j] = s.acc[c][j][e] + s.acc[c][j][e + 2];
  }
  __syncthreads();
  float *out = workspace + 64 + (size_t)(kv * SPLITS + part) * PART;
  for (int i = threadIdx.x; i < GROUP * D; i += 32 * WARPS) {
    const int h = i / D, e = i % D;
    float m = -1e30f, l = 0, o = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) m = fmaxf(m, shared[(w * GROUP + h) * (D + 2)]);
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      const float *x = shared + (w * GROUP + h) * (D + 2);
      float f = exp2_fast(x[0] - m);
      l += f * x[1], o += f * x[2 + e];
    }
    if (parts == 1) {
      act_store(y + (size_t)(kv * GROUP + h) * D + e, o / l);
    } else {
      if (e == 0) out[h * (D + 2)] = m, out[h * (D + 2) + 1] = l;
      out[h * (D + 2) + 2 + e] = o;
    }
  }
  if (parts == 1) return;

  // The last part of the head combines all.
  __shared__ u32 arrived;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) arrived = atomicAdd((u32 *)workspace + kv, 1u);
  __syncthreads();
  if (arrived != (u32)parts - 1) return;
  __threadfence();
  const float *all = workspace + 64 + (size_t)kv * SPLITS * PART;
  for (int i = threadIdx.x; i < GROUP * D; i += 32 * WARPS) {
    const int h = i / D, e = i % D;
    float m = -1e30f, l = 0, o = 0;
    for (int p = 0; p < parts; p++) m = fmaxf(m, __ldcg(all + (size_t)p * PART + h * (D + 2)));
    for (int p = 0; p < parts; p++) {
      const float *x = all + (size_t)p * PART + h * (D + 2);
      float f = exp2_fast(__ldcg(x) - m);
      l += f * __ldcg(x + 1), o += f * __ldcg(x + 2 + e);
    }
    act_store(y + (size_t)(kv * GROUP + h) * D + e, o / l);
  }
  if (threadIdx.x == 0) ((u32 *)workspace)[kv] = 0;
}

// Parts that are worth their block: each gets at least one turn of all warps.
static __device__ __forceinline__ int parts_of(int last) {
  const int most = (last / 16 + WARPS) / WARPS;
  return most < SPLITS ? most : SPLITS;
}
