// Completion of trace lines and commands: primitives, references, block and buffer names, words.
#include <stdlib.h>

#include "cli/schedule.h"

typedef struct completer {
  const ts__work *w;
  ts_arena *a;
  const char *prefix;
  size_t n;  // of the prefix
  TS_VEC(const char *) words;
} completer;

static void offer(completer *c, const char *word) {
  if (strncmp(word, c->prefix, c->n) != 0) return;
  for (size_t i = 0; i < c->words.n; i++)
    if (!strcmp(c->words.p[i], word)) return;
  ts_vec_push(c->a, &c->words, ts_arena_strdup(c->a, word));
}

static void offer_quoted(completer *c, const char *word) { offer(c, ts_arena_printf(c->a, "\"%s\"", word)); }

// --- what there is
// ----------------------------------------------------------------------------------------------------
typedef struct block_seer {
  completer *c;
  bool quoted;
} block_seer;

static bool see_block(void *arg, const ts_stmt *s) {
  block_seer *b = arg;
  if (s->kind != TS_S_BLOCK || ts_notes_find(s->block->notes, "private")) return true;
  if (b->quoted)
    offer_quoted(b->c, s->block->name);
  else
    offer(b->c, s->block->name);
  return true;
}

static void offer_blocks(completer *c, bool quoted) {
  block_seer b = {c, quoted};
  ts_stmt_visit(ts_sched_func(c->w->s)->body, see_block, NULL, &b);
}

static bool see_buffers(void *arg, const ts_stmt *s) {
  if (s->kind != TS_S_BLOCK) return true;
  for (int i = 0; i < s->block->nreads; i++) offer_quoted(arg, s->block->reads[i].buf->name);
  for (int i = 0; i < s->block->nwrites; i++) offer_quoted(arg, s->block->writes[i].buf->name);
  return true;
}

// References that still stand for something of a kind among kinds ("bl", "i"); a name stands for its newest meaning.
static void offer_references(completer *c, const char *kinds) {
  const ts_sched *s = c->w->s;
  const ts_trace *t = ts_sched_trace(s);
  int64_t v;
  for (int i = 0; i < t->nrvs; i++) {
    if (ts_sched_find(s, t->rv_name[i]) != i) continue;
    bool fits = (strchr(kinds, 'b') && ts_sched_block(s, i)) || (strchr(kinds, 'l') && ts_sched_loop(s, i)) ||
                (strchr(kinds, 'i') && ts_sched_int(s, i, &v));
    if (fits) offer(c, t->rv_name[i]);
  }
}

static void offer_primitives(completer *c) {
  for (int p = 0; p < TS_P__COUNT; p++) offer(c, ts_prim_get((ts_prim)p)->name);
}

static void offer_commands(completer *c) {
  for (const ts__work_command *k = ts__work_commands; k->name; k++) offer(c, k->name);
}

static void offer_intrinsics(completer *c) {
  char **names;
  size_t n;
  ts_diag d;
  if (!ts_dir_list(ts_path_join(c->a, ts_data_dir(), "kernels/intrin"), ".tir", c->a, &names, &n, &d)) return;
  for (size_t i = 0; i < n; i++) offer_quoted(c, ts_arena_strndup(c->a, names[i], strlen(names[i]) - 4));
}

static void offer_files(completer *c, const char *suffix) {
  char **names;
  size_t n;
  ts_diag d;
  if (!ts_dir_list(".", suffix, c->a, &names, &n, &d)) return;
  for (size_t i = 0; i < n; i++) offer(c, names[i]);
}

// --- arguments of a primitive
// --------------------------------------------------------------------------------------------- Words that an argument
// of this name takes.
static void offer_words(completer *c, const char *name, bool quoted) {
  static const struct {
    const char *name, *words;
  } rows[] = {{"tail", "guard perfect"},
              {"axis", "blockIdx.x blockIdx.y blockIdx.z threadIdx.x threadIdx.y threadIdx.z vthread"},
              {"scope", "global local shared shared.swizzle32 shared.swizzle64 shared.swizzle128 fragment.a fragment.b fragment.c"},
              {"kind", "read write"},
              {"type", "f16 bf16 f32 i8 i32"}};
  for (size_t i = 0; i < TS_COUNTOF(rows); i++) {
    if (strcmp(rows[i].name, name) != 0) continue;
    char *words = ts_arena_strdup(c->a, rows[i].words), *save = NULL;
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
      if (quoted)
        offer_quoted(c, w);
      else
        offer(c, w);
  }
}

