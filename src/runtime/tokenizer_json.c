// tokenizer.json: reading the parts of a BPE tokenizer.
#include "runtime/json.h"
#include "runtime/tokenizer_impl.h"

enum { MAX_STEPS = 16, MAX_MERGES = 1 << 23, MAX_TEMPLATE = 16 };

typedef struct reader {
  ts_tokenizer *t;
  ts__json j;
  ts_diag *d;
} reader;

static bool unsupported(const reader *s, const char *what, const char *type) {
  return ts_refuse(s->d, "tokenizer-unsupported", "%s: %s '%s' is not supported", s->j.file, what, type ? type : "?");
}

static const char *type_of(const json_t *o) { return json_string_value(json_object_get(o, "type")); }

static bool is_type(const json_t *o, const char *type) {
  const char *t = type_of(o);
  return t && !strcmp(t, type);
}

static const char *copy(const reader *s, const json_t *v) { return ts_arena_strdup(s->t->arena, json_string_value(v)); }

// {"String": "x"} or {"Regex": "x"}.
static pcre2_code *pattern(const reader *s, const json_t *o) {
  const json_t *p = json_object_get(o, "pattern");
  const json_t *literal = json_object_get(p, "String"), *regex = json_object_get(p, "Regex");
  const json_t *v = json_is_string(literal) ? literal : regex;
  if (!json_is_string(v)) return (void)unsupported(s, "pattern of", type_of(o)), NULL;
  return ts__regex(s->j.file, json_string_value(v), json_string_length(v), v == literal, s->d);
}

// --- normalizer -------------------------------------------------------------------------------------------

static ts__normstep *new_norm(const reader *s, ts__normstep_kind kind) {
  s->t->norm[s->t->nnorm] = (ts__normstep){.kind = kind};
  return &s->t->norm[s->t->nnorm++];
}

static bool norm_step(const reader *s, const json_t *o) {
  if (s->t->nnorm == MAX_STEPS) return unsupported(s, "normalizer of more than 16 steps", "");
  if (is_type(o, "NFC")) return new_norm(s, TS__NORM_NFC) != NULL;
  if (is_type(o, "Prepend")) {
    const json_t *v = json_object_get(o, "prepend");
    if (!json_is_string(v)) return unsupported(s, "normalizer", "Prepend without text");
    new_norm(s, TS__NORM_PREPEND)->text = copy(s, v);
    return true;
  }
  if (is_type(o, "Replace")) {
    const json_t *v = json_object_get(o, "content");
    pcre2_code *re = json_is_string(v) ? pattern(s, o) : NULL;
    if (!json_is_string(v)) return unsupported(s, "normalizer", "Replace without content");
    if (!re) return false;
    ts__normstep *n = new_norm(s, TS__NORM_REPLACE);
    n->re = re;
    n->text = copy(s, v);
    return true;
  }
  return unsupported(s, "normalizer", type_of(o));
}

// A member that is absent, one step, or a Sequence of steps under `list`.
static bool steps(const reader *s, const json_t *o, const char *list, bool (*step)(const reader *, const json_t *)) {
  if (!o || json_is_null(o)) return true;
  if (!is_type(o, "Sequence")) return step(s, o);
  const json_t *v = json_object_get(o, list);
  if (!json_is_array(v)) return unsupported(s, "Sequence without", list);
  for (size_t i = 0; i < json_array_size(v); i++) TS_TRY(step(s, json_array_get(v, i)));
  return true;
}

// --- pre-tokenizer -----------------------------------------------------------------------------------------

