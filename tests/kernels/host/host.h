// host: runs a kernel built on the host's gemm_ptx, cluster after cluster.
//
// What the kernel before writes (host_from_predecessor) is there once that has ended, which is late. Until then it is no number, and what is written to
// it is lost: a kernel that begins with it before wait_for_predecessors is wrong. Every block has to wait before it ends, so that all that was before has
// ended when the next kernel's wait is over.
#pragma once
#include "gemm_ptx.cuh"
#include <ucontext.h>

#include <functional>

static int host_parts = 1;  // blocks along y, which come one after the other
thread_local host_lane *host_me;
dim3_ host_grid;
int host_threads, host_blocks;

enum { HOST_STACK = 64 << 10, HOST_SHARED = 232448, HOST_LATE = 16 };  // HOST_LATE: turns of all lanes
struct host_pending {
  u32 dst, bar, bytes;
  const void *src;
  std::vector<unsigned char> own;
};
struct host_meeting {
  int arrived = 0;
  unsigned long turn = 0;
};
static std::vector<std::vector<unsigned char>> host_memory;
static std::vector<host_pending> host_copies;
static std::vector<host_meeting> host_meetings[3];
static host_meeting host_cluster;
static std::vector<host_meeting> host_some;
static std::vector<u32> host_slots;
static ucontext_t host_main;
static std::vector<ucontext_t> host_context;
static std::vector<host_lane> host_lanes;
static std::vector<bool> host_ended;
static const std::function<void()> *host_kernel;
struct host_late {
  void *p;
  bool input;  // nothing is written to it: it comes late for every cluster
  std::vector<unsigned char> what;
};
static std::vector<host_late> host_lates;
static std::vector<bool> host_waited;  // by a lane of the block
static bool host_predecessor_ended;
static u64 host_seed = 1;