static void offer_argument(completer *c, char type, const char *name) {
  switch (type) {
    case 'b':
      offer_references(c, "b");
      break;
    case 'l':
    case 'L':
      offer_references(c, "l");
      break;
    case 'x':
      offer_references(c, "bl");
      break;
    case 'i':
    case 'I':
    case 'F':
    case 'N':
    case 'v':
      offer_references(c, "i");
      break;
    case 'u':
      ts_stmt_visit(ts_sched_func(c->w->s)->body, see_buffers, NULL, c);
      break;
    case 'w':
      offer_words(c, name, false);
      break;
    case 's':
      if (!strcmp(name, "name"))
        offer_blocks(c, true);
      else if (!strcmp(name, "intrin"))
        offer_intrinsics(c);
      else
        offer_words(c, name, true);
      break;
    default:
      break;
  }
}

// Argument number `at` of the row, from 0; keywords once the positional ones are there, or the value after "keyword=".
static void offer_arguments(completer *c, ts_prim p, int at, const char *keyword) {
  char *row = ts_arena_strdup(c->a, ts_prim_get(p)->args), *save = NULL;
  int k = 0;
  for (char *w = strtok_r(row, " ", &save); w; w = strtok_r(NULL, " ", &save), k++) {
    char type = w[0], *name = w + 2, *eq = strchr(name, '=');
    if (eq) *eq = 0;
    if (keyword) {
      if (eq && !strcmp(keyword, name)) offer_argument(c, type, name);
    } else if (eq) {
      if (at >= k) offer(c, ts_arena_printf(c->a, "%s=", name));
    } else if (k == at || (type == 'L' && at > k)) {
      offer_argument(c, type, name);
    }
  }
}

// --- where in the line
// -------------------------------------------------------------------------------------------------------- Where the
// last word of text begins; words end at spaces, commas, "=" and brackets outside quotes.
static size_t word_start(const char *text, size_t n) {
  size_t from = 0;
  bool quoted = false;
  for (size_t i = 0; i < n; i++) {
    if (text[i] == '"') {
      if (!quoted) from = i;
      quoted = !quoted;
    } else if (!quoted && strchr(" \t,=[]", text[i])) {
      from = i + 1;
    }
  }
  return from;
}

// Words outside brackets and quotes before the place: how many arguments are complete.
static int words_before(const char *s, const char *end) {
  int n = 0, depth = 0;
  bool in = false, quoted = false;
  for (; s < end; s++) {
    if (*s == '"') quoted = !quoted;
    depth += !quoted && *s == '[';
    depth -= !quoted && *s == ']';
    bool space = !quoted && !depth && (*s == ' ' || *s == '\t');
    n += in && space;
    in = !space;
  }
  return n;
}

static const char *skip_left(const char *s, const char *end) {
  const char *eq = NULL;
  for (const char *p = s; p < end && (!eq || p < eq); p++) {
    if (*p == '"' || *p == '[') break;
    if (*p == '=') eq = p + 1;
  }
  return eq ? eq : s;
}

static void offer_after(completer *c, const char *text, const char *end, bool left) {
  while (*text == ' ' || *text == '\t') text++;
  size_t head = strcspn(text, " \t");
  if (text + head >= end) {  // the first word itself
    offer_primitives(c);
    if (!left) offer_commands(c);
    return;
  }
  ts_prim p;
  if (ts_prim_find(text, head, &p)) {
    const char *eq = end > text && end[-1] == '=' ? end - 1 : NULL;
    const char *keyword = NULL;
    if (eq) {
      const char *from = eq;
      while (from > text && from[-1] != ' ' && from[-1] != '\t') from--;
      keyword = ts_arena_strndup(c->a, from, (size_t)(eq - from));
    }
    offer_arguments(c, p, words_before(text + head, end), keyword);
  } else if (!left && !strncmp(text, "explain", head)) {
    offer_blocks(c, false);
  } else if (!left && !strncmp(text, "help", head)) {
    offer_primitives(c);
    offer_commands(c);
  } else if (!left && (!strncmp(text, "load", head) || !strncmp(text, "save", head))) {
    offer_files(c, ".trace");
  }
}

static int by_text(const void *x, const void *y) { return strcmp(*(const char *const *)x, *(const char *const *)y); }

const char **ts__work_complete(const ts__work *w, ts_arena *a, const char *text, size_t n, size_t *from,
                               size_t *count) {
  const char *line = ts_arena_strndup(a, text, n);
  completer c = {.w = w, .a = a};
  *from = word_start(line, n);
  c.prefix = line + *from;
  c.n = n - *from;
  const char *end = line + *from, *start = skip_left(line, end);
  // "x = " has a left side; "tail=" of a primitive has none
  ts_prim p;
  size_t head = strcspn(line + strspn(line, " \t"), " \t");
  if (ts_prim_find(line + strspn(line, " \t"), head, &p)) start = line;
  offer_after(&c, start, end, start != line);
  qsort(c.words.p, c.words.n, sizeof *c.words.p, by_text);
  *count = c.words.n;
  return c.words.p;
}
