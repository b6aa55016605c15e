// A model small enough to be checked by hand: after token k the most likely token is k + 1.
#ifndef TS_TESTS_RUNTIME_TINY_H
#define TS_TESTS_RUNTIME_TINY_H

#include "runtime/runtime.h"

enum { TINY_V = 272, TINY_H = 272, TINY_P = 96, TINY_CHUNK = 16, TINY_PAGE = 8, TINY_EOS = 260 };

// The plan, in memory that stays.
const ts_plan *tiny_plan(void);
// The same with pages of TINY_PAGE positions, so many of them.
ts_plan tiny_paged_plan(int64_t pages);
// The text of a plan, in the arena.
const char *tiny_plan_text(ts_arena *a, const ts_plan *p);
// A text with change[1] where change[0] stands first, in `out`; false when it does not stand there.
bool tiny_changed(const char *text, const char *const change[2], ts_text *out);
// Compile tiny_library.c with this plan text and extra compiler flags (space separated, may be "") into `path`.
void tiny_library(const char *path, const char *plan_text, const char *flags);
// Make DIR a whole model directory: DIR/tiny-cpu.so and DIR/params.
void tiny_model(const char *dir);
// The parameter folder alone.
void tiny_params(const char *dir);
// Logits after tokens[0..n), computed plainly.
void tiny_logits(const int32_t *tokens, size_t n, float out[static TINY_V]);
// A fresh folder under the temporary folder, removed at exit with all in it.
const char *tiny_dir(void);

#endif