static u32 host_random() {
  host_seed = host_seed * 6364136223846793005ull + 1442695040888963407ull;
  return (u32)(host_seed >> 33);
}
unsigned char *host_shared() {
  unsigned char *p = host_memory[host_me->rank].data();
  return p + (1024 - (uintptr_t)p % 1024) % 1024;
}
unsigned char *host_at(u32 address) {
  unsigned char *p = host_memory[address >> 24].data();
  return p + (1024 - (uintptr_t)p % 1024) % 1024 + (address & 0xffffff);
}
template <typename T> static void host_from_predecessor(T *p, size_t n, bool input) {
  host_lates.push_back({p, input, std::vector<unsigned char>(n * sizeof(T))});
}
template <typename T> static void host_from_predecessor(std::vector<T> &v, bool input) {
  host_from_predecessor(v.data(), v.size(), input);
}
static void host_predecessor_begins(bool first) {
  host_predecessor_ended = false;
  for (host_late &l : host_lates)
    if (first || l.input) {
      memcpy(l.what.data(), l.p, l.what.size());
      memset(l.p, 0xff, l.what.size());
    }
}
static void host_predecessor_ends(bool first) {
  host_predecessor_ended = true;
  for (const host_late &l : host_lates)
    if (first || l.input) memcpy(l.p, l.what.data(), l.what.size());
}
void wait_for_predecessors() {
  host_waited[host_me->rank] = true;
  while (!host_predecessor_ended) host_yield();
}
static void host_land(size_t i) {
  host_pending c = host_copies[i];
  host_copies.erase(host_copies.begin() + i);
  memcpy(host_at(c.dst), c.own.empty() ? c.src : c.own.data(), c.bytes);
  host_barrier_arrive(c.bar, 0, -(int)c.bytes);
}
void host_barrier_arrive(u32 bar, int count, int bytes) {
  host_barrier b;
  memcpy(&b, host_at(bar), 8);
  b.pending = (short)(b.pending - count);
  b.bytes_phase += bytes * 2;
  if (b.pending < 0) fprintf(stderr, "barrier %x: more arrivals than it counts\n", bar), abort();
  if (b.pending == 0 && b.bytes_phase >> 1 == 0) {
    b.pending = b.count;
    b.bytes_phase ^= 1;
  }
  memcpy(host_at(bar), &b, 8);
}
bool host_barrier_done(u32 bar, u32 parity) {
  host_barrier b;
  if (!host_copies.empty() && host_random() % 4 == 0) host_land(host_random() % host_copies.size());
  memcpy(&b, host_at(bar), 8);
  return (u32)(b.bytes_phase & 1) != parity;
}
void host_copy(u32 dst, const void *src, u32 bytes, u32 bar) {
  if (bytes % 16 || dst % 16 || (uintptr_t)src % 16) fprintf(stderr, "bulk copy of %u bytes to %x from %p\n", bytes, dst, src), abort();
  if ((dst & 0xffffff) + bytes > HOST_SHARED) fprintf(stderr, "bulk copy beyond shared memory\n"), abort();
  host_copies.push_back({dst, bar, bytes, src, {}});
  if (host_random() % 2) host_land(host_copies.size() - 1);
}
void copy_tensor_3d(u32 dst, const tensor_map *m, int x, int y, int z, u32 bar) {
  int size = m->element;
  host_pending c = {dst, bar, (u32)(m->box[0] * m->box[1] * m->box[2] * size), NULL, {}};
  c.own.resize(c.bytes);
  if (dst % (m->swizzle ? 1024 : 128)) fprintf(stderr, "tensor copy to %x\n", dst), abort();
  u32 off = 0;
  for (int k = 0; k < m->box[2]; k++)
    for (int j = 0; j < m->box[1]; j++)
      for (int i = 0; i < m->box[0]; i++, off += size) {
        if (x + i >= m->size[0] || y + j >= m->size[1] || z + k >= m->size[2]) continue;
        u32 at = m->swizzle ? off ^ (off >> 7 & 7) << 4 : off;
        memcpy(&c.own[at], (const char *)m->base + (size_t)(x + i) * size + (size_t)(y + j) * m->stride[0] + (size_t)(z + k) * m->stride[1], size);
      }
  host_copies.push_back(c);
  if (host_random() % 2) host_land(host_copies.size() - 1);
}
void copy_tensor_2d(u32 dst, const tensor_map *m, int x, int y, u32 bar) {
  copy_tensor_3d(dst, m, x, y, 0, bar);
}
static int host_group(int kind, int *size) {
  int i = host_me->rank * host_threads + host_me->index;
  *size = kind == HOST_WARP ? 32 : kind == HOST_WARPGROUP ? 128 : host_threads;
  return i / *size;
}
u32 *host_slot(int kind, int lane) {
  int size, group = host_group(kind, &size);
  return &host_slots[((size_t)group * size + lane) * 64];
}
void host_yield() {
  host_lane *me = host_me;
  swapcontext(&host_context[me->rank * host_threads + me->index], &host_main);
  host_me = me;
}
void host_meet(int kind) {
  int size, group = host_group(kind, &size);
  host_meeting &m = host_meetings[kind][group];
  unsigned long turn = m.turn;
  if (++m.arrived == size) {
    m.arrived = 0;
    m.turn++;
    return;
  }
  while (host_meetings[kind][group].turn == turn) host_yield();
}
static void host_cluster_check() {
  int size = 0;
  for (bool ended : host_ended) size += !ended;
  if (host_cluster.arrived < size) return;
  host_cluster.arrived = 0;
  host_cluster.turn++;
}
void cluster_arrive() {
  host_me->cluster_turn = host_cluster.turn;
  host_cluster.arrived++;
  host_cluster_check();
}
void cluster_wait() {
  for (host_lane *me = host_me; me->cluster_turn == host_cluster.turn; host_cluster_check()) host_yield();
}
void host_meet_some(int number, int threads) {
  const size_t which = (size_t)host_me->rank * 16 + number;
  host_meeting &m = host_some[which];
  unsigned long turn = m.turn;
  if (++m.arrived == threads) {
    m.arrived = 0;
    m.turn++;
    return;
  }
  while (host_some[which].turn == turn) host_yield();
}
static void host_run_lane() {
  (*host_kernel)();
  host_ended[host_me->rank * host_threads + host_me->index] = true;
  swapcontext(&host_context[host_me->rank * host_threads + host_me->index], &host_main);
}
// One cluster: every lane in turn until all have ended; false when nobody can go on.
static bool host_run_cluster(int first) {
  int lanes = host_threads * host_blocks;
  host_memory.assign(host_blocks, std::vector<unsigned char>(HOST_SHARED + 1024, 0xff));  // no numbers
  host_copies.clear();
  host_cluster = host_meeting();
  host_some.assign((size_t)host_blocks * 16, host_meeting());
  host_slots.assign((size_t)lanes * 64, 0);
  for (auto &m : host_meetings) m.assign(lanes, host_meeting());
  host_lanes.assign(lanes, host_lane());
  host_waited.assign(host_blocks, false);
  host_predecessor_begins(first == 0);
  host_context.assign(lanes, ucontext_t());
  host_ended.assign(lanes, false);
  std::vector<unsigned char> stacks((size_t)lanes * HOST_STACK);
  for (int i = 0; i < lanes; i++) {
    const int block = first + i / host_threads;
    host_lanes[i] = {{i % host_threads, 0, 0}, {block / host_parts, block % host_parts, 0}, i / host_threads, i % host_threads, 0};
    getcontext(&host_context[i]);
    host_context[i].uc_stack.ss_sp = &stacks[(size_t)i * HOST_STACK];
    host_context[i].uc_stack.ss_size = HOST_STACK;
    makecontext(&host_context[i], host_run_lane, 0);
  }
  for (long turn = 0, left = lanes; left; turn++) {
    if (turn > 200000) return false;
    if (turn == HOST_LATE) host_predecessor_ends(first == 0);
    int from = (int)(host_random() % (u32)lanes);
    left = 0;
    for (int i = 0; i < lanes; i++) {
      int l = (from + i) % lanes;
      if (host_ended[l]) continue;
      left++;
      host_me = &host_lanes[l];
      swapcontext(&host_main, &host_context[l]);
    }
  }
  if (!host_predecessor_ended) host_predecessor_ends(first == 0);
  for (bool waited : host_waited)
    if (!waited && !host_lates.empty()) return fprintf(stderr, "a block ends that has not waited for the kernel before\n"), false;
  return true;
}
static bool host_launch(int grid, int cluster, int threads, const std::function<void()> &kernel) {
  host_grid = {grid, 1, 1};
  host_threads = threads;
  host_blocks = cluster;
  host_kernel = &kernel;
  for (int b = 0; b < grid; b += cluster)
    if (!host_run_cluster(b)) return false;
  return true;
}
