// Kernels of the runtime itself: what stands between the last step of a pass and the first of the next. Compiled to PTX by
// scripts/make-runtime-ptx, which writes cuda_kernels.inc; the driver translates that, so that a shipped model needs no toolkit.
typedef unsigned long long u64;
typedef long long i64;
typedef unsigned u32;

enum { PARTS = 256, THREADS = 256, SAMPLE_THREADS = 1024 };

// ORDER: struct state in cuda_state.h.
struct state {
  i64 dims[4];  // n, t, n: every order that kernels ask for begins somewhere here
  u64 emitted;  // tokens since the beginning
  u64 *ring;    // in the host's memory: the token and, above it, which one it is
  int *tokens;  // first token of the next pass
  u64 ring_mask;
  u64 seed;
  float temperature, top_p;
  int top_k;
  u32 ticket;
  float part_value[PARTS];
  int part_index[PARTS];
};

// From compute capability 9.0 on a kernel may start before its predecessor has ended, and then waits for it here.
static __device__ __forceinline__ void after_predecessor() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;" ::: "memory");
#endif
}

// The token is known: it goes to the next pass and to the host.
static __device__ void emit(state *s, int id) {
  u64 which = s->emitted + 1;
  s->tokens[0] = id < 0 ? 0 : id;
  s->dims[1] += 1;
  s->emitted = which;
  *(volatile u64 *)&s->ring[(which - 1) & s->ring_mask] = which << 32 | (u32)id;
  __threadfence_system();
}

// The better of two logits: the larger, then the first. Index -1: none. NaN and infinities never count.
static __device__ void better(float &v, int &i, float w, int k) {
  if (k >= 0 && (i < 0 || w > v || (w == v && k < i))) {
    v = w;
    i = k;
  }
}

static __device__ bool counts(float v) { return v - v == 0.0f; }

static __device__ void warp_best(float &v, int &i) {
  #pragma unroll 1
  for (int d = 16; d; d >>= 1) {
    float w = __shfl_xor_sync(0xffffffffu, v, d);
    int k = __shfl_xor_sync(0xffffffffu, i, d);
    better(v, i, w, k);
  }
}

// The best of a block, in its first thread.
static __device__ void block_best(float &v, int &i) {
  __shared__ float value[32];
  __shared__ int index[32];
  warp_best(v, i);
  if (threadIdx.x % 32 == 0) {
    value[threadIdx.x / 32] = v;
    index[threadIdx.x / 32] = i;
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    bool there = threadIdx.x < blockDim.x / 32;
    v = there ? value[threadIdx.x] : 0.0f;
    i = there ? index[threadIdx.x] : -1;
    warp_best(v, i);
  }
  __syncthreads();
}

extern "C" __global__ void tunesmith_set(state *s, i64 n, i64 t) {
  s->dims[0] = s->dims[2] = n;
  s->dims[1] = t;
}

