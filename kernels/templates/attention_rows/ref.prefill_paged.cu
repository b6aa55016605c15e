/* tunesmith
doc       many positions over pages: flash attention with warp specialisation, tensor copies and wgmma
requires  sm_90a
op        attention_rows_paged
include   prefill_attention.params
where     PAGE <= 128 ? 128 % PAGE == 0 : PAGE % 128 == 0
launch    prefill
grid      min(SMS, H * ceildiv(n, 128)) ; 1 ; 1
block     384 ; 1 ; 1
shared    128 * D * 2 * 5 + 1024 + 128
dependent 2
args      t0 b1 t1 t2 b4 d
tmap      0 b0 f16 swizzle 128 dims D ; H ; n strides 2 * D ; 2 * D * H box 64 ; 1 ; 128
tmap      1 b2 f16 swizzle 128 dims D ; PAGE ; POOL * HK strides 2 * D ; 2 * D * PAGE box 64 ; min(PAGE, 128) ; 1
tmap      2 b3 f16 swizzle 128 dims D ; PAGE ; POOL * HK strides 2 * D ; 2 * D * PAGE box 64 ; min(PAGE, 128) ; 1
*/
#include "prefill_attention.cuh"

#ifdef TS_n
#define N_NOW TS_n
#else
#define N_NOW (int)dims[TS_DIM_n]
#endif
#ifdef TS_t
#define T_NOW TS_t
#else
#define T_NOW (int)dims[TS_DIM_t]
#endif

// As produce, page by page: a tile of keys has COPIES pieces, each in a page of its own. Pieces behind the newest position are those of its page:
// what they hold is finite, and masked.
enum { PIECE = TS_PAGE < TILE ? TS_PAGE : TILE, COPIES = TILE / PIECE };
static __device__ __forceinline__ void copy_pages(u32 to, const tensor_map *map, const int (&page)[COPIES], int row, int kv_head, u32 barrier) {
#pragma unroll
  for (int j = 0; j < COPIES; j++)
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) copy_tensor_3d(to + c * TILE * 128 + j * PIECE * 128, map, 64 * c, row, page[j] * TS_HK + kv_head, barrier);
}
static __device__ __forceinline__ void produce_pages(const shared_layout &s, const tensor_map *qm, const tensor_map *km, const tensor_map *vm, const int *table, int t, int rows) {
  work w;
  u32 done = 0;  // tiles of earlier items
  for (int round = 0; work_item(w, round, t, rows); round++) {
    const int kv_head = w.head / (TS_H / TS_HK);
    barrier_wait(s.empty_q, (round & 1) ^ 1);
    barrier_expect(s.full_q, Q_BYTES);
    for (int c = 0; c < CHUNKS; c++) copy_tensor_3d(s.q + c * ROWS * 128, qm, 64 * c, w.head, w.row, s.full_q);
    for (int i = 0; i < w.tiles; i++, done++) {
      const int position = (w.tiles - 1 - i) * TILE;
      const u32 stage = done & 1, parity = (done >> 1 & 1) ^ 1;
      int page[COPIES];
#pragma unroll
      for (int j = 0; j < COPIES; j++) page[j] = table[min(position + j * PIECE, t + rows - 1) / TS_PAGE];
      barrier_wait(s.empty_k + 8 * stage, parity);
      barrier_expect(s.full_k + 8 * stage, KV_BYTES);
      copy_pages(s.k + stage * KV_BYTES, km, page, position % TS_PAGE, kv_head, s.full_k + 8 * stage);
      barrier_wait(s.empty_v + 8 * stage, parity);
      barrier_expect(s.full_v + 8 * stage, KV_BYTES);
      copy_pages(s.v + stage * KV_BYTES, vm, page, position % TS_PAGE, kv_head, s.full_v + 8 * stage);
    }
  }
}

extern "C" __global__ void __launch_bounds__(384, 1) prefill(const __grid_constant__ tensor_map qm, const int *table, const __grid_constant__ tensor_map km, const __grid_constant__ tensor_map vm, u16 *y,
                                                            const long long *dims) {
  SHARED_MEMORY(raw);
  const shared_layout s = lay_out(raw);
  dependents_may_start();
  wait_for_predecessors();
  __syncthreads();
  const int rows = N_NOW, t = T_NOW, warpgroup = threadIdx.x >> 7;
  if (warpgroup == 0) {
    registers_give<24>();
    if (threadIdx.x == 0) produce_pages(s, &qm, &km, &vm, table, t, rows);
  } else {
    registers_take<240>();
    consume(s, warpgroup - 1, t, rows, y);
  }
}
