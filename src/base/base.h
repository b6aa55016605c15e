// base: memory, diagnostics, text, files, random numbers, subprocesses, fault points.
//
// Ownership: a function that takes a ts_arena * puts what it returns there; everything else it uses is gone
// on return. Fallible functions return bool or a pointer, take a ts_diag * (may be NULL) and are warn-unused.
#ifndef TS_BASE_H
#define TS_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define TS_VERSION "0.1.0"  // of the program, its library and its records

#define TS_COUNTOF(a) (sizeof(a) / sizeof((a)[0]))
#define TS_WARN_UNUSED __attribute__((warn_unused_result))
#define TS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define TS_MIN(a, b) ((a) < (b) ? (a) : (b))
#define TS_MAX(a, b) ((a) > (b) ? (a) : (b))
static inline int64_t ts_round_up(int64_t n, int64_t m) { return (n + m - 1) / m * m; }  // to a multiple of m; n is not negative

// --- arenas (arena.c) -----------------------------------------------------------------------------------
// Bump allocation by lifetime: process, task, candidate, scratch. Memory is zeroed. Allocation failure is
// fatal for the process (message, exit 70) except at a fault point under test.
typedef struct ts_arena ts_arena;
typedef struct ts_arena_mark {
  void *chunk;
  size_t used;
} ts_arena_mark;

ts_arena *ts_arena_new(const char *name);
void ts_arena_free(ts_arena *a);  // accepts NULL
void *ts_arena_alloc(ts_arena *a, size_t bytes, size_t align);
ts_arena_mark ts_arena_save(ts_arena *a);
void ts_arena_restore(ts_arena *a, ts_arena_mark m);  // frees all allocated since; keeps chunks for reuse
size_t ts_arena_bytes(const ts_arena *a);             // bytes handed out
char *ts_arena_strdup(ts_arena *a, const char *s);
char *ts_arena_strndup(ts_arena *a, const char *s, size_t n);
char *ts_arena_printf(ts_arena *a, const char *fmt, ...) TS_PRINTF(2, 3);
void *ts_arena_dup(ts_arena *a, const void *p, size_t bytes);

#define ts_new(a, T) ((T *)ts_arena_alloc((a), sizeof(T), _Alignof(T)))
#define ts_new_array(a, T, n) ((T *)ts_arena_alloc((a), sizeof(T) * (size_t)(n), _Alignof(T)))

// A growable array inside an arena: struct { T *p; size_t n, cap; }.
#define TS_VEC(T) \
  struct {        \
    T *p;         \
    size_t n, cap; \
  }
#define ts_vec_push(a, v, value)                                                                        \
  do {                                                                                                  \
    if ((v)->n == (v)->cap) (v)->p = ts__vec_grow((a), (v)->p, (v)->n, &(v)->cap, sizeof(*(v)->p));     \
    (v)->p[(v)->n++] = (value);                                                                         \
  } while (0)
void *ts__vec_grow(ts_arena *a, void *p, size_t n, size_t *cap, size_t elem);

// --- diagnostics (diag.c) -------------------------------------------------------------------------------
// REFUSAL: this input or candidate is not acceptable (data; cheap). ENVIRONMENT: the system failed (disk,
// driver, permission); carries the system's words. BUG: an invariant broke.
typedef enum ts_diag_kind { TS_OK, TS_REFUSAL, TS_ENVIRONMENT, TS_BUG } ts_diag_kind;
typedef struct ts_diag {
  ts_diag_kind kind;
  char code[40];       // stable kebab-case identifier, "not-divisible"
  char message[1000];  // one line: what, where (file, position), the fact
  char hint[300];      // optional: what to do
} ts_diag;