static bool flag(const json_t *o, const char *key, bool otherwise) {
  const json_t *v = json_object_get(o, key);
  return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static bool add_pre(const reader *s, ts__prestep p) {
  if (s->t->npre == MAX_STEPS) {
    pcre2_code_free(p.re);
    return unsupported(s, "pre-tokenizer of more than 16 steps", "");
  }
  s->t->pre[s->t->npre++] = p;
  return true;
}

static bool pre_split(const reader *s, const json_t *o) {
  static const struct {
    const char *name;
    ts__behavior b;
  } names[] = {{"Isolated", TS__ISOLATED}, {"Removed", TS__REMOVED}, {"MergedWithPrevious", TS__PREVIOUS},
               {"MergedWithNext", TS__NEXT}, {"Contiguous", TS__CONTIGUOUS}};
  const char *behavior = json_string_value(json_object_get(o, "behavior"));
  for (size_t i = 0; behavior && i < TS_COUNTOF(names); i++) {
    if (strcmp(behavior, names[i].name) != 0) continue;
    pcre2_code *re = pattern(s, o);
    return re && add_pre(s, (ts__prestep){TS__PRE_SPLIT, .re = re, .behavior = names[i].b, .invert = flag(o, "invert", false)});
  }
  return unsupported(s, "split behavior", behavior);
}

static bool pre_regex(const reader *s, const char *expression, ts__behavior b, ts__prestep p) {
  p.re = ts__regex(s->j.file, expression, strlen(expression), false, s->d);
  p.behavior = b;
  return p.re && add_pre(s, p);
}

static bool pre_byte_level(const reader *s, const json_t *o) {
  ts__prestep p = {TS__PRE_BYTE_LEVEL, .prefix_space = flag(o, "add_prefix_space", true)};
  s->t->byte_level = true;
  return flag(o, "use_regex", true) ? pre_regex(s, TS__GPT2_SPLIT, TS__ISOLATED, p) : add_pre(s, p);
}

static bool pre_metaspace(const reader *s, const json_t *o) {
  ts__prestep p = {TS__PRE_METASPACE, .prepend = TS__PREPEND_ALWAYS};
  const json_t *r = json_object_get(o, "replacement");
  const char *scheme = json_string_value(json_object_get(o, "prepend_scheme"));
  p.replacement = json_is_string(r) ? copy(s, r) : "\xE2\x96\x81";
  if (!scheme)
    p.prepend = flag(o, "add_prefix_space", true) ? TS__PREPEND_ALWAYS : TS__PREPEND_NEVER;
  else if (!strcmp(scheme, "first"))
    p.prepend = TS__PREPEND_FIRST;
  else if (!strcmp(scheme, "never"))
    p.prepend = TS__PREPEND_NEVER;
  if (!flag(o, "split", true)) return add_pre(s, p);
  p.re = ts__regex(s->j.file, p.replacement, strlen(p.replacement), true, s->d);
  p.behavior = TS__NEXT;
  return p.re && add_pre(s, p);
}

static bool pre_step(const reader *s, const json_t *o) {
  ts__prestep plain = {TS__PRE_SPLIT};
  if (is_type(o, "Split")) return pre_split(s, o);
  if (is_type(o, "ByteLevel")) return pre_byte_level(s, o);
  if (is_type(o, "Metaspace")) return pre_metaspace(s, o);
  if (is_type(o, "Digits"))
    return pre_regex(s, "\\p{N}", flag(o, "individual_digits", false) ? TS__ISOLATED : TS__CONTIGUOUS, plain);
  if (is_type(o, "WhitespaceSplit")) return pre_regex(s, "\\s+", TS__REMOVED, plain);
  if (is_type(o, "Whitespace")) {
    plain.invert = true;
    return pre_regex(s, "\\w+|[^\\w\\s]+", TS__REMOVED, plain);
  }
  if (is_type(o, "Sequence")) return steps(s, o, "pretokenizers", pre_step);
  return unsupported(s, "pre-tokenizer", type_of(o));
}

// --- decoder ---------------------------------------------------------------------------------------------------

static bool decode_replace(const reader *s, const json_t *o) {
  const json_t *from = json_object_get(json_object_get(o, "pattern"), "String"), *to = json_object_get(o, "content");
  if (!json_is_string(from) || !json_is_string(to) || strcmp(json_string_value(to), " ") != 0 || !json_string_length(from))
    return unsupported(s, "decoder", "Replace by other than a space");
  s->t->space = copy(s, from);
  return true;
}

static bool decode_strip(const reader *s, const json_t *o) {
  const char *content = json_string_value(json_object_get(o, "content"));
  json_int_t start = json_integer_value(json_object_get(o, "start")), stop = json_integer_value(json_object_get(o, "stop"));
  if (!content || strcmp(content, " ") != 0 || start < 0 || start > 8 || stop != 0)
    return unsupported(s, "decoder", "Strip other than of leading spaces");
  s->t->strip_left = (int)start;
  return true;
}

static bool decode_step(const reader *s, const json_t *o) {
  if (is_type(o, "ByteLevel") || is_type(o, "ByteFallback") || is_type(o, "Fuse")) return true;
  if (is_type(o, "Replace")) return decode_replace(s, o);
  if (is_type(o, "Strip")) return decode_strip(s, o);
  if (is_type(o, "Metaspace")) {
    const json_t *r = json_object_get(o, "replacement");
    const char *scheme = json_string_value(json_object_get(o, "prepend_scheme"));
    bool prefix = scheme ? strcmp(scheme, "never") != 0 : flag(o, "add_prefix_space", true);
    s->t->space = json_is_string(r) ? copy(s, r) : "\xE2\x96\x81";
    s->t->strip_left = prefix;
    return true;
  }
  return unsupported(s, "decoder", type_of(o));
}

// --- post-processor ----------------------------------------------------------------------------------------------

// Ids of {"SpecialToken": {"id": NAME}} by the table of special tokens.
static bool template_token(const reader *s, const json_t *o, const json_t *token, int32_t *list, int *n) {
  const char *name = json_string_value(json_object_get(json_object_get(token, "SpecialToken"), "id"));
  const json_t *ids = json_object_get(json_object_get(json_object_get(o, "special_tokens"), name ? name : ""), "ids");
  if (!json_is_array(ids)) return unsupported(s, "post-processor token", name);
  for (size_t i = 0; i < json_array_size(ids); i++) {
    json_int_t id = json_integer_value(json_array_get(ids, i));
    if (id < 0 || id >= (json_int_t)s->t->size || *n == MAX_TEMPLATE) return unsupported(s, "post-processor token", name);
    list[(*n)++] = (int32_t)id;
  }
  return true;
}

static bool post_template(const reader *s, const json_t *o) {
  const json_t *single = json_object_get(o, "single");
  bool after = false;
  if (!json_is_array(single)) return unsupported(s, "post-processor", "TemplateProcessing without single");
  for (size_t i = 0; i < json_array_size(single); i++) {
    const json_t *v = json_array_get(single, i);
    if (json_object_get(v, "Sequence"))
      after = true;
    else
      TS_TRY(template_token(s, o, v, after ? s->t->suffix : s->t->prefix, after ? &s->t->nsuffix : &s->t->nprefix));
  }
  return true;
}

static bool post_step(const reader *s, const json_t *o) {
  if (is_type(o, "ByteLevel")) return true;
  if (is_type(o, "TemplateProcessing")) return post_template(s, o);
  return unsupported(s, "post-processor", type_of(o));
}

// --- model ---------------------------------------------------------------------------------------------------------

static bool empty_or_null(const json_t *o, const char *key) {
  const json_t *v = json_object_get(o, key);
  return !v || json_is_null(v) || (json_is_string(v) && !json_string_length(v)) || (json_is_number(v) && json_number_value(v) == 0);
}

static bool model_flags(const reader *s, const json_t *m) {
  static const char *const plain[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix"};
  const char *type = type_of(m);
  if (type && strcmp(type, "BPE") != 0) return unsupported(s, "model", type);
  for (size_t i = 0; i < TS_COUNTOF(plain); i++)
    if (!empty_or_null(m, plain[i])) return unsupported(s, "model option", plain[i]);
  s->t->byte_fallback = flag(m, "byte_fallback", false);
  s->t->fuse_unk = flag(m, "fuse_unk", false);
  s->t->ignore_merges = flag(m, "ignore_merges", false);
  return true;
}

static int64_t largest_id(const json_t *vocab, const json_t *added) {
  const char *key;
  json_t *v;
  int64_t most = -1;
  json_object_foreach((json_t *)vocab, key, v) most = TS_MAX(most, (int64_t)json_integer_value(v));
  for (size_t i = 0; i < json_array_size(added); i++)
    most = TS_MAX(most, (int64_t)json_integer_value(json_object_get(json_array_get(added, i), "id")));
  return most;
}

static bool vocabulary(const reader *s, const json_t *vocab, const json_t *added) {
  const char *key;
  json_t *v;
  int64_t most = largest_id(vocab, added);
  if (most >= TS__MAX_ID) return ts_refuse(s->d, "tokenizer-invalid", "%s: token id %lld is too large", s->j.file, (long long)most);
  TS_TRY(ts__tok_reserve(s->t, (size_t)(most + 1), json_object_size(vocab) + json_array_size(added), s->d));
  json_object_foreach((json_t *)vocab, key, v) {
    if (!json_is_integer(v)) return ts_refuse(s->d, "tokenizer-invalid", "%s: token '%.40s' has no id", s->j.file, key);
    TS_TRY(ts__tok_put_piece(s->t, ts_arena_strdup(s->t->arena, key), json_integer_value(v), s->d));
  }
  return true;
}

// "left right", or ["left", "right"].
static bool merge(const reader *s, const json_t *v, uint32_t rank) {
  ts__str l = {0}, r = {0};
  if (json_is_string(v)) {
    const char *text = json_string_value(v), *space = strchr(text, ' ');
    if (space) l = (ts__str){text, (size_t)(space - text)}, r = (ts__str){space + 1, json_string_length(v) - l.n - 1};
  } else if (json_is_array(v) && json_array_size(v) == 2) {
    const json_t *a = json_array_get(v, 0), *b = json_array_get(v, 1);
    if (json_is_string(a) && json_is_string(b))
      l = (ts__str){json_string_value(a), json_string_length(a)}, r = (ts__str){json_string_value(b), json_string_length(b)};
  }
  if (!l.n || !r.n) return ts_refuse(s->d, "tokenizer-invalid", "%s: merge %u is not a pair of pieces", s->j.file, rank);
  return ts__tok_put_merge(s->t, l, r, rank, s->d);
}

static bool merges(const reader *s, const json_t *m) {
  const json_t *list = ts__json_array(&s->j, m, "merges", MAX_MERGES, s->d);
  if (!list) return false;
  size_t n = json_array_size(list);
  ts__mergemap_init(&s->t->merges, s->t->arena, n);
  for (size_t i = 0; i < n; i++) TS_TRY(merge(s, json_array_get(list, i), (uint32_t)i));
  return true;
}

static bool unknown_token(const reader *s, const json_t *m) {
  s->t->unk = -1;
  if (empty_or_null(m, "unk_token")) return true;
  const char *unk = json_string_value(json_object_get(m, "unk_token"));
  if (unk) s->t->unk = ts_tokenizer_find(s->t, unk);
  if (s->t->unk < 0) return ts_refuse(s->d, "tokenizer-invalid", "%s: the unknown token is not in the vocabulary", s->j.file);
  return true;
}

// --- added tokens --------------------------------------------------------------------------------------------------

static bool added_token(const reader *s, const json_t *o, ts__added *out) {
  const json_t *content = json_object_get(o, "content"), *id = json_object_get(o, "id");
  if (!json_is_string(content) || !json_is_integer(id))
    return ts_refuse(s->d, "tokenizer-invalid", "%s: an added token lacks content or id", s->j.file);
  const char *text = copy(s, content);
  TS_TRY(ts__tok_put_piece(s->t, text, json_integer_value(id), s->d));
  bool special = flag(o, "special", false);
  *out = (ts__added){.text = {text, strlen(text)}, .id = (int32_t)json_integer_value(id), .special = special,
                     .normalized = flag(o, "normalized", !special), .lstrip = flag(o, "lstrip", false),
                     .rstrip = flag(o, "rstrip", false), .single_word = flag(o, "single_word", false)};
  if (out->single_word && !s->t->word_char) s->t->word_char = ts__regex(s->j.file, "\\w", 2, false, s->d);
  return !out->single_word || s->t->word_char;
}

// Tokens that see normalized text are matched in their normalized form.
static bool added_tokens(const reader *s, const json_t *list) {
  size_t n = json_array_size(list);
  ts__added *v = ts_new_array(s->t->arena, ts__added, n + 1);
  for (size_t i = 0; i < n; i++) {
    TS_TRY(added_token(s, json_array_get(list, i), &v[i]));
    if (v[i].normalized) TS_TRY(ts__normalize(s->t, s->t->arena, v[i].text, &v[i].text, s->d));
  }
  ts__tok_put_added(s->t, v, n);
  return true;
}

static bool everything(const reader *s, const json_t *root) {
  const json_t *m = ts__json_object(&s->j, root, "model", s->d);
  if (!m) return false;
  const json_t *vocab = ts__json_object(&s->j, m, "vocab", s->d), *added = json_object_get(root, "added_tokens");
  if (!vocab) return false;
  if (added && !json_is_null(added)) TS_TRY(ts__json_array(&s->j, root, "added_tokens", TS__MAX_ID, s->d) != NULL);
  TS_TRY(model_flags(s, m));
  TS_TRY(steps(s, json_object_get(root, "normalizer"), "normalizers", norm_step));
  TS_TRY(steps(s, json_object_get(root, "pre_tokenizer"), "pretokenizers", pre_step));
  TS_TRY(steps(s, json_object_get(root, "decoder"), "decoders", decode_step));
  TS_TRY(vocabulary(s, vocab, added));
  TS_TRY(merges(s, m));
  TS_TRY(added_tokens(s, added));
  TS_TRY(unknown_token(s, m));
  TS_TRY(steps(s, json_object_get(root, "post_processor"), "processors", post_step));
  return ts__tok_finish(s->t, s->d);
}

ts_tokenizer *ts_tokenizer_parse(const char *file, const char *text, size_t n, ts_diag *d) {
  json_t *root = ts__json_load(file, text, n, d);
  if (!root) return NULL;
  ts_arena *a = ts_arena_new("tokenizer");
  ts_tokenizer *t = ts_new(a, ts_tokenizer);
  t->arena = a;
  t->file = ts_arena_strdup(a, file);
  t->norm = ts_new_array(a, ts__normstep, MAX_STEPS);
  t->pre = ts_new_array(a, ts__prestep, MAX_STEPS);
  t->prefix = ts_new_array(a, int32_t, MAX_TEMPLATE);
  t->suffix = ts_new_array(a, int32_t, MAX_TEMPLATE);
  reader s = {.t = t, .j = {.file = t->file, .where = "tokenizer"}, .d = d};
  bool ok = everything(&s, root);
  json_decref(root);
  if (ok) return t;
  ts_tokenizer_free(t);
  return NULL;
}

ts_tokenizer *ts_tokenizer_load(const char *path, ts_diag *d) {
  ts_map m;
  if (!ts_map_open(path, &m, d)) return NULL;
  ts_tokenizer *t = ts_tokenizer_parse(path, (const char *)m.p, m.n, d);
  ts_map_close(&m);
  return t;
}
