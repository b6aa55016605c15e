// plan: what a model library says about itself. The build writes it, the runtime executes it; nothing else is needed.
//
// A model library is a shared object with the kernels and three symbols:
//   uint32_t tunesmith_library_abi          TS_KERNEL_ABI
//   unsigned char tunesmith_library_plan[]  the plan, JSON text in UTF-8
//   uint64_t tunesmith_library_plan_size    its bytes
// A kernel NAME of a CPU library is code, with NAME_workspace beside it (target/target.h). In a library for a GPU it is data: the
// artifact (target/gpu.h), with uint64_t NAME_bytes beside it. The file ends, after the shared object, in a seal (ts_seal).
// Included through runtime/runtime.h.
#ifndef TS_RUNTIME_PLAN_H
#define TS_RUNTIME_PLAN_H

#include "base/base.h"
#include "target/target.h"

#define TS_PLAN_FORMAT "tunesmith-plan"
#define TS_PLAN_VERSION 1
#define TS_PLAN_SYM_ABI "tunesmith_library_abi"
#define TS_PLAN_SYM_TEXT "tunesmith_library_plan"
#define TS_PLAN_SYM_SIZE "tunesmith_library_plan_size"

typedef enum ts_dtype {
#define DTYPE(e, index_name, name, bytes) TS_DT_##e,
#include "runtime/dtype.def"
#undef DTYPE
  TS_DT__COUNT
} ts_dtype;
int ts_dtype_bytes(ts_dtype t);
const char *ts_dtype_name(ts_dtype t);        // "f32"
const char *ts_dtype_index_name(ts_dtype t);  // "float32", as parameter indexes write it
// Either spelling. False when the name is not known.
bool ts_dtype_parse(const char *name, ts_dtype *out) TS_WARN_UNUSED;

// A dense row-major array: dtype and shape. ts_tensor_bytes refuses overflow and negative sizes (returns -1).
#define TS_TENSOR_DIMS 4
typedef struct ts_tensor {
  ts_dtype dtype;
  int ndim;
  int64_t shape[TS_TENSOR_DIMS];
} ts_tensor;
int64_t ts_tensor_count(const ts_tensor *t);
int64_t ts_tensor_bytes(const ts_tensor *t);
// The largest magnitude of n floats; infinite when one of them is none. 0 of other types.
double ts_dtype_most(ts_dtype t, const void *p, int64_t n);

typedef struct ts_plan_storage {  // a tensor of the parameter container, by its name in ndarray-cache.json
  const char *name;
  ts_tensor t;
  double least, below;  // floats: kernels are right where least <= the largest magnitude < below; 0, 0: wherever
} ts_plan_storage;

// A weight as the kernels see it. Without `pack`, parts[i] is storage[i], converted when the dtype differs (among f32, f16, bf16).
// With `pack` (a kernel symbol of the library without dims; arguments: storage..., parts...), parts are its outputs.
// Weights may share storage (a tied head); unpacked parts of equal storage, dtype and shape exist once in memory.
typedef struct ts_plan_weight {
  const char *name;  // unique in the plan: "model.layers.0.mlp.down_proj"
  const char *pack;  // or NULL
  int nstorage;
  const ts_plan_storage *storage;
  int nparts;
  const ts_tensor *parts;
} ts_plan_weight;

// Rotary tables f32[positions, dim / 2], part 0 cos, part 1 sin; computed when the library is loaded.
typedef enum ts_rope_scaling { TS_ROPE_PLAIN, TS_ROPE_LINEAR, TS_ROPE_LLAMA3 } ts_rope_scaling;
typedef struct ts_plan_rope {
  int64_t positions, dim;
  double theta;
  ts_rope_scaling scaling;
  double factor, low_freq_factor, high_freq_factor;  // LINEAR uses factor; LLAMA3 all
  int64_t original_positions;                        // LLAMA3
  int nfactors;                                      // 0, or dim / 2 divisors of the frequencies (GGUF rope_freqs)
  const double *factors;
} ts_plan_rope;

// An activation buffer: per_row * n + fixed elements for n rows, n at most max_rows, at a fixed place in one arena. Buffers whose
// lifetimes do not meet may overlap: that is the memory plan of the build.
typedef struct ts_plan_buffer {
  const char *name;
  ts_dtype dtype;
  int64_t per_row, fixed;
  int64_t offset;  // bytes, multiple of 64
} ts_plan_buffer;

// (schedule.h has the TS_ARG_ names)
typedef enum ts_plan_arg_kind {
  TS_PLAN_ARG_BUFFER, TS_PLAN_ARG_WEIGHT, TS_PLAN_ARG_ROPE, TS_PLAN_ARG_K, TS_PLAN_ARG_V, TS_PLAN_ARG_PAGES, TS_PLAN_ARG__COUNT
} ts_plan_arg_kind;
typedef struct ts_plan_arg {
  ts_plan_arg_kind kind;
  int index;          // buffer, weight, or layer of the cache; 0 for the rotary tables and the table of pages
  int part;           // part of a weight; 0 cos, 1 sin
  int64_t row_bytes;  // head phase: the pointer moves by row * row_bytes (a row of a buffer); else 0
} ts_plan_arg;

