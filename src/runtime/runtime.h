// runtime: runs a built model. Plan, thread pool, weights, KV cache, tokenizer, sampler, conversation, session.
//
// Links no compiler and no database. The public C API (include/tunesmith.h) is a thin layer over this header.
#ifndef TS_RUNTIME_H
#define TS_RUNTIME_H

#include "base/base.h"
#include "runtime/plan.h"
#include "runtime/pool.h"
#include "target/target.h"

// --- memory (memory.c) ------------------------------------------------------------------------------------------
// Zeroed memory that starts at a multiple of 2 MiB and asks for huge pages.
typedef struct ts_pages {
  uint8_t *p;
  size_t n;
  void *base;
  size_t mapped;
} ts_pages;
bool ts_pages_map(ts_pages *m, size_t n, const char *what, ts_diag *d) TS_WARN_UNUSED;
void ts_pages_unmap(ts_pages *m);  // accepts a zeroed object

// --- parameter container: ndarray-cache.json or tensor-cache.json beside its shards (index.c) --------------------
typedef struct ts_index_tensor {
  const char *name;
  ts_tensor t;          // type and shape in memory
  int shard;
  int64_t offset, bytes;  // in the shard
  bool bf16;            // f32 stored as bf16
} ts_index_tensor;
typedef struct ts_index_shard {
  const char *name;     // file beside the index
  int64_t bytes;
} ts_index_shard;
typedef struct ts_index {
  const char *dir, *file;  // folder, path of the index
  ts_sha256 sha256;        // of the index
  int nshards;
  const ts_index_shard *shards;
  int ntensors;
  const ts_index_tensor *tensors;
  const int *sorted;       // tensors by name
} ts_index;
// From text. Refuses shapes, sizes and offsets that disagree, names used twice, shard names that leave the folder.
const ts_index *ts_index_parse(ts_arena *a, const char *dir, const char *file, const char *text, size_t n,
                               ts_diag *d) TS_WARN_UNUSED;
// Read the index of a folder; every shard must have the size that the index says.
const ts_index *ts_index_open(ts_arena *a, const char *dir, ts_diag *d) TS_WARN_UNUSED;
const ts_index_tensor *ts_index_find(const ts_index *x, const char *name);  // or NULL
// Read a tensor as `as` (its own type, or another float type) into dst.
bool ts_index_read(const ts_index *x, const ts_index_tensor *t, ts_dtype as, void *dst, ts_diag *d) TS_WARN_UNUSED;

// --- model library (library.c) ------------------------------------------------------------------------------------
typedef struct ts_library ts_library;
// Open a model library: an x86-64 shared object, as it was written (its seal holds; before that is known nothing is mapped as code), with our
// interface, a valid plan and every kernel that the plan names; built for a CPU like this one (else the refusal names the missing feature), or
// for GPUs, which are first asked for when weights are loaded.
ts_library *ts_library_open(const char *path, ts_diag *d) TS_WARN_UNUSED;
void ts_library_close(ts_library *l);  // accepts NULL
const ts_plan *ts_library_plan(const ts_library *l);
const char *ts_library_path(const ts_library *l);

// --- weights (weights.c, weights_file.c) --------------------------------------------------------------------------
// NAME.weights: the parts of all weights of a plan in their final layout, so that loading is one read. Little-endian:
//   u8 magic[8] "TSWEIGHT", u32 version (1), u32 parts, u8 layout[32] (ts_plan_layout), u8 index[32] (SHA-256 of the
//   parameter index), u64 data offset, u64 file bytes; then u64 offset, u64 bytes of every part (weight by weight, part by
//   part; parts that ts_plan says exist once have equal offsets); then the data. Offsets are multiples of 64 from the start of the
//   file.
typedef struct ts_weights ts_weights;
// From the packed file when it is there and fits plan and index, else from the shards (packing as needed). `packed` may be NULL.
// The weights of a plan for GPUs go to the GPU, from the shards; those of a plan with random weights are drawn there, and x is NULL.
ts_weights *ts_weights_load(const ts_library *l, const ts_index *x, const char *packed, ts_pool *pool, ts_diag *d) TS_WARN_UNUSED;
// The largest magnitude that random weights of a tensor for a GPU may have.
double ts_weights_drawn_most(const char *name, int ndim, int64_t hidden);
void ts_weights_free(ts_weights *w);  // accepts NULL
const void *ts_weights_part(const ts_weights *w, int weight, int part);  // in this process; not of weights on a GPU
struct ts_cuda;
const struct ts_cuda *ts_weights_gpu(const ts_weights *w);  // the GPU that holds them (cuda/cuda.h), or NULL
size_t ts_weights_bytes(const ts_weights *w);
bool ts_weights_from_file(const ts_weights *w);  // whether the packed file served
bool ts_weights_write(const ts_weights *w, const ts_index *x, const char *path, ts_diag *d) TS_WARN_UNUSED;
// Rotary tables: cos then sin, f32[positions, dim / 2] each.
void ts_rope_fill(const ts_plan_rope *r, float *cos_out, float *sin_out);