// Fill *d (when not NULL) and return false, so that `return ts_refuse(d, ...)` reads as one step.
// `message` is formatted before anything is overwritten, so d's own fields may be arguments.
bool ts_refuse(ts_diag *d, const char *code, const char *fmt, ...) TS_PRINTF(3, 4);
bool ts_env_fail(ts_diag *d, const char *code, const char *fmt, ...) TS_PRINTF(3, 4);
bool ts_bug(ts_diag *d, const char *code, const char *fmt, ...) TS_PRINTF(3, 4);
void ts_hint(ts_diag *d, const char *fmt, ...) TS_PRINTF(2, 3);
void ts_diag_print(FILE *f, const ts_diag *d);  // "error: MESSAGE [code]\n  hint: ...\n"
// Process exit code for a diagnostic: refusal 2 (bad input), environment 3, bug 70.
int ts_diag_exit(const ts_diag *d);
#define TS_TRY(call) \
  do {               \
    if (!(call)) return false; \
  } while (0)

// --- text building (text.c) -----------------------------------------------------------------------------
typedef struct ts_text {
  char *p;  // always NUL-terminated once anything was added; malloc'ed
  size_t n, cap;
  ts_arena *arena;  // where it lives instead, when set
} ts_text;
void ts_text_add(ts_text *t, const char *s);
void ts_text_addn(ts_text *t, const char *s, size_t n);
void ts_text_addf(ts_text *t, const char *fmt, ...) TS_PRINTF(2, 3);
void ts_text_vaddf(ts_text *t, const char *fmt, va_list ap);
void ts_text_indent(ts_text *t, int level);  // two spaces a level
void ts_text_free(ts_text *t);               // accepts a zeroed object
const char *ts_text_str(const ts_text *t);   // "" when empty
// Shortest decimal form that reads back to the same double ("0.1", "1e-05", "inf", "nan"); always has
// one of . e i n, so that it never reads as an integer.
void ts_text_add_double(ts_text *t, double v);
// quote.c: s as JSON writes a string, control characters escaped, and as a field of CSV, in quotes only where it needs them.
void ts_text_add_json(ts_text *t, const char *s);
void ts_text_add_csv(ts_text *t, const char *s);

// --- reading text: one lexer for .tir files, traces and templates (lex.c) --------------------------------
typedef enum ts_tok {
  TS_TOK_EOF, TS_TOK_NEWLINE, TS_TOK_IDENT, TS_TOK_INT, TS_TOK_FLOAT, TS_TOK_STRING, TS_TOK_PUNCT, TS_TOK_ERROR
} ts_tok;
typedef struct ts_lex {
  const char *name;   // file name for messages
  const char *begin, *cur, *end;
  bool newlines;      // report newlines as tokens (traces) or skip them (.tir)
  ts_tok tok;         // current token
  const char *start;  // its first character
  size_t len;
  int line, col;      // of the current token, from 1
  int64_t i;          // TS_TOK_INT
  double f;           // TS_TOK_FLOAT
} ts_lex;
// Comments run from # to the end of the line. Identifiers: [A-Za-z_][A-Za-z0-9_.]*. Strings are "..." with \\ \" \n.
// Punctuation is matched longest first among: .. -> // == != <= >= << >> && || and single characters.
void ts_lex_init(ts_lex *l, const char *name, const char *text, size_t n);  // positions on the first token
void ts_lex_next(ts_lex *l);
bool ts_lex_is(const ts_lex *l, const char *punct_or_word);
bool ts_lex_accept(ts_lex *l, const char *punct_or_word);  // consume when it is the current token
bool ts_lex_expect(ts_lex *l, ts_diag *d, const char *punct_or_word) TS_WARN_UNUSED;
char *ts_lex_ident(ts_lex *l, ts_arena *a, ts_diag *d) TS_WARN_UNUSED;   // consume an identifier, or NULL
char *ts_lex_string(ts_lex *l, ts_arena *a, ts_diag *d) TS_WARN_UNUSED;  // consume a string (unescaped), or NULL
bool ts_lex_int(ts_lex *l, int64_t *out, ts_diag *d) TS_WARN_UNUSED;     // consume [-]INT
// Refusal "syntax" at the current token: "name:line:col: MESSAGE, found 'token'".
bool ts_lex_error(const ts_lex *l, ts_diag *d, const char *fmt, ...) TS_PRINTF(3, 4);

