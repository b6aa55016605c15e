// Causal attention of many query positions over a cache of rows on Hopper (method: FlashAttention-3, Shah et al. 2024).
//
// A block serves 128 query rows of one head. One warp of a producer warpgroup copies the queries, then tiles of 128 keys and values, with
// the tensor copy engine into two stages of 128-byte swizzled shared memory; two consumer warpgroups of 64 rows each multiply by wgmma. The
// next tile's scores are issued before the current tile's values, and the softmax runs while the values multiply. With
// PINGPONG the two warpgroups take turns at the tensor cores. Tiles go from the newest to the oldest, so that masking comes first.
#pragma once
#include "gemm_ptx.cuh"

enum { D = TS_D, ROWS = 128, TILE = 128, CHUNKS = D / 64, Q_BYTES = ROWS * D * 2, KV_BYTES = TILE * D * 2 };
static_assert(D == 64 || D == 128, "heads of 64 or 128");

// Matrix descriptors of 128-byte swizzled tiles: rows of 128 bytes, eight to a swizzle atom of 1024 bytes.
static __device__ __forceinline__ u64 descriptor(u32 address, u32 leading_bytes) {
  return (u64)((address & 0x3ffff) >> 4) | (u64)(leading_bytes >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}
static __device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
static __device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> static __device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// d[64 x 128] (+)= a[64 x 16] . b[128 x 16]^T, both K-major in shared memory; keep == 0 starts a new sum.
static __device__ __forceinline__ void wgmma_scores(float (&d)[64], u64 a, u64 b, int keep) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {%0, %1, %2, %3, %4, %5, %6, %7, "
      "%8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, "
      "%40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, "
      "%56, %57, %58, %59, %60, %61, %62, %63}, %64, %65, p, 1, 1, 0, 0;\n}"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]),
        "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]),
        "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]),
        "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),
        "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]),
        "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]),
        "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]),
        "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "l"(a), "l"(b), "r"(keep));
}
// o[64 x N] += a[64 x 16] . b[16 x N], a in registers, b with rows of N in shared memory.
static __device__ __forceinline__ void wgmma_values(float (&d)[64], const u32 (&a)[4], u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {%0, %1, %2, %3, %4, %5, %6, %7, "
      "%8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, "
      "%40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, "
      "%56, %57, %58, %59, %60, %61, %62, %63}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]),
        "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]),
        "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]),
        "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),
        "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]),
        "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]),
        "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]),
        "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
static __device__ __forceinline__ void wgmma_values(float (&d)[32], const u32 (&a)[4], u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0, %1, %2, %3, %4, %5, %6, %7, "
      "%8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]),
        "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]),
        "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]),
        "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

static __device__ __forceinline__ float exp2_fast(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
// Named barriers 1 and 2: turns at the tensor cores.
static __device__ __forceinline__ void turn_wait(int warpgroup) { asm volatile("bar.sync %0, 256;" ::"r"(1 + warpgroup) : "memory"); }
static __device__ __forceinline__ void turn_give(int warpgroup) { asm volatile("bar.arrive %0, 256;" ::"r"(1 + warpgroup) : "memory"); }

struct shared_layout {
  u32 q, k, v, full_q, full_k, full_v, empty_k, empty_v;  // addresses; two stages of k and v, barriers of 8 bytes a stage
};

static __device__ __forceinline__ void produce(const shared_layout &s, const tensor_map *qm, const tensor_map *km, const tensor_map *vm, int row, int head, int kv_head, int tiles) {
  barrier_expect(s.full_q, Q_BYTES);
  for (int c = 0; c < CHUNKS; c++) copy_tensor_3d(s.q + c * ROWS * 128, qm, 64 * c, head, row, s.full_q);
  for (int i = 0; i < tiles; i++) {
    const int stage = i & 1, position = (tiles - 1 - i) * TILE;
    const u32 parity = (i >> 1 & 1) ^ 1;
    barrier_wait(s.empty_k + 8 * stage, parity);
    barrier_expect(s.full_k + 8 * stage, KV_BYTES);
    for (int c = 0; c < CHUNKS; c++) copy_tensor_3d(s.k + stage * KV_BYTES + c * TILE * 128, km, 64 * c, position, kv_head, s.full_k + 8 * stage);
    barrier_wait(s.empty_v + 8 * stage, parity);
    barrier_expect(s.full_v + 8 * stage, KV_BYTES);
    for (int c = 0; c < CHUNKS; c++) copy_tensor_3d(s.v + stage * KV_BYTES + c * TILE * 128, vm, 64 * c, position, kv_head, s.full_v + 8 * stage);
  }
}

// Scores of one tile; asynchronous.
static __device__ __forceinline__ void issue_scores(float (&d)[64], u32 q, u32 k) {
#pragma unroll
  for (int i = 0; i < D / 16; i++)
    wgmma_scores(d, descriptor(q + i / 4 * ROWS * 128 + i % 4 * 32, 16), descriptor(k + i / 4 * TILE * 128 + i % 4 * 32, 16), i != 0);
}
static __device__ __forceinline__ void issue_values(float (&o)[D / 2], const u32 (&p)[TILE / 16][4], u32 v) {
#pragma unroll
  for (int i = 0; i < TILE / 16; i++) wgmma_values(o, p[i], descriptor(v + i * 2048, TILE * 128));
}

// Score of a key that a row does not see. A power of two: its product with the scale is exact, so that a row that sees nothing of a tile gets
// weights of 1 there, which the next tile's factor of 0 takes away. Rounded, the difference of two such products is 1e20, and its exponential inf.
#define UNSEEN -0x1p100f

// Running softmax of the two rows that a thread shares with three others: weights replace the scores, f receives what earlier
// sums are multiplied by. Columns beyond `seen[r]` of row r are masked when `masked`.
static __device__ __forceinline__ void softmax(float (&s)[64], float (&m)[2], float (&l)[2], float (&f)[2], bool masked, int column, const int (&seen)[2]) {
  const float scale = 1.4426950408889634f * rsqrtf((float)D);
  if (masked) {
#pragma unroll
    for (int j = 0; j < 16; j++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        if (column + 8 * j + (e & 1) > seen[e >> 1]) s[4 * j + e] = UNSEEN;
  }
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float top = m[r];
#pragma unroll
    for (int j = 0; j < 16; j++) top = fmaxf(top, fmaxf(s[4 * j + 2 * r], s[4 * j + 2 * r + 1]));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
    f[r] = exp2_fast((m[r] - top) * scale);
    m[r] = top;
    const float shift = top * scale;
    float sum = 0;
#pragma unroll
    for (int j = 0; j < 16; j++) {
      s[4 * j + 2 * r] = exp2_fast(s[4 * j + 2 * r] * scale - shift);
      s[4 * j + 2 * r + 1] = exp2_fast(s[4 * j + 2 * r + 1] * scale - shift);
      sum += s[4 * j + 2 * r] + s[4 * j + 2 * r + 1];
    }
    l[r] = l[r] * f[r] + sum;
  }
}
static __device__ __forceinline__ void to_operand(u32 (&p)[TILE / 16][4], const float (&s)[64]) {
#pragma unroll
  for (int i = 0; i < TILE / 16; i++)
#pragma unroll
    for (int e = 0; e < 4; e++) p[i][e] = pack_f16(s[8 * i + 2 * e], s[8 * i + 2 * e + 1]);
}

// t: position of query row 0; rows: query rows in all; row: the block's first.
static __device__ __forceinline__ void consume(const shared_layout &sh, int warpgroup, int t, int rows, int row, int head, int tiles, u16 *y) {
  const int thread = threadIdx.x & 127, lane = thread & 31, mine = row + 64 * warpgroup + 16 * (thread >> 5) + (lane >> 2), column = 2 * (lane & 3);
  const int seen_at[2] = {t + mine, t + mine + 8};
  float s[64], o[D / 2], m[2] = {UNSEEN, UNSEEN}, l[2] = {0, 0}, f[2];
  u32 p[TILE / 16][4];
#pragma unroll
  for (int i = 0; i < D / 2; i++) o[i] = 0;
  const u32 q = sh.q + warpgroup * 64 * 128;
  // the last tile that needs no mask for any row of this warpgroup is before this one
  const int first_masked = (t + row + 64 * warpgroup + 1) / TILE;

  barrier_wait(sh.full_q, 0);
  barrier_wait(sh.full_k, 0);
#if PINGPONG
  if (warpgroup == 1) turn_give(0);
  turn_wait(warpgroup);
#endif
  wgmma_fence();
  issue_scores(s, q, sh.k);
  wgmma_commit();
  wgmma_wait<0>();
#if PINGPONG
  turn_give(1 - warpgroup);
#endif
  if (thread == 0) barrier_arrive(sh.empty_k);
  {
    const int seen[2] = {seen_at[0] - (tiles - 1) * TILE, seen_at[1] - (tiles - 1) * TILE};
    softmax(s, m, l, f, tiles - 1 >= first_masked, column, seen);
  }
  to_operand(p, s);
  for (int i = 1; i < tiles; i++) {
    const int stage = i & 1, before = stage ^ 1, tile = tiles - 1 - i;
    barrier_wait(sh.full_k + 8 * stage, i >> 1 & 1);
#if PINGPONG
    turn_wait(warpgroup);
#endif
    wgmma_fence();
    issue_scores(s, q, sh.k + stage * KV_BYTES);
    wgmma_commit();
    barrier_wait(sh.full_v + 8 * before, (i - 1) >> 1 & 1);
    issue_values(o, p, sh.v + before * KV_BYTES);
    wgmma_commit();
#if PINGPONG
    turn_give(1 - warpgroup);
#endif
    wgmma_wait<1>();
    if (thread == 0) barrier_arrive(sh.empty_k + 8 * stage);
    const int seen[2] = {seen_at[0] - tile * TILE, seen_at[1] - tile * TILE};
    softmax(s, m, l, f, tile >= first_masked, column, seen);
    wgmma_wait<0>();
    if (thread == 0) barrier_arrive(sh.empty_v + 8 * before);
#pragma unroll
    for (int j = 0; j < D / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) o[4 * j + e] *= f[e >> 1];
    to_operand(p, s);
  }
  barrier_wait(sh.full_v + 8 * ((tiles - 1) & 1), (tiles - 1) >> 1 & 1);
#if PINGPONG
  turn_wait(warpgroup);
#endif
  wgmma_fence();
  issue_values(o, p, sh.v + ((tiles - 1) & 1) * KV_BYTES);
  wgmma_commit();
#if PINGPONG
  if (warpgroup == 0) turn_give(1);
#endif
  wgmma_wait<0>();
#pragma unroll
  for (int r = 0; r < 2; r++) {
    l[r] += __shfl_xor_sync(~0u, l[r], 1);
    l[r] += __shfl_xor_sync(~0u, l[r], 2);
    const float inverse = 1.0f / l[r];
    u16 *out = y + ((size_t)(mine + 8 * r) * TS_H + head) * D + column;
    if (mine + 8 * r < rows) {
#pragma unroll
      for (int j = 0; j < D / 8; j++) *(u32 *)(out + 8 * j) = pack_f16(o[4 * j + 2 * r] * inverse, o[4 * j + 2 * r + 1] * inverse);
    }
  }
}
