// decode_ptx for the host: kernels/templates/include/decode_ptx.cuh.
#pragma once
#include "gemm_ptx.cuh"

static inline uint4 load16(const void *p) {
  uint4 v;
  if ((uintptr_t)p % 16) fprintf(stderr, "16 bytes from %p\n", p), abort();
  memcpy(&v, p, 16);
  return v;
}
static inline uint4 shared16(u32 a) {
  uint4 v;
  if (a % 16) fprintf(stderr, "16 bytes at %x\n", a), abort();
  memcpy(&v, host_at(a), 16);
  return v;
}
static inline u32 byte_perm(u32 a, u32 b, u32 s) {
  return pick_bytes(a, b, s);
}
static inline float load_shared_level(const float *p) {
  return *p;
}
static inline float load_cluster(u32 a) {
  float v;
  memcpy(&v, host_at(a), 4);
  return v;
}

typedef float act;
static inline float act_load(const act *p) {
  return *p;
}
static inline void act_load8(float *x, const act *p) {
  memcpy(x, p, 32);
}
static inline void act_store(act *p, float v) {
  *p = v;
}
