// Diagnostics: refusals, environment failures, bugs.
#include "base/base.h"

static bool fill(ts_diag *d, ts_diag_kind kind, const char *code, const char *fmt, va_list ap) {
  if (!d) return false;
  char message[sizeof d->message];
  vsnprintf(message, sizeof message, fmt, ap);
  char kept[sizeof d->code];
  snprintf(kept, sizeof kept, "%s", code);
  d->kind = kind;
  memcpy(d->message, message, sizeof message);
  memcpy(d->code, kept, sizeof kept);
  d->hint[0] = 0;
  return false;
}

#define FILLER(name, kind)                                          \
  bool name(ts_diag *d, const char *code, const char *fmt, ...) {   \
    va_list ap;                                                     \
    va_start(ap, fmt);                                              \
    fill(d, kind, code, fmt, ap);                                   \
    va_end(ap);                                                     \
    return false;                                                   \
  }
FILLER(ts_refuse, TS_REFUSAL)
FILLER(ts_env_fail, TS_ENVIRONMENT)
FILLER(ts_bug, TS_BUG)

void ts_hint(ts_diag *d, const char *fmt, ...) {
  if (!d) return;
  char hint[sizeof d->hint];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(hint, sizeof hint, fmt, ap);
  va_end(ap);
  memcpy(d->hint, hint, sizeof hint);
}

// Names out of files may hold anything; a terminal gets neither line ends nor escape sequences from them.
static void put_plain(FILE *f, const char *s) {
  for (; *s; s++) fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, f);
}

void ts_diag_print(FILE *f, const ts_diag *d) {
  if (d->kind == TS_OK) return;
  if (f == stderr) ts_progress_aside();
  fputs("error: ", f);
  put_plain(f, d->message);
  fprintf(f, "  [%s]\n", d->code);
  if (!d->hint[0]) return;
  fputs("  hint: ", f);
  put_plain(f, d->hint);
  fputc('\n', f);
}

int ts_diag_exit(const ts_diag *d) {
  switch (d->kind) {
    case TS_OK: return 0;
    case TS_REFUSAL: return 2;
    case TS_ENVIRONMENT: return 3;
    case TS_BUG: break;
  }
  return 70;
}
