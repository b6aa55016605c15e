// What the assembler says about entries ("ptxas -v", also behind NVRTC): registers, spills, and what it warns of.
#include <stdlib.h>

#include "codegen/codegen_impl.h"

// The largest number that stands right before `what`, "12 registers"; -1: none does.
static int largest(const char *text, const char *what) {
  int most = -1;
  for (const char *p = text; (p = strstr(p, what)) != NULL; p++) {
    const char *q = p;
    while (q > text && q[-1] == ' ') q--;
    while (q > text && q[-1] >= '0' && q[-1] <= '9') q--;
    most = TS_MAX(most, atoi(q));
  }
  return most;
}

// A line of n characters without who says it: "ptxas warning : TEXT", "ptxas info    : (C7510) TEXT", "FILE(12):
// warning #177-D: TEXT".
static const char *bare(const char *line, size_t n, size_t *left) {
  const char *colon = strncmp(line, "ptxas ", 6) == 0 ? memchr(line, ':', n) : NULL, *text = colon ? colon + 1 : line;
  while (text < line + n && *text == ' ') text++;
  *left = (size_t)(line + n - text);
  return text;
}

static bool is_warning(const char *line, size_t n) {
  return memmem(line, n, "warning", 7) || memmem(line, n, "Performance Loss", 16);
}

// One line of printable text, each warning once.
static void add_warning(ts_text *out, const char *text, size_t n) {
  enum { MOST = 400 };
  if (memmem(ts_text_str(out), out->n, text, n)) return;
  if (out->n) ts_text_add(out, " | ");
  for (size_t i = 0; i < n && out->n < MOST; i++)
    ts_text_addn(out, text[i] >= ' ' && text[i] < 127 ? &text[i] : "?", 1);
}

void ts__assembler_read(const char *log, ts_gpu_code *c, ts_text *warnings) {
  c->registers = largest(log, " registers");
  c->spills = largest(log, " bytes spill stores");
  for (const char *p = log; *p;) {
    size_t n = strcspn(p, "\n"), left;
    if (is_warning(p, n) && strncmp(p, "Remark", 6) != 0) {
      const char *text = bare(p, n, &left);
      add_warning(warnings, text, left);
    }
    p += n + (p[n] == '\n');
  }
}