typedef enum ts_plan_dim { TS_DIM_N, TS_DIM_T } ts_plan_dim;  // rows (rounded up), tokens already in the cache
typedef enum ts_plan_source { TS_FROM_EXACT, TS_FROM_NEAREST, TS_FROM_DEFAULT, TS_FROM_LIBRARY, TS_FROM__COUNT } ts_plan_source;
typedef struct ts_plan_step {
  const char *kernel;     // symbol
  const char *op;         // "matmul": label for profiles
  const char *spec;       // workload, "matmul q4f16_1 N=576 K=576 n=1"
  ts_plan_source source;  // which record served it
  double expected_us;     // 0 when not known
  int nargs;
  const ts_plan_arg *args;
  int ndims;
  ts_plan_dim dims[2];    // in the kernel's order
} ts_plan_step;

// A list of steps for n_min <= n <= n_max rows; n is rounded up to `multiple`. HEAD turns one row into logits; it may run for
// several rows after one pass, so it must not write what it reads through row views.
typedef enum ts_phase_kind { TS_PHASE_DECODE, TS_PHASE_PREFILL, TS_PHASE_HEAD, TS_PHASE__COUNT } ts_phase_kind;
enum { TS_PLAN_TIMES = 64 };  // of a phase, at most
typedef struct ts_plan_time {
  int64_t n;
  double us;
} ts_plan_time;
typedef struct ts_plan_phase {
  ts_phase_kind kind;
  int64_t n_min, n_max, multiple;  // 1, 1, 1 for decode and head
  int nsteps;
  const ts_plan_step *steps;
  int ntimes;                 // expected times of passes of n rows, rising n; linear in between. None: not known
  const ts_plan_time *times;
} ts_plan_phase;

typedef struct ts_plan {
  const char *target;           // canonical target text of the build
  ts_api api;                   // TS_API_CPU, or TS_API_CUDA: kernels are artifacts for GPUs of `gpu`
  const char *gpu;              // "sm_90a"; "" for CPUs
  bool synthetic;               // weights are random numbers, drawn when the library is loaded; GPUs only
  int nfeatures;
  const char *const *features;  // CPU features the kernels use: "avx512vnni"
  // model
  const char *name, *arch, *quantization;
  int64_t vocab, active_vocab;  // rows of the head; ids from active_vocab on are never sampled
  int64_t hidden, layers, heads, kv_heads, head_dim;
  int64_t max_seq;              // positions in the cache and the rotary tables (multiple of 16)
  int64_t prefill_chunk;        // most rows in one pass; buffers hold max_rows = chunk rounded up to 8
  int64_t max_rows;
  int64_t bos;                  // -1: none
  int neos;
  const int64_t *eos;
  // memory
  int64_t arena_bytes;          // of activation buffers
  int64_t kv_bytes;             // of one layer's K (and V) cache; with pages: of all of them
  int64_t page, pages;          // positions of a page, and pages in the pool that sequences share; 0, 0: each has a cache of its own
  int tokens, logits;           // indices of the input buffer (i32, one a row) and of the output buffer (f32[vocab])
  int nweights;
  const ts_plan_weight *weights;
  bool has_rope;
  ts_plan_rope rope;
  int nbuffers;
  const ts_plan_buffer *buffers;
  int nphases;
  const ts_plan_phase *phases;
} ts_plan;

// Text form. print(parse(t)) == t for canonical t. parse checks everything a hostile text could get wrong: sizes, references,
// overlaps with the end of the arena, phases present (one HEAD, a DECODE).
void ts_plan_print(ts_text *out, const ts_plan *p);
const ts_plan *ts_plan_parse(ts_arena *a, const char *file, const char *text, size_t n, ts_diag *d) TS_WARN_UNUSED;
// What ts_plan_parse checks of the values (a plan made in memory is checked by the build with this).
bool ts_plan_verify(const ts_plan *p, const char *file, ts_diag *d) TS_WARN_UNUSED;
// Identity of the weights section: a packed weights file fits every library that says the same.
ts_sha256 ts_plan_layout(const ts_plan *p);
// The phase that serves n rows: DECODE for 1, else the first PREFILL whose range holds n. NULL when none.
const ts_plan_phase *ts_plan_pick(const ts_plan *p, int64_t n);
double ts_plan_phase_us(const ts_plan_phase *f, int64_t n);  // time of a pass of n rows by its times; 0 without

// How prompts are divided into passes (passes.c): depends on the plan alone. The least sum of expected times where every phase but the head has times,
// else as many rows a pass as can be.
typedef struct ts_passes ts_passes;
typedef struct ts_pass {
  const ts_plan_phase *phase;
  int64_t rows;  // of the prompt; the pass computes them rounded up to phase->multiple
} ts_pass;
ts_passes *ts_passes_new(const ts_plan *p, ts_diag *d) TS_WARN_UNUSED;  // p outlives it
void ts_passes_free(ts_passes *x);                                      // accepts NULL
// The next pass when `left` rows are to be computed, at least 1, and the cache has room for `room` positions, at least as many.
ts_pass ts_passes_next(ts_passes *x, int64_t left, int64_t room);
// What all weights made of a tensor ask of its largest magnitude: whether anything; and the refusal of `most`, naming `file` and the tensor
// ("weights-limit").
bool ts_plan_limited(const ts_plan *p, const char *storage);
bool ts_plan_within(const ts_plan *p, const char *storage, double most, const char *file, ts_diag *d) TS_WARN_UNUSED;
double ts_plan_position_bytes(const ts_plan *p);  // of K and V of one position, in all layers
const char *ts_plan_source_name(ts_plan_source s);  // "exact", "nearest", "default", "library"

#endif
