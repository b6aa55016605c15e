// A tokenizer from arrays, as GGUF files carry them.
#include "runtime/tokenizer_impl.h"

static bool byte_level_steps(ts_tokenizer *t, const ts_bpe_spec *s, ts_diag *d) {
  t->byte_level = true;
  t->pre = ts_new_array(t->arena, ts__prestep, s->nsplits + 1);
  for (int i = 0; i < s->nsplits; i++) {
    pcre2_code *re = ts__regex(t->file, s->splits[i], strlen(s->splits[i]), false, d);
    if (!re) return false;
    t->pre[t->npre++] = (ts__prestep){TS__PRE_SPLIT, .re = re, .behavior = TS__ISOLATED};
  }
  if (s->nsplits) return true;
  pcre2_code *re = ts__regex(t->file, TS__GPT2_SPLIT, strlen(TS__GPT2_SPLIT), false, d);
  if (re) t->pre[t->npre++] = (ts__prestep){TS__PRE_BYTE_LEVEL, .re = re};
  return re != NULL;
}

#define MARK "\xE2\x96\x81"

static bool fallback_steps(ts_tokenizer *t, const ts_bpe_spec *s, ts_diag *d) {
  t->byte_fallback = t->fuse_unk = true;
  t->norm = ts_new_array(t->arena, ts__normstep, 2);
  if (s->prepend_space) t->norm[t->nnorm++] = (ts__normstep){TS__NORM_PREPEND, .text = MARK};
  pcre2_code *re = ts__regex(t->file, " ", 1, true, d);
  if (re) t->norm[t->nnorm++] = (ts__normstep){TS__NORM_REPLACE, .re = re, .text = MARK};
  t->space = MARK;
  t->strip_left = s->prepend_space;
  return re != NULL;
}

static bool tables(ts_tokenizer *t, const ts_bpe_spec *s, ts_diag *d) {
  TS_TRY(ts__tok_reserve(t, s->npieces, s->npieces, d));
  for (size_t i = 0; i < s->npieces; i++)
    TS_TRY(ts__tok_put_piece(t, ts_arena_strdup(t->arena, s->pieces[i]), (int64_t)i, d));
  ts__mergemap_init(&t->merges, t->arena, s->nmerges);
  for (size_t i = 0; i < s->nmerges; i++) {
    const char *m = s->merges[i], *space = *m ? strchr(m + 1, ' ') : NULL;
    if (!space) return ts_refuse(d, "tokenizer-invalid", "merge %zu is not a pair of pieces", i);
    ts__str l = {m, (size_t)(space - m)}, r = {space + 1, strlen(space + 1)};
    TS_TRY(ts__tok_put_merge(t, l, r, (uint32_t)i, d));
  }
  ts__added *v = ts_new_array(t->arena, ts__added, s->nspecial + 1);
  for (size_t i = 0; i < s->nspecial; i++) {
    if (s->special[i] < 0 || (size_t)s->special[i] >= s->npieces)
      return ts_refuse(d, "tokenizer-invalid", "special token %d is out of range", s->special[i]);
    const char *piece = t->pieces[s->special[i]];
    v[i] = (ts__added){.text = {piece, strlen(piece)}, .id = s->special[i], .special = true};
  }
  ts__tok_put_added(t, v, s->nspecial);
  return ts__tok_finish(t, d);
}

ts_tokenizer *ts_tokenizer_build(const ts_bpe_spec *s, ts_diag *d) {
  ts_arena *a = ts_arena_new("tokenizer");
  ts_tokenizer *t = ts_new(a, ts_tokenizer);
  t->arena = a;
  t->file = "tokenizer";
  t->unk = -1;
  if ((s->kind == TS_BPE_BYTE_LEVEL ? byte_level_steps(t, s, d) : fallback_steps(t, s, d)) && tables(t, s, d)) return t;
  ts_tokenizer_free(t);
  return NULL;
}
