// Kernels of the model that tests/runtime/tiny.c makes. Compiled by the test into a model library.
// The model: embeddings are rows of a matrix, the "attention" sums the cache with weights that halve per position, the head
// multiplies by a packed (transposed) matrix.
#include "target/target.h"

#ifndef TINY_ABI
#define TINY_ABI TS_KERNEL_ABI
#endif
enum { V = 272, H = 272 };

const uint32_t tunesmith_library_abi = TINY_ABI;
__asm__(".section .rodata\n.global tunesmith_library_plan\ntunesmith_library_plan:\n.incbin \"" TINY_PLAN "\"\n"
        "1:\n.balign 8\n.global tunesmith_library_plan_size\ntunesmith_library_plan_size:\n"
        ".quad 1b - tunesmith_library_plan\n.text\n");

#define KERNEL(name, workspace_bytes)                                                  \
  void name(void *const *buf, const int64_t *dim, const ts_kernel_rt *rt);             \
  int64_t name##_workspace(const int64_t *dim);                                        \
  int64_t name##_workspace(const int64_t *dim) { return (void)dim, (workspace_bytes); } \
  void name(void *const *buf, const int64_t *dim, const ts_kernel_rt *rt)

static void embed(void *const *buf, int64_t n) {
  const int32_t *token = buf[0];
  const float *w = buf[1];
  for (int64_t i = 0; i < n; i++) memcpy((float *)buf[2] + i * H, w + token[i] * H, H * sizeof *w);
}
KERNEL(embed_1, 0) { (void)dim, (void)rt, embed(buf, 1); }
KERNEL(embed_n, 0) { (void)rt, embed(buf, dim[0]); }

enum { PAGE = 8 };
typedef struct rows {
  void *const *buf;
  int64_t t;
  const int32_t *page;  // or NULL
} rows;

static float *cached(const rows *r, int64_t position) { return (float *)r->buf[1] + (r->page ? r->page[position / PAGE] * PAGE + position % PAGE : position) * H; }

static void mix_rows(void *env, int64_t begin, int64_t end) {
  const rows *r = env;
  const float *cos0 = r->buf[2];
  float *y = r->buf[3];
  for (int64_t i = begin; i < end; i++)
    for (int64_t h = 0; h < H; h++) {
      float sum = 0;
      for (int64_t p = 0; p <= r->t + i; p++) sum = sum * 0.5f + cached(r, p)[h];
      y[i * H + h] = sum * cos0[0];
    }
}

static void mix(void *const *buf, const int32_t *page, int64_t n, int64_t t, const ts_kernel_rt *rt) {
  rows r = {buf, t, page};
  for (int64_t i = 0; i < n; i++) memcpy(cached(&r, t + i), (const float *)buf[0] + i * H, H * sizeof(float));
  rt->parallel(rt, mix_rows, &r, n);
}
KERNEL(mix_1, 0) { mix(buf, 0, 1, dim[0], rt); }
KERNEL(mix_n, 0) { mix(buf, 0, dim[0], dim[1], rt); }
KERNEL(mix_pages_1, 0) { mix(buf, buf[4], 1, dim[0], rt); }
KERNEL(mix_pages_n, 0) { mix(buf, buf[4], dim[0], dim[1], rt); }

// Copies its input to the workspace first, so that a missing workspace is seen.
KERNEL(head_1, H * sizeof(float)) {
  (void)dim, (void)rt;
  float *x = buf[3];
  const float *w = buf[1];
  memcpy(x, buf[0], H * sizeof *x);
  for (int v = 0; v < V; v++) {
    float sum = 0;
    for (int h = 0; h < H; h++) sum += x[h] * w[h * V + v];
    ((float *)buf[2])[v] = sum;
  }
}

#ifndef TINY_WITHOUT_PACK
KERNEL(pack_head, 64) {
  (void)dim, (void)rt;
  const _Float16 *w = buf[0];
  float *out = buf[1];
  for (int v = 0; v < V; v++)
    for (int h = 0; h < H; h++) out[h * V + v] = (float)w[v * H + h];
}
#endif