// --- tokenizer (tokenizer*.c) ---------------------------------------------------------------------------------------
typedef struct ts_tokens {  // growable, malloc'ed
  int32_t *p;
  size_t n, cap;
} ts_tokens;
void ts_tokens_add(ts_tokens *t, int32_t id);
void ts_tokens_free(ts_tokens *t);

typedef struct ts_tokenizer ts_tokenizer;
// tokenizer.json with a BPE model. `file` is for messages.
ts_tokenizer *ts_tokenizer_parse(const char *file, const char *text, size_t n, ts_diag *d) TS_WARN_UNUSED;
ts_tokenizer *ts_tokenizer_load(const char *path, ts_diag *d) TS_WARN_UNUSED;
void ts_tokenizer_free(ts_tokenizer *t);  // accepts NULL
// The same from arrays, as GGUF files carry them.
typedef enum ts_bpe_kind { TS_BPE_BYTE_LEVEL, TS_BPE_BYTE_FALLBACK } ts_bpe_kind;
typedef struct ts_bpe_spec {
  ts_bpe_kind kind;
  size_t npieces;
  const char *const *pieces;      // id -> piece (byte-level pieces in the byte alphabet)
  size_t nmerges;
  const char *const *merges;      // "left right", best first
  int nsplits;
  const char *const *splits;      // BYTE_LEVEL: regular expressions applied in order; none: the GPT-2 expression
  size_t nspecial;
  const int32_t *special;         // ids matched in the text as a whole and skipped on decode
  bool prepend_space;             // BYTE_FALLBACK
} ts_bpe_spec;
ts_tokenizer *ts_tokenizer_build(const ts_bpe_spec *s, ts_diag *d) TS_WARN_UNUSED;

// Append the ids of text. add_special: apply the post-processor (BOS and the like). Text that is not UTF-8 is encoded with
// U+FFFD in place of the wrong bytes.
bool ts_tokenizer_encode(const ts_tokenizer *t, const char *text, size_t n, bool add_special, ts_tokens *out,
                         ts_diag *d) TS_WARN_UNUSED;
// Append the text of ids. Unknown ids are left out. skip_special: leave special tokens out.
void ts_tokenizer_decode(const ts_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, ts_text *out);
size_t ts_tokenizer_size(const ts_tokenizer *t);                      // ids are below this
const char *ts_tokenizer_piece(const ts_tokenizer *t, int32_t id);    // or NULL
int32_t ts_tokenizer_find(const ts_tokenizer *t, const char *piece);  // -1: none
bool ts_tokenizer_is_special(const ts_tokenizer *t, int32_t id);
// Decoding one token at a time; bytes of an unfinished UTF-8 character are held back.
typedef struct ts_decoder {
  const ts_tokenizer *t;
  bool skip_special, started;
  uint8_t held[4];
  int nheld;
} ts_decoder;
void ts_decoder_init(ts_decoder *s, const ts_tokenizer *t, bool skip_special);
void ts_decoder_push(ts_decoder *s, int32_t id, ts_text *out);
void ts_decoder_end(ts_decoder *s, ts_text *out);  // what is held becomes U+FFFD

// --- sampler (sampler.c) --------------------------------------------------------------------------------------------
typedef struct ts_sampler {
  double temperature;         // 0: greedy
  double top_p;               // 1: off
  int64_t top_k;              // 0: off
  double repetition_penalty;  // 1: off
  double presence_penalty, frequency_penalty;  // 0: off
  uint64_t seed;              // draw i of a session uses stream i: the same seed and text give the same tokens
} ts_sampler;
ts_sampler ts_sampler_default(void);
bool ts_sampler_check(const ts_sampler *s, ts_diag *d) TS_WARN_UNUSED;  // refuses values that make no sense
// Choose among logits[0..n). `draw` is the position, history the tokens so far (for the penalties). Work is 2 n floats of
// scratch. -1: no finite logit.
int32_t ts_sampler_pick(const ts_sampler *s, const float *logits, int64_t n, const int32_t *history, size_t nhistory,
                        uint64_t draw, float *work);

// --- conversation (conversation.c, conversations.def) -----------------------------------------------------------------
typedef struct ts_turn {
  bool assistant;
  const char *text;  // NULL: to be answered
} ts_turn;
typedef struct ts_conv {
  const char *name, *system_template, *system_message;
  const char *user_role, *assistant_role;
  const char *user_template, *assistant_template;
  const char *content_sep, *empty_sep;
  const char *sep[2];          // after user turns, after assistant turns
  bool role_after_system;
  int nprefix, nstop_tokens, nstop_strings;
  const int32_t *prefix, *stop_tokens;
  const char *const *stop_strings;
  int npreset;                 // turns before the first
  const ts_turn *preset;
} ts_conv;
const ts_conv *ts_conv_find(ts_arena *a, const char *name);  // a row of the table, or NULL
// The prompt's text, without the prefix tokens. system NULL: the template's own message. Without any system message its part is
// left out.
void ts_conv_render(const ts_conv *c, const char *system, const ts_turn *turns, size_t n, ts_text *out);