extern "C" __global__ void __launch_bounds__(THREADS) tunesmith_greedy(state *s, const float *logits, int n) {
  float v = 0.0f;
  int best = -1;
  __shared__ bool last;
  after_predecessor();
  #pragma unroll 4
  for (int i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS)
    if (counts(logits[i])) better(v, best, logits[i], i);
  block_best(v, best);
  if (threadIdx.x == 0) {
    s->part_value[blockIdx.x] = v;
    s->part_index[blockIdx.x] = best;
    __threadfence();
    last = atomicInc(&s->ticket, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  v = 0.0f;
  best = -1;
  #pragma unroll 1
  for (int i = threadIdx.x; i < (int)gridDim.x; i += THREADS)
    better(v, best, *(volatile float *)&s->part_value[i], *(volatile int *)&s->part_index[i]);
  block_best(v, best);
  if (threadIdx.x == 0) emit(s, best);
}

// Bits that order as the floats do.
static __device__ u32 ordered(float v) {
  u32 b = __float_as_uint(v);
  return b & 0x80000000u ? ~b : b | 0x80000000u;
}

static __device__ u64 weight(float v, float top, float inverse) { return (u64)(__expf((v - top) * inverse) * 1099511627776.0f); }

// A random number in (0, 1) for token i of this draw.
static __device__ float unit(u64 seed, u64 draw, u32 i) {
  u64 x = seed + 0x9e3779b97f4a7c15ull * (draw + 1) + 0xd1342543de82ef95ull * (i + 1);
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  x ^= x >> 31;
  return ((u32)(x >> 41) + 0.5f) * (1.0f / 8388608.0f);
}

// The largest key such that those from it on are `wanted` or more (counts, or weights), found eight bits at a time from the top.
static __device__ u32 threshold(const float *logits, int n, u64 wanted, bool weights, u32 floor, float top, float inverse) {
  __shared__ u64 bin[256];
  __shared__ u32 prefix;
  __shared__ u64 above;
  if (threadIdx.x == 0) {
    prefix = 0;
    above = 0;
  }
  #pragma unroll 1
  for (int shift = 24; shift >= 0; shift -= 8) {
    #pragma unroll 1
    for (int i = threadIdx.x; i < 256; i += SAMPLE_THREADS) bin[i] = 0;
    __syncthreads();
    #pragma unroll 1
    for (int i = threadIdx.x; i < n; i += SAMPLE_THREADS) {
      float v = logits[i];
      u32 key = ordered(v);
      bool inside = counts(v) && key >= floor && (shift == 24 || key >> (shift + 8) == prefix >> (shift + 8));
      if (inside) atomicAdd(&bin[key >> shift & 255], weights ? weight(v, top, inverse) : 1ull);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      u64 sum = above;
      int b = 255;
      while (b > 0 && sum + bin[b] < wanted) sum += bin[b--];
      above = sum;
      prefix |= (u32)b << shift;
    }
    __syncthreads();
  }
  u32 found = prefix;
  __syncthreads();
  return found < floor ? floor : found;
}

// Keep the top_k largest, of these those that hold top_p of all probability; draw by the largest of logit / temperature + Gumbel noise.
extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS) tunesmith_sample(state *s, const float *logits, int n) {
  __shared__ float shared_top;
  __shared__ u64 total;
  float v = 0.0f;
  int best = -1;
  after_predecessor();
  #pragma unroll 1
  for (int i = threadIdx.x; i < n; i += SAMPLE_THREADS)
    if (counts(logits[i])) better(v, best, logits[i], i);
  block_best(v, best);
  if (threadIdx.x == 0) {
    shared_top = best < 0 ? 0.0f : v;
    total = 0;
  }
  __syncthreads();
  float top = shared_top, inverse = 1.0f / s->temperature;
  u32 floor = 0;
  u64 draw = (u64)s->dims[1] + 1, seed = s->seed;
  if (s->top_k > 0 && s->top_k < n) floor = threshold(logits, n, (u64)s->top_k, false, 0, top, inverse);
  if (s->top_p < 1.0f) {
    u64 sum = 0;
    #pragma unroll 1
    for (int i = threadIdx.x; i < n; i += SAMPLE_THREADS)
      if (counts(logits[i])) sum += weight(logits[i], top, inverse);
    atomicAdd(&total, sum);
    __syncthreads();
    floor = threshold(logits, n, (u64)((double)total * (double)s->top_p), true, floor, top, inverse);
  }
  v = 0.0f;
  best = -1;
  #pragma unroll 1
  for (int i = threadIdx.x; i < n; i += SAMPLE_THREADS) {
    float x = logits[i];
    if (!counts(x) || ordered(x) < floor) continue;
    better(v, best, (x - top) * inverse - logf(-logf(unit(seed, draw, (u32)i))), i);
  }
  block_best(v, best);
  if (threadIdx.x == 0) emit(s, best);
}
