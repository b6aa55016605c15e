// Lifetimes of activation buffers and their places.
//
// A buffer is in use from a step that writes it to the last step that reads it before the next write. What enters a
// pass (tokens) is in use from its beginning; what the head reads row by row, and what leaves (logits), to its end,
// since the head may run once for every row.
#include "memory_plan.h"

static bool writes(ts__use u) { return u == TS__WRITE; }
static bool is_buffer(ts__use u) { return u == TS__READ || u == TS__WRITE || u == TS__UPDATE || u == TS__ROW; }

// Mark in use[] the steps at which b is live over the sequence of a pass: the body's steps, then the head's.
static void mark(const ts__step *body, size_t n, const ts__step *head, size_t nhead, int b, bool leaves,
                 bool *use) {
  int64_t last_write = 0;
  for (size_t i = 0; i < n + nhead; i++) {
    const ts__step *s = i < n ? &body[i] : &head[i - n];
    for (int k = 0; k < s->nargs; k++) {
      const ts__step_arg *a = &s->args[k];
      if (!is_buffer(a->use) || a->buf != b) continue;
      if (writes(a->use)) last_write = (int64_t)i;
      for (int64_t j = last_write; j <= (int64_t)i; j++) use[j] = true;
      if (a->use == TS__ROW || leaves)
        for (size_t j = i; j < n + nhead; j++) use[j] = true;
      if (a->use == TS__ROW)
        for (size_t j = n; j < n + nhead; j++) use[j] = true;
    }
  }
}

static bool meet_in(const ts__buffers *b, const ts__step *body, size_t n, const ts__step *head, size_t nhead, int x,
                    int y) {
  ts_arena *a = ts_arena_new("lives");
  bool *ux = ts_new_array(a, bool, n + nhead), *uy = ts_new_array(a, bool, n + nhead), meet = false;
  mark(body, n, head, nhead, x, x == b->logits, ux);
  mark(body, n, head, nhead, y, y == b->logits, uy);
  for (size_t i = 0; i < n + nhead && !meet; i++) meet = ux[i] && uy[i];
  ts_arena_free(a);
  return meet;
}

bool ts__buffers_meet(const ts__buffers *b, const ts__step *const step[TS__PHASE__COUNT],
                      const size_t n[TS__PHASE__COUNT], int x, int y) {
  for (int p = 0; p < TS__HEAD; p++)
    if (n[p] && meet_in(b, step[p], n[p], step[TS__HEAD], n[TS__HEAD], x, y)) return true;
  return false;
}

static int64_t bytes_of(const ts__buf_info *b, int64_t rows) {
  return ((b->per_row * rows + b->fixed) * ts_code_bytes(b->type) + 63) / 64 * 64;
}

// The lowest place for a buffer that clears every placed one it meets.
static int64_t lowest(int64_t bytes, int n, const int64_t *from, const int64_t *to) {
  int64_t at = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (int i = 0; i < n; i++)
      if (at < to[i] && from[i] < at + bytes) at = to[i], moved = true;
  }
  return at;
}

int64_t ts__memory_plan(const ts__buffers *bufs, int64_t rows, const ts__step *const step[TS__PHASE__COUNT],
                        const size_t n[TS__PHASE__COUNT], int64_t offset[TS__BUFS]) {
  const ts__buf_info *info = bufs->buf;
  bool placed[TS__BUFS] = {false};
  int64_t end = 0;
  for (int round = 0; round < bufs->n; round++) {  // largest first
    int b = -1;
    for (int i = 0; i < bufs->n; i++)
      if (!placed[i] && (b < 0 || bytes_of(&info[i], rows) > bytes_of(&info[b], rows))) b = i;
    int64_t from[TS__BUFS], to[TS__BUFS];
    int met = 0;
    for (int i = 0; i < bufs->n; i++)
      if (placed[i] && ts__buffers_meet(bufs, step, n, i, b))
        from[met] = offset[i], to[met++] = offset[i] + bytes_of(&info[i], rows);
    offset[b] = lowest(bytes_of(&info[b], rows), met, from, to);
    placed[b] = true;
    end = TS_MAX(end, offset[b] + bytes_of(&info[b], rows));
  }
  return end;
}
