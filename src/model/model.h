// model: from a model on disk (Hugging Face directory, GGUF file) or a synthetic one to quantized parameters, tuning
// tasks, an execution plan and the output directory of a build.
//
// Files from outside are hostile: every size, offset, count and shape is checked before use, and each refusal names the
// file and the fact.
#ifndef TS_MODEL_H
#define TS_MODEL_H

#include "base/base.h"
#include "ir/ir.h"
#include "measure/measure.h"
#include "op/op.h"
#include "search/search.h"
#include "target/target.h"

// --- tensor types (wtype.def) ------------------------------------------------------------------------------
typedef enum ts_wtype {
#define WTYPE(name, gguf, st, elems, bytes) TS_W_##name,
#include "model/wtype.def"
#undef WTYPE
  TS_W__COUNT
} ts_wtype;
const char *ts_wtype_name(ts_wtype t);
int64_t ts_wtype_block(ts_wtype t);  // elements in a block (1 for plain types)
int64_t ts_wtype_block_bytes(ts_wtype t);
// Decode n elements (a multiple of the block) to f32 exactly as the format says.
void ts_wtype_decode(ts_wtype t, const uint8_t *src, int64_t n, float *dst);

// --- configuration -----------------------------------------------------------------------------------------
typedef enum ts_scaling { TS_SCALING_NONE, TS_SCALING_LINEAR, TS_SCALING_LLAMA3, TS_SCALING_FACTORS } ts_scaling;
typedef struct ts_model_config {
  const char *arch;  // row of arch.def: "llama", "mistral", "qwen2"
  int64_t hidden, intermediate, layers, heads, kv_heads, head_dim, vocab, max_positions;
  double rms_eps, rope_theta;
  ts_scaling scaling;
  double scale_factor, low_freq, high_freq;
  int64_t original_positions;
  const float *freq_divisor;  // TS_SCALING_FACTORS: head_dim / 2 values, angle uses freq / divisor
  bool tied;                  // the head is the embedding
  bool qkv_bias;
  int64_t sliding_window;  // 0: none
  int64_t bos, pad;        // -1: not given
  int neos;
  int64_t eos[8];
} ts_model_config;
// From the text of a Hugging Face config.json. `file` is for messages.
bool ts_config_parse(const char *file, const char *text, size_t n, ts_model_config *c, ts_diag *d) TS_WARN_UNUSED;

// --- sources -----------------------------------------------------------------------------------------------
typedef struct ts_source_tensor {
  const char *name;
  ts_wtype type;
  int ndim;
  int64_t shape[4];     // outermost first
  const uint8_t *data;  // in a mapped file; NULL: random numbers made from the name
  size_t bytes;
} ts_source_tensor;
typedef struct ts_text_file {  // a file to be copied into the output directory
  const char *name;
  const char *text;
  size_t n;
} ts_text_file;
typedef enum ts_source_kind { TS_SOURCE_HF, TS_SOURCE_GGUF, TS_SOURCE_SYNTHETIC } ts_source_kind;
typedef struct ts_source {
  ts_source_kind kind;
  const char *path, *name;  // name: "SmolLM2-135M-Instruct"
  ts_model_config config;
  size_t ntensors;
  const ts_source_tensor *tensors;         // in file order
  const ts_source_tensor *const *by_name;  // sorted
  size_t nfiles;
  const ts_text_file *files;  // tokenizer.json, tokenizer_config.json, ...
  const char *chat_template;  // name for mlc-chat-config.json: "chatml", "llama-2", "LM"
  const char *generation;     // text of generation_config.json or NULL
  int nmaps;
  ts_map *maps;
} ts_source;
// PATH of a directory with config.json and safetensors, of a .gguf file, or "synthetic:NAME" / "synthetic:PATH" (a
// config.json or a directory holding one).
bool ts_source_open(ts_arena *a, const char *spec, ts_source *out, ts_diag *d) TS_WARN_UNUSED;
void ts_source_close(ts_source *s);  // accepts a zeroed source
const ts_source_tensor *ts_source_find(const ts_source *s, const char *name);
// Rows [row, row + nrows) of a tensor seen as a matrix (outermost dimension first; a vector is one row) as f32.
void ts_tensor_rows(const ts_source_tensor *t, int64_t row, int64_t nrows, float *out);
// Names of the known synthetic shapes, NULL-terminated.
const char *const *ts_synthetic_names(void);

