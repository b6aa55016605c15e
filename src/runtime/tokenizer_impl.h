// Shared by the tokenizer's files.
//
// Encoding: added tokens not touched by normalization are cut out of the text; the rest is normalized; added tokens that see
// normalized text are cut out; what remains is split into words by the pre-tokenizers; each word goes through BPE.
#ifndef TS_RUNTIME_TOKENIZER_IMPL_H
#define TS_RUNTIME_TOKENIZER_IMPL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "runtime/runtime.h"

enum { TS__MAX_ID = 1 << 22 };

typedef struct ts__str {
  const char *p;
  size_t n;
} ts__str;

// String -> id, open addressing.
typedef struct ts__strmap {
  struct ts__strslot {
    ts__str key;
    int32_t id;  // -1: free
  } *slot;
  size_t cap, n;
} ts__strmap;
void ts__strmap_init(ts__strmap *m, ts_arena *a, size_t expected);  // holds at most `expected` strings
bool ts__strmap_put(ts__strmap *m, ts__str key, int32_t id);        // false: was there already
int32_t ts__strmap_get(const ts__strmap *m, const char *p, size_t n);

// Pair of ids -> rank and id of the merged piece.
typedef struct ts__merge {
  uint64_t key;  // left << 32 | right; UINT64_MAX: free
  uint32_t rank;
  int32_t id;
} ts__merge;
typedef struct ts__mergemap {
  ts__merge *slot;
  size_t cap;
} ts__mergemap;
void ts__mergemap_init(ts__mergemap *m, ts_arena *a, size_t expected);
void ts__mergemap_put(ts__mergemap *m, int32_t l, int32_t r, uint32_t rank, int32_t id);  // the first of equal pairs stays
const ts__merge *ts__mergemap_get(const ts__mergemap *m, int32_t l, int32_t r);

// Steps of the normalizer and the pre-tokenizers.
typedef enum ts__behavior { TS__ISOLATED, TS__REMOVED, TS__PREVIOUS, TS__NEXT, TS__CONTIGUOUS } ts__behavior;
typedef enum ts__prestep_kind { TS__PRE_SPLIT, TS__PRE_BYTE_LEVEL, TS__PRE_METASPACE } ts__prestep_kind;
typedef enum ts__prepend { TS__PREPEND_NEVER, TS__PREPEND_FIRST, TS__PREPEND_ALWAYS } ts__prepend;
typedef struct ts__prestep {
  ts__prestep_kind kind;
  pcre2_code *re;         // SPLIT, BYTE_LEVEL with its expression (else NULL), METASPACE that splits
  ts__behavior behavior;  // SPLIT
  bool invert;            // SPLIT: what does not match separates
  bool prefix_space;      // BYTE_LEVEL
  const char *replacement;  // METASPACE
  ts__prepend prepend;      // METASPACE
} ts__prestep;
typedef enum ts__normstep_kind { TS__NORM_PREPEND, TS__NORM_REPLACE, TS__NORM_NFC } ts__normstep_kind;
typedef struct ts__normstep {
  ts__normstep_kind kind;
  pcre2_code *re;    // REPLACE
  const char *text;  // what is prepended, or put in place
} ts__normstep;

typedef struct ts__added {
  ts__str text;
  int32_t id;
  bool special, normalized, lstrip, rstrip, single_word;
} ts__added;
typedef struct ts__addedset {  // sorted by first byte, then length downwards
  size_t n;
  ts__added *v;
  uint32_t first[257];
} ts__addedset;

struct ts_tokenizer {
  ts_arena *arena;
  const char *file;
  size_t size;           // ids are below this
  const char **pieces;   // id -> piece as the file writes it, or NULL
  ts__str *raw;          // id -> bytes it stands for
  uint8_t *special;      // id -> 1 for special tokens
  ts__strmap names;      // piece -> id
  ts__strmap words;      // bytes -> id
  ts__mergemap merges;
  bool byte_level, byte_fallback, fuse_unk, ignore_merges;
  int32_t unk;           // -1: none
  int32_t byte_id[256];  // id of a single byte; -1: none
  int nnorm, npre;
  ts__normstep *norm;
  ts__prestep *pre;
  ts__addedset added, added_normalized;
  int nprefix, nsuffix;  // of the post-processor
  int32_t *prefix, *suffix;
  int strip_left;        // decoder: leading spaces dropped
  const char *space;     // decoder: this stands for a space; or NULL
  pcre2_code *word_char; // when a token wants word boundaries
};

// tokenizer_vocab.c: pieces and merges into tables. put refuses an id twice or out of range.
bool ts__tok_reserve(ts_tokenizer *t, size_t ids, size_t names, ts_diag *d) TS_WARN_UNUSED;
bool ts__tok_put_piece(ts_tokenizer *t, const char *piece, int64_t id, ts_diag *d) TS_WARN_UNUSED;
bool ts__tok_put_merge(ts_tokenizer *t, ts__str left, ts__str right, uint32_t rank, ts_diag *d) TS_WARN_UNUSED;
void ts__tok_put_added(ts_tokenizer *t, const ts__added *v, size_t n);
bool ts__tok_finish(ts_tokenizer *t, ts_diag *d) TS_WARN_UNUSED;  // after pieces; before use
// Byte-level alphabet.
uint32_t ts__byte_char(uint8_t b);
bool ts__from_byte_level(const char *s, size_t n, char *out, size_t *outn);  // false: has other characters
// UTF-8: bytes of the well-formed character at p (0: none), and its code point.
int ts__utf8(const uint8_t *p, size_t n, uint32_t *cp);
int ts__utf8_put(uint32_t cp, char out[4]);

// tokenizer_split.c
pcre2_code *ts__regex(const char *file, const char *pattern, size_t n, bool literal, ts_diag *d) TS_WARN_UNUSED;
#define TS__GPT2_SPLIT "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
typedef TS_VEC(ts__str) ts__strs;
bool ts__normalize(const ts_tokenizer *t, ts_arena *a, ts__str in, ts__str *out, ts_diag *d) TS_WARN_UNUSED;
bool ts__pretokenize(const ts_tokenizer *t, ts_arena *a, ts__str in, bool first, ts__strs *out, ts_diag *d) TS_WARN_UNUSED;

// nfc.c
ts__str ts__nfc(ts_arena *a, ts__str in);

// tokenizer_bpe.c
typedef struct ts__bpe {  // scratch for words
  struct ts__symbol {
    int32_t id, prev, next;
  } *sym;
  struct ts__pair {
    uint32_t rank;
    int32_t pos, id;
  } *heap;
  size_t cap, nheap;
} ts__bpe;
bool ts__bpe_word(const ts_tokenizer *t, ts__bpe *b, ts__str word, ts_tokens *out, ts_diag *d) TS_WARN_UNUSED;
void ts__bpe_free(ts__bpe *b);

#endif
