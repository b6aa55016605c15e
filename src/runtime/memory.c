// Large zeroed memory on huge pages.
#include <errno.h>
#include <sys/mman.h>

#include "runtime/runtime_impl.h"

#define HUGE ((size_t)2 << 20)

bool ts__pages_map(ts_pages *m, size_t n, bool huge, const char *what, ts_diag *d) {
  *m = (ts_pages){.n = n};
  size_t mapped = n + HUGE;
  if (mapped < n) return ts_refuse(d, "too-big", "%s: %zu bytes", what, n);
  void *base = ts_fault("map-memory") ? MAP_FAILED
                                      : mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return ts_env_fail(d, "out-of-memory", "%s: no memory for %zu bytes: %s", what, n, strerror(errno ? errno : ENOMEM));
  m->base = base;
  m->mapped = mapped;
  m->p = (uint8_t *)(((uintptr_t)base + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
  if (n >= HUGE) (void)madvise(m->p, n, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  return true;
}

bool ts_pages_map(ts_pages *m, size_t n, const char *what, ts_diag *d) { return ts__pages_map(m, n, true, what, d); }

void ts_pages_unmap(ts_pages *m) {
  if (m->base) munmap(m->base, m->mapped);
  *m = (ts_pages){0};
}
