// ptrmap: a small open-addressing map from pointers to 64-bit values, in an arena.
#include "ir/ir_impl.h"

static uint32_t slot_of(const ts__ptrmap *m, const void *key) {
  uint64_t h = ts_hash_mix(0, (uint64_t)(uintptr_t)key);
  uint32_t i = (uint32_t)h & (m->cap - 1);
  while (m->slot[i].key && m->slot[i].key != key) i = (i + 1) & (m->cap - 1);
  return i;
}

bool ts__ptrmap_get(const ts__ptrmap *m, const void *key, uint64_t *value) {
  if (m->cap == 0) return false;
  uint32_t i = slot_of(m, key);
  if (!m->slot[i].key) return false;
  *value = m->slot[i].value;
  return true;
}

static void grow(ts__ptrmap *m) {
  ts__ptrmap old = *m;
  m->cap = old.cap ? old.cap * 2 : 64;
  m->slot = ts_new_array(m->arena, struct ts__ptrslot, m->cap);
  for (uint32_t i = 0; i < old.cap; i++) {
    if (old.slot[i].key) m->slot[slot_of(m, old.slot[i].key)] = old.slot[i];
  }
}

// Added or replaced.
void ts__ptrmap_put(ts__ptrmap *m, const void *key, uint64_t value) {
  if (m->count * 4 >= m->cap * 3) grow(m);
  uint32_t i = slot_of(m, key);
  if (!m->slot[i].key) m->count++;
  m->slot[i] = (struct ts__ptrslot){.key = key, .value = value};
}