// mlc-chat-config.json, both dialects. Missing keys take defaults.
typedef struct ts_chat_config {
  const char *model_type, *quantization, *model_lib;
  int64_t context_window, prefill_chunk, active_vocab;  // 0: not given
  ts_sampler sampler;
  const ts_conv *conv;
  int neos;
  int32_t eos[16];
  int32_t bos;  // -1: none
} ts_chat_config;
bool ts_chat_config_parse(ts_arena *a, const char *file, const char *text, size_t n, ts_chat_config *out,
                          ts_diag *d) TS_WARN_UNUSED;

// --- cache: the pages that sessions share (cache.c) ------------------------------------------------------------------------
// Of a plan with pages. A session has the pages that its tokens need, and gives them back when it forgets the tokens.
typedef struct ts_cache ts_cache;
ts_cache *ts_cache_new(const ts_library *l, const ts_weights *w, ts_diag *d) TS_WARN_UNUSED;
void ts_cache_free(ts_cache *c);              // accepts NULL; after its sessions
int64_t ts_cache_unused(const ts_cache *c);   // pages that no session has

// --- engine: everything of a model directory (engine.c) -----------------------------------------------------------------
typedef struct ts_engine ts_engine;
typedef struct ts_engine_opts {
  int threads;            // 0: one per physical core
  const char *library;    // NULL: the one in the directory
  ts_engine *beside;      // one that is closed later, whose threads are used; NULL: threads of its own. Two pools would each pin the caller
} ts_engine_opts;
// DIR/*.so, DIR/params/{mlc-chat-config.json, ndarray-cache.json, tokenizer.json}, DIR/*.weights.
ts_engine *ts_engine_open(const char *dir, const ts_engine_opts *o, ts_diag *d) TS_WARN_UNUSED;
void ts_engine_close(ts_engine *e);  // accepts NULL
// What the library of a model directory runs on. Starts nothing: a process that has started CUDA cannot fork others that use it.
bool ts_engine_api(const char *dir, const char *library, ts_api *out, ts_diag *d) TS_WARN_UNUSED;
// The number of the GPU that models run on, by TUNESMITH_GPU (0 unless set); refuses what is no number.
bool ts_engine_gpu(int *number, ts_diag *d) TS_WARN_UNUSED;
const ts_plan *ts_engine_plan(const ts_engine *e);
const ts_tokenizer *ts_engine_tokenizer(const ts_engine *e);
const ts_chat_config *ts_engine_config(const ts_engine *e);
const ts_weights *ts_engine_weights(const ts_engine *e);
const ts_index *ts_engine_index(const ts_engine *e);  // NULL: random weights, there is no container
ts_pool *ts_engine_pool(ts_engine *e);
// The pages of all sessions of the engine, made with the first of them; NULL before, and where each session has a cache of its own.
const ts_cache *ts_engine_cache(const ts_engine *e);
const char *ts_engine_library_path(const ts_engine *e);

// --- session: one sequence of tokens (session.c) ---------------------------------------------------------------------
// One session of an engine runs at a time.
typedef struct ts_session ts_session;
// library, weights and pool outlive the session; ts_engine_session takes them from an engine.
ts_session *ts_session_new(const ts_library *l, const ts_weights *w, ts_pool *pool, ts_diag *d) TS_WARN_UNUSED;
// With pages of a cache that outlives it; NULL: in a cache of its own.
ts_session *ts_session_new_in(const ts_library *l, const ts_weights *w, ts_pool *pool, ts_cache *cache, ts_diag *d) TS_WARN_UNUSED;
ts_session *ts_engine_session(ts_engine *e, ts_diag *d) TS_WARN_UNUSED;
void ts_session_free(ts_session *s);  // accepts NULL
// Append tokens. The logits of the last one are then at ts_session_logits (f32[vocab]). Refuses "context-full", "cache-full" (other
// sessions have the pages) and "bad-token" before anything is computed. After any other failure the session is as long as what was computed.
bool ts_session_feed(ts_session *s, const int32_t *tokens, size_t n, ts_diag *d) TS_WARN_UNUSED;
// As feed, and calls row(arg, position, logits) for every token in order; stops when it returns false ("stopped").
bool ts_session_score(ts_session *s, const int32_t *tokens, size_t n, bool (*row)(void *arg, int64_t position, const float *logits),
                      void *arg, ts_diag *d) TS_WARN_UNUSED;
