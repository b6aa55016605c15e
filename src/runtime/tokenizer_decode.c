// Decoding ids to text, all at once or token by token.
#include "runtime/tokenizer_impl.h"

void ts_decoder_init(ts_decoder *s, const ts_tokenizer *t, bool skip_special) {
  *s = (ts_decoder){.t = t, .skip_special = skip_special};
}

#define WRONG "\xEF\xBF\xBD"

// Bytes that the character beginning with b should have; 0 when none begins so.
static int wanted(uint8_t b) { return b < 0x80 ? 1 : b < 0xC2 ? 0 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : b < 0xF5 ? 4 : 0; }

// Whether the held bytes can still become a character (limits of the second byte of UTF-8).
static bool can_continue(const uint8_t *h, int n) {
  if (n < 1 || !wanted(h[0])) return false;
  if (n < 2) return true;
  uint8_t lo = h[0] == 0xE0 ? 0xA0 : h[0] == 0xF0 ? 0x90 : 0x80, hi = h[0] == 0xED ? 0x9F : h[0] == 0xF4 ? 0x8F : 0xBF;
  if (h[1] < lo || h[1] > hi) return false;
  for (int i = 2; i < n; i++)
    if ((h[i] & 0xC0) != 0x80) return false;
  return true;
}

// Add a byte; whole characters go to out, and each longest wrong beginning becomes one U+FFFD.
static void push_byte(ts_decoder *s, uint8_t b, ts_text *out) {
  s->held[s->nheld++] = b;
  if (!can_continue(s->held, s->nheld)) {
    ts_text_add(out, WRONG);
    bool again = s->nheld > 1;
    s->nheld = 0;
    if (again) push_byte(s, b, out);
    return;
  }
  if (s->nheld < wanted(s->held[0])) return;
  ts_text_addn(out, (const char *)s->held, (size_t)s->nheld);
  s->nheld = 0;
}


// A piece with the space mark replaced.
static void push_piece(ts_decoder *s, ts__str raw, ts_text *out) {
  const char *mark = s->t->space;
  size_t m = mark ? strlen(mark) : 0;
  for (size_t i = 0; i < raw.n;) {
    if (m && raw.n - i >= m && !memcmp(raw.p + i, mark, m)) {
      push_byte(s, ' ', out);
      i += m;
    } else {
      push_byte(s, (uint8_t)raw.p[i++], out);
    }
  }
}

void ts_decoder_push(ts_decoder *s, int32_t id, ts_text *out) {
  const ts_tokenizer *t = s->t;
  if (id < 0 || (size_t)id >= t->size || !t->pieces[id] || (s->skip_special && t->special[id])) return;
  ts_text piece = {0};
  push_piece(s, t->raw[id], &piece);
  const char *p = ts_text_str(&piece);
  size_t n = piece.n;
  for (int i = 0; !s->started && i < t->strip_left && n && *p == ' '; i++) p++, n--;
  if (piece.n || s->nheld) s->started = true;
  ts_text_addn(out, p, n);
  ts_text_free(&piece);
}

void ts_decoder_end(ts_decoder *s, ts_text *out) {
  if (s->nheld) ts_text_add(out, WRONG);
  s->nheld = 0;
}

void ts_tokenizer_decode(const ts_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, ts_text *out) {
  ts_decoder s;
  ts_decoder_init(&s, t, skip_special);
  for (size_t i = 0; i < n; i++) ts_decoder_push(&s, ids[i], out);
  ts_decoder_end(&s, out);
}