// --- parameters of a model ---------------------------------------------------------------------------------
typedef enum ts_param_kind { TS_PARAM_LINEAR, TS_PARAM_EMBED, TS_PARAM_HEAD, TS_PARAM_VECTOR } ts_param_kind;
typedef struct ts_param_part {  // one source tensor; parts are stacked along rows
  const char *hf, *gguf;        // its names
  int64_t rows;
  int64_t rope_heads;  // > 0: GGUF rows of llama are permuted per head, this many heads
} ts_param_part;
typedef struct ts_model_param {
  const char *name;  // as MLC: "model.layers.0.self_attn.qkv_proj.weight"
  ts_param_kind kind;
  int64_t rows, cols;  // a vector has rows 1
  int nparts;
  ts_param_part part[3];
} ts_model_param;
bool ts_model_params(ts_arena *a, const ts_model_config *c, const ts_model_param **out, size_t *n,
                     ts_diag *d) TS_WARN_UNUSED;
// Rows [row, row + n) of a parameter as f32, fused and in Hugging Face row order. The source must have passed
// ts_params_check.
void ts_param_rows(const ts_source *s, const ts_model_param *p, int64_t row, int64_t n, float *out);
// Every part of every parameter exists with the right shape; else a refusal naming it.
bool ts_params_check(const ts_source *s, const ts_model_param *p, size_t n, ts_diag *d) TS_WARN_UNUSED;

// --- quantization (quant.def) ------------------------------------------------------------------------------
// How values become codes. The default is MLC's, bit for bit.
typedef struct ts_rounding {
  bool away;           // ties away from zero, as compilers before 2026 did on CPUs
  bool signed_scales;  // 4-bit codes 0..15 for -7..8 times a scale with the sign of the group's largest value: less
                       // error, and readers of the format understand it; MLC's writer uses codes 0..14 and positive
                       // scales only
} ts_rounding;
typedef struct ts_quant {
  const char *name;       // "q4f16_1"
  ts_code type;           // of scales, vectors, unquantized weights, the cache: TS_F16, TS_F32
  int bits, group;        // 0: not quantized
  bool transposed;        // linears stored [K/8, N]; embeddings never
  const char *embedding;  // the format that embeddings, and a head that is the embedding, are in
} ts_quant;
const ts_quant *ts_quant_find(const char *name, ts_diag *d) TS_WARN_UNUSED;
const char *const *ts_quant_names(void);  // NULL-terminated
// The stored tensors of a parameter: 1 (as is) or 2 (words, scales).
typedef struct ts_stored {
  const char *name;  // "X.q_weight", "X.q_scale", "X.weight"
  ts_code type;
  int ndim;
  int64_t shape[2];
  int64_t bytes;  // in memory
} ts_stored;
int ts_quant_storage(ts_arena *a, const ts_quant *q, const ts_model_param *p, ts_stored out[2]);
// Quantize rows [row, row + n) of a rows x cols matrix, given as f32, into the whole-matrix buffers dst[0..1].
void ts_quant_encode(const ts_quant *q, ts_param_kind kind, int64_t rows, int64_t cols, int64_t row, int64_t n,
                     const float *src, void *const dst[2], ts_rounding round);
// The inverse: rows [row, row + n) as f32.
void ts_quant_decode(const ts_quant *q, ts_param_kind kind, int64_t rows, int64_t cols, int64_t row, int64_t n,
                     const void *const src[2], float *dst);

// --- parameter container: ndarray-cache.json and params_shard_*.bin (container.c); read by runtime's ts_index
typedef struct ts_shard_writer ts_shard_writer;
#define TS_SHARD_CAP (INT64_C(32) << 20)
// Tensors are put in order; close writes the open shard and the index. Without close there is no index.
ts_shard_writer *ts_shard_writer_new(const char *dir, int64_t cap);
bool ts_shard_put(ts_shard_writer *w, const ts_stored *t, const void *data, ts_diag *d) TS_WARN_UNUSED;
// source_elements: elements of the source's tensors, for BitsPerParam.
bool ts_shard_close(ts_shard_writer *w, double source_elements, ts_diag *d) TS_WARN_UNUSED;
void ts_shard_writer_free(ts_shard_writer *w);  // accepts NULL