const float *ts_session_logits(const ts_session *s);
int64_t ts_session_length(const ts_session *s);
int64_t ts_session_capacity(const ts_session *s);  // most tokens: the plan's, or the configuration's context when smaller
const int32_t *ts_session_tokens(const ts_session *s);
void ts_session_truncate(ts_session *s, int64_t length);  // forget all after the first `length` tokens
// Forget all, and have the first n tokens of another session of the model. In pages of one cache that costs nothing: both have the same pages,
// and who writes to one first takes a copy of it. Else they are computed again.
bool ts_session_adopt(ts_session *s, const ts_session *from, int64_t n, ts_diag *d) TS_WARN_UNUSED;
// Choose the next token from the logits of the last one (it is not appended). -1 with a diagnostic when no logit is finite.
int32_t ts_session_sample(ts_session *s, const ts_sampler *how, ts_diag *d) TS_WARN_UNUSED;
size_t ts_session_bytes(const ts_session *s);  // cache (its own, or its pages), activations, workspaces
// Generation that does not wait for the host. begin refuses nothing where can_run_ahead says yes (on GPUs, for samplers without
// penalties): from here on the device chooses tokens, appends them and computes their logits, up to `most` of them, ahead of what next
// has handed out. stop ends it: the session then has the first `keep` of the tokens handed out.
bool ts_session_can_run_ahead(const ts_session *s, const ts_sampler *how);
bool ts_session_ahead_begin(ts_session *s, const ts_sampler *how, int64_t most, ts_diag *d) TS_WARN_UNUSED;
bool ts_session_ahead_next(ts_session *s, int32_t *token, ts_diag *d) TS_WARN_UNUSED;
bool ts_session_ahead_stop(ts_session *s, int64_t keep, ts_diag *d) TS_WARN_UNUSED;
// Time per operator since the last reset; costs a clock read a step when on.
typedef struct ts_profile_row {
  const char *op, *spec, *phase, *source;
  uint64_t calls, ns;
  double expected_us;
} ts_profile_row;
void ts_session_profile(ts_session *s, bool on);
size_t ts_session_profile_rows(const ts_session *s, ts_arena *a, ts_profile_row **rows);

// --- generation (generate.c) --------------------------------------------------------------------------------------------
typedef enum ts_stop { TS_STOP_NONE, TS_STOP_TOKEN, TS_STOP_STRING, TS_STOP_LENGTH, TS_STOP_CONTEXT, TS_STOP_CALLER } ts_stop;
typedef struct ts_gen_opts {
  ts_sampler sampler;
  int64_t max_tokens;   // 0: until the context is full
  int nstop_tokens, nstop_strings;
  const int32_t *stop_tokens;
  const char *const *stop_strings;
  bool keep_special;    // show special tokens in the text
  bool (*text)(void *arg, const char *p, size_t n);  // new text, whole UTF-8 characters; false stops. May be NULL
  void *arg;
} ts_gen_opts;
typedef struct ts_gen_result {
  int64_t prompt_tokens, new_tokens;  // prompt tokens computed (those already in the cache are not)
  uint64_t prompt_ns, first_ns, decode_ns;  // prompt; start to first token, its text shown and its state computed; the tokens after it
  ts_stop stop;
} ts_gen_result;
// Make the session's tokens be `tokens` (a common beginning is kept, the rest computed) and generate after them. Tokens
// that were generated stay in the session.
bool ts_generate(ts_session *s, const ts_tokenizer *t, const int32_t *tokens, size_t n, const ts_gen_opts *o,
                 ts_gen_result *r, ts_diag *d) TS_WARN_UNUSED;

// --- dialog: a conversation over a session (dialog.c) --------------------------------------------------------------------
typedef struct ts_dialog ts_dialog;
// Both outlive the dialog. Nothing else should feed the session meanwhile.
ts_dialog *ts_dialog_new(ts_engine *e, ts_session *s);
void ts_dialog_free(ts_dialog *g);  // accepts NULL
void ts_dialog_reset(ts_dialog *g);                       // forget all turns
void ts_dialog_copy(ts_dialog *g, const ts_dialog *from);  // the turns and the system message; sessions are left alone
void ts_dialog_system(ts_dialog *g, const char *system);  // copied; NULL: the model's own
// The user says `text`; the answer goes to o->text and is kept as a turn. Stop tokens and strings of the model are added to
// those of o. After a failure the turn is forgotten.
bool ts_dialog_say(ts_dialog *g, const char *text, const ts_gen_opts *o, ts_gen_result *r, ts_diag *d) TS_WARN_UNUSED;
// Ends generation where the model's configuration and plan say: `stops` gets the tokens, their number is returned.
int ts_engine_stops(const ts_engine *e, int32_t *stops, int max);

#endif
