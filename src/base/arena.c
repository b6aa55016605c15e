// Arenas: a chain of chunks, bump allocation, restore to a mark keeps the chunks for reuse. Chunks of a freed arena are kept for
// the next arena of the thread, up to a limit, so that making one candidate after the other asks the system for nothing.
#include <stdlib.h>
#include <threads.h>

#include "base/base.h"

typedef struct chunk {
  struct chunk *next;
  size_t cap, used;
  size_t zeroed;  // bytes up to here are in use or zero
  char *data;
} chunk;

struct ts_arena {
  const char *name;
  chunk *first, *current;
  size_t next_size;
};

enum { FIRST_CHUNK = 16 << 10, LARGEST_CHUNK = 4 << 20, ZERO_AHEAD = 1 << 10 };

static _Noreturn void out_of_memory(const char *name, size_t bytes) {
  fprintf(stderr, "tunesmith: out of memory: arena %s wanted %zu bytes\n", name, bytes);
  exit(70);
}

// --- chunks kept (not under a sanitizer, which must see every use of freed memory) ------------------------------
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { KEEP = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
enum { KEEP = 0 };
#else
enum { KEEP = 8 << 20 };
#endif
#else
enum { KEEP = 8 << 20 };
#endif
enum { CLASSES = 9 };  // 16 KiB, 32 KiB ... 4 MiB
typedef struct kept {
  chunk *first[CLASSES];
  size_t bytes;
  ts_arena *arena[4];  // without chunks
  size_t narenas;
} kept;
static _Thread_local kept *mine;
static once_flag key_once = ONCE_FLAG_INIT;
static tss_t key;
static bool key_made;

static void kept_free(void *p) {
  kept *k = p;
  for (int i = 0; i < CLASSES; i++)
    for (chunk *c = k->first[i], *next; c; c = next) {
      next = c->next;
      free(c->data);
      free(c);
    }
  for (size_t i = 0; i < k->narenas; i++) free(k->arena[i]);
  free(k);
  mine = NULL;
}
static void key_make(void) { key_made = tss_create(&key, kept_free) == thrd_success; }

// The class of exactly that size, -1: none.
static int class_of(size_t cap) {
  for (int i = 0; i < CLASSES; i++)
    if (cap == (size_t)FIRST_CHUNK << i) return i;
  return -1;
}

// Keeps the chunk, or frees it.
static void chunk_drop(chunk *c) {
  int class = class_of(c->cap);
  if (KEEP && class >= 0 && !mine) {
    call_once(&key_once, key_make);
    mine = key_made ? calloc(1, sizeof *mine) : NULL;
    if (mine && tss_set(key, mine) != thrd_success) kept_free(mine);
  }
  if (!KEEP || class < 0 || !mine || mine->bytes + c->cap > KEEP) {
    free(c->data);
    free(c);
    return;
  }
  c->next = mine->first[class];
  mine->first[class] = c;
  mine->bytes += c->cap;
}

static chunk *chunk_kept(size_t cap) {
  int class = mine ? class_of(cap) : -1;
  chunk *c = class >= 0 ? mine->first[class] : NULL;
  if (!c) return NULL;
  mine->first[class] = c->next;
  mine->bytes -= cap;
  c->next = NULL;
  c->used = c->zeroed = 0;
  return c;
}

static chunk *chunk_new(ts_arena *a, size_t cap) {
  bool fault = ts_fault("alloc");
  chunk *c = fault ? NULL : chunk_kept(cap);
  if (c) return c;
  c = fault ? NULL : malloc(sizeof *c);
  char *data = c ? malloc(cap) : NULL;
  if (!data) out_of_memory(a->name, cap);
  *c = (chunk){.cap = cap, .data = data};
  return c;
}

ts_arena *ts_arena_new(const char *name) {
  ts_arena *a = mine && mine->narenas ? mine->arena[--mine->narenas] : malloc(sizeof *a);
  if (!a) out_of_memory(name, sizeof *a);
  *a = (ts_arena){.name = name, .next_size = FIRST_CHUNK};
  return a;
}

void ts_arena_free(ts_arena *a) {
  if (!a) return;
  for (chunk *c = a->first, *next; c; c = next) {
    next = c->next;
    chunk_drop(c);
  }
  if (mine && mine->narenas < TS_COUNTOF(mine->arena)) mine->arena[mine->narenas++] = a;
  else free(a);
}

// Move to a later kept chunk that fits, or link a new one behind the current chunk.
static chunk *chunk_with_room(ts_arena *a, size_t bytes) {
  chunk *c = a->current ? a->current->next : a->first;
  if (c && c->cap >= bytes) {
    c->used = c->zeroed = 0;
    return a->current = c;
  }
  size_t size = TS_MAX(a->next_size, bytes);
  if (a->next_size < LARGEST_CHUNK) a->next_size *= 2;
  chunk *fresh = chunk_new(a, size);
  fresh->next = c;
  if (a->current) a->current->next = fresh;
  else a->first = fresh;
  return a->current = fresh;
}

// Many small allocations are cleared at once.
static void zero_ahead(chunk *c) {
  size_t end = TS_MIN(TS_MAX(c->used, c->zeroed + (KEEP ? ZERO_AHEAD : 0)), c->cap);
  memset(c->data + c->zeroed, 0, end - c->zeroed);
  c->zeroed = end;
}

void *ts_arena_alloc(ts_arena *a, size_t bytes, size_t align) {
  if (bytes > SIZE_MAX / 2) out_of_memory(a->name, bytes);
  chunk *c = a->current;
  size_t at = 0;
  if (c) at = (size_t)(-(intptr_t)(c->data + c->used) & (intptr_t)(align - 1)) + c->used;
  if (!c || at + bytes > c->cap) {
    c = chunk_with_room(a, bytes + align);
    at = (size_t)(-(intptr_t)c->data & (intptr_t)(align - 1));
  }
  c->used = at + bytes;
  if (c->used > c->zeroed) zero_ahead(c);
  return c->data + at;
}

ts_arena_mark ts_arena_save(ts_arena *a) {
  return (ts_arena_mark){.chunk = a->current, .used = a->current ? a->current->used : 0};
}

void ts_arena_restore(ts_arena *a, ts_arena_mark m) {
  a->current = m.chunk;
  if (a->current) a->current->used = a->current->zeroed = m.used;
}

size_t ts_arena_bytes(const ts_arena *a) {
  size_t n = 0;
  for (const chunk *c = a->first; c; c = c->next) {
    n += c->used;
    if (c == a->current) break;
  }
  return a->current ? n : 0;
}

char *ts_arena_strndup(ts_arena *a, const char *s, size_t n) {
  char *p = ts_arena_alloc(a, n + 1, 1);
  if (n) memcpy(p, s, n);  // no bytes may lie at no address
  return p;
}

char *ts_arena_strdup(ts_arena *a, const char *s) { return ts_arena_strndup(a, s, strlen(s)); }

char *ts_arena_printf(ts_arena *a, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  char *p = ts_arena_alloc(a, (size_t)n + 1, 1);
  vsnprintf(p, (size_t)n + 1, fmt, again);
  va_end(again);
  return p;
}

void *ts_arena_dup(ts_arena *a, const void *p, size_t bytes) {
  void *q = ts_arena_alloc(a, bytes, 16);
  if (bytes) memcpy(q, p, bytes);
  return q;
}

void *ts__vec_grow(ts_arena *a, void *p, size_t n, size_t *cap, size_t elem) {
  size_t want = *cap ? *cap * 2 : 8;
  if (want > SIZE_MAX / 2 / elem) out_of_memory(a->name, want);
  void *q = ts_arena_alloc(a, want * elem, 16);
  if (n) memcpy(q, p, n * elem);
  *cap = want;
  return q;
}
