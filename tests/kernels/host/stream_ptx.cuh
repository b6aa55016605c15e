// stream_ptx for the host: kernels/templates/include/stream_ptx.cuh. A copy lands at once or when its thread waits for it, by chance.
#pragma once
#include "gemm_ptx.cuh"

struct host_copy16 {
  u32 dst;
  const void *src;
};
typedef std::vector<host_copy16> host_group16;
static std::vector<std::vector<host_group16>> host_groups16;  // of every lane: the oldest first, the open one last

static inline std::vector<host_group16> &host_my_groups16() {
  size_t lane = (size_t)(blockIdx.x * host_threads + host_me->index);
  if (host_groups16.size() <= lane) host_groups16.resize(lane + 1);
  if (host_groups16[lane].empty()) host_groups16[lane].resize(1);
  return host_groups16[lane];
}
static inline void copy16_if(u32 dst, const void *src, bool wanted) {
  if (!wanted) return;
  if (dst % 16 || (uintptr_t)src % 16) fprintf(stderr, "16 bytes to %x from %p\n", dst, src), abort();
  if (host_random() % 2) memcpy(host_at(dst), src, 16);
  else host_my_groups16().back().push_back({dst, src});
}
static inline void copy16(u32 dst, const void *src) {
  copy16_if(dst, src, true);
}
static inline void copies_close() {
  host_my_groups16().emplace_back();
}
template <int PENDING> static inline void copies_arrived() {
  std::vector<host_group16> &all = host_my_groups16();
  while ((int)all.size() - 1 > PENDING) {
    for (const host_copy16 &c : all[0]) memcpy(host_at(c.dst), c.src, 16);
    all.erase(all.begin());
  }
}
static inline uint4 load16_fresh(const void *p) {
  uint4 v;
  if ((uintptr_t)p % 16) fprintf(stderr, "16 bytes from %p\n", p), abort();
  memcpy(&v, p, 16);
  return v;
}
static inline uint4 load16_shared(u32 at) {
  uint4 v;
  memcpy(&v, host_at(at), 16);
  return v;
}
static inline void rest_briefly() {}