// --- tasks -------------------------------------------------------------------------------------------------
// The sequence length and prefill chunk in effect: 0 asks for the default (the model's positions, at most 2048, and 128;
// on GPUs at most 4096, and 2048). Positions are rounded up to a multiple of 16, the chunk to one of 8 (GPUs: 64, 16).
bool ts_model_extent(const ts_model_config *c, ts_api api, int64_t *max_seq_len, int64_t *prefill_chunk,
                     ts_diag *d) TS_WARN_UNUSED;
// Where keys and values lie: page 0, each sequence in a cache of its own; else in a pool of pages of so many positions, which holds
// `positions` in all (0: those of one sequence; rounded up to whole pages, as the sequence is).
typedef struct ts_paging {
  int64_t page, positions;
} ts_paging;
enum { TS_DEFAULT_PAGE = 64 };
// "own", "paged", "paged:PAGE", "paged:PAGE:POSITIONS".
bool ts_paging_parse(const char *text, ts_paging *out, ts_diag *d) TS_WARN_UNUSED;
// With the positions in effect for sequences of *max_seq_len, which may grow to whole pages.
bool ts_paging_extent(ts_paging *p, int64_t *max_seq_len, ts_diag *d) TS_WARN_UNUSED;
// What a model executes: one entry per distinct workload; calls are those of all phases that use it.
typedef struct ts_task {
  ts_spec spec;
  const char *phase;  // first that uses it: "decode", a name of rows.def, "prefill", "head"
  int64_t calls;      // in one pass of it
  int64_t rows;       // tokens of that pass
  unsigned phases;    // all that use it, as ts_phases_parse says
} ts_task;
// "batch16,batch64": a bit for each phase; "": all of them.
bool ts_phases_parse(const char *text, unsigned *out, ts_diag *d) TS_WARN_UNUSED;
bool ts_model_tasks(ts_arena *a, const ts_model_config *c, const ts_quant *q, ts_api api, int64_t max_seq_len,
                    int64_t prefill_chunk, ts_paging paging, const ts_task **out, size_t *n, ts_diag *d) TS_WARN_UNUSED;

// Of a GPU what it runs as one graph, for tuning to choose kernels in (calls by index of the task): the decode step, head included, then a pass of each number of rows in
// rows.def that is less than prefill_chunk. Of a large model only some layers: few, and of the decode step also (whole) as many as are like all of them to the caches. In the
// decode step settings 1 to 3 have few, more and many tokens in the cache, and in setting 0 layers take turns with these; passes have few. None for CPUs, and none of
// phases that are not among these.
bool ts_model_steps(ts_arena *a, const ts_model_config *c, const ts_quant *q, ts_api api, int64_t max_seq_len, int64_t prefill_chunk, ts_paging paging, const ts_task *tasks, size_t ntasks,
                    unsigned phases, const ts_tune_step **out, size_t *n, ts_diag *d) TS_WARN_UNUSED;

// --- build -------------------------------------------------------------------------------------------------
typedef struct ts_build_opts {
  const char *model;  // as for ts_source_open
  const char *name;   // NULL: from the model
  const char *quant, *target;
  const char *store;      // NULL: default schedules
  const char *out;        // parent directory: OUT/NAME-QUANT is made
  int64_t max_seq_len;    // 0: see ts_model_extent
  int64_t prefill_chunk;  // 0: the same
  ts_paging paging;
  const char *reuse_lib;  // a library of the same quantization, or NULL
  const char *cache;      // folder of compiled artifacts, or NULL
  bool debug_dump;
  ts_rounding round;
  const char *numerics;  // variants with these opt-in numerics may serve ("a8"); "" for none
} ts_build_opts;
typedef struct ts_build_kernel {
  const char *kernel, *workload, *phase, *variant;
  const char *served;  // "exact", "nearest", "default", "library" (of a reused library)
  const char *record;  // id of the record, "" when none
  const char *left_out;  // native templates that the weights of its calls do not allow: "mma.share64"; "" mostly
  double expected_us;  // of one call; 0: unknown
  int64_t calls;       // in one pass of its phase
} ts_build_kernel;
typedef struct ts_build_result {
  const char *name, *dir, *library;  // name: "NAME-QUANT"
  const char *weights;               // NULL when the target does not run here
  size_t nkernels;
  const ts_build_kernel *kernels;
  int64_t param_bytes, arena_bytes, kv_bytes;
  double seconds;
} ts_build_result;
bool ts_build(ts_arena *a, const ts_build_opts *o, ts_build_result *r, ts_diag *d) TS_WARN_UNUSED;

#endif