// --- hashing (hash.c) -----------------------------------------------------------------------------------
uint64_t ts_hash64(const void *p, size_t n, uint64_t seed);
static inline uint64_t ts_hash_mix(uint64_t h, uint64_t v) {
  h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
  h *= 0xff51afd7ed558ccdu;
  return h ^ (h >> 32);
}
typedef struct ts_sha256 {
  uint8_t b[32];
} ts_sha256;
typedef struct ts_sha256_ctx {
  uint32_t h[8];
  uint64_t bytes;
  uint8_t block[64];
} ts_sha256_ctx;
void ts_sha256_init(ts_sha256_ctx *c);
void ts_sha256_add(ts_sha256_ctx *c, const void *p, size_t n);
ts_sha256 ts_sha256_end(ts_sha256_ctx *c);
ts_sha256 ts_sha256_of(const void *p, size_t n);
bool ts_sha256_file(const char *path, ts_sha256 *out, ts_diag *d) TS_WARN_UNUSED;
char *ts_hex(ts_arena *a, const uint8_t *p, size_t n);

// --- sealed files (seal.c): the last bytes of a file are a checksum of the others, against damage, not against a forger -----------------
enum { TS_SEAL_BYTES = 16 };
typedef enum ts_seal_state { TS_SEAL_NONE, TS_SEAL_BROKEN, TS_SEAL_HOLDS } ts_seal_state;
void ts_seal(void *p, size_t n);                         // writes the seal of n bytes behind them; the memory has TS_SEAL_BYTES more
ts_seal_state ts_seal_check(const void *p, size_t n);    // of a whole file of n bytes, its seal among them

// --- random numbers (rng.c): Philox4x32-10, counter-based: same (seed, stream) gives the same draws anywhere --
typedef struct ts_rng {
  uint64_t seed, stream, counter;
  uint32_t out[4];
  unsigned left;
} ts_rng;
ts_rng ts_rng_new(uint64_t seed, uint64_t stream);
uint32_t ts_rng_u32(ts_rng *r);
uint64_t ts_rng_u64(ts_rng *r);
uint32_t ts_rng_below(ts_rng *r, uint32_t n);  // unbiased, 0 <= x < n, n > 0
double ts_rng_unit(ts_rng *r);                 // [0, 1)
double ts_rng_normal(ts_rng *r);
uint64_t ts_shuffled(uint64_t i, uint64_t n, uint64_t key);  // number i < n of 0 .. n - 1 in an order that the key picks

// --- small floats (half.c): round to nearest even, NaN and inf kept ----------------------------------------
uint16_t ts_f16_from_f32(float v);
float ts_f32_from_f16(uint16_t h);
uint16_t ts_bf16_from_f32(float v);
float ts_f32_from_bf16(uint16_t h);

// --- files (file.c) -------------------------------------------------------------------------------------
// All failures are ENVIRONMENT diagnostics that name the path and carry strerror.
// The bytes lie at a multiple of 16, as numbers may; NUL after the end.
bool ts_file_read(const char *path, ts_arena *a, char **data, size_t *n, ts_diag *d) TS_WARN_UNUSED;
bool ts_file_write(const char *path, const void *data, size_t n, ts_diag *d) TS_WARN_UNUSED;  // temp file + fsync + rename
bool ts_file_exists(const char *path);
bool ts_dir_make(const char *path, ts_diag *d) TS_WARN_UNUSED;  // like mkdir -p
typedef struct ts_map {  // read-only mapping of a whole file
  const uint8_t *p;
  size_t n;
} ts_map;
bool ts_map_open(const char *path, ts_map *m, ts_diag *d) TS_WARN_UNUSED;
void ts_map_close(ts_map *m);
void ts_dir_remove(const char *path);  // with all in it, as far as that goes; symbolic links are removed, not followed
// A new folder PARENT/.NAME.PID.partial, for what is made whole before it is put in its place; NULL when it cannot be made. Those that processes left there
// which are no more are removed.
char *ts_dir_partial(ts_arena *a, const char *parent, const char *name, ts_diag *d) TS_WARN_UNUSED;
char *ts_path_join(ts_arena *a, const char *dir, const char *name);
// Sorted names in a directory that end in `suffix` ("" for all).
bool ts_dir_list(const char *path, const char *suffix, ts_arena *a, char ***names, size_t *n, ts_diag *d) TS_WARN_UNUSED;
// The product's data folder (holds kernels/, reports/): $TUNESMITH_HOME, else beside the executable
// (../share/tunesmith), else the source tree it was built from, which a bundle has not. Never NULL.
const char *ts_data_dir(void);

// --- processes (proc.c) ---------------------------------------------------------------------------------
typedef struct ts_proc_result {
  int exit_code;   // -1 when killed by a signal
  int signal;      // 0 when it exited
  bool timed_out;
  double wall_s, user_s;
} ts_proc_result;
// Run argv (searched in PATH) with stdin closed, output captured into out (may be NULL to inherit) up to 4 MiB.
bool ts_proc_run(const char *const *argv, double timeout_s, ts_text *out, ts_proc_result *r, ts_diag *d) TS_WARN_UNUSED;
// The same; Ctrl-C (ts_interrupted) ends the command at once, by SIGKILL.
bool ts_proc_run_interruptible(const char *const *argv, double timeout_s, ts_text *out, ts_proc_result *r, ts_diag *d) TS_WARN_UNUSED;
// A forked worker: runs serve(fd, arg) in a child with a socketpair; the parent talks through w->fd.
typedef struct ts_worker {
  int pid, fd;
} ts_worker;
bool ts_worker_start(ts_worker *w, void (*serve)(int fd, void *arg), void *arg, ts_diag *d) TS_WARN_UNUSED;
// Kill (if needed) and reap; says how it ended. Accepts a zeroed worker.
void ts_worker_stop(ts_worker *w, ts_proc_result *r);
// Length-prefixed messages over a descriptor. recv returns 1 message, 0 timeout, -1 closed or broken.
bool ts_msg_send(int fd, const void *p, size_t n) TS_WARN_UNUSED;
int ts_msg_recv(int fd, ts_text *into, double timeout_s);

// --- time, signals ---------------------------------------------------------------------------------------
uint64_t ts_now_ns(void);                     // monotonic
void ts_utc_now(char out[32]);                // 2026-11-21T08:46:00.123Z
void ts_interrupt_install(void);              // SIGINT, SIGTERM set a flag; a second SIGINT exits at once
bool ts_interrupted(void);
// For prompts, which go on after Ctrl-C: forgets a SIGINT. False, and nothing is forgotten, when SIGTERM came.
bool ts_interrupt_clear(void);

// --- fault points (fault.c) -----------------------------------------------------------------------------
// TS_FAULT="NAME:K" makes the K-th visit of fault point NAME fail ("NAME:K+": all from the K-th on). Points: alloc
// write fork spawn, and those named in the folders' headers. Costs one load when unset; always compiled in.
bool ts_fault(const char *name);
void ts_fault_set(const char *spec);   // for tests; NULL clears
uint64_t ts_fault_visits(const char *name);

// --- progress on a terminal (progress.c) -------------------------------------------------------------------
// One line rewritten in place on stderr when it is a terminal (cut at its width), else a plain line at most every 10 s; quiet under TS_QUIET=1.
typedef struct ts_progress {
  const char *what;
  uint64_t total, done, start_ns, last_ns;
  bool tty, quiet;
} ts_progress;
void ts_progress_begin(ts_progress *p, const char *what, uint64_t total);
void ts_progress_step(ts_progress *p, uint64_t done, const char *note);  // shows done/total, rate, ETA, note
void ts_progress_end(ts_progress *p, const char *note);
void ts_progress_aside(void);  // before anything else is said on stderr meanwhile: takes the line away until the next step
void ts_say(const char *fmt, ...) TS_PRINTF(1, 2);  // a line of its own on stderr: notes and warnings

#endif
